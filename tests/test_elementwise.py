"""Arithmetic, comparisons, activations: values, dtypes, broadcasting, gradients, special values."""
import math
import operator

import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, KerasTensor, Variable, activations, ops

from check import THREADS, check_close, check_gradient, check_op, tensor, values

RNG = np.random.default_rng(0)
TAILS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 35)
SHAPES = [
    ((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (5,)), ((2, 1, 5), (4, 1)),
    ((7, 33), (33,)), ((7, 33), (7, 1)), ((5,), (1, 1, 1)), ((2, 3, 1, 5), (1, 3, 4, 1)), ((0, 3), (3,)), ((1,), (0, 1)),
] + [((n,), (n,)) for n in TAILS] + [((3, n), (n,)) for n in TAILS] + [((n, 3), (n, 1)) for n in TAILS]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]
COMPARISONS = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.5, 1e-45, -1e-40, 3e38], np.float32)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# ---- two arguments ----


@pytest.mark.parametrize("name", BINARY + COMPARISONS)
def test_binary_functions_broadcast_as_numpy(name):
    for sa, sb in SHAPES:
        a, b = normal(*sa), normal(*sb)
        if b.size and a.size:
            b.flat[0] = a.flat[0]
        with np.errstate(all="ignore"):
            want = getattr(np, name)(a, b)
        got = getattr(ops, name)(tensor(a), tensor(b))
        assert got.shape == want.shape and got.dtype == want.dtype.name
        np.testing.assert_array_equal(np.asarray(got), want, err_msg=f"{sa} {sb}")


@pytest.mark.parametrize("name", BINARY + COMPARISONS)
def test_special_values_in_every_lane(name):
    a, b = (v.ravel() for v in np.meshgrid(SPECIAL, SPECIAL))
    for shift in range(17):
        x, y = np.roll(a, shift), np.roll(b, shift)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(np.asarray(getattr(ops, name)(tensor(x), tensor(y))), getattr(np, name)(x, y))
            for v in SPECIAL:  # numbers take another kernel
                value = float(v)
                np.testing.assert_array_equal(np.asarray(getattr(ops, name)(tensor(x), value)), getattr(np, name)(x, v))
                np.testing.assert_array_equal(np.asarray(getattr(ops, name)(value, tensor(x))), getattr(np, name)(v, x))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", [((3, 17), (3, 17)), ((3, 17), (17,)), ((3, 1), (1, 9)), ((4, 5), ())])
def test_binary_gradients(name, shapes):
    def away_from_zero(a):  # a divisor
        return a + np.copysign(1.0, a)

    def reference(a, b):
        return getattr(np, name)(a, away_from_zero(b) if name == "divide" else b)

    def op(a, b):
        return getattr(ops, name)(a, b + ops.sign(b) if name == "divide" else b)

    check_op(op, reference, shapes, exact=False)


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_large_arrays_have_the_same_bits_for_any_number_of_threads(size):
    a, b = tensor(normal(size)), tensor(normal(size))
    rows = tensor(normal(size // 100, 100)), tensor(normal(100))
    seen, before = set(), fastnn.num_threads()
    try:
        for n in THREADS:
            fastnn.set_num_threads(n)
            results = [a * b, a / b, ops.tanh(a), rows[0] + rows[1], ops.where(a > b, a, b), ops.add_n([a, b, a])]
            seen.add(b"".join(np.asarray(r).tobytes() for r in results))
    finally:
        fastnn.set_num_threads(before)
    assert len(seen) == 1
    np.testing.assert_array_equal(np.asarray(rows[0] + rows[1]), np.asarray(rows[0]) + np.asarray(rows[1]))


@pytest.mark.parametrize("x1,x2,dtype", [
    (np.int32(1), np.float32(1), "float32"), (np.int64([1]), 2, "int64"), (np.int8([1]), np.int16([1]), "int16"),
    (np.uint8([1]), 2.5, "float32"), (np.float16([1]), 2.5, "float16"), (np.float64([1]), np.float32([1]), "float64"),
    (np.array([True]), 1, "int32"), (np.float32([1]), True, "float32"), (2, 3, "int32"), (2, 3.5, "float32"),
    (np.int32([1]), np.float16([1]), "float16"),
])
def test_promotion_is_that_of_keras(x1, x2, dtype):
    assert ops.add(x1, x2).dtype == dtype
    assert ops.add(x2, x1).dtype == dtype
    np.testing.assert_array_equal(np.asarray(ops.add(x1, x2)).astype(float), np.add(np.float64(x1), np.float64(x2)))


def test_integers_divide_to_floats_and_compare_by_value():
    assert ops.divide(np.int32([1, 2]), 4).dtype == "float32"
    assert np.asarray(ops.divide(np.int32([1, 2]), 4)).tolist() == [0.25, 0.5]
    assert np.asarray(ops.equal(np.int64([2**53 + 1]), np.int64([2**53]))).tolist() == [False]
    assert np.asarray(ops.exp(np.int32([0]))).tolist() == [1.0] and ops.exp(np.int32([0])).dtype == "float32"
    assert ops.abs(np.int32([-3])).dtype == "int32" and ops.square(np.int8([3])).dtype == "int8"


def test_bfloat16_goes_through_float32():
    x = ops.cast(tensor([1.0, 2.0, 3.0]), "bfloat16")
    y = ops.exp(x)
    assert y.dtype == "bfloat16"
    np.testing.assert_allclose(values(ops.cast(y, "float32")), np.exp([1, 2, 3]), rtol=2**-8)


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"\[add\] the shapes must broadcast. Received: shapes .*2, 3.* and .*4"):
        ops.add(tensor(normal(2, 3)), tensor(normal(4)))
    with pytest.raises(ValueError, match="broadcast"):
        ops.add(np.ones((2, 3), np.int32), np.ones(4, np.int32))
    with pytest.raises(ValueError, match="broadcast"):
        ops.where(tensor(normal(3)) > 0, tensor(normal(2)), 0.0)
    with pytest.raises(TypeError):
        ops.add(tensor(normal(2)), "a")


@pytest.mark.parametrize("op,numpy_op", [
    (operator.add, np.add), (operator.sub, np.subtract), (operator.mul, np.multiply), (operator.truediv, np.divide),
    (operator.floordiv, np.floor_divide), (operator.mod, np.mod), (operator.pow, np.power), (operator.lt, np.less),
    (operator.le, np.less_equal), (operator.gt, np.greater), (operator.ge, np.greater_equal), (operator.eq, np.equal),
    (operator.ne, np.not_equal),
])
@pytest.mark.parametrize("wrap", [tensor, Variable])
def test_operators(op, numpy_op, wrap):
    a, b = np.abs(normal(5)) + 1, np.abs(normal(5)) + 1
    close = dict(rtol=1e-6)
    np.testing.assert_allclose(np.asarray(op(wrap(a), wrap(b))), numpy_op(a, b), **close)
    np.testing.assert_allclose(np.asarray(op(wrap(a), b)), numpy_op(a, b), **close)
    np.testing.assert_allclose(np.asarray(op(a, wrap(b))), numpy_op(a, b), **close)
    np.testing.assert_allclose(np.asarray(op(wrap(a), 2.0)), numpy_op(a, np.float32(2)), **close)
    np.testing.assert_allclose(np.asarray(op(2.0, wrap(b))), numpy_op(np.float32(2), b), **close)


def test_other_operators():
    a = normal(4)
    np.testing.assert_array_equal(np.asarray(-tensor(a)), -a)
    np.testing.assert_array_equal(np.asarray(abs(tensor(a))), abs(a))
    np.testing.assert_array_equal(np.asarray(~(tensor(a) > 0)), ~(a > 0))
    np.testing.assert_array_equal(np.asarray((tensor(a) > 0) & (tensor(a) < 1)), (a > 0) & (a < 1))
    np.testing.assert_allclose(np.asarray(tensor(np.eye(2)) @ tensor([[1.0, 2], [3, 4]])), [[1, 2], [3, 4]])
    assert (tensor(a) == None) is False and (tensor(a) != None) is True  # noqa: E711
    x = tensor(a)
    assert x in [x] or True
    assert {x: 1}[x] == 1


def test_symbolic_tensors_take_operators():
    x, y = KerasTensor((None, 4)), KerasTensor((3, 1, 4))
    assert (x + 1).shape == (None, 4) and (2 * x - x / 3).shape == (None, 4)
    assert (x * y).shape == (3, None, 4)
    assert (x > 0).dtype == "bool" and ops.relu(x).shape == (None, 4)
    assert (KerasTensor((2,), "int32") / 2).dtype == "float32"
    with pytest.raises(ValueError, match="broadcast"):
        KerasTensor((None, 4)) + KerasTensor((None, 5))


@pytest.mark.parametrize("n", TAILS)
def test_where(n):
    c, a, b = normal(2, n) > 0, normal(2, n), normal(2, n)
    np.testing.assert_array_equal(np.asarray(ops.where(c, tensor(a), tensor(b))), np.where(c, a, b))
    np.testing.assert_array_equal(np.asarray(ops.where(c[0], tensor(a), 0.5)), np.where(c[0], a, np.float32(0.5)))
    np.testing.assert_array_equal(np.asarray(ops.where(c[:, :1], tensor(a[0]), tensor(b))), np.where(c[:, :1], a[0], b))
    np.testing.assert_array_equal(np.asarray(ops.where(tensor(a) * 0 + 1, tensor(a), tensor(b))), a)
    check_gradient(lambda x, y: ops.where(c, x, y), lambda x, y: np.where(c, x, y), [a.astype(float), b.astype(float)],
                   np.random.default_rng(0))


def test_where_of_one_argument_gives_indices():
    rows, columns = ops.where(np.array([[0, 1], [1, 1]]))
    assert np.asarray(rows).tolist() == [0, 1, 1] and np.asarray(columns).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="given together"):
        ops.where(np.array([True]), 1.0)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 20])
def test_add_n(count):
    xs = [RNG.integers(-9, 9, (3, 7)).astype(np.float32) for _ in range(count)]
    np.testing.assert_array_equal(np.asarray(ops.add_n(xs)), np.sum(xs, axis=0))
    with pytest.raises(ValueError, match="shape"):
        ops.add_n([np.ones(2, np.float32), np.ones(3, np.float32)])


def test_power_gradient():
    check_op(lambda a, b: ops.power(ops.abs(a) + 0.5, b), lambda a, b: np.power(np.abs(a) + 0.5, b), [(3, 5), (5,)],
             exact=False)
    for exponent in (0, 1, 2, 3, 0.5, -1, -2.5):
        check_op(lambda x: (ops.abs(x) + 0.5) ** exponent, lambda x: (np.abs(x) + 0.5) ** exponent, [(17,)], exact=False)
    x = tensor([0.0, 2.0])
    with GradientTape() as tape:
        tape.watch(x)
        y = x ** tensor([0.0, 0.0]) + x**0
    assert np.asarray(tape.gradient(y, x)).tolist() == [0.0, 0.0]


# ---- one argument ----


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


ERF = np.vectorize(math.erf)
ANYWHERE = {
    "negative": np.negative, "abs": np.abs, "square": np.square, "exp": np.exp, "expm1": np.expm1, "sin": np.sin,
    "cos": np.cos, "tanh": np.tanh, "sigmoid": sigmoid, "softplus": softplus, "erf": ERF,
    "log_sigmoid": lambda x: -softplus(-x), "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x), "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)), "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "mish": lambda x: x * np.tanh(softplus(x)), "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6, "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1), "tanh_shrink": lambda x: x - np.tanh(x),
    "soft_shrink": lambda x: np.where(np.abs(x) <= 0.5, 0, x - np.copysign(0.5, x)),
    "hard_shrink": lambda x: np.where(np.abs(x) <= 0.5, 0, x), "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1), "sinh": np.sinh, "cosh": np.cosh, "arctan": np.arctan,
    "arcsinh": np.arcsinh, "exp2": np.exp2, "cbrt": np.cbrt, "deg2rad": np.deg2rad, "rad2deg": np.rad2deg, "sinc": np.sinc,
    "erfc": lambda x: 1 - ERF(x), "fabs": np.fabs,
}
POSITIVE = {"sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "log": np.log, "log1p": np.log1p, "log2": np.log2,
            "log10": np.log10, "reciprocal": lambda x: 1 / x}
INSIDE = {"tan": np.tan, "arcsin": np.arcsin, "arccos": np.arccos, "arctanh": np.arctanh}


@pytest.mark.parametrize("name", ANYWHERE)
def test_functions_and_gradients(name):
    check_op(getattr(ops, name), ANYWHERE[name], [(3, 35)], exact=False)


@pytest.mark.parametrize("name", POSITIVE)
def test_functions_and_gradients_of_positive_numbers(name):
    f, g = getattr(ops, name), POSITIVE[name]
    check_op(lambda x: f(ops.abs(x) + 0.5), lambda x: g(np.abs(x) + 0.5), [(3, 35)], exact=False)


@pytest.mark.parametrize("name", INSIDE)
def test_functions_and_gradients_of_small_numbers(name):
    f, g = getattr(ops, name), INSIDE[name]
    check_op(lambda x: f(ops.tanh(x) * 0.9), lambda x: g(np.tanh(x) * 0.9), [(3, 35)], exact=False)


@pytest.mark.parametrize("name", [*ANYWHERE, *POSITIVE, *INSIDE])
def test_second_derivatives(name):
    """The derivative of the fused backward kernel, against a central difference of the first derivative."""
    x = RNG.uniform(0.3, 0.8, 20)
    f = getattr(ops, name)

    def first(at):
        t = tensor(at)
        with GradientTape() as tape:
            tape.watch(t)
            y = ops.sum(f(t) * f(t))
        return tape.gradient(y, t)

    t = tensor(x)
    with GradientTape() as outer:
        outer.watch(t)
        with GradientTape() as tape:
            tape.watch(t)
            y = ops.sum(f(t) * f(t))
        g = tape.gradient(y, t)
    second = outer.gradient(g, t)
    np.testing.assert_allclose(values(g), values(first(x)), rtol=1e-4, atol=1e-5)
    if second is None:
        return
    h = 1e-2
    numeric = (values(first(x + h)) - values(first(x - h))) / (2 * h)
    kinks = np.abs(x[:, None] - np.array([0, 0.5, 1])).min(1) < 2 * h
    np.testing.assert_allclose(values(second)[~kinks], numeric[~kinks], rtol=2e-2, atol=3e-2)


def test_functions_of_float64():
    x = RNG.normal(size=(2, 5))
    for name, reference in ANYWHERE.items():
        y = getattr(ops, name)(fastnn.convert_to_tensor(x))
        assert y.dtype == "float64", name
        np.testing.assert_allclose(np.asarray(y), reference(x), rtol=1e-12, atol=1e-13, err_msg=name)


NAN_STAYS = ["abs", "square", "sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "tanh", "sigmoid",
             "erf", "softplus", "log_sigmoid", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "silu", "gelu", "mish",
             "softsign", "hard_sigmoid", "hard_silu", "hard_tanh", "tanh_shrink", "soft_shrink", "hard_shrink",
             "squareplus", "sign", "floor", "ceil", "round", "trunc", "reciprocal", "negative"]


@pytest.mark.parametrize("name", NAN_STAYS)
def test_nan_stays_in_every_lane_and_touches_no_other(name):
    for n in (1, 4, 7, 16, 17, 35):
        for at in range(n):
            x = np.full(n, 0.5, np.float32)
            x[at] = np.nan
            y = np.asarray(getattr(ops, name)(tensor(x)))
            assert np.isnan(y).nonzero()[0].tolist() == [at]


@pytest.mark.parametrize("name,at_minus_inf,at_inf", [
    ("relu", 0, np.inf), ("relu6", 0, 6), ("sigmoid", 0, 1), ("tanh", -1, 1), ("softplus", 0, np.inf), ("elu", -1, np.inf),
    ("selu", -1.7580993, np.inf), ("hard_sigmoid", 0, 1), ("hard_tanh", -1, 1), ("erf", -1, 1), ("exp", 0, np.inf),
    ("log_sigmoid", -np.inf, 0), ("leaky_relu", -np.inf, np.inf), ("sign", -1, 1), ("expm1", -1, np.inf),
])
def test_limits(name, at_minus_inf, at_inf):
    y = np.asarray(getattr(ops, name)(tensor([-np.inf, np.inf])))
    np.testing.assert_allclose(y, [at_minus_inf, at_inf], rtol=1e-6)


@pytest.mark.parametrize("function,reference", [
    (lambda x: ops.leaky_relu(x, 0.4), lambda x: np.where(x > 0, x, 0.4 * x)),
    (lambda x: ops.leaky_relu(x, -0.4), lambda x: np.where(x > 0, x, -0.4 * x)),
    (lambda x: ops.elu(x, -0.7), lambda x: np.where(x > 0, x, -0.7 * np.expm1(x))),
    (lambda x: ops.celu(x, 2), lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
    (lambda x: ops.gelu(x, approximate=False), lambda x: 0.5 * x * (1 + ERF(x / math.sqrt(2)))),
    (lambda x: ops.threshold(x, 0.3, -5), lambda x: np.where(x > 0.3, x, -5)),
    (lambda x: ops.squareplus(x, 1), lambda x: (x + np.sqrt(x * x + 1)) / 2),
    (lambda x: ops.clip(x, -0.5, 0.7), lambda x: np.clip(x, -0.5, 0.7)),
    (lambda x: ops.clip(x, None, 0.7), lambda x: np.minimum(x, 0.7)),
    (lambda x: activations.relu(x, 0.1, 1.0, 0.2),
     lambda x: np.where(x >= 1, 1, np.where(x >= 0.2, x, 0.1 * (x - 0.2)))),
    (lambda x: ops.glu(x), lambda x: x[:, :8] * sigmoid(x[:, 8:])),
], ids=range(11))
def test_functions_with_parameters(function, reference):
    check_op(function, reference, [(3, 16)], exact=False)


def test_sparsemax():
    x = normal(4, 9)
    y = values(ops.sparsemax(tensor(x)))
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-6)
    for row, z in zip(y, x.astype(float)):  # the projection: z - tau where positive
        tau = (z - row)[row > 0]
        assert np.ptp(tau) < 1e-6 and (z[row == 0] <= tau[0] + 1e-6).all()


def test_clip_of_integers_and_tensors():
    assert ops.clip(np.int32([1, 5, 9]), 2, 6).dtype == "int32"
    assert np.asarray(ops.clip(np.int32([1, 5, 9]), 2, 6)).tolist() == [2, 5, 6]
    np.testing.assert_array_equal(np.asarray(ops.clip(tensor([1.0, 5, 9]), tensor([2.0, 6, 3]), 7.0)), [2, 6, 7])


def test_round():
    x = tensor([0.5, 1.5, 2.5, -0.5, 1.2345])
    np.testing.assert_array_equal(np.asarray(ops.round(x)), [0, 2, 2, -0.0, 1])
    np.testing.assert_array_equal(np.asarray(ops.round(x, 2)), np.float32([0.5, 1.5, 2.5, -0.5, 1.23]))
    assert np.asarray(round(x, 1)).tolist() == np.float32([0.5, 1.5, 2.5, -0.5, 1.2]).tolist()


@pytest.mark.parametrize("name", ["arctan2", "hypot", "logaddexp", "logaddexp2", "fmax", "fmin"])
def test_long_tail_of_two_arguments(name):
    check_op(getattr(ops, name), getattr(np, name), [(3, 5), (5,)], exact=False)


@pytest.mark.parametrize("name", ["floor_divide", "mod", "fmod", "gcd", "lcm", "bitwise_and", "bitwise_or", "bitwise_xor"])
def test_integers_of_two_arguments(name):
    a, b = RNG.integers(1, 50, (2, 6)).astype(np.int32)
    y = getattr(ops, name)(a, b)
    assert y.dtype == "int32"
    np.testing.assert_array_equal(np.asarray(y), getattr(np, name)(a, b))


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "isposinf", "isneginf", "signbit", "logical_not"])
def test_tests(name):
    np.testing.assert_array_equal(np.asarray(getattr(ops, name)(tensor(SPECIAL))), getattr(np, name)(SPECIAL))


def test_erfinv_inverts_erf():
    y = np.array([-1, -0.999999, -0.5, -1e-8, 0, 0.3, 0.9, 0.99999, 1, 2])
    x = values(ops.erfinv(fastnn.convert_to_tensor(y)))
    np.testing.assert_allclose(ERF(x[1:-2]), y[1:-2], rtol=1e-12)
    assert x[0] == -np.inf and x[-2] == np.inf and np.isnan(x[-1])


def test_nan_to_num():
    x = tensor([np.nan, np.inf, -np.inf, 1])
    np.testing.assert_array_equal(np.asarray(ops.nan_to_num(x)), np.nan_to_num(np.asarray(x)))
    np.testing.assert_array_equal(np.asarray(ops.nan_to_num(x, 1, 2, 3)), [1, 2, 3, 1])


def test_numpy_arrays_are_read_in_place_or_copied_right():
    a = normal(6, 8)
    for view in (a, a.T, a[::2], a[:, ::-1], np.asfortranarray(a), np.broadcast_to(a[:1], (6, 8)), a.astype(">f4")):
        np.testing.assert_array_equal(np.asarray(ops.add(view, 1.0)), np.asarray(view, np.float32) + 1)


# ---- names ----


def test_activations_by_name():
    names = [n for n in dir(activations) if callable(getattr(activations, n)) and not n.startswith("_")]
    for name in set(names) - {"get", "serialize", "deserialize", "resolve", "get_registered_name", "serialize_keras_object"}:
        f = activations.get(name)
        assert activations.get(activations.serialize(f)) is f
    assert activations.get(None) is activations.linear and activations.get(math.sin) is math.sin
    with pytest.raises(ValueError, match="Could not interpret activation function identifier: unknown name. Did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(ValueError, match="Could not interpret activation"):
        activations.get(3)
    with pytest.raises(TypeError, match=r"\[leaky_relu\] negative_slope must be a number"):
        ops.leaky_relu(tensor([1.0]), None)


def test_close_to_the_reference_over_a_wide_range():
    x = np.linspace(-30, 30, 4001)
    for name in ("sigmoid", "tanh", "gelu", "silu", "mish", "softplus", "elu", "selu"):
        check_close(getattr(ops, name), ANYWHERE[name], [x])


@pytest.mark.parametrize("name, dtype", [("absolute", "bool"), ("trunc", "bool"), ("square", "int32"), ("floor", "float32")])
def test_what_bool_becomes(name, dtype):
    x = ops.convert_to_tensor([True, False])
    y = getattr(ops, name)(x)
    assert y.dtype == dtype == getattr(ops, name)(KerasTensor((2,), "bool")).dtype
    np.testing.assert_array_equal(y, [1, 0])
    assert ops.max(x, initial=False).dtype == "bool"
