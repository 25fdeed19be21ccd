"""Loops and branches of ops, and the rarer functions of arrays."""

import numpy as np
import pytest

from fastnn import GradientTape, KerasTensor, convert_to_tensor, ops
from check import check_op


def same(y, expected):
    np.testing.assert_array_equal(np.asarray(y), expected)


def test_branches():
    assert float(ops.cond(convert_to_tensor(True), lambda: 1.0, lambda: 2.0)) == 1
    assert float(ops.cond(np.bool_(False), lambda: 1.0, lambda: 2.0)) == 2
    assert [float(ops.switch(i, [lambda x: x, lambda x: x * 2], 3.0)) for i in (-1, 0, 1, 7)] == [3, 3, 6, 6]


def test_loops():
    i, s = ops.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, s + i), (0, 0))
    assert (int(i), int(s)) == (5, 10)
    assert int(ops.while_loop(lambda i: i < 100, lambda i: i + 1, 0, maximum_iterations=7)) == 7
    assert int(ops.fori_loop(2, 6, lambda i, v: v + i, 0)) == 14
    with pytest.raises(ValueError, match="as many values"):
        ops.while_loop(lambda i, s: i < 5, lambda i, s: i + 1, (0, 0))


def test_scan_and_map():
    x = np.arange(6, dtype="float32").reshape(3, 2)
    carry, ys = ops.scan(lambda c, v: (c + v, c * v), np.zeros(2, "float32"), x)
    same(carry, x.sum(0)), same(ys, np.stack([0 * x[0], x[0] * x[1], (x[0] + x[1]) * x[2]]))
    carry, ys = ops.scan(lambda c, v: (c + v, c), np.zeros(2, "float32"), x, reverse=True)
    same(ys, np.stack([x[2] + x[1], x[2], 0 * x[0]]))
    carry, ys = ops.scan(lambda c, _: (c + 1, None), 0, length=4)
    assert int(carry) == 4 and ys is None
    same(ops.map(lambda v: v * 2, x), x * 2)
    same(ops.vectorized_map(lambda p: p[0] + p[1], (x, x)), x * 2)
    same(ops.associative_scan(ops.add, x), np.cumsum(x, 0))
    same(ops.associative_scan(ops.multiply, x, reverse=True, axis=1), np.cumprod(x[:, ::-1], 1)[:, ::-1])
    t = convert_to_tensor(x)
    with GradientTape() as tape:
        tape.watch(t)
        y, _ = ops.scan(lambda c, v: (c * v, None), np.ones(2, "float32"), t + 1.0)
    expected = np.prod(x + 1, 0) / (x + 1)
    np.testing.assert_allclose(np.asarray(tape.gradient(y, t)), expected, rtol=1e-6)
    carry, ys = ops.scan(lambda c, v: (c + v, v), KerasTensor((None,)), KerasTensor((5, None)))
    assert carry.shape == (None,) and ys.shape == (5, None)
    assert ops.map(lambda v: ops.sum(v), KerasTensor((None, 3))).shape == (None,)
    with pytest.raises(ValueError, match="same first size"):
        ops.scan(lambda c, v: (c, v), 0.0, x, length=4)


def test_splits_and_views():
    x = np.arange(24, dtype="int32").reshape(2, 4, 3)
    for name, f in (("hsplit", np.hsplit), ("vsplit", np.vsplit)):
        for a, b in zip(getattr(ops, name)(x, 2), f(x, 2), strict=True):
            same(a, b)
    same(ops.dsplit(x, 3)[1], np.dsplit(x, 3)[1])
    same(ops.view(x, "float32"), x.view("float32"))
    same(ops.view(x[..., :2].copy(), "int64"), x[..., :2].copy().view("int64"))
    same(ops.view(x, "uint8"), x.view("uint8"))
    assert ops.dtype(x) == "int32"
    with pytest.raises(ValueError, match=r"\[view\]"):
        ops.view(x, "float64")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_blocks_of_pixels(data_format):
    x = np.arange(96, dtype="float32").reshape(1, 4, 8, 3)
    expected = x.reshape(1, 2, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2, 4, 12)
    if data_format == "channels_first":
        x, expected = x.transpose(0, 3, 1, 2).copy(), expected.transpose(0, 3, 1, 2)
    y = ops.space_to_depth(x, 2, data_format)
    same(y, expected), same(ops.depth_to_space(y, 2, data_format), x)
    with pytest.raises(ValueError, match="multiple"):
        ops.space_to_depth(x, 5, data_format)


def test_unique():
    x = np.array([[3, 1], [2, 3]])
    same(ops.unique(x), [1, 2, 3])
    values, index, inverse, counts = ops.unique(x, return_index=True, return_inverse=True, return_counts=True)
    same(index, [1, 2, 0]), same(inverse, [[2, 0], [1, 2]]), same(counts, [1, 1, 2])
    same(ops.unique(x, size=5, fill_value=-1), [1, 2, 3, -1, -1]), same(ops.unique(x, size=2), [1, 2])
    same(ops.unique(np.array([[1, 2], [1, 2], [0, 1]]), axis=0), [[0, 1], [1, 2]])
    assert ops.unique(KerasTensor((None,), "int32"), size=4).shape == (4,)


def test_more_segments():
    ids = np.array([1, 0, 1, -1, 3])
    x = np.float32([[2, 3], [4, 0], [5, 7], [9, 9], [0, 2]])
    same(ops.segment_min(x, ids, 3), np.float32([[4, 0], [2, 3], [np.inf, np.inf]]))
    same(ops.segment_prod(x, ids, 4), np.float32([[4, 0], [10, 21], [1, 1], [0, 2]]))

    def product(x):
        y = np.ones((4, 2))
        for i, s in enumerate(ids):
            if s >= 0:
                y[s] *= x[i]
        return y

    check_op(lambda x: ops.segment_prod(x, ids, 4), product, [(5, 2)])
    t = convert_to_tensor(np.float32([0, 3, 0, 5, 2]))
    with GradientTape() as tape:
        tape.watch(t)
        y = ops.segment_prod(t, np.array([0, 0, 1, 1, 1]), 2)
    same(tape.gradient(y, t), np.float32([3, 0, 10, 0, 0]))
    same(ops.segment_sum(np.ones((2, 2, 3), "float32"), np.array([[0, 1], [1, 1]]), 2), np.float32([[1] * 3, [3] * 3]))


def test_a_symbolic_loop_is_not_run():
    x, y = ops.while_loop(lambda x, y: True, None, [KerasTensor((None, 3)), KerasTensor((2,), "int32")])
    assert (x.shape, y.shape, y.dtype) == ((None, 3), (2,), "int32")
