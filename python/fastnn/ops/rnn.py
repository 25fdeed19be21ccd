"""Recurrent layers over whole sequences, each one kernel: lstm, gru, simple_rnn.

Weights are laid out as in Keras: kernel (features, gates * units), recurrent_kernel (units,
gates * units), with gates i f c o for lstm and z r h for gru.
"""

from .. import _core
from ..autograd import record
from ..symbolic import op
from ..tensor import as_tensor

__all__ = ["lstm", "gru", "simple_rnn"]

_ACTIVATIONS = {"tanh": 0, "relu": 1, "linear": 2}


def _optional(x, dtype="float32"):
    return None if x is None else as_tensor(x, dtype)


def _states(name, initial_state, count):
    if initial_state is None:
        return (None,) * count
    states = tuple(initial_state) if isinstance(initial_state, (list, tuple)) else (initial_state,)
    if len(states) != count:
        raise ValueError(f"[{name}] initial_state must have {count} tensor{'s' if count > 1 else ''}. "
                         f"Received: {len(states)}")
    return tuple(_optional(s) for s in states)


def _mask(name, mask):
    if mask is None:
        return None
    mask = as_tensor(mask)
    if mask.dtype != "bool":
        raise TypeError(f"[{name}] mask must be bool. Received: mask.dtype={mask.dtype}")
    return mask


def _second_order(name):
    def vjp(*_):
        raise ValueError(f"[{name}] second-order gradients need the layer RNN over a cell: the whole-sequence kernel "
                         f"has first-order gradients only. Received: a gradient of the gradient of {name}")

    return vjp


def _run(name, forward, backward, x, kernel, recurrent_kernel, bias, states, mask, return_sequences, options):
    """Call ``forward(*states, mask, options)``; record its gradient by ``backward``."""
    parents = (x, kernel, recurrent_kernel, bias, *states)
    keep = _core.recording() > 0 and any(p is not None and p.node is not None for p in parents)
    result = forward(x, kernel, recurrent_kernel, bias, *states, mask,
                     _core.RnnOptions(return_sequences=return_sequences, keep=keep, **options))
    last = (result.h, result.c) if len(states) == 2 else (result.h,)
    outputs = (result.y, *last) if return_sequences else last
    if keep:
        back = _core.RnnOptions(use_bias=bias is not None, need_gx=x.node is not None, **options)

        def vjp(*gs):
            gy, glast = (gs[0], gs[1:]) if return_sequences else (None, gs)
            grads = backward(x, kernel, recurrent_kernel, mask, result, gy, *glast, back)[: 4 + len(states)]
            return record(tuple(grads), parents + tuple(gs), _second_order(name))

        outputs = record(outputs, parents, vjp)
    return (outputs[0], *outputs[-len(states):])


@op
def lstm(x, kernel, recurrent_kernel, bias=None, initial_state=None, mask=None, *, return_sequences=False,
         go_backwards=False, zero_output_for_mask=False):
    """Long short-term memory over whole sequences.

    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o), g = tanh(z_c), z = x[t] @ kernel + h @ recurrent_kernel + bias
    c = f * c + i * g;  h = o * tanh(c)

    Args:
        x: (batch, time, features) float32, at least one timestep.
        kernel: (features, 4 * units), gates in order i f c o.
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,), or None.
        initial_state: [h, c], each (batch, units); zeros by default.
        mask: (batch, time) bool. A step where it is False keeps the state.
        return_sequences: return h of every step instead of the last.
        go_backwards: walk from the last timestep to the first; outputs are in the order of walking.
        zero_output_for_mask: the output of a masked step is 0 instead of the state (return_sequences only).

    Returns:
        (y, h, c): y is (batch, time, units) with return_sequences, else h; h and c are the last state.

    Raises:
        ValueError: shapes disagree, or there is no timestep.
        TypeError: mask is not bool.

    Source: Hochreiter and Schmidhuber 1997; forget gate, Gers et al. 2000.
    """
    options = {"go_backwards": bool(go_backwards), "zero_output": bool(zero_output_for_mask)}
    return _run("lstm", _core.lstm_forward, _core.lstm_backward, as_tensor(x, "float32"), as_tensor(kernel, "float32"),
                as_tensor(recurrent_kernel, "float32"), _optional(bias), _states("lstm", initial_state, 2),
                _mask("lstm", mask), bool(return_sequences), options)


@op
def gru(x, kernel, recurrent_kernel, bias=None, initial_state=None, mask=None, *, return_sequences=False,
        go_backwards=False, zero_output_for_mask=False, reset_after=True):
    """Gated recurrent unit over whole sequences.

    z, r = sigmoid(x[t] @ kernel + h @ recurrent_kernel + bias) by gate;  h = z * h + (1 - z) * g
    reset_after: g = tanh(x[t] @ kernel_h + bias[0]_h + r * (h @ recurrent_kernel_h + bias[1]_h))
    otherwise:   g = tanh(x[t] @ kernel_h + bias_h + (r * h) @ recurrent_kernel_h)

    Args:
        x: (batch, time, features) float32, at least one timestep.
        kernel: (features, 3 * units), gates in order z r h.
        recurrent_kernel: (units, 3 * units).
        bias: (2, 3 * units) with reset_after, else (3 * units,); or None.
        initial_state: h (batch, units), or [h]; zeros by default.
        mask, return_sequences, go_backwards, zero_output_for_mask: see ``lstm``.
        reset_after: apply the reset gate after the product with the recurrent kernel.

    Returns:
        (y, h): y is (batch, time, units) with return_sequences, else h, the last state.

    Raises:
        ValueError: shapes disagree, or there is no timestep.
        TypeError: mask is not bool.

    Source: Cho et al. 2014.
    """
    options = {"go_backwards": bool(go_backwards), "zero_output": bool(zero_output_for_mask),
               "variant": int(bool(reset_after))}
    return _run("gru", _core.gru_forward, _core.gru_backward, as_tensor(x, "float32"), as_tensor(kernel, "float32"),
                as_tensor(recurrent_kernel, "float32"), _optional(bias), _states("gru", initial_state, 1),
                _mask("gru", mask), bool(return_sequences), options)


@op
def simple_rnn(x, kernel, recurrent_kernel, bias=None, initial_state=None, mask=None, *, return_sequences=False,
               go_backwards=False, zero_output_for_mask=False, activation="tanh"):
    """The fully connected recurrence h = activation(x[t] @ kernel + h @ recurrent_kernel + bias).

    Args:
        x: (batch, time, features) float32, at least one timestep.
        kernel: (features, units).
        recurrent_kernel: (units, units).
        bias: (units,), or None.
        initial_state: h (batch, units), or [h]; zeros by default.
        mask, return_sequences, go_backwards, zero_output_for_mask: see ``lstm``.
        activation: "tanh", "relu" or "linear".

    Returns:
        (y, h): y is (batch, time, units) with return_sequences, else h, the last state.

    Raises:
        ValueError: shapes disagree, there is no timestep, or ``activation`` is another one.
        TypeError: mask is not bool.

    Source: Elman 1990.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"[simple_rnn] activation must be one of {', '.join(_ACTIVATIONS)}. "
                         f"Received: activation={activation!r}")
    options = {"go_backwards": bool(go_backwards), "zero_output": bool(zero_output_for_mask),
               "variant": _ACTIVATIONS[activation]}
    return _run("simple_rnn", _core.simple_rnn_forward, _core.simple_rnn_backward, as_tensor(x, "float32"),
                as_tensor(kernel, "float32"), as_tensor(recurrent_kernel, "float32"), _optional(bias),
                _states("simple_rnn", initial_state, 1), _mask("simple_rnn", mask), bool(return_sequences), options)
