"""Windows of a time series, in batches."""
import numpy as np

from .dataset import Dataset


def timeseries_dataset_from_array(data, targets, sequence_length, sequence_stride=1, sampling_rate=1, batch_size=128,
                                  shuffle=False, seed=None, start_index=None, end_index=None, format="tf"):
    """Batches of windows that slide over an array.

    Window i holds the rows ``s, s + sampling_rate, ...`` of ``data[start_index:end_index]``, with
    ``s = i * sequence_stride``; its target is row s of ``targets[start_index:end_index]``.

    Args:
        data: array or list, time along axis 0.
        targets: array or list of a target for each window's first row, or None.
        sequence_length: rows in a window.
        sequence_stride: rows between the starts of windows.
        sampling_rate: rows between the rows of a window.
        batch_size: windows in a batch, the last may have fewer; None gives single windows without a batch axis.
        shuffle: put the windows in random order, a new one after each epoch.
        seed: int, of that order; by default from NumPy's global generator.
        start_index, end_index: the part of ``data`` that is used.
        format: accepted for Keras's sake; the result is a PyDataset in any case.

    Returns:
        A PyDataset of windows, (batch, sequence_length, ...), or of pairs (windows, targets). ``fit`` takes the
        batches of a PyDataset in random order unless it is told shuffle=False.

    Raises:
        ValueError: a length, stride, rate or index does not fit the data, or no window does.
    """
    name = "timeseries_dataset_from_array"
    rows = len(data)
    if format not in ("tf", "grain"):
        raise ValueError(f"[{name}] `format` should be 'tf' or 'grain'. Received: format={format!r}")
    for key, value, limit in (("sequence_length", sequence_length, None), ("sequence_stride", sequence_stride, rows),
                              ("sampling_rate", sampling_rate, rows), ("batch_size", batch_size, None)):
        if key == "batch_size" and value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1 or (limit and value >= limit):
            below = f" below the length of data, {limit}" if limit else ""
            raise ValueError(f"[{name}] `{key}` must be a positive integer{below}. Received: {key}={value!r}")
    if start_index is not None and not 0 <= start_index < rows:
        raise ValueError(f"[{name}] `start_index` must be in [0, {rows}), the rows of data. "
                         f"Received: start_index={start_index}")
    if end_index is not None and not (start_index or 0) < end_index < rows:
        raise ValueError(f"[{name}] `end_index` must be above start_index and below the length of data, {rows}. "
                         f"Received: end_index={end_index}, start_index={start_index}")
    data = np.asarray(data)[start_index:end_index]
    windows = len(data) - (sequence_length - 1) * sampling_rate
    if targets is not None:
        targets = np.asarray(targets)[start_index:end_index]
        windows = min(windows, len(targets))
    if windows < 1:
        raise ValueError(f"[{name}] the data must hold at least one window. Received: rows={len(data)}, sequence_length="
                         f"{sequence_length}, sampling_rate={sampling_rate}, "
                         f"targets={None if targets is None else len(targets)}")
    starts = np.arange(0, windows, sequence_stride)
    random = None
    if shuffle:
        random = np.random.RandomState(np.random.randint(10**6) if seed is None else seed)
        random.shuffle(starts)
    return _Windows(data, targets, starts, np.arange(sequence_length) * sampling_rate, batch_size, random)


class _Windows(Dataset):
    """The rows ``starts[i] + offsets`` of data."""

    def __init__(self, data, targets, starts, offsets, batch_size, random):
        super().__init__()
        self._data, self._targets, self._starts, self._offsets = data, targets, starts, offsets
        self._batch_size = batch_size
        self._random = random

    def __len__(self):
        return -(-len(self._starts) // (self._batch_size or 1))

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):  # also what ends a for loop
            raise IndexError(f"[timeseries_dataset_from_array] index must be below {len(self)}. Received: index={index}")
        index %= len(self)
        if self._batch_size is None:
            starts, rows = self._starts[index], self._starts[index] + self._offsets
        else:
            starts = self._starts[index * self._batch_size:(index + 1) * self._batch_size]
            rows = starts[:, None] + self._offsets
        return self._data[rows] if self._targets is None else (self._data[rows], self._targets[starts])

    def on_epoch_end(self):
        if self._random is not None:
            self._random.shuffle(self._starts)
