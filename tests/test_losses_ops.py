"""The cross entropies of ops against float64 formulas with Keras's clipping, and their wrong uses."""

import numpy as np
import pytest

from fastnn import GradientTape, KerasTensor, convert_to_tensor, ops
from check import check_gradient, check_threads, tensor

LOW, HIGH = 1e-7, 1 - 1e-7
SIZES = [(1, 1), (1, 2), (5, 10), (7, 16), (3, 17), (300, 35), (2, 1000)]


def log_probabilities(x, from_logits):
    if from_logits:
        d = x - x.max(-1, keepdims=True)
        return d - np.log(np.exp(d).sum(-1, keepdims=True))
    return np.log(np.clip(x / x.sum(-1, keepdims=True), LOW, HIGH))


def outputs(rng, shape, from_logits):
    x = rng.normal(size=shape) * 3 if from_logits else rng.uniform(0.05, 1, shape)
    return x.astype("float32").astype("float64")


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("from_logits", [True, False])
def test_categorical(shape, from_logits):
    rng = np.random.default_rng(0)
    t, x = rng.random(shape).astype("float32").astype("float64"), outputs(rng, shape, from_logits)

    def reference(x):
        return -(t * log_probabilities(x, from_logits)).sum(-1)

    def op(x):
        return ops.categorical_crossentropy(tensor(t), x, from_logits=from_logits)

    np.testing.assert_allclose(np.asarray(op(tensor(x))), reference(x), rtol=1e-5, atol=1e-6)
    check_gradient(op, reference, [x], rng, tolerance=1e-4)
    check_threads(op, [x], rng.normal(size=shape[0]))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
def test_sparse_categorical(shape, from_logits, dtype):
    rng = np.random.default_rng(0)
    x = outputs(rng, shape, from_logits)
    label = rng.integers(0, min(shape[1], 200), shape[0])

    def reference(x):
        return -log_probabilities(x, from_logits)[np.arange(shape[0]), label]

    for target in (label.astype(dtype), label.astype(dtype)[:, None]):
        def op(x):
            return ops.sparse_categorical_crossentropy(target, x, from_logits=from_logits)

        np.testing.assert_allclose(np.asarray(op(tensor(x))), reference(x), rtol=1e-5, atol=1e-6)
    check_gradient(op, reference, [x], rng, tolerance=1e-4)
    check_threads(op, [x], rng.normal(size=shape[0]))


@pytest.mark.parametrize("shape", [(1,), (17,), (5, 3), (40000,)])
@pytest.mark.parametrize("from_logits", [True, False])
def test_binary(shape, from_logits):
    rng = np.random.default_rng(0)
    t, x = rng.random(shape).astype("float32").astype("float64"), outputs(rng, shape, from_logits) * 0.9

    def reference(x):
        p = 1 / (1 + np.exp(-x)) if from_logits else np.clip(x, LOW, HIGH)
        return -(t * np.log(p) + (1 - t) * np.log(1 - p))

    def op(x):
        return ops.binary_crossentropy(tensor(t), x, from_logits=from_logits)

    np.testing.assert_allclose(np.asarray(op(tensor(x))), reference(x), rtol=1e-5, atol=1e-6)
    check_gradient(op, reference, [x], rng, tolerance=1e-4)
    check_threads(op, [x], rng.normal(size=shape))


def test_clipping_is_that_of_keras():
    # 1 - 1e-7 in float32 is 1 - 2^-23; a clipped probability has no gradient of its own
    high = np.float64(np.float32(1 - 1e-7))
    p = convert_to_tensor(np.float32([[0, 1], [1, 0], [1e-9, 1]]))
    y = ops.sparse_categorical_crossentropy(np.array([0, 0, 0]), p)
    np.testing.assert_allclose(np.asarray(y), -np.log([1e-7, high, 1e-7]), rtol=1e-6)
    with GradientTape() as tape:
        tape.watch(p)
        y = ops.sparse_categorical_crossentropy(np.array([0, 0, 0]), p)
    np.testing.assert_array_equal(np.asarray(tape.gradient(y, p)), 0)
    y = ops.binary_crossentropy(np.float32([1, 0, 1]), np.float32([0, 1, 1]))
    np.testing.assert_allclose(np.asarray(y), -np.log([1e-7, 1 - high, high]), rtol=1e-6)
    large = ops.binary_crossentropy(np.float32([1, 0]), np.float32([-1000, 1000]), from_logits=True)
    np.testing.assert_array_equal(np.asarray(large), np.float32([1000, 1000]))


@pytest.mark.parametrize("f, t", [
    (ops.categorical_crossentropy, np.float32([[0.2, 0.3, 0.5], [1, 0, 0]])),
    (ops.sparse_categorical_crossentropy, np.array([2, 0])),
])  # fmt: skip
def test_axis(f, t):
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    expected = np.asarray(f(t, x, from_logits=True))
    moved = f(t.T if t.ndim == 2 else t, np.ascontiguousarray(x.T), from_logits=True, axis=0)
    np.testing.assert_array_equal(np.asarray(moved), expected)


def test_gradient_of_the_target():
    rng = np.random.default_rng(0)
    t, x = rng.random((4, 5)), rng.uniform(0.05, 0.95, (4, 5)).astype("float32").astype("float64")
    for logits in (True, False):
        check_gradient(lambda t: ops.categorical_crossentropy(t, tensor(x), from_logits=logits),
                       lambda t: -(t * log_probabilities(x, logits)).sum(-1), [t], rng)
        p = 1 / (1 + np.exp(-x)) if logits else x
        check_gradient(lambda t: ops.binary_crossentropy(t, tensor(x), from_logits=logits),
                       lambda t: -(t * np.log(p) + (1 - t) * np.log(1 - p)), [t], rng)


@pytest.mark.parametrize("from_logits", [True, False])
def test_second_order(from_logits):
    rng = np.random.default_rng(0)
    label, x = np.array([1, 0, 2]), outputs(rng, (3, 4), from_logits)
    v = rng.normal(size=x.shape)

    def gradient(z):
        e = 1e-5 * np.eye(12).reshape(12, 3, 4)
        pick = (np.arange(3), label)
        f = lambda a: -log_probabilities(a, from_logits)[pick].sum()  # noqa: E731
        return np.array([(f(z + d) - f(z - d)) / 2e-5 for d in e])

    t = tensor(x)
    with GradientTape() as outer:
        outer.watch(t)
        with GradientTape() as inner:
            inner.watch(t)
            y = ops.sum(ops.sparse_categorical_crossentropy(label, t, from_logits=from_logits))
        g = ops.sum(ops.square(inner.gradient(y, t)))
    slope = (np.asarray(outer.gradient(g, t), "float64") * v).sum()
    expected = ((gradient(x + 1e-4 * v) ** 2).sum() - (gradient(x - 1e-4 * v) ** 2).sum()) / 2e-4
    np.testing.assert_allclose(slope, expected, rtol=2e-3, atol=1e-3)


def test_nan_stays():
    x = np.zeros((2, 17), "float32")
    x[1, 16] = np.nan
    t = np.full((2, 17), 1 / 17, "float32")
    for logits in (True, False):
        for y in (ops.categorical_crossentropy(t, x + 1, from_logits=logits),
                  ops.sparse_categorical_crossentropy(np.array([0, 0]), x + 1, from_logits=logits)):
            assert np.isnan(np.asarray(y)).tolist() == [False, True]
        y = np.asarray(ops.binary_crossentropy(t, x + 0.5, from_logits=logits))
        assert np.isnan(y).sum() == 1 and np.isnan(y[1, 16])


@pytest.mark.parametrize("label, match", [
    ([0, 5], r"target\[1\]=5 \(row 1\)"), ([-1, 0], r"target\[0\]=-1 \(row 0\)"), ([0.0, 1.5], r"target\[1\]=1.5"),
    ([np.nan, 1], r"target\[0\]=nan"), ([0, np.inf], r"target\[1\]=inf"), ([0, 2**40], r"target\[1\]=1099511627776"),
])  # fmt: skip
def test_labels_that_are_no_class(label, match):
    with pytest.raises(ValueError, match=match):
        ops.sparse_categorical_crossentropy(np.array(label), np.ones((2, 5), "float32"))


@pytest.mark.parametrize("f, t, x", [
    (ops.categorical_crossentropy, (4, 5), (4, 1)), (ops.categorical_crossentropy, (4,), (4, 5)),
    (ops.categorical_crossentropy, (4, 0), (4, 0)), (ops.sparse_categorical_crossentropy, (3,), (4, 5)),
    (ops.sparse_categorical_crossentropy, (4,), (4, 0)), (ops.binary_crossentropy, (4, 5), (4, 1)),
])  # fmt: skip
def test_shapes_that_do_not_fit(f, t, x):
    with pytest.raises(ValueError, match="crossentropy"):
        f(np.zeros(t, "float32"), np.ones(x, "float32"))


def test_empty_batch_and_symbolic():
    assert ops.categorical_crossentropy(np.zeros((0, 5), "float32"), np.zeros((0, 5), "float32")).shape == (0,)
    assert ops.sparse_categorical_crossentropy(np.zeros((0,), "int32"), np.zeros((0, 5), "float32")).shape == (0,)
    y = ops.sparse_categorical_crossentropy(KerasTensor((None, 7), "int32"), KerasTensor((None, 7, 5)))
    assert y.shape == (None, 7)
