"""GRUCell and GRU."""
import functools

from .. import activations, ops, tree
from .rnn import FusedRNN
from .rnn_cell import ARGUMENTS, RecurrentCell


class GRUCell(RecurrentCell):
    """One step of a gated recurrent unit.

    z, r = recurrent_activation(x @ kernel + h @ recurrent_kernel + bias) by gate;  h = z * h + (1 - z) * g
    reset_after: g = activation(x @ kernel_h + bias[0]_h + r * (h @ recurrent_kernel_h + bias[1]_h))
    otherwise:   g = activation(x @ kernel_h + bias_h + (r * h) @ recurrent_kernel_h)

    Args:
        units: positive int, size of the output and of the state.
        activation: function or name.
        recurrent_activation: function or name, of the gates z and r.
        use_bias ... seed: see LSTMCell.
        reset_after: bool; apply the reset gate after the product with the recurrent kernel.

    Weights:
        kernel (features, 3 * units), glorot_uniform; recurrent_kernel (units, 3 * units), orthogonal; bias
        (2, 3 * units) with `reset_after`, else (3 * units,), zeros. Gates in order z r h.

    Call arguments:
        inputs: (batch, features) tensor.
        states: h (batch, units), or [h].
        training: bool; whether dropout is active.

    Returns:
        (h, h), the second one in a list if `states` is one.
    """

    gates = 3

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, reset_after=True,
                 seed=None, implementation=2, **kwargs):
        super().__init__(units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                         kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint,
                         recurrent_constraint, bias_constraint, dropout, recurrent_dropout, seed, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = bool(reset_after)
        self.implementation = implementation

    def _bias_shape(self):
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def call(self, inputs, states, training=False):
        h = states[0] if tree.is_nested(states) else states
        inputs, hs = self._dropped(inputs, h, training)
        x = ops.matmul(inputs, self.kernel)
        bias = self.bias.value if self.use_bias else None
        if bias is not None:
            x = x + (bias[0] if self.reset_after else bias)
        xz, xr, xh = ops.split(x, 3, axis=-1)
        if self.reset_after:
            hz, hr, hh = self._recurrent_products(hs)
            if bias is not None:
                bz, br, bh = ops.split(bias[1], 3)
                hz, hr, hh = hz + bz, hr + br, hh + bh
        else:
            hz, hr = self._recurrent_products(hs, 2)
        z, r = self.recurrent_activation(xz + hz), self.recurrent_activation(xr + hr)
        if self.reset_after:
            hh = r * hh
        else:
            hh = ops.matmul(r * hs[2], self.recurrent_kernel.value[:, 2 * self.units:])
        h = z * h + (1 - z) * self.activation(xh + hh)
        return h, [h] if tree.is_nested(states) else h

    def get_config(self):
        return {**super().get_config(), "recurrent_activation": activations.serialize(self.recurrent_activation),
                "reset_after": self.reset_after}


class GRU(FusedRNN):
    """Gated recurrent unit over sequences (batch, timesteps, features).

    With the default activations, and without recurrent dropout, the whole sequence is one kernel;
    otherwise GRUCell runs step by step, with the same numbers.

    Args:
        units ... seed: see GRUCell.
        activity_regularizer: Regularizer of the output, or None.
        return_sequences, return_state, go_backwards, stateful, unroll: see RNN.
        reset_after: see GRUCell.
        use_cudnn: accepted for Keras's sake.

    Call arguments:
        sequences: (batch, timesteps, features) tensor, at least one timestep.
        initial_state: h (batch, units), or [h]; zeros by default.
        mask: (batch, timesteps) bool. A step where it is False keeps the state.
        training: bool; whether dropout is active.

    Returns:
        The last h (batch, units), or all of them (batch, timesteps, units) with `return_sequences`; with
        `return_state` the tuple (output, h).

    Weights are those of GRUCell.
    """

    _cell_arguments = ARGUMENTS + ("recurrent_activation", "reset_after")

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, unroll=False, reset_after=True, use_cudnn="auto", implementation=2, **kwargs):
        cell = GRUCell(
            units, activation, recurrent_activation, use_bias, kernel_initializer, recurrent_initializer,
            bias_initializer, kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint,
            recurrent_constraint, bias_constraint, dropout, recurrent_dropout, reset_after, seed, implementation,
            dtype=kwargs.get("dtype"), trainable=kwargs.get("trainable", True), name="gru_cell")
        super().__init__(
            cell, use_cudnn, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs)

    def _kernel(self):
        cell = self.cell
        if cell.activation is activations.tanh and cell.recurrent_activation is activations.sigmoid:
            return functools.partial(ops.gru, reset_after=cell.reset_after)
        return None
