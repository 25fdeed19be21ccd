"""Matrix products: matmul, dense, einsum and their relatives, and their gradients."""
import numpy as np
import pytest

from check import THREADS
from fastnn import GradientTape, _core, ops
from fastnn.tensor import convert_to_tensor, to_numpy

EPS = np.finfo(np.float32).eps
SIZES = [1, 2, 3, 5, 6, 7, 8, 9, 13, 15, 16, 17, 31, 33, 48, 49, 63, 64, 65, 97, 127, 131]


def integers(rng, *shape):
    return rng.integers(-4, 5, shape).astype("float32")


def tensors(*arrays):
    return [convert_to_tensor(a) for a in arrays]


def swap(a, do):
    return a.swapaxes(-1, -2) if do else a


def bits(t):
    return to_numpy(t).tobytes()


def in_threads(f):
    """f() is bitwise the same for 1, 2, 3 and 7 threads; its result."""
    old = _core.num_threads()
    try:
        results = []
        for n in THREADS:
            _core.set_num_threads(n)
            results.append(f())
    finally:
        _core.set_num_threads(old)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert bits(a) == bits(b)
    return results[0]


@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_exact(trans_a, trans_b):
    rng = np.random.default_rng(0)
    for _ in range(150):
        m, n, k = rng.choice(SIZES, 3)
        a, b = integers(rng, m, k), integers(rng, k, n)
        bias = integers(rng, n) if rng.integers(2) else None
        kind = int(rng.integers(2))
        y = _core.matmul(*tensors(swap(a, trans_a).copy(), swap(b, trans_b).copy()),
                         None if bias is None else convert_to_tensor(bias), trans_a, trans_b, kind)
        expected = a @ b + (0 if bias is None else bias)
        assert np.array_equal(to_numpy(y), np.maximum(expected, 0) if kind else expected), (m, n, k)


@pytest.mark.parametrize("m, n, k", [(257, 263, 1031), (5, 700, 300), (700, 5, 300), (3, 2, 20011), (64, 64, 9001),
                                     (1, 513, 257), (513, 1, 257), (2, 129, 4100)])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_close_and_the_same_for_all_threads(m, n, k, trans_a, trans_b):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((m, k)).astype("f4"), rng.standard_normal((k, n)).astype("f4")
    ta, tb = tensors(swap(a, trans_a).copy(), swap(b, trans_b).copy())
    y, = in_threads(lambda: [_core.matmul(ta, tb, None, trans_a, trans_b, 0)])
    a, b = a.astype("f8"), b.astype("f8")
    assert (abs(to_numpy(y) - a @ b) <= 16 * EPS * (abs(a) @ abs(b))).all()


@pytest.mark.parametrize("m, n, k", [(1, 1037, 300), (1037, 1, 301), (8, 70, 520), (14, 1100, 700), (15, 1101, 641),
                                     (1, 130, 700), (530, 1, 300), (1101, 301, 400), (523, 1030, 193),
                                     (57, 1100, 650), (64, 130, 129), (33, 1000, 77), (13, 257, 300), (64, 515, 130), (79, 33, 520), (150, 517, 1030), (230, 200, 23)])
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_large_products_are_exact(m, n, k, trans_a, trans_b):
    """Every way of reading the operands: copied, in place, as a stream; slices of k, tails of tiles and panels."""
    rng = np.random.default_rng(12)
    a, b, bias = integers(rng, m, k), integers(rng, k, n), integers(rng, n)
    ta, tb, tbias = tensors(swap(a, trans_a).copy(), swap(b, trans_b).copy(), bias)
    y, z = in_threads(lambda: [_core.matmul(ta, tb, tbias, trans_a, trans_b, 1), _core.matmul(ta, tb, None, trans_a, trans_b, 0)])
    expected = a.astype("f8") @ b
    assert np.array_equal(to_numpy(y), np.maximum(expected + bias, 0)) and np.array_equal(to_numpy(z), expected)


@pytest.mark.parametrize("n", range(2, 17))
def test_few_columns(n):
    """Fewer columns than lanes: sums over k, or rows, fill the lanes. Tails of all of them."""
    rng = np.random.default_rng(n)
    for m, k, trans_a in [(37, 1700, False), (8, 515, False), (130, 64, False), (97, 45, True), (32, 130, True)]:
        a, b, bias = integers(rng, m, k), integers(rng, k, n), integers(rng, n)
        for trans_b in (False, True):
            ta, tb, tbias = tensors(swap(a, trans_a).copy(), swap(b, trans_b).copy(), bias)
            y, z = in_threads(lambda: [_core.matmul(ta, tb, tbias, trans_a, trans_b, 1), _core.matmul(ta, tb, None, trans_a, trans_b, 0)])
            expected = a.astype("f8") @ b
            assert np.array_equal(to_numpy(y), np.maximum(expected + bias, 0)) and np.array_equal(to_numpy(z), expected), (m, k, trans_b)
        a, b = rng.standard_normal((m, k)).astype("f4"), rng.standard_normal((k, n)).astype("f4")
        ta, tb = tensors(swap(a, trans_a).copy(), b)
        y, = in_threads(lambda: [_core.matmul(ta, tb, None, trans_a, False, 0)])
        a, b = a.astype("f8"), b.astype("f8")
        assert (abs(to_numpy(y) - a @ b) <= 16 * EPS * (abs(a) @ abs(b))).all()


@pytest.mark.parametrize("m, n, k, trans_a", [(4097, 4160, 3, False), (4097, 4160, 3, True), (4097, 4112, 3, False), (350001, 48, 3, False),
                                              (65537, 272, 40, False)])
def test_results_larger_than_the_caches(m, n, k, trans_a):
    """They are stored around the caches: whole tiles and the last rows."""
    rng = np.random.default_rng(5)
    a, b, bias = integers(rng, m, k), integers(rng, k, n), integers(rng, n)
    ta, tb, tbias = tensors(swap(a, trans_a).copy(), b, bias)
    for bias, activation in ((None, 0), (tbias, 1)) if k > 3 else ((None, 0),):
        y, = in_threads(lambda: [_core.matmul(ta, tb, bias, trans_a, False, activation)])
        assert np.array_equal(to_numpy(y), np.maximum(a @ b + to_numpy(bias), 0) if activation else a @ b)


# Products that are split into bfloat16 parts where the CPU has a tile unit: whole and broken tiles of rows, columns and
# depth, several units, and a depth that is cut in two.
SPLIT = [(128, 128, 128), (200, 170, 65), (97, 333, 150), (333, 97, 1030), (600, 550, 40), (64, 2000, 300), (96, 70, 70001),
         (300, 136, 100), (1000, 100, 72), (515, 230, 129), (90, 150, 5000), (192, 256, 320), (240, 208, 160), (176, 240, 330),
         (1500, 100, 72), (120, 95, 3001), (160, 250, 2100), (49, 257, 1001), (100, 530, 325), (33, 1000, 333), (128, 2080, 96),
         (200, 130, 900), (150, 600, 100), (600, 330, 840), (1400, 288, 930)]


@pytest.mark.parametrize("m, n, k", SPLIT)
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_split_products(m, n, k, trans_a, trans_b):
    """Integers of one, two and three parts are exact, other numbers as good as sums of float32 products."""
    rng = np.random.default_rng(12)
    for high_a, high_b in ((1, 1),) if k > 10000 else ((8, 8), (120, 1), (1, 2**21 // k)):
        a, b = (rng.integers(-high, high + 1, shape).astype("f4") for high, shape in ((high_a, (m, k)), (high_b, (k, n))))
        if high_a == 120:
            a *= rng.choice([1, 3, 87], (m, 1)).astype("f4")  # 14 bits
            a = np.where(np.arange(k) % (k // 8) == 0, a * 129, 0).astype("f4")
        bias = integers(rng, n)
        y, = in_threads(lambda: [_core.matmul(*tensors(swap(a, trans_a).copy(), swap(b, trans_b).copy(), bias), trans_a, trans_b, 1)])
        assert np.array_equal(to_numpy(y), np.maximum(a.astype("f8") @ b + bias, 0))
    a, b = rng.standard_normal((m, k)).astype("f4"), rng.standard_normal((k, n)).astype("f4")
    a *= np.exp2(rng.integers(-20, 20, (m, 1))).astype("f4")
    y = _core.matmul(*tensors(swap(a, trans_a).copy(), swap(b, trans_b).copy()), None, trans_a, trans_b, 0)
    a, b = a.astype("f8"), b.astype("f8")
    assert (abs(to_numpy(y) - a @ b) <= (4 + k / 32) * EPS * (abs(a) @ abs(b))).all()


@pytest.mark.parametrize("trans_b", [False, True])
def test_batches_that_are_split(trans_b):
    """Matrices that are shared out whole, one of them infinite somewhere."""
    rng = np.random.default_rng(3)
    a, b, bias = rng.integers(-120, 121, (65, 100, 64)).astype("f4"), rng.integers(-120, 121, (65, 64, 130)).astype("f4"), integers(rng, 130)
    a[7, 99, 5] = np.inf
    ta, tb, tbias = tensors(a, swap(b, trans_b).copy(), bias)
    y, = in_threads(lambda: [_core.matmul(ta, tb, tbias, False, trans_b, 0)])
    with np.errstate(invalid="ignore"):
        expected = a.astype("f8") @ b + bias
    assert np.array_equal(to_numpy(y), expected.astype("f4"), equal_nan=True)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("k", [96, 70001])
def test_products_of_what_has_no_parts(value, operand, k):
    rng = np.random.default_rng(5)
    arrays = [np.sign(integers(rng, 96, k)), np.sign(integers(rng, k, 80))]
    arrays[operand][(70, k - 9) if operand == 0 else (k - 9, 70)] = value
    y = to_numpy(_core.matmul(*tensors(*arrays), None, False, False, 0))
    with np.errstate(all="ignore"):
        expected = arrays[0].astype("f8") @ arrays[1]
        assert np.array_equal(np.isnan(y), np.isnan(expected))
        finite = np.isfinite(expected.astype("f4"))
        assert np.array_equal(y[~finite & ~np.isnan(expected)], expected.astype("f4")[~finite & ~np.isnan(expected)])
    np.testing.assert_allclose(y[finite], expected[finite], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [np.inf, np.nan, 3.4e38, 1e-36])
@pytest.mark.parametrize("trans_b", [False, True])
def test_rows_of_many_do_not_see_one_another(value, trans_b):
    """Each row has the same bits in any product of so many, if groups of 32 begin at the same places."""
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((1000, 136)).astype("f4"), rng.standard_normal((136, 150)).astype("f4")
    a[320:352] = value if value < 1 else a[320:352]
    a[700, 100] = value
    product = lambda a: to_numpy(_core.matmul(*tensors(a, swap(b, trans_b).copy()), None, False, trans_b, 0))  # noqa: E731
    y = product(a)
    for begin, end in ((0, 256), (256, 512), (320, 1000), (0, 992)):
        assert np.array_equal(product(a[begin:end].copy()), y[begin:end], equal_nan=True)
    rest = np.arange(1000) != 700
    assert (abs(y[rest] - a[rest].astype("f8") @ b) <= 140 * EPS * (abs(a[rest].astype("f8")) @ abs(b))).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize("operand", [0, 1])
def test_long_sums_of_what_has_no_parts(value, operand):
    rng = np.random.default_rng(5)
    arrays = [np.sign(integers(rng, 96, 9001)), np.sign(integers(rng, 9001, 150))]
    arrays[operand][(70, 8990) if operand == 0 else (8990, 70)] = value
    y, = in_threads(lambda: [_core.matmul(*tensors(arrays[0].T.copy(), arrays[1]), None, True, False, 0)])
    with np.errstate(all="ignore"):
        expected = (arrays[0].astype("f8") @ arrays[1]).astype("f4")
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("a, b", [(1.842e19, 1.842e19), (1e-25, 1e-13), (1.2345678e-36, 1.0), (1.1e-30, 1.3e-4)])
def test_products_near_the_ends_of_the_range(a, b):
    """No part overflows or is lost where products of floats are not."""
    x, w = np.zeros((192, 160), "f4"), np.zeros((160, 224), "f4")
    depth = 1 if a > 1 else 160
    x[:, :depth], w[:depth] = a, b
    y = to_numpy(_core.matmul(*tensors(x, w), None, False, False, 0))
    np.testing.assert_allclose(y, x.astype("f8") @ w, rtol=160 * EPS)


def test_product_declines_what_it_does_not_serve():
    a, b, d = tensors(np.ones((2, 3), "f4"), np.ones((3, 4), "f4"), np.ones((3, 4)))
    assert np.array_equal(to_numpy(_core.product(a, b, False, False)), np.full((2, 4), 3))
    assert _core.product(a, d, False, False) is None and _core.product(None, b, False, False) is None
    assert _core.product(convert_to_tensor(np.ones(3, "f4")), b, False, False) is None
    assert _core.product(a, b, False, False, d, 0) is None
    assert _core.product(a, convert_to_tensor(np.ones((2, 3, 4), "f4")), False, False, None, 0) is None
    with pytest.raises(ValueError, match="inner sizes"):
        _core.product(a, b, True, False)
    with pytest.raises(TypeError, match="wrong number of arguments"):
        _core.product(a)
    with pytest.raises(TypeError):
        _core.product(a, b, False, False, None, "relu")


@pytest.mark.parametrize("a, b", [
    ((3,), (3,)), ((4, 3), (3,)), ((3,), (3, 5)), ((2, 4, 3), (3,)), ((3,), (2, 3, 5)), ((2, 4, 3), (3, 5)),
    ((4, 3), (2, 3, 5)), ((2, 1, 4, 3), (1, 6, 3, 5)), ((7, 4, 3), (7, 3, 5)), ((2, 1, 1, 3), (3, 17)),
    ((0, 3), (3, 5)), ((4, 3), (3, 0)), ((4, 0), (0, 5)), ((2, 0, 3), (3, 5)), ((0,), (0,)), ((70, 2, 3), (70, 3, 2)),
    ((1, 4, 3), (5, 3, 2)), ((2, 4, 3), (1, 3, 1)),
])
def test_numpy_shapes(a, b):
    rng = np.random.default_rng(2)
    a, b = integers(rng, *a), integers(rng, *b)
    y = ops.matmul(a, b)
    expected = np.matmul(a, b)
    assert y.shape == expected.shape and np.array_equal(to_numpy(y), expected)


@pytest.mark.parametrize("a, b", [((3,), (3,)), ((4, 3), (3, 5)), ((2, 4, 3), (3, 5)), ((4, 3), (2, 3, 5)),
                                  ((2, 1, 4, 3), (1, 6, 3, 5)), ((3,), (2, 3, 5)), ((2, 4, 3), (3,)), ((4, 0), (0, 5))])
def test_gradients(a, b):
    """d sum(y * g) is linear in each argument: exact on integers."""
    rng = np.random.default_rng(3)
    a, b = tensors(integers(rng, *a), integers(rng, *b))
    with GradientTape() as tape:
        tape.watch([a, b])
        y = ops.matmul(a, b)
    g = integers(rng, *y.shape)
    ga, gb = tape.gradient(y, [a, b], output_gradients=convert_to_tensor(g))
    for t, gradient in ((a, ga), (b, gb)):
        assert gradient.shape == t.shape
        v = integers(rng, *t.shape)
        other = np.matmul(v, to_numpy(b)) if t is a else np.matmul(to_numpy(a), v)
        assert (to_numpy(gradient) * v).sum() == (other * g).sum()


def activate(z, activation):
    return {None: lambda: z, "relu": lambda: np.maximum(z, 0), "tanh": lambda: np.tanh(z),
            "sigmoid": lambda: 1 / (1 + np.exp(-z))}[activation]()


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("shape, units", [((1, 3), 1), ((32, 20), 17), ((2, 5, 7), 64), ((300, 130), 70), ((0, 4), 3)])
def test_dense(activation, shape, units):
    rng = np.random.default_rng(4)
    x, w, b = rng.standard_normal(shape), rng.standard_normal((shape[-1], units)) / 4, rng.standard_normal(units)
    x, w, b = (v.astype("f4") for v in (x, w, b))
    tx, tw, tb = tensors(x, w, b)
    g = rng.standard_normal((*shape[:-1], units)).astype("f4")

    def run():
        with GradientTape() as tape:
            tape.watch([tx, tw, tb])
            y = ops.dense(tx, tw, tb, activation)
        return [y, *tape.gradient(y, [tx, tw, tb], output_gradients=convert_to_tensor(g))]

    y, gx, gw, gb = in_threads(run)
    x, w, b, g = (v.astype("f8") for v in (x, w, b, g))
    bound = 16 * EPS * (abs(x) @ abs(w) + abs(b) + 1)
    assert (abs(to_numpy(y) - activate(x @ w + b, activation)) <= bound).all()

    def loss(x, w, b):
        return (activate(x @ w + b, activation) * g).sum()

    for i, gradient in enumerate((gx, gw, gb)):
        args = [x, w, b]
        v = rng.standard_normal(args[i].shape)
        plus, minus = list(args), list(args)
        plus[i], minus[i] = args[i] + 1e-6 * v, args[i] - 1e-6 * v
        expected = (loss(*plus) - loss(*minus)) / 2e-6
        scale = (abs(to_numpy(gradient)) * abs(v)).sum() + 1
        assert abs((to_numpy(gradient) * v).sum() - expected) <= 1e-5 * scale


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_dense_second_order(activation):
    rng = np.random.default_rng(5)
    x, w, b = (rng.standard_normal(s).astype("f4") for s in ((4, 3), (3, 5), (5,)))
    tx, tw, tb = tensors(x, w, b)
    with GradientTape() as outer:
        outer.watch([tx, tw, tb])
        with GradientTape() as inner:
            inner.watch(tx)
            y = ops.dense(tx, tw, tb, activation)
        gx = inner.gradient(y, tx)
        total = ops.sum(ops.multiply(gx, gx))
    found = outer.gradient(total, [tx, tw, tb])

    def reference(x, w, b):
        y = activate(x @ w + b, activation)
        slope = {"relu": (y > 0) * 1.0, "sigmoid": y * (1 - y), "tanh": 1 - y * y}[activation]
        return ((slope @ w.T) ** 2).sum()

    args = [v.astype("f8") for v in (x, w, b)]
    for i, gradient in enumerate(found):
        v = rng.standard_normal(args[i].shape)
        plus, minus = list(args), list(args)
        plus[i], minus[i] = args[i] + 1e-6 * v, args[i] - 1e-6 * v
        expected = (reference(*plus) - reference(*minus)) / 2e-6
        actual = 0 if gradient is None else (to_numpy(gradient) * v).sum()
        assert abs(actual - expected) <= 1e-4 * (1 + abs(expected))


def test_dense_keeps_nan():
    x = np.ones((3, 20), "f4")
    x[1, 4] = np.nan
    y = to_numpy(ops.dense(x, np.ones((20, 19), "f4"), np.zeros(19, "f4"), "relu"))
    assert np.isnan(y[1]).all() and (y[[0, 2]] == 20).all()
    # 0 * inf is NaN, not skipped
    x = np.zeros((2, 3), "f4")
    w = np.full((3, 4), np.inf, "f4")
    assert np.isnan(to_numpy(ops.matmul(x, w))).all()


@pytest.mark.parametrize("a, b, result", [
    ("int32", "float32", "float32"), ("int32", "int32", "int32"), ("int8", "int8", "int32"), ("float64", "float32", "float64"),
    ("bool", "float32", "float32"), ("uint8", "int8", "int16"), ("float16", "float32", "float32"),
    ("float16", "float16", "float16"), ("bfloat16", "bfloat16", "bfloat16"), ("float16", "bfloat16", "float32"),
])
def test_dtypes(a, b, result):
    rng = np.random.default_rng(6)
    x, w = rng.integers(0, 2, (3, 4)), rng.integers(0, 2, (4, 5))
    y = ops.matmul(ops.cast(x, a), ops.cast(w, b))
    assert y.dtype == result
    assert np.array_equal(to_numpy(y).astype("f8"), x @ w)


def test_float64_is_computed_in_float64():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((20, 30)), rng.standard_normal((30, 10))
    ta, tb = tensors(a, b)
    with GradientTape() as tape:
        tape.watch([ta, tb])
        y = ops.matmul(ta, tb)
    ga, gb = tape.gradient(y, [ta, tb])
    np.testing.assert_allclose(to_numpy(y), a @ b, rtol=1e-13, atol=1e-13)
    assert ga.dtype == gb.dtype == "float64"
    np.testing.assert_allclose(to_numpy(ga), np.ones((20, 10)) @ b.T, rtol=1e-12)


@pytest.mark.parametrize("name, a, b", [
    ("dot", (3,), (3,)), ("dot", (2, 3), (3, 4)), ("dot", (2, 3), (3,)), ("dot", (2, 5, 3), (3,)),
    ("dot", (2, 5, 3), (4, 3, 6)), ("dot", (), (2, 3)), ("vdot", (2, 3), (2, 3)), ("vdot", (4,), (4,)),
    ("inner", (3,), (3,)), ("inner", (2, 3), (5, 3)), ("inner", (2, 4, 3), (3,)), ("inner", (), (3,)),
    ("outer", (3,), (4,)), ("outer", (2, 3), (2, 2)), ("outer", (), (3,)),
])
def test_products(name, a, b):
    rng = np.random.default_rng(8)
    a, b = integers(rng, *a), integers(rng, *b)
    y = to_numpy(getattr(ops, name)(a, b))
    expected = np.asarray(getattr(np, name)(a, b))
    assert y.shape == expected.shape and np.array_equal(y, expected)


@pytest.mark.parametrize("a, b, axes", [
    ((2, 3, 4), (3, 4, 5), 2), ((2, 3), (4, 5), 0), ((2, 3, 4), (4, 3, 5), ([1, 2], [1, 0])), ((2, 3), (3, 2), ([0], [1])),
    ((2, 3, 4), (2, 3, 4), 3), ((2, 3), (3, 5), (1, 0)), ((2, 3, 4), (5, 4), ([-1], [-1])), ((2, 0), (0, 3), 1),
])
def test_tensordot(a, b, axes):
    rng = np.random.default_rng(9)
    a, b = integers(rng, *a), integers(rng, *b)
    y, expected = to_numpy(ops.tensordot(a, b, axes)), np.tensordot(a, b, axes)
    assert y.shape == expected.shape and np.array_equal(y, expected)


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)),
    ("bij,bkj->bik", (5, 2, 3), (5, 4, 3)), ("ij->ji", (2, 3)), ("ji", (2, 3)), ("ij->", (2, 3)), ("ij->i", (2, 3)),
    ("ii->i", (3, 3)), ("ii", (3, 3)), ("iij->ij", (3, 3, 2)), ("i,j->ij", (2,), (3,)), ("i,i->i", (3,), (3,)),
    ("i,i", (3,), (3,)), ("...ij,...jk->...ik", (5, 2, 3), (3, 4)), ("...ij,jk->...ik", (6, 5, 2, 3), (3, 4)),
    ("i...->...", (3, 4, 5)), ("...", (3, 4)), ("bqhd,bkhd->bhqk", (2, 5, 3, 4), (2, 6, 3, 4)),
    ("bhqk,bkhd->bqhd", (2, 3, 5, 6), (2, 6, 3, 4)), ("abc,cd->abd", (2, 3, 4), (4, 5)), ("ab,bc,cd->ad", (2, 3), (3, 4), (4, 5)),
    ("ab,ab,ab->ab", (2, 3), (2, 3), (2, 3)), ("ab,cd->abcd", (2, 3), (4, 5)), ("ab,bc->b", (2, 3), (3, 4)),
    ("aij,bij->abji", (2, 3, 4), (5, 3, 4)), ("ab,b->ba", (2, 1), (3,)), ("...a,...a->...", (2, 1, 3), (4, 3)),
    ("ij,kj->ki", (2, 3), (4, 3)), ("ji,jk->ik", (3, 2), (3, 4)), ("ab,ac->a", (2, 3), (2, 4)), ("ab->ba", (0, 3)),
    ("ab,bc->ac", (2, 0), (0, 4)),
]


@pytest.mark.parametrize("subscripts, shapes", [(e[0], e[1:]) for e in EINSUMS])
def test_einsum(subscripts, shapes):
    rng = np.random.default_rng(10)
    arrays = [integers(rng, *s) for s in shapes]
    expected = np.asarray(np.einsum(subscripts, *arrays))
    ts = tensors(*arrays)
    with GradientTape() as tape:
        tape.watch(ts)
        y = ops.einsum(subscripts, *ts)
    assert y.shape == expected.shape and np.array_equal(to_numpy(y), expected)
    g = integers(rng, *y.shape)
    gradients = tape.gradient(y, ts, output_gradients=convert_to_tensor(g))
    for i, gradient in enumerate(gradients):  # linear in each operand
        v = integers(rng, *shapes[i])
        moved = np.einsum(subscripts, *arrays[:i], v, *arrays[i + 1 :])
        assert (to_numpy(gradient) * v).sum() == (moved * g).sum()


def test_empty_einsum_of_ints():
    y = ops.einsum("ij,jk->ik", np.ones((2, 3), "int32"), np.ones((3, 4), "int32"))
    assert y.dtype == "int32" and (to_numpy(y) == 3).all()


@pytest.mark.parametrize("call, error, text", [
    (lambda: ops.matmul(np.ones((2, 3), "f4"), np.ones((4, 5), "f4")), ValueError, r"\[matmul\] the inner sizes"),
    (lambda: ops.matmul(np.ones((2, 2, 3), "f4"), np.ones((3, 3, 5), "f4")), ValueError, "must broadcast"),
    (lambda: ops.matmul(np.float32(1), np.ones(3, "f4")), ValueError, "at least 1 axis"),
    (lambda: ops.matmul(np.array(["a"]), np.ones(1, "f4")), TypeError, "dtype"),
    (lambda: ops.matmul(np.ones((2, 2), object), np.ones((2, 2), "f4")), TypeError, "dtype"),
    (lambda: ops.dense(np.ones((2, 3), "f4"), np.ones((4, 5), "f4")), ValueError, "inner sizes"),
    (lambda: ops.dense(np.ones((2, 3), "f4"), np.ones((3, 5), "f4"), np.ones(4, "f4")), ValueError, "bias must have shape"),
    (lambda: ops.dense(np.ones((2, 3), "f4"), np.ones((3, 5), "f4"), None, "gelu"), ValueError, "activation must be"),
    (lambda: ops.dense(np.ones(3, "f4"), np.ones((3, 5), "f4")), ValueError, "at least 2 axes"),
    (lambda: ops.vdot(np.ones(3, "f4"), np.ones(4, "f4")), ValueError, "equal sizes"),
    (lambda: ops.tensordot(np.ones((2, 3), "f4"), np.ones((4, 5), "f4"), 1), ValueError, "equal sizes"),
    (lambda: ops.tensordot(np.ones((2, 3), "f4"), np.ones((4, 5), "f4"), 3), ValueError, "axes must be"),
    (lambda: ops.tensordot(np.ones((2, 3), "f4"), np.ones((4, 5), "f4"), ([5], [0])), ValueError, "axes of x1"),
    (lambda: ops.einsum("ij,jk->ik", np.ones((2, 3), "f4"), np.ones((4, 5), "f4")), ValueError, "one size"),
    (lambda: ops.einsum("ij->ik", np.ones((2, 3), "f4")), ValueError, "letter of the result"),
    (lambda: ops.einsum("ijk->i", np.ones((2, 3), "f4")), ValueError, "one letter for each axis"),
    (lambda: ops.einsum("ij,jk->ik", np.ones((2, 3), "f4")), ValueError, "one term for each"),
    (lambda: ops.einsum("i1->i", np.ones((2, 3), "f4")), ValueError, "letters"),
    (lambda: _core.matmul(*tensors(np.ones((2, 3)), np.ones((3, 2), "f4")), None, False, False, 0), TypeError, "float32"),
    (lambda: _core.matmul(*tensors(np.ones((2, 3), "f4"), np.ones((3, 2), "f4")), None, False, False, 9), ValueError, "activation"),
    (lambda: _core.epilogue_backward(1, *tensors(np.ones((2, 3), "f4"), np.ones((3, 2), "f4")), True), ValueError, "gy must have"),
])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
