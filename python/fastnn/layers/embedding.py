"""Embedding: vectors looked up by number."""

from .. import constraints, initializers, ops, regularizers
from ..utils.warning import warn
from .layer import Layer
from .quantization import INTEGERS
from .quantized_embedding import QuantizedTable


def _positive(name, value):
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ValueError(f"[Embedding] `{name}` must be a positive integer. "
                         f"Received: {name}={value} (of type {type(value).__name__})")
    return value.__index__()


class Embedding(QuantizedTable, Layer):
    """Row i of a trained table for every number i of the input.

    Args:
        input_dim: int, rows of the table: the largest number + 1.
        output_dim: int, size of the vectors.
        embeddings_initializer: of the table.
        embeddings_regularizer: Regularizer or name; its value joins `losses`.
        embeddings_constraint: Constraint or name; applied after each optimizer update.
        mask_zero: bool; 0 is padding: layers that follow get the mask `inputs != 0`.
        weights: the table, or [table], to begin with.
        lora_rank: int; train two factors of this rank instead of the table (`enable_lora`).
        lora_alpha: number, scale of their product over the rank; the rank by default.
        quantization_config: QuantizationConfig, how a layer whose `dtype` is a quantized policy is built.

    Input: integers of any shape (whole floats are accepted). Output: inputs.shape + (output_dim,).
    Variables: embeddings (input_dim, output_dim), uniform in [-0.05, 0.05].

    Raises:
        IndexError: a number is not in [0, input_dim); the message names its position.
        ValueError: a number is a fraction, NaN or infinite.
    """

    def __init__(self, input_dim, output_dim, embeddings_initializer="uniform", embeddings_regularizer=None,
                 embeddings_constraint=None, mask_zero=False, weights=None, lora_rank=None, lora_alpha=None,
                 quantization_config=None, **kwargs):
        if kwargs.pop("input_length", None) is not None:
            warn("Argument `input_length` is deprecated. Just remove it.")
        kwargs.setdefault("autocast", False)  # numbers must not be rounded to a short float type
        super().__init__(**kwargs)
        self.input_dim = _positive("input_dim", input_dim)
        self.output_dim = _positive("output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = bool(mask_zero)
        self.supports_masking = self.mask_zero
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank
        self.lora_enabled = False
        self.quantization_config = self._quantization_argument(quantization_config)
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, (list, tuple)) else [weights])

    def build(self, input_shape=None):
        if self.built:
            return
        mode = self.quantization_mode
        if mode is not None:
            self.quantized_build((self.input_dim, self.output_dim), mode, self.quantization_config)
        if mode not in INTEGERS:
            self._embeddings = self.add_weight(
                shape=(self.input_dim, self.output_dim), initializer=self.embeddings_initializer, name="embeddings",
                regularizer=self.embeddings_regularizer, constraint=self.embeddings_constraint)
        self.built = True
        if self.lora_rank:
            self.enable_lora(self.lora_rank, lora_alpha=self.lora_alpha)

    def build_from_config(self, config):
        self.build()  # whatever the shape was

    @property
    def embeddings(self):
        """The table: the variable, or with LoRA its value with the trained product added."""
        table = self._embeddings
        if self.quantization_mode == "int4":
            from ..quantizers import unpack_int4

            table = unpack_int4(table, self._orig_output_dim, axis=-1)
        return ops.add(table, self._lora_product()) if self.lora_enabled else table

    def _lora_product(self):
        product = ops.matmul(self.lora_embeddings_a, self.lora_embeddings_b)
        return ops.multiply(product, self.lora_alpha / self.lora_rank)

    def call(self, inputs):
        if self._dtype_policy.quantization_mode is not None:
            return self.quantized_call(inputs)
        y = ops.embedding_lookup(self._embeddings, inputs)
        if self.lora_enabled:
            low = ops.matmul(ops.embedding_lookup(self.lora_embeddings_a, inputs), self.lora_embeddings_b)
            y = ops.add(y, ops.multiply(low, self.lora_alpha / self.lora_rank))
        return ops.cast(y, self.compute_dtype)

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.output_dim)

    def enable_lora(self, rank, lora_alpha=None, a_initializer="he_uniform", b_initializer="zeros"):
        """Freeze the table and train a product of (input_dim, rank) and (rank, output_dim) that is added to it.

        Raises:
            ValueError: the table has a constraint, is not made yet, or LoRA is enabled already.
        """
        if self.embeddings_constraint:
            raise ValueError("[Embedding] LoRA is incompatible with embedding constraints. In order to enable LoRA on this "
                             "layer, remove the `embeddings_constraint` argument.")
        if not self.built:
            raise ValueError("[Embedding] Cannot enable LoRA on a layer that isn't yet built.")
        if self.lora_enabled:
            raise ValueError("[Embedding] lora is already enabled. This can only be done once per layer.")
        rank = _positive("rank", rank)
        locked, self._locked = self._locked, False
        self.lora_embeddings_a = self.add_weight(
            shape=(self.input_dim, rank), initializer=initializers.get(a_initializer),
            regularizer=self.embeddings_regularizer, name="lora_embeddings_a")
        self.lora_embeddings_b = self.add_weight(
            shape=(rank, self.output_dim), initializer=initializers.get(b_initializer),
            regularizer=self.embeddings_regularizer, name="lora_embeddings_b")
        self._embeddings.trainable = False
        self._locked = locked
        self.lora_enabled = True
        self.lora_rank = rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else rank

    def quantize(self, mode=None, type_check=True, config=None):
        self._quantize_table(mode, type_check, config, Embedding)

    def get_config(self):
        config = {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": regularizers.serialize(self.embeddings_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "embeddings_constraint": constraints.serialize(self.embeddings_constraint),
            "mask_zero": self.mask_zero,
            **self._quantization_entry(),
        }
        if self.lora_rank:
            config.update(lora_rank=self.lora_rank, lora_alpha=self.lora_alpha)
        return config
