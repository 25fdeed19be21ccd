"""KernelLayer: what Dense and the convolutions share: kernel, bias, activation and their config."""
from .. import activations, constraints, initializers, ops, regularizers
from ..ops.matmul import FUSED
from .layer import Layer
from .lora import LoRA
from .quantization import REPLACING


class KernelLayer(LoRA, Layer):
    """A layer that computes activation(f(inputs, kernel) + bias); a subclass builds and calls f.

    Args:
        activation: name, function or None (linear).
        use_bias: bool.
        kernel_initializer, bias_initializer: Initializer, name or function.
        kernel_regularizer, bias_regularizer, activity_regularizer: Regularizer, name or None.
        kernel_constraint, bias_constraint: Constraint, name or None.
        lora_rank: int; train two factors of this rank instead of the kernel (`enable_lora`).
        lora_alpha: number, scale of their product over the rank; the rank by default.
        kwargs: the arguments of Layer.
    """

    def __init__(self, *, activation=None, use_bias=True, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, lora_rank=None, lora_alpha=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.bias = None
        self._set_lora(lora_rank, lora_alpha)

    def _add_kernel(self, shape, outputs, kernel=True):
        """Adds the kernel, unless told otherwise, and the bias of shape ``outputs`` (an int or a tuple)."""
        if kernel:
            self._kernel = self.add_weight(shape, self.kernel_initializer, regularizer=self.kernel_regularizer,
                                           constraint=self.kernel_constraint, name="kernel")
        if self.use_bias:
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            self.bias = self.add_weight(outputs, self.bias_initializer, regularizer=self.bias_regularizer,
                                        constraint=self.bias_constraint, name="bias")
        self._begin_lora()

    def _add_quantized_kernel(self, shape, outputs):
        """`_add_kernel`, or what the quantization that the dtype policy asks for has in its place."""
        mode = self.quantization_mode
        if mode is not None:
            self.quantized_build(shape, mode, self.quantization_config)
        self._add_kernel(shape, outputs, kernel=mode not in REPLACING)

    def _kernel_and_bias(self):
        """Kernel and bias (or None) in the compute dtype."""
        kernel, bias = self.kernel, self.bias
        if kernel.dtype != self.compute_dtype:
            kernel = ops.cast(kernel, self.compute_dtype)
            bias = bias if bias is None else ops.cast(bias, self.compute_dtype)
        return kernel, bias

    def _activate(self, f):
        """f(fused), where ``fused`` names an activation that f applies itself; others are applied to its result."""
        if self.activation is None:
            return f(None)
        name = getattr(self.activation, "__name__", None)
        if name in FUSED and self.activation is activations.get(name):
            return f(name)
        return self.activation(f(None))

    def get_config(self):
        """Returns the arguments of the constructor, as a dict."""
        return {
            **super().get_config(),
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": regularizers.serialize(self.activity_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            **self._lora_config(),
        }


def check_positive(value, name, op):
    """``value`` as an int of at least 1, with the message of filters and multipliers."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"[{op}] Invalid value for argument `{name}`. Expected a strictly positive value. "
                         f"Received {name}={value}.")
    return value.__index__()


def check_count(value, name, op):
    """``value`` as an int of at least 1."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"[{op}] {name} must be a positive integer. Received: {name}={value!r}")
    return value.__index__()
