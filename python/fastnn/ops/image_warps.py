"""Images seen from elsewhere: every pixel is read at another place. Public in `ops.image`."""

import numpy as np

from .. import _core, dtypes
from ..symbolic import op
from ..tensor import as_tensor, from_numpy
from . import sampling
from .array import cast, expand_dims, reshape
from .elementwise import add, divide, multiply, round
from .image_batch import to_batch
from .image_filters import gaussian_blur
from .joining import stack
from .numpy_op import float_dtype, numpy_op


@op
def map_coordinates(inputs, coordinates, order, fill_mode="constant", fill_value=0):
    """The values of ``inputs`` at given places.

    Args:
        inputs: tensor of rank r.
        coordinates: (r, ...): the place along each axis.
        order: 0, the nearest value, or 1, linear between the values.
        fill_mode: what lies outside: "constant", fill_value; "nearest", the value at the border; "wrap", the inputs
            again; "mirror", mirrored at the border's values; "reflect", mirrored at the border's edges.

    Returns:
        Of the shape coordinates.shape[1:] and the dtype of inputs.
    """
    x = as_tensor(inputs)
    places = coordinates if not isinstance(coordinates, (list, tuple)) else stack([as_tensor(c, "float32") for c in coordinates])
    places = as_tensor(places)
    if places.ndim < 2 or places.shape[0] != x.ndim:
        raise ValueError("[map_coordinates] First dim of `coordinates` must be the same as the rank of `inputs`, and its rank "
                         f"at least 2. Received: inputs.shape={x.shape}, coordinates.shape={places.shape}")
    if order not in (0, 1):
        raise ValueError(f"[map_coordinates] Invalid value for argument `order`. Expected one of [0, 1]. Received: order={order}")
    sampling.check_mode("map_coordinates", fill_mode)
    y = sampling.sample(cast(reshape(x, (-1,)), float_dtype(x.dtype)), x.shape, [places[i] for i in range(x.ndim)], None,
                        order, fill_mode, fill_value)
    return cast(y if x.dtype in dtypes.FLOAT_DTYPES else round(y), x.dtype)


def _grid(x):
    """The rows (h, 1) and columns (1, w) of the pixels of x."""
    h, w = x.shape[1:3]
    return from_numpy(np.arange(h, dtype="float32")[:, None]), from_numpy(np.arange(w, dtype="float32")[None])


def _at(x, rows, columns, interpolation, fill_mode, fill_value):
    """The images x (n, h, w, c) at places (n, oh, ow)."""
    n, h, w, c = x.shape
    first = reshape(from_numpy(np.arange(n, dtype="int32") * (h * w)), (n, 1, 1))
    table = cast(reshape(x, (n * h * w, c)), float_dtype(x.dtype))
    y = sampling.sample(table, (h, w), [rows, columns], first, 0 if interpolation == "nearest" else 1, fill_mode, fill_value)
    return cast(y if x.dtype in dtypes.FLOAT_DTYPES else round(y), x.dtype)


def _projected(x, t):
    """The places (n, h, w) of the pixels under transforms t (n, 8)."""
    y, x = _grid(x)
    t = reshape(t, (t.shape[0], 8, 1, 1))
    scale = add(add(multiply(t[:, 6], x), multiply(t[:, 7], y)), 1.0)
    columns = divide(add(add(multiply(t[:, 0], x), multiply(t[:, 1], y)), t[:, 2]), scale)
    rows = divide(add(add(multiply(t[:, 3], x), multiply(t[:, 4], y)), t[:, 5]), scale)
    return rows, columns


@op
def affine_transform(images, transform, interpolation="bilinear", fill_mode="constant", fill_value=0, data_format=None):
    """The image whose pixel (x, y) is that of ``images`` at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k).

    Args:
        images: (h, w, c) or (n, h, w, c).
        transform: (8,) or (n, 8): a0, a1, a2, b0, b1, b2, c0, c1, with k = c0 x + c1 y + 1.
        interpolation: "nearest" or "bilinear".
        fill_mode, fill_value: see ``map_coordinates``.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    sampling.check_interpolation("affine_transform", interpolation)
    sampling.check_mode("affine_transform", fill_mode)
    x, back = to_batch("affine_transform", images, data_format)
    t = as_tensor(transform, "float32")
    if t.ndim not in (1, 2) or t.shape[-1] != 8:
        raise ValueError("[affine_transform] Invalid transform rank: expected rank 1 (single transform) or rank 2 (batch of "
                         f"transforms), of 8 numbers. Received: transform.shape={t.shape}")
    t = expand_dims(t, 0) if t.ndim == 1 else t
    rows, columns = _projected(x, t)
    return back(_at(x, rows, columns, interpolation, fill_mode, fill_value))


def homography(start_points, end_points):
    """The eight numbers (n, 8) of the transform that takes each of four end points (n, 4, 2) to its start point."""
    def solve(start, end):
        rows = []
        for (sx, sy), (ex, ey) in zip(np.moveaxis(start, 0, -1), np.moveaxis(end, 0, -1)):
            zero, one = np.zeros_like(ex), np.ones_like(ex)
            rows.append([ex, ey, one, zero, zero, zero, -sx * ex, -sx * ey])
            rows.append([zero, zero, zero, ex, ey, one, -sy * ex, -sy * ey])
        a = np.moveaxis(np.array(rows, "float64"), -1, 0)
        b = start.reshape(len(start), 8, 1).astype("float64")
        singular = np.abs(np.linalg.det(a)) < 1e-12
        a[singular], b[singular] = np.eye(8), np.array([1, 0, 0, 0, 1, 0, 0, 0.0])[:, None]
        return np.linalg.solve(a, b)[..., 0]

    return numpy_op(solve, start_points, end_points, dtype="float32")


@op
def perspective_transform(images, start_points, end_points, interpolation="bilinear", fill_value=0, data_format=None):
    """The images seen such that four points (x, y) ``start_points`` of them appear at ``end_points``.

    Args:
        images: (h, w, c) or (n, h, w, c).
        start_points, end_points: (4, 2) or (n, 4, 2).
        interpolation: "nearest" or "bilinear".
        fill_value: of what lies outside.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    sampling.check_interpolation("perspective_transform", interpolation)
    x, back = to_batch("perspective_transform", images, data_format)
    start, end = as_tensor(start_points, "float32"), as_tensor(end_points, "float32")
    if start.shape != end.shape or start.ndim not in (2, 3) or start.shape[-2:] != (4, 2):
        raise ValueError("[perspective_transform] start_points and end_points must have the same shape, (4, 2) for a single "
                         f"image or (n, 4, 2) for a batch. Received: start_points.shape={start.shape}, "
                         f"end_points.shape={end.shape}")
    if start.ndim == 2:
        start, end = expand_dims(start, 0), expand_dims(end, 0)
    rows, columns = _projected(x, homography(start, end))
    return back(_at(x, rows, columns, interpolation, "constant", fill_value))


@op
def elastic_transform(images, alpha=20.0, sigma=5.0, interpolation="bilinear", fill_mode="reflect", fill_value=0.0,
                      seed=None, data_format=None):
    """The images with their pixels moved by smooth random distances.

    Args:
        alpha: strength. sigma: smoothness, the deviation of the blur in pixels.
        interpolation, fill_mode, fill_value: see ``affine_transform``.
        seed: int, SeedGenerator or None.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    from .. import random

    sampling.check_interpolation("elastic_transform", interpolation)
    sampling.check_mode("elastic_transform", fill_mode)
    x, back = to_batch("elastic_transform", images, data_format)
    n, h, w, _ = x.shape
    size = int(6 * float(sigma)) | 1
    noise = multiply(random.normal((n, h, w, 2), seed=seed), float(sigma)) if x.device != "meta" else _core.meta(
        (n, h, w, 2), "float32")
    moved = multiply(gaussian_blur(noise, (size, size), (sigma, sigma), "channels_last"), float(alpha))
    rows, columns = _grid(x)
    return back(_at(x, add(rows, moved[..., 1]), add(columns, moved[..., 0]), interpolation, fill_mode, fill_value))
