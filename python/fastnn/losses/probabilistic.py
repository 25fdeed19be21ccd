"""Losses between probabilities: cross entropies, focal losses, divergences."""

from .. import ops
from ..config import epsilon
from ..tensor import as_tensor
from ..utils.warning import warn
from .base import BuiltinLoss, check_not_empty, check_same_shape, match


def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """mean(-y_true log(y_pred) - (1 - y_true) log(1 - y_pred)) over `axis`: (n, d), (n, d) -> (n,).

    Args:
        y_true: labels in [0, 1].
        y_pred: probabilities, or logits with `from_logits`.
        label_smoothing: s moves labels towards 0.5: y_true (1 - s) + s / 2.
    """
    y_true, y_pred = match("binary_crossentropy", y_true, y_pred)
    y_true = _smooth_binary(y_true, label_smoothing)
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=axis)


def binary_focal_crossentropy(
    y_true,
    y_pred,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
    axis=-1,
):
    """mean((1 - p_t)^gamma * binary cross entropy) over `axis`, p_t the probability given to the label.

    With `apply_class_balancing` ones weigh alpha and zeros 1 - alpha. Source: Lin et al. 2018.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        apply_class_balancing: bool.
        alpha: number; the weight of ones, 1 - alpha that of zeros.
        gamma: number; how much less easy samples weigh, 0 for not at all.
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
        axis: int; the axis that is summed over.
    """
    y_true, y_pred = match("binary_focal_crossentropy", y_true, y_pred)
    y_true = _smooth_binary(y_true, label_smoothing)
    if from_logits:
        y_pred = ops.sigmoid(y_pred)
    loss = ops.binary_crossentropy(y_true, y_pred, from_logits=False)
    p_t = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    loss = ops.power(1.0 - p_t, gamma) * loss
    if apply_class_balancing:
        loss = (y_true * alpha + (1.0 - y_true) * (1.0 - alpha)) * loss
    return ops.mean(loss, axis=axis)


def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """-sum(y_true log(y_pred)) over the classes in `axis`: (n, c), (n, c) -> (n,).

    Args:
        y_true: one-hot labels or probabilities.
        y_pred: probabilities, or logits with `from_logits`.
        label_smoothing: s mixes labels with the uniform distribution: y_true (1 - s) + s / c.
    """
    y_true, y_pred = _match_classes("categorical_crossentropy", y_true, y_pred, axis)
    y_true = _smooth_categorical(y_true, label_smoothing)
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


def categorical_focal_crossentropy(
    y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1
):
    """-sum(alpha (1 - y_pred)^gamma y_true log(y_pred)) over `axis`. Source: Lin et al. 2018.

    Args:
        y_true: (n, c), one-hot.
        y_pred: predictions, tensor (n, ..., d).
        alpha: number, or one for each class.
        gamma: number; how much less easy samples weigh, 0 for not at all.
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
        axis: int; the axis that is summed over.
    """
    y_true, y_pred = _match_classes("categorical_focal_crossentropy", y_true, y_pred, axis)
    y_true = _smooth_categorical(y_true, label_smoothing)
    if from_logits:
        y_pred = ops.softmax(y_pred, axis=axis)
    p = y_pred / ops.sum(y_pred, axis=axis, keepdims=True)
    p = ops.clip(p, epsilon(), 1.0 - epsilon())
    weight = alpha * ops.power(1.0 - p, gamma)
    return ops.sum(-weight * y_true * ops.log(p), axis=axis)


def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    """-log(y_pred[label]) : labels (n,) or (n, 1) of class numbers, (n, c) -> (n,).

    Args:
        y_true: integers in [0, c), or the same as whole floats.
        y_pred: probabilities, or logits with `from_logits`.
        ignore_class: label that gives loss 0 and does not count in the mean; for example -1.
        axis: int; where the classes lie.

    Raises:
        ValueError: a label is no class, or the shapes do not fit.
    """
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true)
    check_not_empty("sparse_categorical_crossentropy", y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis)
    if ignore_class is None:
        return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)
    valid = ops.not_equal(y_true, ignore_class)
    y_true = ops.where(valid, y_true, 0)
    y_pred = ops.where(ops.expand_dims(valid, axis), y_pred, 0.0)
    loss = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)
    loss = ops.where(valid, loss, 0.0)
    loss._keras_mask = valid  # the mean leaves these out
    return loss


def categorical_generalized_cross_entropy(y_true, y_pred, q):
    """(1 - y_pred[label]^q) / q : robust to wrong labels; q -> 0 is cross entropy, q = 1 the absolute error.

    y_true: (n,) class numbers; y_pred: (n, c) probabilities. Source: Zhang and Sabuncu 2018.

    Args:
        y_true: (n,) or (n, 1) class numbers.
        y_pred: (n, c) probabilities.
        q: number in (0, 1].
    """
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    labels = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
    check_same_shape("categorical_generalized_cross_entropy", labels, y_pred)
    p = ops.sum(y_pred * labels, axis=-1)
    return (1.0 - ops.power(p, q)) / q


def kl_divergence(y_true, y_pred):
    """sum(y_true log(y_true / y_pred)) over the last axis: (n, c), (n, c) -> (n,).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("kl_divergence", y_true, y_pred)
    y_true = ops.clip(y_true, epsilon(), 1.0)
    y_pred = ops.clip(y_pred, epsilon(), 1.0)
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


def poisson(y_true, y_pred):
    """mean(y_pred - y_true log(y_pred)) over the last axis: (n, d), (n, d) -> (n,).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
    """
    y_true, y_pred = match("poisson", y_true, y_pred)
    return ops.mean(y_pred - y_true * ops.log(y_pred + epsilon()), axis=-1)


def _match_classes(name, y_true, y_pred, axis):
    if isinstance(axis, bool):
        raise ValueError(f"[{name}] `axis` must be of type `int`. Received: axis={axis}")
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true, y_pred.dtype)
    shape = tuple(y_pred.shape)
    if len(shape) > 1 and shape[-1] != 1 and tuple(y_true.shape) in (shape[:-1], (*shape[:-1], 1)):
        raise ValueError(f"[{name}] y_true must be one-hot, and have the shape of y_pred. For class numbers use the loss sparse_"
                         f"categorical_crossentropy, or utils.to_categorical(y, {shape[-1]}). "
                         f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={shape}")
    check_same_shape(name, y_true, y_pred)
    check_not_empty(name, y_pred)
    if len(y_pred.shape) and y_pred.shape[-1] == 1:
        warn(
            f"[{name}] y_pred should have more than one class: with one its probability is always 1. "
            f"Consider binary_crossentropy. Received: y_pred.shape={tuple(y_pred.shape)}",
            SyntaxWarning
        )
    return y_true, y_pred


def _smooth_binary(y_true, smoothing):
    return y_true * (1.0 - smoothing) + 0.5 * smoothing if smoothing else y_true


def _smooth_categorical(y_true, smoothing):
    return y_true * (1.0 - smoothing) + smoothing / y_true.shape[-1] if smoothing else y_true


class BinaryCrossentropy(BuiltinLoss):
    """Cross entropy of independent yes/no labels; see `binary_crossentropy`.

    Args:
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
        axis: int; the axis that is summed over.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction="sum_over_batch_size",
        name="binary_crossentropy",
        dtype=None,
    ):
        super().__init__(
            binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class BinaryFocalCrossentropy(BuiltinLoss):
    """Binary cross entropy that puts less weight on easy samples; see `binary_focal_crossentropy`.

    Args:
        apply_class_balancing: bool.
        alpha: number; the weight of ones, 1 - alpha that of zeros.
        gamma: number; how much less easy samples weigh, 0 for not at all.
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
        axis: int; the axis that is summed over.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(
        self,
        apply_class_balancing=False,
        alpha=0.25,
        gamma=2.0,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction="sum_over_batch_size",
        name="binary_focal_crossentropy",
        dtype=None,
    ):
        super().__init__(
            binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalCrossentropy(BuiltinLoss):
    """Cross entropy of one-hot labels; see `categorical_crossentropy`.

    Args:
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
        axis: int; the axis that is summed over.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(
        self,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction="sum_over_batch_size",
        name="categorical_crossentropy",
        dtype=None,
    ):
        super().__init__(
            categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalFocalCrossentropy(BuiltinLoss):
    """Cross entropy that puts less weight on easy samples; see `categorical_focal_crossentropy`.

    Args:
        alpha: number, or one for each class.
        gamma: number; how much less easy samples weigh, 0 for not at all.
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
        axis: int; the axis that is summed over.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(
        self,
        alpha=0.25,
        gamma=2.0,
        from_logits=False,
        label_smoothing=0.0,
        axis=-1,
        reduction="sum_over_batch_size",
        name="categorical_focal_crossentropy",
        dtype=None,
    ):
        super().__init__(
            categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(BuiltinLoss):
    """Cross entropy of labels given as class numbers; see `sparse_categorical_crossentropy`.

    Args:
        from_logits: bool; the predictions are logits, not probabilities.
        ignore_class: int; samples with this label do not count. None: all count.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        axis: int; where the classes lie.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    _convert_labels = False

    def __init__(
        self,
        from_logits=False,
        ignore_class=None,
        reduction="sum_over_batch_size",
        axis=-1,
        name="sparse_categorical_crossentropy",
        dtype=None,
    ):
        super().__init__(
            sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


class CategoricalGeneralizedCrossEntropy(BuiltinLoss):
    """Loss that tolerates wrong labels; see `categorical_generalized_cross_entropy`.

    Args:
        q: in (0, 1): small is close to cross entropy, large to the absolute error.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
    """

    _convert_labels = False

    def __init__(
        self,
        q=0.5,
        reduction="sum_over_batch_size",
        name="categorical_generalized_cross_entropy",
        dtype=None,
    ):
        if not 0 < q < 1:
            raise ValueError(
                f"[CategoricalGeneralizedCrossEntropy] q must be in the interval (0, 1). Received: q={q}"
            )
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)


class KLDivergence(BuiltinLoss):
    """Kullback-Leibler divergence of y_pred from y_true; see `kl_divergence`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="kl_divergence", dtype=None):
        super().__init__(kl_divergence, reduction, name, dtype)


class Poisson(BuiltinLoss):
    """Negative log-likelihood of counts under a Poisson law; see `poisson`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="poisson", dtype=None):
        super().__init__(poisson, reduction, name, dtype)
