"""`ops.numpy`: the functions of NumPy among the ops, under Keras's name for them."""
from .. import ops
from ._names import NUMPY as __all__


def __getattr__(name):
    if name in __all__:
        return getattr(ops, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
