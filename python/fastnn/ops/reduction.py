"""Reductions over any axes, and broadcasting, which is their gradient.

float32 sums, means, extrema and products run in csrc/cpu/reduce.cpp; other dtypes and the rest of
the family are computed by NumPy.
"""

import math

import numpy as np

from .. import _core, dtypes
from .._core import record, recording
from ..symbolic import op
from ..tensor import as_tensor
from .elementwise import abs as abs_
from .elementwise import (add, cast, divide, equal, exp, log, maximum, minimum, multiply, not_equal, power, sqrt,
                          square, subtract, where)
from .numpy_op import float_dtype, numpy_op

_REDUCE = _core.REDUCE_OPS
_SUM, _MEAN = _REDUCE["sum"], _REDUCE["mean"]


# ---- axes and shapes ----


def _axes(name, x, axis):
    """The reduced axes as a list of ints from 0."""
    if axis is None:
        return list(range(x.ndim))
    if type(axis) is int and -x.ndim <= axis < x.ndim:
        return [axis % x.ndim]
    given = axis if isinstance(axis, (list, tuple)) else (axis,)
    result = []
    for a in given:
        if isinstance(a, bool) or not hasattr(a, "__index__"):
            raise TypeError(f"[{name}] axis must be an integer, a tuple of integers or None. Received: axis={axis!r}")
        a = a.__index__()
        if not -x.ndim <= a < x.ndim:
            raise ValueError(f"[{name}] axis must be from {-x.ndim} to {x.ndim - 1} for a tensor of rank {x.ndim}. "
                             f"Received: axis={axis!r}")
        result.append(a % x.ndim)
    if len(set(result)) != len(result):
        raise ValueError(f"[{name}] an axis must not be given twice. Received: axis={axis!r}")
    return result


def _kept_shape(x, axes):
    """The shape of the result with reduced axes kept as 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(x.shape))


def _reshape(x, shape):
    """``x`` under another shape, differentiable."""
    if x.shape == tuple(shape):
        return x
    return record(_core.view(x, shape), (x,), lambda gy: (_reshape(gy, x.shape),))


def _count(x, axes):
    return math.prod(x.shape[a] for a in axes)


@op
def broadcast_to(x, shape):
    """``x`` repeated along axes of size 1 and new leading axes until it has ``shape``.

    Args:
        x: tensor of any shape and dtype.
        shape: tuple or list of ints.
    """
    x = as_tensor(x)
    shape = tuple(int(n) for n in shape)
    return record(_core.broadcast_to(x, shape), (x,), lambda gy: (sum_to_shape(gy, x.shape),))


def sum_to_shape(x, shape):
    """The sum of ``x`` over the axes along which ``shape`` is broadcast to the shape of ``x``: the
    gradient of ``broadcast_to``."""
    if x.shape == tuple(shape):
        return x
    if x.dtype == "float32":
        y = _core.sum_to(x, shape)
    else:
        extra = x.ndim - len(shape)
        axes = tuple(i for i, n in enumerate(x.shape) if i < extra or shape[i - extra] != n)
        y = numpy_op(lambda a: np.sum(a, axes, keepdims=True).reshape(shape), x, dtype=x.dtype)
    return record(y, (x,), lambda gy: (broadcast_to(gy, x.shape),))


# ---- reductions with kernels ----


def _reduce(name, f, x, axes, keepdims, dtype=None):
    if x.dtype == "float32" and dtype in (None, "float32"):
        return _core.reduce(_REDUCE[name], x, axes, bool(keepdims))
    if name in ("max", "min") and not _count(x, axes):
        raise ValueError(f"[{name}] the axes must not be empty. Received: x.shape={x.shape}")
    dtype = dtype or x.dtype
    wide = np.float64 if dtype in dtypes.FLOAT_DTYPES else dtypes.numpy_dtype(dtype)
    return numpy_op(lambda a: f(a.astype(wide), tuple(axes), keepdims=bool(keepdims)), x, dtype=dtype)


def _sum_dtype(dtype):
    """Sums of bool and small integers are int32 or uint32, as in Keras."""
    if dtype in ("bool", "int8", "int16"):
        return "int32"
    return "uint32" if dtype in ("uint8", "uint16") else dtype


@op(kernel=_core.reduce, before=(_SUM,), least=1, after=(None, False))
def sum(x, axis=None, keepdims=False):
    """The sum over ``axis``: an int, a tuple of ints, or None for all axes.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    y = _core.reduce(_SUM, x, axis, keepdims)
    if y is None:
        x = as_tensor(x)
        y = _reduce("sum", np.sum, x, _axes("sum", x, axis), keepdims, _sum_dtype(x.dtype))
    if not recording():
        return y
    shape, kept = x.shape, _kept_shape(x, _axes("sum", x, axis))
    return record(y, (x,), lambda gy: (broadcast_to(_reshape(gy, kept), shape),))


@op(kernel=_core.reduce, before=(_MEAN,), least=1, after=(None, False))
def mean(x, axis=None, keepdims=False):
    """The arithmetic mean over ``axis``; integers give floats.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    y = _core.reduce(_MEAN, x, axis, keepdims)
    if y is None:
        x = as_tensor(x)
        x = as_tensor(x, float_dtype(x.dtype))
        y = _reduce("mean", np.mean, x, _axes("mean", x, axis), keepdims)
    if not recording():
        return y
    axes = _axes("mean", x, axis)
    shape, kept, count = x.shape, _kept_shape(x, axes), _count(x, axes)
    return record(y, (x,), lambda gy: (broadcast_to(_reshape(divide(gy, count or 1), kept), shape),))


def _extremum(name, f, x, axis, keepdims, initial, limit):
    x = as_tensor(x)
    axes = _axes(name, x, axis)
    if initial is not None and not _count(x, axes):
        shape = _kept_shape(x, axes) if keepdims else [n for i, n in enumerate(x.shape) if i not in axes]
        return broadcast_to(as_tensor(initial, x.dtype), shape)
    y = _reduce(name, f, x, axes, keepdims)
    if initial is not None and x.dtype == "bool":
        initial = as_tensor(initial, "bool")
    if not recording():
        return y if initial is None else limit(y, initial)
    kept = _kept_shape(x, axes)

    def vjp(gy):  # the elements that attain the extremum share the gradient
        attained = cast(equal(x, _reshape(y, kept)), x.dtype)
        share = divide(_reshape(gy, kept), sum(attained, axes, keepdims=True))
        return (multiply(attained, share),)

    y = record(y, (x,), vjp)
    return y if initial is None else limit(y, initial)


@op(kernel=_core.reduce, before=(_REDUCE["max"],), least=1, after=(None, False))
def max(x, axis=None, keepdims=False, initial=None):
    """The largest value over ``axis``; NaN if there is one. Equal largest values share the gradient.

    Args:
        initial: a lower limit of the result, needed where the axes are empty.
        x: tensor of any shape.
        keepdims: bool; leave the axes, of size 1.
    """
    return _extremum("max", np.max, x, axis, keepdims, initial, maximum)


@op(kernel=_core.reduce, before=(_REDUCE["min"],), least=1, after=(None, False))
def min(x, axis=None, keepdims=False, initial=None):
    """The smallest value over ``axis``; NaN if there is one. Equal smallest values share the gradient.

    Args:
        initial: an upper limit of the result, needed where the axes are empty.
        x: tensor of any shape.
        keepdims: bool; leave the axes, of size 1.
    """
    return _extremum("min", np.min, x, axis, keepdims, initial, minimum)


amax, amin = max, min


@op
def prod(x, axis=None, keepdims=False, dtype=None):
    """The product over ``axis``.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
        dtype: string; the dtype of the result, by default that of the values.
    """
    x = as_tensor(x)
    if dtype is not None:
        x = as_tensor(x, dtypes.standardize_dtype(dtype))
    axes = _axes("prod", x, axis)
    y = _reduce("prod", np.prod, x, axes, keepdims, dtype or _sum_dtype(x.dtype))
    kept = _kept_shape(x, axes)

    def vjp(gy):
        gy, yk = _reshape(gy, kept), _reshape(y, kept)
        if not bool(any(equal(x, 0))):
            return (divide(multiply(gy, yk), x),)
        return (numpy_op(lambda a, g: _prod_gradient(a, g, axes), x, gy, dtype=x.dtype),)

    return record(y, (x,), vjp)


def _prod_gradient(x, g, axes):
    """The products of all other elements times g; x may hold zeros."""
    last = [i for i in range(x.ndim) if i not in axes] + list(axes)
    rows = np.transpose(x, last)
    shape = rows.shape
    rows = rows.reshape(shape[:x.ndim - len(axes)] + (-1,)).astype(np.float64)
    left, right = np.ones_like(rows), np.ones_like(rows)
    left[..., 1:] = np.cumprod(rows[..., :-1], -1)
    right[..., :-1] = np.cumprod(rows[..., :0:-1], -1)[..., ::-1]
    return np.transpose((left * right).reshape(shape), np.argsort(last)) * g


def _arg_extremum(name, f, x, axis, keepdims):
    x = as_tensor(x)
    flat = axis is None
    axes = _axes(name, x, axis)
    if len(axes) != 1 and not flat:
        raise ValueError(f"[{name}] axis must be one axis or None. Received: axis={axis!r}")
    rank = x.ndim
    if flat:
        x, axes = _core.view(x, (-1,)) if x.size else _core.view(x, (x.size,)), [0]
    if x.dtype == "float32":
        y = _core.arg_reduce(x, axes[0], name == "argmin", bool(keepdims) and not flat)
    else:
        y = numpy_op(lambda a: f(a, axes[0], keepdims=bool(keepdims) and not flat), x, dtype="int32")
    return _core.view(y, (1,) * rank) if flat and keepdims else y


@op
def argmax(x, axis=None, keepdims=False):
    """The int32 position of the first largest value along ``axis``, or of the first NaN. None: in the flat array.

    Args:
        x: tensor of any shape and dtype.
        axis: int; None: of the flat array.
        keepdims: bool; leave the axes, of size 1.
    """
    return _arg_extremum("argmax", np.argmax, x, axis, keepdims)


@op
def argmin(x, axis=None, keepdims=False):
    """The int32 position of the first smallest value along ``axis``, or of the first NaN. None: in the flat array.

    Args:
        x: tensor of any shape and dtype.
        axis: int; None: of the flat array.
        keepdims: bool; leave the axes, of size 1.
    """
    return _arg_extremum("argmin", np.argmin, x, axis, keepdims)


# ---- from others ----


@op
def var(x, axis=None, keepdims=False):
    """The mean squared deviation from the mean over ``axis`` (in two passes, so that nothing cancels).

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    x = as_tensor(x)
    return mean(square(subtract(x, mean(x, axis, keepdims=True))), axis, keepdims)


@op
def std(x, axis=None, keepdims=False):
    """The square root of the variance over ``axis``.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    return sqrt(var(x, axis, keepdims))


@op
def logsumexp(x, axis=None, keepdims=False):
    """``log(sum(exp(x)))`` over ``axis``, without overflow.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    x = as_tensor(x)
    x = as_tensor(x, float_dtype(x.dtype))
    axes = _axes("logsumexp", x, axis)
    kept = _kept_shape(x, axes)
    recorded = _core.set_recording(0)
    try:
        m = max(x, axes, keepdims=True, initial=-math.inf)
        m = where(equal(abs_(m), math.inf), 0.0, m)  # inf - inf would be NaN
        y = add(log(sum(exp(subtract(x, m)), axes, keepdims=True)), m)
        y = y if keepdims else _reshape(y, [n for i, n in enumerate(x.shape) if i not in axes])
    finally:
        _core.set_recording(recorded)
    return record(y, (x,), lambda gy: (multiply(_reshape(gy, kept), exp(subtract(x, _reshape(y, kept)))),))


@op
def any(x, axis=None, keepdims=False):
    """Whether any value over ``axis`` is not zero, as bool.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    x = as_tensor(x)
    axes = tuple(_axes("any", x, axis))
    return numpy_op(lambda a: np.any(a, axes, keepdims=keepdims), x, dtype="bool")


@op
def all(x, axis=None, keepdims=False):
    """Whether every value over ``axis`` is not zero, as bool.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    x = as_tensor(x)
    axes = tuple(_axes("all", x, axis))
    return numpy_op(lambda a: np.all(a, axes, keepdims=keepdims), x, dtype="bool")


@op
def count_nonzero(x, axis=None):
    """The number of values over ``axis`` that are not zero, as int32.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
    """
    x = as_tensor(x)
    axes = tuple(_axes("count_nonzero", x, axis))
    return numpy_op(lambda a: np.count_nonzero(a, axes), x, dtype="int32")


@op
def ptp(x, axis=None, keepdims=False):
    """The largest minus the smallest value over ``axis``.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    return subtract(max(x, axis, keepdims), min(x, axis, keepdims))


@op
def average(x, axis=None, weights=None):
    """The mean over ``axis`` weighted by ``weights``, of the shape of ``x`` or of that axis.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        weights: tensor, or None for the plain mean.
    """
    if weights is None:
        return mean(x, axis)
    x, weights = as_tensor(x), as_tensor(weights)
    if weights.shape != x.shape:
        if axis is None or weights.ndim != 1 or weights.shape[0] != x.shape[axis]:
            raise ValueError("[average] weights must have the shape of x or the length of axis. Received: "
                             f"x.shape={x.shape}, weights.shape={weights.shape}, axis={axis}")
        shape = [1] * x.ndim
        shape[axis] = -1
        weights = _reshape(weights, shape)
    weighted = multiply(x, weights)
    return divide(sum(weighted, axis), sum(broadcast_to(weights, x.shape), axis))


@op
def norm(x, ord=None, axis=None, keepdims=False):
    """The norm of vectors (one axis) or matrices (two axes); of the flat array if neither is given.

    Args:
        ord: None (Euclidean or Frobenius), a number p, inf, -inf, "fro" or "nuc", as in ``numpy.linalg.norm``.
        axis: an int, two ints, or None for all axes.
        x: tensor of any shape.
        keepdims: bool; leave the axes, of size 1.
    """
    x = as_tensor(x)
    x = as_tensor(x, float_dtype(x.dtype))
    axes = _axes("norm", x, axis)
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        return sqrt(sum(square(x), axes, keepdims))
    if isinstance(ord, str) and not (ord == "nuc" and len(axes) == 2):
        raise ValueError(f"[norm] ord must be a number, 'fro' or 'nuc', the last two for matrices. Received: ord={ord!r}")
    if len(axes) == 1:
        a = abs_(x)
        if ord == math.inf:
            return max(a, axes, keepdims)
        if ord == -math.inf:
            return min(a, axes, keepdims)
        if ord == 0:
            return sum(cast(not_equal(x, 0), x.dtype), axes, keepdims)
        if ord == 1:
            return sum(a, axes, keepdims)
        return power(sum(power(a, float(ord)), axes, keepdims), 1 / float(ord))
    if len(axes) != 2:
        raise ValueError(f"[norm] axis must be one or two axes for this ord. Received: ord={ord!r}, axis={axis!r}")
    row, column = axes
    if ord in (1, -1, math.inf, -math.inf):
        sums, over = (row, column) if ord in (1, -1) else (column, row)
        totals = sum(abs_(x), sums, keepdims=True)
        y = (max if ord > 0 else min)(totals, over, keepdims=True)
        return y if keepdims else _reshape(y, [n for i, n in enumerate(x.shape) if i not in axes])
    if ord not in (2, -2, "nuc"):
        raise ValueError(f"[norm] ord must be 1, 2, inf, their negatives, 'fro' or 'nuc' for matrices. Received: ord={ord!r}")
    return _spectral_norm(x, ord, axes, keepdims)


def _spectral_norm(x, ord, axes, keepdims):
    """Norms of singular values s: x = u diag(s) v, so that d(sum of w s) / dx = u diag(w) v."""
    def forward(a):
        return np.linalg.norm(a, ord, tuple(axes), keepdims)

    y = numpy_op(forward, x, dtype=x.dtype)
    kept = _kept_shape(x, axes)

    def gradient(a, g):
        moved = np.moveaxis(a.astype(np.float64), axes, (-2, -1))
        if not np.isfinite(moved).all():  # LAPACK may loop for ever
            return np.full_like(a, np.nan)
        u, s, v = np.linalg.svd(moved, full_matrices=False)
        w = np.ones_like(s)
        if ord != "nuc":
            w[...] = 0
            w[..., 0 if ord == 2 else -1] = 1
        return np.moveaxis((u * w[..., None, :]) @ v, (-2, -1), axes) * g

    return record(y, (x,), lambda gy: (numpy_op(gradient, x, _reshape(gy, kept), dtype=x.dtype),))


# ---- running sums and products ----


def _scan_argument(name, x, axis, dtype):
    x = as_tensor(x)
    dtype = dtypes.standardize_dtype(dtype) if dtype is not None else "int32" if x.dtype == "bool" else x.dtype
    x = as_tensor(x, dtype)
    if axis is None:
        return _reshape(x, (x.size,)), 0
    axes = _axes(name, x, axis)
    if len(axes) != 1:
        raise ValueError(f"[{name}] axis must be one int, or None. Received: axis={axis}")
    return x, axes[0]


@op
def cumsum(x, axis=None, dtype=None):
    """The running sum along ``axis``; None: of the flat array.

    Args:
        x: tensor of any shape and dtype.
        axis: int; None: of the flat array.
        dtype: string; the dtype of the result, by default that of the values.
    """
    x, axis = _scan_argument("cumsum", x, axis, dtype)
    return _cumsum(x, axis, False)


def _cumsum(x, axis, reverse):
    def f(a):
        wide = a.astype(np.float64) if x.dtype in dtypes.FLOAT_DTYPES else a
        return np.flip(np.cumsum(np.flip(wide, axis), axis), axis) if reverse else np.cumsum(wide, axis)

    return record(numpy_op(f, x, dtype=x.dtype), (x,), lambda gy: (_cumsum(gy, axis, not reverse),))


@op
def cumprod(x, axis=None, dtype=None):
    """The running product along ``axis``; None: of the flat array.

    Args:
        x: tensor of any shape and dtype.
        axis: int; None: of the flat array.
        dtype: string; the dtype of the result, by default that of the values.
    """
    x, axis = _scan_argument("cumprod", x, axis, dtype)
    y = numpy_op(lambda a: np.cumprod(a, axis), x, dtype=x.dtype)

    def gradient(a, p, g):
        a, p, g = (np.moveaxis(v.astype(np.float64), axis, 0) for v in (a, p, g))
        before = np.concatenate([np.ones_like(p[:1]), p[:-1]])  # y[i] = before[i] x[i]
        gx, later = np.zeros_like(a), np.zeros_like(a[0])
        for i in range(len(a) - 1, -1, -1):
            later = g[i] + later
            gx[i] = later * before[i]
            later = later * a[i]
        return np.moveaxis(gx, 0, axis)

    return record(y, (x,), lambda gy: (numpy_op(gradient, x, y, gy, dtype=x.dtype),))


__all__ = [
    "broadcast_to", "sum", "mean", "max", "min", "amax", "amin", "prod", "argmax", "argmin", "var", "std",
    "logsumexp", "any", "all", "count_nonzero", "ptp", "average", "norm", "cumsum", "cumprod",
]
