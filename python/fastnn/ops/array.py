"""Shapes and data movement: the part of keras.ops that computes nothing.

Every function serves all dtypes and has a gradient, itself a movement of data.
"""

import functools
import math
import os

import numpy as np

from .. import _core, dtypes
from .._core import Tensor, record
from ..symbolic import SymbolicArgument, any_symbolic, op, unknown_size
from ..tensor import as_tensor, to_numpy
from ..dtypes import FLOAT_DTYPES

__all__ = [
    "cast", "copy", "dtype", "expand_dims", "flip", "fliplr", "flipud", "moveaxis", "ndim", "ravel", "reshape",
    "rot90", "saturate_cast", "shape", "size", "squeeze", "swapaxes", "transpose", "view",
]  # fmt: skip


# ---- helpers ----


def axis_index(op_name, axis, ndim):
    """``axis`` counted from the front.

    Raises:
        ValueError: it is not in [-ndim, ndim).
    """
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise TypeError(f"[{op_name}] axis must be an integer. Received: axis={axis!r}")
    axis = axis.__index__()
    if not -ndim <= axis < ndim:
        raise ValueError(f"[{op_name}] axis must be in [{-ndim}, {ndim}): axis {axis} is out of bounds. Received: axis={axis}")
    return axis + ndim if axis < 0 else axis


def axis_list(op_name, axis, ndim):
    """``axis``, one or several, counted from the front, each once."""
    axes = [axis_index(op_name, a, ndim) for a in (axis if isinstance(axis, (list, tuple)) else (axis,))]
    if len(set(axes)) != len(axes):
        raise ValueError(f"[{op_name}] an axis must not be given twice. Received: axis={axis!r}")
    return axes


def tensors(op_name, xs):
    """The members of a list as tensors of one dtype."""
    if not isinstance(xs, (list, tuple)):
        xs = list(as_tensor(xs))
    if not xs:
        raise ValueError(f"[{op_name}] at least one array must be given. Received: {xs!r}")
    xs = [as_tensor(x) for x in xs]
    dtype = xs[0].dtype
    if any(x.dtype != dtype for x in xs):
        dtype = dtypes.result_type(*[x.dtype for x in xs])
        xs = [cast(x, dtype) for x in xs]
    return tuple(xs)


def integers(op_name, name, values):
    """A shape, a repeat count ...: one integer or several, as a tuple of int."""
    if hasattr(values, "__index__") and not isinstance(values, bool) and not getattr(values, "ndim", 0):
        return (values.__index__(),)
    try:
        result = tuple(v.__index__() for v in values)
    except (TypeError, AttributeError):
        raise TypeError(f"[{op_name}] {name} must hold integers. Received: {name}={values!r}") from None
    if any(isinstance(v, bool) for v in values):
        raise TypeError(f"[{op_name}] {name} must hold integers. Received: {name}={values!r}")
    return result


def symbolic_sizes(sizes):
    """Sizes of which some are symbolic tensors, with None in the place of these; None if there are none."""
    if any_symbolic(sizes):
        raise SymbolicArgument
    if type(sizes) is Tensor and sizes.device == "meta":
        return (None,) * (sizes.shape[0] if sizes.ndim else 1)
    if isinstance(sizes, (tuple, list)) and any(type(n) is Tensor and n.device == "meta" for n in sizes):
        return tuple(None if type(n) is Tensor and n.device == "meta" else n for n in sizes)
    return None


def check_fits(op_name, *shape, itemsize=8):
    """Raise for a result of this shape that NumPy would begin to fill although no memory holds it.

    Raises:
        ValueError: a size is negative.
        MemoryError: it is larger than the memory of this machine.
    """
    if any(n < 0 for n in shape):
        raise ValueError(f"[{op_name}] sizes must not be negative. Received: shape={shape}")
    nbytes = math.prod(shape) * itemsize
    if nbytes > _physical_memory():
        raise MemoryError(f"[{op_name}] the result must fit the memory of this machine ({_physical_memory()} bytes). "
                          f"Received: shape={shape}, {nbytes} bytes")


@functools.cache
def _physical_memory():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**40


# ---- dtype ----


@op
def cast(x, dtype):
    """``x`` in another dtype; the gradient passes between float types.

    Rounding is to nearest even. NaN becomes True; a float outside the range of an integer type gives an
    unspecified number.

    Args:
        x: tensor of any shape and dtype.
        dtype: string.
    """
    x = as_tensor(x)
    dtype = dtypes.standardize_dtype(dtype)
    if x.dtype == dtype:
        return x
    y = _core.cast(x, dtype)
    if dtype not in FLOAT_DTYPES or x.dtype not in FLOAT_DTYPES:
        return y
    return record(y, (x,), lambda gy: (cast(gy, x.dtype),))


@op
def saturate_cast(x, dtype):
    """``x`` in another dtype, values outside its range replaced by the nearest bound.

    Args:
        x: tensor of any shape and dtype.
        dtype: string.
    """
    from .elementwise import clip

    x = as_tensor(x)
    dtype = dtypes.standardize_dtype(dtype)
    if dtype == "bool" or x.dtype == "bool":
        return cast(x, dtype)

    def bounds(name):
        if name in FLOAT_DTYPES:
            import ml_dtypes

            info = ml_dtypes.finfo(dtypes.numpy_dtype(name))
            return float(info.min), float(info.max)
        info = np.iinfo(name)
        return int(info.min), int(info.max)

    low, high = bounds(dtype)
    own_low, own_high = bounds(x.dtype)
    to_integer = x.dtype in FLOAT_DTYPES and dtype not in FLOAT_DTYPES  # infinity is clipped, too
    if to_integer or low > own_low or high < own_high:
        low, high = max(low, own_low), min(high, own_high)
        if to_integer:
            # the bound itself may round outside the range: 2**31 - 1 as float32 is 2**31
            kind = dtypes.numpy_dtype(x.dtype).type
            nearest = kind(float(high))
            if int(float(nearest)) > high:
                high = float(np.nextafter(nearest, kind(0)))
        x = clip(x, low, high)
    return cast(x, dtype)


def dtype(x):
    """The name of the dtype of ``x``.

    Args:
        x: tensor of any shape and dtype.
    """
    return dtypes.standardize_dtype(x.dtype) if hasattr(x, "dtype") else as_tensor(x).dtype


@op
def view(x, dtype=None):
    """The bits of ``x`` read as another dtype; the last axis grows or shrinks with the item size. No gradient.

    Args:
        x: tensor of any shape and dtype.
        dtype: string; None leaves it.

    Raises:
        ValueError: the last axis is not a multiple of the larger item.
    """
    x = as_tensor(x)
    dtype = dtypes.standardize_dtype(dtype) if dtype is not None else x.dtype
    old, new = dtypes.numpy_dtype(x.dtype).itemsize, dtypes.numpy_dtype(dtype).itemsize
    if old == new:
        return _core.bitcast(x, dtype)
    if x.ndim == 0 or x.shape[-1] * old % new:
        raise ValueError("[view] the bytes of the last axis must be a multiple of the new item size. Received: "
                         f"shape={x.shape}, dtypes {x.dtype} and {dtype}")
    if x.device == "meta":
        return _core.meta((*x.shape[:-1], x.shape[-1] * old // new), dtype)
    from .numpy_op import numpy_op

    return numpy_op(lambda a: a.view(dtypes.numpy_dtype(dtype)), x, dtype=dtype)


# ---- shape ----


@op
def reshape(x, newshape):
    """``x`` under another shape of the same size; one entry may be -1, worked out from the others.

    Args:
        x: tensor of any shape and dtype.
        newshape: int or tuple of ints; an integer tensor (k,), or tensors among the ints, where values decide.
    """
    x = as_tensor(x)
    try:
        y = _core.view(x, (newshape,) if hasattr(newshape, "__index__") else newshape)
    except TypeError:  # not all are ints
        sizes = symbolic_sizes(newshape)
        if sizes is not None:
            return _core.meta(tuple(unknown_size() if n in (None, -1) else n for n in sizes), x.dtype)
        if type(newshape) is Tensor:
            newshape = to_numpy(newshape).tolist()
        y = _core.view(x, tuple(-1 if n is None else n for n in newshape))
    return record(y, (x,), lambda gy: (reshape(gy, x.shape),))


def ravel(x):
    """``x`` as one row of values.

    Args:
        x: tensor of any shape and dtype.
    """
    return reshape(x, (-1,))


@op
def squeeze(x, axis=None):
    """``x`` without axes of size 1: all of them, or those of ``axis``.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None.

    Raises:
        ValueError: an axis named has another size.
    """
    x = as_tensor(x)
    if axis is None:
        shape = tuple(n for n in x.shape if n != 1)
    else:
        axes = axis_list("squeeze", axis, x.ndim)
        for a in axes:
            if x.shape[a] != 1:
                raise ValueError(f"[squeeze] an axis must have size 1. Received: axis={axis}, shape={x.shape}")
        shape = tuple(n for a, n in enumerate(x.shape) if a not in axes)
    return reshape(x, shape)


@op
def expand_dims(x, axis):
    """``x`` with new axes of size 1 at the positions ``axis`` of the result.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them.
    """
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, (list, tuple)) else 1
    axes = axis_list("expand_dims", axis, x.ndim + count)
    sizes = iter(x.shape)
    return reshape(x, tuple(1 if a in axes else next(sizes) for a in range(x.ndim + count)))


def shape(x):
    """The sizes of ``x``, a tuple; None where a symbolic tensor's size is unknown.

    Args:
        x: tensor of any shape and dtype.
    """
    return tuple(x.shape) if hasattr(x, "shape") else as_tensor(x).shape


def ndim(x):
    """The number of axes of ``x``.

    Args:
        x: tensor of any shape and dtype.
    """
    return len(shape(x))


def size(x, axis=None):
    """The number of elements of ``x``, or its size along ``axis``; None when it is unknown.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or None for all.
    """
    sizes = shape(x)
    if axis is not None:
        sizes = [sizes[a] for a in axis_list("size", axis, len(sizes))]
    return None if None in sizes else math.prod(sizes)


@op
def copy(x):
    """The values of ``x`` in a new tensor.

    Args:
        x: tensor of any shape and dtype.
    """
    x = as_tensor(x)
    y = x.alias() if x.device == "meta" else _core.clone(x)
    return record(y, (x,), lambda gy: (gy,))


# ---- order of axes ----


@op
def transpose(x, axes=None):
    """``x`` with its axes permuted: axis i of the result is axis ``axes[i]`` of ``x``; reversed by default.

    Args:
        x: tensor of any shape and dtype.
        axes: tuple of ints, or None.
    """
    x = as_tensor(x)
    axes = range(x.ndim)[::-1] if axes is None else axis_list("transpose", tuple(axes), x.ndim)
    y = _core.transpose(x, axes)

    def vjp(gy):
        inverse = [0] * len(axes)
        for i, a in enumerate(axes):
            inverse[a] = i
        return (transpose(gy, inverse),)

    return record(y, (x,), vjp)


@op
def moveaxis(x, source, destination):
    """``x`` with the axes ``source`` moved to the positions ``destination``, the others in their order.

    Args:
        x: tensor of any shape and dtype.
        source: int or tuple of ints.
        destination: int or tuple of ints, as many.
    """
    x = as_tensor(x)
    source = axis_list("moveaxis", source, x.ndim)
    destination = axis_list("moveaxis", destination, x.ndim)
    if len(source) != len(destination):
        raise ValueError("[moveaxis] source and destination must have one entry each for every axis moved. "
                         f"Received: source={source}, destination={destination}")
    rest = iter([a for a in range(x.ndim) if a not in source])
    place = dict(zip(destination, source))
    return transpose(x, [place[a] if a in place else next(rest) for a in range(x.ndim)])


@op
def swapaxes(x, axis1, axis2):
    """``x`` with two axes exchanged.

    Args:
        x: tensor of any shape and dtype.
        axis1: int.
        axis2: int.
    """
    x = as_tensor(x)
    axes = list(range(x.ndim))
    a, b = axis_index("swapaxes", axis1, x.ndim), axis_index("swapaxes", axis2, x.ndim)
    axes[a], axes[b] = b, a
    return transpose(x, axes)


# ---- order of elements ----


@op
def flip(x, axis=None):
    """``x`` with the order of its elements reversed along ``axis``: one, several, or all axes.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
    """
    x = as_tensor(x)
    axes = range(x.ndim) if axis is None else axis_list("flip", axis, x.ndim)
    axes = [a for a in axes if x.shape[a] > 1]
    begin = [n - 1 if a in axes else 0 for a, n in enumerate(x.shape)]
    step = [-1 if a in axes else 1 for a in range(x.ndim)]
    y = _core.slice(x, begin, x.shape, step)
    return record(y, (x,), lambda gy: (flip(gy, axes),))


def fliplr(x):
    """``x`` reversed along its second axis.

    Args:
        x: tensor of any shape and dtype.
    """
    return flip(x, 1)


def flipud(x):
    """``x`` reversed along its first axis.

    Args:
        x: tensor of any shape and dtype.
    """
    return flip(x, 0)


@op
def rot90(array, k=1, axes=(0, 1)):
    """``array`` turned by ``k`` quarters in the plane of two axes, from the first towards the second.

    Args:
        array: tensor of any shape and dtype.
        k: int; how many quarters.
        axes: two ints.
    """
    x = as_tensor(array)
    if len(axes) != 2:
        raise ValueError(f"[rot90] axes must be two axes. Received: axes={axes}")
    a, b = axis_list("rot90", tuple(axes), x.ndim)
    k %= 4
    if k == 0:
        return copy(x)
    if k == 2:
        return flip(x, (a, b))
    return swapaxes(flip(x, b), a, b) if k == 1 else flip(swapaxes(x, a, b), b)
