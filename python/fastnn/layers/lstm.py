"""LSTMCell and LSTM."""
from .. import activations, initializers, ops
from .rnn import FusedRNN
from .rnn_cell import ARGUMENTS, RecurrentCell


class LSTMCell(RecurrentCell):
    """One step of an LSTM.

    i, f, o = recurrent_activation(z_i, z_f, z_o); g = activation(z_c); z = x @ kernel + h @ recurrent_kernel + bias
    c = f * c + i * g;  h = o * activation(c)

    Args:
        units: positive int, size of the output and of both states.
        activation: function or name.
        recurrent_activation: function or name, of the gates i, f and o.
        use_bias: bool.
        kernel_initializer, recurrent_initializer, bias_initializer: Initializers or names.
        unit_forget_bias: bool; add 1 to the bias of the forget gate at the start.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: Regularizers, names or None.
        kernel_constraint, recurrent_constraint, bias_constraint: Constraints, names or None.
        dropout: rate from 0 to 1 at which inputs are dropped in training, the same ones at every step.
        recurrent_dropout: the same for the state.
        seed: int, or None.
        implementation: accepted for Keras's sake.

    Weights:
        kernel (features, 4 * units), glorot_uniform; recurrent_kernel (units, 4 * units), orthogonal; bias
        (4 * units,), zeros and ones. Gates in order i f c o.

    Call arguments:
        inputs: (batch, features) tensor.
        states: [h, c], each (batch, units).
        training: bool; whether dropout is active.

    Returns:
        (h, [h, c])
    """

    gates = 4

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, implementation=2, **kwargs):
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                         kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint,
                         recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = bool(unit_forget_bias)
        self.implementation = implementation
        self.state_size = [self.units, self.units]

    def _initial_bias(self, shape, dtype=None):
        if not self.unit_forget_bias:
            return self.bias_initializer(shape, dtype=dtype)
        u = self.units
        return ops.concatenate([self.bias_initializer((u,), dtype=dtype), initializers.get("ones")((u,), dtype=dtype),
                                self.bias_initializer((2 * u,), dtype=dtype)])

    def call(self, inputs, states, training=False):
        h, c = states
        inputs, hs = self._dropped(inputs, h, training)
        z = ops.matmul(inputs, self.kernel)
        if self.use_bias:
            z = z + self.bias
        return self._step([a + b for a, b in zip(ops.split(z, 4, axis=-1), self._recurrent_products(hs))], c)

    def _step(self, z, c):
        """The new states from the arguments of the four gates."""
        i, f, g, o = z
        c = self.recurrent_activation(f) * c + self.recurrent_activation(i) * self.activation(g)
        h = self.recurrent_activation(o) * self.activation(c)
        return h, [h, c]

    def get_config(self):
        return {**super().get_config(), "recurrent_activation": activations.serialize(self.recurrent_activation),
                "unit_forget_bias": self.unit_forget_bias}


class LSTM(FusedRNN):
    """Long short-term memory over sequences (batch, timesteps, features).

    With the default activations, and without recurrent dropout, the whole sequence is one kernel;
    otherwise LSTMCell runs step by step, with the same numbers.

    Args:
        units ... seed: see LSTMCell.
        activity_regularizer: Regularizer of the output, or None.
        return_sequences, return_state, go_backwards, stateful, unroll: see RNN.
        use_cudnn: accepted for Keras's sake.

    Call arguments:
        sequences: (batch, timesteps, features) tensor, at least one timestep.
        initial_state: [h, c], each (batch, units); zeros by default.
        mask: (batch, timesteps) bool. A step where it is False keeps the states.
        training: bool; whether dropout is active.

    Returns:
        The last h (batch, units), or all of them (batch, timesteps, units) with `return_sequences`; with
        `return_state` the tuple (output, h, c).

    Weights are those of LSTMCell.
    """

    _cell_arguments = ARGUMENTS + ("recurrent_activation", "unit_forget_bias")

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0.0, recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, unroll=False, use_cudnn="auto", implementation=2, **kwargs):
        cell = LSTMCell(
            units, activation, recurrent_activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, unit_forget_bias, kernel_regularizer, recurrent_regularizer, bias_regularizer,
            kernel_constraint, recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed, implementation,
            dtype=kwargs.get("dtype"), trainable=kwargs.get("trainable", True), name="lstm_cell")
        super().__init__(
            cell, use_cudnn, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs)

    def _kernel(self):
        cell = self.cell
        if cell.activation is activations.tanh and cell.recurrent_activation is activations.sigmoid:
            return ops.lstm
        return None
