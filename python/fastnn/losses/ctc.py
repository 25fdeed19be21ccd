"""CTC as a loss: labels padded with 0, which is the blank."""
from .. import ops
from ..tensor import as_tensor
from .base import LossFunctionWrapper


def ctc(y_true, y_pred):
    """The CTC loss of each sample, see `ops.ctc_loss`; all frames count, and labels other than 0.

    Args:
        y_true: (batch, length) integers; 0 is padding and the blank.
        y_pred: (batch, frames, classes) logits.

    Returns:
        (batch,)

    Raises:
        ValueError: other ranks.
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    if y_true.ndim != 2 or y_pred.ndim != 3:
        raise ValueError("[ctc] Targets `y_true` are expected to be a tensor of shape `(batch_size, max_length)` in integer "
                         "format, logits `y_pred` of shape `(batch_size, max_length, num_classes)`. "
                         f"Received: y_true.shape={y_true.shape}, y_pred.shape={y_pred.shape}")
    labels = ops.sum(ops.cast(ops.not_equal(y_true, 0), "int32"), axis=-1)
    frames = ops.full((y_pred.shape[0],), y_pred.shape[1], "int32")
    return ops.ctc_loss(y_true, y_pred, labels, frames, mask_index=0)


class CTC(LossFunctionWrapper):
    """Connectionist temporal classification, see `losses.ctc`.

    Args:
        reduction: "sum_over_batch_size", "sum", "mean", "mean_with_sample_weight" or "none".
        name: of the loss. dtype: of the computation.
    """

    def __init__(self, reduction="sum_over_batch_size", name="ctc", dtype=None):
        super().__init__(ctc, name=name, reduction=reduction, dtype=dtype)

    def get_config(self):
        return {"name": self.name, "reduction": self.reduction}
