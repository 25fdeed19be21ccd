"""Counts of true and false positives and negatives at thresholds, and what is made of them."""
import numpy as np

from .. import ops
from ..config import epsilon
from ..losses.base import check_same_shape, squeeze_or_expand_to_same_rank
from ..tensor import as_tensor, from_numpy
from .base import Metric

_NEVER = -1e10  # a score below every threshold
_SMALL = 1 << 20  # thresholds times predictions that are compared pair by pair


def parse_thresholds(name, thresholds, default):
    """Return thresholds as a list.

    Raises:
        ValueError: one is not in [0, 1].
    """
    if thresholds is None:
        return [default]
    thresholds = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    wrong = [t for t in thresholds if t is None or t < 0 or t > 1]
    if wrong:
        raise ValueError(f"[{name}] Threshold values must be in [0, 1]. Received: {wrong}")
    return thresholds


def evenly_spaced(thresholds):
    """Return whether the thresholds divide [0, 1] into equal parts; then predictions are clipped to [0, 1]."""
    n = len(thresholds)
    return n >= 3 and np.allclose(thresholds, np.arange(n) / (n - 1), atol=epsilon())


def confusion_counts(
    y_true, y_pred, thresholds, sample_weight=None, top_k=None, class_id=None, multi_label=False,
    label_weights=None, clip=False,
):  # fmt: skip
    """Return (tp, fp, tn, fn), each (thresholds,), or (thresholds, labels) with `multi_label`.

    A prediction is positive when it is greater than the threshold; a label when it is not zero.

    Args:
        y_true, y_pred: of one shape, or one with a trailing size of 1 more.
        thresholds: increasing numbers.
        sample_weight: None, (n,), or the shape of y_pred.
        top_k: only the k largest predictions of a sample can be positive.
        class_id: count this class only.
        multi_label: count each label apart.
        label_weights: (labels,) weights, for counts of all labels together.
        clip: clip predictions to [0, 1].
    """
    y_pred = as_tensor(y_pred, "float32")
    y_true = as_tensor(y_true, "float32")
    y_pred, y_true = squeeze_or_expand_to_same_rank(y_pred, y_true)
    check_same_shape("confusion_counts", y_true, y_pred)
    if top_k is not None:
        y_pred = _filter_top_k(y_pred, top_k)
    weights = None
    if sample_weight is not None:
        weights = ops.expand_dims(as_tensor(sample_weight, "float32"), -1)
        _, weights = squeeze_or_expand_to_same_rank(y_true, weights, expand_rank_1=False)
    if class_id is not None:
        if len(y_pred.shape) < 2:
            raise ValueError(
                "[confusion_counts] When class_id is provided, y_pred must be a 2D array with shape "
                f"(num_samples, num_classes), found shape: {tuple(y_pred.shape)}"
            )
        if weights is not None and weights.shape == y_pred.shape:
            weights = weights[..., class_id, None]
        y_true, y_pred = y_true[..., class_id, None], y_pred[..., class_id, None]
    if label_weights is not None:
        label_weights = as_tensor(label_weights, "float32")
        weights = label_weights if weights is None else weights * label_weights
    if clip:
        y_pred = ops.clip(y_pred, 0.0, 1.0)
    positive = ops.cast(ops.not_equal(y_true, 0.0), "float32")
    negative = 1.0 - positive
    if weights is not None:
        weights = ops.broadcast_to(weights, y_pred.shape)
        positive, negative = positive * weights, negative * weights
    shape = (-1, y_pred.shape[-1]) if multi_label else (-1,)
    y_pred, positive, negative = (ops.reshape(x, shape) for x in (y_pred, positive, negative))
    count = _count_pairs if len(thresholds) * y_pred.size <= _SMALL else _count_sorted
    tp, fp = count(y_pred, positive, negative, np.asarray(thresholds, np.float32))
    return tp, fp, ops.sum(negative, axis=0) - fp, ops.sum(positive, axis=0) - tp


def _count_pairs(y_pred, positive, negative, thresholds):
    """Compare every prediction with every threshold: a few ops, for few of them."""
    limits = as_tensor(thresholds.reshape((-1,) + (1,) * len(y_pred.shape)))
    above = ops.cast(ops.greater(ops.expand_dims(y_pred, 0), limits), "float32")
    return ops.sum(above * positive, axis=1), ops.sum(above * negative, axis=1)


def _count_sorted(y_pred, positive, negative, thresholds):
    """Find each prediction's place among the thresholds, then add up from the highest down."""
    columns = [np.asarray(x).reshape(y_pred.shape[0], -1) for x in (y_pred, positive, negative)]
    counts = np.empty((2, len(thresholds), columns[0].shape[1]), np.float32)
    for label in range(columns[0].shape[1]):
        scores, *weights = (c[:, label] for c in columns)
        place = np.searchsorted(thresholds, scores, side="left")  # how many thresholds are below the score
        for kind, weight in enumerate(weights):
            per_place = np.bincount(place, weight, len(thresholds) + 1)
            counts[kind, :, label] = per_place[::-1].cumsum()[::-1][1:]
    tp, fp = (from_numpy(c.reshape((len(thresholds),) + tuple(y_pred.shape[1:]))) for c in counts)
    return tp, fp


def _filter_top_k(scores, k):
    _, best = ops.top_k(scores, k)
    kept = ops.sum(ops.one_hot(best, scores.shape[-1], dtype="float32"), axis=-2)
    return ops.where(kept > 0.0, scores, _NEVER)


class _Counts(Metric):
    """Base of metrics that hold some of the counts tp, fp, tn, fn for a list of thresholds."""

    _kept = ()  # (attribute, index in the result of confusion_counts)

    def __init__(self, thresholds, name, dtype, top_k=None, class_id=None):
        super().__init__(name=name, dtype=dtype)
        self.thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        self._clip = evenly_spaced(thresholds)
        for attribute, _ in self._kept:
            setattr(self, attribute, self.add_weight((len(thresholds),), name=attribute))

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch.

        Args:
            y_true: labels 0 and 1; y_pred: scores in [0, 1] of the same shape.
            sample_weight: None, (n,), or the shape of y_pred.
        """
        counts = confusion_counts(
            y_true, y_pred, self.thresholds, sample_weight, self.top_k, self.class_id, clip=self._clip
        )
        for attribute, index in self._kept:
            getattr(self, attribute).assign_add(counts[index])

    def _ratio(self, part, rest):
        """part / (part + rest), 0 where both are 0."""
        part, rest = getattr(self, part).value, getattr(self, rest).value
        return ops.divide_no_nan(part, part + rest)


class _Count(_Counts):
    def __init__(self, thresholds=None, name=None, dtype=None):
        self_thresholds = parse_thresholds(type(self).__name__, thresholds, 0.5)
        super().__init__(self_thresholds, name, dtype)
        self.init_thresholds = thresholds

    def result(self):
        value = self.accumulator.value
        return value[0] if len(self.thresholds) == 1 else value

    def get_config(self):
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """Number of positive labels that are predicted positive.

    Args:
        thresholds: number or list of numbers in [0, 1], 0.5 by default; with a list there is a result for each.
        name: of the metric.
        dtype: of the metric.
    """

    _kept = (("accumulator", 0),)


class FalsePositives(_Count):
    """Number of negative labels that are predicted positive; arguments as `TruePositives`.

    Args:
        thresholds: number or list of numbers in [0, 1]; 0.5 by default.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    _kept = (("accumulator", 1),)


class TrueNegatives(_Count):
    """Number of negative labels that are predicted negative; arguments as `TruePositives`.

    Args:
        thresholds: number or list of numbers in [0, 1]; 0.5 by default.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    _kept = (("accumulator", 2),)


class FalseNegatives(_Count):
    """Number of positive labels that are predicted negative; arguments as `TruePositives`.

    Args:
        thresholds: number or list of numbers in [0, 1]; 0.5 by default.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    _kept = (("accumulator", 3),)


class _PrecisionRecall(_Counts):
    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        default = 0.5 if top_k is None else _NEVER
        parsed = parse_thresholds(type(self).__name__, thresholds, default)
        super().__init__(parsed, name, dtype, top_k, class_id)
        self._direction = "up"
        self.init_thresholds = thresholds

    def result(self):
        ratio = self._ratio(*(attribute for attribute, _ in self._kept))
        return ratio[0] if len(self.thresholds) == 1 else ratio

    def get_config(self):
        return {
            **super().get_config(),
            "thresholds": self.init_thresholds,
            "top_k": self.top_k,
            "class_id": self.class_id,
        }


class Precision(_PrecisionRecall):
    """True positives / all that are predicted positive.

    Args:
        thresholds: number or list of numbers in [0, 1], 0.5 by default; with a list there is a result for each.
        top_k: the k largest predictions of a sample are positive, whatever their value, unless `thresholds`
            is given as well.
        class_id: count this class only.
        name: of the metric.
        dtype: of the metric.
    """

    _kept = (("true_positives", 0), ("false_positives", 1))


class Recall(_PrecisionRecall):
    """True positives / all positive labels; arguments as `Precision`.

    Args:
        thresholds: number or list of numbers in [0, 1]; 0.5 by default.
        top_k: int; the k best classes are the positive ones. None: those above the threshold.
        class_id: int; the class to look at, or None for all values alike.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    _kept = (("true_positives", 0), ("false_negatives", 3))


class SensitivitySpecificityBase(_Counts):
    """Base of metrics that give the best of one quantity where another is large enough."""

    _kept = (("true_positives", 0), ("false_positives", 1), ("true_negatives", 2), ("false_negatives", 3))
    _value_name = "value"

    def __init__(self, value, num_thresholds=200, class_id=None, name=None, dtype=None):
        kind = type(self).__name__
        if not 0 <= value <= 1:
            raise ValueError(
                f"[{kind}] Argument `{self._value_name}` must be in the range [0, 1]. "
                f"Received: {self._value_name}={value}"
            )
        if num_thresholds <= 0:
            raise ValueError(
                f"[{kind}] Argument `num_thresholds` must be an integer > 0. "
                f"Received: num_thresholds={num_thresholds}"
            )
        thresholds = [0.5] if num_thresholds == 1 else list(np.arange(num_thresholds) / (num_thresholds - 1))
        super().__init__(thresholds, name, dtype, class_id=class_id)
        self._direction = "up"
        self.value = value
        self.num_thresholds = num_thresholds

    def _best(self, dependent, constrained):
        """The largest `dependent` where `constrained` >= value; 0 where that is nowhere."""
        return ops.max(ops.where(constrained >= self.value, dependent, 0.0))

    def get_config(self):
        return {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            self._value_name: self.value,
            "class_id": self.class_id,
        }


class SensitivityAtSpecificity(SensitivitySpecificityBase):
    """The best sensitivity (true positive rate) where the specificity (true negative rate) is high enough.

    Args:
        specificity: in [0, 1].
        num_thresholds: number of thresholds that are tried.
        class_id: count this class only.
        name: of the metric.
        dtype: of the metric.
    """

    _value_name = "specificity"

    def __init__(self, specificity, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(specificity, num_thresholds, class_id, name, dtype)
        self.specificity = specificity

    def result(self):
        sensitivity = self._ratio("true_positives", "false_negatives")
        return self._best(sensitivity, self._ratio("true_negatives", "false_positives"))


class SpecificityAtSensitivity(SensitivitySpecificityBase):
    """The best specificity where the sensitivity is at least `sensitivity`.

    Args:
        sensitivity: number in [0, 1].
        num_thresholds: int; how many thresholds between 0 and 1 are tried.
        class_id: int; the class to look at, or None for all values alike.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    _value_name = "sensitivity"

    def __init__(self, sensitivity, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = sensitivity

    def result(self):
        specificity = self._ratio("true_negatives", "false_positives")
        return self._best(specificity, self._ratio("true_positives", "false_negatives"))


class PrecisionAtRecall(SensitivitySpecificityBase):
    """The best precision where the recall is at least `recall`.

    Args:
        recall: number in [0, 1].
        num_thresholds: int; how many thresholds between 0 and 1 are tried.
        class_id: int; the class to look at, or None for all values alike.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    _value_name = "recall"

    def __init__(self, recall, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(recall, num_thresholds, class_id, name, dtype)
        self.recall = recall

    def result(self):
        precision = self._ratio("true_positives", "false_positives")
        return self._best(precision, self._ratio("true_positives", "false_negatives"))


class RecallAtPrecision(SensitivitySpecificityBase):
    """The best recall where the precision is at least `precision`.

    Args:
        precision: number in [0, 1].
        num_thresholds: int; how many thresholds between 0 and 1 are tried.
        class_id: int; the class to look at, or None for all values alike.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    _value_name = "precision"

    def __init__(self, precision, num_thresholds=200, class_id=None, name=None, dtype=None):
        super().__init__(precision, num_thresholds, class_id, name, dtype)
        self.precision = precision

    def result(self):
        recall = self._ratio("true_positives", "false_negatives")
        return self._best(recall, self._ratio("true_positives", "false_positives"))
