"""Quantizers: floats to small integers and the scales that take them back."""
import math

import numpy as np

from .. import dtypes, ops
from ..capturing import Watched
from ..tensor import as_tensor, convert_to_tensor, to_numpy


class Quantizer(Watched):
    """Base class: subclasses define `__call__(x, axis=None)` -> (integers, scale) and `get_config()`.

    Args:
        output_dtype: dtype of the integers.
    """

    def __init__(self, output_dtype="int8"):
        self.output_dtype = output_dtype

    def __call__(self, x):
        return x

    def get_config(self):
        raise NotImplementedError(f"{self} does not implement get_config()")

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class AbsMaxQuantizer(Quantizer):
    """round(x * scale), clipped, where scale = value_range[1] / max(|x|) along an axis.

    Args:
        axis: int or tuple of ints, what the maximum is taken over; -1 if neither this nor the call gives it.
        value_range: (smallest, largest) integer.
        epsilon: added to the maximum.
        output_dtype: dtype of the integers.

    Call arguments:
        x: floats.
        axis: in place of that of the constructor.
        to_numpy: bool; accepted for Keras's sake: scale by NumPy, in the dtype that it computes in.

    Returns:
        (integers, scale); x is about integers / scale. The axes stay in `scale` with size 1.

    Raises:
        ValueError: value_range does not fit into int8.
    """

    def __init__(self, axis=None, value_range=(-127, 127), epsilon=1e-7, output_dtype="int8"):
        super().__init__(output_dtype)
        self.axis = None if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.value_range = tuple(value_range)
        self.epsilon = epsilon
        if output_dtype == "int8" and (value_range[0] < -128 or value_range[1] > 127):
            raise ValueError("[AbsMaxQuantizer] with output_dtype='int8', value_range must lie in [-128, 127]. "
                             f"Received: value_range={value_range}")

    def __call__(self, x, axis=None, to_numpy=False):
        return abs_max_quantize(x, self._axis(axis), self.value_range, self.output_dtype, self.epsilon, to_numpy)

    def levels(self, x, axis=None):
        """As a call, but with the integers as floats: what a product in float32 takes."""
        return _levels(as_tensor(x), self._axis(axis), self.value_range, self.epsilon)

    def _axis(self, axis):
        axis = self.axis if axis is None else axis
        return -1 if axis is None else axis

    def get_config(self):
        config = {"value_range": self.value_range, "epsilon": self.epsilon, "output_dtype": self.output_dtype}
        return config if self.axis is None else {**config, "axis": self.axis}


def _levels(x, axis, value_range, epsilon):
    largest = ops.max(ops.absolute(x), axis=axis, keepdims=True)
    scale = ops.cast(ops.divide(value_range[1], ops.add(largest, epsilon)), x.dtype)
    return ops.clip(ops.round(ops.multiply(x, scale)), value_range[0], value_range[1]), scale


def abs_max_quantize(inputs, axis, value_range=(-127, 127), dtype="int8", epsilon=1e-7, to_numpy=False):
    """Integers in `value_range` for floats, and the scales they were multiplied by; see `AbsMaxQuantizer`.

    Args:
        inputs: tensor of floats.
        axis: int or several; the axes that share a scale.
        value_range: two ints.
        dtype: string; an integer dtype.
        epsilon: number; added to the largest absolute value.
        to_numpy: bool; compute in the order of operations that Keras has for NumPy.
    """
    if not to_numpy:
        levels, scale = _levels(as_tensor(inputs), axis, value_range, epsilon)
        return ops.cast(levels, dtype), scale
    x = _numpy(inputs)
    axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    scale = np.divide(value_range[1], np.add(np.max(np.abs(x), axis=axis, keepdims=True), epsilon))
    levels = np.clip(np.round(np.multiply(x, scale)), *value_range)
    return convert_to_tensor(levels.astype(dtype)), convert_to_tensor(scale, dtype=dtypes.standardize_dtype(inputs.dtype))


def _numpy(x):
    return np.asarray(x) if isinstance(x, np.ndarray) else np.asarray(to_numpy(as_tensor(x)))


def abs_max_quantize_grouped_with_zero_point(inputs, block_size, value_range=(-8, 7), dtype="int8", epsilon=1e-7,
                                             to_numpy=False):
    """Integers for a matrix whose columns are cut into groups of rows, each with a scale and a zero of its own.

    Args:
        inputs: floats (rows, columns).
        block_size: rows in a group; the last one may have fewer.
        value_range: (smallest, largest) integer.
        dtype: of the integers.
        epsilon: added to the span of a group.
        to_numpy: bool; in the order of operations that Keras has for NumPy. Otherwise a constant group gets the
            span of one around it.

    Returns:
        (integers (rows, columns), scale (groups, columns), zero (groups, columns) as int8); inputs are about
        (integers - zero) * scale.
    """
    dtype_in = dtypes.standardize_dtype(inputs.dtype)
    x = _numpy(inputs)
    rows, columns = x.shape
    groups = math.ceil(rows / block_size)
    low, high = value_range
    padded = np.concatenate([x, np.zeros((groups * block_size - rows, columns), x.dtype)])
    grouped = padded.reshape(groups, block_size, columns)
    smallest, largest = grouped.min(axis=1, keepdims=True), grouped.max(axis=1, keepdims=True)
    if not to_numpy:
        constant = smallest == largest
        smallest, largest = np.where(constant, smallest - 1, smallest), np.where(constant, largest + 1, largest)
    scale = np.divide(np.subtract(largest, smallest) + epsilon, high - low)
    zero = np.clip(np.round(np.divide(-smallest, scale)) + low, low, high)
    levels = np.clip(np.round(np.divide(grouped, scale)) + zero, low, high).astype(dtype)
    levels = levels.reshape(groups * block_size, columns)[:rows]
    return (convert_to_tensor(levels), convert_to_tensor(scale.squeeze(1), dtype=dtype_in),
            convert_to_tensor(zero.squeeze(1).astype("int8")))
