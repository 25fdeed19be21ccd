"""Elementwise functions of keras.ops that have no kernel: NumPy computes them.

Those that are differentiable have their gradient written in ops, so that it may be differentiated again.
"""

import math

import numpy as np

from .. import dtypes
from .._core import record
from ..autograd import record_without_gradient
from ..symbolic import op
from ..tensor import as_tensor
from .elementwise import (_fit, _mask, add, cos, divide, equal, exp, floor, multiply, negative, reciprocal, sqrt, square,
                          subtract, trunc, wants_grad, where)
from .numpy_op import elementwise_numpy, float_dtype, named, numpy_op, operands

_LN2, _LN10 = math.log(2), math.log(10)


def _unary(name, f, doc, derivative=None, result="float"):
    """A function of one tensor. derivative: (x, y) -> dy/dx in ops. result: the dtype, "float" for that of
    ``x`` or a float in place of an integer, or "same"."""

    def function(x):
        x = as_tensor(x)
        if result == "float":
            x = as_tensor(x, float_dtype(x.dtype))
        y = elementwise_numpy(f, x.dtype if result in ("float", "same") else result, x)
        if derivative is None:
            return y if result != "float" else record_without_gradient(name, y, (x,))
        return record(y, (x,), lambda gy: (multiply(gy, derivative(x, y)),))

    kinds = "floats; integers are converted to floatx" if result == "float" else "of any dtype"
    returns = f"Tensor of the shape of ``x``, {'of its dtype, as converted' if result in ('float', 'same') else result}."
    return op(named(function, name, doc, returns, x=f"tensor of any shape, {kinds}."))


def _binary(name, f, doc, gradient=None, result="same"):
    """A function of two tensors. gradient: (gy, x1, x2, y) -> (g1, g2) in ops, before broadcasting is undone."""

    def function(x1, x2):
        (x1, x2), dtype = operands(x1, x2)
        if result == "float":
            dtype = float_dtype(dtype)
        if dtype == "bool" and result == "int":
            dtype = "int32"
        x1, x2 = as_tensor(x1, dtype), as_tensor(x2, dtype)
        y = elementwise_numpy(f, "bool" if result == "bool" else dtype, x1, x2)
        if gradient is None:
            return y

        def vjp(gy):
            g1, g2 = gradient(gy, x1, x2, y)
            return (_fit(g1, x1) if g1 is not None and wants_grad(x1) else None,
                    _fit(g2, x2) if g2 is not None and wants_grad(x2) else None)

        return record(y, (x1, x2), vjp)

    kinds = "converted to floats" if result == "float" else "of any dtype"
    returns = f"Tensor of the shape that both broadcast to, {'bool' if result == 'bool' else 'of their common dtype'}."
    return op(named(function, name, doc, returns, x1=f"tensor or number, {kinds}.", x2="the same; the shapes broadcast."))


# ---- elementary functions ----

sinh = _unary("sinh", np.sinh, "The hyperbolic sine.", lambda x, y: cosh(x))
cosh = _unary("cosh", np.cosh, "The hyperbolic cosine.", lambda x, y: sinh(x))
arcsin = _unary("arcsin", np.arcsin, "The inverse of the sine, from -pi/2 to pi/2.",
                lambda x, y: reciprocal(sqrt(subtract(1, square(x)))))
arccos = _unary("arccos", np.arccos, "The inverse of the cosine, from 0 to pi.",
                lambda x, y: negative(reciprocal(sqrt(subtract(1, square(x))))))
arctan = _unary("arctan", np.arctan, "The inverse of the tangent, from -pi/2 to pi/2.",
                lambda x, y: reciprocal(add(1, square(x))))
arcsinh = _unary("arcsinh", np.arcsinh, "The inverse of the hyperbolic sine.",
                 lambda x, y: reciprocal(sqrt(add(square(x), 1))))
arccosh = _unary("arccosh", np.arccosh, "The inverse of the hyperbolic cosine, from 0 up.",
                 lambda x, y: reciprocal(sqrt(subtract(square(x), 1))))
arctanh = _unary("arctanh", np.arctanh, "The inverse of the hyperbolic tangent.",
                 lambda x, y: reciprocal(subtract(1, square(x))))
exp2 = _unary("exp2", np.exp2, "2 to the power of ``x``.", lambda x, y: multiply(y, _LN2))
log10 = _unary("log10", np.log10, "The logarithm to base 10.", lambda x, y: divide(1 / _LN10, x))
cbrt = _unary("cbrt", np.cbrt, "The cube root.", lambda x, y: divide(1 / 3, square(y)))
deg2rad = _unary("deg2rad", np.deg2rad, "Degrees as radians.", lambda x, y: math.pi / 180)
rad2deg = _unary("rad2deg", np.rad2deg, "Radians as degrees.", lambda x, y: 180 / math.pi)
fabs = _unary("fabs", np.fabs, "The absolute value, as a float.", lambda x, y: _sign(x))
sinc = _unary("sinc", np.sinc, "``sin(pi x) / (pi x)``, 1 at 0.", lambda x, y: _sinc_derivative(x, y))
i0 = _unary("i0", lambda a: np.i0(a.astype(np.float64)), "The modified Bessel function of the first kind, order 0.")
erfc = _unary("erfc", lambda a: np.vectorize(math.erfc, otypes=[np.float64])(a), "``1 - erf(x)``, exact also where it is small.",
              lambda x, y: multiply(exp(negative(square(x))), -2 / math.sqrt(math.pi)))
erfinv = _unary("erfinv", lambda a: _erfinv(a), "The inverse of ``erf``.",
                lambda x, y: multiply(exp(square(y)), math.sqrt(math.pi) / 2))


def _sign(x):
    from .elementwise import sign

    return sign(x)


def _sinc_derivative(x, y):
    safe = where(equal(x, 0), 1.0, x)
    return where(equal(x, 0), 0.0, divide(subtract(cos(multiply(x, math.pi)), y), safe))


def _erfinv(a):
    """Newton's method on erf from Winitzki's approximation, in double."""
    a = np.asarray(a, np.float64)
    inside = np.abs(a) < 1
    t = np.where(inside, a, 0.0)
    u = np.log1p(-t * t)
    c = 2 / (math.pi * 0.147) + u / 2
    y = np.sign(t) * np.sqrt(np.sqrt(c * c - u / 0.147) - c)
    erf, erfc = np.vectorize(math.erf, otypes=[float]), np.vectorize(math.erfc, otypes=[float])
    for _ in range(3):  # in the tail by erfc, which keeps its digits
        error = np.where(np.abs(t) < 0.5, erf(y) - t, np.sign(t) * ((1 - np.abs(t)) - erfc(np.abs(y))))
        y = y - error * math.sqrt(math.pi) / 2 * np.exp(y * y)
    return np.where(inside, y, np.where(np.abs(a) == 1, np.copysign(np.inf, a), np.nan))


arctan2 = _binary("arctan2", np.arctan2, "The angle of the point (``x2``, ``x1``), from -pi to pi.",
                  lambda gy, a, b, y: (lambda d: (multiply(gy, divide(b, d)), negative(multiply(gy, divide(a, d)))))(
                      add(square(a), square(b))), "float")
hypot = _binary("hypot", np.hypot, "``sqrt(x1^2 + x2^2)``, without overflow.",
                lambda gy, a, b, y: (multiply(gy, divide(a, y)), multiply(gy, divide(b, y))), "float")
logaddexp = _binary("logaddexp", np.logaddexp, "``log(exp(x1) + exp(x2))``, without overflow.",
                    lambda gy, a, b, y: (multiply(gy, exp(subtract(a, y))), multiply(gy, exp(subtract(b, y)))), "float")
logaddexp2 = _binary("logaddexp2", np.logaddexp2, "``log2(2^x1 + 2^x2)``, without overflow.",
                     lambda gy, a, b, y: (multiply(gy, exp2(subtract(a, y))), multiply(gy, exp2(subtract(b, y)))), "float")
floor_divide = _binary("floor_divide", np.floor_divide, "The largest integer not above ``x1 / x2``.", None, "int")
mod = _binary("mod", np.mod, "The remainder of ``floor_divide(x1, x2)``, with the sign of ``x2``.",
              lambda gy, a, b, y: (gy, negative(multiply(gy, floor(divide(a, b))))), "int")
fmod = _binary("fmod", np.fmod, "The remainder of the truncated quotient, with the sign of ``x1``.",
               lambda gy, a, b, y: (gy, negative(multiply(gy, trunc(divide(a, b))))), "int")
fmax = _binary("fmax", np.fmax, "The larger value; of a number and a NaN, the number.",
               lambda gy, a, b, y: _split(gy, equal(a, y)))
fmin = _binary("fmin", np.fmin, "The smaller value; of a number and a NaN, the number.",
               lambda gy, a, b, y: _split(gy, equal(a, y)))
heaviside = _binary("heaviside", np.heaviside, "0 for negative ``x1``, 1 for positive, ``x2`` for 0.",
                    lambda gy, a, b, y: (None, multiply(gy, _mask(equal(a, 0), gy))), "float")
nextafter = _binary("nextafter", np.nextafter, "The float after ``x1`` towards ``x2``.", None, "float")
gcd = _binary("gcd", np.gcd, "The greatest common divisor of integers.")
lcm = _binary("lcm", np.lcm, "The least common multiple of integers.")


def _split(gy, first):
    taken = multiply(gy, _mask(first, gy))
    return taken, subtract(gy, taken)


@op
def ldexp(x1, x2):
    """``x1 * 2^x2`` for integers ``x2``.

    Args:
        x1: tensor or number.
        x2: integers; the shapes broadcast.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x2.dtype in dtypes.FLOAT_DTYPES:
        raise TypeError(f"[ldexp] x2 must be an integer tensor. Received: x2.dtype={x2.dtype}")
    x1 = as_tensor(x1, float_dtype(x1.dtype))
    y = elementwise_numpy(lambda a, b: np.ldexp(a, b.astype(np.int32)), x1.dtype, x1, x2)
    return record(y, (x1, x2), lambda gy: (_fit(ldexp(gy, x2), x1), None))


@op
def divide_no_nan(x1, x2):
    """``x1 / x2``, and 0 where ``x2`` is 0.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
    """
    (x1, x2), dtype = operands(x1, x2)
    x1, x2 = as_tensor(x1, float_dtype(dtype)), as_tensor(x2, float_dtype(dtype))
    zero = equal(x2, 0)
    return where(zero, 0.0, divide(x1, where(zero, 1.0, x2)))


@op
def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """``x`` with NaN and infinities replaced; by default by 0 and the largest finite numbers.

    Args:
        x: tensor of any shape and dtype.
        nan: number.
        posinf: number, or None.
        neginf: number, or None.
    """
    x = as_tensor(x)
    if x.dtype not in dtypes.FLOAT_DTYPES:
        return x
    big = float(_largest(x.dtype))
    y = where(isnan(x), nan, x)
    y = where(isposinf(x), big if posinf is None else posinf, y)
    return where(isneginf(x), -big if neginf is None else neginf, y)


def _largest(dtype):
    if dtype == "bfloat16":
        import ml_dtypes

        return ml_dtypes.finfo("bfloat16").max
    return np.finfo(dtype).max


# ---- of real tensors; complex_numbers.py has these functions for complex ones ----

conjugate = _unary("conjugate", lambda a: a, "``x``: tensors are real.", lambda x, y: 1, "same")
conj = conjugate
real = _unary("real", lambda a: a, "``x``: tensors are real.", lambda x, y: 1, "same")
imag = _unary("imag", lambda a: np.zeros_like(a), "Zeros: tensors are real.", None, "same")
angle = _unary("angle", lambda a: np.where(a < 0, math.pi, np.where(a == a, 0.0, np.nan)), "0, or pi for negative values.")
isreal = _unary("isreal", lambda a: np.ones(a.shape, bool), "True: tensors are real.", None, "bool")

# ---- tests ----

isnan = _unary("isnan", np.isnan, "Whether each value is NaN.", None, "bool")
isinf = _unary("isinf", np.isinf, "Whether each value is infinite.", None, "bool")
isfinite = _unary("isfinite", np.isfinite, "Whether each value is neither infinite nor NaN.", None, "bool")
isposinf = _unary("isposinf", np.isposinf, "Whether each value is positive infinity.", None, "bool")
isneginf = _unary("isneginf", np.isneginf, "Whether each value is negative infinity.", None, "bool")
signbit = _unary("signbit", np.signbit, "Whether the sign bit of each value is set, which it is for -0.0.", None, "bool")


@op
def isclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Whether ``|x1 - x2| <= atol + rtol * |x2|``, elementwise.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
        rtol: number; relative tolerance.
        atol: number; absolute tolerance.
        equal_nan: bool; two NaN are close.
    """
    (x1, x2), dtype = operands(x1, x2)
    x1, x2 = as_tensor(x1, dtype), as_tensor(x2, dtype)
    return elementwise_numpy(lambda a, b: np.isclose(a, b, rtol, atol, equal_nan), "bool", x1, x2)


@op
def allclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Whether ``isclose`` holds everywhere, as a bool tensor without axes.

    Args:
        x1: tensor or number.
        x2: tensor or number; the shapes broadcast.
        rtol: number; relative tolerance.
        atol: number; absolute tolerance.
        equal_nan: bool; two NaN are close.
    """
    from .reduction import all as all_

    return all_(isclose(x1, x2, rtol, atol, equal_nan))


# ---- logic and bits ----


def _logical(name, f, doc):
    def function(x1, x2):
        return elementwise_numpy(f, "bool", as_tensor(x1), as_tensor(x2))

    return op(named(function, name, doc, "Bool tensor of the shape that both broadcast to.",
                    x1="tensor or number of any dtype.", x2="the same; the shapes broadcast."))


logical_and = _logical("logical_and", np.logical_and, "Whether both values are not zero.")
logical_or = _logical("logical_or", np.logical_or, "Whether one of the values is not zero.")
logical_xor = _logical("logical_xor", np.logical_xor, "Whether exactly one of the values is not zero.")
logical_not = _unary("logical_not", np.logical_not, "Whether each value is zero.", None, "bool")


def _bitwise(name, f, doc):
    def function(x, y):
        (x, y), dtype = operands(x, y)
        if dtype in dtypes.FLOAT_DTYPES:
            raise TypeError(f"[{name}] x and y must be integers or bool. Received: dtype={dtype}")
        return elementwise_numpy(f, dtype, as_tensor(x, dtype), as_tensor(y, dtype))

    return op(named(function, name, doc, "Tensor of the shape that both broadcast to, of their common dtype.",
                    x="tensor of integers or bools; anything else is a TypeError.", y="the same; the shapes broadcast."))


bitwise_and = _bitwise("bitwise_and", np.bitwise_and, "The bits that are set in both integers.")
bitwise_or = _bitwise("bitwise_or", np.bitwise_or, "The bits that are set in one of the integers.")
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor, "The bits that are set in exactly one of the integers.")
left_shift = _bitwise("left_shift", np.left_shift, "``x`` with its bits moved left by ``y`` places.")
right_shift = _bitwise("right_shift", np.right_shift, "``x`` with its bits moved right by ``y`` places; the sign moves in.")
bitwise_left_shift, bitwise_right_shift = left_shift, right_shift


@op
def bitwise_not(x):
    """Every bit of an integer flipped; of a bool, its opposite.

    Args:
        x: tensor of integers or bools; anything else is a TypeError.
    """
    x = as_tensor(x)
    if x.dtype in dtypes.FLOAT_DTYPES:
        raise TypeError(f"[bitwise_not] x must be an integer or bool. Received: x.dtype={x.dtype}")
    return elementwise_numpy(np.invert, x.dtype, x)


bitwise_invert = bitwise_not

# ---- reductions that skip NaN, and order statistics ----


def _over(axis):
    return tuple(axis) if isinstance(axis, list) else axis


def _nan_reduction(name, f, doc, result="same"):
    def function(x, axis=None, keepdims=False):
        x = as_tensor(x)
        dtype = float_dtype(x.dtype) if result == "float" else x.dtype if result == "same" else result
        if result == "same" and name in ("nansum", "nanprod"):
            from .reduction import _sum_dtype

            dtype = _sum_dtype(dtype)
        y = numpy_op(lambda a: f(_wide(a), axis=_over(axis), keepdims=keepdims), x, dtype=dtype)
        return y if result == "int32" else record_without_gradient(name, y, (x,))

    return op(named(function, name, doc, "Tensor of what is left of the shape of ``x``.", x="tensor of any shape.",
                    axis="int, or several of them, or None for all.", keepdims="bool; leave the axes, of size 1."))


def _nan_argument(f, least):
    def argument(a, axis, keepdims):
        if a.dtype.kind != "f":
            return f(a, axis=axis, keepdims=keepdims)
        nan = np.isnan(a)
        return np.where(nan.all(axis=axis, keepdims=keepdims), -1, f(np.where(nan, least, a), axis=axis, keepdims=keepdims))
    return argument


def _wide(a):
    return a.astype(np.float64) if a.dtype.kind not in "iub" else a


nanmax = _nan_reduction("nanmax", np.nanmax, "``max`` of the values that are not NaN.")
nanmin = _nan_reduction("nanmin", np.nanmin, "``min`` of the values that are not NaN.")
nanprod = _nan_reduction("nanprod", np.nanprod, "``prod`` of the values that are not NaN.")
nanmedian = _nan_reduction("nanmedian", np.nanmedian, "``median`` of the values that are not NaN.", "float")
nanargmax = _nan_reduction("nanargmax", _nan_argument(np.argmax, -np.inf), "``argmax`` of the values that are not NaN; -1 where all are.", "int32")
nanargmin = _nan_reduction("nanargmin", _nan_argument(np.argmin, np.inf), "``argmin`` of the values that are not NaN; -1 where all are.", "int32")


def _without_nan(x):
    """x with 0 for NaN, and 1 where it was a number."""
    x = as_tensor(x)
    x = as_tensor(x, float_dtype(x.dtype))
    valid = _mask(equal(x, x), x)
    return where(isnan(x), 0.0, x), valid


@op
def nansum(x, axis=None, keepdims=False):
    """``sum`` of the values that are not NaN.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    from .reduction import sum as sum_

    x = as_tensor(x)
    return sum_(_without_nan(x)[0] if x.dtype in dtypes.FLOAT_DTYPES else x, axis, keepdims)


@op
def nanmean(x, axis=None, keepdims=False):
    """``mean`` of the values that are not NaN.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    from .reduction import sum as sum_

    x, valid = _without_nan(x)
    return divide(sum_(x, axis, keepdims), sum_(valid, axis, keepdims))


@op
def nanvar(x, axis=None, keepdims=False):
    """``var`` of the values that are not NaN.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    from .reduction import sum as sum_

    x, valid = _without_nan(x)
    center = divide(sum_(x, axis, keepdims=True), sum_(valid, axis, keepdims=True))
    deviation = multiply(square(subtract(x, center)), valid)
    return divide(sum_(deviation, axis, keepdims), sum_(valid, axis, keepdims))


@op
def nanstd(x, axis=None, keepdims=False):
    """``std`` of the values that are not NaN.

    Args:
        x: tensor of any shape and dtype.
        axis: int, or several of them, or None for all.
        keepdims: bool; leave the axes, of size 1.
    """
    return sqrt(nanvar(x, axis, keepdims))


@op
def nancumsum(x, axis=None, dtype=None):
    """``cumsum`` with 0 in place of NaN.

    Args:
        x: tensor of any shape and dtype.
        axis: int; None: of the flat array.
        dtype: string; the dtype of the result, by default that of the values.
    """
    from .reduction import cumsum

    x = as_tensor(x)
    return cumsum(where(isnan(x), 0.0, x) if x.dtype in dtypes.FLOAT_DTYPES else x, axis, dtype)


@op
def nancumprod(x, axis=None, dtype=None):
    """``cumprod`` with 1 in place of NaN.

    Args:
        x: tensor of any shape and dtype.
        axis: int; None: of the flat array.
        dtype: string; the dtype of the result, by default that of the values.
    """
    from .reduction import cumprod

    x = as_tensor(x)
    return cumprod(where(isnan(x), 1.0, x) if x.dtype in dtypes.FLOAT_DTYPES else x, axis, dtype)


def _quantile(name, f, scale):
    def function(x, q, axis=None, method="linear", keepdims=False):
        x = as_tensor(x)
        x = as_tensor(x, float_dtype(x.dtype))
        y = numpy_op(lambda a, b: f(a.astype(np.float64), b.astype(np.float64), axis=_over(axis), method=method,
                                    keepdims=keepdims), x, as_tensor(q), dtype=x.dtype)
        return record_without_gradient(name, y, (x,))

    return op(named(
        function, name, "The value below which a part ``q`` of the values over ``axis`` lies.",
        "Tensor of the shape of ``q`` followed by what is left of the shape of ``x``.", x="tensor of any shape.",
        q=f"number or tensor, from 0 to {scale}.", axis="int, or several of them, or None for all.",
        method='between two values: "linear", "lower", "higher", "midpoint" or "nearest".',
        keepdims="bool; leave the axes, of size 1."))


quantile = _quantile("quantile", np.quantile, 1)
nanquantile = _quantile("nanquantile", np.nanquantile, 1)
percentile = _quantile("percentile", np.percentile, 100)
nanpercentile = _quantile("nanpercentile", np.nanpercentile, 100)
median = _nan_reduction("median", np.median, "The middle value over ``axis``, or the mean of the two middle ones.", "float")

__all__ = [
    "sinh", "cosh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "exp2", "log10", "cbrt", "deg2rad",
    "rad2deg", "fabs", "sinc", "i0", "erfc", "erfinv", "arctan2", "hypot", "logaddexp", "logaddexp2", "floor_divide",
    "mod", "fmod", "fmax", "fmin", "heaviside", "nextafter", "gcd", "lcm", "ldexp", "divide_no_nan", "nan_to_num",
    "conjugate", "conj", "real", "imag", "angle", "isreal", "isnan", "isinf", "isfinite", "isposinf", "isneginf",
    "signbit", "isclose", "allclose", "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and",
    "bitwise_or", "bitwise_xor", "left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift",
    "bitwise_not", "bitwise_invert", "nanmax", "nanmin", "nanprod", "nanmedian", "nanargmax", "nanargmin", "nansum",
    "nanmean", "nanvar", "nanstd", "nancumsum", "nancumprod", "quantile", "nanquantile", "percentile",
    "nanpercentile", "median",
]
