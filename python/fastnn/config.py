"""Settings of the whole process: default float type, fuzz factor, layout of images."""
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
    """The default layout of images: "channels_last" (n, h, w, c) at start."""
    return _image_data_format


def set_image_data_format(data_format):
    """Set the default layout of images to "channels_last" or "channels_first" (n, c, h, w).

    Raises:
        ValueError: `data_format` is neither.
    """
    global _image_data_format
    _image_data_format = standardize_data_format(data_format, "set_image_data_format")


def standardize_data_format(data_format, op="data_format"):
    """`data_format` if it is "channels_last" or "channels_first"; the default for None.

    Raises:
        ValueError: it is anything else.
    """
    if data_format is None:
        return _image_data_format
    name = str(data_format).lower()
    if name not in ("channels_last", "channels_first"):
        raise ValueError(f"[{op}] data_format must be 'channels_last' or 'channels_first'. "
                         f"Received: data_format={data_format!r}")
    return name


def backend():
    """The name of the library that computes: "fastnn"."""
    return "fastnn"


def __getattr__(name):
    if name in ("dtype_policy", "set_dtype_policy"):
        from . import dtype_policies

        return getattr(dtype_policies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["backend", "dtype_policy", "epsilon", "floatx", "image_data_format", "set_dtype_policy", "set_epsilon",
           "set_floatx", "set_image_data_format", "standardize_data_format"]
