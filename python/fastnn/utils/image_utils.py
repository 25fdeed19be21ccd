"""Images as arrays: files, conversions, resizing. Pillow reads and writes the files."""
import io
import pathlib

import numpy as np

from ..config import standardize_data_format
from ..dtypes import floatx

_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}


def _pillow(name):
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(f"[{name}] needs Pillow: pip install pillow") from None
    return Image


def _interpolation(name, interpolation):
    Image = _pillow(name)
    known = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "hamming": Image.HAMMING,
             "box": Image.BOX, "lanczos": Image.LANCZOS}
    if interpolation not in known:
        raise ValueError(f"[{name}] Invalid interpolation method. Supported methods are {', '.join(known)}. "
                         f"Received: interpolation={interpolation}")
    return known[interpolation]


def array_to_img(x, data_format=None, scale=True, dtype=None):
    """A Pillow image of an array (h, w, c) with 1, 3 or 4 channels.

    Args:
        scale: move the values to 0 ... 255.
        data_format: "channels_last", "channels_first" or None, the global setting.
        dtype: of the computation, floatx by default.
        x: array (h, w, c), or (c, h, w) with the channels first.
    """
    Image = _pillow("array_to_img")
    x = np.asarray(x, dtype=dtype or floatx())
    if x.ndim != 3:
        raise ValueError(f"[array_to_img] Expected image array to have rank 3 (single image). Received: x.shape={x.shape}")
    if standardize_data_format(data_format) == "channels_first":
        x = x.transpose(1, 2, 0)
    if scale:
        x = x - x.min()
        x = x / x.max() * 255 if x.max() else x
    if x.shape[2] not in (1, 3, 4):
        raise ValueError(f"[array_to_img] Unsupported channel number: {x.shape[2]}")
    if x.shape[2] == 1:
        wide = x.max() > 255
        return Image.fromarray(x[:, :, 0].astype("int32" if wide else "uint8"), "I" if wide else "L")
    return Image.fromarray(x.astype("uint8"), "RGB" if x.shape[2] == 3 else "RGBA")


def img_to_array(img, data_format=None, dtype=None):
    """An array (h, w, c) of a Pillow image.

    Args:
        img: Pillow image.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
        dtype: string; dtype of floats, floatx by default.
    """
    x = np.asarray(img, dtype=dtype or floatx())
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3:
        raise ValueError(f"[img_to_array] Unsupported image shape: {x.shape}")
    return x.transpose(2, 0, 1) if standardize_data_format(data_format) == "channels_first" else x


def save_img(path, x, data_format=None, file_format=None, scale=True, **kwargs):
    """Write an array as an image file; the format is that of the name's ending, or file_format.

    Args:
        path: path of the file.
        x: array (h, w, c).
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
        file_format: string such as "png", or None.
        scale: bool; bring the values to [0, 255].
    """
    img = array_to_img(x, data_format=data_format, scale=scale)
    file_format = "jpeg" if str(file_format).lower() == "jpg" else file_format
    if img.mode == "RGBA" and (file_format or str(path).rsplit(".", 1)[-1]).lower() in ("jpeg", "jpg"):
        img = img.convert("RGB")
    img.save(path, format=file_format, **kwargs)


def load_img(path, color_mode="rgb", target_size=None, interpolation="nearest", keep_aspect_ratio=False):
    """A Pillow image of a file.

    Args:
        path: a path, or io.BytesIO.
        color_mode: "grayscale", "rgb" or "rgba".
        target_size: (height, width), resized to. interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or
            "hamming".
        keep_aspect_ratio: cut the middle with the proportions of target_size out first.
    """
    Image = _pillow("load_img")
    if isinstance(path, io.BytesIO):
        img = Image.open(path)
    elif isinstance(path, (pathlib.Path, bytes, str)):
        path = path.decode() if isinstance(path, bytes) else path
        with open(path, "rb") as f:
            img = Image.open(io.BytesIO(f.read()))
    else:
        raise TypeError(f"[load_img] path should be path-like or io.BytesIO, not {type(path)}")
    if color_mode not in _MODES:
        raise ValueError('[load_img] color_mode must be "grayscale", "rgb", or "rgba". '
                         f"Received: color_mode={color_mode}")
    if not (color_mode == "grayscale" and img.mode in ("L", "I;16", "I")) and img.mode != _MODES[color_mode]:
        img = img.convert(_MODES[color_mode])
    if target_size is None:
        return img
    height, width = target_size
    if img.size == (width, height):
        return img
    method = _interpolation("load_img", interpolation)
    box = None
    if keep_aspect_ratio:
        w, h = img.size
        ch, cw = max(min(h, w * height // width), 1), max(min(w, h * width // height), 1)
        box = ((w - cw) // 2, (h - ch) // 2, (w - cw) // 2 + cw, (h - ch) // 2 + ch)
    return img.resize((width, height), method, box=box)


def smart_resize(x, size, interpolation="bilinear", data_format="channels_last", backend_module=None):
    """Images resized to (height, width) without distortion: the middle of the right proportions is cut out.

    Args:
        x: (h, w, c) or (n, h, w, c). size: (height, width). interpolation: see `ops.image.resize`.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
        backend_module: accepted for Keras's sake.
    """
    from ..ops import image
    from ..tensor import Tensor

    if len(size) != 2:
        raise ValueError(f"[smart_resize] Expected `size` to be a tuple of 2 integers. Received: size={size}")
    given = not isinstance(x, Tensor)
    y = image.resize(np.asarray(x, "float32") if given else x, tuple(size), interpolation, crop_to_aspect_ratio=True,
                     data_format=data_format)
    return np.array(y) if given else y
