"""One set of samples made two."""
import operator
import random

import numpy as np

from .._core import Tensor
from .py_dataset import PyDataset


def split_dataset(dataset, left_size=None, right_size=None, shuffle=False, seed=None, preferred_backend=None):
    """Two parts of a data set, such as one to train on and one to test on.

    Args:
        dataset: an array or tensor, a nest (tuple, list, dict) of arrays with the same number of rows, or a
            PyDataset, whose batches are the samples.
        left_size, right_size: the first part and the rest: a float in (0, 1), a fraction, or an int, a number of
            samples. One may be left out: the complement of the other. Where they do not sum to all, the samples
            between the parts are in none.
        shuffle: put the samples in random order first.
        seed: int, of that order.
        preferred_backend: accepted for Keras's sake.

    Returns:
        (left, right), in the structure of ``dataset``, as NumPy arrays; two PyDatasets for a PyDataset.

    Raises:
        TypeError: a size is neither int nor float.
        ValueError: the sizes do not fit the number of samples, or the arrays differ in it.
    """
    indexed = isinstance(dataset, PyDataset)
    if not indexed:
        dataset = _map(_array, dataset)
        lengths = []
        _map(lambda a: lengths.append(len(a)), dataset)
        if len(set(lengths)) != 1:
            raise ValueError("[split_dataset] the arrays of dataset must have the same number of rows. "
                             f"Received: rows={lengths}")
    total = dataset.num_batches if indexed else lengths[0]
    if total is None:
        raise ValueError("[split_dataset] dataset must have a length. Received: a PyDataset without one")
    left, right = _sizes(left_size, right_size, total)
    order = list(range(total))
    if shuffle:
        random.Random(seed).shuffle(order)
    parts = order[:left], order[total - right:]
    if indexed:
        return tuple(_Part(dataset, part) for part in parts)
    return tuple(_map(operator.itemgetter(part), dataset) for part in parts)


def _array(x):
    array = x.numpy() if isinstance(x, Tensor) else np.asarray(x)
    if array.ndim == 0:
        raise ValueError(f"[split_dataset] dataset must hold arrays of at least 1 dimension. Received: {x!r}")
    return array


def _map(f, nest):
    """f of every array of a nest; a list of numbers is an array."""
    if isinstance(nest, dict):
        return {k: _map(f, v) for k, v in nest.items()}
    if isinstance(nest, (tuple, list)) and not all(isinstance(v, (int, float)) for v in nest):
        parts = [_map(f, v) for v in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    return f(nest)


def _sizes(left, right, total):
    """Both sizes as numbers of samples."""
    shown = f"left_size={left!r}, right_size={right!r}, samples={total}"
    if left is None and right is None:
        raise ValueError(f"[split_dataset] left_size or right_size must be given. Received: {shown}")
    for size in (left, right):
        if size is not None and type(size) not in (int, float):
            raise TypeError(f"[split_dataset] left_size and right_size must be int, float or None. Received: {shown}")
        if size is not None and not 0 < size < (total if type(size) is int else 1):
            raise ValueError("[split_dataset] left_size and right_size must be integers from 1 to the number of samples "
                             f"less 1, or floats in (0, 1). Received: {shown}")
    left, right = (round(s * total) if type(s) is float else s for s in (left, right))
    left = total - right if left is None else left
    right = total - left if right is None else right
    if left + right > total or left == 0 or right == 0:
        raise ValueError(f"[split_dataset] the parts must have samples, and no more than there are. Received: {shown}")
    return left, right


class _Part(PyDataset):
    """Some batches of a PyDataset."""

    def __init__(self, dataset, order):
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset, self._order = dataset, order

    def __len__(self):
        return len(self._order)

    def __getitem__(self, index):
        return self._dataset[self._order[index]]
