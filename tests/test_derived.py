"""Functions made of other ops, against NumPy."""
import numpy as np
import pytest

from fastnn import ops

from check import assert_near, check_op, tensor, values

RNG = np.random.default_rng(0)
TRAPEZOID = getattr(np, "trapezoid", None) or np.trapz  # its name before NumPy 2


@pytest.mark.parametrize("op,reference,shapes", [
    (ops.kron, np.kron, [(2, 3), (4, 1)]), (ops.kron, np.kron, [(3,), (2, 2)]),
    (ops.cross, np.cross, [(4, 3), (4, 3)]), (ops.trapezoid, TRAPEZOID, [(3, 6)]),
    (ops.corrcoef, np.corrcoef, [(3, 8)]),
    (ops.cdist, lambda a, b: np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)), [(4, 3), (5, 3)]),
    (lambda x: ops.normalize(x, 1), lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), [(3, 5)]),
    (lambda x: ops.normalize(x, 0, 3), lambda x: x / np.linalg.norm(x, 3, axis=0, keepdims=True), [(3, 5)]),
    (lambda a, b: ops.psnr(a, b, 2.0), lambda a, b: 20 * np.log10(2) - 10 * np.log10(((a - b) ** 2).mean()), [(3, 5), (3, 5)]),
], ids=range(9))
def test_values_and_gradients(op, reference, shapes):
    check_op(op, lambda *arrays: np.asarray(reference(*arrays)), shapes, exact=False)


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_correlate(mode):
    check_op(lambda a, b: ops.correlate(a, b, mode), lambda a, b: np.correlate(a, b, mode), [(7,), (3,)])
    with pytest.raises(ValueError, match=r"\[correlate\] x1 and x2 must be vectors"):
        ops.correlate(np.ones((2, 2)), np.ones(2))


def test_trapezoid_at_points():
    y, x = RNG.normal(size=(3, 5)), np.sort(RNG.normal(size=5))
    size = ((np.abs(y[:, 1:]) + np.abs(y[:, :-1])) * (np.abs(x[1:]) + np.abs(x[:-1]))).sum(1)
    assert_near(ops.trapezoid(tensor(y), tensor(x)), TRAPEZOID(y, x), size)
    assert_near(ops.trapezoid(tensor(y.T), tensor(x), axis=0), TRAPEZOID(y.T, x, axis=0), size)


def test_cross_of_two_and_three_elements():
    a, b, c = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2)), RNG.normal(size=(3, 4))
    first, second = a[:, 0] * b[:, 1], a[:, 1] * b[:, 0]
    assert_near(ops.cross(tensor(a), tensor(b)), first - second, np.abs(first) + np.abs(second))
    assert_near(ops.cross(tensor(c), tensor(c[::-1]), axis=0), np.cross(c, c[::-1], axis=0), 2 * np.square(np.abs(c).max(0)))
    with pytest.raises(ValueError, match=r"\[cross\] vectors must have 2 or 3 elements"):
        ops.cross(tensor(c), tensor(c))


def test_normalize_of_zeros_and_wrong_orders():
    assert np.asarray(ops.normalize(tensor([[0.0, 0.0]]), order=1)).tolist() == [[0, 0]]
    with pytest.raises(ValueError, match=r"\[normalize\] Argument `order` must be an int >= 1"):
        ops.normalize(tensor([1.0]), order=0)


def test_windows():
    for name in ("bartlett", "blackman", "hamming", "hanning"):
        y = getattr(ops, name)(7)
        assert y.dtype == "float32"
        np.testing.assert_allclose(values(y), getattr(np, name)(7), atol=1e-7)
    np.testing.assert_allclose(values(ops.kaiser(7, 3.0)), np.kaiser(7, 3.0), rtol=1e-6)
