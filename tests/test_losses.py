"""Losses against float64 formulas; reductions, weights, masks, configs and wrong shapes."""
import numpy as np
import pytest

import fastnn
from fastnn import losses

rng = np.random.default_rng(0)
N, C = 7, 5
EPS = 1e-7


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


X = rng.normal(size=(N, C)).astype("f4")
S = rng.random((N, C)).astype("f4")
P = softmax(X).astype("f4")
Q = softmax(rng.normal(size=(N, C))).astype("f4")
BITS = (rng.random((N, C)) > 0.5).astype("f4")
LABELS = rng.integers(0, C, N)
HOT = np.eye(C, dtype="f4")[LABELS]
W = rng.random(N).astype("f4")


def bce(t, p, axis=-1):
    p = np.clip(p, EPS, 1 - EPS)
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis)


def cce(t, p):
    p = np.clip(p / p.sum(-1, keepdims=True), EPS, 1 - EPS)
    return -(t * np.log(p)).sum(-1)


def huber(t, y, d):
    e = np.abs(t - y)
    return np.where(e <= d, e * e / 2, d * e - d * d / 2).mean(-1)


def cosine(t, y, axis=-1):
    norms = np.linalg.norm(t, axis=axis) * np.linalg.norm(y, axis=axis)
    return -(t * y).sum(axis) / norms


def hinge(t, y, power=1):
    return (np.maximum(1 - t * y, 0) ** power).mean(-1)


def binary_focal(t, p, alpha=None, gamma=2.0):
    p = np.clip(p, EPS, 1 - EPS)
    ce = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    p_t = t * p + (1 - t) * (1 - p)
    a = 1 if alpha is None else t * alpha + (1 - t) * (1 - alpha)
    return (a * (1 - p_t) ** gamma * ce).mean(-1)


def focal(t, p, alpha=0.25, gamma=2.0):
    p = p / p.sum(-1, keepdims=True)
    return (alpha * (1 - p) ** gamma * -t * np.log(p)).sum(-1)


def overlap(t, y, alpha, beta, axis=None):
    both = (t * y).sum(axis)
    return 1 - both / (both + alpha * ((1 - y) * t).sum(axis) + beta * (y * (1 - t)).sum(axis))


def circle(labels, y, gamma=80.0, margin=0.4):
    d = np.maximum(1 - y @ y.T, 0)
    losses = []
    for i in range(len(y)):
        same = [j for j in range(len(y)) if labels[j] == labels[i] and j != i]
        other = [j for j in range(len(y)) if labels[j] != labels[i]]
        pos = [-gamma * (margin + d[i, j]) * (margin - d[i, j]) for j in same]
        neg = [gamma * max(1 + margin - d[i, j], 0) * (1 - margin - d[i, j]) for j in other]
        if not pos or not neg:
            losses.append(0.0)
            continue
        z = np.logaddexp.reduce(pos) + np.logaddexp.reduce(neg)
        losses.append(np.logaddexp(0, z))
    return np.array(losses)


UNIT = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype("f4")
PAIRS = np.array([0, 1, 0, 1, 2, 2, 0])

# name of the class, arguments, labels, predictions, reference of the unreduced values
CASES = [
    ("MeanSquaredError", {}, X, S, lambda t, y: ((t - y) ** 2).mean(-1)),
    ("MeanAbsoluteError", {}, X, S, lambda t, y: np.abs(t - y).mean(-1)),
    ("MeanAbsolutePercentageError", {}, X, S, lambda t, y: 100 * np.abs((t - y) / t).mean(-1)),
    (
        "MeanSquaredLogarithmicError", {}, S, P,
        lambda t, y: ((np.log1p(t) - np.log1p(y)) ** 2).mean(-1),
    ),
    ("Huber", {"delta": 0.5}, X, S, lambda t, y: huber(t, y, 0.5)),
    ("LogCosh", {}, X, S, lambda t, y: np.log(np.cosh(y - t)).mean(-1)),
    ("CosineSimilarity", {}, X, S, cosine),
    ("Hinge", {}, 2 * BITS - 1, X, hinge),
    ("Hinge", {}, BITS, X, lambda t, y: hinge(2 * t - 1, y)),
    ("SquaredHinge", {}, BITS, X, lambda t, y: hinge(2 * t - 1, y, 2)),
    (
        "CategoricalHinge", {}, HOT, X,
        lambda t, y: np.maximum(((1 - t) * y).max(-1) - (t * y).sum(-1) + 1, 0),
    ),
    ("KLDivergence", {}, Q, P, lambda t, y: (t * np.log(t / y)).sum(-1)),
    ("Poisson", {}, S, P, lambda t, y: (y - t * np.log(y + EPS)).mean(-1)),
    ("BinaryCrossentropy", {}, BITS, S, bce),
    (
        "BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, BITS, X,
        lambda t, y: bce(t * 0.8 + 0.1, sigmoid(y)),
    ),
    ("BinaryFocalCrossentropy", {}, BITS, S, binary_focal),
    (
        "BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 3.0, "from_logits": True}, BITS, X,
        lambda t, y: binary_focal(t, sigmoid(y), 0.25, 3.0),
    ),
    ("CategoricalCrossentropy", {}, HOT, P, cce),
    (
        "CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, HOT, X,
        lambda t, y: cce(t * 0.9 + 0.1 / C, softmax(y)),
    ),
    ("CategoricalFocalCrossentropy", {}, HOT, P, focal),
    (
        "CategoricalFocalCrossentropy", {"from_logits": True, "alpha": 0.5}, HOT, X,
        lambda t, y: focal(t, softmax(y), 0.5),
    ),
    ("SparseCategoricalCrossentropy", {}, LABELS, P, lambda t, y: cce(np.eye(C)[t], y)),
    (
        "SparseCategoricalCrossentropy", {"from_logits": True}, LABELS, X,
        lambda t, y: cce(np.eye(C)[t], softmax(y)),
    ),
    (
        "CategoricalGeneralizedCrossEntropy", {"q": 0.3}, LABELS, P,
        lambda t, y: (1 - y[np.arange(N), t] ** 0.3) / 0.3,
    ),
    ("Dice", {"axis": (1,)}, BITS, S, lambda t, y: 1 - 2 * (t * y).sum(1) / (t.sum(1) + y.sum(1))),
    (
        "Tversky", {"alpha": 0.3, "beta": 0.7, "axis": (1,)}, BITS, S,
        lambda t, y: overlap(t, y, 0.3, 0.7, 1),
    ),
    ("Circle", {}, PAIRS, UNIT, circle),
]  # fmt: skip
IDS = [f"{name}-{'-'.join(map(str, kwargs)) or 'default'}-{i}" for i, (name, kwargs, *_) in enumerate(CASES)]


def wide(x):
    return x.astype("f8") if x.dtype.kind == "f" else x


@pytest.mark.parametrize("name, kwargs, t, y, reference", CASES, ids=IDS)
def test_values(name, kwargs, t, y, reference):
    loss = getattr(losses, name)(reduction="none", **kwargs)
    np.testing.assert_allclose(loss(t, y), reference(wide(t), wide(y)), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name, kwargs, t, y, reference", CASES, ids=IDS)
def test_config_makes_the_same_loss(name, kwargs, t, y, reference):
    loss = getattr(losses, name)(**kwargs)
    config = losses.serialize(loss)
    assert config["module"] == "keras.losses" and config["class_name"] == name
    again = losses.deserialize(config)
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert float(again(t, y)) == float(loss(t, y))


@pytest.mark.parametrize("name, kwargs, t, y, reference", CASES, ids=IDS)
def test_gradient(name, kwargs, t, y, reference):
    loss = getattr(losses, name)(reduction="sum", **kwargs)
    with fastnn.GradientTape() as tape:
        x = fastnn.convert_to_tensor(y)
        tape.watch(x)
        value = loss(t, x)
    direction = np.random.default_rng(1).normal(size=y.shape)
    slope = (np.asarray(tape.gradient(value, x), "f8") * direction).sum()
    h = 1e-5
    t, y = wide(t), wide(y)
    expected = (reference(t, y + h * direction).sum() - reference(t, y - h * direction).sum()) / (2 * h)
    np.testing.assert_allclose(slope, expected, rtol=2e-3, atol=2e-3)


def squared(t, y):
    return ((t.astype("f8") - y) ** 2).mean(-1)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None])
@pytest.mark.parametrize("weights", [None, W, W[:, None], 2.0])
def test_reductions_and_weights(reduction, weights):
    values = squared(X, S)
    weighted = values if weights is None else values * np.reshape(weights, -1)
    expected = {
        "sum_over_batch_size": weighted.mean(),
        "mean": weighted.mean(),
        "sum": weighted.sum(),
        "mean_with_sample_weight": weighted.sum() / (N if weights is None else np.sum(weights)),
        "none": weighted,
        None: weighted,
    }[reduction]
    got = losses.MeanSquaredError(reduction=reduction)(X, S, sample_weight=weights)
    if np.ndim(weights) == 2 and reduction in ("none", None):
        expected = expected[:, None]  # values take the rank of the weights
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_mask_leaves_out_time_steps(reduction, weighted):
    t, y = rng.normal(size=(2, 3, 4, C)).astype("f4")
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], bool)
    weights = rng.random((3, 1)).astype("f4") if weighted else None
    y_pred = fastnn.convert_to_tensor(y)
    y_pred._keras_mask = fastnn.convert_to_tensor(mask)
    w = mask * (weights if weighted else 1.0)
    values = squared(t, y) * w
    divisor = {"sum": 1, "sum_over_batch_size": mask.sum(), "mean_with_sample_weight": w.sum()}[reduction]
    got = losses.MeanSquaredError(reduction=reduction)(t, y_pred, weights)
    np.testing.assert_allclose(got, values.sum() / divisor, rtol=1e-5)


def test_ignore_class_leaves_out_samples():
    labels = LABELS.copy()
    labels[[1, 4]] = -1
    kept = labels >= 0
    values = cce(np.eye(C)[labels[kept]], P[kept].astype("f8"))
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    np.testing.assert_allclose(loss(labels, P), values.mean(), rtol=1e-5)
    none = losses.SparseCategoricalCrossentropy(ignore_class=-1, reduction="none")(labels, P)
    assert (np.asarray(none)[~kept] == 0).all()


@pytest.mark.parametrize("labels, predictions", [((N,), (N, 1)), ((N, 1), (N,)), ((N, 3, 1), (N, 3)), ((N, 3), (N, 3, 1))])
def test_a_trailing_one_is_squeezed(labels, predictions):
    t, y = rng.random(labels).astype("f4"), rng.random(predictions).astype("f4")
    expected = ((t.reshape(-1) - y.reshape(-1)) ** 2).mean()
    np.testing.assert_allclose(losses.MeanSquaredError()(t, y), expected, rtol=1e-5)


BROADCAST = ["MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh", "CosineSimilarity", "Hinge", "Poisson",
             "KLDivergence", "BinaryCrossentropy", "CategoricalCrossentropy", "Dice", "Tversky"]  # fmt: skip


@pytest.mark.parametrize("name", BROADCAST)
@pytest.mark.parametrize("labels, predictions", [((4, 5), (4, 1)), ((4, 1), (4, 5)), ((3, 5), (4, 5)), ((5,), (4, 5))])
def test_shapes_that_do_not_fit_are_errors(name, labels, predictions):
    with pytest.raises(ValueError, match="y_true"):
        getattr(losses, name)()(np.ones(labels, "f4"), np.ones(predictions, "f4") * 0.5)


@pytest.mark.parametrize("name", BROADCAST + ["SparseCategoricalCrossentropy", "CategoricalFocalCrossentropy"])
def test_empty_classes_are_errors(name):
    labels = np.zeros(3, "i4") if name.startswith("Sparse") else np.ones((3, 0), "f4")
    with pytest.raises(ValueError, match="must not be empty"):
        getattr(losses, name)()(labels, np.ones((3, 0), "f4"))


def test_an_empty_batch_has_no_values():
    assert losses.MeanSquaredError()(np.ones((0, 5)), np.ones((0, 5))).shape == (0,)
    assert float(losses.MeanSquaredError()(np.ones((0, 4, 5)), np.ones((0, 4, 5)))) == 0.0


@pytest.mark.parametrize("labels", [[0, 5, 1], [0, -1, 1], [0, 1.5, 1], [0, np.nan, 1]])
def test_labels_that_are_no_class_are_errors(labels):
    with pytest.raises((ValueError, IndexError), match="1"):
        losses.SparseCategoricalCrossentropy()(np.array(labels), np.full((3, 5), 0.2, "f4"))


@pytest.mark.parametrize("shape", [(4,), (N, C), (N, 1, 1)])
def test_weights_that_do_not_fit_are_errors(shape):
    with pytest.raises(ValueError, match="sample_weight"):
        losses.MeanSquaredError()(X, S, np.ones(shape, "f4"))


def test_custom_losses():
    class Scaled(losses.Loss):
        def call(self, y_true, y_pred):
            return 3.0 * fastnn.ops.mean(fastnn.ops.square(y_true - y_pred), axis=-1)

    np.testing.assert_allclose(Scaled()(X, S), 3 * squared(X, S).mean(), rtol=1e-5)
    wrapped = losses.LossFunctionWrapper(losses.mean_squared_error, name="mine")
    assert wrapped.name == "mine"
    again = losses.deserialize(losses.serialize(wrapped))
    assert again.fn is losses.mean_squared_error and again.name == "mine"


def test_dtype_and_nested_inputs():
    loss = losses.MeanSquaredError(dtype="float64")
    assert loss(X, S).dtype == "float64"
    assert losses.MeanSquaredError()(X.astype("f8"), S).dtype == "float32"

    def both(y_true, y_pred):
        return losses.mean_squared_error(y_true["a"], y_pred["a"]) + losses.mean_absolute_error(y_true["b"], y_pred["b"])

    got = losses.LossFunctionWrapper(both)({"a": X, "b": S}, {"a": S, "b": P})
    np.testing.assert_allclose(got, (squared(X, S) + np.abs(S - P).mean(-1)).mean(), rtol=1e-5)


def test_get():
    assert losses.get("mse") is losses.mean_squared_error
    assert isinstance(losses.get("BinaryCrossentropy"), losses.BinaryCrossentropy)
    assert isinstance(losses.get(losses.Hinge), losses.Hinge)
    assert losses.get(None) is None
    own = losses.Huber()
    assert losses.get(own) is own and losses.get(len) is len
    assert losses.deserialize(losses.serialize(losses.mean_squared_error)) is losses.mean_squared_error


@pytest.mark.parametrize("identifier, match", [
    ("mean_squared_eror", "Did you mean 'mean_squared_error'"),
    (3, "identifier=3"),
    ({"config": {}}, "class_name"),
    ({"class_name": "Popen", "module": "subprocess", "config": {}}, "Popen"),
    ({"class_name": "function", "module": "builtins", "config": "exec"}, "exec"),
    ({"class_name": "__lambda__", "config": {"value": "code"}}, "never run"),
])  # fmt: skip
def test_get_refuses(identifier, match):
    with pytest.raises((ValueError, TypeError), match=match):
        losses.get(identifier)


def test_wrong_reduction():
    with pytest.raises(ValueError, match="reduction='average'"):
        losses.MeanSquaredError(reduction="average")
    with pytest.raises(ValueError, match="q=1"):
        losses.CategoricalGeneralizedCrossEntropy(q=1)
    with pytest.raises(ValueError, match="axis"):
        losses.categorical_crossentropy(HOT, P, axis=True)


@pytest.mark.parametrize("reduction,expected", [("sum_over_batch_size", 0.75), ("sum", 3.0), ("mean_with_sample_weight", 0.5)])
def test_a_loss_of_one_number_counts_once_for_every_weight(reduction, expected):
    """Dice sums over everything: Keras lets sample weights scale the one number that it gives."""
    y_true, y_pred = np.array([[1.0, 0], [0, 0], [0, 0], [0, 0]], "f"), np.array([[1.0, 1], [1, 0], [0, 0], [0, 0]], "f")
    weights = np.array([0.0, 1, 2, 3], "f")
    for loss in (losses.Dice(reduction), losses.Tversky(reduction=reduction)):
        np.testing.assert_allclose(np.asarray(loss(y_true, y_pred, weights)), expected, rtol=1e-5)
        assert np.asarray(loss(y_true, y_pred, weights[:1] + 1)).shape == ()
