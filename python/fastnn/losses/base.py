"""Loss: calls the loss function, then applies mask, sample weights and reduction."""
from .. import ops, tree
from ..capturing import Watched
from ..dtypes import standardize_dtype
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..tensor import as_tensor
from ..utils.naming import auto_name, to_snake_case

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


class Loss(Watched):
    """Base class of losses: subclasses define `call(y_true, y_pred)` -> one value per sample (or more).

    Args:
        name: of the loss.
        reduction: how the values become one number.
            "sum_over_batch_size", "mean": weighted sum divided by the number of values.
            "mean_with_sample_weight": weighted sum divided by the sum of the weights.
            "sum": weighted sum.
            "none", None: no reduction; the weighted values are returned.
        dtype: of the computation; None is `config.floatx()`.

    Raises:
        ValueError: `reduction` is none of these.
    """

    # Labels are converted to the loss's dtype; losses over class numbers keep them as they come.
    _convert_labels = True

    def __init__(self, name=None, reduction="sum_over_batch_size", dtype=None):
        self.name = name or auto_name(to_snake_case(type(self).__name__))
        self.reduction = standardize_reduction(reduction)
        self._dtype = compute_dtype(dtype)

    @property
    def dtype(self):
        """The dtype that the loss is computed in."""
        return self._dtype

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the reduced loss.

        Args:
            y_true: labels, the shape that the loss asks for.
            y_pred: predictions; a mask left on them by a layer leaves out samples or time steps.
            sample_weight: None, or weights that broadcast to the values of the loss: one per sample (n,), or
                one per value (n, steps). A trailing size of 1 is added or dropped as needed.

        Raises:
            ValueError: shapes of labels, predictions or weights do not fit.
        """
        mask = _mask_of(y_pred)
        y_pred = _convert(y_pred, self._dtype)
        y_true = _convert(y_true, self._dtype if self._convert_labels else None)
        values = self.call(y_true, y_pred)
        value_mask = _mask_of(values)
        if mask is None:
            mask = value_mask
        elif value_mask is not None:
            mask = ops.logical_and(mask, value_mask)
        return reduce_weighted_values(values, sample_weight, mask, self.reduction, self._dtype)

    def call(self, y_true, y_pred):
        raise NotImplementedError("Loss subclasses must implement the `call()` method.")

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class LossFunctionWrapper(Loss):
    """A function `fn(y_true, y_pred, **kwargs)` -> values as a `Loss`.

    Args:
        fn: function.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
        kwargs: more arguments of the function.
    """

    def __init__(self, fn, reduction="sum_over_batch_size", name=None, dtype=None, **kwargs):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true, y_pred):
        if not tree.is_nested(y_pred) and not tree.is_nested(y_true):
            y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self):
        config = {"fn": serialize_keras_object(self.fn), **serialize_keras_object(self._fn_kwargs)}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        return cls(**(deserialize_keras_object(config) if "fn" in config else config))

    def __repr__(self):
        return f"<{type(self).__name__}({self.fn}, kwargs={self._fn_kwargs})>"


class BuiltinLoss(LossFunctionWrapper):
    """Base of this library's losses: the function is fixed, its options are attributes and config."""

    def __init__(self, fn, reduction, name, dtype, **options):
        super().__init__(fn, reduction=reduction, name=name, dtype=dtype, **options)
        for key, value in options.items():
            setattr(self, key, value)

    def get_config(self):
        return {**Loss.get_config(self), **self._fn_kwargs}


def compute_dtype(dtype):
    """Return the dtype that a dtype or a policy ("mixed_float16" too) computes in; None is floatx."""
    dtype = getattr(dtype, "compute_dtype", dtype)
    return standardize_dtype(dtype.removeprefix("mixed_") if isinstance(dtype, str) else dtype)


def standardize_reduction(reduction):
    """Return `reduction`, or raise ValueError when there is no such reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"[Loss] Invalid value for argument `reduction`: expected one of {REDUCTIONS}. "
            f"Received: reduction={reduction!r}"
        )
    return reduction


def squeeze_or_expand_to_same_rank(x1, x2, expand_rank_1=True):
    """Make (n,) and (n, 1) agree, and (..., s) and (..., s, 1); other shapes pass unchanged."""
    rank1, rank2 = len(x1.shape), len(x2.shape)
    if rank1 == rank2 + 1 and x1.shape[-1] == 1:
        if rank2 == 1 and expand_rank_1:
            return x1, ops.expand_dims(x2, -1)
        return ops.squeeze(x1, -1), x2
    if rank2 == rank1 + 1 and x2.shape[-1] == 1:
        if rank1 == 1 and expand_rank_1:
            return ops.expand_dims(x1, -1), x2
        return x1, ops.squeeze(x2, -1)
    return x1, x2


def match(name, y_true, y_pred):
    """Return labels and predictions as tensors of one dtype (that of y_pred) and one shape.

    Raises:
        ValueError: the shapes differ by more than a trailing 1. Broadcasting here would hide a mistake.
    """
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true, y_pred.dtype)
    if y_true.shape != y_pred.shape:
        y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        check_same_shape(name, y_true, y_pred)
    check_not_empty(name, y_pred)
    return y_true, y_pred


def check_not_empty(name, y_pred, axis=-1):
    """Raise ValueError when the axis that a loss is taken over has no values: its mean would be NaN.

    An empty batch is no error: it gives no values.
    """
    shape = tuple(y_pred.shape)
    if len(shape) > 1 and shape[axis] == 0:
        raise ValueError(f"[{name}] y_pred must not be empty along axis {axis}. Received: y_pred.shape={shape}")


def check_same_shape(name, y_true, y_pred):
    """Raise ValueError unless the shapes agree; an unknown size (None) agrees with everything."""
    true_shape, pred_shape = tuple(y_true.shape), tuple(y_pred.shape)
    if len(true_shape) != len(pred_shape) or any(
        a != b and a is not None and b is not None for a, b in zip(true_shape, pred_shape)
    ):
        raise ValueError(
            f"[{name}] y_true and y_pred must have the same shape. "
            f"Received: y_true.shape={true_shape}, y_pred.shape={pred_shape}"
        )


def reduce_weighted_values(
    values, sample_weight=None, mask=None, reduction="sum_over_batch_size", dtype=None
):
    """Multiply values by weights and mask, then reduce them; see `Loss`.

    Raises:
        ValueError: the weights do not broadcast to the values.
    """
    reduction = standardize_reduction(reduction)
    values = as_tensor(values, dtype)
    sample_weight = apply_mask(sample_weight, mask, values.dtype, reduction)
    if sample_weight is not None:
        values, sample_weight = squeeze_or_expand_to_same_rank(values, sample_weight)
        if tuple(values.shape) != ():  # one number for the whole batch counts once for every weight
            check_weight_shape(values, sample_weight)
        values = values * sample_weight
    if reduction in (None, "none") or tuple(values.shape) in ((), (0,)):
        return values
    if reduction == "sum":
        return ops.sum(values)
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return ops.divide_no_nan(ops.sum(values), ops.sum(sample_weight))
    return ops.mean(values) if 0 not in values.shape else ops.sum(values)


def check_weight_shape(values, sample_weight):
    """Raise ValueError unless the weights broadcast to the values without making them larger."""
    value_shape, weight_shape = tuple(values.shape), tuple(sample_weight.shape)
    known = zip(reversed(value_shape), reversed(weight_shape))
    if len(weight_shape) > len(value_shape) or any(
        w != v and w not in (1, None) and v is not None for v, w in known
    ):
        raise ValueError(
            "[Loss] sample_weight must broadcast to the values of the loss. "
            f"Received: sample_weight.shape={weight_shape}, values.shape={value_shape}"
        )


def apply_mask(sample_weight, mask, dtype, reduction):
    """Return the weights with the mask multiplied in, or None when there is neither.

    For the means over all values the mask is scaled by (all values / valid values), so that masked values
    do not count in the divisor.
    """
    if sample_weight is not None:
        sample_weight = as_tensor(sample_weight, dtype)
    if mask is None:
        return sample_weight
    mask = ops.cast(mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        total = ops.cast(ops.size(mask), dtype)
        mask = mask * ops.divide_no_nan(total, ops.sum(mask))
    if sample_weight is None:
        return mask
    mask, sample_weight = squeeze_or_expand_to_same_rank(mask, sample_weight)
    check_weight_shape(mask, sample_weight)
    return sample_weight * mask


def _mask_of(x):
    return getattr(x, "_keras_mask", None)


def _convert(x, dtype):
    if isinstance(x, (list, tuple, dict)) and any(hasattr(leaf, "shape") for leaf in tree.flatten(x)):
        return tree.map_structure(lambda leaf: as_tensor(leaf, dtype), x)
    return as_tensor(x, dtype)
