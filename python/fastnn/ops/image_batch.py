"""One form for all images: (n, h, w, c)."""

from ..config import standardize_data_format
from ..tensor import as_tensor
from .array import expand_dims, moveaxis, squeeze


def to_batch(name, images, data_format, ranks=(3, 4)):
    """The images as (n, h, w, c), and the function that gives a result of that form the form of the argument."""
    x = as_tensor(images)
    first = standardize_data_format(data_format, name) == "channels_first"
    if x.ndim not in ranks:
        raise ValueError(f"[{name}] Invalid images rank: expected rank 3 (single image) or rank 4 (batch of images). "
                         f"Received: images.shape={x.shape}")
    single = x.ndim == ranks[0]
    x = expand_dims(x, 0) if single else x
    x = moveaxis(x, 1, -1) if first else x

    def back(y):
        y = moveaxis(y, -1, 1) if first else y
        return squeeze(y, 0) if single else y

    return x, back
