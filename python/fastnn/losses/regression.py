"""Losses between real values: one value per sample, the mean (or sum) over the last axis."""
from .. import ops
from ..config import epsilon
from .base import BuiltinLoss, match


def mean_squared_error(y_true, y_pred):
    """mean((y_true - y_pred)^2) over the last axis: (n, d), (n, d) -> (n,).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("mean_squared_error", y_true, y_pred)
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def mean_absolute_error(y_true, y_pred):
    """mean(|y_true - y_pred|) over the last axis: (n, d), (n, d) -> (n,).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("mean_absolute_error", y_true, y_pred)
    return ops.mean(ops.absolute(y_true - y_pred), axis=-1)


def mean_absolute_percentage_error(y_true, y_pred):
    """100 * mean(|(y_true - y_pred) / y_true|) over the last axis: (n, d), (n, d) -> (n,).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("mean_absolute_percentage_error", y_true, y_pred)
    scale = ops.maximum(ops.absolute(y_true), epsilon())
    return 100.0 * ops.mean(ops.absolute((y_true - y_pred) / scale), axis=-1)


def mean_squared_logarithmic_error(y_true, y_pred):
    """mean((log(y_true + 1) - log(y_pred + 1))^2) over the last axis; negative values count as 0.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("mean_squared_logarithmic_error", y_true, y_pred)
    log_pred = ops.log(ops.maximum(y_pred, epsilon()) + 1.0)
    log_true = ops.log(ops.maximum(y_true, epsilon()) + 1.0)
    return ops.mean(ops.square(log_pred - log_true), axis=-1)


def huber(y_true, y_pred, delta=1.0):
    """mean(e^2 / 2 where |e| <= delta, delta |e| - delta^2 / 2 beyond) over the last axis.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        delta: number; where the square becomes a line.
    """
    y_true, y_pred = match("huber", y_true, y_pred)
    error = ops.absolute(y_pred - y_true)
    linear = delta * error - 0.5 * delta * delta
    return ops.mean(ops.where(error <= delta, 0.5 * ops.square(error), linear), axis=-1)


def log_cosh(y_true, y_pred):
    """mean(log(cosh(y_pred - y_true))) over the last axis: e^2 / 2 when small, |e| - log 2 when large.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("log_cosh", y_true, y_pred)
    error = y_pred - y_true
    return ops.mean(error + ops.softplus(-2.0 * error) - 0.6931471805599453, axis=-1)


def cosine_similarity(y_true, y_pred, axis=-1):
    """-cos(angle between y_true and y_pred) over `axis`: -1 for the same direction.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        axis: int; the axis that is summed over.
    """
    y_true, y_pred = match("cosine_similarity", y_true, y_pred)
    return -ops.sum(unit(y_true, axis) * unit(y_pred, axis), axis=axis)


def unit(x, axis):
    """Return x scaled to norm 1 over `axis`; zeros stay zeros."""
    square = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(square, epsilon() ** 2))


class MeanSquaredError(BuiltinLoss):
    """Mean of squares of the errors; see `mean_squared_error`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="mean_squared_error", dtype=None):
        super().__init__(mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(BuiltinLoss):
    """Mean of absolute errors; see `mean_absolute_error`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="mean_absolute_error", dtype=None):
        super().__init__(mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(BuiltinLoss):
    """Mean of absolute errors relative to the label, in percent; see `mean_absolute_percentage_error`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="mean_absolute_percentage_error", dtype=None):
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(BuiltinLoss):
    """Mean of squared differences of logarithms; see `mean_squared_logarithmic_error`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="mean_squared_logarithmic_error", dtype=None):
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


class Huber(BuiltinLoss):
    """Squared error up to `delta`, absolute error beyond; see `huber`.

    Args:
        delta: number; where the square becomes a line.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, delta=1.0, reduction="sum_over_batch_size", name="huber_loss", dtype=None):
        super().__init__(huber, reduction, name, dtype, delta=delta)


class LogCosh(BuiltinLoss):
    """Logarithm of the hyperbolic cosine of the error; see `log_cosh`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="log_cosh", dtype=None):
        super().__init__(log_cosh, reduction, name, dtype)


class CosineSimilarity(BuiltinLoss):
    """Negative cosine between labels and predictions over `axis`; see `cosine_similarity`.

    Args:
        axis: int; the axis that is summed over.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, axis=-1, reduction="sum_over_batch_size", name="cosine_similarity", dtype=None):
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)
