"""SimpleRNNCell and SimpleRNN."""
import functools

from .. import activations, ops, tree
from .rnn import FusedRNN
from .rnn_cell import ARGUMENTS, RecurrentCell


class SimpleRNNCell(RecurrentCell):
    """One step of the recurrence h = activation(x @ kernel + h @ recurrent_kernel + bias).

    Args:
        units: positive int, size of the output and of the state.
        activation: function or name.
        use_bias ... seed: see LSTMCell.

    Weights:
        kernel (features, units), glorot_uniform; recurrent_kernel (units, units), orthogonal; bias (units,), zeros.

    Call arguments:
        inputs: (batch, features) tensor.
        states: h (batch, units), or [h].
        training: bool; whether dropout is active.

    Returns:
        (h, h), the second one in a list if `states` is one.
    """

    gates = 1

    def __init__(self, units, activation="tanh", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, seed=None, **kwargs):
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                         kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint,
                         recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed, **kwargs)

    def call(self, inputs, states, training=False):
        h = states[0] if tree.is_nested(states) else states
        inputs, hs = self._dropped(inputs, h, training)
        z = ops.matmul(inputs, self.kernel)
        if self.use_bias:
            z = z + self.bias
        h = self.activation(z + self._recurrent_products(hs)[0])
        return h, [h] if tree.is_nested(states) else h


class SimpleRNN(FusedRNN):
    """Fully connected recurrence over sequences (batch, timesteps, features).

    With activation tanh, relu or linear, and without recurrent dropout, the whole sequence is one
    kernel; otherwise SimpleRNNCell runs step by step, with the same numbers.

    Args:
        units ... seed: see SimpleRNNCell.
        activity_regularizer: Regularizer of the output, or None.
        return_sequences, return_state, go_backwards, stateful, unroll: see RNN.

    Call arguments:
        sequences: (batch, timesteps, features) tensor, at least one timestep.
        initial_state: h (batch, units), or [h]; zeros by default.
        mask: (batch, timesteps) bool. A step where it is False keeps the state.
        training: bool; whether dropout is active.

    Returns:
        The last h (batch, units), or all of them (batch, timesteps, units) with `return_sequences`; with
        `return_state` the tuple (output, h).

    Weights are those of SimpleRNNCell.
    """

    _cell_arguments = ARGUMENTS

    def __init__(self, units, activation="tanh", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0,
                 return_sequences=False, return_state=False, go_backwards=False, stateful=False, unroll=False,
                 seed=None, **kwargs):
        cell = SimpleRNNCell(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint, dropout, recurrent_dropout, seed,
            dtype=kwargs.get("dtype"), trainable=kwargs.get("trainable", True), name="simple_rnn_cell")
        super().__init__(
            cell, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs)

    def _kernel(self):
        for name in ("tanh", "relu", "linear"):
            if self.cell.activation is getattr(activations, name):
                return functools.partial(ops.simple_rnn, activation=name)
        return None
