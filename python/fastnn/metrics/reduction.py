"""Sum and Mean of values, and MeanMetricWrapper: the mean of what a function gives."""
import math

from .. import losses, ops
from ..losses.base import apply_mask, squeeze_or_expand_to_same_rank
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..tensor import as_tensor
from .base import Metric


def reduce_to_samplewise_values(values, sample_weight, reduce_fn, dtype):
    """Return one weighted value per sample, and one weight per sample (None without weights).

    Args:
        values: tensor of any rank; `reduce_fn` (sum or mean) takes it down to the rank of the weights.
        sample_weight: None, or a tensor that broadcasts to the values.
    """
    mask = getattr(values, "_keras_mask", None)
    values = as_tensor(values, dtype)
    if sample_weight is not None:
        sample_weight = apply_mask(sample_weight, mask, dtype, "sum")
        values, sample_weight = squeeze_or_expand_to_same_rank(values, sample_weight)
        rank = len(sample_weight.shape)
        if len(values.shape) > rank:
            values = reduce_fn(values, axis=tuple(range(rank, len(values.shape))))
        if sample_weight.shape != values.shape:
            sample_weight = ops.broadcast_to(sample_weight, values.shape)
        values = values * sample_weight
        if rank > 1:
            sample_weight = reduce_fn(sample_weight, axis=tuple(range(1, rank)))
    if len(values.shape) > 1:
        values = reduce_fn(values, axis=tuple(range(1, len(values.shape))))
    return values, sample_weight


class Sum(Metric):
    """Weighted sum of all values."""

    def __init__(self, name="sum", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_weight(dtype=self.dtype, name="total")

    def update_state(self, values, sample_weight=None):
        values, _ = reduce_to_samplewise_values(values, sample_weight, ops.sum, self.dtype)
        self.total.assign_add(ops.sum(values))

    def result(self):
        return self.total.value


class Mean(Metric):
    """Weighted mean of all values: sum of the weighted values of samples / sum of weights."""

    def __init__(self, name="mean", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_weight(dtype=self.dtype, name="total")
        self.count = self.add_weight(dtype=self.dtype, name="count")

    def update_state(self, values, sample_weight=None):
        """Add values.

        Args:
            values: one per sample (n,), more per sample (n, ...), or a scalar.
            sample_weight: None, or weights that broadcast to the values.
        """
        if isinstance(sample_weight, (int, float)):  # fit gives losses with the number of their samples
            values, count = as_tensor(values, self.dtype), float(sample_weight)
            total = (ops.mean(values) if values.shape else values) * count
        elif sample_weight is None:
            values = as_tensor(values, self.dtype)
            shape = values.shape
            total, count = ops.sum(values), float(shape[0] if shape else 1)
            if len(shape) > 1:
                total = total * (1.0 / max(1, math.prod(shape[1:])))
        else:
            values, weights = reduce_to_samplewise_values(values, sample_weight, ops.mean, self.dtype)
            total, count = ops.sum(values), ops.sum(weights)
        self.total.assign_add(total)
        self.count.assign_add(count)

    def result(self):
        return ops.divide_no_nan(self.total, self.count)


class MeanMetricWrapper(Mean):
    """The mean of `fn(y_true, y_pred, **kwargs)`, which returns one value per sample.

    Args:
        fn: function.
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        kwargs: more arguments of the function.
    """

    def __init__(self, fn, name=None, dtype=None, **kwargs):
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        if isinstance(fn, losses.Loss) or any(fn is known for known in losses.FUNCTIONS):
            self._direction = "down"

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add a batch; a mask left on y_pred by a layer leaves out samples or time steps."""
        mask = getattr(y_pred, "_keras_mask", None)
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        if mask is not None:
            sample_weight = apply_mask(sample_weight, mask, self.dtype, "sum")
        super().update_state(values, sample_weight=sample_weight)

    def get_config(self):
        config = {"fn": serialize_keras_object(self._fn), **serialize_keras_object(self._fn_kwargs)}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))


class BuiltinMetric(MeanMetricWrapper):
    """Base of this library's wrapped functions: the function is fixed, options are attributes and config."""

    def __init__(self, fn, name, dtype, direction=None, **options):
        super().__init__(fn, name=name, dtype=dtype, **options)
        if direction:
            self._direction = direction
        for key, value in options.items():
            setattr(self, key, value)

    def get_config(self):
        return {**Metric.get_config(self), **self._fn_kwargs}
