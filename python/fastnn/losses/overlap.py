"""Losses over sets: overlap of two masks (Dice, Tversky), and pairs of embeddings (circle)."""
import math

from .. import ops
from ..config import epsilon
from ..tensor import as_tensor
from .base import BuiltinLoss, match


def dice(y_true, y_pred, axis=None):
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred)) over `axis` (None: everything).

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        axis: int, or several of them; None sums over everything and gives one number.
    """
    y_true, y_pred = match("dice", y_true, y_pred)
    both = ops.sum(y_true * y_pred, axis=axis)
    return 1.0 - 2.0 * both / (ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis) + epsilon())


def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    """1 - both / (both + alpha * only in y_true + beta * only in y_pred), sums over `axis`.

    Args:
        y_true: labels, tensor of the shape of `y_pred`.
        y_pred: predictions, tensor (n, ..., d).
        alpha: number; the weight of what was missed.
        beta: number; the weight of false alarms.
        axis: int, or several of them; None sums over everything and gives one number.

    Source: Salehi et al. 2017. alpha weighs what was missed, beta false alarms; 0.5 and 0.5 is Dice.
    """
    y_true, y_pred = match("tversky", y_true, y_pred)
    both = ops.sum(y_true * y_pred, axis=axis)
    missed = ops.sum((1.0 - y_pred) * y_true, axis=axis)
    false = ops.sum(y_pred * (1.0 - y_true), axis=axis)
    return 1.0 - both / (both + missed * alpha + false * beta + epsilon())


def circle(
    y_true, y_pred, ref_labels=None, ref_embeddings=None, remove_diagonal=True, gamma=80, margin=0.4
):
    """Circle loss of a batch of embeddings: same labels close, different labels apart.

    Args:
        y_true: (n,) or (n, 1) integer labels.
        y_pred: (n, d) embeddings of norm 1.
        ref_labels, ref_embeddings: what the batch is compared with; the batch itself by default.
        remove_diagonal: leave out the pair of a sample with itself.
        gamma: scale. margin: relaxation in (0, 1).

    Returns:
        (n,) values; those that are 0 are masked out of the mean.

    Source: Sun et al. 2020.
    """
    y_pred = as_tensor(y_pred)
    labels = ops.reshape(ops.cast(y_true, "int32"), (-1, 1))
    ref_embeddings = y_pred if ref_embeddings is None else as_tensor(ref_embeddings, y_pred.dtype)
    ref_labels = labels if ref_labels is None else ops.reshape(ops.cast(ref_labels, "int32"), (-1, 1))
    distance = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(ref_embeddings)), 0.0)
    same = ops.equal(labels, ops.transpose(ref_labels))
    different = ops.logical_not(same)
    if remove_diagonal:
        itself = ops.eye(same.shape[0], same.shape[1], dtype="bool")
        same = ops.logical_and(same, ops.logical_not(itself))
    pull = ops.where(same, margin + distance, 0.0)
    push = ops.where(different, ops.maximum(1.0 + margin - distance, 0.0), 0.0)
    pull_logits = ops.where(same, -gamma * pull * (margin - distance), -math.inf)
    push_logits = ops.where(different, gamma * push * (1.0 - margin - distance), -math.inf)
    loss = ops.softplus(ops.logsumexp(pull_logits, axis=1) + ops.logsumexp(push_logits, axis=1))
    loss._keras_mask = ops.greater(loss, 0.0)
    return loss


class Dice(BuiltinLoss):
    """1 - Dice coefficient of labels and predictions; see `dice`.

    Args:
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        axis: int, or several of them; None sums over everything and gives one number.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(self, reduction="sum_over_batch_size", name="dice", axis=None, dtype=None):
        super().__init__(dice, reduction, name, dtype, axis=axis)


class Tversky(BuiltinLoss):
    """1 - Tversky index of labels and predictions; see `tversky`.

    Args:
        alpha: number; the weight of what was missed.
        beta: number; the weight of false alarms.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        axis: int, or several of them; None sums over everything and gives one number.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(
        self, alpha=0.5, beta=0.5, reduction="sum_over_batch_size", name="tversky", axis=None, dtype=None
    ):
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)


class Circle(BuiltinLoss):
    """Circle loss between the embeddings of a batch; see `circle`.

    Args:
        gamma: number; the scale.
        margin: number in [0, 1].
        remove_diagonal: bool; leave out each sample's similarity to itself.
        reduction: "sum_over_batch_size" (the mean), "sum", "mean_with_sample_weight", "mean", or "none" or None for
            one value per sample.
        name: string or None.
        dtype: string; the dtype the loss is computed in, floatx by default.
    """

    def __init__(
        self,
        gamma=80.0,
        margin=0.4,
        remove_diagonal=True,
        reduction="sum_over_batch_size",
        name="circle",
        dtype=None,
    ):
        super().__init__(
            circle, reduction, name, dtype, gamma=gamma, margin=margin, remove_diagonal=remove_diagonal
        )

    def call(self, y_true, y_pred):
        return self.fn(y_true, y_pred, **self._fn_kwargs)
