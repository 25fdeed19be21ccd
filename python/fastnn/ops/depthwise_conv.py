"""Depthwise and separable convolution."""

from .. import _core, dtypes
from ..autograd import record
from ..symbolic import op
from ..tensor import as_tensor
from .window import channels_to_first, channels_to_last, check_images, is_channels_first, pads, spatial

__all__ = ["depthwise_conv", "separable_conv"]

_OP = "depthwise_conv"


# The three functions are the partial derivatives of one trilinear form sum(y * gy), so each one's
# gradients are the other two. g: (strides, pads, dilation) of the kernels.

def _forward(x, w, g):
    return record(_core.depthwise_conv2d_forward(x, w, *g), (x, w),
                  lambda gy: (_backward_input(gy, w, x.shape, g) if x.node else None,
                              _backward_weights(x, gy, w.shape, g) if w.node else None))


def _backward_input(gy, w, x_shape, g):
    return record(_core.depthwise_conv2d_backward_input(gy, w, x_shape, *g), (gy, w),
                  lambda ggx: (_forward(ggx, w, g) if gy.node else None,
                               _backward_weights(ggx, gy, w.shape, g) if w.node else None))


def _backward_weights(x, gy, w_shape, g):
    return record(_core.depthwise_conv2d_backward_weights(x, gy, w_shape, *g), (x, gy),
                  lambda ggw: (_backward_input(gy, ggw, x.shape, g) if x.node else None,
                               _forward(x, ggw, g) if gy.node else None))


@op
def depthwise_conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Convolution (cross-correlation) of every channel with windows of its own, in 1-D or 2-D.

    y[n,i,j,k*m+q] = sum_{u,v} x[n, i*sh-ph+u*dh, j*sw-pw+v*dw, k] * kernel[u,v,k,q]

    Args:
        inputs: (n, steps, c) or (n, ih, iw, c).
        kernel: (kw, c, m) or (kh, kw, c, m); m is the depth multiplier.
        strides: int, or one per spatial axis.
        padding: "valid", no padding; "same", output size ceil(ih / sh), the odd cell of padding at the
            end; or a pair (before, after) per spatial axis.
        data_format: "channels_last", or "channels_first" for inputs (n, c, ...); None is the setting
            ``config.image_data_format()``.
        dilation_rate: int, or one per spatial axis.

    Returns:
        (n, oh, ow, c * m) with oh = (ih + pads - (kh-1)*dh - 1) // sh + 1. Computed in float32.

    Raises:
        ValueError: ranks or channel counts disagree, the window exceeds the padded input, a
            stride, dilation or kernel size is below 1.
    """
    x, w = as_tensor(inputs), as_tensor(kernel)
    check_images(x, _OP, (3, 4))
    n = x.ndim - 2
    if w.ndim != n + 2:
        raise ValueError(f"[{_OP}] kernel must have as many dimensions as inputs ({n + 2}). Received: kernel.shape={w.shape}")
    dtype = dtypes.result_type(x.dtype, w.dtype, float)
    x, w = as_tensor(x, "float32"), as_tensor(w, "float32")
    first = is_channels_first(data_format, _OP)
    if first:
        x = channels_to_last(x)
    strides, dilation = spatial(strides, n, _OP, "strides"), spatial(dilation_rate, n, _OP, "dilation_rate")
    p = pads(padding, x.shape[1:-1], w.shape[:n], strides, dilation, _OP)
    if n == 2:
        y = _forward(x, w, (strides, p, dilation))
    else:
        from . import reshape

        y = _forward(reshape(x, (x.shape[0], 1, *x.shape[1:])), reshape(w, (1, *w.shape)),
                     ((1, *strides), (0, 0, *p), (1, *dilation)))
        y = reshape(y, (y.shape[0], *y.shape[2:]))
    if first:
        y = channels_to_first(y)
    return y if dtype == "float32" else as_tensor(y, dtype)


@op
def separable_conv(inputs, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", data_format=None,
                   dilation_rate=1):
    """A depthwise convolution and then one with windows of a single cell, in 1-D or 2-D.

    Args:
        inputs: (n, steps, c) or (n, ih, iw, c).
        depthwise_kernel: (kw, c, m) or (kh, kw, c, m).
        pointwise_kernel: (1, c * m, filters) or (1, 1, c * m, filters).
        strides, padding, data_format, dilation_rate: those of the depthwise convolution, see ``depthwise_conv``.

    Returns:
        (n, oh, ow, filters).

    Raises:
        ValueError: as ``depthwise_conv``, or pointwise_kernel has other sizes.
    """
    from . import conv

    w = as_tensor(pointwise_kernel)
    x = as_tensor(inputs)
    check_images(x, "separable_conv", (3, 4))
    if w.ndim != x.ndim or any(s != 1 for s in w.shape[:-2]):
        raise ValueError("[separable_conv] pointwise_kernel must have windows of a single cell and "
                         f"{x.ndim} dimensions. Received: pointwise_kernel.shape={w.shape}")
    y = depthwise_conv(x, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(y, w, 1, "valid", data_format, 1)
