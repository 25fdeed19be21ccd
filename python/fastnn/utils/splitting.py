"""One set of samples made two."""
import random

import numpy as np

from ..trainer.data import is_iterable_source
from ..tree import flatten, map_structure, pack_sequence_as
from .dataset import Derived, Samples
from .py_dataset import PyDataset


def split_dataset(dataset, left_size=None, right_size=None, shuffle=False, seed=None, preferred_backend=None):
    """Two parts of a data set, such as one to train on and one to test on.

    Args:
        dataset: an array or tensor, a nest (tuple, list, dict) of arrays with the same number of rows, a tf.data.Dataset or
            torch Dataset, whose elements are read at once, or a PyDataset, whose batches are the samples.
        left_size, right_size: the first part and the rest: a float in (0, 1), a fraction, or an int, a number of
            samples. One may be left out: the complement of the other. Where they do not sum to all, the samples
            between the parts are in none.
        shuffle: put the samples in random order first.
        seed: int, of that order.
        preferred_backend: accepted for Keras's sake.

    Returns:
        (left, right), two Datasets (see `utils.dataset`) whose elements are samples in the structure of ``dataset``:
        ``left.batch(32)`` is what `fit` takes.

    Raises:
        TypeError: a size is neither int nor float.
        ValueError: the sizes do not fit the number of samples, or the arrays differ in it.
    """
    indexed = isinstance(dataset, PyDataset)
    if not indexed:
        dataset = _arrays(dataset)
        lengths = [len(a) for a in flatten(dataset)]
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
        return tuple(Derived(dataset, len(part), lambda i, part=part: dataset[part[i]]) for part in parts)
    return tuple(Samples(dataset, part) for part in parts)


def _arrays(dataset):
    """A nest of arrays; the elements of another library's data set are stacked."""
    if isinstance(dataset, dict):
        return {k: _arrays(v) for k, v in dataset.items()}
    if isinstance(dataset, (tuple, list)) and not all(isinstance(v, (int, float)) for v in dataset):
        parts = [_arrays(v) for v in dataset]
        return type(dataset)(*parts) if hasattr(dataset, "_fields") else type(dataset)(parts)
    if is_iterable_source(dataset):
        # A torch Dataset need not end by itself.
        elements = [dataset[i] for i in range(len(dataset))] if hasattr(dataset, "__getitem__") else list(dataset)
        elements = [map_structure(np.asarray, e) for e in elements]
        if not elements:
            raise ValueError("[split_dataset] dataset must have samples. Received: one without")
        return pack_sequence_as(elements[0], [np.stack(column) for column in zip(*map(flatten, elements))])
    array = np.asarray(dataset)
    if array.ndim == 0:
        raise ValueError(f"[split_dataset] dataset must hold arrays of at least 1 dimension. Received: {dataset!r}")
    return array


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
