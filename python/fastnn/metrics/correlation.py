"""Correlations between labels and predictions along one axis, averaged over the others."""
from .. import ops
from ..config import epsilon
from ..losses.base import match
from .reduction import BuiltinMetric


def pearson_correlation(y_true, y_pred, axis=-1):
    """Covariance over the product of standard deviations, along `axis`.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        axis: int.
    """
    y_true, y_pred = match("pearson_correlation", y_true, y_pred)
    true = y_true - ops.mean(y_true, axis=axis, keepdims=True)
    pred = y_pred - ops.mean(y_pred, axis=axis, keepdims=True)
    scale = ops.sqrt(ops.mean(ops.square(true), axis=axis) * ops.mean(ops.square(pred), axis=axis))
    return ops.mean(true * pred, axis=axis) / scale


def concordance_correlation(y_true, y_pred, axis=-1):
    """2 covariance / (variance of labels + variance of predictions + squared difference of means).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        axis: int.
    """
    y_true, y_pred = match("concordance_correlation", y_true, y_pred)
    true_mean = ops.mean(y_true, axis=axis, keepdims=True)
    pred_mean = ops.mean(y_pred, axis=axis, keepdims=True)
    true, pred = y_true - true_mean, y_pred - pred_mean
    scale = ops.mean(ops.square(true), axis=axis) + ops.mean(ops.square(pred), axis=axis)
    scale = scale + ops.squeeze(ops.square(true_mean - pred_mean), axis)
    return 2.0 * ops.mean(true * pred, axis=axis) / (scale + epsilon())


class PearsonCorrelation(BuiltinMetric):
    """Mean Pearson correlation of labels and predictions along `axis`.

    Args:
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        axis: int.
    """

    def __init__(self, name="pearson_correlation", dtype=None, axis=-1):
        super().__init__(pearson_correlation, name, dtype, "up", axis=axis)


class ConcordanceCorrelation(BuiltinMetric):
    """Mean concordance correlation of labels and predictions along `axis`.

    Args:
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        axis: int.
    """

    def __init__(self, name="concordance_correlation", dtype=None, axis=-1):
        super().__init__(concordance_correlation, name, dtype, "up", axis=axis)
