"""Functions of keras.ops made of other ops, and windows and correlations by NumPy."""

import numpy as np

from .. import config, dtypes
from .._core import record
from ..symbolic import op
from ..tensor import as_tensor
from .array import check_fits
from .elementwise import add, divide, log, maximum, minimum, multiply, rsqrt, sqrt, square, subtract
from .numpy_op import float_dtype, named, numpy_op, operands
from .reduction import _reshape, mean, norm
from .reduction import sum as sum_


@op
def normalize(x, axis=-1, order=2, epsilon=None):
    """``x`` divided by its norm along ``axis``, or by ``epsilon`` if that is larger.

    Args:
        x: float tensor.
        axis: an int or a tuple of ints.
        order: of the norm, an int of at least 1.
        epsilon: the global epsilon by default.
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ValueError(f"[normalize] Argument `order` must be an int >= 1. Received: order={order!r}")
    x = as_tensor(x)
    x = as_tensor(x, float_dtype(x.dtype))
    if x.ndim == 0:
        x = _reshape(x, (1,))
    epsilon = config.epsilon() if epsilon is None else epsilon
    if order == 2:
        return multiply(x, minimum(rsqrt(sum_(square(x), axis, keepdims=True)), 1 / epsilon))
    return divide(x, maximum(norm(x, order, axis, keepdims=True), epsilon))


@op
def psnr(x1, x2, max_val):
    """The peak signal-to-noise ratio of ``x1`` and ``x2`` in decibels: ``20 log10(max_val / rms(x1 - x2))``.

    Args:
        x1: tensor.
        x2: tensor of the same shape.
        max_val: number; the largest possible value.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.shape != x2.shape:
        raise ValueError(f"[psnr] x1 and x2 must have one shape. Received: x1.shape={x1.shape}, x2.shape={x2.shape}")
    decibel = 10 / np.log(10).item()
    noise = log(mean(square(subtract(x1, x2))))
    return multiply(subtract(multiply(log(as_tensor(max_val, noise.dtype)), 2), noise), decibel)


@op
def cdist(x, y):
    """The Euclidean distance between each row of ``x`` (..., m, d) and each of ``y`` (..., n, d): (..., m, n).

    Args:
        x: (..., m, d) floats.
        y: (..., n, d) floats.
    """
    (x, y), dtype = operands(x, y)
    x, y = as_tensor(x, float_dtype(dtype)), as_tensor(y, float_dtype(dtype))
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ValueError(f"[cdist] x and y must be matrices with rows of one length. Received: x.shape={x.shape}, "
                         f"y.shape={y.shape}")
    x = _reshape(x, (*x.shape[:-1], 1, x.shape[-1]))
    y = _reshape(y, (*y.shape[:-2], 1, *y.shape[-2:]))
    return sqrt(sum_(square(subtract(x, y)), -1))


@op
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """The integral of ``y`` along ``axis`` by the trapezoidal rule, at the points ``x`` or at a distance of ``dx``.

    Args:
        y: tensor of floats.
        x: (n,) or the shape of `y`, or None.
        dx: number; used without `x`.
        axis: int.
    """
    y = as_tensor(y)
    y = as_tensor(y, float_dtype(y.dtype))
    later = tuple(slice(1, None) if i == axis % y.ndim else slice(None) for i in range(y.ndim))
    earlier = tuple(slice(None, -1) if i == axis % y.ndim else slice(None) for i in range(y.ndim))
    if x is not None:
        x = as_tensor(x, y.dtype)
        if x.ndim == 1:
            dx = _reshape(subtract(x[1:], x[:-1]), [-1 if i == axis % y.ndim else 1 for i in range(y.ndim)])
        else:
            dx = subtract(x[later], x[earlier])
    return sum_(multiply(multiply(add(y[later], y[earlier]), 0.5), dx), axis)


@op
def cross(x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None):
    """The cross product of vectors of 2 or 3 elements along the given axes; ``axis`` sets all three.

    Two vectors of 2 elements give the third component alone.

    Args:
        x1: tensor with 2 or 3 elements along `axisa`.
        x2: tensor with 2 or 3 elements along `axisb`.
        axisa: int.
        axisb: int.
        axisc: int; where the result has its elements.
        axis: int or None; all three.
    """
    from . import moveaxis, stack

    (x1, x2), dtype = operands(x1, x2)
    a, b = as_tensor(x1, dtype), as_tensor(x2, dtype)
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError("[cross] vectors must have 2 or 3 elements. "
                         f"Received: x1.shape={a.shape}, x2.shape={b.shape}")
    a0, a1, b0, b1 = a[..., 0], a[..., 1], b[..., 0], b[..., 1]
    z = subtract(multiply(a0, b1), multiply(a1, b0))
    if a.shape[-1] == 2 and b.shape[-1] == 2:
        return z
    a2 = a[..., 2] if a.shape[-1] == 3 else multiply(a0, 0)
    b2 = b[..., 2] if b.shape[-1] == 3 else multiply(b0, 0)
    x, y = (subtract(multiply(a1, b2), multiply(a2, b1)), subtract(multiply(a2, b0), multiply(a0, b2)))
    return moveaxis(stack([x, y, z], -1), -1, axisc)


@op
def kron(x1, x2):
    """The Kronecker product: ``x1`` with each element replaced by itself times ``x2``.

    Args:
        x1: tensor.
        x2: tensor.
    """
    (x1, x2), dtype = operands(x1, x2)
    a, b = as_tensor(x1, dtype), as_tensor(x2, dtype)
    rank = max(a.ndim, b.ndim)
    sa = (1,) * (rank - a.ndim) + a.shape
    sb = (1,) * (rank - b.ndim) + b.shape
    a = _reshape(a, [n for size in sa for n in (size, 1)])
    b = _reshape(b, [n for size in sb for n in (1, size)])
    return _reshape(multiply(a, b), [m * n for m, n in zip(sa, sb)])


@op
def corrcoef(x):
    """The correlation coefficients of the rows of ``x`` (variables, observations): (variables, variables).

    Args:
        x: (variables, observations), or (observations,).
    """
    from . import matmul, transpose

    x = as_tensor(x)
    x = as_tensor(x, float_dtype(x.dtype))
    if x.ndim != 2:
        raise ValueError(f"[corrcoef] x must be a matrix. Received: x.shape={x.shape}")
    centered = subtract(x, mean(x, 1, keepdims=True))
    unit = divide(centered, sqrt(sum_(square(centered), 1, keepdims=True)))
    return matmul(unit, transpose(unit))


@op
def correlate(x1, x2, mode="valid"):
    """The cross-correlation of two vectors: ``sum_n x1[n + k] x2[n]`` for the shifts k of ``mode``.

    Args:
        mode: "valid", where they overlap completely, "same", as many as the longer one has elements, or "full".
    """
    (x1, x2), dtype = operands(x1, x2)
    a, b = as_tensor(x1, float_dtype(dtype)), as_tensor(x2, float_dtype(dtype))
    if mode not in ("valid", "same", "full"):
        raise ValueError(f"[correlate] mode must be 'valid', 'same' or 'full'. Received: mode={mode!r}")
    if a.ndim != 1 or b.ndim != 1 or not a.size or not b.size:
        raise ValueError("[correlate] x1 and x2 must be vectors that are not empty. "
                         f"Received: x1.shape={a.shape}, x2.shape={b.shape}")
    y = numpy_op(lambda p, q: np.correlate(p.astype(np.float64), q.astype(np.float64), mode), a, b, dtype=a.dtype)

    def gradient(p, q, g):
        """y is linear in each argument: its matrix is found by correlating unit vectors."""
        eye_p, eye_q = np.eye(len(p)), np.eye(len(q))
        gp = [np.dot(np.correlate(e, q, mode), g) for e in eye_p]
        gq = [np.dot(np.correlate(p, e, mode), g) for e in eye_q]
        return np.array(gp), np.array(gq)

    return record(y, (a, b), lambda gy: tuple(numpy_op(gradient, a, b, gy, dtype=a.dtype)))


def _window(name, f, doc):
    def window(x):
        n = int(as_tensor(x).item())
        check_fits(name, max(n, 0))
        return numpy_op(lambda: f(n), dtype=dtypes.floatx())

    return op(named(window, name, f"The {doc} window.", "Tensor (x,) of floatx.", x="int; the number of points."))


bartlett = _window("bartlett", np.bartlett, "Bartlett")
blackman = _window("blackman", np.blackman, "Blackman")
hamming = _window("hamming", np.hamming, "Hamming")
hanning = _window("hanning", np.hanning, "Hann")


@op
def kaiser(x, beta):
    """The Kaiser window of ``x`` points, an int, with the shape parameter ``beta``.

    Args:
        x: int; the number of points.
        beta: number; 0 is a rectangle.
    """
    n, beta = int(as_tensor(x).item()), float(as_tensor(beta).item())
    check_fits("kaiser", max(n, 0))
    return numpy_op(lambda: np.kaiser(n, beta), dtype=dtypes.floatx())


__all__ = [
    "normalize", "psnr", "cdist", "trapezoid", "cross", "kron", "corrcoef", "correlate", "bartlett", "blackman",
    "hamming", "hanning", "kaiser",
]
