"""Max and average pooling in one, two and three dimensions."""

from .. import _core
from ..autograd import needs_grad, record
from ..symbolic import op
from ..tensor import as_tensor
from .array import check_fits
from .window import channels_to_first, channels_to_last, check_images, is_channels_first, pads, spatial

__all__ = ["max_pool", "average_pool", "adaptive_max_pool", "adaptive_average_pool"]


# Gradients of pooling are linear in gy, so second derivatives are the transposed maps.
# g: (size, strides, pads) of the kernels.

def _max(x, g):
    if not needs_grad(x):
        return _core.max_pool2d_forward(x, *g)
    y, taps = _core.max_pool2d_forward_with_taps(x, *g)
    return record(y, (x,), lambda gy: (_max_gradient(gy, taps, x.shape, g),))


def _max_gradient(gy, taps, x_shape, g):
    return record(_core.max_pool2d_backward(gy, taps, x_shape, *g), (gy,), lambda ggx: (_take(ggx, taps, g),))


def _take(x, taps, g):
    return record(_core.max_pool2d_take(x, taps, *g), (x,), lambda gy: (_max_gradient(gy, taps, x.shape, g),))


def _average(x, g):
    return record(_core.average_pool2d_forward(x, *g), (x,), lambda gy: (_average_gradient(gy, x.shape, g),))


def _average_gradient(gy, x_shape, g):
    return record(_core.average_pool2d_backward(gy, x_shape, *g), (gy,), lambda ggx: (_average(ggx, g),))


def _pool(pool2d, name, inputs, pool_size, strides, padding, data_format):
    """Pool any number of spatial axes with ``pool2d`` on four-dimensional tensors."""
    from . import reshape

    x = as_tensor(inputs)
    check_images(x, name, (3, 4, 5))
    dtype = x.dtype
    x = as_tensor(x, "float32")
    n = x.ndim - 2
    size = spatial(pool_size, n, name, "pool_size")
    strides = size if strides is None else spatial(strides, n, name, "strides")
    first = is_channels_first(data_format, name)
    if first:
        x = channels_to_last(x)
    p = pads(padding, x.shape[1:-1], size, strides, (1,) * n, name)
    if n == 2:
        y = pool2d(x, (size, strides, p))
    elif n == 1:
        batch, steps, c = x.shape
        y = pool2d(reshape(x, (batch, 1, steps, c)), ((1, *size), (1, *strides), (0, 0, *p)))
        y = reshape(y, (batch, y.shape[2], c))
    else:
        # Planes first, then depth: maxima of maxima (the first of equals stays the first), and
        # means of means, because the cells inside x form a box.
        batch, d, h, w, c = x.shape
        y = pool2d(reshape(x, (batch * d, h, w, c)), (size[1:], strides[1:], p[2:]))
        h, w = y.shape[1:3]
        y = pool2d(reshape(y, (batch, d, h * w, c)), ((size[0], 1), (strides[0], 1), (*p[:2], 0, 0)))
        y = reshape(y, (batch, y.shape[1], h, w, c))
    if first:
        y = channels_to_first(y)
    return y if dtype == "float32" else as_tensor(y, dtype)


@op
def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """The largest value of each window; NaN if the window holds one.

    The gradient goes to the first of equal values (the first NaN). Cells of padding take no part.

    Args:
        inputs: (n, steps, c), (n, ih, iw, c) or (n, id, ih, iw, c).
        pool_size: int, or one per spatial axis.
        strides: int, or one per spatial axis; ``pool_size`` by default.
        padding: "valid", no padding; "same", output size ceil(ih / sh), the odd cell of padding at the
            end; or a pair (before, after) per spatial axis, smaller than the window.
        data_format: "channels_last", or "channels_first" for inputs (n, c, ...); None is the setting
            ``config.image_data_format()``.

    Returns:
        (n, oh, ow, c) with oh = (ih + pads - kh) // sh + 1, in the dtype of inputs, computed in float32.

    Raises:
        ValueError: the window exceeds the padded input, or a size or stride is below 1.
    """
    return _pool(_max, "max_pool", inputs, pool_size, strides, padding, data_format)


@op
def average_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """The mean of each window's cells inside the input; cells of padding are not counted.

    Args:
        inputs: (n, steps, c), (n, ih, iw, c) or (n, id, ih, iw, c).
        pool_size: int, or one per spatial axis.
        strides: int, or one per spatial axis; ``pool_size`` by default.
        padding: "valid", no padding; "same", output size ceil(ih / sh), the odd cell of padding at the
            end; or a pair (before, after) per spatial axis, smaller than the window.
        data_format: "channels_last", or "channels_first" for inputs (n, c, ...); None is the setting
            ``config.image_data_format()``.

    Returns:
        (n, oh, ow, c) with oh = (ih + pads - kh) // sh + 1, in the dtype of inputs, computed in float32.

    Raises:
        ValueError: the window exceeds the padded input, or a size or stride is below 1.
    """
    return _pool(_average, "average_pool", inputs, pool_size, strides, padding, data_format)


def _adaptive(pool, name, inputs, output_size, data_format):
    """Output o of an axis pools the cells floor(o*size/outputs) to ceil((o+1)*size/outputs)."""
    from . import concatenate

    x = as_tensor(inputs)
    check_images(x, name, (3, 4, 5))
    n = x.ndim - 2
    outputs = spatial(output_size, n, name, "output_size")
    first = is_channels_first(data_format, name)
    if first:
        x = channels_to_last(x)
    check_fits(name, max(x.shape[0], 1), *outputs, max(x.shape[-1], 1), itemsize=4)
    for axis, out in enumerate(outputs, 1):
        size = x.shape[axis]
        if size == 0:
            raise ValueError(f"[{name}] inputs must not be empty. Received: inputs.shape={x.shape}")
        starts = [o * size // out for o in range(out)]
        ends = [-(-(o + 1) * size // out) for o in range(out)]
        window = [1] * n
        if len({e - s for s, e in zip(starts, ends)}) == 1 and len({b - a for a, b in zip(starts, starts[1:])}) <= 1:
            strides = [1] * n
            window[axis - 1] = ends[0] - starts[0]
            strides[axis - 1] = starts[1] - starts[0] if out > 1 else 1
            x = pool(x, tuple(window), tuple(strides), "valid", "channels_last")
            continue
        before = (slice(None),) * axis
        parts = []
        for s, e in zip(starts, ends):
            window[axis - 1] = e - s
            parts.append(pool(x[(*before, slice(s, e))], tuple(window), 1, "valid", "channels_last"))
        x = concatenate(parts, axis=axis)
    return channels_to_first(x) if first else x


@op
def adaptive_max_pool(inputs, output_size, data_format=None):
    """Max pooling to a given output size: output o covers cells floor(o*ih/oh) to ceil((o+1)*ih/oh).

    Args:
        inputs: (n, steps, c), (n, ih, iw, c) or (n, id, ih, iw, c).
        output_size: int, or one per spatial axis.
        data_format: as in ``max_pool``.

    Returns:
        (n, oh, ow, c).
    """
    return _adaptive(max_pool, "adaptive_max_pool", inputs, output_size, data_format)


@op
def adaptive_average_pool(inputs, output_size, data_format=None):
    """Average pooling to a given output size: output o covers cells floor(o*ih/oh) to ceil((o+1)*ih/oh).

    Args:
        inputs: (n, steps, c), (n, ih, iw, c) or (n, id, ih, iw, c).
        output_size: int, or one per spatial axis.
        data_format: as in ``average_pool``.

    Returns:
        (n, oh, ow, c).
    """
    return _adaptive(average_pool, "adaptive_average_pool", inputs, output_size, data_format)
