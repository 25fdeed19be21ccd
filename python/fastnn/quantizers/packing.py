"""Two 4-bit integers in a byte."""
import numpy as np

from .. import dtypes
from ..ops.numpy_op import numpy_op
from ..symbolic import op
from ..tensor import as_tensor


def _checked(name, value):
    if value not in ("int8", "uint8"):
        raise ValueError(f"[{name}] Expected dtype to be 'int8' or 'uint8', but got '{value}'.")


def pack_int4(arr, axis=0, dtype="int8"):
    """4-bit integers in half as many bytes: the first of each pair along `axis` in the low half.

    Args:
        arr: int8 or uint8, as `dtype` says, values in [-8, 7] or [0, 15].
        axis: the axis that becomes half as long; an odd one is filled up with 0.
        dtype: of arr and of the result.

    Returns:
        (packed, its shape, the length of the axis before).

    Raises:
        ValueError, TypeError: dtype is another one, or not that of arr.
    """
    _checked("pack_int4", dtype)
    if dtypes.standardize_dtype(arr.dtype) != dtype:
        raise TypeError(f"[pack_int4] Expected {dtype} tensor for packing, got {dtypes.standardize_dtype(arr.dtype)}.")
    packed = numpy_op(_pack, as_tensor(arr), axis)
    return packed, tuple(packed.shape), arr.shape[axis]


def _pack(x, axis):
    x = np.moveaxis(x, axis, 0)
    if len(x) % 2:
        x = np.concatenate([x, np.zeros((1, *x.shape[1:]), x.dtype)])
    bits = x.view("uint8") & 15
    return np.moveaxis((bits[::2] | bits[1::2] << 4).view(x.dtype), 0, axis)


@op
def unpack_int4(packed, orig_len, axis=0, dtype="int8"):
    """The integers that `pack_int4` packed.

    Args:
        packed: int8 or uint8.
        orig_len: length of the axis before it was packed.
        axis: the axis that was packed.
        dtype: "int8" for values in [-8, 7], "uint8" for [0, 15].

    Raises:
        ValueError, TypeError: a dtype is another one.
    """
    _checked("unpack_int4", dtype)
    packed = as_tensor(packed)
    if packed.dtype not in ("int8", "uint8"):
        raise TypeError(f"[unpack_int4] Expected int8 or uint8 tensor for unpacking, got {packed.dtype}")
    return numpy_op(_unpack, packed, orig_len, axis, dtype)


def _unpack(x, length, axis, dtype):
    bits = np.moveaxis(np.ascontiguousarray(x), axis, 0).view("uint8")
    both = np.stack([bits & 15, bits >> 4], axis=1).reshape(-1, *bits.shape[1:])[:length]
    if dtype == "int8":
        both = ((both ^ 8).astype("int8") - 8).astype("int8")
    return np.moveaxis(both, 0, axis)
