"""Batch, layer and root-mean-square normalization, and moments."""

import operator

from .. import _core, config, dtypes
from ..autograd import record
from ..symbolic import op
from ..tensor import as_tensor

__all__ = ["moments", "batch_normalization", "layer_normalization", "rms_normalization"]


def _check_epsilon(epsilon, op):
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)) or not 0 <= epsilon < float("inf"):
        raise ValueError(f"[{op}] epsilon must be a finite number of at least 0. Received: epsilon={epsilon!r}")
    return float(epsilon)


def _axis(axis, ndim, op):
    """One axis as an index from 0 on."""
    if isinstance(axis, (bool, float)) or not hasattr(axis, "__index__") or not -ndim <= axis < ndim:
        raise ValueError(f"[{op}] axis must be an integer in [{-ndim}, {ndim}). Received: axis={axis!r}")
    return operator.index(axis) % ndim


def _axes(axes, ndim, op):
    """One axis or several as a sorted list of indices from 0 on."""
    found = sorted({_axis(a, ndim, op) for a in (axes if isinstance(axes, (list, tuple)) else (axes,))})
    if not found:
        raise ValueError(f"[{op}] axis must name at least one axis. Received: axis={axes!r}")
    return found


def _move_to_last(x, axis):
    """x with ``axis`` moved to the end."""
    if axis == x.ndim - 1:
        return x
    from . import moveaxis

    return moveaxis(x, axis, -1)


def _move_back(y, axis):
    if axis == y.ndim - 1:
        return y
    from . import moveaxis

    return moveaxis(y, -1, axis)


@op
def moments(x, axes, keepdims=False, synchronized=False):
    """The mean and the (biased) variance of x over ``axes``.

    Args:
        x: tensor.
        axes: int or sequence of ints.
        keepdims: keep the reduced axes with size 1.
        synchronized: accepted for Keras's sake; there is one process.

    Returns:
        (mean, variance), in the dtype of x, at least computed in float32.
    """
    from . import clip, mean, square

    x = as_tensor(x)
    dtype = x.dtype if dtypes.is_float(x.dtype) else dtypes.floatx()
    x = as_tensor(x, "float32")
    axes = tuple(_axes(axes, x.ndim, "moments"))
    center = mean(x, axis=axes, keepdims=True)
    variance = mean(square(x - center), axis=axes, keepdims=keepdims)
    if not keepdims:
        from . import squeeze

        center = squeeze(center, axes)
    if dtype == "float16":  # the largest number rather than inf
        center, variance = clip(center, -65504.0, 65504.0), clip(variance, 0.0, 65504.0)
    return as_tensor(center, dtype), as_tensor(variance, dtype)


# ---- batch normalization; channels are the last axis ----

def batch_norm_train(x, gamma, beta, epsilon):
    """x normalized by its own statistics over all axes but the last. Returns y, mean, variance; no
    gradient flows through the two statistics returned."""
    x = as_tensor(x)
    y, mean, variance, rstd = _core.batch_norm_forward(x, gamma, beta, epsilon)

    def vjp(gy):
        if _core.recording():
            gx, ggamma, gbeta = _train_gradient(x, gy, gamma, epsilon)
        else:
            gx, ggamma, gbeta = _core.batch_norm_backward(x, gy, gamma, mean, rstd, x.node is not None)
        return gx, ggamma, gbeta

    return record(y, (x, gamma, beta), vjp), mean, variance


def move_average(variable, value, momentum):
    """variable = variable * momentum + value * (1 - momentum), in place."""
    if variable.dtype == "float32":
        _core.moving_average(variable.mutable(), value, momentum)
    else:
        variable.assign(as_tensor(variable, "float32") * momentum + value * (1.0 - momentum))


def _train_gradient(x, gy, gamma, epsilon):
    """The kernel's formulas in ops, so that they can be differentiated again."""
    from . import mean, rsqrt, square, sum

    axes = tuple(range(x.ndim - 1))
    d = x - mean(x, axis=axes)
    r = rsqrt(mean(square(d), axis=axes) + epsilon)
    n = d * r
    ggamma, gbeta = sum(gy * n, axis=axes), sum(gy, axis=axes)
    rows = x.size // x.shape[-1]
    scale = r if gamma is None else r * gamma
    return scale * (gy - gbeta / rows - n * (ggamma / rows)), ggamma, gbeta


def batch_norm_inference(x, mean, variance, gamma, beta, epsilon):
    """x normalized by given statistics (c); every argument may have a gradient."""
    y = _core.batch_norm_inference(x, mean, variance, gamma, beta, epsilon)

    def vjp(gy):
        from . import rsqrt, sum

        r = None
        if _core.recording():
            axes = tuple(range(x.ndim - 1))
            r = rsqrt(variance + epsilon)
            gx = gy * (r if gamma is None else r * gamma) if x.node else None
            ggamma, gbeta = sum(gy * ((x - mean) * r), axis=axes), sum(gy, axis=axes)
        else:
            gx, ggamma, gbeta = _core.batch_norm_backward_inference(x, gy, gamma, mean, variance, epsilon,
                                                                    x.node is not None)
        gmean = gvariance = None
        if mean.node or variance.node:
            r = rsqrt(variance + epsilon) if r is None else r
            scale = r if gamma is None else r * gamma
            gmean = -gbeta * scale
            gvariance = -0.5 * ggamma * scale * r
        return gx, gmean, gvariance, ggamma, gbeta

    return record(y, (x, mean, variance, gamma, beta), vjp)


@op
def batch_normalization(x, mean, variance, axis, offset=None, scale=None, epsilon=1e-3):
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, along one axis.

    Args:
        x: tensor of any rank from 1 on.
        mean, variance: (x.shape[axis],).
        axis: the axis of the channels.
        offset, scale: (x.shape[axis],), or None.
        epsilon: added to the variance.

    Returns:
        A tensor of the shape and dtype of x; integers give floatx. Computed in float32.

    Raises:
        ValueError: a vector has another length than the axis, the axis does not exist, epsilon is
            negative or not finite.
    """
    x = as_tensor(x)
    dtype = x.dtype if dtypes.is_float(x.dtype) else dtypes.floatx()
    x = as_tensor(x, "float32")
    axis = _axis(axis, x.ndim, "batch_normalization")
    mean, variance = as_tensor(mean, "float32"), as_tensor(variance, "float32")
    scale = None if scale is None else as_tensor(scale, "float32")
    offset = None if offset is None else as_tensor(offset, "float32")
    for name, v in (("mean", mean), ("variance", variance), ("offset", offset), ("scale", scale)):
        if v is not None and v.shape != (x.shape[axis],):
            raise ValueError(f"[batch_normalization] {name} must have shape ({x.shape[axis]},), the size of axis {axis} of x. "
                             f"Received: {name}.shape={v.shape}")
    y = batch_norm_inference(_move_to_last(x, axis), mean, variance, scale, offset,
                             _check_epsilon(epsilon, "batch_normalization"))
    return as_tensor(_move_back(y, axis), dtype)


# ---- layer normalization ----

def _layer_norm(x, gamma, beta, axes, epsilon):
    """The last ``axes`` axes of x normalized."""
    y, mean, rstd = _core.layer_norm_forward(x, gamma, beta, axes, epsilon)

    def vjp(gy):
        if _core.recording():
            return _layer_gradient(x, gy, gamma, axes, epsilon)
        return _core.layer_norm_backward(x, gy, gamma, mean, rstd, axes, x.node is not None)

    return record(y, (x, gamma, beta), vjp)


def _layer_gradient(x, gy, gamma, axes, epsilon):
    """The kernel's formulas in ops, so that they can be differentiated again."""
    from . import mean, rsqrt, square, sum

    last, first = tuple(range(x.ndim - axes, x.ndim)), tuple(range(x.ndim - axes))
    d = x - mean(x, axis=last, keepdims=True)
    r = rsqrt(mean(square(d), axis=last, keepdims=True) + epsilon)
    n = d * r
    g = gy if gamma is None else gy * gamma
    gx = r * (g - mean(g, axis=last, keepdims=True) - n * mean(g * n, axis=last, keepdims=True))
    if not first:
        return gx, gy * n, gy
    return gx, sum(gy * n, axis=first), sum(gy, axis=first)


def _to_last(x, axes):
    """x with ``axes`` moved to the end, and the permutation that undoes it (None: they are there)."""
    if axes == list(range(x.ndim - len(axes), x.ndim)):
        return x, None
    from . import transpose

    order = [a for a in range(x.ndim) if a not in axes] + axes
    return transpose(x, order), sorted(range(x.ndim), key=order.__getitem__)


def _fit(v, x, axes):
    """A scale or offset as a float32 tensor of the shape of ``axes`` of x."""
    if v is None:
        return None
    v = as_tensor(v, "float32")
    shape = tuple(x.shape[a] for a in axes)
    if v.shape == shape:
        return v
    from . import broadcast_to, reshape

    if v.ndim == x.ndim and v.shape == tuple(n if a in axes else 1 for a, n in enumerate(x.shape)):
        return reshape(v, shape)
    return broadcast_to(v, shape)


@op
def layer_normalization(x, gamma=None, beta=None, axis=-1, epsilon=None, **kwargs):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with the statistics of ``axis``.

    Args:
        x: tensor of any rank from 1 on.
        gamma, beta: tensors of the sizes of ``axis``, or None.
        axis: int or sequence of ints.
        epsilon: added to the variance; ``config.epsilon()`` by default.
        rms_scaling: True does not subtract the mean and adds no beta, as old Keras models ask for.

    Returns:
        A tensor of the shape and dtype of x; integers give floatx. Computed in float32.

    Raises:
        ValueError: an axis does not exist, gamma or beta do not fit, epsilon is negative or not finite.
    """
    rms_scaling = kwargs.pop("rms_scaling", False)
    if rms_scaling:
        from ..utils.warning import warn

        warn("[layer_normalization] You passed `rms_scaling=True`, which is deprecated. It divides by the standard deviation, not by the root mean "
             "square; rms_normalization does that")
    if kwargs:
        raise TypeError(f"[layer_normalization] unknown arguments. Received: {sorted(kwargs)}")
    epsilon = _check_epsilon(config.epsilon() if epsilon is None else epsilon, "layer_normalization")
    x = as_tensor(x)
    dtype = x.dtype if dtypes.is_float(x.dtype) else dtypes.floatx()
    x = as_tensor(x, "float32")
    axes = _axes(axis, x.ndim, "layer_normalization")
    gamma, beta = _fit(gamma, x, axes), _fit(beta, x, axes)
    x, back = _to_last(x, axes)
    if rms_scaling:
        from . import rsqrt

        _, variance = moments(x, list(range(x.ndim - len(axes), x.ndim)), keepdims=True)
        y = x * rsqrt(variance + epsilon)
        if gamma is not None:
            y = y * gamma
    else:
        y = _layer_norm(x, gamma, beta, len(axes), epsilon)
    if back is not None:
        from . import transpose

        y = transpose(y, back)
    return as_tensor(y, dtype)


@op
def rms_normalization(x, scale=None, axis=-1, epsilon=None):
    """x / sqrt(mean(x^2) + epsilon) * scale, with the mean over ``axis``.

    Args:
        x: tensor; a scalar counts as a vector of one value.
        scale: broadcast to x, or None.
        axis: int or sequence of ints.
        epsilon: added to the mean; ``config.epsilon()`` by default.

    Returns:
        A tensor of the shape and dtype of x; integers give floatx. Computed in float32.
    """
    from . import mean, reshape, rsqrt, square

    epsilon = _check_epsilon(config.epsilon() if epsilon is None else epsilon, "rms_normalization")
    x = as_tensor(x)
    dtype = x.dtype if dtypes.is_float(x.dtype) else dtypes.floatx()
    x = as_tensor(x, "float32")
    if x.ndim == 0:
        x = reshape(x, (1,))
    axes = tuple(_axes(axis, x.ndim, "rms_normalization"))
    y = x * rsqrt(mean(square(x), axis=axes, keepdims=True) + epsilon)
    if scale is not None:
        y = y * as_tensor(scale, "float32")
    return as_tensor(y, dtype)
