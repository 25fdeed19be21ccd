"""The multi-tensor updates against their formulas in float64, dense and sparse, clipped and decayed."""

import numpy as np
import pytest

import fastnn
from fastnn import _core
from check import THREADS

SHAPES = [(3,), (64, 65), (1000, 33), (7,), (0, 4), (5, 5), ()] * 5  # more weights than one launch takes
LR, STEP = 0.01, 4


def draw(seed, scale=1.0, positive=False):
    rng = np.random.default_rng(seed)
    return [np.abs(x) + 0.01 if positive else x for x in (rng.normal(size=s) * scale for s in SHAPES)]


W, G, M, V, U = draw(0), draw(1), draw(2, 0.1), draw(3, 0.3, True), draw(4, 0.3, True)


def tensors(arrays):
    return [_core.clone(fastnn.convert_to_tensor(np.asarray(a, "float32"))) for a in arrays]


def scalar(x, dtype="float32"):
    return fastnn.convert_to_tensor(np.array(x, dtype))


def close(tensor_list, expected, tolerance=3e-6):
    for t, e in zip(tensor_list, expected, strict=True):
        np.testing.assert_allclose(np.asarray(t), e, rtol=tolerance, atol=tolerance)


def test_sgd():
    w = tensors(W)
    _core.sgd_update(w, tensors(G), [], [], scalar(LR), 0.0, False)
    close(w, [x - LR * g for x, g in zip(W, G)])


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum_decay_and_clipping(nesterov):
    w, m = tensors(W), tensors(M)
    decay = [k % 2 == 0 for k in range(len(W))]
    _core.sgd_update(w, tensors(G), [None] * len(W), m, scalar(LR), 0.9, nesterov, weight_decay=0.1, decay=decay,
                     clipvalue=0.5)
    g = [np.clip(x, -0.5, 0.5) for x in G]
    start = [x * (1 - 0.1 * LR * d) for x, d in zip(W, decay)]
    velocity = [0.9 * a - LR * b for a, b in zip(M, g)]
    close(m, velocity)
    close(w, [a + (0.9 * b - LR * c if nesterov else b) for a, b, c in zip(start, velocity, g)])


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_rmsprop(centered, momentum):
    small = [0.1 * x for x in M]
    w, v = tensors(W), tensors(V)
    mean, m = tensors(small) if centered else [], tensors(U) if momentum else []
    _core.rmsprop_update(w, tensors(G), [], v, mean, m, scalar(LR), 0.9, momentum, 1e-7)
    for k in range(len(W)):
        square = 0.9 * V[k] + 0.1 * G[k] ** 2
        average = 0.9 * small[k] + 0.1 * G[k]
        step = LR * G[k] / np.sqrt(square - (average**2 if centered else 0) + 1e-7)
        step = momentum * U[k] + step if momentum else step
        close([w[k], v[k]], [W[k] - step, square], 2e-5)
        if centered:
            close([mean[k]], [average])


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_adam(amsgrad, dtype):
    w, m, v, u = tensors(W), tensors(M), tensors(V), tensors(U) if amsgrad else []
    factors = np.random.default_rng(5).random(len(W)).astype("float32")
    _core.adam_update(w, tensors(G), [], m, v, u, scalar(LR), scalar(STEP, dtype), 0.9, 0.999, 1e-7,
                      weight_decay=0.2, scale=fastnn.convert_to_tensor(factors))
    rate = LR * np.sqrt(1 - 0.999 ** (STEP + 1)) / (1 - 0.9 ** (STEP + 1))
    for k in range(len(W)):
        g = G[k] * factors[k]
        m1, v1 = 0.9 * M[k] + 0.1 * g, 0.999 * V[k] + 0.001 * g * g
        bound = np.maximum(U[k], v1) if amsgrad else v1
        close([m[k], v[k]], [m1, v1])
        close([w[k]], [W[k] * (1 - 0.2 * LR) - rate * m1 / (np.sqrt(bound) + 1e-7)], 1e-5)


def test_norms_and_scales():
    squares = _core.squared_norms(tensors(G), [])
    norms = [np.sqrt((g**2).sum()) for g in G]
    np.testing.assert_allclose(np.asarray(squares), np.square(norms), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(_core.clip_scales(squares, 2.0, False)), [2 / max(n, 2) for n in norms], rtol=1e-5)
    total = np.sqrt(np.square(norms).sum())
    np.testing.assert_allclose(np.asarray(_core.clip_scales(squares, 2.0, True)), 2 / total, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(_core.clip_scales(squares, 1e6, True)), 1)
    infinite = fastnn.convert_to_tensor(np.float32([1, np.inf]))
    assert np.isnan(np.asarray(_core.clip_scales(infinite, 2.0, True))).all()


def sparse_gradient(rows, cols, n):
    rng = np.random.default_rng(6)
    ids, values = rng.integers(0, rows // 2, n), rng.normal(size=(n, cols)).astype("float32")
    index = _core.indices("test", "ids", fastnn.convert_to_tensor(ids), rows, False)
    row_slot, _, _, sums = _core.coalesce(index, fastnn.convert_to_tensor(values), rows)
    return row_slot, sums, _core.densify(row_slot, sums)


@pytest.mark.parametrize("rows, cols, n", [(1000, 33, 5000), (50, 1, 10), (3000, 64, 100)])
def test_sparse_gradients_have_the_bits_of_dense_ones(rows, cols, n):
    row_slot, sums, dense = sparse_gradient(rows, cols, n)
    rng = np.random.default_rng(7)
    start = [rng.normal(size=(rows, cols)), rng.normal(size=(rows, cols)), rng.random((rows, cols))]
    results = []
    for g, slots in (([sums], [row_slot]), ([dense], [])):
        state = tensors(start)
        w, m, v = ([x] for x in state)
        scale = _core.clip_scales(_core.squared_norms(g, slots), 3.0, True)
        _core.adam_update(w, g, slots, m, v, [], scalar(LR), scalar(0, "int64"), 0.9, 0.999, 1e-7, clipvalue=1.0)
        _core.sgd_update(w, g, slots, m, scalar(LR), 0.9, True, weight_decay=0.1)
        _core.rmsprop_update(w, g, slots, v, [], [], scalar(LR), 0.9, 0.0, 1e-7)
        results.append((b"".join(np.asarray(x).tobytes() for x in state), np.asarray(scale)[0]))
    assert results[0][0] == results[1][0]
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6)


def test_threads():
    before, seen = fastnn.num_threads(), set()
    try:
        for t in THREADS:
            fastnn.set_num_threads(t)
            w, m, v, g = tensors(W), tensors(M), tensors(V), tensors(G)
            scale = _core.clip_scales(_core.squared_norms(g, []), 3.0, True)
            _core.adam_update(w, g, [], m, v, [], scalar(LR), scalar(STEP, "int64"), 0.9, 0.999, 1e-7, scale=scale)
            seen.add(b"".join(np.asarray(x).tobytes() for x in w + m + v))
    finally:
        fastnn.set_num_threads(before)
    assert len(seen) == 1


def test_nan_spreads_only_to_its_own_element():
    g = [np.zeros(33)]
    g[0][32] = np.nan
    w, m, v = (tensors([np.ones(33)]) for _ in range(3))
    _core.adam_update(w, tensors(g), [], m, v, [], scalar(LR), scalar(0, "int64"), 0.9, 0.999, 1e-7, clipvalue=1.0)
    assert np.isnan(np.asarray(w[0])).nonzero()[0].tolist() == [32]


@pytest.mark.parametrize("change, error, match", [
    (dict(g=tensors(G)[:-1]), ValueError, "one gradient for each weight"),
    (dict(g=tensors(G[::-1])), ValueError, "shape"),
    (dict(m=tensors(M)[:3]), ValueError, "m"),
    (dict(lr=scalar([LR, LR])), ValueError, "lr"),
    (dict(lr=scalar(LR, "float64")), TypeError, "lr"),
    (dict(w=[fastnn.ops.cast(x, "float64") for x in tensors(W)]), TypeError, "w"),
    (dict(decay=[True]), ValueError, "one gradient for each weight"),
])  # fmt: skip
def test_wrong_arguments_change_nothing(change, error, match):
    arguments = dict(w=tensors(W), g=tensors(G), row_slots=[], m=tensors(M), lr=scalar(LR), momentum=0.9, nesterov=False)
    arguments.update(change)
    before = [np.array(x) for x in arguments["w"] + arguments["m"]]
    with pytest.raises(error, match=match):
        _core.sgd_update(**arguments)
    for x, old in zip(arguments["w"] + arguments["m"], before):
        np.testing.assert_array_equal(np.asarray(x), old)
