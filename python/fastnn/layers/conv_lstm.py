"""ConvLSTM1D, ConvLSTM2D and ConvLSTM3D: LSTMs whose products are convolutions."""
from .. import config, ops
from ..ops.conv2d import channels_last, conv_padding, per_axis
from .kernel_layer import check_count
from .lstm import LSTM, LSTMCell
from .rnn import FusedRNN


class ConvLSTMCell(LSTMCell):
    """One step of a convolutional LSTM; see ConvLSTM2D.

    Args:
        rank: number of axes of space, 1 to 3.
        filters, kernel_size, strides, padding, data_format, dilation_rate: see ConvLSTM2D.
        kwargs: further arguments of LSTMCell.

    Call arguments:
        inputs: (batch, ..., channels) tensor of one step.
        states: [h, c], each (batch, ..., filters).
        training: bool; whether dropout is active.

    Returns:
        (h, [h, c])
    """

    _units_name = "filters"

    def __init__(self, rank, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 **kwargs):
        super().__init__(filters, **kwargs)
        op = type(self).__name__

        def sizes(name, value):
            return tuple(check_count(v, name, op) for v in per_axis(name, value, rank, op))

        self.rank = rank
        self.filters = self.units
        self.kernel_size = sizes("kernel_size", kernel_size)
        self.strides = sizes("strides", strides)
        self.dilation_rate = sizes("dilation_rate", dilation_rate)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(f"[{op}] Specifying `strides > 1` is not compatible with `dilation_rate > 1`. "
                             f"Received: strides={self.strides}, dilation_rate={self.dilation_rate}")
        self.padding = str(padding).lower()
        if self.padding not in ("valid", "same"):
            raise ValueError(f"[{op}] padding must be 'valid' or 'same'. Received: padding={padding!r}")
        self.data_format = config.image_data_format() if data_format is None else data_format
        self.channel_axis = -1 if channels_last(self.data_format, op) else 1

    def build(self, inputs_shape):
        if None in inputs_shape[1:]:
            raise ValueError(f"[{self.name}] all sizes of a step but the batch must be known. "
                             f"Received: shape={inputs_shape}")
        super().build(inputs_shape)
        self.output_size = self.state_shape(inputs_shape)
        self.state_size = [self.output_size, self.output_size]

    def _kernel_shapes(self, input_shape):
        columns = 4 * self.units
        return (*self.kernel_size, input_shape[self.channel_axis], columns), (*self.kernel_size, self.units, columns)

    def state_shape(self, inputs_shape):
        """The shape of the output and of both states, without the batch."""
        space = inputs_shape[1:-1] if self.channel_axis == -1 else inputs_shape[2:]
        sizes = []
        for size, taps, stride, dilation in zip(space, self.kernel_size, self.strides, self.dilation_rate):
            if size is not None:
                window = (taps - 1) * dilation + 1
                size = (size + sum(conv_padding(self.padding, size, window, stride)) - window) // stride + 1
            sizes.append(size)
        return (*sizes, self.units) if self.channel_axis == -1 else (self.units, *sizes)

    def call(self, inputs, states, training=False):
        h, c = states
        inputs, hs = self._dropped(inputs, h, training)
        z = ops.conv(inputs, self.kernel, self.strides, self.padding, self.data_format, self.dilation_rate)
        if self.use_bias:
            z = z + ops.reshape(self.bias, (-1,) + (1,) * self.rank if self.channel_axis == 1 else (-1,))
        x = ops.split(z, 4, axis=self.channel_axis)
        return self._step([a + b for a, b in zip(x, self._recurrent_products(hs))], c)

    def _recurrent_products(self, hs):
        def conv(h, kernel):
            return ops.conv(h, kernel, 1, "same", self.data_format)

        if all(h is hs[0] for h in hs):
            return ops.split(conv(hs[0], self.recurrent_kernel), 4, axis=self.channel_axis)
        return [conv(h, kernel) for h, kernel in zip(hs, ops.split(self.recurrent_kernel, 4, axis=-1))]

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in _CONV_ARGUMENTS}}


_CONV_ARGUMENTS = ("kernel_size", "strides", "padding", "data_format", "dilation_rate")


class ConvLSTM(FusedRNN):
    """What the convolutional LSTMs share. ``_rank``: the number of axes of space."""

    _cell_arguments = ("filters",) + _CONV_ARGUMENTS + tuple(name for name in LSTM._cell_arguments if name != "units")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0.0, recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, **kwargs):
        self._ndim = self._rank + 3
        cell = ConvLSTMCell(
            self._rank, filters, kernel_size, strides, padding, data_format, dilation_rate, activation=activation,
            recurrent_activation=recurrent_activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias, kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer, bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint, recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint, dropout=dropout, recurrent_dropout=recurrent_dropout, seed=seed,
            dtype=kwargs.get("dtype"), trainable=kwargs.get("trainable", True), name="conv_lstm_cell")
        self._channel_axis = -1 if cell.channel_axis == -1 else 2
        super().__init__(cell, activity_regularizer=activity_regularizer, return_sequences=return_sequences,
                         return_state=return_state, go_backwards=go_backwards, stateful=stateful, **kwargs)

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        self._check_timesteps(sequences_shape)
        batch, steps = sequences_shape[:2]
        shape = self.cell.state_shape((batch, *sequences_shape[2:]))
        output = (batch, steps, *shape) if self.return_sequences else (batch, *shape)
        return (output, (batch, *shape), (batch, *shape)) if self.return_state else output

    def get_config(self):
        config = super().get_config()
        return {name: value for name, value in config.items() if name != "use_cudnn"}


_DOC = """LSTM over sequences of {things}, whose products are convolutions.

    Args:
        filters: channels of the output and of both states.
        kernel_size: taps, {ints}; of both convolutions.
        strides: {ints}, of the convolution of the inputs.
        padding: "valid" or "same", of the convolution of the inputs; that of the state is always "same".
        data_format: "channels_last" (batch, time, {space}, channels), the default, or "channels_first".
        dilation_rate: {ints}, of the convolution of the inputs.
        activation ... stateful: see LSTM.

    Call arguments:
        sequences: (batch, time, {space}, channels) tensor; all sizes but batch and time must be known.
        initial_state: [h, c], each (batch, {new}, filters); zeros by default.
        mask: (batch, time) bool. A step where it is False keeps the states.
        training: bool; whether dropout is active.

    Returns:
        The last h (batch, {new}, filters), or all of them (batch, time, {new}, filters) with
        `return_sequences`; with `return_state` the tuple (output, h, c).

    Weights:
        kernel kernel_size + (channels, 4 * filters), glorot_uniform; recurrent_kernel kernel_size +
        (filters, 4 * filters), orthogonal; bias (4 * filters,), zeros and ones. Gates in order i f c o.

    Source: Shi et al. 2015.
    """


class ConvLSTM1D(ConvLSTM):
    __doc__ = _DOC.format(things="sequences", ints="int", space="length", new="new length")
    _rank = 1


class ConvLSTM2D(ConvLSTM):
    __doc__ = _DOC.format(things="images", ints="int or 2 ints", space="height, width", new="new height, new width")
    _rank = 2


class ConvLSTM3D(ConvLSTM):
    __doc__ = _DOC.format(things="volumes", ints="int or 3 ints", space="depth, height, width",
                          new="new depth, new height, new width")
    _rank = 3
