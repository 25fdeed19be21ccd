"""Errors between real values, averaged over all samples; R2Score."""

from .. import losses, ops
from ..losses.base import match
from ..losses.regression import unit
from ..tensor import as_tensor
from ..utils.warning import warn
from .base import Metric
from .reduction import BuiltinMetric, Mean


class MeanSquaredError(BuiltinMetric):
    """Mean of squares of the errors."""

    def __init__(self, name="mean_squared_error", dtype=None):
        super().__init__(losses.mean_squared_error, name, dtype, "down")


class MeanAbsoluteError(BuiltinMetric):
    """Mean of absolute errors."""

    def __init__(self, name="mean_absolute_error", dtype=None):
        super().__init__(losses.mean_absolute_error, name, dtype, "down")


class MeanAbsolutePercentageError(BuiltinMetric):
    """Mean of absolute errors relative to the labels, in percent."""

    def __init__(self, name="mean_absolute_percentage_error", dtype=None):
        super().__init__(losses.mean_absolute_percentage_error, name, dtype, "down")


class MeanSquaredLogarithmicError(BuiltinMetric):
    """Mean of squared differences of logarithms."""

    def __init__(self, name="mean_squared_logarithmic_error", dtype=None):
        super().__init__(losses.mean_squared_logarithmic_error, name, dtype, "down")


class RootMeanSquaredError(Mean):
    """Root of the mean of squares of the errors."""

    def __init__(self, name="root_mean_squared_error", dtype=None):
        super().__init__(name, dtype=dtype)
        self._direction = "down"

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = match("root_mean_squared_error", y_true, as_tensor(y_pred, self.dtype))
        super().update_state(ops.square(y_pred - y_true), sample_weight=sample_weight)

    def result(self):
        return ops.sqrt(super().result())


class CosineSimilarity(BuiltinMetric):
    """Mean cosine of the angle between labels and predictions over `axis`: 1 for the same direction.

    Args:
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        axis: int.
    """

    def __init__(self, name="cosine_similarity", dtype=None, axis=-1):
        super().__init__(cosine_similarity, name, dtype, "up", axis=axis)


class LogCoshError(BuiltinMetric):
    """Mean logarithm of the hyperbolic cosine of the error."""

    def __init__(self, name="logcosh", dtype=None):
        super().__init__(losses.log_cosh, name, dtype, "down")


def cosine_similarity(y_true, y_pred, axis=-1):
    """cos(angle between y_true and y_pred) over `axis`; the loss of this name is its negative."""
    y_true, y_pred = match("cosine_similarity", y_true, y_pred)
    return ops.sum(unit(y_true, axis) * unit(y_pred, axis), axis=axis)


class R2Score(Metric):
    """Coefficient of determination: 1 - sum of squared errors / sum of squared deviations from the mean.

    Args:
        class_aggregation: over the outputs: "uniform_average", "variance_weighted_average", or None for one
            score per output.
        num_regressors: number of inputs of the model, for the adjusted score; 0 for the plain one.
        name: of the metric.
        dtype: of the metric.

    Labels and predictions are (n, d).
    """

    def __init__(
        self, class_aggregation="uniform_average", num_regressors=0, name="r2_score", dtype=None
    ):
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            raise ValueError(
                "[R2Score] Invalid value for argument `class_aggregation`. Expected None, 'uniform_average' or "
                f"'variance_weighted_average'. Received: class_aggregation={class_aggregation!r}"
            )
        if num_regressors < 0:
            raise ValueError(
                "[R2Score] Invalid value for argument `num_regressors`. Expected a value >= 0. "
                f"Received: num_regressors={num_regressors}"
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self.add_weight(name="num_samples")
        self._built = False

    def _build(self, shape):
        if len(shape) != 2:
            raise ValueError(
                "[R2Score] expects 2D inputs with shape (batch_size, output_dim). "
                f"Received: y_pred.shape={tuple(shape)}"
            )
        self.squared_sum = self.add_weight((shape[1],), name="squared_sum")
        self.sum = self.add_weight((shape[1],), name="sum")
        self.total_mse = self.add_weight((shape[1],), name="residual")
        self.count = self.add_weight((shape[1],), name="count")
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = match("r2_score", y_true, as_tensor(y_pred, self.dtype))
        if not self._built:
            self._build(y_pred.shape)
        weight = as_tensor(1.0 if sample_weight is None else sample_weight, self.dtype)
        if len(weight.shape) == 1:
            weight = ops.expand_dims(weight, 1)
        weight = ops.broadcast_to(weight, y_true.shape)
        self.sum.assign_add(ops.sum(y_true * weight, axis=0))
        self.squared_sum.assign_add(ops.sum(ops.square(y_true) * weight, axis=0))
        self.total_mse.assign_add(ops.sum(ops.square(y_true - y_pred) * weight, axis=0))
        self.count.assign_add(ops.sum(weight, axis=0))
        self.num_samples.assign_add(float(y_true.size))

    def result(self):
        total = self.squared_sum.value - ops.square(self.sum) / self.count.value
        score = 1.0 - self.total_mse.value / total
        score = ops.where(ops.isinf(score), 0.0, score)
        if self.class_aggregation == "uniform_average":
            score = ops.mean(score)
        elif self.class_aggregation == "variance_weighted_average":
            score = ops.sum(total * score) / ops.sum(total)
        if self.num_regressors:
            free = float(self.num_samples) - 1.0 - self.num_regressors
            if free <= 0:
                warn(
                    "Adjusted R2 score needs more samples than regressors; falling back to the standard R2 score."
                )
            else:
                score = 1.0 - (1.0 - score) * ((free + self.num_regressors) / free)
        return score

    def get_config(self):
        return {
            **super().get_config(),
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }
