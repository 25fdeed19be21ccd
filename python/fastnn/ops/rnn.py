"""Recurrent layers over whole sequences, each one kernel: lstm, gru, simple_rnn.

Weights are laid out as in Keras: kernel (features, gates * units), recurrent_kernel (units,
gates * units), with gates i f c o for lstm and z r h for gru.
"""

from .. import _core
from ..autograd import GradientTape, record
from ..symbolic import op
from ..tensor import as_tensor
from .activation import sigmoid
from .elementwise import add, maximum, multiply, tanh, where
from .indexing import get_item
from .joining import split, stack
from .matmul import matmul

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


# One step by ops, for gradients of gradients: z is the input's part, with the bias.

def _lstm_step(z, states, recurrent, bias):
    h, c = states
    i, f, g, o = split(add(z, matmul(h, recurrent)), 4, axis=-1)
    c = add(multiply(sigmoid(f), c), multiply(sigmoid(i), tanh(g)))
    return [multiply(sigmoid(o), tanh(c)), c]


def _gru_step(z, states, recurrent, bias, variant):
    h, = states
    zx, rx, gx = split(z, 3, axis=-1)
    units = h.shape[-1]
    if variant:
        zh, rh, gh = split(matmul(h, recurrent) if bias is None else add(matmul(h, recurrent), bias), 3, axis=-1)
    else:
        zh, rh = split(matmul(h, get_item(recurrent, (slice(None), slice(2 * units)))), 2, axis=-1)
    z, r = sigmoid(add(zx, zh)), sigmoid(add(rx, rh))
    if not variant:
        gh = matmul(multiply(r, h), get_item(recurrent, (slice(None), slice(2 * units, None))))
    g = tanh(add(gx, multiply(r, gh) if variant else gh))
    return [add(multiply(z, h), multiply(1.0 - z, g))]


def _simple_rnn_step(z, states, recurrent, bias, variant):
    z = add(z, matmul(states[0], recurrent))
    return [tanh(z) if variant == _ACTIVATIONS["tanh"] else maximum(z, 0.0) if variant == _ACTIVATIONS["relu"] else z]


def _compose(step, x, kernel, recurrent, bias, states, mask, return_sequences, go_backwards, zero_output, **options):
    """The outputs of a recurrent op, by ops that have gradients of every order."""
    batch, steps, units = x.shape[0], x.shape[1], recurrent.shape[0]
    states = [_core.full((batch, units), 0.0, "float32") if s is None else s for s in states]
    z = matmul(x, kernel)
    if bias is not None:
        z = add(z, get_item(bias, 0) if len(bias.shape) == 2 else bias)
    bias = get_item(bias, 1) if bias is not None and len(bias.shape) == 2 else None
    ys = []
    for t in reversed(range(steps)) if go_backwards else range(steps):
        new = step(get_item(z, (slice(None), t)), states, recurrent, bias, **options)
        if mask is None:
            states, y = new, new[0]
        else:
            on = get_item(mask, (slice(None), slice(t, t + 1)))
            states = [where(on, n, s) for n, s in zip(new, states)]
            y = where(on, states[0], 0.0) if zero_output else states[0]
        ys.append(y)
    return (stack(ys, axis=1), *states) if return_sequences else tuple(states)


def _second_order(step, parents, gs, mask, return_sequences, options):
    """The gradient of a recurrent op's gradient: that of the same function, composed of ops."""
    def vjp(*ggs):
        known = [i for i, p in enumerate(parents) if p is not None]
        given = [i for i, g in enumerate(gs) if g is not None]
        with GradientTape() as outer:
            # Copies: a tensor may stand in several places.
            xs = [None if p is None else add(p, 0.0) for p in parents]
            seeds = [None if g is None else add(g, 0.0) for g in gs]
            sources = [xs[i] for i in known] + [seeds[i] for i in given]
            outer.watch(sources)
            with GradientTape() as inner:
                inner.watch([xs[i] for i in known])
                ys = _compose(step, *xs[:4], xs[4:], mask, return_sequences, **options)
            grads = inner.gradient([ys[i] for i in given], [xs[i] for i in known], [seeds[i] for i in given])
        pairs = [(g, ggs[i]) for g, i in zip(grads, known) if g is not None and ggs[i] is not None]
        found = iter(outer.gradient([g for g, _ in pairs], sources, [gg for _, gg in pairs]))
        return tuple(None if t is None else next(found) for t in parents + tuple(gs))

    return vjp


def _run(forward, backward, step, x, kernel, recurrent_kernel, bias, states, mask, return_sequences, options):
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
            again = _second_order(step, parents, gs, mask, return_sequences, options)
            return record(tuple(grads), parents + tuple(gs), again)

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
    return _run(_core.lstm_forward, _core.lstm_backward, _lstm_step, as_tensor(x, "float32"), as_tensor(kernel, "float32"),
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
    return _run(_core.gru_forward, _core.gru_backward, _gru_step, as_tensor(x, "float32"), as_tensor(kernel, "float32"),
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
    return _run(_core.simple_rnn_forward, _core.simple_rnn_backward, _simple_rnn_step, as_tensor(x, "float32"),
                as_tensor(kernel, "float32"), as_tensor(recurrent_kernel, "float32"), _optional(bias),
                _states("simple_rnn", initial_state, 1), _mask("simple_rnn", mask), bool(return_sequences), options)
