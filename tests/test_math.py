"""Elementary functions stay within 4 ulp of the exact value over all of float32."""
import math

import numpy as np
import pytest

from fastnn import ops

from check import tensor

pytestmark = pytest.mark.filterwarnings("ignore:invalid value")  # signalling NaNs among the inputs

F32 = np.float32
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2, 0.5, 1e-45, -1e-45, 1.1e-38, -1.1e-38, 1.1754944e-38, 3.4028235e38,
     -3.4028235e38, 88.72283, 88.72284, -87.33655, -103.97, -104, 89, 9.01, -9.02, 16777216, 1048576, 1048577, 1e30,
     0.99999994, 1.0000001, -0.99999994, 3.92, 0.9, 0.8999999, 20, -20], F32)


def every_nth_float(n):
    """Floats of every exponent and sign: each n-th bit pattern, infinities and NaN among them."""
    return np.concatenate([np.arange(0, 2**32, n, dtype=np.uint64).astype(np.uint32).view(F32), SPECIAL])


def ulps(got, want):
    """The distance in units of the last place of float32 at ``want``, a float64 array; 0 between equal
    infinities and NaNs."""
    got = got.astype(np.float64)
    _, exponent = np.frexp(np.where(np.isfinite(want), want, 1.0))
    unit = np.ldexp(1.0, np.maximum(exponent, -125) - 24)
    with np.errstate(all="ignore"):
        rounded = want.astype(F32)
        # beyond the largest float the next one would be 2^128, which is written infinity
        distance = np.abs(np.where(np.isinf(got), np.copysign(2.0**128, got), got)
                          - np.where(np.isinf(rounded), np.copysign(2.0**128, want), want)) / unit
    same = (got == rounded) | (np.isnan(got) & np.isnan(want))
    return np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS = [
    ("exp", np.exp), ("expm1", np.expm1), ("log", np.log), ("log1p", np.log1p), ("log2", np.log2), ("tanh", np.tanh),
    ("sigmoid", sigmoid), ("softplus", softplus), ("sin", np.sin), ("cos", np.cos), ("tan", np.tan), ("sqrt", np.sqrt),
    ("rsqrt", lambda x: 1 / np.sqrt(x)), ("reciprocal", lambda x: 1 / x), ("log_sigmoid", lambda x: -softplus(-x)),
]


@pytest.mark.parametrize("name,reference", FUNCTIONS, ids=[n for n, _ in FUNCTIONS])
def test_within_4_ulp(name, reference):
    x = every_nth_float(8191)
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
    error = ulps(np.asarray(getattr(ops, name)(tensor(x))), want)
    worst = np.argmax(error)
    assert error[worst] <= 4, (x[worst], want[worst])


@pytest.mark.parametrize("name", [n for n, _ in FUNCTIONS] + ["erf"])
def test_a_value_does_not_depend_on_what_lies_beside_it(name):
    x = np.concatenate([np.random.default_rng(0).uniform(-104, 89, 20000), np.linspace(-88, -80, 20000)]).astype(F32)
    alone = np.asarray(getattr(ops, name)(tensor(x)))
    beside = np.stack([x, np.resize(np.array([300, -300, np.nan, 0, np.inf, 1e-40, -1e30], F32), x.shape)], 1)
    np.testing.assert_array_equal(np.asarray(getattr(ops, name)(tensor(beside)))[:, 0], alone)


def test_erf_within_4_ulp():
    x = every_nth_float(104729)
    want = np.array([math.erf(v) for v in x.astype(np.float64)])
    assert ulps(np.asarray(ops.erf(tensor(x))), want).max() <= 4


def test_functions_are_exact_where_they_must_be():
    x = tensor([0.0, -0.0])
    for name in ("expm1", "log1p", "tanh", "sin", "tan", "erf", "sqrt"):
        y = np.asarray(getattr(ops, name)(x))
        assert (y == 0).all() and np.signbit(y).tolist() == [False, True], name
    powers = 2.0 ** np.arange(-149, 128)
    np.testing.assert_array_equal(np.asarray(ops.log2(tensor(powers))), np.arange(-149, 128))
    np.testing.assert_array_equal(np.asarray(ops.tanh(tensor([20.0, -20.0, np.inf, -np.inf]))), [1, -1, 1, -1])


def test_odd_functions_are_odd():
    x = every_nth_float(65521)
    for name in ("tanh", "sin", "tan", "erf"):
        f = getattr(ops, name)
        np.testing.assert_array_equal(np.asarray(f(tensor(-x))), -np.asarray(f(tensor(x))), err_msg=name)


POWER_ARGUMENTS = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1e-45, -1e-45, 1e38, -1e38, 2.5, -2.5, 16777216,
     16777215, -16777215, 1e9, -1e9, 0.99999994, 1.0000001, 150, -150, 1e-6], F32)


def test_power_within_4_ulp():
    rng = np.random.default_rng(0)
    x, y = (v.ravel() for v in np.meshgrid(POWER_ARGUMENTS, POWER_ARGUMENTS))
    base = np.ldexp(rng.uniform(1, 2, 200_000), rng.integers(-126, 127, 200_000)).astype(F32)
    exponent = (rng.uniform(-150, 130, base.size) / np.log2(base)).astype(F32)
    whole = rng.integers(-20, 20, base.size).astype(F32)
    x = np.concatenate([x, base, base, -base])
    y = np.concatenate([y, exponent, whole, whole])
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64))
    got = np.asarray(ops.power(tensor(x), tensor(y)))
    error = ulps(got, want)
    worst = np.argmax(error)
    assert error[worst] <= 4, (x[worst], y[worst], got[worst], want[worst])
    zero = want == 0
    assert (np.signbit(got[zero]) == np.signbit(want[zero])).all()


def test_powers_of_small_integers_are_exact():
    x, y = np.meshgrid(np.arange(-9, 10, dtype=F32), np.arange(0, 8, dtype=F32))
    np.testing.assert_array_equal(np.asarray(ops.power(tensor(x), tensor(y))), np.power(x.astype(float), y))


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "round"])
def test_rounding_is_exact(name):
    x = np.concatenate([every_nth_float(65521), np.arange(-40, 40) / 4, [8388607.5, 4194304.5, 4194305.5, -8388609]])
    x = x.astype(F32)
    with np.errstate(all="ignore"):
        want = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.round}[name](x)
    got = np.asarray(getattr(ops, name)(tensor(x)))
    np.testing.assert_array_equal(got, want)
    assert (np.signbit(got) == np.signbit(want))[~np.isnan(want)].all()
