"""Quantization of layers: what every layer has, and the kernels of Dense and EinsumDense."""
import functools
import math

from .. import ops
from ..autograd import record
from ..dtype_policies import QUANTIZATION_MODES, Int4DTypePolicy, QuantizedFloat8DTypePolicy
from ..dtype_policies import get as get_policy

INTEGERS = ("int8", "int4")
# Modes whose kernel takes the place of the floats.
REPLACING = ("int8", "int4", "gptq", "awq")


def checked_quantize(quantize):
    """`quantize` of a class, called with a checked mode and config, and with the layer open for new variables."""

    @functools.wraps(quantize)
    def wrapper(self, mode=None, config=None, **kwargs):
        from ..quantizers.configs import validate_and_resolve_config

        if self._quantizing:  # a subclass that calls super().quantize
            return quantize(self, mode=mode, config=config, **kwargs)
        config = validate_and_resolve_config(mode, config)
        self._check_quantize_args(config.mode)
        locked = self._locked
        object.__setattr__(self, "_locked", False)
        object.__setattr__(self, "_quantizing", True)
        try:
            return quantize(self, mode=config.mode, config=config, **kwargs)
        finally:
            object.__setattr__(self, "_locked", locked)
            object.__setattr__(self, "_quantizing", False)

    wrapper._checks_arguments = True
    return wrapper


class Quantizable:
    """The quantization methods that every layer has."""

    _quantizing = False
    _is_quantized = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "quantize" in cls.__dict__ and not hasattr(cls.__dict__["quantize"], "_checks_arguments"):
            cls.quantize = checked_quantize(cls.__dict__["quantize"])

    @property
    def quantization_mode(self):
        """One of "int8", "int4", "float8", "gptq", "awq", or None if the layer is not quantized."""
        return self._dtype_policy.quantization_mode

    @checked_quantize
    def quantize(self, mode=None, type_check=True, config=None):
        """Replaces the weights by small integers, or trains them with 8-bit floats.

        Args:
            mode: "int8", "int4" (two in a byte), "float8", "gptq" or "awq" (their variables only: `Model.quantize`
                calibrates them); None, that of config.
            type_check: bool; refuse subclasses, which may use the weights in other ways.
            config: QuantizationConfig of `fastnn.quantizers`; the usual one of the mode by default.

        Raises:
            ValueError: the layer is not built, is quantized already, or the arguments do not fit.
            NotImplementedError: layers of this class cannot be quantized.
        """
        raise self._not_implemented_error("quantize")

    def quantized_build(self, input_shape, mode, config=None):
        """Makes the variables of a quantized layer; subclasses that can be quantized write it."""
        raise self._not_implemented_error("quantized_build")

    def quantized_call(self, *args, **kwargs):
        """What `call` does in a quantized layer."""
        mode = self.quantization_mode
        if mode not in QUANTIZATION_MODES:
            raise self._quantization_mode_error(mode)
        return getattr(self, f"_{mode}_call")(*args, **kwargs)

    def _int8_call(self, *args, **kwargs):
        raise self._not_implemented_error("_int8_call")

    def _int4_call(self, *args, **kwargs):
        raise self._not_implemented_error("_int4_call")

    def _float8_call(self, *args, **kwargs):
        raise self._not_implemented_error("_float8_call")

    def _gptq_call(self, *args, **kwargs):
        raise self._not_implemented_error("_gptq_call")

    def _awq_call(self, *args, **kwargs):
        raise self._not_implemented_error("_awq_call")

    def _check_quantize_args(self, mode):
        if not self.built:
            raise ValueError(f"[{self.name}] Cannot quantize a layer that isn't yet built. "
                             f"Received: a {type(self).__name__}")
        if self._is_quantized:
            raise ValueError(f"[{self.name}] is already quantized with dtype_policy='{self.dtype_policy.name}'. "
                             f"Received: mode={mode}")
        if mode == "int8" and self.compute_dtype == "float16":
            raise ValueError(f"[{self.name}] Quantization mode='int8' doesn't work well with compute_dtype='float16': use "
                             "another dtype policy, such as 'mixed_bfloat16'.")

    def _check_quantized_class(self, type_check, cls):
        if type_check and type(self) is not cls:
            raise self._not_implemented_error("quantize")

    def _not_implemented_error(self, name):
        return NotImplementedError(f"[{self.name}] Layer {type(self).__name__} does not have a `{name}` method implemented.")

    def _quantization_mode_error(self, mode):
        return NotImplementedError(f"[{self.name}] Invalid quantization mode. Expected one of {QUANTIZATION_MODES}. "
                                   f"Received: quantization_mode={mode}")

    def _set_quantized_policy(self, mode, config):
        """The policy that tells, in files, how the layer was quantized."""
        self._is_quantized = True
        if self.dtype_policy.quantization_mode is not None:
            return
        if mode in ("gptq", "awq"):
            mode = config.dtype_policy_string()
        elif mode == "int4":
            block_size = block_size_of(self, config)
            mode = f"int4/{-1 if block_size is None else block_size}"
        self.dtype_policy = get_policy(f"{mode}_from_{self.dtype_policy.name}")

    def _quantization_argument(self, value):
        """The config of a constructor's argument, which may come from a file."""
        if isinstance(value, dict):
            from ..saving.serialization import deserialize_keras_object

            return deserialize_keras_object(value)
        return value

    def _quantization_entry(self):
        from ..saving.serialization import serialize_keras_object

        return {"quantization_config": serialize_keras_object(self.quantization_config)}

    def _specified(self):
        """The names of the variables in files, in their order, that the layer has."""
        mode = self.quantization_mode
        spec = self.variable_serialization_spec
        if mode not in spec:
            raise self._quantization_mode_error(mode)
        return [name for name in spec[mode] if getattr(self, self._attribute_of(name), None) is not None]

    def _attribute_of(self, name):
        return "_" + name if name in ("kernel", "embeddings") else name


def block_size_of(layer, config):
    """Rows of an int4 kernel that share a scale; None or -1 if all do."""
    from ..quantizers.configs import Int4QuantizationConfig

    if isinstance(config, Int4QuantizationConfig):
        return config.block_size
    policy = layer.dtype_policy
    if isinstance(policy, Int4DTypePolicy):
        return None if policy.block_size == -1 else policy.block_size
    return None


def in_blocks(block_size):
    """Whether a block size asks for blocks."""
    return block_size is not None and block_size > 0


def group_size_of(layer, config):
    """(weight_bits, group_size) of a GPTQ or AWQ layer."""
    source = config if hasattr(config, "group_size") else layer.dtype_policy
    if not hasattr(source, "group_size"):
        raise ValueError(f"[{layer.name}] the group size must be given by a config or a dtype policy of GPTQ or AWQ. "
                         f"Received: dtype_policy={layer.dtype_policy}")
    return source.weight_bits, source.group_size


def group_index(rows, block_size):
    """The initial value of `g_idx`: the group of each row."""
    return lambda shape, dtype=None: ops.floor_divide(ops.arange(rows, dtype=dtype), block_size)


def quantized_levels(quantizer, x, axis):
    """Integers of a quantizer as float32, and their scales."""
    if hasattr(quantizer, "levels"):
        levels, scale = quantizer.levels(x, axis)
    else:
        levels, scale = quantizer(x, axis=axis)
    return ops.cast(levels, "float32"), scale


# ---- 8-bit floats --------------------------------------------------------------------------------------


def float8_inputs(x, scale, history, dtype, training):
    """x rounded to 8-bit floats; the "gradients" of scale and history are their next values."""
    from ..quantizers import float8

    x = ops.convert_to_tensor(x)
    scale, history = ops.convert_to_tensor(scale), ops.convert_to_tensor(history)
    y = float8.quantize_and_dequantize(ops.stop_gradient(x), scale, "float8_e4m3fn", dtype)

    def vjp(gy):
        if not training:
            return gy, None, None
        return (gy, float8.compute_float8_scale(ops.max(history, axis=0), scale, float8.largest_of("float8_e4m3fn")),
                float8.compute_float8_amax_history(x, history))

    return record(y, (x, scale, history), vjp)


def float8_outputs(y, scale, history, dtype):
    """y, whose gradient is rounded to 8-bit floats."""
    from ..quantizers import float8

    y, scale, history = (ops.convert_to_tensor(v) for v in (y, scale, history))

    def vjp(gy):
        rounded = float8.quantize_and_dequantize(gy, scale, "float8_e5m2", dtype)
        return (rounded, float8.compute_float8_scale(ops.max(history, axis=0), scale, float8.largest_of("float8_e5m2")),
                float8.compute_float8_amax_history(gy, history))

    return record(ops.stop_gradient(y), (y, scale, history), vjp)


# ---- kernels -------------------------------------------------------------------------------------------


class QuantizedKernel:
    """Mix-in of the layers that are linear in their kernel: Dense and EinsumDense.

    A subclass writes `_product(inputs, kernel)`, `_product_vjp(gy, kernel)`, `_matrix_shape(kernel_shape)`,
    `_input_axes()`, `_kernel_axes()`, `_scale_from_kernel(scale)`, `_scale_to_kernel(scale)` and
    `_scale_from_input(scale)`.

    Attributes:
        quantization_config: QuantizationConfig or None.
        inputs_quantizer: Quantizer or None, in int8 and int4 layers.
    """

    @property
    def variable_serialization_spec(self):
        """The names of the variables in files, in their order, by quantization mode."""
        scales = [f"{what}_{kind}" for what in ("inputs", "kernel", "outputs_grad") for kind in ("scale", "amax_history")]
        return {
            None: ["kernel", "bias"],
            "int8": ["kernel", "bias", "kernel_scale"],
            "int4": ["kernel", "bias", "kernel_scale", "kernel_zero", "g_idx"],
            "float8": ["kernel", "bias", *scales],
            "gptq": ["bias", "quantized_kernel", "kernel_scale", "kernel_zero", "g_idx"],
            "awq": ["bias", "quantized_kernel", "kernel_scale", "kernel_zero", "awq_scales", "g_idx"],
        }

    # ---- variables

    def quantized_build(self, kernel_shape, mode, config=None):
        if mode not in QUANTIZATION_MODES:
            raise self._quantization_mode_error(mode)
        kernel_shape = tuple(kernel_shape)
        self.original_kernel_shape = kernel_shape
        if mode == "int8":
            self._int8_build(kernel_shape, config)
        elif mode == "int4":
            self._int4_build(kernel_shape, config)
        elif mode == "float8":
            self._float8_build()
        else:
            self._calibrated_build(kernel_shape, mode, config)
        self._is_quantized = True

    def _add_fixed(self, name, shape, initializer="zeros", dtype=None):
        return self.add_weight(shape, initializer, dtype=dtype, trainable=False, name=name)

    def _int8_build(self, kernel_shape, config):
        from ..quantizers import AbsMaxQuantizer, QuantizationConfig

        self.inputs_quantizer = QuantizationConfig.activation_quantizer_or_default(config, AbsMaxQuantizer())
        self._kernel = self._add_fixed("kernel", kernel_shape, dtype="int8")
        reduced = self._kernel_axes()
        shape = tuple(1 if i in reduced else n for i, n in enumerate(kernel_shape))
        self.kernel_scale = self._add_fixed("kernel_scale", self._scale_from_kernel(ops.zeros(shape)).shape, "ones")

    def _int4_build(self, kernel_shape, config):
        from ..quantizers import QuantizationConfig

        self.inputs_quantizer = QuantizationConfig.activation_quantizer_or_default(config, None)
        rows, columns = self._matrix_shape(kernel_shape)
        block_size = block_size_of(self, config)
        self._int4_block_size = self._kept_block_size(block_size)
        self._orig_input_dim, self._orig_output_dim = rows, columns
        self._int4_rows, self._int4_unpacked_column_size = rows, columns
        self._kernel = self._add_fixed("kernel", (rows, (columns + 1) // 2), dtype="int8")
        if not in_blocks(block_size):
            self.kernel_scale = self._add_fixed("kernel_scale", (columns,), "ones")
            return
        shape = (math.ceil(rows / block_size), columns)
        self.kernel_scale = self._add_fixed("kernel_scale", shape, "ones")
        self.kernel_zero = self._add_fixed("kernel_zero", shape, dtype="int8")
        self.g_idx = self._add_fixed("g_idx", (rows,), group_index(rows, block_size), "float32")

    def _kept_block_size(self, block_size):
        return block_size

    def _float8_build(self):
        length = getattr(self.dtype_policy, "amax_history_length", QuantizedFloat8DTypePolicy.default_amax_history_length)
        for what in ("inputs", "kernel", "outputs_grad"):
            for kind, shape, initializer in (("scale", (), "ones"), ("amax_history", (length,), "zeros")):
                # Trained in name only: their gradients are their next values.
                variable = self.add_weight(shape, initializer, dtype="float32", autocast=False,
                                           overwrite_with_gradient=True, name=f"{what}_{kind}")
                setattr(self, f"{what}_{kind}", variable)

    def _calibrated_build(self, kernel_shape, mode, config):
        rows, columns = self._calibrated_shape(kernel_shape)
        bits, group_size = group_size_of(self, config)
        groups = 1 if group_size == -1 else math.ceil(rows / group_size)
        self.kernel_shape = kernel_shape
        setattr(self, f"is_{mode}_calibrated", False)
        setattr(self, f"{mode}_unpacked_column_size", columns)
        self.quantized_kernel = self._add_fixed(
            "kernel", ((columns + 1) // 2 if bits == 4 else columns, rows), dtype="uint8")
        self.kernel_scale = self._add_fixed("kernel_scale", (columns, groups), "ones")
        self.kernel_zero = self._add_fixed(self._zero_name, (columns, groups), dtype="uint8")
        if mode == "awq":
            self.awq_scales = self._add_fixed("awq_scales", (rows,), "ones")
        self.g_idx = self._add_fixed("g_idx", (rows,), dtype="float32")

    def _set_calibrated(self, mode, integers, scale, zero, groups, factors=None):
        """Takes what a calibration found: integers (columns, rows), scale and zero (columns, groups), groups (rows,)."""
        from ..quantizers import pack_int4

        bits, _ = group_size_of(self, None)
        integers = ops.cast(integers, "uint8")
        if bits == 4:
            integers = pack_int4(integers, axis=0, dtype="uint8")[0]
        del self._kernel
        self.quantized_kernel.assign(integers)
        self.kernel_scale.assign(scale)
        self.kernel_zero.assign(zero)
        self.g_idx.assign(groups)
        if factors is not None:
            self.awq_scales.assign(factors)
        setattr(self, f"is_{mode}_calibrated", True)

    _zero_name = "kernel_zero"

    def _calibrated_shape(self, kernel_shape):
        return self._matrix_shape(kernel_shape)

    # ---- floats to integers

    def _quantize_kernel(self, mode, type_check, config, cls):
        """The body of `quantize`."""
        self._check_quantized_class(type_check, cls)
        self.quantization_config = config
        shape, values = tuple(self._kernel.shape), {}
        if mode in INTEGERS:
            values = self._integers(self._kernel, mode, config)
            del self._kernel
        self.quantized_build(shape, mode, config)
        for name, value in values.items():
            getattr(self, name).assign(value)
        self._set_quantized_policy(mode, config)

    def _integers(self, kernel, mode, config):
        """{variable: value} for a kernel of floats."""
        from .. import quantizers

        if mode == "int8":
            quantizer = quantizers.QuantizationConfig.weight_quantizer_or_default(
                config, quantizers.AbsMaxQuantizer(axis=self._kernel_axes()))
            integers, scale = quantizer(kernel, to_numpy=True)
            return {"_kernel": integers, "kernel_scale": self._scale_from_kernel(scale)}
        matrix = ops.reshape(kernel, self._matrix_shape(tuple(kernel.shape)))
        block_size = block_size_of(self, config)
        values = {}
        if in_blocks(block_size):
            integers, scale, values["kernel_zero"] = quantizers.abs_max_quantize_grouped_with_zero_point(
                matrix, block_size, to_numpy=True)
        else:
            quantizer = quantizers.QuantizationConfig.weight_quantizer_or_default(
                config, quantizers.AbsMaxQuantizer(axis=0, value_range=(-8, 7)))
            integers, scale = quantizer(matrix, axis=0, to_numpy=True)
            scale = ops.squeeze(scale, axis=0)
        return {"_kernel": quantizers.pack_int4(integers, axis=-1)[0], "kernel_scale": scale, **values}

    # ---- and back

    def _stored_kernel(self):
        """What the attribute `kernel` shows: the integers, two of a byte apart, or the floats."""
        from ..quantizers import unpack_int4

        mode = self.quantization_mode
        if mode == "int4":
            return ops.reshape(unpack_int4(self._kernel, self._orig_output_dim, axis=-1), self.original_kernel_shape)
        if mode in ("gptq", "awq") and getattr(self, f"is_{mode}_calibrated", False):
            return self._calibrated_integers(mode)
        return self._kernel

    def _calibrated_integers(self, mode):
        from ..quantizers import unpack_int4

        if group_size_of(self, None)[0] != 4:
            return self.quantized_kernel
        return unpack_int4(self.quantized_kernel, getattr(self, f"{mode}_unpacked_column_size"), axis=0, dtype="uint8")

    def _float_kernel(self):
        """The kernel that the integers stand for, in the compute dtype."""
        from ..quantizers import unpack_int4
        from ..quantizers.parameters import dequantize_with_sz_map

        mode, dtype = self.quantization_mode, self.compute_dtype
        if mode == "int8":
            return ops.divide(ops.cast(self._kernel, dtype), ops.cast(self._scale_to_kernel(self.kernel_scale), dtype))
        if mode == "int4":
            integers = ops.cast(unpack_int4(self._kernel, self._orig_output_dim, axis=-1), dtype)
            if in_blocks(self._int4_block_size):
                kernel = dequantize_with_sz_map(integers, self.kernel_scale, self.kernel_zero, self.g_idx, group_axis=0)
            else:
                kernel = ops.divide(integers, ops.cast(self.kernel_scale, dtype))
            return ops.cast(ops.reshape(kernel, self.original_kernel_shape), dtype)
        kernel = getattr(self, "_kernel", None)
        if mode in ("gptq", "awq"):
            if getattr(self, f"is_{mode}_calibrated"):
                kernel = ops.transpose(dequantize_with_sz_map(
                    self._calibrated_integers(mode), self.kernel_scale, self.kernel_zero, self.g_idx))
                if mode == "awq":
                    kernel = ops.divide(kernel, ops.expand_dims(self.awq_scales, -1))
                kernel = ops.reshape(kernel, self.original_kernel_shape)
            elif kernel is None:
                raise ValueError(f"[{self.name}] has a kernel of mode {mode!r} only after calibration, or after its weights "
                                 "were loaded")
        return ops.cast(kernel, dtype)

    # ---- calls

    def _finish(self, y, inputs):
        """LoRA, bias and activation."""
        if self.lora_enabled:
            low = ops.matmul(self._product(inputs, ops.cast(self.lora_kernel_a, self.compute_dtype)),
                             ops.cast(self.lora_kernel_b, self.compute_dtype))
            y = ops.add(y, ops.multiply(low, self.lora_alpha / self.lora_rank))
        if self.bias is not None:
            y = ops.add(y, ops.cast(self.bias, self.compute_dtype))
        return y if self.activation is None else self.activation(y)

    def _int8_call(self, inputs, training=None):
        inputs = ops.convert_to_tensor(inputs)
        kernel = ops.convert_to_tensor(self._kernel)
        dtype = self.compute_dtype
        scale = ops.cast(self.kernel_scale, dtype)
        x = ops.stop_gradient(inputs)
        if self.inputs_quantizer is not None:
            # Products of 8-bit integers are exact in float32, and so are sums of a thousand of them.
            x, inputs_scale = quantized_levels(self.inputs_quantizer, x, self._input_axes())
            y = self._product(x, ops.cast(kernel, "float32"))
            y = ops.divide(ops.cast(y, dtype), ops.multiply(self._scale_from_input(inputs_scale), scale))
        else:
            y = ops.divide(self._product(x, ops.cast(kernel, dtype)), scale)
        y = record(y, (inputs,), lambda gy: (self._product_vjp(gy, self._float_kernel()),))
        return self._finish(y, inputs)

    def _int4_call(self, inputs, training=None):
        inputs = ops.convert_to_tensor(inputs)
        kernel = ops.stop_gradient(self._float_kernel())
        if self.inputs_quantizer is None or in_blocks(self._int4_block_size):
            y = self._product(inputs, kernel)
        else:
            x, scale = quantized_levels(self.inputs_quantizer, ops.stop_gradient(inputs), self._input_axes())
            y = ops.divide(ops.cast(self._product(x, ops.cast(kernel, "float32")), self.compute_dtype),
                           self._scale_from_input(scale))
            y = record(y, (inputs,), lambda gy: (self._product_vjp(gy, kernel),))
        return self._finish(y, inputs)

    def _float8_call(self, inputs, training=None):
        if self.lora_enabled:
            raise NotImplementedError(f"[{self.name}] Currently, `_float8_call` doesn't support LoRA")
        dtype = self.compute_dtype
        y = self._product(
            float8_inputs(inputs, self.inputs_scale, self.inputs_amax_history, dtype, training),
            float8_inputs(self._kernel, self.kernel_scale, self.kernel_amax_history, dtype, training))
        y = float8_outputs(y, self.outputs_grad_scale, self.outputs_grad_amax_history, dtype)
        if self.bias is not None:
            # Through bfloat16, as Keras adds it.
            bias = ops.cast(self.bias, "bfloat16") if dtype == "float32" else self.bias
            y = ops.add(y, ops.cast(bias, dtype))
        return y if self.activation is None else self.activation(y)

    def _gptq_call(self, inputs, training=None):
        return self._finish(self._product(inputs, self._float_kernel()), inputs)

    _awq_call = _gptq_call

    # ---- files

    def save_own_variables(self, store):
        """The variables in the order of `variable_serialization_spec`, LoRA's product merged into the kernel."""
        if not self.built:
            return
        merged = {}
        mode = self.quantization_mode
        if self.lora_enabled and mode in INTEGERS:
            product = ops.multiply(ops.matmul(self.lora_kernel_a, self.lora_kernel_b), self.lora_alpha / self.lora_rank)
            merged = {name.lstrip("_"): value for name, value in
                      self._integers(ops.add(self._float_kernel(), product), mode, self._merge_config(mode)).items()}
        elif self.lora_enabled:
            merged = {"kernel": ops.convert_to_numpy(self.kernel)}
        for index, name in enumerate(self._specified()):
            value = merged.get(name)
            store[str(index)] = getattr(self, self._attribute_of(name)) if value is None else ops.convert_to_numpy(value)

    def _merge_config(self, mode):
        from ..quantizers import Int4QuantizationConfig, Int8QuantizationConfig

        return Int4QuantizationConfig(block_size=self._int4_block_size) if mode == "int4" else Int8QuantizationConfig()

    def load_own_variables(self, store):
        if not self.built:
            return super().load_own_variables(store)
        mode = self.quantization_mode
        load_specified(self, store, ("lora_kernel_a", "lora_kernel_b"))
        if mode in ("gptq", "awq"):  # what was saved was calibrated
            setattr(self, f"is_{mode}_calibrated", True)


def load_specified(layer, store, factors):
    """Assigns a layer's variables in the order of `variable_serialization_spec`; LoRA's factors are in the kernel already.

    Args:
        layer: that is built.
        store: {"0": values, "1": ...}.
        factors: names of the attributes that hold LoRA's factors.

    Raises:
        ValueError: there are more or fewer values than variables.
    """
    names = layer._specified()
    if len(store) != len(names):
        raise ValueError(f"[{layer.name}] expected {len(names)} variables, but received {len(store)} variables during "
                         f"loading. Expected: {names}")
    for index, name in enumerate(names):
        getattr(layer, layer._attribute_of(name)).assign(store[str(index)])
    for name in factors if layer.lora_enabled else ():
        factor = getattr(layer, name)
        factor.assign(ops.zeros(factor.shape, factor.dtype))
