"""`keras.backend`: settings and small helpers under their old names."""
from . import dtypes
from .config import backend, epsilon, image_data_format, set_epsilon, set_image_data_format
from .dtypes import FLOAT_DTYPES, floatx, result_type, set_floatx
from .symbolic import is_keras_tensor

_uids = {}
_COMPLEX = ("complex64", "complex128")


def standardize_dtype(dtype):
    """The canonical name of a dtype, complex ones included.

    Args:
        dtype: string, Python type, or dtype of NumPy, ml_dtypes or torch.

    Raises:
        ValueError: no dtype of fastnn has this name.
    """
    name = dtype if isinstance(dtype, str) else str(getattr(dtype, "name", None) or getattr(dtype, "__name__", dtype)).split(".")[-1]
    return name if name in _COMPLEX else dtypes.standardize_dtype(dtype)


def clear_session(free_memory=True):
    """Start the counting of names again, see `utils.clear_session`.

    Args:
        free_memory: bool; give memory back that the allocator keeps.
    """
    from .utils import clear_session

    _uids.clear()
    clear_session(free_memory)


def get_uid(prefix=""):
    """The next number, from 1, of a prefix.

    Args:
        prefix: string.
    """
    _uids[prefix] = _uids.get(prefix, 0) + 1
    return _uids[prefix]


def is_float_dtype(dtype):
    """Whether a dtype is one of floats."""
    return standardize_dtype(dtype) in FLOAT_DTYPES


def is_int_dtype(dtype):
    """Whether a dtype is one of integers, signed or not."""
    return "int" in standardize_dtype(dtype)


__all__ = ["backend", "clear_session", "epsilon", "floatx", "get_uid", "image_data_format", "is_float_dtype", "is_int_dtype",
           "is_keras_tensor", "result_type", "set_epsilon", "set_floatx", "set_image_data_format", "standardize_dtype"]
