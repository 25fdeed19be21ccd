"""Accuracies: how often predictions are right."""
from .. import ops
from ..dtypes import floatx
from ..losses.base import check_same_shape, match
from ..tensor import as_tensor
from .reduction import BuiltinMetric


def accuracy(y_true, y_pred):
    """1 where y_pred equals y_true, else 0: (n, d), (n, d) -> (n, d).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("accuracy", y_true, y_pred)
    return ops.cast(ops.equal(y_true, y_pred), floatx())


def binary_accuracy(y_true, y_pred, threshold=0.5):
    """1 where (y_pred > threshold) equals y_true, else 0: (n, d), (n, d) -> (n, d).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        threshold: number.
    """
    y_true, y_pred = match("binary_accuracy", y_true, y_pred)
    positive = ops.cast(ops.greater(y_pred, threshold), y_true.dtype)
    return ops.cast(ops.equal(y_true, positive), floatx())


def categorical_accuracy(y_true, y_pred):
    """1 where the largest of y_pred stands at the largest of y_true, else 0: (n, c), (n, c) -> (n,).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    check_same_shape("categorical_accuracy", y_true, y_pred)
    return _same_class(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))


def sparse_categorical_accuracy(y_true, y_pred):
    """1 where the largest of y_pred stands at place y_true, else 0: labels (n,) or (n, 1), (n, c) -> (n,).

    Args:
        y_true: (n,) or (n, 1) class numbers.
        y_pred: (n, c) scores.
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    y_true = _labels("sparse_categorical_accuracy", y_true, y_pred)
    right = _same_class(y_true, ops.argmax(y_pred, axis=-1))
    return ops.squeeze(right, -1) if len(right.shape) > 1 and right.shape[-1] == 1 else right


def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """1 where the label, y_true's largest, is among the k largest of y_pred: (n, c), (n, c) -> (n,).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        k: int.
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    check_same_shape("top_k_categorical_accuracy", y_true, y_pred)
    return _in_top_k(ops.argmax(y_true, axis=-1), y_pred, k)


def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5, from_sorted_ids=False):
    """1 where the label is among the k largest of y_pred: labels (n,), (n, c) -> (n,).

    With `from_sorted_ids` y_pred holds class numbers, best first, instead of scores.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        k: int.
        from_sorted_ids: bool; predictions are class numbers, best first.
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    y_true = _labels("sparse_top_k_categorical_accuracy", y_true, y_pred)
    if from_sorted_ids:
        hits = ops.equal(ops.expand_dims(ops.cast(y_true, y_pred.dtype), -1), y_pred[..., :k])
        return ops.cast(ops.any(hits, axis=-1), floatx())
    return _in_top_k(y_true, y_pred, k)


def _same_class(a, b):
    """1 where class numbers agree. They are compared in float32, for which there is a kernel: exact to 2^24."""
    return ops.cast(ops.equal(ops.cast(a, "float32"), ops.cast(b, "float32")), floatx())


def _labels(name, y_true, y_pred):
    """Return labels of the shape of y_pred without its last axis."""
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    if tuple(y_true.shape) != tuple(y_pred.shape[:-1]):
        raise ValueError(
            f"[{name}] y_true must have the shape of y_pred without the classes. "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )
    return y_true


def _in_top_k(labels, scores, k):
    shape = labels.shape
    flat = ops.reshape(ops.cast(labels, "int32"), (-1,))
    hits = ops.in_top_k(flat, ops.reshape(scores, (-1, scores.shape[-1])), k=k)
    return ops.reshape(ops.cast(hits, floatx()), shape)


class Accuracy(BuiltinMetric):
    """How often predictions equal labels."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(accuracy, name, dtype, "up")


class BinaryAccuracy(BuiltinMetric):
    """How often predictions are on the right side of `threshold`.

    Args:
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        threshold: number.
    """

    def __init__(self, name="binary_accuracy", dtype=None, threshold=0.5):
        super().__init__(binary_accuracy, name, dtype, "up", threshold=threshold)


class CategoricalAccuracy(BuiltinMetric):
    """How often the best class is the one-hot label."""

    def __init__(self, name="categorical_accuracy", dtype=None):
        super().__init__(categorical_accuracy, name, dtype, "up")


class SparseCategoricalAccuracy(BuiltinMetric):
    """How often the best class is the label, a class number."""

    def __init__(self, name="sparse_categorical_accuracy", dtype=None):
        super().__init__(sparse_categorical_accuracy, name, dtype, "up")


class TopKCategoricalAccuracy(BuiltinMetric):
    """How often the one-hot label is among the k best classes.

    Args:
        k: int.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    def __init__(self, k=5, name="top_k_categorical_accuracy", dtype=None):
        super().__init__(top_k_categorical_accuracy, name, dtype, "up", k=k)


class SparseTopKCategoricalAccuracy(BuiltinMetric):
    """How often the label, a class number, is among the k best classes.

    Args:
        k: int.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        from_sorted_ids: bool; predictions are class numbers, best first.
    """

    def __init__(self, k=5, name="sparse_top_k_categorical_accuracy", dtype=None, from_sorted_ids=False):
        super().__init__(
            sparse_top_k_categorical_accuracy, name, dtype, "up", k=k, from_sorted_ids=from_sorted_ids
        )
