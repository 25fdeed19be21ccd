"""CTC against the sums over all alignments in float64, by NumPy; its errors; its decoding."""
import itertools

import numpy as np
import pytest
from check import DEVICE, EPS, check_threads, gradients, values

import fastnn as keras
from fastnn import layers, ops

never = -np.inf


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def reference(x, target, labels, frames, blank):
    """(losses, gradients in x): one sample, one state and one frame at a time."""
    losses, gradient = np.zeros(len(x)), np.zeros(x.shape)
    for i, (logits, label, m, steps) in enumerate(zip(x.astype("float64"), target, labels, frames)):
        states = [blank]
        for k in label[:m]:
            states += [k, blank]
        logp, n = log_softmax(logits), len(states)

        def three(a, s, skips):
            far = a[s - 2] if s >= 2 and skips(s) else never
            return np.logaddexp.reduce([a[s], a[s - 1] if s >= 1 else never, far])

        def from_before(s):
            return states[s] != blank and states[s] != states[s - 2] if blank not in label[:m] else s % 2 and states[s] != states[s - 2]

        alpha, beta = np.full((steps, n), never), np.full((steps, n), never)
        for t in range(steps):
            for s in range(n):
                before = three(alpha[t - 1], s, from_before) if t else 0.0 if s < 2 else never
                alpha[t, s] = before + logp[t, states[s]]
        for t in range(steps - 1, -1, -1):
            if t == steps - 1:
                beta[t, -2:] = 0
                continue
            ahead = (beta[t + 1] + logp[t + 1, states])[::-1]
            for s in range(n):
                beta[t, s] = three(ahead, n - 1 - s, lambda r: from_before(n - 1 - r + 2))
        total = np.logaddexp.reduce(alpha[-1, -2:]) if steps else 0.0 if m == 0 else never
        losses[i] = 1e5 if total == never else -total
        for t in range(steps if total > never else 0):
            gradient[i, t] = np.exp(logp[t])
            for s in range(n):
                gradient[i, t, states[s]] -= np.exp(alpha[t, s] + beta[t, s] - total)
    return losses, gradient


def problem(batch, frames, classes, labels, blank=0, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    others = [k for k in range(classes) if k != blank]
    x = (scale * rng.standard_normal((batch, frames, classes))).astype("float32")
    target = rng.choice(others, (batch, labels))
    return x, target, rng.integers(0, labels + 1, batch), rng.integers(max(0, frames - 4), frames + 1, batch), blank


ROWS = [  # batch, frames, classes, labels
    (1, 1, 2, 1), (3, 7, 3, 2), (2, 9, 4, 3), (4, 20, 5, 7), (2, 19, 6, 8), (5, 40, 11, 15), (2, 36, 7, 16), (2, 60, 30, 17),
    (3, 1, 2, 0), (2, 80, 3, 35),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("blank", [0, -1])
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_loss_and_gradient(row, blank, scale):
    x, target, labels, frames, blank = problem(*row, blank=blank % row[2], scale=scale)
    expected, slope = reference(x, target, labels, frames, blank)
    gy = np.random.default_rng(1).standard_normal(len(x)).astype("float32")
    loss = lambda v: ops.ctc_loss(target, v, labels, frames, blank)  # noqa: E731
    y, (gx,) = gradients(loss, [x], gy)
    # Each frame adds a log probability, rounded with its logits, and a sum of three, which is rounded near the values' size.
    size = np.abs(log_softmax(x.astype("float64"))).max() + 4
    np.testing.assert_array_less(np.abs(values(y) - expected), 16 * EPS * size * (x.shape[1] + 1))
    np.testing.assert_array_less(np.abs(values(gx) - slope * gy[:, None, None]), 16 * EPS * size * (x.shape[1] + 1) * np.abs(gy).max())
    check_threads(loss, [x], gy)


def test_all_alignments_enumerated():
    x = problem(1, 4, 3, 2)[0]
    p = np.exp(log_softmax(x[0].astype("float64")))
    total = 0.0
    for path in itertools.product(range(3), repeat=4):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k] == [1, 1]:
            total += np.prod([p[t, k] for t, k in enumerate(path)])
    np.testing.assert_allclose(float(ops.ctc_loss([[1, 1]], x, [2], [4])[0]), -np.log(total), rtol=1e-5)
    assert float(ops.ctc_loss([[1, 1]], x, [0], [2])[0]) == pytest.approx(-np.log(p[0, 0] * p[1, 0]), rel=1e-5)


def test_impossible_targets_have_a_loss_and_no_gradient():
    x = problem(3, 4, 3, 3)[0]
    y, (gx,) = gradients(lambda v: ops.ctc_loss([[1, 1, 1], [1, 2, 1], [1, 2, 2]], v, [3, 3, 1], [4, 4, 0]), [x], np.ones(3))
    assert values(y)[0] == values(y)[2] == 1e5 and 0 < values(y)[1] < 1e5
    assert not values(gx)[[0, 2]].any() and values(gx)[1].any()
    assert float(ops.ctc_loss([[1]], x[:1], [0], [0])[0]) == 0


def test_nan_and_infinity():
    x = problem(3, 6, 4, 2)[0]
    x[0, 2, 1] = np.nan
    x[1, 5, 0] = np.inf
    x[2, :, 3] = -np.inf  # a class that never is
    y, (gx,) = gradients(lambda v: ops.ctc_loss([[1, 2]] * 3, v, [2, 2, 2], [6, 6, 6]), [x], np.ones(3))
    assert np.isnan(values(y)).tolist() == [True, True, False]
    assert np.isnan(values(gx)[0]).all() and np.isnan(values(gx)[1]).all() and np.isfinite(values(gx)[2]).all()


def test_long_sequences_keep_their_digits():
    """The sum over a thousand frames is kept apart from differences within a frame."""
    frames, labels = (1000, 120) if DEVICE == "cpu" else (100, 12)
    x, target, *_ = problem(2, frames, 28, labels)
    expected, slope = reference(x, target, [labels] * 2, [frames] * 2, 0)
    y, (gx,) = gradients(lambda v: ops.ctc_loss(target, v, [labels] * 2, [frames] * 2), [x], np.ones(2))
    np.testing.assert_allclose(values(y), expected, rtol=1e-6)
    np.testing.assert_allclose(values(gx), slope, atol=1e-4)  # a thousand roundings of the states' differences


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32"])
def test_dtypes(dtype):
    x, target, labels, frames, _ = problem(3, 7, 4, 3)
    x = np.asarray(keras.ops.cast(np.round(x), dtype))
    y = ops.ctc_loss(target.astype("float32"), x, labels.astype("int8"), frames)
    assert y.dtype == ("float64" if dtype == "float64" else "float32")
    np.testing.assert_allclose(values(y), reference(x.astype("float32"), target, labels, frames, 0)[0], rtol=1e-5)


def test_symbolic_shape():
    y = ops.ctc_loss(keras.Input((5,), dtype="int32"), keras.Input((20, 7)), keras.Input((), dtype="int32"), keras.Input((), dtype="int32"))
    assert y.shape == (None,) and y.dtype == "float32"


@pytest.mark.parametrize("change, match", [
    ({"target": [[1, 9]]}, r"target\[0, 1\]=9"), ({"target": [[-1, 2]]}, r"target\[0, 0\]=-1"),
    ({"target_length": [3]}, r"target_length\[0\]=3"), ({"output_length": [5]}, r"output_length\[0\]=5"),
    ({"output_length": [-1]}, "output_length"), ({"mask_index": 4}, "mask_index"), ({"target_length": [1, 1]}, "target_length"),
    ({"output": np.zeros((2, 4, 4), "float32")}, "target"), ({"target": [1]}, "target"),
])  # fmt: skip
def test_errors(change, match):
    good = dict(target=[[1, 2]], output=np.zeros((1, 4, 4), "float32"), target_length=[2], output_length=[4], mask_index=0)
    ops.ctc_loss(**good)
    with pytest.raises(ValueError, match=match):
        ops.ctc_loss(**{**good, **change})


def test_labels_beyond_their_count_mean_nothing():
    x = problem(1, 6, 4, 2)[0]
    np.testing.assert_array_equal(values(ops.ctc_loss([[1, -1, 99]], x, [1], [6])), values(ops.ctc_loss([[1]], x, [1], [6])))


def test_loss_class():
    y_true, y_pred = np.array([[1, 2, 0], [3, 0, 0]]), problem(2, 6, 4, 3)[0]
    loss = keras.losses.CTC()(y_true, y_pred)
    each = keras.losses.ctc(y_true, y_pred)
    np.testing.assert_allclose(float(loss), values(each).mean(), rtol=1e-6)
    np.testing.assert_allclose(values(each), values(ops.ctc_loss(y_true, y_pred, [2, 1], [6, 6])), rtol=1e-6)
    with pytest.raises(ValueError, match="y_true"):
        keras.losses.ctc(y_true[0], y_pred)


def test_training_is_replayed_with_the_same_bits():
    """And a label that is no class is found in a replay, before weights change."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((48, 8, 5)).astype("float32"), rng.integers(1, 4, (48, 2))
    weights = []
    for eager in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((8, 5)), layers.Dense(4)])
        model.compile(keras.optimizers.Adam(0.05), keras.losses.CTC(), run_eagerly=eager)
        losses = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]).tobytes())
        if not eager:
            assert model.captured["train"].replayed >= 12
            with pytest.raises(ValueError, match="target"):
                model.train_on_batch(x[:8], np.full((8, 2), 9))
            assert np.concatenate([w.ravel() for w in model.get_weights()]).tobytes() == weights[0]
    assert weights[0] == weights[1]


def merged(path, blank):
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


@pytest.mark.parametrize("blank", [0, 2])
def test_beam_search_finds_what_enumeration_finds(blank):
    """Of a beam that is wide enough nothing is lost: the probabilities of all labels, best first."""
    x, (frames, classes) = problem(2, 5, 3, 1, seed=4)[0], (5, 3)
    lengths = np.array([5, 4])
    paths, scores = (values(v) for v in ops.ctc_decode(x, lengths, "beam_search", beam_width=500, top_paths=6, mask_index=blank))
    for i, steps in enumerate(lengths):
        p = log_softmax(x[i].astype("float64"))
        found = {}
        for path in itertools.product(range(classes), repeat=steps):
            key = merged(path, blank)
            found[key] = found.get(key, 0.0) + np.exp(sum(p[t, k] for t, k in enumerate(path)))
        best = sorted(found.items(), key=lambda item: -item[1])[:6]
        assert [tuple(int(k) for k in row if k >= 0) for row in paths[:, i]] == [key for key, _ in best]
        np.testing.assert_allclose(scores[i], np.log([q for _, q in best]), rtol=1e-5)


def test_greedy_takes_the_best_class_of_each_frame():
    x = np.eye(4, dtype="float32")[[[1, 1, 0, 1, 3, 3], [2, 0, 0, 2, 1, 1]]] * 3
    paths, scores = ops.ctc_decode(x, [6, 4])
    assert values(paths)[0].tolist() == [[1, 1, 3, -1, -1, -1], [2, 2, -1, -1, -1, -1]]
    assert values(scores)[:, 0].tolist() == [-18, -12]
    paths, _ = ops.ctc_decode(x, [6, 4], merge_repeated=False)
    assert values(paths)[0, 0].tolist() == [1, 1, 1, 3, 3, -1]
