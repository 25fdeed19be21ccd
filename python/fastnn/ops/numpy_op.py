"""The long tail: functions that are not worth a kernel are computed by NumPy."""

import numpy as np

from .. import _core, dtypes
from .._core import Tensor
from ..tensor import as_tensor, from_numpy, to_numpy

_WEAK = (bool, int, float)


def numpy_op(f, *args, dtype=None, **kwargs):
    """``f(*args, **kwargs)`` with tensors given to ``f`` as NumPy arrays and its arrays made tensors.

    Of meta tensors ``f`` is given zeros, and only the shapes and dtypes of its results are kept.

    Args:
        f: a function of NumPy arrays that gives an array, or a tuple or list of them.
        dtype: the dtype of the results; that of NumPy's by default.
    """
    meta = any(type(a) is Tensor and a.device == "meta" for a in args)
    arrays = [_array(a, meta) if type(a) is Tensor else a for a in args]
    with np.errstate(all="ignore"):
        result = f(*arrays, **kwargs)

    def wrap(array):
        array = np.asarray(array)
        if dtype is not None:
            with np.errstate(all="ignore"):
                array = array.astype(dtypes.numpy_dtype(dtype), copy=False)
        return _core.meta(array.shape, array.dtype.name) if meta else from_numpy(array)

    return type(result)(wrap(r) for r in result) if isinstance(result, (tuple, list)) else wrap(result)


def _array(x, meta):
    if meta:  # without memory of its own: an unknown size is tried with a large number
        return np.broadcast_to(np.zeros((), dtypes.numpy_dtype(x.dtype)), x.shape)
    return to_numpy(x)


def elementwise_numpy(f, dtype, *args):
    """``f`` of tensors and Python numbers that broadcast, as a tensor of ``dtype``. Of meta tensors
    only the broadcast shape is worked out."""
    if any(type(a) is Tensor and a.device == "meta" for a in args):
        shapes = [a.shape for a in args if type(a) is Tensor]
        try:
            return _core.meta(np.broadcast_shapes(*shapes), dtype)
        except ValueError:
            raise ValueError(f"[broadcast] the shapes must broadcast. Received: shapes {shapes}") from None
    arrays = [to_numpy(a) if type(a) is Tensor else a for a in args]
    try:
        with np.errstate(all="ignore"):
            y = np.asarray(f(*arrays)).astype(dtypes.numpy_dtype(dtype), copy=False)
    except ValueError as e:
        raise ValueError(f"[broadcast] {e}. Received: shapes {[np.shape(a) for a in arrays]}") from None
    return from_numpy(y)


def operands(*xs):
    """The arguments as tensors, Python numbers left as they are, and the dtype of their result."""
    xs = [x if type(x) in _WEAK else as_tensor(x) for x in xs]
    if len(xs) == 2 and type(xs[0]) is Tensor and type(xs[1]) is Tensor and xs[0].dtype == xs[1].dtype:
        return xs, xs[0].dtype
    return xs, dtypes.result_type(*[type(x) if type(x) in _WEAK else x.dtype for x in xs])


def float_dtype(dtype):
    """``dtype`` if it is a float type, else the float type that it is computed in."""
    return dtype if dtype in dtypes.FLOAT_DTYPES else dtypes.result_type(dtype, float)
