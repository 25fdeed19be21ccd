"""Preparation of arrays: one-hot labels, norms, padded sequences."""
import numpy as np

from ..tensor import convert_to_tensor, is_tensor, to_numpy


def to_categorical(x, num_classes=None):
    """One-hot rows for class numbers.

    Args:
        x: array of integers from 0 to num_classes - 1; a last axis of size 1 is dropped.
        num_classes: int; by default the largest class plus one.

    Returns:
        float32 array of shape x.shape + (num_classes,); a Tensor if `x` is one.

    Raises:
        ValueError: a class is negative, not whole, or at least num_classes.
    """
    labels = to_numpy(x) if is_tensor(x) else np.asarray(x)
    if labels.dtype.kind not in "iub":
        if labels.dtype.kind != "f" or not np.array_equal(labels, np.floor(labels)) or not np.isfinite(labels).all():
            raise ValueError(f"[to_categorical] x must hold whole numbers. Received: dtype={labels.dtype}")
    labels = labels.astype("int64")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels.reshape(labels.shape[:-1])
    if num_classes is None:
        if not labels.size:
            raise ValueError("[to_categorical] num_classes must be given when x is empty")
        num_classes = int(labels.max()) + 1
    bad = (labels < 0) | (labels >= num_classes)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"[to_categorical] x must lie between 0 and num_classes - 1 = {num_classes - 1}. "
                         f"Received: x[{', '.join(map(str, where))}]={labels[where]}")
    one_hot = np.zeros((labels.size, num_classes), "float32")
    one_hot[np.arange(labels.size), labels.reshape(-1)] = 1
    one_hot = one_hot.reshape(*labels.shape, num_classes)
    return convert_to_tensor(one_hot) if is_tensor(x) else one_hot


def normalize(x, axis=-1, order=2):
    """x divided by its norm along an axis; rows of zeros stay zeros.

    Args:
        x: array or Tensor.
        axis: int.
        order: of the norm: 1 and up, or infinity.

    Returns:
        Array of the shape of `x`; a Tensor if `x` is one.

    Raises:
        ValueError: `order` is not at least 1.
    """
    if isinstance(order, bool) or not isinstance(order, (int, float)) or not order >= 1:
        raise ValueError(f"[normalize] order must be at least 1. Received: order={order!r}")
    values = to_numpy(x) if is_tensor(x) else np.asarray(x)
    if values.dtype.kind != "f":
        values = values.astype("float32")
    norm = np.atleast_1d(np.linalg.norm(values, order, axis, keepdims=True))
    norm[norm == 0] = 1
    result = values / norm
    return convert_to_tensor(result) if is_tensor(x) else result


def pad_sequences(sequences, maxlen=None, dtype="int32", padding="pre", truncating="pre", value=0.0):
    """Sequences of different lengths as one array.

    Args:
        sequences: list of sequences of numbers, or of arrays that agree in all but the first axis.
        maxlen: int; the longest length by default.
        dtype: of the result; object or a string type for strings.
        padding: "pre" or "post": where `value` is put.
        truncating: "pre" or "post": where long sequences lose elements.
        value: what to pad with.

    Returns:
        Array (len(sequences), maxlen, ...).

    Raises:
        ValueError: an element is not a sequence, shapes differ, or an argument has another value.
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ValueError(f"[pad_sequences] {name} must be 'pre' or 'post'. Received: {name}={side!r}")
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"[pad_sequences] sequences must be a list. Received: {type(sequences).__name__}")
    for i, s in enumerate(sequences):
        if not hasattr(s, "__len__"):
            raise ValueError(f"[pad_sequences] every element must be a sequence. Received: sequences[{i}]={s!r}")
    if maxlen is None:
        maxlen = max((len(s) for s in sequences), default=0)
    if isinstance(value, str) and dtype != object and not np.issubdtype(dtype, np.str_):
        raise ValueError(f"[pad_sequences] `dtype` {dtype} is not compatible with a string value: use dtype=object. "
                         f"Received: value={value!r}")
    inner = next((np.asarray(s).shape[1:] for s in sequences if len(s)), ())
    padded = np.full((len(sequences), maxlen, *inner), value, dtype=dtype)
    for i, s in enumerate(sequences):
        if not len(s) or not maxlen:
            continue
        kept = np.asarray(s[-maxlen:] if truncating == "pre" else s[:maxlen], dtype=dtype)
        if kept.shape[1:] != inner:
            raise ValueError(f"[pad_sequences] all elements must have the shape {inner}. "
                             f"Received: sequences[{i}] with elements of shape {kept.shape[1:]}")
        if padding == "post":
            padded[i, :len(kept)] = kept
        else:
            padded[i, maxlen - len(kept):] = kept
    return padded
