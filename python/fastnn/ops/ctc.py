"""Connectionist temporal classification: the loss, and decoding."""

import numpy as np

from .. import _core, dtypes
from .._core import record
from ..symbolic import op
from ..tensor import as_tensor
from .array import cast
from .elementwise import multiply
from .numpy_op import numpy_op
from .reduction import _reshape

# Keras's loss of a target that no alignment gives, about.
_IMPOSSIBLE = 1e5


def _log_softmax(x):
    x = x.astype("float64")
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _shifted(a, n):
    """a moved by n places along the last axis, -inf moving in."""
    out = np.full_like(a, -np.inf)
    if n > 0:
        out[..., n:] = a[..., :-n]
    else:
        out[..., :n] = a[..., -n:]
    return out


def _forward_backward(target, logits, target_length, output_length, blank):
    """(loss (b,), gradient in the logits (b, t, k)).

    The states of a target l of length n are blank l_1 blank l_2 ... l_n blank; alpha[t, s] is the log probability of
    the first t frames ending in state s, beta[t, s] that of the frames behind t.
    """
    b, steps, classes = logits.shape
    n = target.shape[1]
    logp = _log_softmax(logits)
    labels = np.full((b, 2 * n + 1), blank, np.int64)
    labels[:, 1::2] = np.clip(target, 0, classes - 1)
    place = np.arange(2 * n + 1)
    valid = place <= 2 * target_length[:, None]
    skip = np.zeros_like(valid)  # a state may come from the one before the last
    skip[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    emit = np.take_along_axis(logp, np.broadcast_to(labels[:, None], (b, steps, 2 * n + 1)), 2)
    emit = np.where(valid[:, None], emit, -np.inf)

    def three(a, back):
        s = -1 if back else 1
        allowed = skip if not back else np.concatenate([skip[:, 2:], np.zeros((b, min(2, skip.shape[1])), bool)], 1)[:, :2 * n + 1]
        far = np.where(allowed, _shifted(a, 2 * s) if n else -np.inf, -np.inf)
        near = _shifted(a, s) if n else np.full_like(a, -np.inf)
        return np.logaddexp(np.logaddexp(a, near), far)

    alpha = np.full((steps, b, 2 * n + 1), -np.inf)
    now = np.where(place < 2, emit[:, 0], -np.inf) if steps else None
    for t in range(steps):
        if t:
            now = np.where((t < output_length)[:, None], three(now, False) + emit[:, t], now)
        alpha[t] = now
    last = 2 * target_length
    ends = np.take_along_axis(now, last[:, None], 1)[:, 0]
    before = np.where(last > 0, np.take_along_axis(now, np.maximum(last - 1, 0)[:, None], 1)[:, 0], -np.inf)
    logprob = np.logaddexp(ends, before)
    logprob = np.where(output_length > 0, logprob, np.where(target_length == 0, 0.0, -np.inf))

    gradient = np.exp(logp)
    final = np.where((place == last[:, None]) | (place == last[:, None] - 1), 0.0, -np.inf)
    beta = final
    rows = np.arange(b)[:, None]
    for t in range(steps - 1, -1, -1):
        inside = (t < output_length)[:, None]
        ending = (t == output_length - 1)[:, None]
        beta = np.where(ending, final, three(beta + emit[:, t + 1], True) if t + 1 < steps else final)
        share = np.exp(np.where(inside, alpha[t] + beta - logprob[:, None], -np.inf))
        np.subtract.at(gradient[:, t], (rows, labels), share)
        gradient[:, t] *= inside
    possible = np.isfinite(logprob)
    gradient[~possible] = 0
    return np.where(possible, -logprob, _IMPOSSIBLE), gradient


def _finite(f):
    def g(*arrays):
        with np.errstate(all="ignore"):
            return f(*arrays)

    return g


@op
def ctc_loss(target, output, target_length, output_length, mask_index=0):
    """-log of the probability of the targets, summed over all alignments with the frames.

    Args:
        target: (b, n) integers, the labels.
        output: (b, t, k) logits.
        target_length: (b,) integers, labels that count. output_length: (b,) integers, frames that count.
        mask_index: the class of the blank.

    Returns:
        (b,), in the dtype of output, at least float32. A target that does not fit into its frames gives 1e5, and no
        gradient.

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
    x = cast(x, dtype)

    def run(labels, logits, label_count, frame_count):
        labels, label_count, frame_count = (a.astype("int64") for a in (labels, label_count, frame_count))
        for name, count, most in (("target_length", label_count, labels.shape[1]), ("output_length", frame_count, logits.shape[1])):
            for row in np.flatnonzero((count < 0) | (count > most))[:1]:
                raise ValueError(f"[ctc_loss] {name} must be in [0, {most}]. Received: {name}[{row}]={count[row]}")
        wrong = ((labels < 0) | (labels >= logits.shape[2])) & (np.arange(labels.shape[1]) < label_count[:, None])
        for row, at in np.argwhere(wrong)[:1]:
            raise ValueError(f"[ctc_loss] target must hold classes in [0, {logits.shape[2]}). "
                             f"Received: target[{row}, {at}]={labels[row, at]}")
        return _forward_backward(labels, logits, label_count, frame_count, mask_index)

    if x.device == "meta":
        return _core.meta((x.shape[0],), dtype)
    y, gradient = numpy_op(_finite(run), t, x, tn, xn, dtype=dtype)

    def vjp(gy):
        if _core.recording():
            raise ValueError("[ctc_loss] second-order gradients are not available")
        return None, multiply(gradient, _reshape(gy, (gy.shape[0], 1, 1))), None, None

    return record(y, (t, x, tn, xn), vjp)


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
    logp = _log_softmax(x)
    for i in range(b):
        beams = {(): (0.0, -np.inf)}
        for t in range(int(lengths[i])):
            found = {}

            def put(prefix, blank_score, label_score):
                a, c = found.get(prefix, (-np.inf, -np.inf))
                found[prefix] = np.logaddexp(a, blank_score), np.logaddexp(c, label_score)

            for prefix, (in_blank, in_label) in beams.items():
                total = np.logaddexp(in_blank, in_label)
                put(prefix, total + logp[i, t, blank], -np.inf)
                for k in range(classes):
                    if k == blank:
                        continue
                    p = logp[i, t, k]
                    if prefix and prefix[-1] == k:
                        put(prefix, -np.inf, in_label + p)
                        put((*prefix, k), -np.inf, in_blank + p)
                    else:
                        put((*prefix, k), -np.inf, total + p)
            order = sorted(found.items(), key=lambda item: -np.logaddexp(*item[1]))
            beams = dict(order[:width])
        best = sorted(beams.items(), key=lambda item: -np.logaddexp(*item[1]))[:top]
        for j, (prefix, pair) in enumerate(best):
            paths[j, i, : len(prefix)] = prefix
            scores[i, j] = np.logaddexp(*pair)
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
