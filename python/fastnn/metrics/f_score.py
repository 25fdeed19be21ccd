"""F scores: the harmonic mean of precision and recall."""
from .. import ops
from ..config import epsilon
from ..losses.base import check_same_shape
from ..tensor import as_tensor
from .base import Metric


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), for labels and predictions (n, classes).

    Args:
        average: None: one score per class; "micro": of all classes counted together; "macro": mean over the
            classes; "weighted": mean weighted by the number of true labels.
        beta: float; above 1 recall counts more.
        threshold: float in (0, 1]; predictions above it are positive. None: only the largest of a sample is.
        name: of the metric.
        dtype: of the metric.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(self, average=None, beta=1.0, threshold=None, name="fbeta_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                "[FBetaScore] Invalid `average` argument value. Expected one of: {None, 'micro', 'macro', "
                f"'weighted'}}. Received: average={average}"
            )
        if not isinstance(beta, float):
            raise ValueError(
                "[FBetaScore] Invalid `beta` argument value. It should be a Python float. "
                f"Received: beta={beta} of type '{type(beta)}'"
            )
        if beta <= 0.0:
            raise ValueError(
                f"[FBetaScore] Invalid `beta` argument value. It should be > 0. Received: beta={beta}"
            )
        if threshold is not None and not isinstance(threshold, float):
            raise ValueError(
                "[FBetaScore] Invalid `threshold` argument value. It should be a Python float. "
                f"Received: threshold={threshold} of type '{type(threshold)}'"
            )
        if threshold is not None and not 0.0 < threshold <= 1.0:
            raise ValueError(
                "[FBetaScore] Invalid `threshold` argument value. It should verify 0 < threshold <= 1. "
                f"Received: threshold={threshold}"
            )
        self.average = average
        self.beta = beta
        self.threshold = threshold
        self.axis = None if average == "micro" else 0
        self._built = False

    def _build(self, y_true_shape, y_pred_shape):
        if len(y_pred_shape) != 2 or len(y_true_shape) != 2:
            raise ValueError(
                "[FBetaScore] FBetaScore expects 2D inputs with shape (batch_size, output_dim). Received input shapes: "
                f"y_pred.shape={tuple(y_pred_shape)} and y_true.shape={tuple(y_true_shape)}."
            )
        shape = () if self.average == "micro" else (y_pred_shape[1],)
        self.true_positives = self.add_weight(shape, dtype=self.dtype, name="true_positives")
        self.false_positives = self.add_weight(shape, dtype=self.dtype, name="false_positives")
        self.false_negatives = self.add_weight(shape, dtype=self.dtype, name="false_negatives")
        self.intermediate_weights = self.add_weight(shape, dtype=self.dtype, name="intermediate_weights")
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = as_tensor(y_true, self.dtype), as_tensor(y_pred, self.dtype)
        if not self._built:
            self._build(y_true.shape, y_pred.shape)
        check_same_shape("FBetaScore", y_true, y_pred)
        if self.threshold is None:
            largest = ops.max(y_pred, axis=-1, keepdims=True)
            positive = ops.logical_and(y_pred >= largest, ops.absolute(y_pred) > 1e-9)
        else:
            positive = y_pred > self.threshold
        positive = ops.cast(positive, self.dtype)
        weight = 1.0 if sample_weight is None else ops.expand_dims(as_tensor(sample_weight, self.dtype), 1)
        labels, hits = y_true * weight, positive * weight
        both = ops.sum(y_true * hits, axis=self.axis)
        true = ops.sum(labels, axis=self.axis)
        self.true_positives.assign_add(both)
        self.false_positives.assign_add(ops.sum(hits, axis=self.axis) - both)
        self.false_negatives.assign_add(true - both)
        self.intermediate_weights.assign_add(true)

    def result(self):
        both = self.true_positives.value
        precision = both / (both + self.false_positives.value + epsilon())
        recall = both / (both + self.false_negatives.value + epsilon())
        beta2 = self.beta**2
        score = precision * recall / (beta2 * precision + recall + epsilon()) * (1.0 + beta2)
        if self.average == "weighted":
            weights = self.intermediate_weights.value
            return ops.sum(score * (weights / (ops.sum(weights) + epsilon())))
        return score if self.average is None else ops.mean(score)

    def get_config(self):
        return {
            **super().get_config(),
            "average": self.average,
            "beta": self.beta,
            "threshold": self.threshold,
        }


class F1Score(FBetaScore):
    """2 precision recall / (precision + recall); arguments as `FBetaScore`.

    Args:
        average: None, "micro", "macro" or "weighted".
        threshold: number, or None for the best class.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    def __init__(self, average=None, threshold=None, name="f1_score", dtype=None):
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)

    def get_config(self):
        config = super().get_config()
        del config["beta"]
        return config
