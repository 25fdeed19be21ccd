"""softmax and log_softmax against float64, at every tail, and where IEEE 754 is special."""

import numpy as np
import pytest

from fastnn import GradientTape, KerasTensor, convert_to_tensor, ops
from check import check_op

SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 35, 1000]


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis=-1):
    d = x - x.max(axis, keepdims=True)
    return d - np.log(np.exp(d).sum(axis, keepdims=True))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rows", [1, 5, 700])
def test_rows(n, rows):
    check_op(ops.softmax, softmax, [(rows, n)], exact=False)
    check_op(ops.log_softmax, log_softmax, [(rows, n)], exact=False)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_axes(axis):
    check_op(ops.softmax, softmax, [(3, 4, 5)], exact=False, axis=axis)
    check_op(ops.log_softmax, log_softmax, [(3, 4, 5)], exact=False, axis=axis)


def test_several_axes():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    flat = softmax(np.moveaxis(x, 1, 0).reshape(3, 8))
    expected = np.moveaxis(flat.reshape(3, 2, 4), 0, 1)
    np.testing.assert_allclose(np.asarray(ops.softmax(x, axis=(0, 2))), expected, rtol=1e-5)


def test_rows_that_differ_in_scale():
    x = np.float32([[1e30, 0, -1e30], [-1e4, -1e4 + 1, -1e4 - 1], [88, 89, 90], [1e-30, 0, 0]])
    np.testing.assert_allclose(np.asarray(ops.softmax(x)), softmax(x.astype("float64")), rtol=1e-5, atol=1e-38)
    np.testing.assert_allclose(np.asarray(ops.log_softmax(x)), log_softmax(x.astype("float64")), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 3, 8, 16, 17, 33])
def test_special_values(n):
    for at in range(n):
        for value in (np.nan, np.inf):
            x = np.zeros((2, n), "float32")
            x[1, at] = value
            for f in (ops.softmax, ops.log_softmax):
                y = np.asarray(f(x))
                assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()
        x = np.zeros((1, n), "float32")
        x[0, at] = -np.inf
        y, z = np.asarray(ops.softmax(x)), np.asarray(ops.log_softmax(x))
        if n > 1:
            assert y[0, at] == 0 and z[0, at] == -np.inf and abs(y.sum() - 1) < 1e-6
    assert np.isnan(np.asarray(ops.softmax(np.full((1, n), -np.inf, "float32")))).all()


def test_other_dtypes_and_shapes():
    assert ops.softmax(np.ones((2, 3), "float16")).dtype == "float16"
    assert ops.softmax(np.ones((2, 3), "int32")).dtype == "float32"
    assert ops.softmax(np.ones((0, 3), "float32")).shape == (0, 3)
    assert ops.softmax(np.ones((3, 0), "float32")).shape == (3, 0)
    assert ops.softmax(KerasTensor((None, 3))).shape == (None, 3)
    with pytest.raises(ValueError, match=r"\[softmax\] axis"):
        ops.softmax(np.ones((2, 3), "float32"), axis=2)
    with pytest.raises(ValueError, match=r"\[softmax\] x must have at least 1"):
        ops.softmax(1.0)


@pytest.mark.parametrize("f, reference", [(ops.softmax, softmax), (ops.log_softmax, log_softmax)])
def test_second_order(f, reference):
    rng = np.random.default_rng(0)
    a, w, v = (rng.normal(size=(3, 5)) for _ in range(3))
    x = convert_to_tensor(a.astype("float32"))
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = ops.sum(f(x) * w.astype("float32"))
        g = ops.sum(ops.square(inner.gradient(y, x)))
    slope = (np.asarray(outer.gradient(g, x), "float64") * v).sum()

    def squared_gradient(z):
        # through the Jacobian of the float64 reference
        jacobian = [(reference(z + e) - reference(z - e)) / 2e-5 for e in 1e-5 * np.eye(15).reshape(15, 3, 5)]
        return sum((w * j).sum() ** 2 for j in jacobian)

    expected = (squared_gradient(a + 1e-4 * v) - squared_gradient(a - 1e-4 * v)) / 2e-4
    np.testing.assert_allclose(slope, expected, rtol=2e-3, atol=1e-3)
