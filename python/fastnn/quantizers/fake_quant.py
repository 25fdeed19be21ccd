"""Fake quantization: what training sees of a later quantization, with gradients for its range."""
from .. import ops
from ..autograd import record
from ..dtypes import result_type
from ..symbolic import op
from ..tensor import as_tensor


@op
def fake_quant_with_min_max_vars(inputs, min_vals, max_vals, num_bits=8, narrow_range=False, axis=None):
    """Values rounded to 2^num_bits levels between a minimum and a maximum, shifted so that 0 is a level.

    Args:
        inputs: floats.
        min_vals, max_vals: scalars, or one for each place along `axis`.
        num_bits: of the levels.
        narrow_range: bool; one level fewer.
        axis: int or None.

    Returns:
        Floats of the shape and dtype of `inputs`. Gradients pass inside of the range; those outside go to
        min_vals and max_vals.

    Raises:
        ValueError: axis is not one of inputs.
    """
    x, low, high = as_tensor(inputs), as_tensor(min_vals), as_tensor(max_vals)
    if axis is not None:
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"[fake_quant_with_min_max_vars] axis must be in [{-x.ndim}, {x.ndim}). Received: axis={axis}")
        axis %= x.ndim
    dtype = result_type(low.dtype, "float32")
    spread = (lambda v: v) if axis is None or low.ndim == 0 else (
        lambda v: ops.reshape(v, [-1 if i == axis else 1 for i in range(x.ndim)]))
    lowest, span = ops.cast(low, dtype), ops.subtract(ops.cast(high, dtype), ops.cast(low, dtype))
    first, last = int(narrow_range), 2 ** int(num_bits) - 1
    step, per_step = ops.divide(span, last - first), ops.divide(last - first, span)
    zero = ops.round(ops.clip(ops.subtract(first, ops.divide(lowest, step)), first, last))
    nudged_low, nudged_high = ops.multiply(ops.subtract(first, zero), step), ops.multiply(ops.subtract(last, zero), step)
    quantized_zero = ops.floor(ops.add(ops.multiply(ops.negative(nudged_low), per_step), 0.5))
    nudged_low, nudged_high = spread(nudged_low), spread(nudged_high)
    clipped = ops.minimum(ops.maximum(ops.cast(x, dtype), nudged_low), nudged_high)
    level = ops.subtract(ops.multiply(ops.subtract(clipped, nudged_low), spread(per_step)), spread(quantized_zero))
    y = ops.cast(ops.multiply(ops.floor(ops.add(level, 0.5)), spread(step)), x.dtype)

    def vjp(gy):
        inside = ops.logical_and(ops.greater_equal(x, nudged_low), ops.less_equal(x, nudged_high))
        others = None if axis is None else [i for i in range(x.ndim) if i != axis]

        def total(where, like):
            return ops.reshape(ops.cast(ops.sum(ops.where(where, gy, 0.0), axis=others), like.dtype), like.shape)

        return (ops.where(inside, gy, 0.0), total(ops.less_equal(x, nudged_low), low),
                total(ops.greater_equal(x, nudged_high), high))

    return record(y, (x, low, high), vjp)
