"""ReversibleEmbedding: the table of an embedding also used for logits."""
from .. import ops
from .embedding import Embedding
from .quantization import INTEGERS
from .quantized_embedding import QuantizedReverse


class ReversibleEmbedding(QuantizedReverse, Embedding):
    """An Embedding that also goes back: with ``reverse=True`` vectors become one logit for each row.

    Args:
        input_dim, output_dim, embeddings_initializer, embeddings_regularizer, embeddings_constraint, mask_zero:
            as for `Embedding`.
        tie_weights: bool; go back by the table itself, not by a second one.
        reverse_dtype: dtype of the way back; the compute dtype by default.
        logit_soft_cap: number c; logits become c * tanh(logits / c).

    Call arguments:
        inputs: integers (...); with reverse, floats (..., output_dim).
        reverse: bool.

    Returns:
        (..., output_dim), or (..., input_dim)

    Weights: embeddings (input_dim, output_dim), and reverse_embeddings (output_dim, input_dim) if not tied.
    """

    def __init__(self, input_dim, output_dim, tie_weights=True, embeddings_initializer="uniform",
                 embeddings_regularizer=None, embeddings_constraint=None, mask_zero=False, reverse_dtype=None,
                 logit_soft_cap=None, **kwargs):
        super().__init__(input_dim, output_dim, embeddings_initializer=embeddings_initializer,
                         embeddings_regularizer=embeddings_regularizer, embeddings_constraint=embeddings_constraint,
                         mask_zero=mask_zero, **kwargs)
        self.tie_weights = tie_weights
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap
        self.supports_masking = True

    def build(self, input_shape=None):
        if self.built:
            return
        super().build(input_shape)
        if not self.tie_weights and self.quantization_mode not in INTEGERS:
            self.reverse_embeddings = self.add_weight((self.output_dim, self.input_dim), self.embeddings_initializer,
                                                      name="reverse_embeddings")

    def call(self, inputs, reverse=False):
        if not reverse:
            y = super().call(inputs)
            if self.mask_zero and y.device != "meta":
                y._keras_mask = ops.not_equal(inputs, 0)
            return y
        if self.quantization_mode is not None:
            return self.quantized_call(inputs, reverse=True)
        kernel = ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings
        dtype = self.reverse_dtype or self.compute_dtype
        return self._capped(ops.matmul(ops.cast(inputs, dtype), ops.cast(kernel, dtype)))

    def _capped(self, logits):
        if self.logit_soft_cap is None:
            return logits
        return ops.multiply(ops.tanh(ops.divide(logits, self.logit_soft_cap)), self.logit_soft_cap)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape, reverse=False):
        return (*input_shape[:-1], self.input_dim) if reverse else (*input_shape, self.output_dim)

    def compute_output_spec(self, inputs, reverse=False):
        from ..symbolic import KerasTensor

        y = KerasTensor(self.compute_output_shape(inputs.shape, reverse), dtype=self.compute_dtype)
        if self.mask_zero and not reverse:
            y._keras_mask = ops.not_equal(inputs, 0)
        return y

    def quantize(self, mode=None, type_check=True, config=None):
        self._quantize_table(mode, type_check, config, ReversibleEmbedding)

    def get_config(self):
        config = {**super().get_config(), "tie_weights": self.tie_weights, "reverse_dtype": self.reverse_dtype,
                  "logit_soft_cap": self.logit_soft_cap}
        return config
