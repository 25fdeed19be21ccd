"""Warnings that point at the user's line."""
import sys
import warnings

_PACKAGE = __name__.split(".")[0]


def warn(message, category=UserWarning):
    """A warning at the line outside of this library that led to it, however deep the library is in its work."""
    level, frame = 2, sys._getframe(1)
    while frame is not None:
        top = frame.f_globals.get("__name__", "").split(".")[0]
        if top == _PACKAGE:
            level += 1
        elif top != "importlib":  # whose frames Python does not count
            break
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=level)
