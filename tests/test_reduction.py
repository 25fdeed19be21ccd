"""Reductions over every group of axes: values, error bounds, NaN, gradients, thread counts."""
import math

import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, KerasTensor, ops
from fastnn.ops.reduction import sum_to_shape

from check import EPS, THREADS, assert_near, check_gradient, check_op, gradients, tensor, values

RNG = np.random.default_rng(0)
CASES = [
    ((), None), ((1,), 0), ((3, 4), None), ((3, 4), 0), ((3, 4), 1), ((3, 4), (0, 1)), ((3, 4), -1), ((2, 3, 4), (0, 2)),
    ((2, 3, 4), 1), ((2, 3, 4, 5), (1, 3)), ((2, 3, 4, 5), (0, 1, 2)), ((5, 70), 0), ((70, 5), 1), ((1000, 3), 0),
    ((3, 5000), 1), ((300, 600), 0), ((4, 130, 7), 1), ((1, 1, 5), (0, 1)), ((4, 0), 0), ((2, 3), ()), ((40, 40, 3), (0, 1)),
] + [((3, n), 1) for n in (1, 2, 7, 8, 9, 15, 16, 17, 35, 1023, 1025, 4100)] \
  + [((67, n), 0) for n in (2, 7, 8, 9, 15, 16, 17, 35, 511, 513)]
REDUCTIONS = ["sum", "mean", "max", "min", "prod"]


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def empty(shape, axis):
    axes = range(len(shape)) if axis is None else np.atleast_1d(axis).astype(int)
    return any(shape[a] == 0 for a in axes)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_small_integers_are_exact(name):
    for shape, axis in CASES:
        if empty(shape, axis):
            continue
        x = RNG.integers(-3, 4, shape).astype(np.float32)
        if name == "prod":
            x = np.where(x > 2, 2.0, 1.0).astype(np.float32) * np.sign(x + 0.5)
            x = np.where(np.arange(x.size).reshape(shape) % 97 < 90, np.sign(x), x).astype(np.float32)
        for keepdims in (False, True):
            want = getattr(np, name)(x.astype(np.float64), axis=axis, keepdims=keepdims).astype(np.float32)
            got = getattr(ops, name)(tensor(x), axis=axis, keepdims=keepdims)
            assert got.shape == want.shape, (shape, axis)
            np.testing.assert_array_equal(np.asarray(got), want, err_msg=f"{shape} {axis}")


@pytest.mark.parametrize("shape,axis", CASES + [((1_000_000,), 0), ((1_000_000, 2), 0), ((3, 400_000), 1), ((2, 20_000, 20), 1)])
def test_sums_have_a_small_error(shape, axis):
    """Pairwise: 64 roundings in a block at most, and the logarithm of the number of blocks."""
    x = normal(*shape) + 1
    want, size = x.sum(axis, dtype=np.float64), np.abs(x).sum(axis, dtype=np.float64)
    assert (np.abs(values(ops.sum(tensor(x), axis)) - want) <= 16 * EPS * size).all()
    if not empty(shape, axis):
        count = x.size / max(want.size, 1)
        assert (np.abs(values(ops.mean(tensor(x), axis)) - want / count) <= 16 * EPS * size / count).all()


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "var", "std", "logsumexp", "ptp"])
@pytest.mark.parametrize("shape,axis", [((3, 4), None), ((3, 17), 1), ((17, 3), 0), ((2, 3, 4), (0, 2)), ((5,), -1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_gradients(name, shape, axis, keepdims):
    reference = {"logsumexp": lambda x, **k: np.log(np.sum(np.exp(x), **k))}.get(name) or getattr(np, name)
    check_op(lambda x: getattr(ops, name)(x, axis=axis, keepdims=keepdims),
             lambda x: reference(x, axis=axis, keepdims=keepdims), [shape], exact=False)


def test_second_derivatives():
    x = tensor(normal(3, 4))
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(ops.square(ops.mean(x * x, axis=1))) + ops.logsumexp(x)
        g = tape.gradient(y, x)
        z = ops.sum(g * g)
    h = outer.gradient(z, x)

    def f(a):
        m = (a * a).mean(1, keepdims=True)
        e = np.exp(a) / np.exp(a).sum()
        return ((m * a + e) ** 2).sum()

    a, v = values(x), RNG.normal(size=(3, 4))
    numeric = (f(a + 1e-6 * v) - f(a - 1e-6 * v)) / 2e-6
    assert abs((values(h) * v).sum() - numeric) < 3e-5 * np.linalg.norm(values(h)) * np.linalg.norm(v)


@pytest.mark.parametrize("name", ["max", "min", "sum", "mean", "prod", "argmax", "argmin"])
def test_nan_in_every_place(name):
    for shape, axis in [((1, 35), 1), ((35, 1), 0), ((5, 17), 0), ((5, 3), 0), ((70, 16), 0), ((2, 4, 33), 1)]:
        for at in range(0, int(np.prod(shape)), 3):
            x = normal(*shape)
            x.flat[at] = np.nan
            got = np.asarray(getattr(ops, name)(tensor(x), axis))
            want = getattr(np, name)(x, axis)
            if name.startswith("arg"):
                np.testing.assert_array_equal(got, want)
            else:
                np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


def test_infinities():
    x = np.full((3, 20), -np.inf, np.float32)
    assert np.asarray(ops.max(tensor(x), 1)).tolist() == [-np.inf] * 3
    assert np.asarray(ops.min(tensor(-x), 0)).tolist() == [np.inf] * 20
    assert np.asarray(ops.logsumexp(tensor(x), 1)).tolist() == [-np.inf] * 3
    assert np.asarray(ops.logsumexp(tensor([np.inf, 1.0]))).item() == np.inf
    assert np.asarray(ops.logsumexp(tensor([1000.0, 1000.0]))).item() == np.float32(1000 + math.log(2))
    assert np.asarray(ops.argmax(tensor(x), 1)).tolist() == [0] * 3


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions(name):
    for shape, axis in [((3, 4), 0), ((3, 4), 1), ((3, 40), -1), ((30, 4), 0), ((5, 60, 7), 1), ((100,), None), ((2, 3), None),
                        ((4, 1000), 1), ((1,), 0), ((9, 17, 3), 0)]:
        x = RNG.integers(-5, 5, shape).astype(np.float32)  # many equal extrema: the first counts
        for keepdims in (False, True):
            got = getattr(ops, name)(tensor(x), axis, keepdims)
            assert got.dtype == "int32"
            want = getattr(np, name)(x, axis, keepdims=keepdims)
            assert got.shape == want.shape
            np.testing.assert_array_equal(np.asarray(got), want)
    assert np.asarray(getattr(ops, name)(np.int64([[3, 1, 2]]), 1)).tolist() == getattr(np, name)([[3, 1, 2]], 1).tolist()


@pytest.mark.parametrize("shape, axis", [((40_000,), 0), ((2, 33_000), 1), ((2, 9000, 3), 1)])
def test_positions_in_long_rows(shape, axis):
    """Longer than what a block of a GPU looks at."""
    x = RNG.integers(-5, 5, shape).astype(np.float32)
    for at in (None, -1, shape[axis] // 2, 0):
        if at is not None:
            np.moveaxis(x, axis, 0)[at] = np.nan
        for name in ("argmax", "argmin"):
            np.testing.assert_array_equal(np.asarray(getattr(ops, name)(tensor(x), axis)), getattr(np, name)(x, axis))
    x = np.zeros(shape, np.float32)
    np.moveaxis(x, axis, 0)[-1] = 7
    assert (np.asarray(ops.argmax(tensor(x), axis)) == shape[axis] - 1).all()


@pytest.mark.parametrize("shape,axis", [((1_000_000,), None), ((700, 900), 0), ((700, 900), 1), ((3, 70_000, 5), 1), ((8, 30, 30, 16), (0, 1, 2))])
def test_any_number_of_threads_gives_the_same_bits(shape, axis):
    x = tensor(normal(*shape))
    seen, before = set(), fastnn.num_threads()
    try:
        for n in THREADS:
            fastnn.set_num_threads(n)
            results = [getattr(ops, name)(x, axis) for name in REDUCTIONS]
            if not isinstance(axis, tuple):
                results.append(ops.argmax(x, axis))
            seen.add(b"".join(np.asarray(r).tobytes() for r in results))
    finally:
        fastnn.set_num_threads(before)
    assert len(seen) == 1


def test_ties_share_the_gradient_of_an_extremum():
    _, (g,) = gradients(ops.max, [np.array([[1.0, 3, 3], [2, 2, 2]])], np.array([1.0, 3]), axis=1)
    np.testing.assert_allclose(np.asarray(g), [[0, 0.5, 0.5], [1, 1, 1]])


def test_the_gradient_of_a_product_with_zeros():
    x = np.array([[2.0, 0, 3], [0, 0, 5], [1, 2, 3]])
    _, (g,) = gradients(ops.prod, [x], np.ones(3), axis=1)
    np.testing.assert_array_equal(np.asarray(g), [[0, 6, 0], [0, 0, 0], [6, 3, 2]])


def test_empty_axes():
    x = tensor(np.ones((0, 3)))
    assert np.asarray(ops.sum(x, 0)).tolist() == [0, 0, 0] and np.asarray(ops.prod(x, 0)).tolist() == [1, 1, 1]
    assert np.isnan(np.asarray(ops.mean(x, 0))).all() and ops.sum(x, 1).shape == (0,)
    for name in ("max", "min"):
        with pytest.raises(ValueError, match=rf"\[{name}\] the axes must not be empty. Received: x.shape=\(0, 3\)"):
            getattr(ops, name)(x, 0)
        with pytest.raises(ValueError, match="must not be empty"):
            getattr(ops, name)(np.ones((0, 3), np.int32), 0)
        assert getattr(ops, name)(x, 1).shape == (0,)
    assert np.asarray(ops.max(x, 0, initial=-7.0)).tolist() == [-7] * 3
    assert np.asarray(ops.max(tensor([1.0, 2]), initial=5.0)).item() == 5
    with pytest.raises(ValueError, match="the axis must not be empty"):
        ops.argmax(x, 0)


@pytest.mark.parametrize("axis,error", [(2, ValueError), (-3, ValueError), ((0, 0), ValueError), ((0, -2), ValueError),
                                        (1.5, TypeError), ("a", TypeError)])
@pytest.mark.parametrize("name", ["sum", "max", "argmax", "any", "logsumexp"])
def test_wrong_axes(name, axis, error):
    with pytest.raises(error, match="axis"):
        getattr(ops, name)(tensor(np.ones((2, 3))), axis)


@pytest.mark.parametrize("name,dtype,result", [
    ("sum", "bool", "int32"), ("sum", "int8", "int32"), ("sum", "uint8", "uint32"), ("sum", "int64", "int64"),
    ("mean", "int32", "float32"), ("max", "int8", "int8"), ("prod", "bool", "int32"), ("sum", "float16", "float16"),
    ("mean", "float64", "float64"), ("argmax", "int8", "int32"), ("var", "int32", "float32"), ("any", "int32", "bool"),
])
def test_dtypes(name, dtype, result):
    assert getattr(ops, name)(np.ones((2, 3), dtype)).dtype == result
    assert getattr(ops, name)(KerasTensor((2, None), dtype), axis=0).dtype == result
    assert getattr(ops, name)(KerasTensor((2, None), dtype), axis=0).shape == (None,)


@pytest.mark.parametrize("name", ["any", "all"])
def test_logic(name):
    x = np.array([[0, 1, 2], [0, 0, 0], [3, 1, 1]])
    for axis in (None, 0, 1):
        np.testing.assert_array_equal(np.asarray(getattr(ops, name)(x, axis)), getattr(np, name)(x, axis))


@pytest.mark.parametrize("shape,target", [((3, 4), (1, 4)), ((3, 4), (4,)), ((3, 4), ()), ((2, 3, 4), (3, 1)), ((3, 4), (3, 4)),
                                          ((2, 3, 4, 5), (1, 3, 1, 5)), ((5, 1), (1, 1))])
def test_broadcasting_and_its_gradient(shape, target):
    x, y = normal(*target), RNG.integers(-5, 5, shape).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(ops.broadcast_to(tensor(x), shape)), np.broadcast_to(x, shape))
    extra = len(shape) - len(target)
    axes = tuple(i for i in range(len(shape)) if i < extra or target[i - extra] != shape[i])
    want = y.sum(axes, keepdims=True).reshape(target)
    np.testing.assert_array_equal(np.asarray(sum_to_shape(tensor(y), target)), want)
    np.testing.assert_array_equal(np.asarray(sum_to_shape(fastnn.convert_to_tensor(y.astype(np.int32)), target)), want)
    check_gradient(lambda a: ops.broadcast_to(a, shape), lambda a: np.broadcast_to(a, shape), [x.astype(float)], np.random.default_rng(0))


@pytest.mark.parametrize("ord,axis", [(None, None), (None, 1), (1, 0), (2, 1), (3.5, 1), (math.inf, 1), (-math.inf, 0), (0, 1),
                                      ("fro", (0, 1)), (1, (0, 1)), (math.inf, (0, 1)), (2, (0, 1)), ("nuc", (0, 1))])
def test_norms(ord, axis):
    def f(x):
        flat = axis is None and ord is None
        return np.linalg.norm(x.ravel() if flat else x, ord, None if flat else axis)

    if ord == 0:
        x = np.array([[0.0, 1, 2], [0, 0, 3]])
        assert np.asarray(ops.norm(tensor(x), 0, 1)).tolist() == [2, 1]
        return
    check_op(lambda x: ops.norm(x, ord, axis), f, [(4, 5)], exact=False)


def test_wrong_norms():
    with pytest.raises(ValueError, match=r"\[norm\] ord must be"):
        ops.norm(tensor(np.ones((2, 3))), "max")
    with pytest.raises(ValueError, match=r"\[norm\] axis must be one or two axes"):
        ops.norm(tensor(np.ones((2, 3, 4))), 1)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_running_sums_and_products(name, axis):
    check_op(lambda x: getattr(ops, name)(x, axis), lambda x: getattr(np, name)(x, axis), [(3, 5)])


def test_the_gradient_of_a_running_product_with_zeros():
    x = np.array([2.0, 0, 3, 4])
    check_gradient(lambda a: ops.cumprod(a, 0), lambda a: np.cumprod(a, 0), [x], np.random.default_rng(0))


@pytest.mark.parametrize("name", ["nansum", "nanmean", "nanmax", "nanmin", "nanprod", "nanvar", "nanstd", "nanmedian"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_reductions_that_skip_nan(name, axis):
    x = normal(4, 6)
    x[1, 2] = x[3, 0] = np.nan
    exact, sizes = x.astype(float), {"nansum": np.nansum(np.abs(x), axis), "nanmean": np.nanmean(np.abs(x), axis)}
    expected, square = getattr(np, name)(exact, axis), np.nanmean(exact**2, axis)
    sizes |= {"nanprod": np.abs(expected), "nanvar": square, "nanstd": square / np.nanstd(exact, axis)}
    assert_near(getattr(ops, name)(tensor(x), axis), expected, sizes.get(name, np.nanmax(np.abs(x), axis)))


def test_order_statistics():
    x = normal(5, 8)
    for axis in (None, 0, 1):
        exact, size = x.astype(float), np.abs(x).max(axis)
        assert_near(ops.median(tensor(x), axis), np.median(exact, axis), size)
        assert_near(ops.quantile(tensor(x), [0.1, 0.5], axis), np.quantile(exact, [0.1, 0.5], axis), size)
        assert_near(ops.percentile(tensor(x), 30, axis), np.percentile(exact, 30, axis), size)


def test_average():
    x, w = normal(4, 3), np.abs(normal(4)) + 1
    for axis, weights in ((0, w), (1, x * x)):
        exact, size = np.average(x.astype(float), axis, weights.astype(float)), np.average(np.abs(x), axis, weights)
        assert_near(ops.average(tensor(x), axis, tensor(weights)), exact, size)
    with pytest.raises(ValueError, match=r"\[average\] weights"):
        ops.average(tensor(x), 0, tensor(np.ones(5)))


def test_variance_does_not_cancel():
    x = np.float32(10000) + RNG.normal(size=10000).astype(np.float32)
    assert abs(np.asarray(ops.var(tensor(x))).item() / x.astype(np.float64).var() - 1) < 1e-4
