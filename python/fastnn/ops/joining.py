"""Arrays joined, cut and rolled: movements of data along one axis, whose gradients are such movements."""

from .. import _core
from .._core import record
from ..symbolic import _SIZES, op
from ..tensor import as_tensor
from .array import axis_index, expand_dims, integers, ravel, reshape, tensors

__all__ = [
    "append", "array_split", "concatenate", "dsplit", "dstack", "hsplit", "hstack", "roll", "split", "stack",
    "unstack", "vsplit", "vstack",
]  # fmt: skip


def _part(x, axis, begin, end):
    """x[..., begin:end, ...] along an axis."""
    return record(_slice(x, axis, begin, end), (x,), lambda gy: (_place(gy, x.shape, axis, begin),))


def _slice(x, axis, begin, end):
    start = [0] * x.ndim
    start[axis] = begin
    shape, ones = list(x.shape), [1] * x.ndim
    shape[axis] = end - begin
    return _core.slice(x, start, shape, ones)


def _place(gy, shape, axis, begin):
    """Zeros of ``shape`` with ``gy`` from ``begin`` on along an axis: the gradient of ``_part``."""
    start = [0] * gy.ndim
    start[axis] = begin
    end = begin + gy.shape[axis]
    gx = _core.slice_backward(gy, shape, start, [1] * gy.ndim)
    return record(gx, (gy,), lambda g: (_part(g, axis, begin, end),))


@op
def concatenate(xs, axis=0):
    """The arrays of ``xs`` one after the other along an axis (all flat when None); one common dtype.

    Args:
        xs: list of tensors.
        axis: int, or None.

    Raises:
        ValueError: another size differs, or ``xs`` is empty.
    """
    xs = tensors("concatenate", xs)
    if axis is None:
        xs, axis = tuple(ravel(x) for x in xs), 0
    if xs[0].ndim == 0:
        raise ValueError("[concatenate] arrays must have at least 1 dimension. Received: shape=()")
    axis = axis_index("concatenate", axis, xs[0].ndim)
    y = _core.concatenate(xs, axis)

    def vjp(gy):
        result, at = [], 0
        for x in xs:
            end = at + x.shape[axis]
            result.append(_part(gy, axis, at, end) if x.node is not None else None)
            at = end
        return result

    return record(y, xs, vjp)


@op
def stack(x, axis=0):
    """Arrays of one shape joined along a new axis.

    Args:
        x: list of tensors of one shape.
        axis: int; its position in the result.

    Raises:
        ValueError: the shapes differ.
    """
    xs = tensors("stack", x)
    if any(v.shape != xs[0].shape for v in xs):
        raise ValueError(f"[stack] all arrays must have the same shape. Received: shapes {[v.shape for v in xs]}")
    axis = axis_index("stack", axis, xs[0].ndim + 1)
    return concatenate([expand_dims(v, axis) for v in xs], axis)


@op
def unstack(x, num=None, axis=0):
    """The slices of ``x`` along an axis, as a list of tensors without it.

    Args:
        x: tensor of any shape and dtype.
        num: int or None; the size of the axis, if it cannot be known.
        axis: int.
    """
    x = as_tensor(x)
    axis = axis_index("unstack", axis, x.ndim)
    if num is not None and x.device == "meta" and x.shape[axis] in _SIZES:  # an unknown size
        return [_core.meta(x.shape[:axis] + x.shape[axis + 1:], x.dtype) for _ in range(num)]
    if num is None and x.device == "meta" and x.shape[axis] in _SIZES:
        raise ValueError(f"[unstack] Cannot infer argument `num` from shape: the size of axis {axis} is unknown. Received: num=None")
    if num is not None and num != x.shape[axis]:
        raise ValueError(f"[unstack] num must be the size of the axis, {x.shape[axis]}. Received: num={num}")
    shape = x.shape[:axis] + x.shape[axis + 1:]
    return [reshape(part, shape) for part in _cut(x, range(1, x.shape[axis]), axis)] if x.shape[axis] else []


def _cut(x, edges, axis):
    edges = [0, *edges, x.shape[axis]]
    if any(a > b for a, b in zip(edges, edges[1:])):  # parts that overlap
        return [_part(x, axis, a, max(a, b)) for a, b in zip(edges, edges[1:])]
    # One node for all parts: their gradients are joined once, however many they are.
    parts = tuple(_slice(x, axis, a, b) for a, b in zip(edges, edges[1:]))

    def vjp(*gs):
        return (concatenate([_core.full(shape, 0, dtype) if g is None else g for g, (shape, dtype) in zip(gs, specs)], axis),)

    specs = [(part.shape, part.dtype) for part in parts]
    return list(record(parts, (x,), vjp))


@op
def split(x, indices_or_sections, axis=0):
    """``x`` cut along an axis: into equal parts, or at the given positions.

    Args:
        x: tensor of any shape and dtype.
        indices_or_sections: int, the number of equal parts, or a list of positions.
        axis: int.

    Raises:
        ValueError: the axis does not divide into that many equal parts.
    """
    x = as_tensor(x)
    axis = axis_index("split", axis, x.ndim)
    n = x.shape[axis]
    if hasattr(indices_or_sections, "__index__") and not getattr(indices_or_sections, "ndim", 0):
        parts = indices_or_sections.__index__()
        if parts < 1 or n % parts:
            raise ValueError("[split] the size along axis must be divisible by the number of parts. "
                             f"Received: shape={x.shape}, axis={axis}, indices_or_sections={parts}")
        return _cut(x, range(n // parts, n, n // parts) if n else [0] * (parts - 1), axis)
    edges = integers("split", "indices_or_sections", indices_or_sections)
    return _cut(x, [min(max(e + n if e < 0 else e, 0), n) for e in edges], axis)


@op
def array_split(x, indices_or_sections, axis=0):
    """``x`` cut along an axis into parts whose sizes differ by at most one, or at the given positions.

    Args:
        x: tensor of any shape and dtype.
        indices_or_sections: int, the number of parts, or a list of positions.
        axis: int.
    """
    x = as_tensor(x)
    axis = axis_index("array_split", axis, x.ndim)
    if not hasattr(indices_or_sections, "__index__") or getattr(indices_or_sections, "ndim", 0):
        return split(x, indices_or_sections, axis)
    parts = indices_or_sections.__index__()
    if parts < 1:
        raise ValueError(f"[array_split] the number of parts must be positive. Received: {parts}")
    small, large = divmod(x.shape[axis], parts)
    return _cut(x, [i * small + min(i, large) for i in range(1, parts)], axis)


@op
def hsplit(x, indices_or_sections):
    """``split`` along the second axis, or the only one.

    Args:
        x: tensor of any shape and dtype.
        indices_or_sections: int, the number of equal parts, or a list of positions.
    """
    x = as_tensor(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@op
def vsplit(x, indices_or_sections):
    """``split`` along the first axis.

    Args:
        x: tensor of any shape and dtype.
        indices_or_sections: int, the number of equal parts, or a list of positions.
    """
    return split(x, indices_or_sections, 0)


@op
def dsplit(x, indices_or_sections):
    """``split`` along the third axis.

    Args:
        x: tensor of any shape and dtype.
        indices_or_sections: int, the number of equal parts, or a list of positions.
    """
    return split(x, indices_or_sections, 2)


@op
def append(x1, x2, axis=None):
    """``x2`` after ``x1`` along an axis, both flat when it is None.

    Args:
        x1: tensor.
        x2: tensor of the same sizes but along `axis`.
        axis: int; None: of the flat array.
    """
    return concatenate([x1, x2], axis)


@op
def hstack(xs):
    """Arrays side by side: along the second axis, or the only one.

    Args:
        xs: list of tensors.
    """
    xs = [reshape(x, (1,)) if x.ndim == 0 else x for x in tensors("hstack", xs)]
    return concatenate(xs, 0 if xs[0].ndim == 1 else 1)


@op
def vstack(xs):
    """Arrays on top of each other, rows made of those with one axis.

    Args:
        xs: list of tensors.
    """
    return concatenate([reshape(x, (1, -1)) if x.ndim < 2 else x for x in tensors("vstack", xs)], 0)


@op
def dstack(xs):
    """Arrays one behind the other along the third axis.

    Args:
        xs: list of tensors.
    """
    def three(x):
        return reshape(x, (1, -1, 1)) if x.ndim < 2 else expand_dims(x, 2) if x.ndim == 2 else x

    return concatenate([three(x) for x in tensors("dstack", xs)], 2)


@op
def roll(x, shift, axis=None):
    """``x`` with elements moved by ``shift`` places along ``axis`` (of the flat array when None), the last
    ones coming back at the front.

    Args:
        x: tensor of any shape and dtype.
        shift: int, or one for each axis.
        axis: int or tuple of ints, or None.
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    shifts = integers("roll", "shift", shift)
    axes = [axis_index("roll", a, x.ndim) for a in integers("roll", "axis", axis)]
    n = max(len(shifts), len(axes))
    if len(shifts) not in (1, n) or len(axes) not in (1, n):
        raise ValueError(f"[roll] shift and axis must have the same length. Received: shift={shift}, axis={axis}")
    for s, a in zip(shifts * (n if len(shifts) == 1 else 1), axes * (n if len(axes) == 1 else 1)):
        if x.shape[a] and s % x.shape[a]:
            cut = x.shape[a] - s % x.shape[a]
            x = concatenate(split(x, [cut], a)[::-1], a)
    return x
