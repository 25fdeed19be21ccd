"""Dense: a matrix product over the last axis."""
from .. import ops
from .input_spec import InputSpec
from .kernel_layer import KernelLayer, check_count
from .quantization import QuantizedKernel


class Dense(QuantizedKernel, KernelLayer):
    """activation(inputs @ kernel + bias), over the last axis of an input with 2 or more axes.

    Args:
        units: size of the last axis of the output.
        activation: name, function or None (linear).
        use_bias: bool; add a bias.
        kernel_initializer, bias_initializer: Initializer, name or function; glorot_uniform and zeros.
        kernel_regularizer, bias_regularizer, activity_regularizer: Regularizer, name or None.
        kernel_constraint, bias_constraint: Constraint, name or None.
        lora_rank: int; train two factors of this rank instead of the kernel (`enable_lora`).
        lora_alpha: number, scale of their product over the rank; the rank by default.
        quantization_config: QuantizationConfig, how a layer whose `dtype` is a quantized policy is built.

    Weights:
        kernel: (last axis of the input, units); bias: (units,).

    Raises:
        ValueError: units is not a positive integer, or the input has another last axis than the one built for.
    """

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, lora_rank=None,
                 lora_alpha=None, quantization_config=None, **kwargs):
        super().__init__(activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                         kernel_constraint=kernel_constraint, bias_constraint=bias_constraint,
                         lora_rank=lora_rank, lora_alpha=lora_alpha, **kwargs)
        self.units = check_count(units, "units", "Dense")
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True
        self.quantization_config = self._quantization_argument(quantization_config)

    def build(self, input_shape):
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError("[Dense] the input must have at least 2 axes and a known last one. "
                             f"Received: input_shape={input_shape}")
        self._add_quantized_kernel((input_shape[-1], self.units), self.units)
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    def call(self, inputs, training=None):
        if self._dtype_policy.quantization_mode is not None:
            return self.quantized_call(inputs, training=training)
        kernel, bias = self._kernel_and_bias()
        return self._activate(lambda fused: ops.dense(inputs, kernel, bias, fused))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def quantize(self, mode=None, type_check=True, config=None):
        self._quantize_kernel(mode, type_check, config, Dense)

    def _product(self, inputs, kernel):
        return ops.matmul(inputs, kernel)

    def _product_vjp(self, gy, kernel):
        return ops.matmul(gy, ops.transpose(kernel))

    def _matrix_shape(self, kernel_shape):
        return kernel_shape

    def _input_axes(self):
        return -1

    def _kernel_axes(self):
        return (0,)

    def _scale_from_kernel(self, scale):
        return ops.squeeze(scale, axis=0)

    def _scale_to_kernel(self, scale):
        return scale

    def _scale_from_input(self, scale):
        return scale

    def get_config(self):
        config = {**super().get_config(), "units": self.units, **self._quantization_entry()}
        if self.activity_regularizer is None:
            del config["activity_regularizer"]  # as Keras writes it
        return config
