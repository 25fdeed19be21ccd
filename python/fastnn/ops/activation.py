"""Activation functions of tensors, as keras.ops has them; softmax is in softmax.py."""

import math

import numpy as np

from .. import _core
from .._core import record
from ..symbolic import op
from ..tensor import as_tensor
from .elementwise import (_mask, abs, add, divide, erf, exp, greater, less, maximum, minimum, multiply, negative,
                          reciprocal, sqrt, square, subtract, tanh, unary, unary_grad, unary_slow, where)
from .numpy_op import numpy_op

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def parametric(name, derivative, f):
    """(x, p, q) -> y with a gradient that keeps x, from the kernel ``name`` that takes parameters."""
    code = _core.UNARY_OPS[name]

    def function(x, p, q=0.0):
        y = _core.unary(code, x, p, q)
        if y is None:
            x, y = unary_slow(code, f, False, x, p, q)
        return record(y, (x,), lambda gy: (unary_grad(code, gy, x, derivative, p, q),))

    return function


def _number(op_name, name, value):
    """A parameter as a Python float, so that a kernel may be given it."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"[{op_name}] {name} must be a number. Received: {name}={value!r}") from None


def _sigmoid_f64(x, p=0, q=0):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _softplus_f64(x, p=0, q=0):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _erf_f64(x):
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


# ---- smooth ----

sigmoid = unary("sigmoid", "y", lambda y, p, q: multiply(y, subtract(1, y)), _sigmoid_f64, "``1 / (1 + exp(-x))``.")
softplus = unary("softplus", "x", lambda x, p, q: sigmoid(x), _softplus_f64, "``log(1 + exp(x))``.")
log_sigmoid = unary("log_sigmoid", "x", lambda x, p, q: sigmoid(negative(x)), lambda x, p, q: -_softplus_f64(-x),
                    "``log(sigmoid(x))``.")


def _silu_derivative(x, p, q):
    s = sigmoid(x)
    return multiply(s, add(1, multiply(x, subtract(1, s))))


silu = unary("silu", "x", _silu_derivative, lambda x, p, q: x * _sigmoid_f64(x),
             "``x * sigmoid(x)``, also known as swish (Ramachandran et al. 2017).")
swish = silu


def _mish_derivative(x, p, q):
    t = tanh(softplus(x))
    return add(t, multiply(multiply(x, sigmoid(x)), subtract(1, square(t))))


mish = unary("mish", "x", _mish_derivative, lambda x, p, q: x * np.tanh(_softplus_f64(x)),
             "``x * tanh(softplus(x))`` (Misra 2019).")
softsign = unary("softsign", "x", lambda x, p, q: reciprocal(square(add(1, abs(x)))),
                 lambda x, p, q: x / (1 + np.abs(x)), "``x / (1 + |x|)``.")
tanh_shrink = unary("tanh_shrink", "x", lambda x, p, q: square(tanh(x)), lambda x, p, q: x - np.tanh(x),
                    "``x - tanh(x)``.")


def _gelu_derivative(x, p, q):
    density = multiply(exp(multiply(square(x), -0.5)), 1 / math.sqrt(2 * math.pi))
    return add(multiply(add(erf(multiply(x, math.sqrt(0.5))), 1), 0.5), multiply(x, density))


_GELU_A = 2 * math.sqrt(2 / math.pi)
_GELU_B = 0.044715


def _gelu_tanh_derivative(x, p, q):
    s = sigmoid(multiply(multiply(x, _GELU_A), add(1, multiply(square(x), _GELU_B))))
    slope = multiply(add(1, multiply(square(x), 3 * _GELU_B)), _GELU_A)
    return add(s, multiply(multiply(x, slope), multiply(s, subtract(1, s))))


_gelu = unary("gelu", "x", _gelu_derivative, lambda x, p, q: 0.5 * x * (1 + _erf_f64(x * math.sqrt(0.5))), None)
_gelu_tanh = unary("gelu_tanh", "x", _gelu_tanh_derivative,
                   lambda x, p, q: x * _sigmoid_f64(_GELU_A * (x + _GELU_B * x**3)), None)


def gelu(x, approximate=True):
    """``x`` times the standard normal distribution function of ``x`` (Hendrycks & Gimpel 2016).

    Args:
        approximate: write the distribution function with tanh instead of erf.
    """
    return _gelu_tanh(x) if approximate else _gelu(x)


# ---- rectifiers ----

relu = unary("relu", "y", lambda y, p, q: _mask(greater(y, 0), y), lambda x, p, q: np.maximum(x, 0), "``max(x, 0)``.", True)
relu6 = unary("relu6", "y", lambda y, p, q: multiply(_mask(greater(y, 0), y), _mask(less(y, 6), y)),
              lambda x, p, q: np.clip(x, 0, 6), "``min(max(x, 0), 6)``.", True)
selu = unary("selu", "y", lambda y, p, q: where(greater(y, 0), _SELU_SCALE, add(y, _SELU_SCALE * _SELU_ALPHA)),
             lambda x, p, q: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
             "Self-normalising ``elu`` (Klambauer et al. 2017): 1.0507 times ``elu(x, alpha=1.6733)``.")
_leaky_relu = parametric("leaky_relu", lambda x, p, q: where(greater(x, 0), as_tensor(1.0, x.dtype), p),
                         lambda x, p, q: np.where(x > 0, x, x * p))
_elu = parametric("elu", lambda x, p, q: where(greater(x, 0), 1.0, multiply(exp(minimum(x, 0)), p)),
                  lambda x, p, q: np.where(x > 0, x, p * np.expm1(np.minimum(x, 0))))
_celu = parametric("celu", lambda x, p, q: where(greater(x, 0), 1.0, exp(divide(minimum(x, 0), p))),
                   lambda x, p, q: np.where(x > 0, x, p * np.expm1(np.minimum(x, 0) / p)))
_squareplus = parametric("squareplus", lambda x, p, q: multiply(add(1, divide(x, sqrt(add(square(x), p)))), 0.5),
                         lambda x, p, q: 0.5 * (x + np.sqrt(x * x + p)))


@op
def leaky_relu(x, negative_slope=0.2):
    """``x`` if positive, else ``negative_slope * x``.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        negative_slope: number.
    """
    return _leaky_relu(x, _number("leaky_relu", "negative_slope", negative_slope))


@op
def elu(x, alpha=1.0):
    """``x`` if positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2015).

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        alpha: number; minus the limit for x to minus infinity.
    """
    return _elu(x, _number("elu", "alpha", alpha))


@op
def celu(x, alpha=1.0):
    """``x`` if positive, else ``alpha * (exp(x / alpha) - 1)`` (Barron 2017).

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        alpha: number; minus the limit for x to minus infinity.
    """
    return _celu(x, _number("celu", "alpha", alpha))


@op
def squareplus(x, b=4):
    """``(x + sqrt(x^2 + b)) / 2`` (Barron 2021).

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        b: number, not negative.
    """
    return _squareplus(x, _number("squareplus", "b", b))


# ---- piecewise linear ----

hard_sigmoid = unary("hard_sigmoid", "x", lambda x, p, q: multiply(_mask(less(abs(x), 3), x), 1 / 6),
                     lambda x, p, q: np.clip(x + 3, 0, 6) / 6, "``relu6(x + 3) / 6``.")
hard_silu = unary("hard_silu", "x",
                  lambda x, p, q: where(less(abs(x), 3), add(divide(x, 3), 0.5), _mask(greater(x, 0), x)),
                  lambda x, p, q: x * np.clip(x + 3, 0, 6) / 6, "``x * hard_sigmoid(x)``.")
hard_swish = hard_silu
hard_tanh = unary("hard_tanh", "x", lambda x, p, q: _mask(less(abs(x), 1), x), lambda x, p, q: np.clip(x, -1, 1),
                  "``x`` limited to the interval from -1 to 1.")


def _beyond(x, p, q):
    return _mask(greater(abs(x), p), x)


_soft_shrink = parametric("soft_shrink", _beyond, lambda x, p, q: np.where(np.abs(x) <= p, 0, x - np.copysign(p, x)))
_hard_shrink = parametric("hard_shrink", _beyond, lambda x, p, q: np.where(np.abs(x) <= p, 0, x))
_threshold = parametric("threshold", lambda x, p, q: _mask(greater(x, p), x), lambda x, p, q: np.where(x <= p, q, x))


@op
def soft_shrink(x, threshold=0.5):
    """``x`` moved towards 0 by ``threshold``; 0 where it is not larger than that.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        threshold: number, not negative.
    """
    return _soft_shrink(x, _number("soft_shrink", "threshold", threshold))


@op
def hard_shrink(x, threshold=0.5):
    """``x``, and 0 where ``|x| <= threshold``.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        threshold: number, not negative.
    """
    return _hard_shrink(x, _number("hard_shrink", "threshold", threshold))


@op
def threshold(x, threshold, default_value):
    """``x`` where it is larger than ``threshold``, else ``default_value``.

    Args:
        x: tensor of any shape and dtype.
        threshold: number.
        default_value: number.
    """
    return _threshold(x, _number("threshold", "threshold", threshold), _number("threshold", "default_value", default_value))


@op
def sparse_plus(x):
    """0 up to -1, ``(x + 1)^2 / 4`` from -1 to 1, ``x`` from there on.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
    """
    x = as_tensor(x)
    return where(less(x, -1), 0.0, where(less(x, 1), multiply(square(add(x, 1)), 0.25), x))


@op
def sparse_sigmoid(x):
    """0 up to -1, ``(x + 1) / 2`` from -1 to 1, 1 from there on.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
    """
    x = as_tensor(x)
    return multiply(add(minimum(maximum(x, -1.0), 1.0), 1), 0.5)


@op
def glu(x, axis=-1):
    """The first half of ``x`` along ``axis`` times the sigmoid of the second (Dauphin et al. 2016).

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        axis: int; its size must be even.
    """
    from . import split

    x = as_tensor(x)
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ValueError("[glu] x must have an even size along axis. "
                         f"Received: x.shape={x.shape}, axis={axis!r}")
    a, b = split(x, 2, axis)
    return multiply(a, sigmoid(b))


@op
def sparsemax(x, axis=-1):
    """The nearest point to ``x`` whose values along ``axis`` are a distribution: many are 0 (Martins & Astudillo 2016).

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        axis: int, or several of them, or None for all.
    """
    x = as_tensor(x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"[sparsemax] axis must be an axis of x. Received: x.shape={x.shape}, axis={axis!r}")

    def forward(a):
        z = -np.sort(-a.astype(np.float64), axis)
        k = np.arange(1, a.shape[axis] + 1).reshape([-1 if i == axis % a.ndim else 1 for i in range(a.ndim)])
        sums = np.cumsum(z, axis)
        support = np.sum(1 + k * z > sums, axis, keepdims=True)
        tau = (np.take_along_axis(sums, np.maximum(support - 1, 0), axis) - 1) / np.maximum(support, 1)
        return np.maximum(a - tau, 0)

    y = numpy_op(forward, x, dtype=x.dtype)

    def vjp(gy):  # within the support, the gradient less its mean there
        from .reduction import sum as sum_

        support = _mask(greater(y, 0), y)
        g = multiply(gy, support)
        mean = divide(sum_(g, axis, keepdims=True), sum_(support, axis, keepdims=True))
        return (multiply(subtract(gy, mean), support),)

    return record(y, (x,), vjp)


__all__ = [
    "sigmoid", "softplus", "log_sigmoid", "silu", "swish", "mish", "softsign", "tanh_shrink", "gelu", "relu", "relu6",
    "selu", "leaky_relu", "elu", "celu", "squareplus", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "soft_shrink", "hard_shrink", "threshold", "sparse_plus", "sparse_sigmoid",
    "glu", "sparsemax",
]
