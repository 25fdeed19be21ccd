"""Taking and placing elements by position: indexing, gather, scatter, segments."""

import numpy as np

from .. import _core
from .._core import Tensor, record
from ..dtypes import FLOAT_DTYPES
from ..symbolic import KerasTensor, op, unknown_size
from ..tensor import Variable, as_tensor, from_numpy, to_numpy
from .array import axis_index, cast, integers, ravel, reshape, symbolic_sizes
from .numpy_op import numpy_op

__all__ = [
    "get_item", "scatter", "scatter_update", "segment_max", "segment_min", "segment_prod", "segment_sum", "slice", "slice_update", "take",
    "take_along_axis",
]  # fmt: skip

_slice_type = slice


# ---- gather and its transpose ----


def read_indices(op_name, name, indices, limit, wrap):
    """Integers of any dtype as an int64 tensor of positions in [0, limit).

    Raises:
        IndexError: one is out of range. ``wrap`` lets negative ones count from the end.
        ValueError: one is a fraction, NaN or infinite.
    """
    return _core.indices(op_name, name, as_tensor(indices), limit, wrap)


def gather(x, index, axis):
    """``x`` with ``axis`` replaced by the axes of ``index``, which ``read_indices`` made."""
    y = _core.gather(x, index, axis)
    return record(y, (x,), lambda gy: (scatter_rows(gy, index, x.shape, axis),))


def scatter_rows(gy, index, shape, axis):
    """Zeros of ``shape`` to which ``gy`` is added where ``gather`` read: its gradient."""
    if gy.dtype == "float32":
        gx = _core.gather_backward(gy, index, shape, axis)
    else:
        n = index.size
        outer, inner = shape[:axis], shape[axis + 1 :]

        def add(values, index):
            y = np.zeros(outer + inner + (shape[axis],), values.dtype)
            y = np.moveaxis(y, -1, axis)
            at = (np.s_[:],) * axis + (index.reshape(-1),)
            np.add.at(y, at, values.reshape(outer + (n,) + inner))
            return y

        gx = numpy_op(add, gy, index, dtype=gy.dtype)
    return record(gx, (gy,), lambda g: (gather(g, index, axis),))


@op(kernel=_core.take, least=2, after=(None,))
def take(x, indices, axis=None):
    """The elements of ``x`` at ``indices`` along ``axis`` (of the flat array when None).

    Negative indices count from the end, as in NumPy.

    Args:
        x: tensor of any shape and dtype.
        indices: int, or a tensor of integers of any shape.
        axis: int or None.

    Raises:
        IndexError: an index is out of range.
        ValueError: an index is not whole.
    """
    x = as_tensor(x)
    indices = as_tensor(indices)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_index("take", axis, x.ndim)
    return gather(x, read_indices("take", "indices", indices, x.shape[axis], True), axis)


def _gather_elements(x, index, axis):
    y = _core.gather_elements(x, index, axis)
    return record(y, (x,), lambda gy: (_scatter_elements(gy, index, x.shape, axis),))


def _scatter_elements(gy, index, shape, axis):
    if gy.dtype == "float32":
        gx = _core.gather_elements_backward(gy, index, shape, axis)
    else:
        gx = cast(_core.gather_elements_backward(cast(gy, "float32"), index, shape, axis), gy.dtype)
    return record(gx, (gy,), lambda g: (_gather_elements(g, index, axis),))


@op
def take_along_axis(x, indices, axis=None):
    """y[.., i, ..] = x[.., indices[.., i, ..], ..] along ``axis``; flat when it is None.

    The other sizes of ``x`` and ``indices`` must broadcast.

    Args:
        x: tensor of any shape and dtype.
        indices: tensor of integers, with as many axes as `x`.
        axis: int or None.
    """
    x, indices = as_tensor(x), as_tensor(indices)
    if axis is None:
        x, indices, axis = ravel(x), ravel(indices), 0
    if x.ndim != indices.ndim:
        raise ValueError("[take_along_axis] x and indices must have as many axes. "
                         f"Received: x.shape={x.shape}, indices.shape={indices.shape}")
    axis = axis_index("take_along_axis", axis, x.ndim)
    index = read_indices("take_along_axis", "indices", indices, x.shape[axis], True)
    others_x = x.shape[:axis] + (1,) + x.shape[axis + 1 :]
    others_i = index.shape[:axis] + (1,) + index.shape[axis + 1 :]
    if others_x != others_i:
        from .reduction import broadcast_to

        try:
            full = np.broadcast_shapes(others_x, others_i)
        except ValueError:
            raise ValueError("[take_along_axis] the sizes other than along axis must broadcast. Received: "
                             f"x.shape={x.shape}, indices.shape={indices.shape}, axis={axis}") from None
        x = broadcast_to(x, full[:axis] + (x.shape[axis],) + full[axis + 1 :])
        index = _core.broadcast_to(index, full[:axis] + (index.shape[axis],) + full[axis + 1 :])
    return _gather_elements(x, index, axis)


# ---- x[key] ----


def _basic_key(x, key):
    """begin, size and step for each axis of ``x`` and the shape of the result; None if ``key`` is not basic."""
    begin, size, step, shape = [], [], [], []
    consumed = sum(1 for k in key if k is not None and k is not Ellipsis)
    if consumed > x.ndim:
        raise IndexError(f"[get_item] too many indices: {consumed} for an array of {x.ndim} dimensions. "
                         f"Received: shape={x.shape}")
    if sum(1 for k in key if k is Ellipsis) > 1:
        raise IndexError("[get_item] an index can hold one ellipsis ('...') only")
    if not any(k is Ellipsis for k in key):
        key = (*key, Ellipsis)
    axis = 0
    for k in key:
        if k is None:
            shape.append(1)
        elif k is Ellipsis:
            for n in x.shape[axis : axis + x.ndim - consumed]:
                begin.append(0), size.append(n), step.append(1), shape.append(n)
            axis += x.ndim - consumed
        elif isinstance(k, _slice_type):
            n = x.shape[axis]
            first, last, by = k.indices(n)
            count = len(range(first, last, by))
            begin.append(first if count else 0), size.append(count), step.append(by), shape.append(count)
            axis += 1
        else:
            n, i = x.shape[axis], k.__index__()
            if not -n <= i < n:
                raise IndexError(f"[get_item] index must be in [{-n}, {n}) for axis {axis}. Received: index={i}, "
                                 f"shape={x.shape}")
            begin.append(i % n), size.append(1), step.append(1)
            axis += 1
    return begin, size, step, shape


def _strided(x, begin, size, step):
    y = _core.slice(x, begin, size, step)
    return record(y, (x,), lambda gy: (_unstrided(gy, x.shape, begin, step),))


def _unstrided(gy, shape, begin, step):
    gx = _core.slice_backward(gy, shape, begin, step)
    return record(gx, (gy,), lambda g: (_strided(g, begin, gy.shape, step),))


def _row(x, i):
    """x[i] along the first axis: the most frequent key."""
    shape = x.shape
    n = shape[0]
    if not -n <= i < n:
        raise IndexError(f"[get_item] index must be in [{-n}, {n}) for axis 0. Received: index={i}, shape={shape}")
    rest = shape[1:]
    begin, step = (i % n,) + (0,) * len(rest), (1,) * len(shape)
    y = _core.view(_core.slice(x, begin, (1,) + rest, step), rest)
    return record(y, (x,), lambda gy: (_unstrided(reshape(gy, (1,) + rest), shape, begin, step),))


def _is_basic(k):
    if k is None or k is Ellipsis or isinstance(k, _slice_type):
        return True
    if isinstance(k, (bool, np.bool_, list)) or (isinstance(k, (np.ndarray, Tensor)) and (k.ndim or k.dtype == "bool")):
        return False
    if isinstance(k, Tensor) and k.device == "meta":
        return False
    return hasattr(k, "__index__") and not isinstance(k, Variable)


def _plain(k, meta):
    """A part of an advanced index as NumPy takes it."""
    if isinstance(k, (Tensor, Variable)):
        k = as_tensor(k)
        if k.device == "meta":
            if k.dtype == "bool":
                raise ValueError("[get_item] the shape of x[mask] depends on the values of the mask, which a "
                                 "symbolic tensor does not have")
            return np.zeros(k.shape, "int64")
        k = to_numpy(k)
    elif isinstance(k, list):
        k = np.asarray(k, dtype=None if len(k) else "int64")
    if isinstance(k, np.ndarray) and k.dtype.kind not in "iub":
        raise IndexError(f"[get_item] an index array must hold integers or booleans. Received: dtype={k.dtype}")
    return k


@op
def get_item(x, key):
    """``x[key]`` with NumPy's rules: integers, slices, None, ``...``, arrays of integers and boolean masks.

    Args:
        x: tensor of any shape and dtype.
        key: what stands between the brackets.

    Raises:
        IndexError: an index is out of range, or there are too many.
    """
    x = as_tensor(x)
    if type(key) is int and x.ndim:
        return _row(x, key)
    if not isinstance(key, tuple):
        key = (key,)
    if any(isinstance(k, KerasTensor) for k in key):
        as_tensor(next(k for k in key if isinstance(k, KerasTensor)))
    if all(map(_is_basic, key)):
        begin, size, step, shape = _basic_key(x, key)
        y = _strided(x, begin, size, step)
        return y if y.shape == tuple(shape) else reshape(y, shape)
    meta = x.device == "meta"
    key = tuple(_plain(k, meta) for k in key)
    if len(key) == 1 and isinstance(key[0], np.ndarray) and key[0].dtype.kind != "b" and x.ndim:
        return gather(x, read_indices("get_item", "index", key[0], x.shape[0], True), 0)
    try:
        if meta:
            positions = np.broadcast_to(np.int64(0), x.shape)[key]
        else:
            positions = np.arange(x.size).reshape(x.shape)[key]
    except IndexError as e:
        raise IndexError(f"[get_item] {e}. Received: shape={x.shape}") from None
    flat = ravel(x)
    return gather(flat, read_indices("get_item", "index", np.asarray(positions), flat.size, False), 0)


def _get_item(self, key):
    return get_item(self, key)


Tensor.__getitem__ = _get_item
Variable.__getitem__ = _get_item
KerasTensor.__getitem__ = _get_item


# ---- slices and scatters ----


def _starts(op_name, start_indices, ndim):
    if isinstance(start_indices, (Tensor, Variable)):
        start_indices = as_tensor(start_indices)
        starts = [0] * start_indices.size if start_indices.device == "meta" else to_numpy(start_indices).tolist()
    else:
        starts = [0 if isinstance(s, Tensor) and s.device == "meta" else s for s in start_indices]
    starts = integers(op_name, "start_indices", starts)
    if len(starts) != ndim:
        raise ValueError(f"[{op_name}] start_indices must have one entry for each of {ndim} axes. "
                         f"Received: start_indices={starts}")
    return starts


@op
def slice(inputs, start_indices, shape):
    """The part of ``inputs`` of the given shape that begins at ``start_indices``.

    Args:
        inputs: tensor of any shape and dtype.
        start_indices: ints, one for each axis.
        shape: ints, one for each axis; -1 for all that follows the start.

    Raises:
        ValueError: it does not lie inside ``inputs``.
    """
    x = as_tensor(inputs)
    starts = _starts("slice", start_indices, x.ndim)
    shape = integers("slice", "shape", shape)
    if len(shape) == x.ndim:
        unknown = x.device == "meta" and symbolic_sizes(start_indices)
        if unknown and -1 in shape:  # what is left after a start that has no value yet
            return _core.meta(tuple(n if n != -1 else unknown_size() if unknown[a] is None else x.shape[a] - unknown[a]
                                    for a, n in enumerate(shape)), x.dtype)
        shape = tuple(x.shape[a] - starts[a] if n == -1 else n for a, n in enumerate(shape))
    return _strided(x, starts, shape, [1] * x.ndim)


@op
def slice_update(inputs, start_indices, updates):
    """``inputs`` with the part that begins at ``start_indices`` replaced by ``updates``.

    Args:
        inputs: tensor of any shape and dtype.
        start_indices: ints, one for each axis.
        updates: tensor of the same number of axes.
    """
    x, u = as_tensor(inputs), as_tensor(updates)
    u = cast(u, x.dtype)
    starts, step = _starts("slice_update", start_indices, x.ndim), [1] * x.ndim
    y = _core.slice_update(x, u, starts, step)

    def vjp(gy):
        hole = slice_update(gy, starts, _core.full(u.shape, 0, gy.dtype))
        return hole, _strided(gy, starts, u.shape, step)

    return record(y, (x, u), vjp)


def _row_positions(op_name, indices, shape):
    """Index vectors (..., d) into the first d axes of ``shape`` as flat row numbers, d, and their shape."""
    indices = as_tensor(indices)
    if indices.ndim < 1 or indices.shape[-1] > len(shape):
        raise ValueError(f"[{op_name}] indices must be (..., d) with d at most the number of axes, {len(shape)}. "
                         f"Received: indices.shape={indices.shape}")
    depth = indices.shape[-1]
    rows = 1
    for n in shape[:depth]:
        rows *= n
    if indices.device == "meta":
        return _core.meta(indices.shape[:-1], "int64"), rows, depth
    values = to_numpy(indices)
    if values.dtype.kind not in "iu":
        if not (values == np.floor(values)).all():
            raise ValueError(f"[{op_name}] indices must hold whole numbers. Received: dtype={values.dtype}")
        values = values.astype("int64")
    flat = np.zeros(values.shape[:-1], "int64")
    for a in range(depth):
        part = values[..., a].astype("int64")
        bad = (part < -shape[a]) | (part >= shape[a])
        if bad.any():
            at = np.unravel_index(int(bad.argmax()), bad.shape) if bad.ndim else ()
            raise IndexError(f"[{op_name}] indices must be in [{-shape[a]}, {shape[a]}) along axis {a}. Received: "
                             f"indices[{', '.join(map(str, (*at, a)))}]={part[at]}")
        flat = flat * shape[a] + np.where(part < 0, part + shape[a], part)
    return from_numpy(flat), rows, depth


def _scatter_shapes(op_name, index, values, shape, depth):
    expected = index.shape + tuple(shape[depth:])
    if values.shape != expected:
        raise ValueError(f"[{op_name}] values must have shape {expected}: that of indices without its last axis, then "
                         f"the axes that indices leave. Received: values.shape={values.shape}")


def _inner(shape, depth):
    n = 1
    for s in shape[depth:]:
        n *= s
    return n


@op
def scatter(indices, values, shape):
    """Zeros of ``shape`` to which ``values`` are added at ``indices``.

    Args:
        indices: (..., d) integers, positions along the first d axes.
        values: ``indices.shape[:-1] + shape[d:]``; values at equal indices are summed.
        shape: of the result.
    """
    values = as_tensor(values)
    shape = integers("scatter", "shape", shape)
    index, rows, depth = _row_positions("scatter", as_tensor(indices), shape)
    _scatter_shapes("scatter", index, values, shape, depth)
    inner = _inner(shape, depth)
    rows_of_values = reshape(values, (index.size, inner))
    index = reshape(index, (index.size,))
    if values.dtype in FLOAT_DTYPES:
        y = scatter_rows(rows_of_values, index, (rows, inner), 0)
    else:
        def add(v, i):
            y = np.zeros((rows, inner), v.dtype)
            np.add.at(y, i, v)
            return y

        y = numpy_op(add, rows_of_values, index, dtype=values.dtype)
    return reshape(y, shape)


_UPDATES = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}


@op
def scatter_update(inputs, indices, updates, reduction=None):
    """``inputs`` with ``updates`` written at ``indices``: (..., d) positions along the first d axes.

    Args:
        reduction: None to overwrite (the last of equal indices stays), or "add", "max", "min", "mul" to combine.
    """
    x, updates = as_tensor(inputs), as_tensor(updates)
    updates = cast(updates, x.dtype)
    index, rows, depth = _row_positions("scatter_update", as_tensor(indices), x.shape)
    _scatter_shapes("scatter_update", index, updates, x.shape, depth)
    if reduction is not None and reduction not in _UPDATES:
        raise ValueError(f"[scatter_update] reduction must be one of {sorted(_UPDATES)} or None. "
                         f"Received: reduction={reduction!r}")
    if reduction == "add":
        from .elementwise import add

        return add(x, scatter(indices, updates, x.shape))
    inner = _inner(x.shape, depth)
    index = reshape(index, (index.size,))

    def write(a, i, u):
        y = a.reshape(rows, inner).copy()
        if reduction is None:
            y[i] = u.reshape(-1, inner)
        else:
            _UPDATES[reduction].at(y, i, u.reshape(-1, inner))
        return y.reshape(a.shape)

    y = numpy_op(write, x, index, updates, dtype=x.dtype)

    def vjp(gy):
        if reduction is not None:
            raise ValueError(f"[scatter_update] reduction={reduction!r} has no gradient")
        picked = gather(reshape(gy, (rows, inner)), index, 0)
        # of equal indices only the last one was kept
        last = np.zeros((index.size, 1), gy.dtype)
        winner = np.full(rows, -1)
        winner[to_numpy(index)] = np.arange(index.size)
        last[winner[winner >= 0]] = 1
        hole = np.ones((rows, 1), gy.dtype)
        hole[to_numpy(index)] = 0
        from .elementwise import multiply

        gx = multiply(reshape(gy, (rows, inner)), from_numpy(hole))
        return reshape(gx, x.shape), reshape(multiply(picked, from_numpy(last)), updates.shape)

    return record(y, (x, updates), vjp)


def _segments(op_name, data, segment_ids, num_segments):
    """Data as (n, ...), ids as (n,) with those out of range made num_segments, and num_segments."""
    data, ids = as_tensor(data), as_tensor(segment_ids)
    if ids.ndim < 1 or data.shape[: ids.ndim] != ids.shape:
        must = "and `data` should have same leading dimension" if ids.ndim == 1 else (
            "should be an 1-D vector, or have the first sizes of data")
        raise ValueError(f"[{op_name}] Argument `segment_ids` {must}. Received: data.shape={data.shape}, "
                         f"segment_ids.shape={ids.shape}")
    data, ids = reshape(data, (ids.size,) + data.shape[ids.ndim :]), reshape(ids, (ids.size,))
    if num_segments is None:
        if ids.device == "meta":
            num_segments = unknown_size()
        else:
            num_segments = int(to_numpy(ids).max()) + 1 if ids.size else 0
    (num_segments,) = integers(op_name, "num_segments", num_segments)
    # ids outside [0, num_segments) go to one more segment, which is dropped
    ids = numpy_op(lambda i: np.where((i >= 0) & (i < num_segments), i, num_segments), ids, dtype="int64")
    return data, ids, num_segments


@op
def segment_sum(data, segment_ids, num_segments=None, sorted=False):
    """y[s] = the sum of data[i] over segment_ids[i] = s.

    Args:
        data: (n, ...), or more axes in front.
        segment_ids: (n,) integers, or the first sizes of ``data``; rows whose id is outside [0, num_segments) are left out.
        num_segments: int; the largest id + 1 by default.
        sorted: accepted for Keras's sake.
    """
    data, ids, n = _segments("segment_sum", data, segment_ids, num_segments)
    y = scatter_rows(data, ids, (n + 1,) + data.shape[1:], 0)
    return get_item(y, np.s_[:n])


def _segment_extremum(name, f, data, segment_ids, num_segments):
    data, ids, n = _segments(name, data, segment_ids, num_segments)
    if data.dtype in FLOAT_DTYPES:
        start = -np.inf if f is np.maximum else np.inf
    else:
        start = np.iinfo(data.dtype).min if f is np.maximum else np.iinfo(data.dtype).max

    def extremum(d, i):
        y = np.full((n + 1,) + d.shape[1:], start, d.dtype)
        f.at(y, i, d)
        return y[:n]

    y = numpy_op(extremum, data, ids, dtype=data.dtype)

    def vjp(gy):
        d, i, top = to_numpy(data), to_numpy(ids), to_numpy(y)
        kept = np.zeros(d.shape, d.dtype)
        inside = i < n
        kept[inside] = d[inside] == top[i[inside]]
        count = np.zeros((n + 1,) + d.shape[1:], d.dtype)
        np.add.at(count, i, kept)
        share = kept / np.maximum(count, 1)[i]
        from .repetition import pad
        from .elementwise import multiply

        wide = pad(gy, [(0, 1)] + [(0, 0)] * (gy.ndim - 1))
        return (multiply(gather(wide, ids, 0), from_numpy(share)),)

    return record(y, (data,), vjp)


@op
def segment_max(data, segment_ids, num_segments=None, sorted=False):
    """y[s] = the maximum of data[i] over segment_ids[i] = s; the lowest value of the dtype for an empty segment.

    The gradient is shared equally by the elements that attain the maximum. Arguments as for ``segment_sum``.

    Args:
        data: tensor (n, ...).
        segment_ids: (n,) integers; those outside [0, num_segments) are left out.
        num_segments: int; by default the largest number and one.
        sorted: bool; the numbers rise. Makes no difference.
    """
    return _segment_extremum("segment_max", np.maximum, data, segment_ids, num_segments)


@op
def segment_min(data, segment_ids, num_segments=None, sorted=False):
    """y[s] = the minimum of data[i] over segment_ids[i] = s; the highest value of the dtype for an empty segment.

    The gradient is shared equally by the elements that attain the minimum. Arguments as for ``segment_sum``.

    Args:
        data: tensor (n, ...).
        segment_ids: (n,) integers; those outside [0, num_segments) are left out.
        num_segments: int; by default the largest number and one.
        sorted: bool; the numbers rise. Makes no difference.
    """
    return _segment_extremum("segment_min", np.minimum, data, segment_ids, num_segments)


@op
def segment_prod(data, segment_ids, num_segments=None, sorted=False):
    """y[s] = the product of data[i] over segment_ids[i] = s, 1 for an empty segment. Arguments as for ``segment_sum``.

    Args:
        data: tensor (n, ...).
        segment_ids: (n,) integers; those outside [0, num_segments) are left out.
        num_segments: int; by default the largest number and one.
        sorted: bool; the numbers rise. Makes no difference.
    """
    data, ids, n = _segments("segment_prod", data, segment_ids, num_segments)

    def product(d, i):
        y = np.ones((n + 1,) + d.shape[1:], d.dtype)
        np.multiply.at(y, i, d)
        return y[:n]

    y = numpy_op(product, data, ids, dtype=data.dtype)

    def vjp(gy):
        # the product of the others: of the elements that are not 0, or none where two are 0
        d, i = to_numpy(data), to_numpy(ids)
        zeros = np.zeros((n + 1,) + d.shape[1:], "int64")
        np.add.at(zeros, i, d == 0)
        rest = np.ones((n + 1,) + d.shape[1:], d.dtype)
        np.multiply.at(rest, i, np.where(d == 0, 1, d))
        nonzero = np.where(d == 0, 1, d)
        others = np.where(zeros[i] == 0, rest[i] / nonzero, np.where((zeros[i] == 1) & (d == 0), rest[i], 0))
        others[i == n] = 0
        from .repetition import pad
        from .elementwise import multiply

        wide = pad(gy, [(0, 1)] + [(0, 0)] * (gy.ndim - 1))
        return (multiply(gather(wide, ids, 0), from_numpy(others.astype(d.dtype))),)

    return record(y, (data,), vjp)
