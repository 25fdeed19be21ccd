"""Connectionist temporal classification: the loss, and decoding."""

import numpy as np

from .. import _core, dtypes
from .._core import record
from ..symbolic import op
from ..tensor import as_tensor
from .array import cast
from .numpy_op import numpy_op
from .softmax import log_softmax


@op
def ctc_loss(target, output, target_length, output_length, mask_index=0):
    """-log of the probability of the targets, summed over all alignments with the frames.

    Args:
        target: (b, n) integers, the labels.
        output: (b, t, k) logits.
        target_length: (b,) integers, labels that count. output_length: (b,) integers, frames that count.
        mask_index: the class of the blank.

    Returns:
        (b,), computed in float32, in the dtype of output if that is wider. A target that does not fit into its frames
        gives 1e5, and no gradient.

    Raises:
        ValueError: shapes disagree, a label that counts or mask_index is no class, or a length is not one of its array.

    Source: Graves et al. 2006.
    """
    x, t = as_tensor(output), as_tensor(target)
    tn, xn = as_tensor(target_length), as_tensor(output_length)
    if x.ndim != 3 or t.ndim != 2 or t.shape[0] != x.shape[0] or tn.shape != (x.shape[0],) or xn.shape != (x.shape[0],):
        raise ValueError("[ctc_loss] target must be (batch, length), output (batch, frames, classes), and the lengths (batch,). "
                         f"Received: target.shape={t.shape}, output.shape={x.shape}, target_length.shape={tn.shape}, "
                         f"output_length.shape={xn.shape}")
    if not 0 <= mask_index < x.shape[2]:
        raise ValueError(f"[ctc_loss] mask_index must be one of the classes. Received: mask_index={mask_index}, "
                         f"output.shape={x.shape}")
    dtype = dtypes.result_type(x.dtype, "float32")
    logp = log_softmax(cast(x, "float32"))
    label, labels, frames = (cast(a, "int64") for a in (t, tn, xn))
    y, alpha = _core.ctc_forward(label, labels, frames, logp, mask_index)

    def vjp(gy):
        if _core.recording():
            raise ValueError("[ctc_loss] second-order gradients are not available")
        return (_core.ctc_backward(label, labels, frames, logp, alpha, gy, mask_index),)

    return cast(record(y, (logp,), vjp), dtype)


def _greedy(x, lengths, merge, blank):
    b, steps, _ = x.shape
    best, scores = x.argmax(-1), x.max(-1)
    outside = np.arange(steps) >= lengths[:, None]
    best = np.where(outside, blank, best)
    if merge and steps:
        repeated = np.concatenate([np.zeros((b, 1), bool), best[:, 1:] == best[:, :-1]], 1)
        best = np.where(repeated, blank, best)
    paths = np.full((1, b, steps), -1, "int32")
    for i, row in enumerate(best):
        kept = row[row != blank]
        paths[0, i, : len(kept)] = kept
    return paths, -np.where(outside, 0, scores).sum(1, keepdims=True)


def _beam(x, lengths, width, top, blank):
    """Prefix beam search: for each prefix the probabilities of ending in a blank and in its last label."""
    b, steps, classes = x.shape
    paths, scores = np.full((top, b, steps), -1, "int32"), np.full((b, top), -np.inf)
    x = x.astype("float64")
    x = x - x.max(-1, keepdims=True)
    logp = x - np.log(np.exp(x).sum(-1, keepdims=True))
    for i in range(b):
        # Prefixes are nodes of a tree: the one without the last label, and the last label.
        parent, last = [-1], [-1]
        beam, in_blank, in_label = np.array([0]), np.array([0.0]), np.array([-np.inf])
        for p in logp[i, : lengths[i]]:
            ends, total, each = np.array(last)[beam], np.logaddexp(in_blank, in_label), np.arange(len(beam))
            longer = total[:, None] + p
            longer[each[ends >= 0], ends[ends >= 0]] = in_blank[ends >= 0] + p[ends[ends >= 0]]  # a label twice needs a blank between
            longer[:, blank] = -np.inf
            same_blank, same_label = total + p[blank], np.where(ends >= 0, in_label + p[ends], -np.inf)
            # A longer prefix may be in the beam already.
            known, shorter = np.nonzero(np.array(parent)[beam][:, None] == beam)
            same_label[known] = np.logaddexp(same_label[known], longer[shorter, ends[known]])
            longer[shorter, ends[known]] = -np.inf
            score = np.concatenate([np.logaddexp(same_blank, same_label), longer.ravel()])
            best = np.argsort(-score, kind="stable")[:width]
            best = best[score[best] > -np.inf]
            kept, new = best[best < len(beam)], best[best >= len(beam)] - len(beam)
            first = len(parent)
            parent += beam[new // classes].tolist()
            last += (new % classes).tolist()
            beam = np.concatenate([beam[kept], np.arange(first, len(parent))])
            in_blank = np.concatenate([same_blank[kept], np.full(len(new), -np.inf)])
            in_label = np.concatenate([same_label[kept], longer.ravel()[new]])
        total = np.logaddexp(in_blank, in_label)
        for j, at in enumerate(np.argsort(-total, kind="stable")[:top]):
            labels, node = [], beam[at]
            while node:
                labels.append(last[node])
                node = parent[node]
            paths[j, i, : len(labels)] = labels[::-1]
            scores[i, j] = total[at]
    return paths, scores


@op
def ctc_decode(inputs, sequence_lengths, strategy="greedy", beam_width=100, top_paths=1, merge_repeated=True,
               mask_index=0):
    """The labels that the frames of a CTC model most likely mean.

    Args:
        inputs: (b, t, k) logits.
        sequence_lengths: (b,) integers, frames that count.
        strategy: "greedy", the best class of each frame; or "beam_search", the best labels over all alignments.
        beam_width: int, prefixes kept. top_paths: int, results of a beam search.
        merge_repeated: "greedy" takes equal neighbours for one label.
        mask_index: the class of the blank; None, the last class.

    Returns:
        (paths, scores): (top_paths, b, t) int32, filled up with -1; and (b, top_paths), the negative sum of the largest
        logits ("greedy"), or the log probability of each path ("beam_search").

    Raises:
        ValueError: the strategy is unknown.
    """
    x, lengths = as_tensor(inputs), as_tensor(sequence_lengths)
    if strategy not in ("greedy", "beam_search"):
        raise ValueError(f"[ctc_decode] Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'.")
    if x.ndim != 3 or lengths.shape != (x.shape[0],):
        raise ValueError("[ctc_decode] inputs must be (batch, frames, classes), sequence_lengths (batch,). "
                         f"Received: inputs.shape={x.shape}, sequence_lengths.shape={lengths.shape}")
    dtype = dtypes.result_type(x.dtype, "float32")
    blank = x.shape[2] - 1 if mask_index is None else mask_index
    count = 1 if strategy == "greedy" else top_paths
    if x.device == "meta":
        return _core.meta((count, *x.shape[:2]), "int32"), _core.meta((x.shape[0], count), dtype)

    def run(logits, frames):
        frames = np.clip(frames, 0, logits.shape[1])
        if strategy == "greedy":
            paths, scores = _greedy(logits, frames, merge_repeated, blank)
        else:
            paths, scores = _beam(logits, frames, beam_width, top_paths, blank)
        return paths, scores.astype(dtypes.numpy_dtype(dtype))

    return numpy_op(run, x, lengths)


__all__ = ["ctc_decode", "ctc_loss"]
