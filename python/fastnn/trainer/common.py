"""Small parts of the training loops: arguments, results, batches one at a time."""

import numpy as np

from ..config import max_steps_per_epoch
from ..tree import flatten
from .data import pack_x_y_sample_weight


def check_count(value, name, op, least=1, optional=True):
    """ValueError unless value is an integer of at least ``least`` (or None where optional)."""
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"[{op}] {name} must be an integer of at least {least}. Received: {name}={value!r}")
    return int(value)


def limit_steps(steps, data):
    """The steps of an epoch under `config.set_max_steps_per_epoch`; None, as many as the data has."""
    limit = max_steps_per_epoch()
    return steps if limit is None else min(n for n in (steps, data.steps, limit) if n is not None)


def rows_of(x):
    """The samples in a batch; optional inputs may be None."""
    return next(leaf for leaf in flatten(x) if leaf is not None).shape[0]


def to_number(value):
    """A metric's result as a Python float, or an array where it has several numbers."""
    if isinstance(value, (int, float)):
        return float(value)
    array = np.asarray(value)
    return float(array.item()) if array.size == 1 else array


def to_logs(results):
    """Metric results as numbers, in sorted order as Keras gives them."""
    logs = {}
    for key, value in sorted(results.items()):
        if isinstance(value, dict):
            logs.update(to_logs(value))
        else:
            logs[key] = to_number(value)
    return logs


class Steps:
    """A source's batches, one at a time; None after the last, until `begin`.

    With steps_per_epoch an epoch goes on where the one before it stopped, or from the first batch where that had all.
    """

    def __init__(self, data):
        self._data = data
        self._restart()

    def _restart(self):
        self._batches, self._taken, self._ended = self._data.epoch(), 0, False

    @property
    def used(self):
        """Whether the source has ever given a batch."""
        return self._data.used

    def begin(self):
        """Start an epoch."""
        if self._ended or self._data.steps is not None and self._taken >= self._data.steps:
            self._restart()
        self._data.on_epoch_begin()

    def end(self):
        """End it, with or without its last batch."""
        self._data.on_epoch_end()

    def next(self):
        batch = None if self._ended else next(self._batches, None)
        if batch is None:
            self._ended = True
            return None
        self._taken += 1
        self._data.used = True
        return batch


def pack(batch):
    """What an overridden step receives: x, (x, y) or (x, y, sample_weight), as Keras hands it over."""
    return pack_x_y_sample_weight(*batch)


def whole_batch(data):
    """All rows of an ArrayData as one batch."""
    data.batch_size, data.steps = data.size, 1
    return next(data.epoch())


def is_due(epoch, freq):
    """Whether to validate after this epoch, counted from 1."""
    return epoch in freq if isinstance(freq, set) else epoch % freq == 0
