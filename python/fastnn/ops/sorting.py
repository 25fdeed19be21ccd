"""Classes as vectors of zeros and ones, and what depends on the order of values."""

import numpy as np

from .. import _core, dtypes
from ..symbolic import op, unknown_size
from ..tensor import as_tensor, from_numpy, to_numpy
from .array import axis_index, cast, integers, moveaxis, ravel
from .indexing import read_indices, take_along_axis
from .numpy_op import numpy_op

__all__ = [
    "argpartition", "argsort", "in_top_k", "multi_hot", "nonzero", "one_hot", "searchsorted", "sort", "top_k",
    "unique", "unravel_index",
]  # fmt: skip


# ---- encodings ----


def _classes(op_name, num_classes):
    (n,) = integers(op_name, "num_classes", num_classes)
    if n < 1:
        raise ValueError(f"[{op_name}] num_classes must be positive. Received: num_classes={num_classes}")
    return n


@op
def one_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    """1 at the class of each element along a new axis, 0 elsewhere; all 0 for a class out of range.

    Args:
        x: integers of any shape.
        num_classes: size of the new axis.
        axis: its position in the result.
        dtype: floatx by default.
        sparse: must be False.
    """
    if sparse:
        raise ValueError("[one_hot] sparse tensors do not exist here. Received: sparse=True")
    x = as_tensor(x)
    n = _classes("one_hot", num_classes)
    axis = axis_index("one_hot", axis, x.ndim + 1)

    def encode(ids):
        flat = ids.reshape(-1).astype("int64")
        y = np.zeros((flat.size, n), "float32")
        rows = np.flatnonzero((flat >= 0) & (flat < n))
        y[rows, flat[rows]] = 1
        return y.reshape(ids.shape + (n,))

    y = cast(numpy_op(encode, x), dtypes.standardize_dtype(dtype))
    return y if axis == x.ndim else moveaxis(y, -1, axis)


@op
def multi_hot(inputs, num_classes=None, axis=-1, dtype=None, sparse=False, **kwargs):
    """1 at every class that occurs along the last axis of ``inputs`` (n, k) -> (n, num_classes).

    Args:
        inputs: (..., k) integers; negative ones are left out.
        num_classes: int.
        axis: int; where the classes lie in the result.
        dtype: string; the dtype of the result, floatx by default.
        sparse: must be False.
    """
    if num_classes is None:
        num_classes = kwargs.pop("num_tokens", None)
    if kwargs:
        raise ValueError(f"[multi_hot] Argument(s) not recognized: {kwargs}")
    x = as_tensor(inputs)
    reduction = 1 if x.ndim > 1 else 0
    y = one_hot(x, num_classes, axis=axis, dtype=dtype, sparse=sparse)
    from .reduction import max

    return max(y, axis=reduction)


# ---- order ----


@op
def argsort(x, axis=-1):
    """The positions that sort ``x`` along an axis (flat when None), equal elements in their order; int32.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or None.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    if x.ndim:
        axis = axis_index("argsort", axis, x.ndim)
    return numpy_op(lambda a: np.argsort(a, axis, kind="stable") if a.ndim else np.int32(0), x, dtype="int32")


@op
def sort(x, axis=-1):
    """``x`` in rising order along an axis (flat when None), NaN last.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or None.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    return take_along_axis(x, argsort(x, axis), axis) if x.ndim else x


@op
def argpartition(x, kth, axis=-1):
    """Positions that bring the ``kth`` smallest element to its place, smaller ones before it; int32.

    Args:
        x: tensor of any shape and dtype.
        kth: int.
        axis: int.
    """
    return numpy_op(lambda a: np.argpartition(a, kth, axis), as_tensor(x), dtype="int32")


@op
def top_k(x, k, sorted=True):
    """The ``k`` largest elements along the last axis, falling, and their positions (int32); the first of
    equal ones comes first.

    Args:
        x: tensor (..., n).
        k: int.
        sorted: bool; makes no difference, the result is always sorted.

    Raises:
        ValueError: the axis has fewer than ``k`` elements.
    """
    x = as_tensor(x)
    (k,) = integers("top_k", "k", k)
    if x.ndim < 1 or not 0 <= k <= x.shape[-1]:
        raise ValueError(f"[top_k] k must be in [0, {x.shape[-1] if x.ndim else 0}], the size of the last axis. "
                         f"Received: k={k}, shape={x.shape}")

    def positions(a):
        n = a.shape[-1]
        if k == 1 and a.dtype.kind != "V":
            return np.argmax(a, -1)[..., None]
        order = np.argsort(a[..., ::-1], -1, kind="stable")[..., ::-1]
        return (n - 1 - order)[..., :k]

    index = numpy_op(positions, x, dtype="int32")
    return take_along_axis(x, index, -1), index


@op
def in_top_k(targets, predictions, k):
    """Whether the score of class ``targets[i]`` is among the ``k`` largest of ``predictions[i]``; bool.

    Ties with the k-th largest count; a target out of range, or scores that are not finite, do not.

    Args:
        targets: (n,) integers.
        predictions: (n, c) floats.
        k: int.
    """
    targets, predictions = as_tensor(targets), as_tensor(predictions)
    if predictions.ndim < 1 or targets.shape != predictions.shape[:-1]:
        raise ValueError("[in_top_k] targets must have the shape of predictions without its last axis. "
                         f"Received: targets.shape={targets.shape}, predictions.shape={predictions.shape}")

    def inside(t, p):
        t = t.astype("int64")
        known = (t >= 0) & (t < p.shape[-1])
        score = np.take_along_axis(p, np.where(known, t, 0)[..., None], -1)
        larger = (p > score).sum(-1)
        return known & (larger < k) & np.isfinite(score[..., 0])

    return numpy_op(inside, targets, predictions, dtype="bool")


@op
def searchsorted(sorted_sequence, values, side="left"):
    """The position at which each value would have to be inserted to keep a sequence sorted; int32.

    Args:
        sorted_sequence: (n,), rising.
        values: tensor of any shape and dtype.
        side: "left": before equal elements, or "right": after them.
    """
    s, v = as_tensor(sorted_sequence), as_tensor(values)
    if s.ndim != 1:
        raise ValueError(f"[searchsorted] sorted_sequence must have 1 dimension. Received: shape={s.shape}")
    if side not in ("left", "right"):
        raise ValueError(f"[searchsorted] side must be 'left' or 'right'. Received: side={side!r}")
    return numpy_op(lambda a, b: np.searchsorted(a, b, side), s, v, dtype="int32")


@op
def nonzero(x):
    """The positions of the elements that are not zero: one int32 tensor per axis.

    Args:
        x: tensor of any shape and dtype.
    """
    x = as_tensor(x)
    if x.device == "meta":
        return tuple(_core.meta((unknown_size(),), "int32") for _ in x.shape)
    return numpy_op(lambda a: tuple(np.nonzero(a)), x, dtype="int32")


@op
def unique(x, sorted=True, return_index=False, return_inverse=False, return_counts=False, axis=None, size=None,
           fill_value=None):
    """The different elements of ``x`` (or slices along ``axis``), rising. A NaN equals no other.

    Args:
        sorted: accepted for Keras's sake: the result is always sorted.
        return_index, return_inverse, return_counts: also return, in this order, where each occurs first, the
            number in the result of each element of ``x``, in its shape, and how often each occurs; int32.
        size: the length of the result: cut, or filled up with ``fill_value`` (0 by default), the indices with that of the
            first element.
    """
    x = as_tensor(x)
    whole = x.shape if axis is None else (x.shape[axis],)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_index("unique", axis, x.ndim)
    if x.device == "meta":
        size = unknown_size() if size is None else size
        parts = [_core.meta(x.shape[:axis] + (size,) + x.shape[axis + 1 :], x.dtype)]
        parts += [_core.meta(whole if n is None else (n,), "int32") for wanted, n in (
            (return_index, size), (return_inverse, None), (return_counts, size)) if wanted]
        return parts[0] if len(parts) == 1 else tuple(parts)
    values, index, inverse, counts = np.unique(
        to_numpy(x), return_index=True, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    inverse = inverse.reshape(whole)

    def fit(a, axis, fill):
        if size is None:
            return a
        a = np.take(a, np.arange(min(size, a.shape[axis])), axis)
        pads = [(0, size - a.shape[axis]) if i == axis else (0, 0) for i in range(a.ndim)]
        return np.pad(a, pads, constant_values=fill)

    parts = [from_numpy(fit(values, axis, 0 if fill_value is None else fill_value))]
    if return_index:
        parts.append(from_numpy(fit(index, 0, index[0] if index.size else 0).astype("int32")))
    if return_inverse:
        parts.append(from_numpy(inverse.astype("int32")))
    if return_counts:
        parts.append(from_numpy(fit(counts, 0, 0).astype("int32")))
    return parts[0] if len(parts) == 1 else tuple(parts)


@op
def unravel_index(indices, shape):
    """Flat positions in an array of ``shape`` as one tensor per axis.

    Args:
        indices: tensor of integers.
        shape: tuple or list of ints.
    """
    x = as_tensor(indices)
    shape = integers("unravel_index", "shape", shape)
    limit = 1
    for n in shape:
        limit *= n
    index = read_indices("unravel_index", "indices", x, limit, True)
    dtype = x.dtype if dtypes.is_int(x.dtype) else "int32"
    return numpy_op(lambda i: tuple(np.unravel_index(i, shape)), index, dtype=dtype)
