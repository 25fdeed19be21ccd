"""Settings of the whole process: default float type and fuzz factor."""
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


__all__ = ["epsilon", "floatx", "set_epsilon", "set_floatx"]
