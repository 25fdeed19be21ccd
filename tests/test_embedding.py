"""Lookups, their sparse gradients, and the Embedding layer."""

import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, KerasTensor, Variable, layers, ops
from fastnn.ops.indexed import IndexedSlices
from check import THREADS, sized

CASES = [(1, 1, 1), (10, 5, 3), (1000, 50, 17), (5000, 300, 64), (20000, 100, 33), (300, 20, 2000), (50000, 40000, 8)]


def draw(n, rows, cols, integers):
    rng = np.random.default_rng(n)
    ids = rng.integers(0, rows, n)
    ids[rng.random(n) < 0.4] = 0  # padding: one heavy row
    values = rng.integers(-8, 9, (n, cols)) if integers else rng.normal(size=(n, cols))
    return ids, values.astype("float32")


@pytest.mark.parametrize("n, rows, cols", CASES)
def test_sparse_gradient_is_exact(n, rows, cols):
    ids, g = draw(n, rows, cols, integers=True)
    expected = np.zeros((rows, cols))
    np.add.at(expected, ids, g)
    table = Variable(np.random.default_rng(0).normal(size=(rows, cols)).astype("float32"))
    with GradientTape() as tape:
        y = ops.embedding_lookup(table, ids)
    np.testing.assert_array_equal(np.asarray(y), table.numpy()[ids])
    gradient = tape.gradient(y, table, output_gradients=fastnn.convert_to_tensor(g))
    assert isinstance(gradient, IndexedSlices) and gradient.shape == (rows, cols)
    np.testing.assert_array_equal(np.asarray(gradient.to_dense()), expected)
    _, slot_row, count, _ = gradient.coalesce()
    assert sorted(np.asarray(slot_row)[: int(count)]) == sorted(set(ids))


@pytest.mark.parametrize("n, rows, cols", CASES)
def test_sparse_gradient_has_the_same_bits_for_all_threads(n, rows, cols):
    n, rows = sized((n, rows), (min(n, 5_000), min(rows, 5_000)))
    ids, g = draw(n, rows, cols, integers=False)
    before, sparse, dense = fastnn.num_threads(), set(), set()
    index = ops.indexing.read_indices("test", "ids", ids, rows, False)
    try:
        for t in THREADS:
            fastnn.set_num_threads(t)
            slices = IndexedSlices(index, fastnn.convert_to_tensor(g), (rows, cols))
            sparse.add(np.asarray(slices.to_dense()).tobytes())
            dense.add(np.asarray(ops.indexing.scatter_rows(fastnn.convert_to_tensor(g), index, (rows, cols), 0)).tobytes())
    finally:
        fastnn.set_num_threads(before)
    assert len(sparse) == len(dense) == 1


def test_gradients_that_meet():
    table = Variable(np.random.default_rng(0).normal(size=(6, 3)).astype("float32"))
    e = table.numpy().astype("float64")
    a, b = np.array([[1, 1], [5, 0]]), np.array([1, 2])
    lookups = np.zeros((6, 3))
    np.add.at(lookups, a, 2 * e[a])
    np.add.at(lookups, b, 1.0)
    with GradientTape(persistent=True) as tape:
        shared = ops.sum(ops.square(ops.embedding_lookup(table, a))) + ops.sum(ops.embedding_lookup(table, b))
        mixed = shared + ops.sum(table * 2.0)
        inner = ops.sum(ops.square(ops.embedding_lookup(table * 3.0, a)))  # the table is no variable here
    assert isinstance(tape.gradient(shared, table), IndexedSlices)
    np.testing.assert_allclose(np.asarray(tape.gradient(shared, table)), lookups, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(tape.gradient(mixed, table)), lookups + 2, rtol=1e-5)
    scaled = np.zeros((6, 3))
    np.add.at(scaled, a, 18 * e[a])
    np.testing.assert_allclose(np.asarray(tape.gradient(inner, table)), scaled, rtol=1e-5)


def test_second_order():
    table = Variable(np.random.default_rng(0).normal(size=(6, 3)).astype("float32"))
    e, ids = table.numpy().astype("float64"), np.array([1, 1, 4])
    with GradientTape() as outer:
        with GradientTape() as inner:
            y = ops.sum(ops.power(ops.embedding_lookup(table, ids), 3.0))
        g = ops.sum(ops.square(inner.gradient(y, table)))
    first, second = np.zeros((6, 3)), np.zeros((6, 3))
    np.add.at(first, ids, 3 * e[ids] ** 2)
    np.add.at(second, ids, 2 * first[ids] * 6 * e[ids])
    np.testing.assert_allclose(np.asarray(outer.gradient(g, table)), second, rtol=1e-4)


def test_arithmetic_of_slices():
    g = IndexedSlices(*[fastnn.convert_to_tensor(x) for x in (np.array([2, 2]), np.ones((2, 2), "float32"))], (3, 2))
    dense = np.float32([[0, 0], [0, 0], [2, 2]])
    np.testing.assert_array_equal(np.asarray(g), dense)
    np.testing.assert_array_equal(np.asarray(g * 2.0), dense * 2)
    np.testing.assert_array_equal(np.asarray(g / 2), dense / 2)
    np.testing.assert_array_equal(np.asarray(g + g), dense * 2)
    np.testing.assert_array_equal(np.asarray(g + np.ones((3, 2), "float32")), dense + 1)
    np.testing.assert_array_equal(np.asarray(ops.square(g)), dense**2)
    np.testing.assert_array_equal(np.asarray(ops.ones((3, 2)) + g), dense + 1)


@pytest.mark.parametrize("indices, values, error", [
    ([3], (1, 2), IndexError), ([-1], (1, 2), IndexError), ([0.5], (1, 2), ValueError), ([0, 1], (1, 2), ValueError),
    ([0], (1, 3), ValueError), ([[0]], (1, 1, 2), ValueError),
])  # fmt: skip
def test_slices_that_do_not_fit(indices, values, error):
    with pytest.raises(error, match="IndexedSlices"):
        IndexedSlices(np.array(indices), np.ones(values, "float32"), (3, 2))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "float32", "float64"])
def test_ids_of_any_dtype(dtype):
    layer = layers.Embedding(5, 2)
    y = layer(np.array([[0, 4], [1, 1]]).astype(dtype))
    np.testing.assert_array_equal(np.asarray(y), layer.embeddings.numpy()[[[0, 4], [1, 1]]])


@pytest.mark.parametrize("ids, error, match", [
    ([[0, 5]], IndexError, r"ids\[0, 1\]=5"), ([-1], IndexError, r"ids\[0\]=-1"), ([0, -6], IndexError, r"ids\[1\]=-6"),
    ([2**31], IndexError, "2147483648"), ([0.5], ValueError, r"ids\[0\]=0.5"), ([1.0, np.nan], ValueError, "nan"),
    ([np.inf], ValueError, "inf"), ([2**63], (IndexError, ValueError), "embedding"),
])  # fmt: skip
def test_ids_out_of_range(ids, error, match):
    with pytest.raises(error, match=match):
        layers.Embedding(5, 2)(np.array(ids))


def test_layer():
    layer = layers.Embedding(7, 3, mask_zero=True)
    assert layer(np.zeros((0, 4), "int32")).shape == (0, 4, 3)
    y = layer(np.array([[1, 0]]))
    assert np.asarray(y._keras_mask).tolist() == [[True, False]]
    table = layer.embeddings.numpy()
    assert table.shape == (7, 3) and (abs(table) <= 0.05).all() and layer.count_params() == 21
    assert layer(KerasTensor((None, None), "int32")).shape == (None, None, 3)
    again = layers.Embedding.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    given = np.arange(6, dtype="float32").reshape(3, 2)
    np.testing.assert_array_equal(layers.Embedding(3, 2, weights=[given]).get_weights()[0], given)
    np.testing.assert_array_equal(layers.Embedding(3, 2, weights=given)(np.array([2])), given[[2]])
    for arguments in ((0, 2), (2, 0), (-1, 2), (2.5, 2)):
        with pytest.raises(ValueError, match="positive integer"):
            layers.Embedding(*arguments)


def test_half_precision_policy_does_not_round_ids():
    layer = layers.Embedding(5000, 2, dtype="mixed_float16")
    y = layer(np.float32([[4097]]))
    assert y.dtype == "float16"
    np.testing.assert_array_equal(np.asarray(y)[0, 0], layer.embeddings.numpy()[4097].astype("float16"))


def test_lora():
    layer = layers.Embedding(6, 4)
    ids = np.array([1, 2, 2])
    before = np.asarray(layer(ids))
    layer.enable_lora(2)
    np.testing.assert_array_equal(np.asarray(layer(ids)), before)
    assert [v.name for v in layer.trainable_variables] == ["lora_embeddings_a", "lora_embeddings_b"]
    layer.lora_embeddings_b.assign(np.ones((2, 4), "float32"))
    merged = np.asarray(layer.embeddings)
    np.testing.assert_allclose(np.asarray(layer(ids)), merged[ids], rtol=1e-5)
    store = {}
    layer.save_own_variables(store)
    np.testing.assert_array_equal(store["0"], merged)
    with pytest.raises(ValueError, match="already"):
        layer.enable_lora(2)
