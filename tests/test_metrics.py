"""Metrics against float64 formulas over all batches at once; state, weights, configs, wrong shapes."""
import math

import numpy as np
import pytest

import fastnn
from fastnn import losses, metrics
from fastnn.metrics import confusion

N, C, BATCHES = 13, 5, 3


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def batch(kind, seed):
    """(labels, predictions) of one batch."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, C)).astype("f4")
    y = rng.random((N, C)).astype("f4")
    labels = rng.integers(0, C, N)
    bits = (rng.random((N, C)) > 0.5).astype("f4")
    return {
        "real": (x, y),
        "positive": (np.abs(x), y),
        "hot": (np.eye(C, dtype="f4")[labels], softmax(x).astype("f4")),
        "sparse": (labels, softmax(x).astype("f4")),
        "sparse_column": (labels[:, None], softmax(x).astype("f4")),
        "bits": (bits, y),
        "bit": (bits[:, 0], y[:, 0]),
        "bit_column": (bits[:, 0], y[:, :1]),
        "signs": (2 * bits - 1, x),
        "classes": (labels, rng.integers(0, C, N)),
        "image": (rng.integers(0, C, (3, 4, 4)), rng.integers(0, C, (3, 4, 4))),
        "distribution": (softmax(rng.normal(size=(N, C))).astype("f4"), softmax(x).astype("f4")),
    }[kind]


def everything(kind):
    parts = [batch(kind, seed) for seed in range(BATCHES)]
    return [np.concatenate([np.asarray(p[i], "f8") for p in parts]) for i in range(2)]


def accumulate(metric, kind, weights=None):
    for seed in range(BATCHES):
        t, y = batch(kind, seed)
        metric.update_state(t, y, None if weights is None else weights(seed, t, y))
    return np.asarray(metric.result())


def mean(values):
    """Turn a function of (labels, predictions) with a value per sample into its weighted mean."""

    def result(t, y, w):
        v = np.asarray(values(t, y), "f8").reshape(len(t), -1).mean(-1)
        return (v * w).sum() / w.sum()

    return result


def at_top(k):
    def hits(t, y):
        t = t.argmax(-1) if t.ndim == y.ndim else t
        return [label in np.argsort(-scores)[:k] for label, scores in zip(t.astype(int), y)]

    return hits


def cosine(t, y):
    return (t * y).sum(-1) / np.linalg.norm(t, axis=-1) / np.linalg.norm(y, axis=-1)


def correlation(t, y):
    return [np.corrcoef(a, b)[0, 1] for a, b in zip(t, y)]


def concordance(t, y):
    out = []
    for a, b in zip(t, y):
        covariance = ((a - a.mean()) * (b - b.mean())).mean()
        out.append(2 * covariance / (a.var() + b.var() + (a.mean() - b.mean()) ** 2 + 1e-7))
    return out


def cross_entropy(t, y):
    return -(t * np.log(y)).sum(-1)


MEANS = [
    ("BinaryAccuracy", {}, "bits", lambda t, y: t == (y > 0.5)),
    ("BinaryAccuracy", {"threshold": 0.7}, "bit_column", lambda t, y: t == (y[:, 0] > 0.7)),
    ("Accuracy", {}, "classes", lambda t, y: t == y),
    ("CategoricalAccuracy", {}, "hot", lambda t, y: t.argmax(-1) == y.argmax(-1)),
    ("SparseCategoricalAccuracy", {}, "sparse", lambda t, y: t == y.argmax(-1)),
    ("SparseCategoricalAccuracy", {}, "sparse_column", lambda t, y: t[:, 0] == y.argmax(-1)),
    ("TopKCategoricalAccuracy", {"k": 2}, "hot", at_top(2)),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, "sparse", at_top(3)),
    ("MeanSquaredError", {}, "real", lambda t, y: (t - y) ** 2),
    ("MeanAbsoluteError", {}, "real", lambda t, y: np.abs(t - y)),
    ("MeanAbsolutePercentageError", {}, "real", lambda t, y: 100 * np.abs((t - y) / t)),
    ("MeanSquaredLogarithmicError", {}, "positive", lambda t, y: (np.log1p(t) - np.log1p(y)) ** 2),
    ("LogCoshError", {}, "real", lambda t, y: np.log(np.cosh(t - y))),
    ("CosineSimilarity", {}, "real", cosine),
    ("PearsonCorrelation", {}, "real", correlation),
    ("ConcordanceCorrelation", {}, "real", concordance),
    ("Hinge", {}, "signs", lambda t, y: np.maximum(1 - t * y, 0)),
    ("SquaredHinge", {}, "signs", lambda t, y: np.maximum(1 - t * y, 0) ** 2),
    ("CategoricalHinge", {}, "hot", lambda t, y: np.maximum(((1 - t) * y).max(-1) - (t * y).sum(-1) + 1, 0)),
    ("KLDivergence", {}, "distribution", lambda t, y: (t * np.log(t / y)).sum(-1)),
    ("Poisson", {}, "positive", lambda t, y: y - t * np.log(y + 1e-7)),
    ("BinaryCrossentropy", {}, "bits", lambda t, y: -(t * np.log(y) + (1 - t) * np.log(1 - y))),
    ("CategoricalCrossentropy", {}, "hot", cross_entropy),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, "hot", lambda t, y: cross_entropy(t * 0.9 + 0.1 / C, y)),
    ("SparseCategoricalCrossentropy", {}, "sparse", lambda t, y: cross_entropy(np.eye(C)[t.astype(int)], y)),
]  # fmt: skip
MEAN_IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(MEANS)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name, kwargs, kind, values", MEANS, ids=MEAN_IDS)
def test_means(name, kwargs, kind, values, weighted):
    def weights(seed, t, y):
        return np.random.default_rng(seed + 50).random(len(t)).astype("f4")

    t, y = everything(kind)
    w = np.concatenate([weights(seed, *batch(kind, seed)) for seed in range(BATCHES)])
    metric = getattr(metrics, name)(**kwargs)
    got = accumulate(metric, kind, weights if weighted else None)
    np.testing.assert_allclose(got, mean(values)(t, y, w.astype("f8") if weighted else np.ones(len(t))), rtol=3e-5)
    assert got.shape == () and got.dtype == np.float32


def r2(t, y):
    return 1 - ((t - y) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)


def f_score(t, positive, beta, axis=0):
    both = (t * positive).sum(axis)
    precision, recall = both / positive.sum(axis), both / t.sum(axis)
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def best(y):
    return (y == y.max(-1, keepdims=True)).astype("f8")


def counts(t, y, threshold):
    positive, true = y > threshold, t > 0
    return [(positive & true).sum(), (positive & ~true).sum(), (~positive & ~true).sum(), (~positive & true).sum()]


def rates(t, y):
    return [counts(t, y, threshold) for threshold in np.arange(200) / 199]


def sensitivity(c):
    return c[0] / (c[0] + c[3])


def specificity(c):
    return c[2] / (c[2] + c[1])


def precision(c):
    return c[0] / max(c[0] + c[1], 1)


def best_where(dependent, constrained, value):
    def result(t, y):
        return max([dependent(c) for c in rates(t.reshape(-1), y.reshape(-1)) if constrained(c) >= value], default=0)

    return result


def roc_area(t, y):
    """The probability that a positive scores higher than a negative, up to the width of a threshold."""
    t, y = t.reshape(-1), y.reshape(-1)
    pairs = y[t > 0][:, None] - y[t == 0][None, :]
    return (pairs > 0).mean() + 0.5 * (pairs == 0).mean()


def top_only(y, k):
    kth = np.sort(y, -1)[:, -k][:, None]
    return np.where(y >= kth, y, -1e10)


def iou(t, y, classes, ignore=None):
    t, y = t.reshape(-1), y.reshape(-1)
    kept = t != ignore if ignore is not None else np.ones(len(t), bool)
    t, y = t[kept], y[kept]
    ratios = [((t == c) & (y == c)).sum() / ((t == c) | (y == c)).sum() for c in classes if ((t == c) | (y == c)).any()]
    return np.mean(ratios)


WHOLE = [
    ("RootMeanSquaredError", {}, "real", lambda t, y: math.sqrt(((t - y) ** 2).mean()), 1e-5),
    ("R2Score", {}, "real", lambda t, y: r2(t, y).mean(), 1e-5),
    ("R2Score", {"class_aggregation": None}, "real", r2, 1e-5),
    (
        "R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 3}, "real",
        lambda t, y: 1 - (1 - np.average(r2(t, y), weights=t.var(0))) * (t.size - 1) / (t.size - 4), 1e-4,
    ),
    ("F1Score", {}, "hot", lambda t, y: np.nan_to_num(f_score(t, best(y), 1)), 1e-5),
    ("F1Score", {"average": "micro"}, "hot", lambda t, y: f_score(t, best(y), 1, None), 1e-5),
    ("F1Score", {"average": "macro", "threshold": 0.4}, "bits", lambda t, y: f_score(t, y > 0.4, 1).mean(), 1e-5),
    (
        "FBetaScore", {"beta": 2.0, "average": "weighted", "threshold": 0.3}, "bits",
        lambda t, y: np.average(f_score(t, y > 0.3, 2), weights=t.sum(0)), 1e-5,
    ),
    ("TruePositives", {}, "bits", lambda t, y: counts(t, y, 0.5)[0], 0),
    ("FalsePositives", {"thresholds": [0.2, 0.7]}, "bits", lambda t, y: [counts(t, y, x)[1] for x in (0.2, 0.7)], 0),
    ("TrueNegatives", {"thresholds": 0.3}, "bit", lambda t, y: counts(t, y, 0.3)[2], 0),
    ("FalseNegatives", {"thresholds": [0.2, 0.7]}, "bit_column",
     lambda t, y: [counts(t, y[:, 0], x)[3] for x in (0.2, 0.7)], 0),
    ("Precision", {}, "bits", lambda t, y: precision(counts(t, y, 0.5)), 1e-6),
    ("Precision", {"thresholds": [0.1, 0.5, 0.8]}, "bit",
     lambda t, y: [precision(counts(t, y, x)) for x in (0.1, 0.5, 0.8)], 1e-6),
    ("Precision", {"top_k": 2}, "bits", lambda t, y: precision(counts(t, top_only(y, 2), -1e10 + 1)), 1e-6),
    ("Precision", {"class_id": 1}, "bits", lambda t, y: precision(counts(t[:, 1], y[:, 1], 0.5)), 1e-6),
    ("Recall", {}, "bit", lambda t, y: sensitivity(counts(t, y, 0.5)), 1e-6),
    ("Recall", {"top_k": 3, "class_id": 2}, "bits",
     lambda t, y: sensitivity(counts(t[:, 2], top_only(y, 3)[:, 2], -1e10 + 1)), 1e-6),
    ("SensitivityAtSpecificity", {"specificity": 0.6}, "bit", best_where(sensitivity, specificity, 0.6), 1e-6),
    ("SpecificityAtSensitivity", {"sensitivity": 0.6}, "bit", best_where(specificity, sensitivity, 0.6), 1e-6),
    ("PrecisionAtRecall", {"recall": 0.6}, "bit", best_where(precision, sensitivity, 0.6), 1e-6),
    ("RecallAtPrecision", {"precision": 0.6}, "bit", best_where(sensitivity, precision, 0.6), 1e-6),
    ("AUC", {"num_thresholds": 2000}, "bit", roc_area, 3e-3),
    ("AUC", {"num_thresholds": 2000}, "bits", roc_area, 3e-3),
    ("AUC", {"num_thresholds": 2000, "multi_label": True}, "bits",
     lambda t, y: np.mean([roc_area(t[:, i], y[:, i]) for i in range(C)]), 3e-3),
    ("AUC", {"num_thresholds": 2000, "multi_label": True, "label_weights": [1.0, 2.0, 0.0, 3.0, 1.0]}, "bits",
     lambda t, y: np.average([roc_area(t[:, i], y[:, i]) for i in range(C)], weights=[1, 2, 0, 3, 1]), 3e-3),
    ("IoU", {"num_classes": C, "target_class_ids": [0, 3]}, "classes", lambda t, y: iou(t, y, [0, 3]), 1e-6),
    ("MeanIoU", {"num_classes": C, "ignore_class": 2}, "image", lambda t, y: iou(t, y, range(C), 2), 1e-6),
    ("MeanIoU", {"num_classes": C, "sparse_y_pred": False}, "sparse",
     lambda t, y: iou(t, y.argmax(-1), range(C)), 1e-6),
    ("BinaryIoU", {"threshold": 0.4}, "bits", lambda t, y: iou(t, y >= 0.4, [0, 1]), 1e-6),
    ("OneHotIoU", {"num_classes": C, "target_class_ids": [1]}, "hot",
     lambda t, y: iou(t.argmax(-1), y.argmax(-1), [1]), 1e-6),
    ("OneHotMeanIoU", {"num_classes": C}, "hot", lambda t, y: iou(t.argmax(-1), y.argmax(-1), range(C)), 1e-6),
]  # fmt: skip
WHOLE_IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(WHOLE)]


@pytest.mark.parametrize("name, kwargs, kind, expected, tolerance", WHOLE, ids=WHOLE_IDS)
def test_of_all_samples(name, kwargs, kind, expected, tolerance, monkeypatch):
    t, y = everything(kind)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.asarray(expected(t, y), "f8")
    for small in (1 << 20, 0):  # both ways of counting
        monkeypatch.setattr(confusion, "_SMALL", small)
        got = accumulate(getattr(metrics, name)(**kwargs), kind)
        assert got.shape == value.shape
        np.testing.assert_allclose(got, value, rtol=0, atol=tolerance + 1e-6)


def naive_area(t, y, curve, method):
    """AUC by a loop over thresholds."""
    c = np.array([counts(t, y, x) for x in np.r_[-1e-7, np.arange(1, 199) / 199, 1 + 1e-7]], "f8")
    tp, fp, tn, fn = c.T
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, false = tp / (tp + fn), fp / (fp + tn)
        prec = np.nan_to_num(tp / (tp + fp))
        if curve == "PR" and method == "interpolation":
            total = 0.0
            for i in range(len(c) - 1):
                p0, p1 = tp[i] + fp[i], tp[i + 1] + fp[i + 1]
                slope = (tp[i] - tp[i + 1]) / (p0 - p1) if p0 > p1 else 0
                intercept = tp[i + 1] - slope * p1
                ratio = math.log(p0 / p1) if p0 > 0 and p1 > 0 else 0
                total += slope * (tp[i] - tp[i + 1] + intercept * ratio) / (tp[i + 1] + fn[i + 1])
            return total
    x, v = (false, recall) if curve == "ROC" else (recall, prec)
    pick = {"interpolation": lambda a, b: (a + b) / 2, "minoring": np.minimum, "majoring": np.maximum}[method]
    return ((x[:-1] - x[1:]) * pick(v[:-1], v[1:])).sum()


@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
@pytest.mark.parametrize("curve", ["ROC", "PR"])
def test_area_under_curve(curve, method):
    got = accumulate(metrics.AUC(curve=curve, summation_method=method), "bits")
    t, y = everything("bits")
    np.testing.assert_allclose(got, naive_area(t.reshape(-1), y.reshape(-1), curve, method), rtol=1e-5)


def test_weights_count_samples_several_times():
    def weights(seed, t, y):
        return np.random.default_rng(seed).integers(0, 3, len(t)).astype("f4")

    def repeated(metric):
        for seed in range(BATCHES):
            t, y = batch("bits", seed)
            w = weights(seed, t, y).astype(int)
            metric.update_state(np.repeat(t, w, 0), np.repeat(y, w, 0))
        return np.asarray(metric.result())

    for make in (metrics.Precision, metrics.Recall, metrics.AUC, metrics.TruePositives, metrics.R2Score,
                 metrics.BinaryAccuracy, metrics.MeanSquaredError,
                 lambda: metrics.F1Score(average="micro", threshold=0.5)):  # fmt: skip
        np.testing.assert_allclose(accumulate(make(), "bits", weights), repeated(make()), rtol=1e-5)
    each = np.ones((N, C), "f4")
    each[:, 2:] = 0
    precision = metrics.Precision()
    precision.update_state(*batch("bits", 0), each)
    t, y = batch("bits", 0)
    np.testing.assert_allclose(precision.result(), counts(t[:, :2], y[:, :2], 0.5)[0] / (y[:, :2] > 0.5).sum(), rtol=1e-6)


def test_from_logits_and_own_thresholds():
    t, y = batch("bits", 0)
    logits = np.log(y / (1 - y))
    a, b = metrics.AUC(from_logits=True), metrics.AUC()
    np.testing.assert_allclose(a(t, logits), b(t, y), atol=1e-5)
    own = metrics.AUC(thresholds=[0.5])
    c = counts(t, y, 0.5)
    x, v = np.array([1, c[1] / (c[1] + c[2]), 0]), np.array([1, sensitivity(c), 0])
    np.testing.assert_allclose(own(t, y), -np.trapezoid(v, x) if hasattr(np, "trapezoid") else -np.trapz(v, x), rtol=1e-5)


def test_mean_and_sum():
    values, weights = np.arange(12.0).reshape(3, 4), np.array([1.0, 0.0, 3.0])
    m = metrics.Mean()
    m.update_state(values)
    m.update_state(values, weights)
    m.update_state(2.0)
    m.update_state(5.0, sample_weight=4)
    rows = values.mean(1)
    np.testing.assert_allclose(m.result(), (rows.sum() + (rows * weights).sum() + 2 + 20) / (3 + 4 + 1 + 4), rtol=1e-6)
    s = metrics.Sum()
    s.update_state(values)
    s.update_state(values, weights)
    np.testing.assert_allclose(s.result(), values.sum() + (values.sum(1) * weights).sum(), rtol=1e-6)
    m.reset_state()
    assert float(m.result()) == 0.0


def test_mask():
    t, y = np.random.default_rng(0).random((2, 3, 4, C)).astype("f4")
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], bool)
    y_pred = fastnn.convert_to_tensor(y)
    y_pred._keras_mask = fastnn.convert_to_tensor(mask)
    values = ((t - y) ** 2).mean(-1)
    got = metrics.MeanSquaredError()(t, y_pred)
    # As Keras: each sample is the mean over all its steps, masked ones as 0, and weighs its share of valid steps.
    np.testing.assert_allclose(got, (values * mask).mean(1).sum() / mask.mean(1).sum(), rtol=1e-5)


def test_bleu():
    m = metrics.BLEU(max_order=2)
    m.update_state([["the cat is on the mat", "there is a cat on the mat"]], ["the the the the the the the"])
    np.testing.assert_array_equal(np.asarray(m.matches), [2, 0])  # the example of the paper
    assert float(m.result()) == 0.0
    m = metrics.BLEU()
    m.update_state([["the cat is on the mat"]], ["the cat is on the mat"])
    m.update_state([list("abcde")], [list("abce")])
    expected = math.exp(np.log([10 / 10, 7 / 8, 5 / 6, 3 / 4]).mean() + 1 - 11 / 10)
    np.testing.assert_allclose(m.result(), expected, rtol=1e-6)
    smooth = metrics.BLEU(smooth=True)
    smooth.update_state(["a b c"], ["a b d"])
    np.testing.assert_allclose(smooth.result(), math.exp(np.log([2 / 3, 2 / 3, 1 / 2, 1 / 1]).mean()), rtol=1e-6)
    with pytest.raises(ValueError, match="same length"):
        m.update_state(["a"], ["a", "b"])


def test_own_metric():
    class Largest(metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.value = self.add_weight(name="value")
            self.inner = metrics.Mean(name="inner")

        def update_state(self, y_true, y_pred, sample_weight=None):
            error = fastnn.ops.max(fastnn.ops.absolute(y_true - y_pred))
            self.value.assign(fastnn.ops.maximum(self.value, error))
            self.inner.update_state(error)

        def result(self):
            return self.value.value

    m = Largest()
    tensors = [[fastnn.convert_to_tensor(v) for v in batch("real", seed)] for seed in range(BATCHES)]
    for pair in tensors:
        m.update_state(*pair)
    t, y = everything("real")
    np.testing.assert_allclose(m.result(), np.abs(t - y).max(), rtol=1e-6)
    assert [v.path for v in m.variables] == ["largest/value", "inner/total", "inner/count"]
    m.reset_state()
    assert float(m.inner.count) == 0
    with pytest.raises(RuntimeError, match="super"):
        type("Bad", (metrics.Metric,), {"__init__": lambda self: self.add_weight()})()


def test_stateless():
    m = metrics.Mean()
    m.update_state([1.0, 2.0])
    start = m.stateless_reset_state()
    assert [float(v) for v in start] == [0, 0]
    state = m.stateless_update_state(start, np.array([3.0, 5.0], "f4"))
    assert float(m.stateless_result(state)) == 4.0
    assert float(m.result()) == 1.5
    with pytest.raises(ValueError, match="metric_variables"):
        m.stateless_result(state[:1])


def test_wrapper():
    m = metrics.MeanMetricWrapper(losses.mean_squared_error, name="error")
    assert m._direction == "down"
    again = metrics.deserialize(metrics.serialize(m))
    assert again._fn is losses.mean_squared_error and again.name == "error"
    own = metrics.MeanMetricWrapper(lambda t, y: fastnn.ops.absolute(t - y), name="own")
    assert float(own(np.ones(3, "f4"), np.zeros(3, "f4"))) == 1.0


ALL = [(n, k) for n, k, *_ in MEANS + WHOLE] + [("Mean", {}), ("Sum", {}), ("BLEU", {"smooth": True})]


@pytest.mark.parametrize("name, kwargs", ALL, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ALL)])
def test_config(name, kwargs):
    metric = getattr(metrics, name)(name="mine", **kwargs)
    config = metrics.serialize(metric)
    assert config["module"] == "keras.metrics" and config["class_name"] == name
    again = metrics.get(config)
    assert type(again) is type(metric) and again.get_config() == metric.get_config()
    for key, value in kwargs.items():
        assert config["config"][key] == value


def test_get():
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert isinstance(metrics.get("AUC"), metrics.AUC) and isinstance(metrics.get("auc"), metrics.AUC)
    assert metrics.get("f1_score").name == "f1_score"
    own = metrics.Recall()
    assert metrics.get(own) is own and metrics.get(None) is None
    assert metrics.get(losses.mean_squared_error) is losses.mean_squared_error


@pytest.mark.parametrize("call, match", [
    (lambda: metrics.get("presicion"), "Did you mean 'precision'"),
    (lambda: metrics.get(3), "identifier=3"),
    (lambda: metrics.Precision(thresholds=1.5), "1.5"),
    (lambda: metrics.AUC(curve="cost"), 'AUC curve value: "cost"'),
    (lambda: metrics.AUC(summation_method="mean"), 'summation method value: "mean"'),
    (lambda: metrics.AUC(num_thresholds=1), "num_thresholds=1"),
    (lambda: metrics.AUC(num_labels=3), "num_labels"),
    (lambda: metrics.RecallAtPrecision(1.5), "precision=1.5"),
    (lambda: metrics.FBetaScore(beta=1), "beta=1"),
    (lambda: metrics.F1Score(average="best"), "average=best"),
    (lambda: metrics.F1Score(threshold=1.5), "threshold=1.5"),
    (lambda: metrics.IoU(2, [2]), "out of range"),
    (lambda: metrics.R2Score(class_aggregation="sum"), "class_aggregation='sum'"),
    (lambda: metrics.BLEU(max_order=0), "max_order=0"),
    (lambda: metrics.BinaryAccuracy()(np.ones((4, 5)), np.ones((4, 1))), "y_true.shape=\\(4, 5\\)"),
    (lambda: metrics.MeanSquaredError()(np.ones((4, 5)), np.ones((4, 1))), "y_true.shape=\\(4, 5\\)"),
    (lambda: metrics.CategoricalAccuracy()(np.ones((4, 5)), np.ones((4, 6))), "y_true.shape=\\(4, 5\\)"),
    (lambda: metrics.SparseCategoricalAccuracy()(np.ones((4, 2)), np.ones((4, 5))), "without the classes"),
    (lambda: metrics.Precision()(np.ones((4, 5)), np.ones((4, 6))), "y_true.shape=\\(4, 5\\)"),
    (lambda: metrics.F1Score()(np.ones(4), np.ones(4)), "2D"),
    (lambda: metrics.R2Score()(np.ones(4), np.ones(4)), "2D"),
    (lambda: metrics.MeanIoU(2)(np.ones(4), np.ones(5)), "4 and 5"),
])  # fmt: skip
def test_wrong_use(call, match):
    with pytest.raises(ValueError, match=match):
        call()
