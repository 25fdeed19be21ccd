"""Arithmetic, comparisons and elementary functions with NumPy's broadcasting and Keras's promotion.

float32 goes to the kernels of csrc/cpu/binary.cpp and unary.cpp, every other dtype to NumPy. Python
numbers are weak: they take the dtype of the tensor beside them.
"""

import math

import numpy as np

from .. import _core, dtypes
from .._core import Tensor, record, recording
from ..symbolic import op
from ..tensor import as_tensor
from .numpy_op import elementwise_numpy, float_dtype, named, operands

_BINARY = _core.BINARY_OPS
_ADD, _SUBTRACT, _MULTIPLY, _DIVIDE = (_BINARY[n] for n in ("add", "subtract", "multiply", "divide"))
_MAXIMUM, _MINIMUM, _POWER = (_BINARY[n] for n in ("maximum", "minimum", "power"))


# ---- helpers ----


def cast(x, dtype):
    from . import cast as cast_op

    return cast_op(x, dtype)


def sum_to_shape(g, shape):
    """The sum of ``g`` over the axes along which ``shape`` was broadcast to the shape of ``g``."""
    from .reduction import sum_to_shape as f

    return f(g, shape)


def _fit(g, x):
    """The gradient of ``x`` from that of its broadcast; None where none is wanted."""
    return g if g.shape == x.shape else sum_to_shape(g, x.shape)


def wants_grad(x):
    """Whether the gradient of an argument, a tensor or a number, is wanted.

    Args:
        x: tensor of any shape and dtype.
    """
    return type(x) is Tensor and x.node is not None


def _binary_slow(code, f, x1, x2, float_result=False):
    """What ``_core.binary`` did not serve: other types are converted, other dtypes go to NumPy."""
    (x1, x2), dtype = operands(x1, x2)
    y = _core.binary(code, x1, x2)  # a variable has become a tensor
    if y is not None:
        return x1, x2, y
    if float_result:
        dtype = float_dtype(dtype)
    if type(x1) is Tensor or type(x2) is not Tensor:
        x1 = as_tensor(x1, dtype)
    if type(x2) is Tensor:
        x2 = as_tensor(x2, dtype)
    y = _core.binary(code, x1, x2)  # a number stays one beside a tensor
    if y is None:
        x1, x2 = as_tensor(x1, dtype), as_tensor(x2, dtype)
        y = elementwise_numpy(f, dtype, x1, x2)
    return x1, x2, y


def _mask(condition, x):
    """1 where ``condition`` holds, else 0, in the dtype of ``x``."""
    return cast(condition, x.dtype)


# ---- arithmetic ----


@op(kernel=_core.binary, before=(_ADD,), least=2)
def add(x1, x2):
    """``x1 + x2``, elementwise. Arguments: tensors, arrays or numbers whose shapes broadcast.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    y = _core.binary(_ADD, x1, x2)
    if y is None:
        x1, x2, y = _binary_slow(_ADD, np.add, x1, x2)
    if not recording():
        return y
    s1 = x1.shape if wants_grad(x1) else None
    s2 = x2.shape if wants_grad(x2) else None

    def vjp(gy):
        shape = gy.shape
        return (None if s1 is None else gy if s1 == shape else sum_to_shape(gy, s1),
                None if s2 is None else gy if s2 == shape else sum_to_shape(gy, s2))

    return record(y, (x1, x2), vjp)


@op(kernel=_core.binary, before=(_SUBTRACT,), least=2)
def subtract(x1, x2):
    """``x1 - x2``, elementwise.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    y = _core.binary(_SUBTRACT, x1, x2)
    if y is None:
        x1, x2, y = _binary_slow(_SUBTRACT, np.subtract, x1, x2)
    if not recording():
        return y
    s1 = x1.shape if wants_grad(x1) else None
    s2 = x2.shape if wants_grad(x2) else None

    def vjp(gy):
        shape = gy.shape
        return (None if s1 is None else gy if s1 == shape else sum_to_shape(gy, s1),
                None if s2 is None else negative(gy if s2 == shape else sum_to_shape(gy, s2)))

    return record(y, (x1, x2), vjp)


@op(kernel=_core.binary, before=(_MULTIPLY,), least=2)
def multiply(x1, x2):
    """``x1 * x2``, elementwise.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    y = _core.binary(_MULTIPLY, x1, x2)
    if y is None:
        x1, x2, y = _binary_slow(_MULTIPLY, np.multiply, x1, x2)
    if not recording():
        return y
    return record(y, (x1, x2), lambda gy: (_fit(multiply(gy, x2), x1) if wants_grad(x1) else None,
                                           _fit(multiply(gy, x1), x2) if wants_grad(x2) else None))


@op(kernel=_core.binary, before=(_DIVIDE,), least=2)
def divide(x1, x2):
    """``x1 / x2``, elementwise; integers give floats.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    y = _core.binary(_DIVIDE, x1, x2)
    if y is None:
        x1, x2, y = _binary_slow(_DIVIDE, np.divide, x1, x2, float_result=True)
    if not recording():
        return y
    # d(x1 / x2) / dx2 = -y / x2
    return record(y, (x1, x2), lambda gy: (_fit(divide(gy, x2), x1) if wants_grad(x1) else None,
                                           _fit(negative(divide(multiply(gy, y), x2)), x2) if wants_grad(x2) else None))


true_divide = divide


def _extremum(code, f, first, x1, x2):
    y = _core.binary(code, x1, x2)
    if y is None:
        x1, x2, y = _binary_slow(code, f, x1, x2)
    if not recording():
        return y

    def vjp(gy):
        taken = _mask(first(x1, x2), gy)  # a tie goes to x1
        g1 = multiply(gy, taken)
        return (_fit(g1, x1) if wants_grad(x1) else None, _fit(subtract(gy, g1), x2) if wants_grad(x2) else None)

    return record(y, (x1, x2), vjp)


@op(kernel=_core.binary, before=(_MAXIMUM,), least=2)
def maximum(x1, x2):
    """The larger of ``x1`` and ``x2``, elementwise; NaN if either is NaN. A tie's gradient goes to ``x1``.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    return _extremum(_MAXIMUM, np.maximum, greater_equal, x1, x2)


@op(kernel=_core.binary, before=(_MINIMUM,), least=2)
def minimum(x1, x2):
    """The smaller of ``x1`` and ``x2``, elementwise; NaN if either is NaN. A tie's gradient goes to ``x1``.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    return _extremum(_MINIMUM, np.minimum, less_equal, x1, x2)


@op(kernel=_core.binary, before=(_POWER,), least=2)
def power(x1, x2):
    """``x1`` to the power of ``x2``, elementwise.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    y = _core.binary(_POWER, x1, x2)
    if y is None:
        x1, x2, y = _binary_slow(_POWER, _numpy_power, x1, x2)
    if not recording():
        return y

    def vjp(gy):
        g1 = g2 = None
        if wants_grad(x1):
            if type(x2) is Tensor:  # 0 where x2 = 0, also at x1 = 0
                slope = multiply(x2, power(x1, where(equal(x2, 0), 1.0, subtract(x2, 1))))
            else:
                slope = multiply(x1, 2) if x2 == 2 else multiply(x2, power(x1, x2 - 1 if x2 else 1))
            g1 = _fit(multiply(gy, slope), x1)
        if wants_grad(x2):
            base = as_tensor(x1, gy.dtype)
            g2 = _fit(multiply(multiply(gy, y), log(where(greater(base, 0), base, 1.0))), x2)
        return g1, g2

    return record(y, (x1, x2), vjp)


def _numpy_power(a, b):
    if np.asarray(a).dtype.kind in "iu" and (np.asarray(b) < 0).any():
        raise ValueError("[power] integers must not be raised to negative powers; cast to a float type")
    return np.power(a, b)


@op
def add_n(xs):
    """The sum of tensors of one shape, in one pass over memory.

    Args:
        xs: a non-empty list of float tensors of one shape.
    """
    xs = tuple([as_tensor(x) for x in xs])
    if not xs:
        raise ValueError("[add_n] at least one tensor must be given. Received: none")
    if any(x.dtype != "float32" for x in xs):
        total = xs[0]
        for x in xs[1:]:
            total = add(total, x)
        return total
    return record(_core.add_n(list(xs)), xs, lambda gy: (gy,) * len(xs))


# ---- comparisons ----


def _comparison(name, f, doc):
    code = _core.COMPARE_OPS[name]

    def compare(x1, x2):
        y = _core.compare(code, x1, x2)
        if y is None:
            (x1, x2), dtype = operands(x1, x2)
            if dtype == "float32":
                return _core.compare(code, as_tensor(x1, dtype), as_tensor(x2, dtype))
            if dtype in ("float16", "bfloat16"):
                x1, x2 = as_tensor(x1, dtype), as_tensor(x2, dtype)
            # else as they are: NumPy compares signed with unsigned integers by value
            y = elementwise_numpy(f, "bool", x1, x2)
        return y

    return op(named(compare, name, f"``x1 {doc} x2``, elementwise.", "Bool tensor of the shape that both broadcast to.",
                    x1="tensor or number of any dtype.", x2="the same; the shapes broadcast."), _core.compare, (code,), 2)


equal = _comparison("equal", np.equal, "==")
not_equal = _comparison("not_equal", np.not_equal, "!=")
less = _comparison("less", np.less, "<")
less_equal = _comparison("less_equal", np.less_equal, "<=")
greater = _comparison("greater", np.greater, ">")
greater_equal = _comparison("greater_equal", np.greater_equal, ">=")


@op
def where(condition, x1=None, x2=None):
    """``x1`` where ``condition`` holds, else ``x2``, elementwise.

    Args:
        condition: tensor; not bool: it holds where it is not zero.
        x1, x2: tensors or numbers that broadcast with ``condition``; with neither, the indices where
            ``condition`` holds are returned, one tensor per axis.
    """
    if x1 is None and x2 is None:
        from .sorting import nonzero

        return nonzero(condition)
    if x1 is None or x2 is None:
        raise ValueError("[where] x1 and x2 must be given together. Received: one of them None")
    condition = as_tensor(condition)
    if condition.dtype != "bool":
        condition = not_equal(condition, 0)
    (x1, x2), dtype = operands(x1, x2)
    x1, x2 = as_tensor(x1, dtype), as_tensor(x2, dtype)
    if dtype == "float32":
        y = _core.where(condition, x1, x2)
    else:
        y = elementwise_numpy(np.where, dtype, condition, x1, x2)

    def vjp(gy):
        return (None, _fit(where(condition, gy, 0.0), x1) if wants_grad(x1) else None,
                _fit(where(condition, 0.0, gy), x2) if wants_grad(x2) else None)

    return record(y, (condition, x1, x2), vjp)


# ---- elementary functions ----


def unary_slow(code, f, keeps_integers, x, p=0.0, q=0.0):
    """What ``_core.unary`` did not serve: x as a tensor of the dtype that f is computed in, and f(x)."""
    x = as_tensor(x)
    if x.dtype == "bool" and keeps_integers in ("bool", "int32"):
        if keeps_integers == "bool":
            return x, x
        x = cast(x, keeps_integers)
    if x.dtype not in dtypes.FLOAT_DTYPES and not (keeps_integers and x.dtype != "bool"):
        x = cast(x, float_dtype(x.dtype))
    if x.dtype in ("float16", "bfloat16"):  # more exact than NumPy, which rounds every step
        return x, cast(_core.unary(code, cast(x, "float32"), p, q), x.dtype)
    y = _core.unary(code, x, p, q)
    return x, elementwise_numpy(lambda a: f(a, p, q), x.dtype, x) if y is None else y


def unary_grad(code, gy, v, derivative, p=0.0, q=0.0):
    """gy f'(v): by the fused kernel, or by ops where the gradient itself is being recorded."""
    if not (recording() and (gy.node is not None or v.node is not None)):
        gx = _core.unary_backward(code, gy, v, p, q)
        if gx is not None:
            return gx
    return multiply(gy, derivative(v, p, q))


def unary(name, saves, derivative, f, doc, keeps_integers=False):
    """A function of one tensor from a kernel of csrc/cpu/unary.cpp.

    Args:
        saves: "x" or "y": what its derivative is written in, and so what its gradient keeps; None for
            a function that is constant almost everywhere, through which no gradient passes.
        derivative: (v, p, q) -> f'(v) in ops.
        f: (array, p, q) -> f(array) in NumPy, for dtypes without a kernel.
        keeps_integers: integers give integers; otherwise they are converted to float. bool is, too, unless this is "bool",
            where its values stay as they are, or "int32", what they become.
    """
    code = _core.UNARY_OPS[name]

    if saves == "y":
        def function(x):
            y = _core.unary(code, x)
            if y is None:
                x, y = unary_slow(code, f, keeps_integers, x)
            if not recording():
                return y
            return record(y, (x,), lambda gy: (unary_grad(code, gy, y, derivative),))
    elif saves == "x":
        def function(x):
            y = _core.unary(code, x)
            if y is None:
                x, y = unary_slow(code, f, keeps_integers, x)
            if not recording():
                return y
            return record(y, (x,), lambda gy: (unary_grad(code, gy, x, derivative),))
    else:
        def function(x):
            y = _core.unary(code, x)
            return unary_slow(code, f, keeps_integers, x)[1] if y is None else y

    if doc is not None:  # else a part of another function
        kinds = "floats or integers" if keeps_integers else "floats; integers are converted to floatx"
        named(function, name, doc, "Tensor of the shape and dtype of ``x``, as converted.", x=f"tensor of any shape, {kinds}.")
    return op(function, _core.unary, (code,), 1)


_NEGATIVE = _core.UNARY_OPS["negative"]


@op(kernel=_core.unary, before=(_NEGATIVE,), least=1)
def negative(x):
    """``-x``, elementwise.

    Args:
        x: tensor of any shape and dtype.
    """
    y = _core.unary(_NEGATIVE, x)
    if y is None:
        x, y = unary_slow(_NEGATIVE, lambda a, p, q: np.negative(a), True, x)
    return record(y, (x,), lambda gy: (negative(gy),))


_LN2 = math.log(2)

sign = unary("sign", None, None, lambda x, p, q: np.sign(x), "-1, 0 or 1 by the sign of ``x``; NaN stays.", True)
floor = unary("floor", None, None, lambda x, p, q: np.floor(x), "The largest integer not above ``x``, as a float.")
ceil = unary("ceil", None, None, lambda x, p, q: np.ceil(x), "The smallest integer not below ``x``, as a float.")
trunc = unary("trunc", None, None, lambda x, p, q: np.trunc(x), "``x`` without its fraction.", "bool")
abs = unary("abs", "x", lambda x, p, q: sign(x), lambda x, p, q: np.abs(x), "The absolute value of ``x``.", "bool")
absolute = abs
square = unary("square", "x", lambda x, p, q: multiply(x, 2), lambda x, p, q: np.square(x), "``x * x``.", "int32")
sqrt = unary("sqrt", "y", lambda y, p, q: divide(0.5, y), lambda x, p, q: np.sqrt(x),
             "The square root of ``x``; NaN for negative values.")
rsqrt = unary("rsqrt", "y", lambda y, p, q: multiply(multiply(y, -0.5), square(y)), lambda x, p, q: 1 / np.sqrt(x),
              "``1 / sqrt(x)``.")
reciprocal = unary("reciprocal", "y", lambda y, p, q: negative(square(y)), lambda x, p, q: np.reciprocal(x), "``1 / x``.")
exp = unary("exp", "y", lambda y, p, q: y, lambda x, p, q: np.exp(x), "e to the power of ``x``.")
expm1 = unary("expm1", "y", lambda y, p, q: add(y, 1), lambda x, p, q: np.expm1(x),
              "``exp(x) - 1``, exact also for small ``x``.")
log = unary("log", "x", lambda x, p, q: reciprocal(x), lambda x, p, q: np.log(x), "The natural logarithm of ``x``.")
log1p = unary("log1p", "x", lambda x, p, q: reciprocal(add(x, 1)), lambda x, p, q: np.log1p(x),
              "``log(1 + x)``, exact also for small ``x``.")
log2 = unary("log2", "x", lambda x, p, q: divide(1 / _LN2, x), lambda x, p, q: np.log2(x),
             "The logarithm of ``x`` to base 2.")
sin = unary("sin", "x", lambda x, p, q: cos(x), lambda x, p, q: np.sin(x), "The sine of ``x``, in radians.")
cos = unary("cos", "x", lambda x, p, q: negative(sin(x)), lambda x, p, q: np.cos(x), "The cosine of ``x``, in radians.")
tan = unary("tan", "y", lambda y, p, q: add(square(y), 1), lambda x, p, q: np.tan(x), "The tangent of ``x``, in radians.")
tanh = unary("tanh", "y", lambda y, p, q: subtract(1, square(y)), lambda x, p, q: np.tanh(x),
             "The hyperbolic tangent of ``x``.")
erf = unary("erf", "x", lambda x, p, q: multiply(exp(negative(square(x))), 2 / math.sqrt(math.pi)),
            lambda x, p, q: np.vectorize(math.erf, otypes=[x.dtype])(x),
            "The error function, ``2 / sqrt(pi) * integral of exp(-t^2) from 0 to x``.")


@op
def round(x, decimals=0):
    """``x`` rounded to ``decimals`` digits after the point, halves to the even neighbour.

    Args:
        x: tensor of any shape and dtype.
        decimals: int; may be negative.
    """
    y = _core.unary(_core.UNARY_OPS["round"], x) if decimals == 0 else None
    if y is not None:
        return y
    x = as_tensor(x)
    if decimals >= 0 and x.dtype not in dtypes.FLOAT_DTYPES:
        return x
    # in double, so that scaling by a power of ten does not round
    wide = np.float64 if x.dtype in dtypes.FLOAT_DTYPES else None
    return elementwise_numpy(lambda a: np.round(a.astype(wide) if wide else a, decimals), x.dtype, x)


@op
def clip(x, x_min, x_max):
    """``x`` limited to the interval from ``x_min`` to ``x_max``: numbers, tensors, or None for no limit.

    Args:
        x: tensor of any shape and dtype.
        x_min: number, tensor or None.
        x_max: number, tensor or None.
    """
    low = -math.inf if x_min is None else x_min
    high = math.inf if x_max is None else x_max
    if type(low) not in (int, float) or type(high) not in (int, float):
        return minimum(maximum(x, low), high)
    y = _core.unary(_CLIP, x, low, high)
    if y is None:
        x = as_tensor(x)
        dtype = dtypes.result_type(x.dtype, *[type(v) for v in (x_min, x_max) if v is not None])
        if dtype == "bool":
            dtype = "int32"
        x = as_tensor(x, dtype)
        if dtype in dtypes.FLOAT_DTYPES:
            x, y = unary_slow(_CLIP, lambda a, p, q: np.clip(a, p, q), False, x, low, high)
        else:
            y = elementwise_numpy(lambda a: np.clip(a, x_min, x_max), dtype, x)
    return record(y, (x,), lambda gy: (unary_grad(_CLIP, gy, x, _clip_derivative, low, high),))


def _clip_derivative(x, low, high):
    return multiply(_mask(greater_equal(x, low), x), _mask(less_equal(x, high), x))


_CLIP = _core.UNARY_OPS["clip"]

__all__ = [
    "add", "subtract", "multiply", "divide", "true_divide", "maximum", "minimum", "power", "add_n", "equal",
    "not_equal", "less", "less_equal", "greater", "greater_equal", "where", "negative", "sign", "floor", "ceil",
    "trunc", "abs", "absolute", "square", "sqrt", "rsqrt", "reciprocal", "exp", "expm1", "log", "log1p", "log2",
    "sin", "cos", "tan", "tanh", "erf", "round", "clip",
]
