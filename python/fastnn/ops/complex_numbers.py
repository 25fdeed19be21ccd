"""Complex numbers: pairs of real tensors, and what ops do with them.

An op that meets complex numbers among its arguments, be they a ComplexTensor, a NumPy array or a Python number, is looked
up in a table here; each entry is written with ops of the real and imaginary parts, so gradients, symbolic tensors and
devices come with them.
"""

import numpy as np

from ..symbolic import KerasTensor, set_complex
from ..tensor import ComplexArgument, Tensor, Variable, as_tensor, convert_to_tensor
from . import elementwise as e
from . import long_tail
from .array import cast, expand_dims, moveaxis, reshape, squeeze, swapaxes, transpose
from .joining import concatenate, stack
from .matmul import matmul
from .reduction import mean
from .reduction import sum as sum_

__all__ = ["polar", "view_as_complex", "view_as_real"]


class ComplexTensor:
    """Complex numbers as two tensors, ``real`` and ``imag``, of one shape and float dtype. They may be symbolic."""

    is_complex_pair = True
    __array_ufunc__ = None  # NumPy leaves operators to this class
    __hash__ = object.__hash__

    def __init__(self, real, imag):
        self.real, self.imag = real, imag

    shape = property(lambda self: self.real.shape)
    ndim = property(lambda self: self.real.ndim)
    size = property(lambda self: self.real.size)
    device = property(lambda self: self.real.device)
    dtype = property(lambda self: "complex128" if self.real.dtype == "float64" else "complex64")

    def numpy(self):
        """The numbers as a NumPy array."""
        y = np.empty(self.shape, self.dtype)
        y.real, y.imag = np.asarray(self.real), np.asarray(self.imag)
        return y

    def __array__(self, dtype=None, copy=None):
        return self.numpy().astype(dtype or self.dtype, copy=False)

    def __repr__(self):
        if isinstance(self.real, KerasTensor):
            return f"<ComplexTensor shape={self.shape}, dtype={self.dtype}>"
        return f"<ComplexTensor shape={self.shape}, dtype={self.dtype}, values={self.numpy()}>"

    def __len__(self):
        return len(self.real)

    def __getitem__(self, key):
        return ComplexTensor(self.real[key], self.imag[key])


def _is_complex(x):
    if isinstance(x, (list, tuple)):
        return any(_is_complex(v) for v in x)
    return isinstance(x, (ComplexTensor, complex, np.complexfloating)) or (isinstance(x, np.ndarray) and x.dtype.kind == "c")


def to_complex(x):
    """``x``, complex or real, as a ComplexTensor."""
    if isinstance(x, ComplexTensor):
        return x
    if isinstance(x, (Tensor, KerasTensor, Variable)) or not _is_complex(x):
        real = as_tensor(x) if not isinstance(x, KerasTensor) else x
        real = real if real.dtype in ("float32", "float64") else cast(real, "float32")
        return ComplexTensor(real, e.multiply(real, 0.0))
    if isinstance(x, (list, tuple)) and any(isinstance(v, ComplexTensor) for v in x):
        return _COMPLEX["stack"](x)
    array = np.asarray(x)
    part = "float64" if array.dtype == np.complex128 and not isinstance(x, (complex, list, tuple)) else "float32"
    return ComplexTensor(convert_to_tensor(array.real.astype(part)), convert_to_tensor(array.imag.astype(part)))


# ---- what ops do ----

def _parts(f):
    """An op that treats each part for itself."""
    def apply(x, *args, **kwargs):
        x = to_complex(x)
        return ComplexTensor(f(x.real, *args, **kwargs), f(x.imag, *args, **kwargs))

    return apply


def _joined(f):
    def apply(xs, *args, **kwargs):
        xs = [to_complex(x) for x in xs]
        return ComplexTensor(f([x.real for x in xs], *args, **kwargs), f([x.imag for x in xs], *args, **kwargs))

    return apply


def _bilinear(f):
    """The product by ``f``: linear in each of its arguments."""
    def apply(a, b, *args, **kwargs):
        a, b = to_complex(a), to_complex(b)
        return ComplexTensor(e.subtract(f(a.real, b.real, *args, **kwargs), f(a.imag, b.imag, *args, **kwargs)),
                             e.add(f(a.real, b.imag, *args, **kwargs), f(a.imag, b.real, *args, **kwargs)))

    return apply


def _both(f):
    def apply(a, b):
        a, b = to_complex(a), to_complex(b)
        return ComplexTensor(f(a.real, b.real), f(a.imag, b.imag))

    return apply


def _divide(a, b):
    a, b = to_complex(a), to_complex(b)
    norm = e.add(e.square(b.real), e.square(b.imag))
    product = _multiply(a, _conj(b))
    return ComplexTensor(e.divide(product.real, norm), e.divide(product.imag, norm))


def _absolute(x):
    x = to_complex(x)
    return long_tail.hypot(x.real, x.imag)


def _conj(x):
    x = to_complex(x)
    return ComplexTensor(x.real, e.negative(x.imag))


def _exp(x):
    x = to_complex(x)
    return polar(e.exp(x.real), x.imag)


def _log(x):
    return ComplexTensor(e.log(_absolute(x)), _angle(x))


def _angle(x):
    x = to_complex(x)
    return long_tail.arctan2(x.imag, x.real)


def _sqrt(x):
    return polar(e.sqrt(_absolute(x)), e.multiply(_angle(x), 0.5))


def _same(a, b):
    a, b = to_complex(a), to_complex(b)
    return long_tail.logical_and(e.equal(a.real, b.real), e.equal(a.imag, b.imag))


def _cast(x, dtype):
    x = to_complex(x)
    if str(dtype) in ("complex64", "complex128"):
        part = "float32" if str(dtype) == "complex64" else "float64"
        return ComplexTensor(cast(x.real, part), cast(x.imag, part))
    return cast(x.real, dtype)  # the imaginary part is dropped, as NumPy does


_multiply = _bilinear(e.multiply)
_COMPLEX = {
    "real": lambda x: to_complex(x).real, "imag": lambda x: to_complex(x).imag, "abs": _absolute, "absolute": _absolute,
    "angle": _angle, "conj": _conj, "conjugate": _conj, "isreal": lambda x: e.equal(to_complex(x).imag, 0.0),
    "add": _both(e.add), "subtract": _both(e.subtract), "multiply": _multiply, "divide": _divide, "true_divide": _divide,
    "negative": _parts(e.negative), "square": lambda x: _multiply(x, x), "reciprocal": lambda x: _divide(1.0, x),
    "exp": _exp, "log": _log, "sqrt": _sqrt, "equal": _same, "not_equal": lambda a, b: long_tail.logical_not(_same(a, b)),
    "matmul": _bilinear(matmul), "sum": _parts(sum_), "mean": _parts(mean), "cast": _cast,
    "reshape": _parts(reshape), "transpose": _parts(transpose), "expand_dims": _parts(expand_dims),
    "squeeze": _parts(squeeze), "moveaxis": _parts(moveaxis), "swapaxes": _parts(swapaxes),
    "stack": _joined(stack), "concatenate": _joined(concatenate),
    "isnan": lambda x: long_tail.isnan(_absolute(x)), "isfinite": lambda x: long_tail.isfinite(_absolute(x)),
}


def _call(name, args, kwargs):
    """The result of the op ``name``; NotImplemented if none of its arguments is complex."""
    if not any(_is_complex(v) for v in (*args, *kwargs.values())):
        return NotImplemented
    if name not in _COMPLEX:
        raise ComplexArgument(f"[{name}] arguments must be real: there are complex results of {', '.join(sorted(_COMPLEX))}. "
                              "Received: complex numbers")
    return _COMPLEX[name](*args, **kwargs)


set_complex(_call)


# ---- ops of Keras's names ----

def polar(abs_, angle):
    """The complex numbers with the given absolute values and angles.

    Args:
        abs_: tensor of floats; absolute values.
        angle: tensor of floats that broadcasts with ``abs_``; radians.

    Returns:
        ComplexTensor with the parts ``abs_ * cos(angle)`` and ``abs_ * sin(angle)``.
    """
    return ComplexTensor(e.multiply(abs_, e.cos(angle)), e.multiply(abs_, e.sin(angle)))


def view_as_complex(x):
    """The complex numbers whose real and imaginary parts lie along the last axis of ``x``.

    Args:
        x: tensor (..., 2).

    Returns:
        ComplexTensor (...,) of dtype complex64.

    Raises:
        ValueError: the last axis does not have two values.
    """
    x = x if isinstance(x, KerasTensor) else as_tensor(x)
    if not x.shape or x.shape[-1] != 2:
        raise ValueError("[view_as_complex] Last dimension of input must be size 2 (real and imaginary). "
                         f"Received: x.shape={x.shape}")
    x = cast(x, "float32")
    return ComplexTensor(x[..., 0], x[..., 1])


def view_as_real(x):
    """The real and imaginary parts of ``x``, along a new last axis.

    Args:
        x: ComplexTensor, NumPy array or number, (...); of real numbers the imaginary part is zero.

    Returns:
        Tensor (..., 2), float32, or float64 for complex128.
    """
    x = to_complex(x)
    return stack([x.real, x.imag], -1)


def _install():
    def reflected(f):
        return lambda self, other: f(other, self)

    for name, f in {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "matmul": "matmul"}.items():
        setattr(ComplexTensor, f"__{name}__", _COMPLEX[f])
        setattr(ComplexTensor, f"__r{name}__", reflected(_COMPLEX[f]))
    for name, f in {"neg": "negative", "abs": "abs", "eq": "equal", "ne": "not_equal"}.items():
        setattr(ComplexTensor, f"__{name}__", _COMPLEX[f])
    ComplexTensor.conj = ComplexTensor.conjugate = _conj


_install()
