"""Depthwise and separable convolution layers, in one and two dimensions."""
from .. import activations, constraints, initializers, ops, regularizers
from ..ops.window import is_channels_first, pads, spatial
from .input_spec import InputSpec
from .kernel_layer import check_positive
from .layer import Layer


# Activations that the pointwise product applies to its results itself.
_FUSED = (None, "linear", "relu", "sigmoid", "tanh")


class _Windowed(Layer):
    """What the layers below share: the window, bias and activation, and the shape of the output."""

    _rank = None  # spatial axes

    def __init__(self, depth_multiplier, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
                 bias_initializer, bias_regularizer, bias_constraint, **kwargs):
        super().__init__(**kwargs)
        kind, n = type(self).__name__, self._rank
        self.rank = n
        self.depth_multiplier = check_positive(depth_multiplier, "depth_multiplier", kind)
        self.kernel_size = spatial(kernel_size, n, kind, "kernel_size")
        self.strides = spatial(strides, n, kind, "strides")
        self.dilation_rate = spatial(dilation_rate, n, kind, "dilation_rate")
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise ValueError(f"[{kind}] padding must be 'valid' or 'same'. Received: padding={padding!r}")
        self.data_format = "channels_first" if is_channels_first(data_format, kind) else "channels_last"
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(ndim=n + 2)

    @property
    def _channel_axis(self):
        return 1 if self.data_format == "channels_first" else -1

    def _channels(self, input_shape):
        if len(input_shape) != self.rank + 2:
            raise ValueError(f"[{self.name}] inputs must have {self.rank + 2} dimensions. Received: shape={input_shape}")
        channels = input_shape[self._channel_axis]
        if not channels:
            raise ValueError(f"[{self.name}] the number of channels of the input must be known and at least 1. "
                             f"Received: shape={tuple(input_shape)}")
        return channels

    def _set_spec(self, input_shape):
        channels = self._channels(input_shape)
        self.compute_output_shape(input_shape)  # raises where the window does not fit
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self._channel_axis: channels})
        return channels

    def _add_kernel(self, name, shape, kind):
        return self.add_weight(name=name, shape=shape, initializer=getattr(self, f"{kind}_initializer"),
                               regularizer=getattr(self, f"{kind}_regularizer"),
                               constraint=getattr(self, f"{kind}_constraint"))

    def _computed(self, variable):
        """A variable in the compute dtype."""
        return variable if variable.dtype == self.compute_dtype else ops.cast(variable, self.compute_dtype)

    def _finish(self, y):
        """Bias and activation."""
        if self.bias is not None:
            bias = self._computed(self.bias)
            if self.data_format == "channels_first":
                bias = ops.reshape(bias, (-1, *(1,) * self.rank))
            y = ops.add(y, bias)
        return y if self.activation is None else self.activation(y)

    def _output_shape(self, input_shape, channels):
        input_shape = tuple(input_shape)
        first = self.data_format == "channels_first"
        sizes = input_shape[2:] if first else input_shape[1:-1]
        # An unknown size fits any window.
        known = [1 << 20 if s is None else s for s in sizes]
        p = pads(self.padding, known, self.kernel_size, self.strides, self.dilation_rate, self.name)
        out = []
        for i, (size, s) in enumerate(zip(sizes, known)):
            span = (self.kernel_size[i] - 1) * self.dilation_rate[i] + 1
            left = s + p[2 * i] + p[2 * i + 1] - span
            if left < 0:
                raise ValueError(f"[{self.name}] Computed output size would be zero or negative. The window ({span}) must not "
                                 "be larger than the padded input. "
                                 f"Received: shape={input_shape}, kernel_size={self.kernel_size}, padding={self.padding!r}")
            out.append(None if size is None else left // self.strides[i] + 1)
        return (input_shape[0], channels, *out) if first else (input_shape[0], *out, channels)

    _plain = ("depth_multiplier", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "use_bias")

    def get_config(self):
        config = {**super().get_config(), **{name: getattr(self, name) for name in self._plain}}
        config["activation"] = activations.serialize(self.activation)
        config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        for name in self._objects:
            module = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
            config[name] = module[name.rsplit("_", 1)[1]].serialize(getattr(self, name))
        return config


class _DepthwiseConv(_Windowed):
    _objects = ("depthwise_initializer", "bias_initializer", "depthwise_regularizer", "bias_regularizer",
                "depthwise_constraint", "bias_constraint")

    def __init__(self, kernel_size, strides=1, padding="valid", depth_multiplier=1, data_format=None, dilation_rate=1,
                 activation=None, use_bias=True, depthwise_initializer="glorot_uniform", bias_initializer="zeros",
                 depthwise_regularizer=None, bias_regularizer=None, activity_regularizer=None, depthwise_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(depth_multiplier, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
                         bias_initializer, bias_regularizer, bias_constraint, activity_regularizer=activity_regularizer,
                         **kwargs)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)

    def build(self, input_shape):
        channels = self._set_spec(input_shape)
        self.kernel = self._add_kernel("kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise")
        self.bias = self._add_kernel("bias", (channels * self.depth_multiplier,), "bias") if self.use_bias else None

    def call(self, inputs):
        return self._finish(ops.depthwise_conv(inputs, self._computed(self.kernel), self.strides, self.padding, self.data_format,
                                               self.dilation_rate))

    def compute_output_shape(self, input_shape):
        return self._output_shape(input_shape, self._channels(input_shape) * self.depth_multiplier)


class DepthwiseConv1D(_DepthwiseConv):
    """Convolution over time of every channel with windows of its own: `ops.depthwise_conv`, bias, activation.

    Args:
        kernel_size: int, steps.
        strides: int, steps.
        padding: "valid" or "same".
        depth_multiplier: int m, outputs per input channel.
        data_format: "channels_last" (n, steps, c), "channels_first" (n, c, steps), or None, the global setting.
        dilation_rate: int, steps between the taps of a window.
        activation: function, name or None.
        use_bias: bool.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of `kernel`.
        bias_initializer, bias_regularizer, bias_constraint: of `bias`.
        activity_regularizer: of the output.

    Weights:
        kernel: (kernel_size, c, m), glorot_uniform.
        bias: (c * m,), zeros.

    Input: (n, steps, c). Output: (n, new_steps, c * m).

    Raises:
        ValueError: an argument below 1, or a window larger than the input.
    """

    _rank = 1


class DepthwiseConv2D(_DepthwiseConv):
    """Convolution over images of every channel with windows of its own: `ops.depthwise_conv`, bias, activation.

    Args:
        kernel_size: int or (rows, columns), pixels.
        strides: int or (rows, columns), pixels.
        padding: "valid" or "same".
        depth_multiplier: int m, outputs per input channel.
        data_format: "channels_last" (n, h, w, c), "channels_first" (n, c, h, w), or None, the global setting.
        dilation_rate: int or (rows, columns), pixels between the taps of a window.
        activation: function, name or None.
        use_bias: bool.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of `kernel`.
        bias_initializer, bias_regularizer, bias_constraint: of `bias`.
        activity_regularizer: of the output.

    Weights:
        kernel: (kh, kw, c, m), glorot_uniform.
        bias: (c * m,), zeros.

    Input: (n, h, w, c). Output: (n, oh, ow, c * m).

    Raises:
        ValueError: an argument below 1, or a window larger than the input.
    """

    _rank = 2


class _SeparableConv(_Windowed):
    _plain = ("filters", *_Windowed._plain)
    _objects = ("depthwise_initializer", "pointwise_initializer", "bias_initializer", "depthwise_regularizer",
                "pointwise_regularizer", "bias_regularizer", "depthwise_constraint", "pointwise_constraint",
                "bias_constraint")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 depth_multiplier=1, activation=None, use_bias=True, depthwise_initializer="glorot_uniform",
                 pointwise_initializer="glorot_uniform", bias_initializer="zeros", depthwise_regularizer=None,
                 pointwise_regularizer=None, bias_regularizer=None, activity_regularizer=None, depthwise_constraint=None,
                 pointwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(depth_multiplier, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
                         bias_initializer, bias_regularizer, bias_constraint, activity_regularizer=activity_regularizer,
                         **kwargs)
        self.filters = check_positive(filters, "filters", type(self).__name__)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.pointwise_constraint = constraints.get(pointwise_constraint)

    def build(self, input_shape):
        channels, m = self._set_spec(input_shape), self.depth_multiplier
        self.depthwise_kernel = self._add_kernel("depthwise_kernel", (*self.kernel_size, channels, m), "depthwise")
        self.pointwise_kernel = self._add_kernel("pointwise_kernel", (*(1,) * self.rank, channels * m, self.filters),
                                                 "pointwise")
        self.bias = self._add_kernel("bias", (self.filters,), "bias") if self.use_bias else None

    def call(self, inputs):
        depthwise, pointwise = self._computed(self.depthwise_kernel), self._computed(self.pointwise_kernel)
        if self.data_format == "channels_first":
            return self._finish(ops.separable_conv(inputs, depthwise, pointwise, self.strides, self.padding,
                                                   self.data_format, self.dilation_rate))
        y = ops.depthwise_conv(inputs, depthwise, self.strides, self.padding, "channels_last", self.dilation_rate)
        bias = None if self.bias is None else self._computed(self.bias)
        name = activations.serialize(self.activation)
        if name in _FUSED:
            return ops.fused_conv(y, pointwise, bias, activation=name)
        return self.activation(ops.fused_conv(y, pointwise, bias))

    def compute_output_shape(self, input_shape):
        self._channels(input_shape)
        return self._output_shape(input_shape, self.filters)


class SeparableConv1D(_SeparableConv):
    """A depthwise convolution over time, then a mix of the channels at every step; bias, activation.

    Args:
        filters: int, channels of the output.
        kernel_size: int, steps.
        strides: int, steps.
        padding: "valid" or "same".
        data_format: "channels_last" (n, steps, c), "channels_first" (n, c, steps), or None, the global setting.
        dilation_rate: int, steps between the taps of a window.
        depth_multiplier: int m, depthwise outputs per input channel.
        activation: function, name or None.
        use_bias: bool.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of `depthwise_kernel`.
        pointwise_initializer, pointwise_regularizer, pointwise_constraint: of `pointwise_kernel`.
        bias_initializer, bias_regularizer, bias_constraint: of `bias`.
        activity_regularizer: of the output.

    Weights:
        depthwise_kernel: (kernel_size, c, m), glorot_uniform.
        pointwise_kernel: (1, c * m, filters), glorot_uniform.
        bias: (filters,), zeros.

    Input: (n, steps, c). Output: (n, new_steps, filters).

    Raises:
        ValueError: an argument below 1, or a window larger than the input.
    """

    _rank = 1


class SeparableConv2D(_SeparableConv):
    """A depthwise convolution over images, then a mix of the channels of every pixel; bias, activation.

    Args:
        filters: int, channels of the output.
        kernel_size: int or (rows, columns), pixels.
        strides: int or (rows, columns), pixels.
        padding: "valid" or "same".
        data_format: "channels_last" (n, h, w, c), "channels_first" (n, c, h, w), or None, the global setting.
        dilation_rate: int or (rows, columns), pixels between the taps of a window.
        depth_multiplier: int m, depthwise outputs per input channel.
        activation: function, name or None.
        use_bias: bool.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of `depthwise_kernel`.
        pointwise_initializer, pointwise_regularizer, pointwise_constraint: of `pointwise_kernel`.
        bias_initializer, bias_regularizer, bias_constraint: of `bias`.
        activity_regularizer: of the output.

    Weights:
        depthwise_kernel: (kh, kw, c, m), glorot_uniform.
        pointwise_kernel: (1, 1, c * m, filters), glorot_uniform.
        bias: (filters,), zeros.

    Input: (n, h, w, c). Output: (n, oh, ow, filters).

    Raises:
        ValueError: an argument below 1, or a window larger than the input.
    """

    _rank = 2


SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
