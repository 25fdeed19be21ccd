"""Softmax and the cross entropies, each fused with its softmax or sigmoid."""

from .. import _core
from .._core import record, recording
from ..symbolic import op
from ..tensor import as_tensor
from .array import axis_index, axis_list, cast, moveaxis, reshape
from .sorting import one_hot

__all__ = [
    "softmax", "log_softmax", "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy",
]  # fmt: skip

# Keras's epsilon, and what it clips probabilities to.
_LOW, _HIGH = 1e-7, 1 - 1e-7


def _elementwise():
    from . import elementwise

    return elementwise


def _reduction():
    from . import reduction

    return reduction


def _float32(op_name, name, x):
    """``x`` for the kernels, and its dtype, which the result gets back."""
    x = as_tensor(x)
    if x.dtype == "float32":
        return x, "float32"
    dtype = x.dtype if x.dtype in ("float16", "bfloat16", "float64") else "float32"
    return cast(x, "float32"), dtype


# ---- softmax ----


def _softmax_backward(y, gy):
    gx = _core.softmax_backward(y, gy)

    def vjp(g):
        ops, total = _elementwise(), _reduction().sum
        # gx = y (gy - s), s = sum(y gy)
        s = total(ops.multiply(y, gy), -1, keepdims=True)
        yg = total(ops.multiply(y, g), -1, keepdims=True)
        gyy = ops.subtract(ops.multiply(g, ops.subtract(gy, s)), ops.multiply(gy, yg))
        return gyy, ops.multiply(y, ops.subtract(g, yg))

    return record(gx, (y, gy), vjp)


def _log_softmax_backward(y, gy):
    gx = _core.log_softmax_backward(y, gy)

    def vjp(g):
        ops, total = _elementwise(), _reduction().sum
        # gx = gy - exp(y) sum(gy)
        e = ops.exp(y)
        ge = ops.multiply(g, e)
        return (ops.negative(ops.multiply(ge, total(gy, -1, keepdims=True))),
                ops.subtract(g, total(ge, -1, keepdims=True)))

    return record(gx, (y, gy), vjp)


def _last_axis(op_name, f, x, axis):
    """``f`` over ``axis``, one or several, of ``x`` moved to the end."""
    x, dtype = _float32(op_name, "x", x)
    if x.ndim == 0:
        raise ValueError(f"[{op_name}] x must have at least 1 dimension. Received: x.shape=()")
    if axis is None:
        axis = list(range(x.ndim))
    if isinstance(axis, (list, tuple)) and len(axis) != 1:
        axes = axis_list(op_name, axis, x.ndim) or list(range(x.ndim))
        rest = [a for a in range(x.ndim) if a not in axes]
        ends = list(range(len(rest), x.ndim))
        moved = moveaxis(x, axes, ends)
        flat = reshape(moved, [x.shape[a] for a in rest] + [-1]) if moved.size else moved
        return cast(moveaxis(reshape(f(flat), moved.shape), ends, axes), dtype)
    axis = axis_index(op_name, axis[0] if isinstance(axis, (list, tuple)) else axis, x.ndim)
    if axis == x.ndim - 1:
        y = f(x)
    else:
        y = moveaxis(f(moveaxis(x, axis, -1)), -1, axis)
    return y if dtype == "float32" else cast(y, dtype)


def _softmax(x):
    y = _core.softmax_forward(x)
    return record(y, (x,), lambda gy: (_softmax_backward(y, gy),))


def _log_softmax(x):
    y = _core.log_softmax_forward(x)
    return record(y, (x,), lambda gy: (_log_softmax_backward(y, gy),))


@op
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) along ``axis``, one or several, or all for None.

    A row with NaN or +inf, or of -inf only, is NaN throughout.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        axis: int, or several of them, or None for all.
    """
    shape = getattr(x, "shape", ())
    if 0 < len(shape) <= 2 and shape[-1] == 1 and axis in (-1, len(shape) - 1):  # further axes are often of one position only
        from ..utils.warning import warn

        warn(f"[softmax] You are using a softmax over axis {axis} of a tensor of shape {tuple(shape)}. This axis has size 1. The "
             "softmax operation will always return the value 1, which is likely not what you intended. Did you mean to use a sigmoid "
             "instead?")
    return _last_axis("softmax", _softmax, x, axis)


@op
def log_softmax(x, axis=-1):
    """x - log(sum(exp(x))) along ``axis``, one or several, or all for None.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        axis: int, or several of them, or None for all.
    """
    return _last_axis("log_softmax", _log_softmax, x, axis)


# ---- cross entropies ----


def _inside(p):
    """1 where clipping changes nothing, 0 elsewhere, as a constant."""
    ops = _elementwise()
    return cast(ops.equal(p, ops.clip(p, _LOW, _HIGH)), "float32")


def _categorical_gradient(target, output, gy, from_logits):
    """The gradient of ``output`` from differentiable ops, for a tape that is still recording."""
    ops, total = _elementwise(), _reduction().sum
    gy = reshape(gy, gy.shape + (1,))
    if from_logits:
        return ops.multiply(gy, ops.subtract(ops.multiply(_softmax(output), total(target, -1, keepdims=True)), target))
    s = total(output, -1, keepdims=True)
    q = ops.divide(output, s)
    d = ops.negative(ops.multiply(ops.divide(target, ops.clip(q, _LOW, _HIGH)), _inside(q)))
    return ops.divide(ops.multiply(gy, ops.subtract(d, total(ops.multiply(d, q), -1, keepdims=True))), s)


@op
def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-sum(target * log(p)) along ``axis``, with p = softmax(output), or with output divided by its sum and
    clipped to [1e-7, 1 - 1e-7].

    Args:
        target: probabilities in the shape of ``output``.
        output: logits if ``from_logits``, else probabilities.
        axis: of the classes.

    Returns:
        One loss for each row: the shape of ``output`` without ``axis``.

    Raises:
        ValueError: the shapes differ, or there is no class.
    """
    output, dtype = _float32("categorical_crossentropy", "output", output)
    target, _ = _float32("categorical_crossentropy", "target", target)
    if output.ndim < 1:
        raise ValueError("[categorical_crossentropy] output must have at least 1 dimension. Received: output.shape=()")
    if target.shape != output.shape:
        raise ValueError("[categorical_crossentropy] target and output must have the same shape. "
                         f"Received: target.shape={target.shape}, output.shape={output.shape}")
    axis = axis_index("categorical_crossentropy", axis, output.ndim)
    if axis != output.ndim - 1:
        output, target = moveaxis(output, axis, -1), moveaxis(target, axis, -1)
    y, *stats = _core.categorical_crossentropy_forward(target, output, from_logits)

    def vjp(gy):
        gx = gt = None
        if output.node is not None:
            if recording():
                gx = _categorical_gradient(target, output, gy, from_logits)
            else:
                gx = _core.categorical_crossentropy_backward(target, output, stats, gy)
        if target.node is not None:
            ops = _elementwise()
            log_p = _log_softmax(output) if from_logits else ops.log(ops.clip(ops.divide(
                output, _reduction().sum(output, -1, keepdims=True)), _LOW, _HIGH))
            gt = ops.negative(ops.multiply(log_p, reshape(gy, gy.shape + (1,))))
        return gt, gx

    y = record(y, (target, output), vjp)
    return y if dtype == "float32" else cast(y, dtype)


@op
def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-log(p[target]) with p = softmax(output) along ``axis``, or with output divided by its sum and clipped
    to [1e-7, 1 - 1e-7].

    Args:
        target: classes, whole numbers of any dtype, in the shape of ``output`` without ``axis``; a last axis
            of size 1 is dropped.
        output: logits if ``from_logits``, else probabilities.
        axis: of the classes.

    Returns:
        One loss for each row.

    Raises:
        ValueError: the shapes do not fit, or a target is no class; the message names its row.
    """
    name = "sparse_categorical_crossentropy"
    output, dtype = _float32(name, "output", output)
    target = as_tensor(target)
    if output.ndim < 1:
        raise ValueError(f"[{name}] output must have at least 1 dimension. Received: output.shape=()")
    axis = axis_index(name, axis, output.ndim)
    if axis != output.ndim - 1:
        output = moveaxis(output, axis, -1)
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = reshape(target, target.shape[:-1])
    if target.shape != output.shape[:-1]:
        hint = "For one-hot labels use categorical_crossentropy. " if target.shape == output.shape else ""
        raise ValueError(f"[{name}] target must have the shape of output without its axis of classes. {hint}"
                         f"Received: target.shape={target.shape}, output.shape={output.shape}")
    if output.shape[-1] == 0:
        raise ValueError(f"[{name}] output must have at least one class. Received: output.shape={output.shape}")
    label = _core.class_labels(target, output.shape[-1])
    y, *stats = _core.sparse_categorical_crossentropy_forward(label, output, from_logits)

    def vjp(gy):
        if recording():
            return (_categorical_gradient(one_hot(label, output.shape[-1], dtype="float32"), output, gy, from_logits),)
        return (_core.sparse_categorical_crossentropy_backward(label, output, stats, gy),)

    y = record(y, (output,), vjp)
    return y if dtype == "float32" else cast(y, dtype)


def _binary_gradient(target, output, gy, from_logits):
    ops = _elementwise()
    if from_logits:
        from .activation import sigmoid

        return ops.multiply(gy, ops.subtract(sigmoid(output), target))
    c = ops.clip(output, _LOW, _HIGH)
    d = ops.subtract(ops.divide(ops.subtract(1.0, target), ops.subtract(1.0, c)), ops.divide(target, c))
    return ops.multiply(gy, ops.multiply(d, _inside(output)))


@op
def binary_crossentropy(target, output, from_logits=False):
    """-target * log(p) - (1 - target) * log(1 - p), elementwise, with p = sigmoid(output), or with output
    clipped to [1e-7, 1 - 1e-7].

    Args:
        target: tensor of values from 0 to 1.
        output: tensor of the same shape.
        from_logits: bool; `output` is a logit, not a probability.

    Raises:
        ValueError: the shapes differ.
    """
    output, dtype = _float32("binary_crossentropy", "output", output)
    target, _ = _float32("binary_crossentropy", "target", target)
    if target.shape != output.shape:
        raise ValueError("[binary_crossentropy] target and output must have the same shape. "
                         f"Received: target.shape={target.shape}, output.shape={output.shape}")
    y = _core.binary_crossentropy_forward(target, output, from_logits)

    def vjp(gy):
        gx = gt = None
        if output.node is not None:
            if recording():
                gx = _binary_gradient(target, output, gy, from_logits)
            else:
                gx = _core.binary_crossentropy_backward(target, output, gy, from_logits)
        if target.node is not None:
            ops = _elementwise()
            if from_logits:
                gt = ops.multiply(gy, ops.negative(output))
            else:
                p = ops.clip(output, _LOW, _HIGH)
                gt = ops.multiply(gy, ops.subtract(ops.log(ops.subtract(1.0, p)), ops.log(p)))
        return gt, gx

    y = record(y, (target, output), vjp)
    return y if dtype == "float32" else cast(y, dtype)
