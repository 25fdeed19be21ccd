"""Complex numbers, beside NumPy's: ops of them, gradients through them, and symbolic ones."""

import numpy as np
import pytest

import fastnn as keras
from fastnn import ops

A = np.array([[1 + 2j, -3 + 0.5j], [0.25 - 1j, 2 + 0j]], "complex64")
B = np.array([[0.5 - 1j, 2 + 2j], [-1 + 3j, 1 - 0.5j]], "complex64")


def test_parts_and_pairs():
    pair = np.stack([A.real, A.imag], -1)
    z = ops.view_as_complex(pair)
    assert z.shape == (2, 2) and z.dtype == "complex64" and ops.is_tensor(z)
    np.testing.assert_array_equal(ops.convert_to_numpy(z), A)
    np.testing.assert_array_equal(np.asarray(ops.view_as_real(z)), pair)
    np.testing.assert_array_equal(np.asarray(ops.view_as_real(A)), pair)
    assert np.asarray(ops.view_as_real(A.astype("complex128"))).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(ops.view_as_real(np.ones(2, "f"))), [[1, 0], [1, 0]])
    with pytest.raises(ValueError, match="Last dimension of input must be size 2"):
        ops.view_as_complex(np.ones(3))


def test_polar():
    r, angle = np.array([1.0, 2.0], "f"), np.array([[2.0, 3.0], [-1.0, 0.0]], "f")
    np.testing.assert_allclose(np.asarray(ops.polar(r, angle)), r * np.exp(1j * angle), rtol=1e-6, atol=1e-7)
    assert ops.nn.polar is ops.polar


@pytest.mark.parametrize("name", ["real", "imag", "abs", "absolute", "angle", "conj", "conjugate", "isreal", "negative", "square",
                                  "reciprocal", "exp", "log", "sqrt", "sum", "mean", "transpose", "isnan", "isfinite"])
def test_functions_of_one(name):
    want = getattr(np, name)(A)
    for x in (A, ops.convert_to_tensor(A)):
        got = np.asarray(getattr(ops, name)(x))
        assert got.shape == want.shape and got.dtype.kind == want.dtype.kind
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "matmul", "equal", "not_equal"])
def test_functions_of_two(name):
    real = np.array([[1.0, 2.0], [3.0, -4.0]], "f")
    for a, b in ((A, B), (A, A), (A, real), (real, B)):
        want = getattr(np, name)(a, b)
        np.testing.assert_allclose(np.asarray(getattr(ops, name)(a, b)), want, rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(np.asarray(getattr(ops, name)(ops.convert_to_tensor(a), b)), want, rtol=2e-6, atol=1e-6)


def test_operators_and_shapes():
    z, w = ops.convert_to_tensor(A), ops.convert_to_tensor(B)
    for got, want in ((z + w, A + B), (1 - z, 1 - A), (z * 2j, A * 2j), (ops.ones((2, 2)) * z, A), (A / w, A / B), (z @ w, A @ B),
                      (-z, -A), (abs(z), abs(A)), (z[0], A[0]), (z.conj(), A.conj()), (ops.stack([z, w], 1), np.stack([A, B], 1)),
                      (ops.concatenate([z, B]), np.concatenate([A, B])), (ops.reshape(z, (4,)), A.reshape(4)),
                      (ops.expand_dims(z, 0), A[None]), (ops.cast(z, "float32"), A.real)):
        np.testing.assert_allclose(np.asarray(got), want, rtol=2e-6, atol=1e-6)
    assert len(z) == 2 and z.ndim == 2 and z.size == 4 and "complex64" in repr(z)


def test_gradients_pass():
    r, angle = ops.convert_to_tensor([1.0, 2.0]), ops.convert_to_tensor([0.5, -1.0])
    with keras.GradientTape() as tape:
        tape.watch([r, angle])
        loss = ops.sum(ops.square(ops.abs(ops.polar(r, angle) * (1 + 2j))))  # 5 r^2
    by_r, by_angle = tape.gradient(loss, [r, angle])
    np.testing.assert_allclose(np.asarray(by_r), [10, 20], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(by_angle), [0, 0], atol=1e-5)


def test_symbolic():
    x = keras.Input((3, 2))
    z = ops.view_as_complex(x)
    assert z.shape == (None, 3) and z.dtype == "complex64"
    model = keras.Model(x, [ops.view_as_real(ops.multiply(z, ops.conj(z))), ops.abs(z)])
    values = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("f")
    square, size = model.predict(values, verbose=0)
    np.testing.assert_allclose(square[..., 0], (values**2).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(size, np.hypot(values[..., 0], values[..., 1]), rtol=1e-5)
    assert ops.polar(keras.KerasTensor((1, 2)), keras.KerasTensor((3, 2))).shape == (3, 2)


def test_what_has_no_complex_result_says_so():
    with pytest.raises(TypeError, match=r"\[relu\] arguments must be real"):
        ops.relu(A)
    with pytest.raises(TypeError, match="values must be real"):
        keras.layers.Dense(2)(A)


def test_names_of_dtypes():
    for dtype in ("complex64", np.complex64, np.dtype("complex64"), ops.convert_to_tensor(A).dtype):
        assert keras.backend.standardize_dtype(dtype) == "complex64"
    assert keras.backend.standardize_dtype(float) == "float32"
    with pytest.raises(ValueError, match="dtype must be one of"):
        keras.backend.standardize_dtype("complex")
