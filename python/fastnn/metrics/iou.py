"""Intersection over union of predicted and true classes, from a confusion matrix."""

import numpy as np

from .. import ops
from ..config import epsilon
from ..dtypes import numpy_dtype
from ..tensor import as_tensor, convert_to_numpy
from ..utils.warning import warn
from .base import Metric


class _IoUBase(Metric):
    """Holds the confusion matrix total_cm (classes, classes): rows are labels, columns predictions."""

    def __init__(
        self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_true=True, sparse_y_pred=True,
        axis=-1,
    ):  # fmt: skip
        super().__init__(name=name, dtype=dtype or "int")
        self._direction = "up"
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_weight(
            (num_classes, num_classes), dtype=self.dtype, name="total_confusion_matrix"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch: class numbers of any shape, or scores over `axis` where they are not sparse.

        Pairs with a class outside [0, num_classes), or with the label `ignore_class`, are left out.
        """
        y_true = _classes(y_true, self.sparse_y_true, self.axis)
        y_pred = _classes(y_pred, self.sparse_y_pred, self.axis)
        if y_true.size != y_pred.size:
            raise ValueError(
                f"[{type(self).__name__}] y_true and y_pred must have the same number of classes. "
                f"Received: {y_true.size} and {y_pred.size}"
            )
        n = self.num_classes
        valid = (y_true >= 0) & (y_true < n) & (y_pred >= 0) & (y_pred < n)
        if self.ignore_class is not None:
            valid &= y_true != self.ignore_class
        weights = None
        if sample_weight is not None:
            weights = convert_to_numpy(sample_weight)
            if weights.dtype.kind == "f" and "int" in self.dtype:
                warn(
                    "You are passing weight as `float`, but dtype is `int`. This may result in an incorrect weight "
                    "due to type casting. Consider using integer weights."
                )
            weights = weights.astype(numpy_dtype(self.dtype)).reshape(-1)
            weights = np.broadcast_to(weights, y_true.shape)[valid]
        pairs = np.bincount(y_true[valid] * n + y_pred[valid], weights, n * n).reshape(n, n)
        self.total_cm.assign_add(as_tensor(pairs.astype(numpy_dtype(self.dtype))))


def _classes(x, sparse, axis):
    """Return class numbers as a flat integer array."""
    x = convert_to_numpy(x)
    return (x if sparse else np.argmax(x, axis)).reshape(-1).astype(np.int64)


class IoU(_IoUBase):
    """Mean over some classes of: right pairs / pairs in which the class is the label or the prediction.

    Args:
        num_classes: number of classes.
        target_class_ids: the classes to average over.
        name: of the metric.
        dtype: of the confusion matrix; integer by default.
        ignore_class: label that does not count; for example -1 for empty pixels.
        sparse_y_true, sparse_y_pred: whether these are class numbers; otherwise scores or one-hot over `axis`.
        axis: of the scores.
    """

    def __init__(
        self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_true=True,
        sparse_y_pred=True, axis=-1,
    ):  # fmt: skip
        super().__init__(num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)
        if max(target_class_ids) >= num_classes or min(target_class_ids) < 0:
            raise ValueError(
                f"[{type(self).__name__}] Target class id is out of range, which is [0, {num_classes}). "
                f"Received: target_class_ids={list(target_class_ids)}"
            )
        self.target_class_ids = list(target_class_ids)

    def result(self):
        matrix = np.asarray(self.total_cm).astype(np.float32)
        both = np.diag(matrix)[self.target_class_ids]
        union = (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))[self.target_class_ids]
        seen = union > 1e-9  # classes that never occur do not count
        iou = np.where(seen, both / (union + epsilon()), 0.0)
        return as_tensor(np.float32(iou.sum() / (seen.sum() + epsilon())))

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }

    def _config_without(self, *keys):
        return {k: v for k, v in IoU.get_config(self).items() if k not in keys}


class BinaryIoU(IoU):
    """IoU of two classes; predictions of at least `threshold` are class 1.

    Args:
        target_class_ids: list of ints; the classes that count.
        threshold: number.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
    """

    def __init__(self, target_class_ids=(0, 1), threshold=0.5, name=None, dtype=None):
        super().__init__(2, target_class_ids, name=name, dtype=dtype)
        self.threshold = threshold

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.cast(as_tensor(y_pred, "float32") >= self.threshold, "int32")
        super().update_state(y_true, y_pred, sample_weight)

    def get_config(self):
        config = self._config_without("num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred", "axis")
        return {**config, "threshold": self.threshold}


class MeanIoU(IoU):
    """IoU averaged over all classes; arguments as `IoU`.

    Args:
        num_classes: int.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        ignore_class: int; this label does not count. None: all count.
        sparse_y_true: bool; labels are class numbers, not one-hot.
        sparse_y_pred: bool; predictions are class numbers, not scores.
        axis: int.
    """

    def __init__(
        self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_true=True, sparse_y_pred=True,
        axis=-1,
    ):  # fmt: skip
        super().__init__(
            num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis
        )

    def get_config(self):
        return self._config_without("target_class_ids")


class OneHotIoU(IoU):
    """IoU of one-hot labels; arguments as `IoU`.

    Args:
        num_classes: int.
        target_class_ids: list of ints; the classes that count.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        ignore_class: int; this label does not count. None: all count.
        sparse_y_pred: bool; predictions are class numbers, not scores.
        axis: int.
    """

    def __init__(
        self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_pred=False,
        axis=-1,
    ):  # fmt: skip
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self):
        return self._config_without("sparse_y_true")


class OneHotMeanIoU(MeanIoU):
    """IoU of one-hot labels averaged over all classes; arguments as `IoU`.

    Args:
        num_classes: int.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        ignore_class: int; this label does not count. None: all count.
        sparse_y_pred: bool; predictions are class numbers, not scores.
        axis: int.
    """

    def __init__(
        self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_pred=False, axis=-1
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self):
        return self._config_without("target_class_ids", "sparse_y_true")
