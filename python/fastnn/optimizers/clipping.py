"""Gradients scaled down to a largest norm."""
from .. import ops


def clip_by_norm(x, limit):
    """x * limit / max(norm of x, limit)"""
    norm = ops.sqrt(ops.sum(ops.square(x)))
    return x * (limit / ops.maximum(norm, limit))


def global_norm(values):
    """Return the norm of all tensors together; None entries do not count."""
    squares = [ops.sum(ops.square(v)) for v in values if v is not None]
    return ops.sqrt(ops.sum(ops.stack(squares)))


def clip_by_global_norm(values, clip_norm):
    """Scale all tensors by clip_norm / max(global norm, clip_norm); a norm that is not finite makes them NaN."""
    norm = global_norm(values)
    scale = clip_norm * ops.minimum(1.0 / norm, 1.0 / clip_norm) + (norm - norm)
    return [None if v is None else v * scale for v in values]
