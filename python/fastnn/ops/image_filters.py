"""Blur, edges and similarity of images, by convolutions; public in `ops.image`."""

import numpy as np

from ..symbolic import op
from ..tensor import as_tensor, from_numpy
from .array import cast, reshape, squeeze, transpose
from .conv2d import conv
from .depthwise_conv import depthwise_conv
from .elementwise import add, divide, exp, multiply, square, subtract
from .image_batch import to_batch
from .joining import stack
from .matmul import outer
from .numpy_op import float_dtype
from .reduction import mean
from .reduction import sum as sum_


def gaussian(size, sigma):
    """(size,) weights of a normal distribution around the middle, with sum 1; sigma may be a tensor."""
    x = from_numpy(np.arange(size, dtype="float32") - (size - 1) / 2)
    weights = exp(multiply(square(divide(x, as_tensor(sigma, "float32"))), -0.5))
    return divide(weights, sum_(weights))


@op
def gaussian_blur(images, kernel_size=(3, 3), sigma=(1.0, 1.0), data_format=None):
    """Images blurred by normal distributions.

    Args:
        kernel_size: (width, height) of the window. sigma: the two deviations, in pixels.
        images: (h, w, c) or (n, h, w, c), or with the channels first.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    x, back = to_batch("gaussian_blur", images, data_format)
    dtype = x.dtype
    x = cast(x, float_dtype(dtype))
    if not isinstance(sigma, (tuple, list)):
        sigma = as_tensor(sigma)
    kernel = outer(gaussian(int(kernel_size[1]), sigma[1]), gaussian(int(kernel_size[0]), sigma[0]))
    kernel = multiply(reshape(kernel, (*kernel.shape, 1, 1)), from_numpy(np.ones((x.shape[-1], 1), "float32")))
    return back(cast(depthwise_conv(x, cast(kernel, x.dtype), 1, "same", "channels_last"), dtype))


@op
def sobel_edges(images, data_format=None):
    """The Sobel derivatives: images.shape + (2,), along the height, then along the width. Zeros lie around the images.

    Args:
        images: (h, w, c) or (n, h, w, c), or with the channels first.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    x = as_tensor(images)
    if x.ndim != 4:
        raise ValueError(f"[sobel_edges] images must have 4 axes. Received: images.shape={x.shape}")
    x, back = to_batch("sobel_edges", x, data_format)
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "float32")
    edges = []
    for kernel in (across.T, across):
        kernel = np.repeat(kernel[:, :, None, None], x.shape[-1], axis=2)
        edges.append(back(depthwise_conv(x, cast(from_numpy(kernel), x.dtype), 1, "same", "channels_last")))
    return stack(edges, -1)


@op
def ssim(image1, image2, max_val=1.0, filter_size=11, filter_sigma=1.5, k1=0.01, k2=0.03, data_format=None):
    """The structural similarity of two images, or of each pair in two batches: 1 for equal images.

    Args:
        max_val: the span of the values. filter_size, filter_sigma: of the Gaussian window.
        k1, k2: small numbers that keep the quotients finite.
        image1, image2: (h, w, c) or (n, h, w, c), of one shape.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.

    Source: Wang et al. 2004.
    """
    a, back = to_batch("ssim", image1, data_format)
    b, _ = to_batch("ssim", image2, data_format)
    dtype, n, c = a.dtype, a.shape[0], a.shape[-1]
    a, b = cast(a, float_dtype(a.dtype)), cast(b, float_dtype(b.dtype))
    window = gaussian(filter_size, filter_sigma)
    kernel = cast(reshape(outer(window, window), (filter_size, filter_size, 1, 1)), a.dtype)
    a, b = (reshape(transpose(v, (0, 3, 1, 2)), (n * c, *v.shape[1:3], 1)) for v in (a, b))

    def local(v):
        return conv(v, kernel, 1, "valid", "channels_last")

    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    ma, mb = local(a), local(b)
    va, vb = subtract(local(square(a)), square(ma)), subtract(local(square(b)), square(mb))
    both = subtract(local(multiply(a, b)), multiply(ma, mb))
    top = multiply(add(multiply(multiply(ma, mb), 2.0), c1), add(multiply(both, 2.0), c2))
    bottom = multiply(add(add(square(ma), square(mb)), c1), add(add(va, vb), c2))
    y = mean(reshape(mean(divide(top, bottom), (1, 2, 3)), (n, c)), -1)
    return cast(squeeze(y, 0) if as_tensor(image1).ndim == 3 else y, dtype)
