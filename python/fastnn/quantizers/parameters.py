"""Scales and zeros of weights in groups, as GPTQ and AWQ use them: x is about (integer - zero) * scale."""
import math

from .. import ops
from ..tensor import as_tensor


def compute_quantization_parameters(x, *, bits, symmetric=False, per_channel=False, group_size=-1,
                                    compute_dtype="float32", epsilon=0.0, signed=False, spans_zero=False):
    """Scale and zero for weights.

    Args:
        x: floats (outputs, inputs).
        bits: of the integers.
        symmetric: bool; the range is symmetric around 0.
        per_channel: bool; a scale for each output.
        group_size: with per_channel, inputs in a group with a scale of its own; -1, all.
        compute_dtype: dtype of the largest integer.
        epsilon: added to the span.
        signed: bool; integers from -2^(bits-1) on, else from 0.
        spans_zero: bool; ranges reach to 0, without which the zero of weights of one sign may not fit into 8 bits.

    Returns:
        (scale, zero, largest unsigned integer): scale and zero (outputs, groups), zero as int8 or uint8.

    Raises:
        ValueError: x is None, empty, or has fewer than 2 axes.
    """
    if x is None:
        raise ValueError("[compute_quantization_parameters] Input tensor None cannot be None.")
    if len(x.shape) < 2:
        raise ValueError("[compute_quantization_parameters] Input weight tensor must have a rank of at least 2. "
                         f"Received: x.shape={tuple(x.shape)}")
    if math.prod(x.shape) == 0:
        raise ValueError("[compute_quantization_parameters] Input tensor 'x' cannot be empty. "
                         f"Received: x.shape={tuple(x.shape)}")
    x = as_tensor(x)
    outputs, inputs = x.shape[0], x.shape[1]
    groups = math.ceil(inputs / group_size) if per_channel and group_size > 0 else 1
    if groups > 1:
        x = ops.pad(x, ((0, 0), (0, groups * group_size - inputs)))
        x = ops.reshape(x, (outputs, groups, group_size))
        low, high = ops.min(x, axis=2), ops.max(x, axis=2)
    else:
        x = ops.reshape(x, (outputs if per_channel else 1, -1))
        low, high = ops.min(x, axis=1), ops.max(x, axis=1)
    if spans_zero:
        low, high = ops.minimum(low, 0), ops.maximum(high, 0)
    if symmetric:
        high = ops.maximum(ops.absolute(low), high)
        low = ops.where(ops.less(low, 0), ops.negative(high), low)
    constant = ops.equal(low, high)
    low, high = ops.where(constant, low - 1, low), ops.where(constant, high + 1, high)
    largest = ops.cast(2 ** bits - 1, compute_dtype)
    scale = ops.divide(ops.add(ops.subtract(high, low), epsilon) if epsilon > 0 else ops.subtract(high, low), largest)
    scale = ops.where(ops.less_equal(scale, 0), 1e-8, scale)
    half = 2 ** (bits - 1)
    if symmetric:
        zero = ops.full_like(scale, half)
    else:
        zero = ops.round(ops.divide(ops.negative(low), scale))
    if signed:
        zero = ops.clip(ops.subtract(zero, half), -half, half - 1)
    if groups == 1:
        scale, zero = ops.reshape(scale, (-1, 1)), ops.reshape(zero, (-1, 1))
        if not per_channel:
            scale, zero = ops.tile(scale, (outputs, 1)), ops.tile(zero, (outputs, 1))
    return scale, ops.cast(zero, "int8" if signed else "uint8"), largest


def quantize_with_zero_point(input_tensor, scale, zero, maxq):
    """round(x / scale + zero), clipped to [0, maxq], as floats."""
    scale = as_tensor(scale)
    safe = ops.where(ops.equal(scale, 0), 1e-8, scale)
    return ops.clip(ops.round(ops.add(ops.divide(input_tensor, safe), ops.cast(zero, scale.dtype))), 0, maxq)


def dequantize_with_zero_point(input_tensor, scale, zero):
    """(x - zero) * scale"""
    scale = as_tensor(scale)
    return ops.multiply(scale, ops.subtract(ops.cast(input_tensor, scale.dtype), ops.cast(zero, scale.dtype)))


def quantize_with_sz_map(weights_matrix, scale, zero, g_idx, maxq, group_axis=-1):
    """`quantize_with_zero_point` where `g_idx` tells the group of each place along `group_axis`."""
    groups = ops.cast(g_idx, "int32")
    return quantize_with_zero_point(weights_matrix, ops.take(scale, groups, axis=group_axis),
                                    ops.take(zero, groups, axis=group_axis), maxq)


def dequantize_with_sz_map(weights_matrix, scale, zero, g_idx, group_axis=-1):
    """`dequantize_with_zero_point` where `g_idx` tells the group of each place along `group_axis`."""
    groups = ops.cast(g_idx, "int32")
    return dequantize_with_zero_point(weights_matrix, ops.take(scale, groups, axis=group_axis),
                                      ops.take(zero, groups, axis=group_axis))
