"""AUC: the area under a curve of two rates over all thresholds."""
import numpy as np

from .. import ops
from ..config import epsilon
from ..saving.serialization import deserialize_keras_object
from ..tensor import as_tensor
from .base import Metric
from .confusion import confusion_counts, evenly_spaced

_CURVES = ("ROC", "PR", "PRGAIN")
_METHODS = ("interpolation", "majoring", "minoring")


class AUC(Metric):
    """Area under a curve.

    Args:
        num_thresholds: number of thresholds that the curve is made of; more are more exact.
        curve: "ROC": true positive rate over false positive rate; "PR": precision over recall;
            "PRGAIN": precision gain over recall gain.
        summation_method: height between two points: "interpolation" (their mean; for PR the formula of Davis
            and Goadrich 2006), "minoring" (the lower one) or "majoring" (the higher one).
        name: of the metric.
        dtype: of the metric.
        thresholds: the thresholds themselves, in [0, 1]; two are added, one below and one above all predictions.
        multi_label: predictions are (n, labels); one area per label, then their mean.
        num_labels: with `multi_label`, the number of labels, if it should be known before the first batch.
        label_weights: (labels,) weights of the labels.
        from_logits: predictions are logits.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self, num_thresholds=200, curve="ROC", summation_method="interpolation", name=None, dtype=None,
        thresholds=None, multi_label=False, num_labels=None, label_weights=None, from_logits=False,
    ):  # fmt: skip
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"
        self.curve = str(getattr(curve, "value", curve)).upper()
        if self.curve not in _CURVES:
            raise ValueError(
                f'[AUC] Invalid AUC curve value: "{curve}". Expected one of {list(_CURVES)}.'
            )
        self.summation_method = str(getattr(summation_method, "value", summation_method)).lower()
        if self.summation_method not in _METHODS:
            raise ValueError(
                f'[AUC] Invalid AUC summation method value: "{summation_method}". Expected one of {list(_METHODS)}.'
            )
        if thresholds is None:
            if num_thresholds <= 1 or num_thresholds > 2**20:
                raise ValueError(
                    "[AUC] Argument `num_thresholds` must be an integer > 1 and at most 2**20. "
                    f"Received: num_thresholds={num_thresholds}"
                )
            inner = [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)]
        else:
            inner = sorted(thresholds)
            if inner and (inner[0] < 0 or inner[-1] > 1):
                raise ValueError(f"[AUC] thresholds must be in [0, 1]. Received: thresholds={thresholds}")
        if num_labels and not multi_label:
            raise ValueError(
                "[AUC] `num_labels` is needed only when `multi_label` is True. "
                f"Received: num_labels={num_labels}"
            )
        self._init_from_thresholds = thresholds is not None
        self._clip = evenly_spaced([0.0, *inner, 1.0])
        self._thresholds = np.array([-epsilon(), *inner, 1.0 + epsilon()])
        self.num_thresholds = len(self._thresholds)
        self.multi_label = multi_label
        self.num_labels = num_labels
        if isinstance(label_weights, dict):  # a config, in which Keras keeps them as a tensor
            label_weights = deserialize_keras_object(label_weights)
        self.label_weights = None if label_weights is None else as_tensor(label_weights, self.dtype)
        self._from_logits = from_logits
        self._built = False
        if not multi_label:
            self._build(())
        elif num_labels:
            self._build((num_labels,))

    @property
    def thresholds(self):
        """The thresholds, with the two outer ones."""
        return list(self._thresholds)

    def _build(self, labels):
        shape = (self.num_thresholds, *labels)
        self.true_positives = self.add_weight(shape, name="true_positives")
        self.false_positives = self.add_weight(shape, name="false_positives")
        self.true_negatives = self.add_weight(shape, name="true_negatives")
        self.false_negatives = self.add_weight(shape, name="false_negatives")
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch: labels 0 and 1, and predictions of the same shape."""
        y_pred = as_tensor(y_pred, "float32")
        if not self._built:
            if len(y_pred.shape) != 2:
                raise ValueError(
                    "[AUC] `y_pred` must have rank 2 when `multi_label=True`. "
                    f"Received: y_pred.shape={tuple(y_pred.shape)}"
                )
            self._build((y_pred.shape[1],))
        if self._from_logits:
            y_pred = ops.sigmoid(y_pred)
        counts = confusion_counts(
            y_true, y_pred, self._thresholds, sample_weight, multi_label=self.multi_label,
            label_weights=None if self.multi_label else self.label_weights, clip=self._clip,
        )  # fmt: skip
        for variable, count in zip(self._variables, counts):
            variable.assign_add(count)

    def result(self):
        if not self._built:
            return as_tensor(0.0)
        tp, fp, tn, fn = (v.value for v in self._variables)
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = _interpolated_pr(tp, fp, fn)
        else:
            x, y = _curve(self.curve, tp, fp, tn, fn)
            if self.summation_method == "interpolation":
                heights = (y[:-1] + y[1:]) * 0.5
            else:
                pick = ops.minimum if self.summation_method == "minoring" else ops.maximum
                heights = pick(y[:-1], y[1:])
            areas = (x[:-1] - x[1:]) * heights
        if not self.multi_label:
            return ops.sum(areas)
        areas = ops.sum(areas, axis=0)
        if self.label_weights is None:
            return ops.mean(areas)
        return ops.divide_no_nan(ops.sum(areas * self.label_weights), ops.sum(self.label_weights))

    def get_config(self):
        weights = self.label_weights
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if weights is None else np.asarray(weights).tolist(),
            "from_logits": self._from_logits,
        }
        if self._init_from_thresholds:
            config["thresholds"] = [float(t) for t in self._thresholds[1:-1]]
        return config


def _curve(curve, tp, fp, tn, fn):
    """Return (x, y) at every threshold."""
    recall = ops.divide_no_nan(tp, tp + fn)
    if curve == "ROC":
        return ops.divide_no_nan(fp, fp + tn), recall
    if curve == "PR":
        return recall, ops.divide_no_nan(tp, tp + fp)
    # Flach and Kull 2015: gains relative to always predicting positive.
    odds = ops.divide_no_nan(tp + fn, tn + fp)
    none = ops.equal(tp, 0.0)
    recall_gain = ops.where(none, 0.0, 1.0 - odds * ops.divide_no_nan(fn, tp))
    precision_gain = ops.where(none, 1.0, 1.0 - odds * ops.divide_no_nan(fp, tp))
    return ops.maximum(recall_gain, 0.0), precision_gain


def _interpolated_pr(tp, fp, fn):
    """Areas under the precision-recall curve between thresholds.

    Between two points tp and p = tp + fp change linearly, tp = slope p + intercept, so that the area is
    the integral of (slope + intercept / p) dtp. Source: Davis and Goadrich 2006.
    """
    p = tp + fp
    dtp, dp = tp[:-1] - tp[1:], p[:-1] - p[1:]
    slope = ops.divide_no_nan(dtp, ops.maximum(dp, 0.0))
    intercept = tp[1:] - slope * p[1:]
    both = ops.logical_and(p[:-1] > 0.0, p[1:] > 0.0)
    ratio = ops.where(both, ops.divide_no_nan(p[:-1], ops.maximum(p[1:], 0.0)), 1.0)
    area = slope * (dtp + intercept * ops.log(ratio))
    return ops.divide_no_nan(area, ops.maximum(tp[1:] + fn[1:], 0.0))
