"""Tables of embeddings as small integers, with a scale for each row or for blocks of a row."""
import math

from .. import ops
from .quantization import INTEGERS, block_size_of, group_index, in_blocks, load_specified, quantized_levels


def table_integers(table, mode, config, block_size):
    """(integers, scale, zero or None) of a table of floats, quantized along its rows; int4 packed."""
    from .. import quantizers

    quantizer = quantizers.QuantizationConfig.weight_quantizer_or_default(
        config, quantizers.AbsMaxQuantizer(axis=-1, value_range=(-127, 127) if mode == "int8" else (-8, 7)))
    if mode == "int4" and in_blocks(block_size):
        parts = quantizers.abs_max_quantize_grouped_with_zero_point(ops.transpose(table), block_size, to_numpy=True)
        integers, scale, zero = (ops.transpose(part) for part in parts)
    else:
        integers, scale = quantizer(table, axis=-1, to_numpy=True)
        scale, zero = ops.squeeze(scale, axis=-1), None
    return (integers if mode == "int8" else quantizers.pack_int4(integers, axis=-1)[0]), scale, zero


class QuantizedTable:
    """Mix-in of Embedding and ReversibleEmbedding.

    Attributes:
        quantization_config: QuantizationConfig or None.
    """

    @property
    def variable_serialization_spec(self):
        """The names of the variables in files, in their order, by quantization mode."""
        return {None: ["embeddings"], "int8": ["embeddings", "embeddings_scale"],
                "int4": ["embeddings", "embeddings_scale", "embeddings_zero", "g_idx"]}

    def quantized_build(self, embeddings_shape, mode, config=None):
        if mode not in INTEGERS:
            raise self._quantization_mode_error(mode)
        rows, columns = self.input_dim, self.output_dim
        packed = columns if mode == "int8" else (columns + 1) // 2
        self._embeddings = self._add_fixed("embeddings", (rows, packed), dtype="int8")
        self._orig_output_dim = columns
        block_size = self._int4_block_size = block_size_of(self, config) if mode == "int4" else None
        if not in_blocks(block_size):
            self.embeddings_scale = self._add_fixed("embeddings_scale", (rows,), "ones")
        else:
            shape = (rows, math.ceil(columns / block_size))
            self.embeddings_scale = self._add_fixed("embeddings_scale", shape, "ones")
            self.embeddings_zero = self._add_fixed("embeddings_zero", shape, dtype="int8")
            self.g_idx = self._add_fixed("g_idx", (columns,), group_index(columns, block_size), "float32")
        self._is_quantized = True

    def _add_fixed(self, name, shape, initializer="zeros", dtype=None):
        return self.add_weight(shape, initializer, dtype=dtype, trainable=False, name=name)

    def _quantization_mode_error(self, mode):
        return NotImplementedError(f"[{self.name}] Invalid quantization mode. Expected one of {INTEGERS}. "
                                   f"Received: quantization_mode={mode}")

    def _quantize_table(self, mode, type_check, config, cls):
        """The body of `quantize`."""
        self._check_quantized_class(type_check, cls)
        if mode not in INTEGERS:
            raise self._quantization_mode_error(mode)
        self.quantization_config = config
        values = self._integers(self._embeddings, mode, config)
        for name in self._replaced():
            delattr(self, name)
        self.quantized_build((self.input_dim, self.output_dim), mode, config)
        for name, value in values.items():
            getattr(self, name).assign(value)
        self._set_quantized_policy(mode, config)

    def _replaced(self):
        return ["_embeddings"]

    def _integers(self, table, mode, config):
        """{variable: value} for a table of floats."""
        integers, scale, zero = table_integers(table, mode, config, block_size_of(self, config))
        values = {"_embeddings": integers, "embeddings_scale": scale}
        return values if zero is None else {**values, "embeddings_zero": zero}

    def _as_floats(self, integers, scale, zero):
        """Rows of the table, from what is stored of them, in the compute dtype."""
        from ..quantizers import unpack_int4
        from ..quantizers.parameters import dequantize_with_sz_map

        dtype = self.compute_dtype
        if self.quantization_mode == "int4":
            integers = unpack_int4(integers, self._orig_output_dim, axis=-1)
        rows = ops.cast(integers, dtype)
        if zero is None:
            return ops.divide(rows, ops.expand_dims(ops.cast(scale, dtype), axis=-1))
        return ops.cast(dequantize_with_sz_map(rows, scale, zero, self.g_idx, group_axis=-1), dtype)

    def _float_table(self):
        return self._as_floats(self._embeddings, self.embeddings_scale, getattr(self, "embeddings_zero", None))

    def _int8_call(self, inputs, training=None):
        ids = inputs if ops.convert_to_tensor(inputs).dtype in ("int32", "int64") else ops.cast(inputs, "int32")
        zero = getattr(self, "embeddings_zero", None)
        y = self._as_floats(ops.take(self._embeddings, ids, axis=0), ops.take(self.embeddings_scale, ids, axis=0),
                            None if zero is None else ops.take(zero, ids, axis=0))
        if self.lora_enabled:
            low = ops.matmul(ops.embedding_lookup(self.lora_embeddings_a, ids), self.lora_embeddings_b)
            y = ops.cast(ops.add(y, ops.multiply(low, self.lora_alpha / self.lora_rank)), self.compute_dtype)
        return y

    _int4_call = _int8_call

    def save_own_variables(self, store):
        """The variables in the order of `variable_serialization_spec`, LoRA's product merged into the table."""
        if not self.built:
            return
        mode, merged = self.quantization_mode, {}
        names = self._specified()
        if self.lora_enabled and mode is None:
            merged = {"embeddings": self.embeddings}
        elif self.lora_enabled:
            table = ops.add(self._float_table(), self._lora_product())
            integers, scale, zero = table_integers(table, mode, None, self._int4_block_size)
            merged = {"embeddings": integers, "embeddings_scale": scale, "embeddings_zero": zero}
        for index, name in enumerate(names):
            value = merged.get(name)
            store[str(index)] = getattr(self, self._attribute_of(name)) if value is None else ops.convert_to_numpy(value)

    def load_own_variables(self, store):
        if not self.built:
            return super().load_own_variables(store)
        load_specified(self, store, ("lora_embeddings_a", "lora_embeddings_b"))


class QuantizedReverse(QuantizedTable):
    """Mix-in of ReversibleEmbedding: the way back, too."""

    @property
    def variable_serialization_spec(self):
        """The names of the variables in files, in their order, by quantization mode."""
        spec = super().variable_serialization_spec
        if not self.tie_weights:
            reverse = "reverse_embeddings"
            more = {None: [reverse], "int8": [reverse, f"{reverse}_scale"],
                    "int4": [reverse, f"{reverse}_scale", f"{reverse}_zero"]}
            spec = {mode: [*names, *more[mode]] for mode, names in spec.items()}
        return spec

    def quantized_build(self, embeddings_shape, mode, config=None):
        from ..quantizers import AbsMaxQuantizer, QuantizationConfig

        super().quantized_build(embeddings_shape, mode, config)
        self.inputs_quantizer = QuantizationConfig.activation_quantizer_or_default(config, AbsMaxQuantizer(axis=-1))
        if self.tie_weights:
            return
        rows, columns = self.input_dim, self.output_dim
        packed = columns if mode == "int8" else (columns + 1) // 2
        self.reverse_embeddings = self._add_fixed("reverse_embeddings", (packed, rows), dtype="int8")
        blocks = in_blocks(self._int4_block_size)
        shape = (math.ceil(columns / self._int4_block_size), rows) if blocks else (rows,)
        self.reverse_embeddings_scale = self._add_fixed("reverse_embeddings_scale", shape, "ones")
        if blocks:
            self.reverse_embeddings_zero = self._add_fixed("reverse_embeddings_zero", shape)

    def _replaced(self):
        return ["_embeddings"] if self.tie_weights else ["_embeddings", "reverse_embeddings"]

    def _integers(self, table, mode, config):
        values = super()._integers(table, mode, config)
        if self.tie_weights:
            return values
        reverse_config = config if getattr(config, "weight_quantizer", None) is not None else None
        table = ops.transpose(self.reverse_embeddings)
        integers, scale, zero = table_integers(table, mode, reverse_config, block_size_of(self, config))
        values.update(reverse_embeddings=ops.transpose(integers),
                      reverse_embeddings_scale=ops.transpose(scale) if scale.ndim == 2 else scale)
        if zero is not None:
            values["reverse_embeddings_zero"] = ops.transpose(zero)
        return values

    def _reverse_table(self):
        """The table (input_dim, output_dim) of the way back, as floats."""
        if self.tie_weights:
            return self._float_table()
        scale, zero = self.reverse_embeddings_scale, getattr(self, "reverse_embeddings_zero", None)
        if zero is not None:
            scale, zero = ops.transpose(scale), ops.transpose(zero)
        return self._as_floats(ops.transpose(self.reverse_embeddings), scale, zero)

    def _int8_call(self, inputs, reverse=False):
        if not reverse:
            return super()._int8_call(inputs)
        x = ops.cast(inputs, self.compute_dtype)
        scale = None
        if self.inputs_quantizer is not None:
            x, scale = quantized_levels(self.inputs_quantizer, x, -1)
        logits = ops.cast(ops.matmul(x, ops.cast(ops.transpose(self._reverse_table()), x.dtype)), self.compute_dtype)
        return self._capped(logits if scale is None else ops.divide(logits, scale))

    _int4_call = _int8_call
