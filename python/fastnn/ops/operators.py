"""Operators of Tensor, Variable and KerasTensor: ``x + y`` is ``add(x, y)`` and so on."""

from .. import _core
from .._core import Tensor
from ..symbolic import KerasTensor
from ..tensor import Variable
from . import elementwise as e
from . import long_tail as t


def _reflected(f):
    return lambda self, other: f(other, self)


def _comparison(f):
    """Comparing with None or a string asks for identity, which Python does when it is told NotImplemented."""
    return lambda self, other: NotImplemented if other is None or isinstance(other, str) else f(self, other)


def _round(self, decimals=0):
    return e.round(self, decimals or 0)


def _matmul(a, b):
    from . import matmul

    return matmul(a, b)


_ARITHMETIC = {
    "add": e.add, "sub": e.subtract, "mul": e.multiply, "truediv": e.divide, "floordiv": t.floor_divide, "mod": t.mod,
    "pow": e.power, "matmul": _matmul, "and": t.bitwise_and, "or": t.bitwise_or, "xor": t.bitwise_xor,
    "lshift": t.left_shift, "rshift": t.right_shift,
}
_COMPARISONS = {"lt": e.less, "le": e.less_equal, "gt": e.greater, "ge": e.greater_equal}
_EQUALITY = {"eq": e.equal, "ne": e.not_equal}
_UNARY = {"neg": e.negative, "abs": e.abs, "invert": t.bitwise_not, "pos": lambda self: self}


def _install():
    # Tensor's operators call kernels directly, and these functions where they cannot.
    _core.set_operators({**_ARITHMETIC, **_COMPARISONS, **_EQUALITY, **_UNARY})
    Tensor.__round__ = _round
    for cls in (Variable, KerasTensor):
        for name, f in _ARITHMETIC.items():
            setattr(cls, f"__{name}__", f if name != "matmul" else _matmul)
            setattr(cls, f"__r{name}__", _reflected(f))
        for name, f in _COMPARISONS.items():
            setattr(cls, f"__{name}__", f)
        for name, f in _UNARY.items():
            setattr(cls, f"__{name}__", f)
        cls.__round__ = _round
        # symbolic tensors are compared by identity: they are keys of graphs
        if cls is not KerasTensor:
            for name, f in _EQUALITY.items():
                setattr(cls, f"__{name}__", _comparison(f))
            cls.__hash__ = object.__hash__


_install()
