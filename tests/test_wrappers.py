"""Models as scikit-learn's estimators."""

import numpy as np
import pytest

import fastnn as keras

pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fastnn.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer  # noqa: E402


def build(X, y, units=8, loss="categorical_crossentropy", activation="softmax"):
    model = keras.Sequential([keras.Input(X.shape[1:]), keras.layers.Dense(units, "tanh"), keras.layers.Dense(y.shape[1], activation)])
    model.compile(keras.optimizers.Adam(0.05), loss)
    return model


@pytest.fixture
def blobs():
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    index = np.tile([0, 1, 2], 30)
    return np.array([[3, 0], [-3, 0], [0, 4]])[index] + rng.normal(size=(90, 2)) * 0.5, np.array(["a", "b", "c"])[index]


def test_classifier(blobs):
    X, y = blobs
    c = SKLearnClassifier(build, model_kwargs={"units": 6}, fit_kwargs={"verbose": 0, "epochs": 20})
    with pytest.raises(NotFittedError):
        c.predict(X)
    assert c.fit(X, y) is c and c.score(X, y) > 0.95
    assert list(c.classes_) == ["a", "b", "c"] and c.decision_function(X).shape == (90, 3) and c.predict(X).shape == (90,)
    assert len(c.history_.epoch) == 20 and c.n_features_in_ == 2
    with pytest.raises(ValueError, match="3 features"):
        c.predict(np.ones((2, 3)))
    with pytest.raises(ValueError, match="only one class"):
        c.fit(X, np.zeros(90))
    with pytest.raises(ValueError, match="Only binary and multiclass"):
        c.fit(X, np.linspace(0, 1, 90))


def test_in_pipelines_and_searches(blobs):
    X, y = blobs
    c = SKLearnClassifier(build, fit_kwargs={"verbose": 0, "epochs": 10})
    assert cross_val_score(make_pipeline(StandardScaler(), c), X, y, cv=3).mean() > 0.9
    search = GridSearchCV(c, {"model_kwargs": [{"units": 1}, {"units": 8}]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.8
    assert clone(c).get_params()["fit_kwargs"] == c.fit_kwargs


def test_regressor_and_models_that_are_given():
    keras.utils.set_random_seed(2)
    X = np.random.default_rng(1).normal(size=(64, 3))
    y = X @ [1.0, -2.0, 0.5]
    model = build(X, y[:, None], loss="mse", activation=None)
    before = [w.copy() for w in model.get_weights()]
    r = SKLearnRegressor(model, fit_kwargs={"verbose": 0, "epochs": 40}).fit(X, y)
    assert r.score(X, y) > 0.9 and r.predict(X).shape == (64,)
    assert all((a == b).all() for a, b in zip(before, model.get_weights()))  # a copy was trained
    assert r.fit(X, np.stack([y], 1)).predict(X).shape == (64, 1)
    warm = SKLearnRegressor(model, warm_start=True, fit_kwargs={"verbose": 0}).fit(X, y)
    assert warm.model_ is model and warm.fit(X, y).model_ is model
    with pytest.raises(RuntimeError, match="needs to be compiled"):
        SKLearnRegressor(keras.Sequential([keras.layers.Dense(1)])).fit(X, y)


def test_transformer(blobs):
    X, y = blobs
    t = SKLearnTransformer(build, fit_kwargs={"verbose": 0})
    assert t.fit(X, np.eye(3)[np.tile([0, 1, 2], 30)]).transform(X).shape == (90, 3)
