"""Models as scikit-learn's estimators: in its pipelines, cross-validation and searches. Needs scikit-learn."""

import copy

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
    from sklearn.utils.multiclass import type_of_target
    from sklearn.utils.validation import check_array, check_is_fitted, check_X_y
    installed = True
except ImportError:  # said when an estimator is made
    installed = False
    BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin = (type(name, (), {}) for name in "BCRT")

from .models import Model, clone_model

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


class _Estimator(BaseEstimator):
    def __init__(self, model, warm_start=False, model_kwargs=None, fit_kwargs=None):
        if not installed:
            raise ImportError(f"[{type(self).__name__}] scikit-learn must be installed: pip install scikit-learn")
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def __sklearn_clone__(self):
        model = self.model if not isinstance(self.model, Model) else _copy(self.model)
        return type(self)(model, self.warm_start, copy.deepcopy(self.model_kwargs), copy.deepcopy(self.fit_kwargs))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        return tags

    def _make(self, X, y):
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if isinstance(self.model, Model):
            model = self.model if self.warm_start else _copy(self.model)
        else:
            model = self.model(X=X, y=y, **(self.model_kwargs or {}))
        if not (getattr(model, "compiled", False) and model.loss and model.optimizer):
            raise RuntimeError("[wrappers] Given model needs to be compiled, and have a loss and an optimizer. "
                               f"Received: model={model!r}")
        return model

    def fit(self, X, y, **kwargs):
        """Trains a model.

        Args:
            X: array (samples, features). y: array (samples,) or (samples, outputs).
            **kwargs: for `Model.fit`, before `fit_kwargs`.

        Raises:
            ValueError: X or y hold NaN, are empty or of different lengths, or y is no target for this estimator.
            RuntimeError: the model is not compiled.
        """
        X, y = check_X_y(X, y, multi_output=True, allow_nd=True)
        y = self._encode(y)
        model = self._make(X, y)
        self.history_ = model.fit(X, y, **{**(self.fit_kwargs or {}), **kwargs})
        self.model_ = model
        self.n_features_in_ = X.shape[1]
        return self

    def _outputs(self, X):
        check_is_fitted(self, "model_")
        X = check_array(X, allow_nd=True)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"[wrappers] X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                             f"{self.n_features_in_} features as input. Received: X.shape={X.shape}")
        return np.asarray(self.model_.predict(X, verbose=0))

    def predict(self, X):
        """The targets that the model gives for samples, in the form of those that it was fitted to.

        Args:
            X: array (samples, features).
        """
        return self._decode(self._outputs(X))

    def _encode(self, y):
        self._rank = y.ndim
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _decode(self, y):
        return np.squeeze(y, 1) if self._rank == 1 and y.ndim == 2 and y.shape[1] == 1 else y


def _copy(model):
    """The model anew, compiled in the same way."""
    new = clone_model(model)
    if getattr(model, "compiled", False):
        new.compile_from_config(model.get_compile_config())
    return new


class SKLearnClassifier(ClassifierMixin, _Estimator):
    """A model as a classifier. It is trained on one-hot labels: give it one output for each class.

    Args:
        model: compiled Model, of which each fit trains a copy with weights of its own; or a function of `X`, `y` and
            `model_kwargs` that returns one.
        warm_start: bool; a fit goes on from the weights of the one before, of a Model from its own.
        model_kwargs: dict, arguments for the function.
        fit_kwargs: dict, arguments for `Model.fit`.

    Attributes:
        model_: the trained model. history_: what `Model.fit` returned. n_features_in_: features of a sample.
    """

    def _encode(self, y):
        kind = type_of_target(y, raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise ValueError(f"[SKLearnClassifier] Only binary and multiclass target types are supported. Target type: {kind}. "
                             f"Received: y.shape={y.shape}")
        self._rank = y.ndim
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError("[SKLearnClassifier] Classifier can't train when only one class is present. "
                             f"Received: classes={self.classes_}")
        return np.eye(len(self.classes_), dtype="float32")[index.reshape(-1)]

    def _decode(self, y):
        labels = self.classes_[np.argmax(y, -1)]
        return labels if self._rank == 1 else labels[:, None]

    def decision_function(self, X):
        """The model's outputs for samples, (samples, classes).

        Args:
            X: array (samples, features).
        """
        return self._outputs(X)


class SKLearnRegressor(RegressorMixin, _Estimator):
    """A model as a regressor. Arguments are those of `SKLearnClassifier`."""


class SKLearnTransformer(TransformerMixin, _Estimator):
    """A model as a step of a pipeline: `transform` gives its outputs. Arguments are those of `SKLearnClassifier`."""

    def transform(self, X):
        """The model's outputs for samples.

        Args:
            X: array (samples, features).
        """
        return self._outputs(X)
