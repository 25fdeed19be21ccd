"""Shapes, data movement, indexing, creation and sorting against NumPy, with gradients and symbolic shapes."""

import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, KerasTensor, ops
from check import check_op

DTYPES = ["float32", "float64", "float16", "bool", "int8", "int16", "int32", "int64", "uint8", "uint32"]
SHAPES = [(1,), (7,), (3, 5), (16, 17), (2, 1, 9), (4, 3, 2, 5), (0, 3), (70, 130)]


def make(shape, dtype="float32"):
    return (np.arange(int(np.prod(shape))).reshape(shape) % 120).astype(dtype)


def same(y, expected):
    y = np.asarray(y)
    assert y.dtype == expected.dtype and y.shape == expected.shape
    np.testing.assert_array_equal(y, expected)


# ---- movement: bitwise NumPy's ----

MOVES = [
    ((3, 5, 4), lambda m, x: m.transpose(x)),
    ((3, 5, 4), lambda m, x: m.transpose(x, (1, 0, 2))),
    ((2, 33, 65, 3), lambda m, x: m.transpose(x, (0, 3, 1, 2))),
    ((2, 3, 17, 65), lambda m, x: m.transpose(x, (0, 2, 3, 1))),
    ((70, 130), lambda m, x: m.transpose(x)),
    ((1, 5, 1, 3), lambda m, x: m.transpose(x, (2, 1, 0, 3))),
    ((2, 3, 4, 8), lambda m, x: m.transpose(x, (0, 2, 1, 3))),
    ((4, 5, 6, 7), lambda m, x: m.transpose(x, (3, 1, 0, 2))),
    ((3, 5, 4), lambda m, x: m.moveaxis(x, 0, -1)),
    ((3, 5, 4), lambda m, x: m.moveaxis(x, (0, 1), (-1, 0))),
    ((3, 5, 4), lambda m, x: m.swapaxes(x, 0, -1)),
    ((3, 5, 4), lambda m, x: m.flip(x)),
    ((3, 5, 4), lambda m, x: m.flip(x, 1)),
    ((3, 5, 4), lambda m, x: m.flip(x, (0, 2))),
    ((3, 5), lambda m, x: m.fliplr(x)),
    ((3, 5), lambda m, x: m.flipud(x)),
    ((3, 5, 4), lambda m, x: m.rot90(x)),
    ((3, 5, 4), lambda m, x: m.rot90(x, 2, (1, 2))),
    ((3, 5, 4), lambda m, x: m.rot90(x, -1, (2, 0))),
    ((3, 5, 4), lambda m, x: m.roll(x, 3)),
    ((3, 5, 4), lambda m, x: m.roll(x, -2, 1)),
    ((3, 5, 4), lambda m, x: m.roll(x, (1, 7), (0, 2))),
    ((3, 5, 4), lambda m, x: m.reshape(x, (5, -1))),
    ((3, 5, 4), lambda m, x: m.ravel(x)),
    ((3, 1, 4), lambda m, x: m.squeeze(x)),
    ((3, 1, 4), lambda m, x: m.squeeze(x, 1)),
    ((3, 5), lambda m, x: m.expand_dims(x, (0, -1))),
    ((3, 5), lambda m, x: m.concatenate([x, x[:1], x], 0)),
    ((3, 5), lambda m, x: m.concatenate([x, x[:, 1:2]], -1)),
    ((3, 5), lambda m, x: m.concatenate([x, x], None)),
    ((3, 5), lambda m, x: m.append(x, x, 1)),
    ((3, 5), lambda m, x: m.stack([x, x], 1)),
    ((3, 5), lambda m, x: m.hstack([x, x])),
    ((3, 5), lambda m, x: m.vstack([x, x])),
    ((3, 5), lambda m, x: m.dstack([x, x])),
    ((3, 6), lambda m, x: m.concatenate(m.split(x, 3, 1)[::-1], 1)),
    ((3, 7), lambda m, x: m.concatenate(m.split(x, [2, 5], 1)[1:], 1)),
    ((3, 7), lambda m, x: m.array_split(x, 3, 1)[0]),
    ((3, 5), lambda m, x: m.repeat(x, 3)),
    ((3, 5), lambda m, x: m.repeat(x, 2, 1)),
    ((3, 5), lambda m, x: m.repeat(x, [1, 0, 3], 0)),
    ((3, 5), lambda m, x: m.tile(x, 2)),
    ((3, 5), lambda m, x: m.tile(x, (2, 3, 1))),
    ((3, 5), lambda m, x: m.pad(x, 1)),
    ((3, 5), lambda m, x: m.pad(x, ((1, 0), (2, 3)), "constant", constant_values=1)),
    ((3, 5), lambda m, x: m.pad(x, ((1, 2), (0, 3)), "reflect")),
    ((3, 5), lambda m, x: m.pad(x, ((1, 2), (0, 3)), "symmetric")),
    ((3, 5), lambda m, x: m.pad(x, 2, "edge")),
    ((3, 5), lambda m, x: m.take(x, np.array([[0, 2], [1, -1]]), 0)),
    ((3, 5), lambda m, x: m.take(x, np.array([4, 0, 4]), -1)),
    ((3, 5), lambda m, x: m.take(x, np.array([14, -15]))),
    ((3, 5), lambda m, x: m.take_along_axis(x, np.array([[0], [4], [-1]]), 1)),
    ((3, 5), lambda m, x: m.take_along_axis(x, np.array([[0, 2, 1, 1, 0]]), 0)),
    ((5, 5), lambda m, x: m.diagonal(x, 1)),
    ((3, 5, 4), lambda m, x: m.diagonal(x, -1, 2, 0)),
    ((5,), lambda m, x: m.diag(x, -1)),
    ((3, 5), lambda m, x: m.diag(x, 2)),
    ((2, 2), lambda m, x: m.diagflat(x, 1)),
    ((3, 5), lambda m, x: m.tril(x, 1)),
    ((2, 4, 4), lambda m, x: m.triu(x, -1)),
    ((3, 5), lambda m, x: m.broadcast_to(x, (2, 3, 5))),
]
KEYS = [
    np.s_[1], np.s_[-1], np.s_[1:3], np.s_[::-1], np.s_[:, 2], np.s_[..., 0], np.s_[1:, ::2], np.s_[:, -1:1:-2],
    np.s_[None, :, None], np.s_[2, 1], np.s_[0:0], np.s_[5:1], np.s_[np.array([0, 2, 2])], np.s_[[1, 0]],
    np.s_[np.array([0, 1]), np.array([2, 3])], np.s_[:, np.array([[1], [0]])], np.s_[np.array([True, False, True])],
    np.s_[1:, np.array([0, 0])], np.s_[np.arange(15).reshape(3, 5) % 2 == 0], np.s_[True], np.s_[..., None],
    np.s_[np.array([-1, -3])], np.s_[()],
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(MOVES)))
@pytest.mark.parametrize("dtype", DTYPES)
def test_movement_is_bitwise(case, dtype):
    shape, f = MOVES[case]
    x = make(shape, dtype)
    same(f(ops, fastnn.convert_to_tensor(x)), f(np, x))


@pytest.mark.parametrize("case", range(len(MOVES)))
def test_movement_gradient(case):
    shape, f = MOVES[case]
    check_op(lambda x: f(ops, x), lambda x: f(np, x), [shape])


@pytest.mark.parametrize("case", range(len(MOVES)))
def test_movement_shapes_of_unknown_sizes(case):
    shape, f = MOVES[case]
    x = KerasTensor(shape)
    assert f(ops, x).shape == f(np, make(shape)).shape


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_getitem(key):
    x = make((3, 5))
    for dtype in ("float32", "int64", "bool"):
        same(fastnn.convert_to_tensor(x.astype(dtype))[key], x.astype(dtype)[key])
    same(fastnn.Variable(x)[key], x[key])
    check_op(lambda t: t[key], lambda a: a[key], [(3, 5)])
    assert KerasTensor((3, 5))[key].shape == x[key].shape


def test_getitem_with_tensors():
    x = make((4, 3))
    t = fastnn.convert_to_tensor(x)
    same(t[fastnn.convert_to_tensor(2)], x[2])
    same(t[fastnn.convert_to_tensor(np.array([1, 1, 0]))], x[[1, 1, 0]])
    same(t[t > 5.0], x[x > 5])
    assert KerasTensor((None, 3))[:, 0].shape == (None,)
    assert KerasTensor((None, 3))[2:].shape == (None, 3)
    assert KerasTensor((None, 3), "float32")[:, None].shape == (None, 1, 3)


@pytest.mark.parametrize("key", [3, -4, (0, 5), (0, 0, 0), np.array([3]), np.array([-4]), np.s_[..., ..., 0]], ids=str)
def test_getitem_out_of_range(key):
    with pytest.raises(IndexError, match=r"\[get_item\]"):
        fastnn.convert_to_tensor(make((3, 5)))[key]


@pytest.mark.parametrize("source", DTYPES + ["uint16", "uint64", "bfloat16"])
@pytest.mark.parametrize("target", DTYPES + ["uint16", "uint64", "bfloat16"])
def test_cast(source, target):
    numpy = fastnn.dtypes.numpy_dtype
    x = np.concatenate([np.arange(0, 125), [0.5, 1.5, 2.5, 99.75]]).astype(numpy(source))
    y = np.asarray(ops.cast(x, target))
    assert y.dtype == numpy(target)
    np.testing.assert_array_equal(y, x.astype(numpy(target)))


@pytest.mark.parametrize("target", ["float16", "bfloat16"])
def test_cast_of_any_bits_to_short_floats(target):
    bits = np.random.default_rng(0).integers(0, 2**32, 100000, dtype="uint32")
    x = np.concatenate([bits.view("float32"), np.float32([np.inf, -np.inf, np.nan, 65504, 65519.9, 65520, 1e-8, -0.0])])
    with np.errstate(all="ignore"):
        expected = x.astype(fastnn.dtypes.numpy_dtype(target)).astype("float32")
    np.testing.assert_array_equal(np.asarray(ops.cast(x, target)).astype("float32"), expected)
    wide = np.random.default_rng(1).normal(size=100000) * 10.0 ** np.random.default_rng(2).integers(-9, 5, 100000)
    expected = wide.astype("float16") if target == "float16" else None
    if expected is not None:
        np.testing.assert_array_equal(np.asarray(ops.cast(wide, target)), expected)


def test_cast_gradient_and_saturation():
    x = fastnn.convert_to_tensor(np.float32([1.5, -2.5]))
    with GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(ops.cast(ops.cast(x, "float64"), "float32") * 3.0)
    same(tape.gradient(y, x), np.float32([3, 3]))
    big = np.float32([-1e10, 300, -3, 7.5, 2.0**31])
    same(ops.saturate_cast(big, "uint8"), np.uint8([0, 255, 0, 7, 255]))
    same(ops.saturate_cast(big, "int32"), np.int32([-(2**31), 300, -3, 7, 2**31 - 128]))
    same(ops.saturate_cast(np.int64([-5, 200]), "int8"), np.int8([-5, 127]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("to", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_saturate_cast_keeps_to_the_range(dtype, to):
    """Also infinity, and where the bound as a number of the dtype of x is beyond the range: 2**31 - 1 as float32 is 2**31."""
    info = np.iinfo(to)
    x = ops.cast(ops.convert_to_tensor(np.array([-np.inf, -1.0, 0.0, 5.0, np.inf]), dtype="float64"), dtype)
    y = np.asarray(ops.saturate_cast(x, to)).tolist()
    largest = 65504 if dtype == "float16" else info.max
    lowest = -65504 if dtype == "float16" else info.min
    assert y[:4] == [max(info.min, lowest), max(info.min, -1), 0, 5]
    assert 0.99 * min(info.max, largest) <= y[4] <= info.max


# ---- scatter, slices, segments ----


def test_slices():
    x = make((4, 5))
    same(ops.slice(x, (1, 2), (2, 3)), x[1:3, 2:5])
    same(ops.slice(x, fastnn.convert_to_tensor(np.array([1, 2])), (2, -1)), x[1:3, 2:])
    expected = x.copy()
    expected[1:3, 2:5] = 0
    same(ops.slice_update(x, (1, 2), np.zeros((2, 3), "float32")), expected)
    check_op(lambda a: ops.slice(a, (1, 2), (2, 3)), lambda a: a[1:3, 2:5], [(4, 5)])

    def update(a, u):
        y = a.copy()
        y[1:3, 2:5] = u
        return y

    check_op(lambda a, u: ops.slice_update(a, (1, 2), u), update, [(4, 5), (2, 3)])
    with pytest.raises(ValueError, match="must lie inside"):
        ops.slice(x, (3, 0), (2, 5))
    with pytest.raises(ValueError, match="must lie inside"):
        ops.slice_update(x, (0, 3), np.zeros((1, 3), "float32"))


def test_scatter():
    indices = np.array([[0, 1], [2, 0], [0, 1]])

    def reference(v):
        y = np.zeros((3, 2, 4))
        np.add.at(y, tuple(indices.T), v)
        return y

    check_op(lambda v: ops.scatter(indices, v, (3, 2, 4)), reference, [(3, 4)])
    same(ops.scatter(np.array([[1], [1]]), np.int32([5, 6]), (3,)), np.int32([0, 11, 0]))
    with pytest.raises(IndexError, match=r"indices\[1, 0\]=3"):
        ops.scatter(np.array([[0], [3]]), np.float32([1, 2]), (3,))
    with pytest.raises(ValueError, match="values must have shape"):
        ops.scatter(np.array([[0], [1]]), np.float32([1, 2, 3]), (3,))

    def update(x, u):
        y = x.copy()
        y[indices[:, 0], indices[:, 1]] = u
        return y

    check_op(lambda x, u: ops.scatter_update(x, indices, u), update, [(3, 2), (3,)])
    same(ops.scatter_update(np.float32([1, 2, 3]), [[1], [1]], np.float32([5, 4]), "max"), np.float32([1, 5, 3]))


def test_segments():
    ids = np.array([2, 0, 2, -1, 5, 0])

    def reference(x):
        y = np.zeros((4, 3))
        for i, s in enumerate(ids):
            if 0 <= s < 4:
                y[s] += x[i]
        return y

    check_op(lambda x: ops.segment_sum(x, ids, 4), reference, [(6, 3)])
    x = make((6, 3))
    expected = np.full((4, 3), -np.inf, "float32")
    for i, s in enumerate(ids):
        if 0 <= s < 4:
            expected[s] = np.maximum(expected[s], x[i])
    same(ops.segment_max(x, ids, 4), expected)
    data = fastnn.convert_to_tensor(np.float32([1, 3, 3, 2]))
    with GradientTape() as tape:
        tape.watch(data)
        y = ops.segment_max(data, np.array([0, 0, 0, 1]), 2)
    same(tape.gradient(y, data), np.float32([0, 0.5, 0.5, 1]))


def test_one_hot():
    same(ops.one_hot(np.array([[0, 2], [3, -1]]), 3), np.float32([[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]]))
    same(ops.one_hot(np.array([1, 0]), 2, axis=0, dtype="int32"), np.int32([[0, 1], [1, 0]]))
    assert ops.one_hot(KerasTensor((None, 4), "int32"), 7).shape == (None, 4, 7)
    same(ops.multi_hot(np.array([[0, 2], [1, 1]]), 3), np.float32([[1, 0, 1], [0, 1, 0]]))


# ---- order ----


def test_sorting():
    x = np.float32([[3, 1, 2, 1], [0, 5, 5, np.nan]])
    same(ops.sort(x), np.sort(x))
    same(ops.sort(x, 0), np.sort(x, 0))
    same(ops.argsort(x), np.argsort(x, kind="stable").astype("int32"))
    values, index = ops.top_k(np.float32([[1, 3, 3, 2]]), 3)
    same(values, np.float32([[3, 3, 2]]))
    same(index, np.int32([[1, 2, 3]]))
    same(ops.in_top_k(np.array([1, 0, 9]), np.float32([[1, 3, 2], [1, 3, 2], [1, 2, 3]]), 2), np.array([True, False, False]))
    same(ops.searchsorted(np.float32([1, 3, 5]), np.float32([0, 3, 9])), np.int32([0, 1, 3]))
    same(ops.digitize(np.float32([0, 3, 9]), [1.0, 3.0, 5.0]), np.int32([0, 2, 3]))
    same(ops.nonzero(np.array([0, 2, 0, 1]))[0], np.int32([1, 3]))
    check_op(lambda a: ops.sort(a), lambda a: np.sort(a), [(5, 9)])
    check_op(lambda a: ops.top_k(a, 2)[0], lambda a: -np.sort(-a)[..., :2], [(5, 9)])
    values, index = ops.top_k(KerasTensor((None, 9)), 4)
    assert values.shape == index.shape == (None, 4) and index.dtype == "int32"


# ---- creation ----


@pytest.mark.parametrize("f", [
    lambda m, d: m.zeros((2, 3), **d), lambda m, d: m.ones((2,), **d), lambda m, d: m.full((2, 2), 7, **d),
    lambda m, d: m.eye(3, 4, 1, **d), lambda m, d: m.identity(3, **d), lambda m, d: m.tri(3, 4, -1, **d),
    lambda m, d: m.arange(0, 10, 3, **d), lambda m, d: m.linspace(0, 1, 7, **d),
    lambda m, d: m.logspace(0, 2, 5, **d),
])  # fmt: skip
def test_creation(f):
    for dtype in ("float32", "float64", "int32"):
        np.testing.assert_allclose(np.asarray(f(ops, {"dtype": dtype})), f(np, {"dtype": dtype}), rtol=1e-6)


def test_dtypes_of_creation():
    assert ops.arange(5).dtype == "int32" and ops.arange(5.0).dtype == "float32" and ops.zeros((1,)).dtype == "float32"
    assert ops.linspace(0, 1, 3).dtype == "float32" and ops.full((2,), 3).dtype == "float32"
    assert ops.zeros_like(np.int8([1])).dtype == "int8" and ops.ones_like(KerasTensor((None, 2))).shape == (None, 2)
    same(ops.full((2, 3), np.float32([1, 2, 3])), np.float32([[1, 2, 3], [1, 2, 3]]))
    a, b = ops.meshgrid(np.arange(3), np.arange(2))
    c, d = np.meshgrid(np.arange(3), np.arange(2))
    same(a, c), same(b, d)
    same(ops.diff(np.float32([1, 4, 9, 16]), 2), np.float32([2, 2]))
    same(ops.bincount(np.array([1, 1, 3]), minlength=5), np.int32([0, 2, 0, 1, 0]))
    counts, edges = ops.histogram(np.float32([0, 1, 1, 4]), 2)
    same(counts, np.int32([3, 1])), same(edges, np.float32([0, 2, 4]))
    same(ops.trace(make((3, 3))), np.float32(12))
    same(ops.vander(np.float32([1, 2, 3]), 3), np.vander(np.float32([1, 2, 3]), 3).astype("float32"))
    same(ops.isin(np.array([1, 2, 3]), [2, 9]), np.array([False, True, False]))
    same(ops.select([np.array([True, False]), np.array([True, True])], [np.int32([1, 2]), np.int32([3, 4])]), np.int32([1, 4]))
    rows, cols = ops.unravel_index(np.array([0, 5]), (2, 3))
    same(rows, np.array([0, 1])), same(cols, np.array([0, 2]))


# ---- unknown sizes and errors ----


def test_unknown_sizes():
    x = KerasTensor((None, 5, None))
    assert ops.transpose(x, (2, 0, 1)).shape == (None, None, 5)
    assert ops.reshape(x, (-1, 5)).shape == (None, 5)
    assert ops.concatenate([x, x], 1).shape == (None, 10, None)
    assert ops.concatenate([x, x], 0).shape == (None, 5, None)
    assert ops.pad(x, ((0, 0), (1, 2), (0, 0))).shape == (None, 8, None)
    assert ops.stack([x, x], 1).shape == (None, 2, 5, None)
    assert [p.shape for p in ops.split(x, 5, 1)] == [(None, 1, None)] * 5
    assert ops.repeat(x, 3, 1).shape == (None, 15, None)
    assert ops.take(x, [0, 1], 1).shape == (None, 2, None)
    assert ops.cast(x, "int32").dtype == "int32"
    assert ops.shape(x) == (None, 5, None) and ops.size(x) is None and ops.ndim(x) == 3


@pytest.mark.parametrize("f, error, match", [
    (lambda x: ops.reshape(x, (4, 4)), ValueError, r"\[reshape\]"),
    (lambda x: ops.reshape(x, (2**62, 4)), ValueError, r"\[reshape\]|size must fit"),
    (lambda x: ops.reshape(x, (-1, -1)), ValueError, r"\[reshape\]"),
    (lambda x: ops.transpose(x, (0, 0)), ValueError, "must not be given twice"),
    (lambda x: ops.transpose(x, (0,)), ValueError, "permutation"),
    (lambda x: ops.transpose(x, (0, 2)), ValueError, "axis must be in"),
    (lambda x: ops.squeeze(x, 0), ValueError, "size 1"),
    (lambda x: ops.concatenate([x, np.zeros((2, 5), "float32")], 1), ValueError, r"\[concatenate\]"),
    (lambda x: ops.concatenate([], 0), ValueError, r"\[concatenate\]"),
    (lambda x: ops.stack([x, np.zeros((2, 5), "float32")]), ValueError, r"\[stack\]"),
    (lambda x: ops.split(x, 2, 1), ValueError, r"\[split\]"),
    (lambda x: ops.pad(x, -1), ValueError, r"\[pad\]"),
    (lambda x: ops.pad(x, ((1, 1), (1, 1), (1, 1))), ValueError, r"\[pad\]"),
    (lambda x: ops.pad(x, ((2**62, 2**62), (0, 0))), ValueError, r"63 bits|2\^48"),
    (lambda x: ops.take(x, np.array([5]), 1), IndexError, r"indices\[0\]=5"),
    (lambda x: ops.take(x, np.array([[0, 1], [-4, 0]]), 0), IndexError, r"indices\[1, 0\]=-4"),
    (lambda x: ops.take(x, np.float32([0.5]), 0), ValueError, "whole"),
    (lambda x: ops.repeat(x, -1), ValueError, r"\[repeat\]"),
    (lambda x: ops.broadcast_to(x, (3, 6)), ValueError, r"\[broadcast_to\]"),
    (lambda x: ops.top_k(x, 9), ValueError, r"\[top_k\]"),
    (lambda x: ops.zeros((2**62, 4)), ValueError, "63 bits"),
    (lambda x: ops.zeros((2.0,)), TypeError, r"\[zeros\]"),
    (lambda x: ops.zeros((-1,)), ValueError, "negative"),
    (lambda x: ops.one_hot(np.array([1]), 0), ValueError, r"\[one_hot\]"),
    (lambda x: ops.segment_sum(x, np.array([0]), 2), ValueError, r"\[segment_sum\]"),
])  # fmt: skip
def test_errors(f, error, match):
    with pytest.raises(error, match=match):
        f(fastnn.convert_to_tensor(make((3, 5))))


def test_positions_to_split_at_may_be_a_tensor():
    x = np.arange(24).reshape(2, 3, 4)
    for function, axis in ((ops.split, 0), (ops.hsplit, 1), (ops.dsplit, 2)):
        parts = function(x, ops.convert_to_tensor([1]))
        for part, expected in zip(parts, np.split(x, [1], axis)):
            np.testing.assert_array_equal(part, expected)
