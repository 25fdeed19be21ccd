"""The functions of keras.ops.image: colours, sizes and patches here, warps and filters from files of their own.

An image is (h, w, c), a batch (n, h, w, c); with data_format "channels_first" (c, h, w) and (n, c, h, w).
"""

import numpy as np

from .. import _core, dtypes
from ..symbolic import _SIZES, op
from ..tensor import as_tensor, from_numpy
from .array import cast, check_fits, reshape, squeeze
from .conv2d import conv
from .elementwise import abs, add, clip, divide, equal, greater, less, maximum, minimum, multiply, round, subtract, where
from .image_batch import to_batch
from .image_filters import gaussian_blur, sobel_edges, ssim
from .image_warps import affine_transform, elastic_transform, homography, map_coordinates, perspective_transform  # noqa: F401
from .indexing import take
from .joining import split, stack
from .long_tail import mod
from .matmul import _matmul, matmul
from .numpy_op import float_dtype, numpy_op
from .reduction import max as max_
from .reduction import min as min_
from .repetition import pad


def _float(name, x):
    if x.dtype not in dtypes.FLOAT_DTYPES:
        raise ValueError(f"[{name}] Invalid images dtype: expected float dtype. Received: images.dtype={x.dtype}")
    return x


# ---- colours ----

@op
def rgb_to_grayscale(images, data_format=None):
    """The luminance 0.2989 r + 0.5870 g + 0.1140 b, with one channel, in the dtype of images.

    Args:
        images: (h, w, c) or (n, h, w, c), or with the channels first.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.

    Raises:
        ValueError: there are neither 1 nor 3 channels.
    """
    x, back = to_batch("rgb_to_grayscale", images, data_format)
    if x.shape[-1] not in (1, 3):
        raise ValueError("[rgb_to_grayscale] Invalid channel size: expected 3 (RGB) or 1 (Grayscale). "
                         f"Received: images.shape={as_tensor(images).shape}")
    if x.shape[-1] == 1:
        return as_tensor(images)
    dtype = x.dtype
    x = cast(x, float_dtype(dtype))
    y = matmul(x, cast(from_numpy(np.array([[0.2989], [0.5870], [0.1140]], "float32")), x.dtype))
    return back(cast(y, dtype))


def _check_colours(name, x):
    if x.shape[-1] != 3:
        raise ValueError(f"[{name}] Input images must have 3 channels, but received images with {x.shape[-1]} channels. "
                         f"Received: images.shape={x.shape}")


@op
def rgb_to_hsv(images, data_format=None):
    """Hue, saturation and value, in [0, 1], of float images with values in [0, 1].

    Args:
        images: floats in [0, 1], (h, w, 3) or (n, h, w, 3), or with the channels first.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    x, back = to_batch("rgb_to_hsv", images, data_format)
    _float("rgb_to_hsv", x)
    _check_colours("rgb_to_hsv", x)
    epsilon = 2.0**-7 if x.dtype == "bfloat16" else float(np.finfo(x.dtype).eps)
    x = where(less(abs(x), epsilon), 0.0, x)
    r, g, b = (squeeze(v, -1) for v in split(x, 3, -1))
    value = maximum(maximum(r, g), b)
    span = subtract(value, minimum(minimum(r, g), b))
    colour, bright = greater(span, 0), greater(value, 0)
    saturation = where(bright, divide(span, where(bright, value, 1.0)), 0.0)
    norm = divide(1 / 6, where(colour, span, 1.0))
    hue = where(equal(value, g), add(multiply(norm, subtract(b, r)), 2 / 6), add(multiply(norm, subtract(r, g)), 4 / 6))
    hue = where(equal(value, r), multiply(norm, subtract(g, b)), hue)
    hue = add(where(colour, hue, 0.0), cast(less(hue, 0), hue.dtype))
    return back(stack([hue, saturation, value], -1))


@op
def hsv_to_rgb(images, data_format=None):
    """Red, green and blue of hue, saturation and value; the inverse of ``rgb_to_hsv``.

    Args:
        images: floats in [0, 1], (h, w, 3) or (n, h, w, 3), or with the channels first.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    x, back = to_batch("hsv_to_rgb", images, data_format)
    _float("hsv_to_rgb", x)
    _check_colours("hsv_to_rgb", x)
    hue, saturation, value = (squeeze(v, -1) for v in split(x, 3, -1))
    h = multiply(mod(hue, 1.0), 6.0)

    def plane(share):
        return multiply(value, add(subtract(1.0, saturation), multiply(saturation, clip(share, 0.0, 1.0))))

    red = plane(subtract(abs(subtract(h, 3.0)), 1.0))
    green = plane(subtract(2.0, abs(subtract(h, 2.0))))
    blue = plane(subtract(2.0, abs(subtract(h, 4.0))))
    return back(stack([red, green, blue], -1))


# ---- sizes ----

def _keys(x):
    y = np.where(x >= 1, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0, ((1.5 * x - 2.5) * x) * x + 1.0)
    return np.where(x >= 2, 0.0, y)


def _lanczos(radius):
    def kernel(x):
        y = np.where(x > 1e-3, radius * np.sin(np.pi * x) * np.sin(np.pi * x / radius) / np.where(
            x > 1e-3, np.pi**2 * x**2, 1), 1)
        return np.where(x > radius, 0.0, y)

    return kernel


_KERNELS = {"linear": lambda x: np.maximum(0, 1 - x), "cubic": _keys, "lanczos3": _lanczos(3.0), "lanczos5": _lanczos(5.0)}
_METHODS = {name: name.removeprefix("bi").removeprefix("tri") for name in (
    "linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "lanczos3", "lanczos5")}


def _weights(size, out, scale, translation, method, antialias):
    """(out, size) float64: output i is a weighted sum of the inputs around (i + 0.5 - translation) / scale - 0.5."""
    place = (np.arange(out) + 0.5 - translation) / scale - 0.5
    distance = np.abs(place[:, None] - np.arange(size)) / (max(1 / scale, 1.0) if antialias else 1.0)
    weights = _KERNELS[method](distance)
    total = weights.sum(1, keepdims=True)
    weights = np.where(np.abs(total) > 1000 * np.finfo("float32").eps, weights / np.where(total != 0, total, 1), 0)
    return np.where(((place >= -0.5) & (place <= size - 0.5))[:, None], weights, 0.0)


def _mix_axis(x, weights, axis):
    """Each output a weighted sum along an axis; weights (outputs, inputs)."""
    shape = x.shape
    inner = int(np.prod(shape[axis + 1:], dtype=np.int64))
    y = _matmul(cast(weights, x.dtype), reshape(x, (*shape[:axis], shape[axis], inner)))
    return reshape(y, (*shape[:axis], weights.shape[0], *shape[axis + 1:]))


def _rounded(y, x):
    """A result computed in floats, in the integer dtype of x and within its values."""
    if x.dtype in dtypes.FLOAT_DTYPES:
        return cast(y, x.dtype)
    if not x.size:
        return cast(y, x.dtype)
    return cast(clip(round(y), cast(min_(x), y.dtype), cast(max_(x), y.dtype)), x.dtype)


@op
def scale_and_translate(images, output_shape, scale, translation, spatial_dims, method, antialias=True):
    """Enlarged by ``scale`` and moved by ``translation`` along the axes ``spatial_dims``.

    Args:
        images: tensor of any rank.
        output_shape: the shape of the result.
        scale, translation: one number for each of spatial_dims.
        method: "linear", "cubic", "lanczos3" or "lanczos5" (also "bilinear", "trilinear", "bicubic", "tricubic").
        antialias: widen the filter where the image shrinks.
    """
    if method not in _METHODS:
        raise ValueError(f"[scale_and_translate] Invalid value for argument `method`. Expected of one {set(_METHODS)}. "
                         f"Received: method={method}")
    x = as_tensor(images)
    dims = [d % x.ndim for d in spatial_dims]
    scale, translation = as_tensor(scale, "float32"), as_tensor(translation, "float32")
    y = cast(x, float_dtype(x.dtype))
    for i, d in enumerate(dims):
        size, out = x.shape[d], output_shape[d]
        weights = numpy_op(lambda s, t: _weights(size, out, float(s[i]) or 1.0, float(t[i]), _METHODS[method], antialias),
                           scale, translation, dtype=y.dtype)
        y = _mix_axis(y, weights, d)
    return _rounded(y, x)


@op
def resize(images, size, interpolation="bilinear", antialias=False, crop_to_aspect_ratio=False,
           pad_to_aspect_ratio=False, fill_mode="constant", fill_value=0.0, data_format=None):
    """Images of another size, in their dtype; pixel centres are at i + 0.5.

    Args:
        images: (h, w, c) or (n, h, w, c).
        size: (height, width).
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        antialias: widen the filter where the image shrinks.
        crop_to_aspect_ratio: cut the middle with the proportions of ``size`` out first.
        pad_to_aspect_ratio: fill the images up to the proportions of ``size`` first.
        fill_mode: "constant".
        fill_value: what to fill with.
        data_format: "channels_last", "channels_first" or None, the global setting.

    Raises:
        ValueError: the rank is another one, or an argument is unknown.
    """
    if interpolation not in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        raise ValueError("[resize] Invalid value for argument `interpolation`. Expected of one ('nearest', 'bilinear', "
                         f"'bicubic', 'lanczos3', 'lanczos5'). Received: interpolation={interpolation}")
    if fill_mode != "constant":
        raise ValueError("[resize] Invalid value for argument `fill_mode`. Only `'constant'` is supported. "
                         f"Received: fill_mode={fill_mode}")
    if pad_to_aspect_ratio and crop_to_aspect_ratio:
        raise ValueError("[resize] Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`. Received: both")
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"[resize] Argument `size` must be a tuple of two elements (height, width). Received: size={size}")
    x, back = to_batch("resize", images, data_format)
    oh, ow = (int(v) for v in size)
    if oh < 1 or ow < 1:
        raise ValueError(f"[resize] `size` must have positive height and width. Received: size={size}")
    h, w = x.shape[1:3]
    check_fits("resize", x.shape[0] or 0, oh, ow, x.shape[3], itemsize=4)
    if crop_to_aspect_ratio:
        ch, cw = max(min(h, w * oh // ow), 1), max(min(w, h * ow // oh), 1)
        x = x[:, (h - ch) // 2:(h - ch) // 2 + ch, (w - cw) // 2:(w - cw) // 2 + cw]
    elif pad_to_aspect_ratio:
        # The same on both sides, so an odd rest is left out; one axis only.
        ph, pw = (max(h, w * oh // ow) - h) // 2, (max(w, h * ow // oh) - w) // 2
        pw = 0 if ph else pw
        if ph or pw:
            x = pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)), constant_values=fill_value)
    y = x
    for axis, out in ((1, oh), (2, ow)):
        n = x.shape[axis]
        if n == 0:
            raise ValueError(f"[resize] images must not be empty. Received: images.shape={x.shape}")
        if n == out:
            continue
        if interpolation == "nearest":
            y = take(y, np.floor((np.arange(out, dtype="float32") + 0.5) * n / out).astype("int32"), axis=axis)
        else:
            weights = _weights(n, out, out / n, 0.0, _METHODS[interpolation], antialias)
            y = _mix_axis(cast(y, float_dtype(y.dtype)), from_numpy(weights.astype("float32")), axis)
    return back(y if y.dtype == x.dtype else _rounded(y, x))


def _third(name, before, after, target, size, cropping):
    """(before, after) from two of before, after and the size wanted."""
    values = {f"{name[0]}": before, f"{name[1]}": after, f"target_{name[2]}": target}
    if [*values.values()].count(None) != 1:
        raise ValueError(f"[images] Must specify exactly two of {', '.join(values)}. Received: {values}")
    for key, value in values.items():
        if value is not None and value < 0:
            raise ValueError(f"[images] {key} must be >= 0. Received: {key}={value}")
    if target is not None:
        rest = (size - target) if cropping else (target - size)
        before, after = (rest - after, after) if before is None else (before, rest - before)
    if before < 0 or after < 0:
        wrong, value = (name[0], before) if before < 0 else (name[1], after)
        raise ValueError(f"[images] {wrong} must be >= 0. Received: {wrong}={value} for a size of {size}")
    return before, after


@op
def pad_images(images, top_padding=None, left_padding=None, bottom_padding=None, right_padding=None, target_height=None,
               target_width=None, data_format=None):
    """Images with zeros around them: of top, bottom and target height two are given, and so for the width.

    Args:
        images: (h, w, c) or (n, h, w, c), or with the channels first.
        top_padding: int; rows of zeros at the top.
        left_padding: int; columns of zeros at the left.
        bottom_padding: int.
        right_padding: int.
        target_height: int; rows in the end.
        target_width: int; columns in the end.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.

    Raises:
        ValueError: more or fewer are given, or a size is negative.
    """
    x, back = to_batch("pad_images", images, data_format)
    if x.device == "meta":  # of an unknown size only the target is known
        h, w = (1 if size in _SIZES and target is not None else size
                for size, target in zip(x.shape[1:3], (target_height, target_width)))
        x = _core.meta((x.shape[0], h, w, x.shape[3]), x.dtype)
    top, bottom = _third(("top_padding", "bottom_padding", "height"), top_padding, bottom_padding, target_height, x.shape[1], False)
    left, right = _third(("left_padding", "right_padding", "width"), left_padding, right_padding, target_width, x.shape[2], False)
    return back(pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))))


@op
def crop_images(images, top_cropping=None, left_cropping=None, bottom_cropping=None, right_cropping=None,
                target_height=None, target_width=None, data_format=None):
    """A part of the images: of top, bottom and target height two are given, and so for the width.

    Args:
        images: (h, w, c) or (n, h, w, c), or with the channels first.
        top_cropping: int; rows left out at the top.
        left_cropping: int; columns left out at the left.
        bottom_cropping: int.
        right_cropping: int.
        target_height: int; rows that stay.
        target_width: int; columns that stay.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.

    Raises:
        ValueError: more or fewer are given, or a size is negative.
    """
    x, back = to_batch("crop_images", images, data_format)
    h, w = x.shape[1:3]
    top, bottom = _third(("top_cropping", "bottom_cropping", "height"), top_cropping, bottom_cropping, target_height, h, True)
    left, right = _third(("left_cropping", "right_cropping", "width"), left_cropping, right_cropping, target_width, w, True)
    return back(x[:, top:h - bottom, left:w - right])


def _patches(name, x, size, strides, dilation_rate, padding, rank):
    if isinstance(size, (tuple, list)) and rank == 2 and len(size) != 2:  # a TypeError for volumes, as in Keras
        raise ValueError(f"[{name}] Invalid `size` argument. Expected a tuple of length 2 or 3. Received: size={size}")
    if not hasattr(size, "__index__") and not (isinstance(size, (tuple, list)) and len(size) == rank):
        raise TypeError(f"[{name}] Invalid `size` argument. Expected an int or a tuple of length {rank}. Received: size={size}")
    size = (size,) * rank if hasattr(size, "__index__") else tuple(size)
    strides = size if strides is None else strides
    n = int(np.prod(size)) * x.shape[-1]
    kernel = np.eye(n, dtype="float32").reshape(*size, x.shape[-1], n)
    return conv(x, cast(from_numpy(kernel), x.dtype), strides, padding, "channels_last", dilation_rate)


@op
def extract_patches(images, size, strides=None, dilation_rate=1, padding="valid", data_format=None):
    """All windows of the images as vectors: (n, rows, columns, size[0] * size[1] * c).

    Args:
        size: int or (height, width); with three sizes the images are volumes, see ``extract_patches_3d``.
        strides: int or a pair; ``size`` by default.
        dilation_rate: distance of the pixels of a window.
        padding: "valid" or "same".
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    if isinstance(size, (tuple, list)) and len(size) == 3:
        return extract_patches_3d(images, size, strides, dilation_rate, padding, data_format)
    x, back = to_batch("extract_patches", images, data_format)
    return back(_patches("extract_patches", x, size, strides, dilation_rate, padding, 2))


@op
def extract_patches_3d(volumes, size, strides=None, dilation_rate=1, padding="valid", data_format=None):
    """All windows of volumes (n, d, h, w, c) as vectors; arguments as for ``extract_patches``.

    Args:
        volumes: (d, h, w, c) or (n, d, h, w, c).
        size: int or three of them.
        strides: int or three of them; by default the size.
        dilation_rate: int or three of them.
        padding: "valid" or "same".
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    x, back = to_batch("extract_patches_3d", volumes, data_format, (4, 5))
    return back(_patches("extract_patches_3d", x, size, strides, dilation_rate, padding, 3))


__all__ = [
    "affine_transform", "crop_images", "elastic_transform", "extract_patches", "extract_patches_3d", "gaussian_blur",
    "hsv_to_rgb", "map_coordinates", "pad_images", "perspective_transform", "resize", "rgb_to_grayscale", "rgb_to_hsv",
    "scale_and_translate", "sobel_edges", "ssim",
]
