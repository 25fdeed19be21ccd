"""Convolution layers over 1, 2 and 3 axes of space, and their transposes."""
from .. import config, ops
from ..ops.conv2d import channels_last, per_axis
from ..ops.window import spatial
from .input_spec import InputSpec
from .kernel_layer import KernelLayer, check_count, check_positive


class BaseConv(KernelLayer):
    """What all convolutions share. ``rank``: the number of axes of space.

    Weights:
        kernel: kernel_size + (channels / groups, filters); bias: (filters,).
    """

    _PADDINGS = ("valid", "same")

    def __init__(self, rank, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 groups=1, **kwargs):
        super().__init__(**kwargs)
        op = type(self).__name__
        self.rank = rank
        self.filters = check_positive(filters, "filters", op)
        self.kernel_size = self._sizes("kernel_size", kernel_size)
        self.strides = self._sizes("strides", strides)
        self.dilation_rate = self._sizes("dilation_rate", dilation_rate)
        self.groups = check_count(groups, "groups", op)
        self.padding = str(padding).lower()
        if self.padding not in self._PADDINGS:
            raise ValueError(f"[{op}] padding must be one of {', '.join(self._PADDINGS)}. Received: padding={padding!r}")
        if self.filters % self.groups:
            raise ValueError(f"[{op}] groups must divide filters. Received: groups={groups}, filters={filters}")
        self.data_format = config.image_data_format() if data_format is None else data_format
        self._channels_last = channels_last(self.data_format, op)
        self.input_spec = InputSpec(min_ndim=rank + 2, max_ndim=rank + 2)

    def _sizes(self, name, value):
        op = type(self).__name__
        if isinstance(value, (list, tuple)):
            return spatial(value, self.rank, op, name)
        return tuple(check_count(v, name, op) for v in per_axis(name, value, self.rank, op))

    def _channels(self, input_shape):
        op = type(self).__name__
        axis = -1 if self._channels_last else 1
        if len(input_shape) != self.rank + 2 or not input_shape[axis]:
            raise ValueError(f"[{op}] the input must have {self.rank + 2} axes and a known number of channels, at least 1. "
                             f"Received: input_shape={input_shape}")
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: input_shape[axis]})
        return input_shape[axis]

    def build(self, input_shape):
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError(f"[{type(self).__name__}] groups must divide the channels. "
                             f"Received: groups={self.groups}, input_shape={input_shape}")
        self._add_kernel((*self.kernel_size, channels // self.groups, self.filters), self.filters)

    def call(self, inputs):
        kernel, bias = self._kernel_and_bias()
        x = inputs if self._channels_last else ops.moveaxis(inputs, 1, -1)
        y = self._activate(lambda fused: ops.fused_conv(
            x, kernel, bias, self.strides, self.padding, self.dilation_rate, self.groups, fused))
        return y if self._channels_last else ops.moveaxis(y, -1, 1)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            "groups": self.groups,
        }


class Conv1D(BaseConv):
    """Convolution of sequences.

    Args:
        filters: channels of the output.
        kernel_size: taps, int.
        strides: int.
        padding: "valid", "same" (output length ceil(length / strides)) or "causal" (a step sees no later one).
        data_format: "channels_last" (batch, steps, channels), the default, or "channels_first".
        dilation_rate: distance of the taps, int.
        groups: channels and filters are cut into this many independent groups.
        activation: name, function or None (linear).
        use_bias: bool.
        kernel_initializer, bias_initializer: Initializer, name or function; glorot_uniform and zeros.
        kernel_regularizer, bias_regularizer, activity_regularizer: Regularizer, name or None.
        kernel_constraint, bias_constraint: Constraint, name or None.
        lora_rank, lora_alpha: see `enable_lora`.

    Raises:
        ValueError: an argument is out of range, or the window does not fit into the input.
    """

    _PADDINGS = ("valid", "same", "causal")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1, groups=1,
                 activation=None, use_bias=True, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(1, filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
                         activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                         kernel_constraint=kernel_constraint, bias_constraint=bias_constraint, **kwargs)


class Conv2D(BaseConv):
    """Convolution of images.

    Args:
        filters: channels of the output.
        kernel_size: taps, int or (int, int).
        strides: int or (int, int), pixels.
        padding: "valid" or "same" (output size ceil(size / strides)).
        data_format: "channels_last" (batch, height, width, channels), the default, or "channels_first".
        dilation_rate: distance of the taps, int or (int, int), pixels.
        groups: channels and filters are cut into this many independent groups.
        activation: name, function or None (linear).
        use_bias: bool.
        kernel_initializer, bias_initializer: Initializer, name or function; glorot_uniform and zeros.
        kernel_regularizer, bias_regularizer, activity_regularizer: Regularizer, name or None.
        kernel_constraint, bias_constraint: Constraint, name or None.
        lora_rank, lora_alpha: see `enable_lora`.

    Raises:
        ValueError: an argument is out of range, or the window does not fit into the input.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1),
                 groups=1, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(2, filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
                         activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                         kernel_constraint=kernel_constraint, bias_constraint=bias_constraint, **kwargs)


class Conv3D(BaseConv):
    """Convolution of volumes (batch, depth, height, width, channels). Arguments as Conv2D's, for three axes.

    Args:
        filters: int; channels of the output.
        kernel_size: int or three of them.
        strides: int or three of them.
        padding: "valid" or "same".
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
        dilation_rate: int or three of them.
        groups: int; the channels are cut into this many parts, convolved apart.
        activation: name, function or None.
        use_bias: bool.
        kernel_initializer: see `initializers`.
        bias_initializer: see `initializers`.
        kernel_regularizer: see `regularizers`.
        bias_regularizer: see `regularizers`.
        activity_regularizer: see `regularizers`; of the output.
        kernel_constraint: see `constraints`.
        bias_constraint: see `constraints`.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1, 1), padding="valid", data_format=None,
                 dilation_rate=(1, 1, 1), groups=1, activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros", kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(3, filters, kernel_size, strides, padding, data_format, dilation_rate, groups,
                         activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                         kernel_constraint=kernel_constraint, bias_constraint=bias_constraint, **kwargs)


class BaseConvTranspose(BaseConv):
    """What all transposed convolutions share.

    Weights:
        kernel: kernel_size + (filters, channels); bias: (filters,).
    """

    def __init__(self, rank, filters, kernel_size, strides=1, padding="valid", output_padding=None, data_format=None,
                 dilation_rate=1, **kwargs):
        super().__init__(rank, filters, kernel_size, strides, padding, data_format, dilation_rate, **kwargs)
        op = type(self).__name__
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = per_axis("output_padding", output_padding, rank, op)
            if any(not 0 <= e < s for e, s in zip(self.output_padding, self.strides)):
                raise ValueError(f"[{op}] `output_padding` must be strictly less than `strides`, and not negative. "
                                 f"Received: output_padding={output_padding}, strides={strides}")

    def build(self, input_shape):
        channels = self._channels(input_shape)
        self._add_kernel((*self.kernel_size, self.filters, channels), self.filters)

    def call(self, inputs):
        kernel, bias = self._kernel_and_bias()
        x = inputs if self._channels_last else ops.moveaxis(inputs, 1, -1)
        y = self._activate(lambda fused: ops.fused_conv_transpose(
            x, kernel, bias, self.strides, self.padding, self.output_padding, self.dilation_rate, 1, fused))
        return y if self._channels_last else ops.moveaxis(y, -1, 1)

    def get_config(self):
        config = {**super().get_config(), "output_padding": self.output_padding}
        del config["groups"]
        return config


class Conv1DTranspose(BaseConvTranspose):
    """Transposed convolution of sequences: enlarges where Conv1D shrinks.

    Args:
        filters: channels of the output.
        kernel_size: taps, int.
        strides: int.
        padding: "valid" or "same" (output length: length * strides).
        output_padding: int less than strides, added to the output length at the end; None: see above, and
            for "valid" (length - 1) * strides + max(window, strides).
        data_format: "channels_last" (batch, steps, channels), the default, or "channels_first".
        dilation_rate: distance of the taps, int.
        activation: name, function or None (linear).
        use_bias: bool.
        kernel_initializer, bias_initializer: Initializer, name or function; glorot_uniform and zeros.
        kernel_regularizer, bias_regularizer, activity_regularizer: Regularizer, name or None.
        kernel_constraint, bias_constraint: Constraint, name or None.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, filters, kernel_size, strides=1, padding="valid", output_padding=None, data_format=None,
                 dilation_rate=1, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(1, filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
                         activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                         kernel_constraint=kernel_constraint, bias_constraint=bias_constraint, **kwargs)


class Conv2DTranspose(BaseConvTranspose):
    """Transposed convolution of images. Arguments as Conv1DTranspose's, ints or one for each axis of space.

    Args:
        filters: int; channels of the output.
        kernel_size: int or two of them.
        strides: int or two of them.
        padding: "valid" or "same".
        output_padding: int or two of them, less than the strides; None: as small as the padding allows.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
        dilation_rate: int or two of them.
        activation: name, function or None.
        use_bias: bool.
        kernel_initializer: see `initializers`.
        bias_initializer: see `initializers`.
        kernel_regularizer: see `regularizers`.
        bias_regularizer: see `regularizers`.
        activity_regularizer: see `regularizers`; of the output.
        kernel_constraint: see `constraints`.
        bias_constraint: see `constraints`.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", output_padding=None, data_format=None,
                 dilation_rate=(1, 1), activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(2, filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
                         activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                         kernel_constraint=kernel_constraint, bias_constraint=bias_constraint, **kwargs)


class Conv3DTranspose(BaseConvTranspose):
    """Transposed convolution of volumes. Arguments as Conv1DTranspose's, ints or one for each axis of space.

    Args:
        filters: int; channels of the output.
        kernel_size: int or three of them.
        strides: int or three of them.
        padding: "valid" or "same".
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
        output_padding: int or three of them, less than the strides; None: as small as the padding allows.
        dilation_rate: int or three of them.
        activation: name, function or None.
        use_bias: bool.
        kernel_initializer: see `initializers`.
        bias_initializer: see `initializers`.
        kernel_regularizer: see `regularizers`.
        bias_regularizer: see `regularizers`.
        activity_regularizer: see `regularizers`; of the output.
        kernel_constraint: see `constraints`.
        bias_constraint: see `constraints`.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1, 1), padding="valid", data_format=None,
                 output_padding=None, dilation_rate=(1, 1, 1), activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros", kernel_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
                 **kwargs):
        super().__init__(3, filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate,
                         activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                         bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                         bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                         kernel_constraint=kernel_constraint, bias_constraint=bias_constraint, **kwargs)


Convolution1D, Convolution1DTranspose = Conv1D, Conv1DTranspose
Convolution2D, Convolution2DTranspose = Conv2D, Conv2DTranspose
Convolution3D, Convolution3DTranspose = Conv3D, Conv3DTranspose
