"""Settings of the whole process: default float type, fuzz factor and image layout."""
from .dtypes import floatx, set_floatx

_epsilon = 1e-7


def epsilon():
    """The small number that keeps divisions and logarithms finite; 1e-7 at start."""
    return _epsilon


def set_epsilon(value):
    """Set the number that `epsilon` returns.

    Raises:
        ValueError: `value` is not a positive number.
    """
    global _epsilon
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"[set_epsilon] value must be a positive number. Received: value={value!r}")
    _epsilon = float(value)


_image_data_format = "channels_last"


def image_data_format():
    """Where layers and ops expect the channels when they are not told: "channels_last" at start."""
    return _image_data_format


def set_image_data_format(data_format):
    """Set what `image_data_format` returns: "channels_last" or "channels_first"."""
    global _image_data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError("[set_image_data_format] data_format must be 'channels_last' or 'channels_first'. "
                         f"Received: data_format={data_format!r}")
    _image_data_format = str(data_format)


__all__ = ["epsilon", "floatx", "image_data_format", "set_epsilon", "set_floatx", "set_image_data_format"]
