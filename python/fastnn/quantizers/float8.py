"""8-bit floats: values rounded to them and scaled back, with scales that follow the largest values seen."""
import ml_dtypes
import numpy as np

from .. import ops
from ..ops.numpy_op import numpy_op
from ..symbolic import op
from ..tensor import as_tensor


def largest_of(dtype):
    """The largest finite number of an 8-bit float type."""
    return float(ml_dtypes.finfo(dtype).max)


def compute_float8_scale(amax, scale, dtype_max, margin=0):
    """The scale that takes values of at most `amax` into the range of the 8-bit type, with `margin` bits to spare.

    Where amax is 0 or not finite, the scale stays.

    Args:
        amax: number or tensor.
        scale: tensor; the scale so far.
        dtype_max: number; the largest of the 8-bit type.
        margin: int; bits.
    """
    amax, scale = as_tensor(amax), as_tensor(scale)
    inverse = ops.reciprocal(scale)
    wanted = ops.divide(ops.divide(dtype_max, amax), 2 ** margin)
    wanted = ops.where(ops.greater(amax, 0.0), wanted, inverse)
    wanted = ops.where(ops.isfinite(amax), wanted, inverse)
    return ops.reciprocal(wanted)


def compute_float8_amax_history(x, amax_history):
    """The history, one step older, with max(|x|) at its front.

    Args:
        x: tensor.
        amax_history: (k,), the newest first.
    """
    amax_history = as_tensor(amax_history)
    newest = ops.cast(ops.max(ops.absolute(x)), amax_history.dtype)
    older = ops.roll(amax_history, shift=-1)
    return ops.concatenate([ops.reshape(newest, (1,)), older[1:]], axis=0)


@op
def _rounded(x, dtype):
    return numpy_op(_round, as_tensor(x), dtype)


def _round(x, dtype):
    return x.astype(getattr(ml_dtypes, dtype)).astype(x.dtype)


def quantize_and_dequantize(inputs, scale, quantized_dtype, compute_dtype):
    """inputs / scale rounded to an 8-bit float type, times scale.

    Args:
        inputs: floats.
        scale: scalar.
        quantized_dtype: "float8_e4m3fn" or "float8_e5m2".
        compute_dtype: dtype of the computation and of the result.
    """
    largest = largest_of(quantized_dtype)
    scale = ops.cast(scale, compute_dtype)
    x = ops.clip(ops.divide(ops.cast(inputs, compute_dtype), scale), -largest, largest)
    return ops.multiply(_rounded(x, np.dtype(quantized_dtype).name), scale)
