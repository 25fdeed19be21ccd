"""Arrays made from numbers: constants, ranges, diagonals, triangles, grids, histograms."""

import math
import operator

import numpy as np

from .. import _core, dtypes
from .._core import Tensor, record
from ..dtypes import FLOAT_DTYPES
from ..autograd import record_without_gradient
from ..symbolic import op
from ..tensor import Variable, as_tensor, convert_to_tensor, from_numpy, to_numpy
from .array import axis_list, cast, check_fits, expand_dims, integers, moveaxis, ravel, reshape
from .indexing import gather, get_item, read_indices
from .numpy_op import numpy_op, operands

__all__ = [
    "arange", "array", "bincount", "diag", "diagflat", "diagonal", "diff", "digitize", "empty", "empty_like", "eye",
    "full", "full_like", "geomspace", "histogram", "identity", "isin", "linspace", "logspace", "meshgrid", "ones",
    "ones_like", "select", "trace", "tri", "tril", "triu", "vander", "zeros", "zeros_like",
]  # fmt: skip


def _shape(op_name, shape):
    return integers(op_name, "shape", shape)


def zeros(shape, dtype=None):
    """A tensor of zeros; dtype floatx by default.

    Args:
        shape: tuple or list of ints.
        dtype: string; the dtype of the result, floatx by default.
    """
    return _core.full(_shape("zeros", shape), 0, dtypes.standardize_dtype(dtype))


def ones(shape, dtype=None):
    """A tensor of ones; dtype floatx by default.

    Args:
        shape: tuple or list of ints.
        dtype: string; the dtype of the result, floatx by default.
    """
    return _core.full(_shape("ones", shape), 1, dtypes.standardize_dtype(dtype))


def empty(shape, dtype=None):
    """A tensor whose values do not matter: zeros.

    Args:
        shape: tuple or list of ints.
        dtype: string; the dtype of the result, floatx by default.
    """
    return zeros(shape, dtype)


@op
def full(shape, fill_value, dtype=None):
    """A tensor of one value; an array ``fill_value`` is broadcast. dtype floatx by default.

    Args:
        shape: tuple or list of ints.
        fill_value: number or tensor.
        dtype: string; the dtype of the result, floatx by default.
    """
    dtype = dtypes.standardize_dtype(dtype)
    shape = _shape("full", shape)
    if type(fill_value) in (bool, int, float):
        return _core.full(shape, fill_value, dtype)
    from .reduction import broadcast_to

    return broadcast_to(cast(as_tensor(fill_value), dtype), shape)


def _like(x, value, dtype):
    x = as_tensor(x)
    dtype = x.dtype if dtype is None else dtypes.standardize_dtype(dtype)
    return _core.meta(x.shape, dtype) if x.device == "meta" else _core.full(x.shape, value, dtype)


@op
def zeros_like(x, dtype=None):
    """Zeros in the shape of ``x``.

    Args:
        x: tensor of any shape and dtype.
        dtype: string; the dtype of the result, by default that of the values.
    """
    return _like(x, 0, dtype)


@op
def ones_like(x, dtype=None):
    """Ones in the shape of ``x``.

    Args:
        x: tensor of any shape and dtype.
        dtype: string; the dtype of the result, by default that of the values.
    """
    return _like(x, 1, dtype)


@op
def empty_like(x, dtype=None):
    """A tensor in the shape of ``x`` whose values do not matter.

    Args:
        x: tensor of any shape and dtype.
        dtype: string; the dtype of the result, by default that of the values.
    """
    return _like(x, 0, dtype)


@op
def full_like(x, fill_value, dtype=None):
    """One value in the shape of ``x``.

    Args:
        x: tensor of any shape and dtype.
        fill_value: number or tensor.
        dtype: string; the dtype of the result, by default that of the values.
    """
    x = as_tensor(x)
    dtype = x.dtype if dtype is None else dtypes.standardize_dtype(dtype)
    if type(fill_value) in (bool, int, float):
        return _like(x, fill_value, dtype)
    from .reduction import broadcast_to

    return broadcast_to(cast(as_tensor(fill_value), dtype), x.shape)


@op
def array(x, dtype=None):
    """``x`` as a tensor.

    Args:
        x: number, nest of numbers, array or tensor.
        dtype: string; the dtype of the result, by default that of the values.
    """
    return convert_to_tensor(as_tensor(x) if isinstance(x, Variable) else x, dtype)


def _kind(*values):
    return [type(v) if type(v) in (bool, int, float) else as_tensor(v).dtype for v in values if v is not None]


def _number(op_name, name, v):
    if isinstance(v, (Tensor, Variable, np.ndarray, np.generic)):
        v = as_tensor(v).item()
    if not isinstance(v, (bool, int, float)):
        raise TypeError(f"[{op_name}] {name} must be a number. Received: {name}={v!r}")
    return v


def arange(start, stop=None, step=None, dtype=None):
    """start, start + step, ... below ``stop``; 0, 1, ... below ``start`` when that is all that is given.

    Args:
        start: number.
        stop: number, or None.
        step: number, or None for 1.
        dtype: string; the dtype of the result, by default that of the values.
    """
    kinds = _kind(start, stop, step)
    dtype = dtypes.result_type(*kinds) if dtype is None else dtypes.standardize_dtype(dtype)
    start = _number("arange", "start", start)
    if stop is None:
        start, stop = 0, start
    else:
        stop = _number("arange", "stop", stop)
    step = 1 if step is None else _number("arange", "step", step)
    if step == 0:
        raise ValueError("[arange] step must not be 0")
    if not (math.isfinite(start) and math.isfinite(stop) and math.isfinite(step)):
        raise ValueError(f"[arange] the bounds must be finite. Received: start={start}, stop={stop}, step={step}")
    count = max(0, math.ceil((stop - start) / step))
    check_fits("arange", count)
    exact = all(isinstance(v, int) for v in (start, stop, step))
    values = np.arange(start, stop, step, dtype="int64" if exact else "float64")
    return cast(from_numpy(values), dtype)


@op
def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    """``num`` evenly spaced numbers from ``start`` to ``stop``, along a new axis where these are arrays.

    Args:
        endpoint: whether the last one is ``stop`` itself.
        retstep: also return the distance between two numbers.
    """
    return _space(np.linspace, start, stop, num, dtype, axis, endpoint=endpoint, retstep=retstep)


@op
def logspace(start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0):
    """``base`` to the power of ``num`` evenly spaced exponents.

    Args:
        start: number or tensor.
        stop: number or tensor.
        num: int.
        endpoint: bool; `stop` is the last number.
        base: number.
        dtype: string; the dtype of the result, by default that of the values.
        axis: int; where the numbers lie if start and stop are tensors.
    """
    return _space(np.logspace, start, stop, num, dtype, axis, endpoint=endpoint, base=base)


@op
def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    """``num`` numbers from ``start`` to ``stop``, each the same multiple of the one before.

    Args:
        start: number or tensor.
        stop: number or tensor.
        num: int.
        endpoint: bool; `stop` is the last number.
        dtype: string; the dtype of the result, by default that of the values.
        axis: int; where the numbers lie if start and stop are tensors.
    """
    return _space(np.geomspace, start, stop, num, dtype, axis, endpoint=endpoint)


def _space(f, start, stop, num, dtype, axis, **options):
    (num,) = integers(f.__name__, "num", num)
    if num < 0:
        raise ValueError(f"[{f.__name__}] num must not be negative. Received: num={num}")
    check_fits(f.__name__, num)
    if dtype is None:
        dtype = dtypes.result_type(*_kind(start, stop), float)
    wide = [cast(as_tensor(v), "float64") for v in (start, stop)]
    if any(v.device == "meta" for v in wide):  # its zeros are no terms of a geometric sequence
        f, options = np.linspace, {}
    y = numpy_op(lambda x, y: f(x, y, num, axis=axis, **options), *wide, dtype=dtypes.standardize_dtype(dtype))
    return record_without_gradient(f.__name__, y, tuple(wide))


def eye(N, M=None, k=0, dtype=None):
    """(N, M) with ones on diagonal ``k`` (above the main one when positive); M is N by default.

    Args:
        N: int; rows.
        M: int; columns, or None.
        k: int; 0 is the main diagonal, above it is positive.
        dtype: string; the dtype of the result, floatx by default.
    """
    (n,) = integers("eye", "N", N)
    m = n if M is None else integers("eye", "M", M)[0]
    check_fits("eye", n, m)
    return from_numpy(np.eye(n, m, operator.index(k), dtypes.numpy_dtype(dtypes.standardize_dtype(dtype))))


def identity(n, dtype=None):
    """(n, n) with ones on the main diagonal.

    Args:
        n: int.
        dtype: string; the dtype of the result, floatx by default.
    """
    return eye(n, dtype=dtype)


def tri(N, M=None, k=0, dtype=None):
    """(N, M) with ones on and below diagonal ``k``.

    Args:
        N: int; rows.
        M: int; columns, or None.
        k: int; 0 is the main diagonal, above it is positive.
        dtype: string; the dtype of the result, floatx by default.
    """
    (n,) = integers("tri", "N", N)
    m = n if M is None else integers("tri", "M", M)[0]
    check_fits("tri", n, m)
    return from_numpy(np.tri(n, m, operator.index(k), dtypes.numpy_dtype(dtypes.standardize_dtype(dtype))))


def _triangle(f, x, k):
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"[{f.__name__}] x must have at least 2 dimensions. Received: shape={x.shape}")
    y = numpy_op(f, x, k, dtype=x.dtype)
    return record(y, (x,), lambda gy: (_triangle(f, gy, k),))


@op
def tril(x, k=0):
    """``x`` with zeros above diagonal ``k`` of its last two axes.

    Args:
        x: tensor of two axes or more.
        k: int; 0 is the main diagonal, above it is positive.
    """
    return _triangle(np.tril, x, operator.index(k))


@op
def triu(x, k=0):
    """``x`` with zeros below diagonal ``k`` of its last two axes.

    Args:
        x: tensor of two axes or more.
        k: int; 0 is the main diagonal, above it is positive.
    """
    return _triangle(np.triu, x, operator.index(k))


@op
def diagonal(x, offset=0, axis1=0, axis2=1):
    """Diagonal ``offset`` of the plane of two axes, as a new last axis.

    Args:
        x: tensor of two axes or more.
        offset: int; 0 is the main diagonal, above it is positive.
        axis1: int.
        axis2: int.
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"[diagonal] x must have at least 2 dimensions. Received: shape={x.shape}")
    a, b = axis_list("diagonal", (axis1, axis2), x.ndim)
    x = moveaxis(x, (a, b), (-2, -1))
    rows, cols = x.shape[-2:]
    count = max(0, min(rows, cols - offset) if offset >= 0 else min(rows + offset, cols))
    first = offset if offset >= 0 else -offset * cols
    flat = reshape(x, x.shape[:-2] + (rows * cols,))
    at = from_numpy(first + np.arange(count) * (cols + 1))
    return gather(flat, read_indices("diagonal", "offset", at, rows * cols, False), flat.ndim - 1)


@op
def diag(x, k=0):
    """The diagonal ``k`` of a matrix, or the matrix that has the given diagonal.

    Args:
        x: tensor (n,) or (m, n).
        k: int; 0 is the main diagonal, above it is positive.
    """
    x = as_tensor(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"[diag] x must have 1 or 2 dimensions. Received: shape={x.shape}")
    y = numpy_op(np.diag, x, k, dtype=x.dtype)
    return record(y, (x,), lambda gy: (diagonal(gy, k),))


@op
def diagflat(x, k=0):
    """The matrix whose diagonal ``k`` holds the elements of ``x``.

    Args:
        x: tensor of any shape and dtype.
        k: int; 0 is the main diagonal, above it is positive.
    """
    return diag(ravel(x), k)


@op
def trace(x, offset=0, axis1=0, axis2=1):
    """The sum of a diagonal of the plane of two axes.

    Args:
        x: tensor of two axes or more.
        offset: int; 0 is the main diagonal, above it is positive.
        axis1: int.
        axis2: int.
    """
    from .reduction import sum

    return sum(diagonal(x, offset, axis1, axis2), -1)


@op
def diff(a, n=1, axis=-1):
    """The differences of neighbours along an axis, ``n`` times over.

    Args:
        a: tensor of any shape and dtype.
        n: int, not negative.
        axis: int.
    """
    from .elementwise import not_equal, subtract

    x = as_tensor(a)
    if n < 0 or x.ndim == 0:
        raise ValueError(f"[diff] n must not be negative and a must have an axis. Received: n={n}, shape={x.shape}")
    (axis,) = axis_list("diff", axis, x.ndim)
    before = (np.s_[:],) * axis
    for _ in range(min(n, x.shape[axis])):  # nothing is left to subtract after that
        later, earlier = get_item(x, before + (np.s_[1:],)), get_item(x, before + (np.s_[:-1],))
        x = not_equal(later, earlier) if x.dtype == "bool" else subtract(later, earlier)
    return x


@op
def meshgrid(*x, indexing="xy"):
    """One array for each argument, spread over the grid that they span; "xy" puts the second one first.

    Args:
        x: tensor of any shape and dtype.
        indexing: "xy" or "ij".
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"[meshgrid] indexing must be 'xy' or 'ij'. Received: indexing={indexing!r}")
    xs = [ravel(as_tensor(v)) for v in x]
    from .reduction import broadcast_to

    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[:2] = 1, 0
    shape = [0] * len(xs)
    for v, a in zip(xs, order):
        shape[a] = v.size
    result = []
    for v, a in zip(xs, order):
        result.append(broadcast_to(reshape(v, [v.size if i == a else 1 for i in range(len(xs))]), shape))
    return result


@op
def vander(x, N=None, increasing=False):
    """The powers of a vector as columns, falling unless ``increasing``.

    Args:
        x: (n,).
        N: int; columns, n by default.
        increasing: bool.
    """
    x = as_tensor(x)
    if x.ndim != 1:
        raise ValueError(f"[vander] x must have 1 dimension. Received: shape={x.shape}")
    n = x.shape[0] if N is None else N
    check_fits("vander", x.shape[0], n)
    from .elementwise import power

    powers = np.arange(n) if increasing else np.arange(n)[::-1]
    exponents = from_numpy(powers.astype(dtypes.numpy_dtype(x.dtype)))
    return power(expand_dims(x, 1), exponents)


@op
def digitize(x, bins):
    """The number of the bin of each element: how many of the rising ``bins`` are not above it; int32.

    Args:
        x: tensor of any shape and dtype.
        bins: (k,), rising.
    """
    x = as_tensor(x)
    bins = as_tensor(bins)
    if bins.ndim != 1:
        raise ValueError(f"[digitize] bins must have one axis. Received: bins.shape={bins.shape}")
    if "meta" in (x.device, bins.device):
        return _core.meta(x.shape, "int32")
    edges = np.array(to_numpy(bins))
    return numpy_op(lambda a: np.searchsorted(edges, a, "right"), x, dtype="int32")


@op
def bincount(x, weights=None, minlength=0, sparse=False):
    """How often each of 0, 1, ... occurs in ``x``, or the sum of the weights of its occurrences.

    Args:
        x: (n,) or (rows, n) non-negative integers.
        weights: the same shape, or None.
        minlength: the least length of the result.
        sparse: must be False.
    """
    if sparse:
        raise ValueError("[bincount] sparse tensors do not exist here. Received: sparse=True")
    x = as_tensor(x)
    if x.device == "meta":
        dtype = "int32" if weights is None else as_tensor(weights).dtype
        return _core.meta(x.shape[:-1] + (minlength,), dtype)
    if x.ndim not in (1, 2):
        raise ValueError(f"[bincount] x must have 1 or 2 dimensions. Received: shape={x.shape}")
    ids = to_numpy(cast(x, "int64"))
    if ids.size and ids.min() < 0:
        raise ValueError(f"[bincount] x must not hold negative numbers. Received: {ids.min()}")
    w = None if weights is None else as_tensor(weights)
    dtype = "int32" if w is None else dtypes.result_type(x.dtype, w.dtype)
    n = max(minlength, int(ids.max()) + 1 if ids.size else 0)
    check_fits("bincount", *ids.shape[:-1], n)
    if ids.ndim == 1:
        return cast(from_numpy(np.bincount(ids, None if w is None else to_numpy(w), n)), dtype)
    rows = [np.bincount(r, None if w is None else to_numpy(w)[i], n) for i, r in enumerate(ids)]
    return cast(from_numpy(np.stack(rows) if rows else np.zeros((0, n))), dtype)


@op
def histogram(x, bins=10, range=None):
    """(counts, edges) of ``bins`` equal intervals of ``range`` (low, high), by default that of the values.

    Args:
        x: tensor of any shape and dtype.
        bins: int.
        range: (low, high), or None.
    """
    if not hasattr(bins, "__index__") or bins < 1:
        raise ValueError(f"[histogram] bins must be a positive integer. Received: bins={bins!r}")
    if range is not None and (len(range) != 2 or range[0] >= range[1]):
        raise ValueError(f"[histogram] range must be (low, high) with low below high. Received: range={range}")
    x = as_tensor(x)
    dtype = x.dtype if x.dtype in FLOAT_DTYPES else dtypes.floatx()
    counts, edges = numpy_op(lambda a: tuple(np.histogram(a.astype("float64"), bins, range)), x)
    return cast(counts, "int32"), cast(edges, dtype)


@op
def isin(x1, x2, assume_unique=False, invert=False):
    """Whether each element of ``x1`` occurs in ``x2``; bool.

    Args:
        x1: tensor.
        x2: tensor of any shape.
        assume_unique: bool; nothing occurs twice in either, which is then faster.
        invert: bool; tell what does not occur.
    """
    (x1, x2), dtype = operands(x1, x2)
    x1, x2 = as_tensor(x1, dtype), as_tensor(x2, dtype)
    return numpy_op(lambda a, b: np.isin(a, b, assume_unique, invert), x1, x2, dtype="bool")


@op
def select(condlist, choicelist, default=0):
    """The element of the first choice whose condition holds, else ``default``.

    Args:
        condlist: list of bool tensors.
        choicelist: list of tensors, as many.
        default: number or tensor.
    """
    from .elementwise import where

    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError("[select] condlist and choicelist must have the same length, not 0. "
                         f"Received: {len(condlist)} and {len(choicelist)}")
    y = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1]):
        y = where(condition, choice, y)
    return y
