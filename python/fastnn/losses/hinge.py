"""Hinge losses: labels are -1 and 1 (or 0 and 1), predictions are scores."""
from .. import ops
from .base import BuiltinLoss, match


def hinge(y_true, y_pred):
    """mean(max(1 - y_true * y_pred, 0)) over the last axis; labels of only 0 and 1 become -1 and 1.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("hinge", y_true, y_pred)
    return ops.mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


def squared_hinge(y_true, y_pred):
    """mean(max(1 - y_true * y_pred, 0)^2) over the last axis; labels of only 0 and 1 become -1 and 1.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("squared_hinge", y_true, y_pred)
    return ops.mean(ops.square(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)), axis=-1)


def categorical_hinge(y_true, y_pred):
    """max(best wrong score - score of the label + 1, 0); y_true is one-hot: (n, c), (n, c) -> (n,).

    Args:
        y_true: (n, c), one-hot.
        y_pred: (n, c) scores.
    """
    y_true, y_pred = match("categorical_hinge", y_true, y_pred)
    right = ops.sum(y_true * y_pred, axis=-1)
    wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.maximum(wrong - right + 1.0, 0.0)


def _signs(labels):
    """Labels that are all 0 or 1 become -1 or 1. Chosen by `where`, so that no value is read here."""
    binary = ops.all(ops.logical_or(ops.equal(labels, 0.0), ops.equal(labels, 1.0)))
    return ops.where(binary, 2.0 * labels - 1.0, labels)


class Hinge(BuiltinLoss):
    """Maximum-margin loss; see `hinge`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="hinge", dtype=None):
        super().__init__(hinge, reduction, name, dtype)


class SquaredHinge(BuiltinLoss):
    """Squared maximum-margin loss; see `squared_hinge`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="squared_hinge", dtype=None):
        super().__init__(squared_hinge, reduction, name, dtype)


class CategoricalHinge(BuiltinLoss):
    """Maximum-margin loss over classes; see `categorical_hinge`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="categorical_hinge", dtype=None):
        super().__init__(categorical_hinge, reduction, name, dtype)
