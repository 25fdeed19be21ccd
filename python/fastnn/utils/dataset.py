"""Dataset: what the functions that make data sets return, with the methods of tf.data.Dataset."""
import numpy as np

from ..tree import flatten, map_structure, pack_sequence_as
from .py_dataset import PyDataset


class Batch(np.ndarray):
    """An array that has what loops over tf.data call: `numpy()`, also on its elements."""

    def numpy(self):
        """The array, or the number, without this class."""
        return np.asarray(self)[()]

    def __getitem__(self, key):
        return _as_batch(super().__getitem__(key))

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def _as_batch(x):
    return np.asarray(x).view(Batch) if isinstance(x, (np.ndarray, np.generic)) else x


class Dataset(PyDataset):
    """Elements (batches, or single samples) by number: ``dataset[i]``, ``for x, y in dataset``, ``fit(dataset)``.

    Every method returns another Dataset, which takes its elements from this one when they are asked for. ``fit`` takes
    the elements in their order, whatever its ``shuffle`` says; `shuffle` changes it.
    """

    ordered = True  # as with tf.data

    @property
    def num_batches(self):
        return len(self)

    def __iter__(self):
        """The elements of one epoch; shuffled ones come in another order the next time. Arrays have the method `numpy`."""
        self.on_epoch_begin()
        for element in super().__iter__():
            yield map_structure(_as_batch, element)
        self.on_epoch_end()

    def cardinality(self):
        """The number of elements, -1 without end."""
        return -1 if self.num_batches is None else self.num_batches

    def as_numpy_iterator(self):
        """The elements with NumPy arrays in place of tensors."""
        for element in self:
            yield map_structure(np.asarray, element)

    def map(self, map_func, num_parallel_calls=None, deterministic=None):
        """Elements ``map_func(element)``, or ``map_func(x, y)`` where they are tuples; the other arguments change nothing."""

        def get(i):
            element = self[i]
            return map_func(*element) if isinstance(element, tuple) else map_func(element)

        return Derived(self, self.num_batches, get)

    def take(self, count):
        """The first ``count`` elements; all of them for -1."""
        n = self.num_batches
        return Derived(self, n if count < 0 else count if n is None else min(count, n))

    def skip(self, count):
        """All elements but the first ``count``; none for -1."""
        n = self.num_batches
        left = 0 if count < 0 else None if n is None else max(n - count, 0)
        return Derived(self, left, lambda i: self[i + count])

    def repeat(self, count=None):
        """The elements ``count`` times one after the other; without end for None or -1."""
        n = self._known("repeat")
        asked = -1

        def get(i):  # in order, each pass over the elements is an epoch of theirs
            nonlocal asked
            if i == asked + 1 and i and i % n == 0:
                self.on_epoch_end()
                self.on_epoch_begin()
            asked = i
            return self[i % n]

        return Derived(self, None if count is None or count < 0 else n * count, get)

    def cache(self, filename=""):
        """The elements, each made once and kept in memory.

        Raises:
            ValueError: a filename is given.
        """
        if filename:
            raise ValueError(f"[Dataset.cache] elements are kept in memory. Received: filename={filename!r}")
        kept = {}

        def get(i):
            if i not in kept:
                kept[i] = self[i]
            return kept[i]

        return Derived(self, self.num_batches, get)

    def prefetch(self, buffer_size):
        """The same elements; while a model trains, a thread makes up to ``buffer_size`` of them ahead (10 for -1)."""
        ahead = Derived(self, self.num_batches)
        ahead.prefetched = 10 if buffer_size < 0 else buffer_size
        return ahead

    def shuffle(self, buffer_size=None, seed=None, reshuffle_each_iteration=True):
        """The elements in random order, a new one for each epoch; the whole data set is the buffer."""
        rng = np.random.default_rng(np.random.randint(2**31) if seed is None else seed)  # set_random_seed decides
        order = np.arange(self._known("shuffle"))
        rng.shuffle(order)
        return Derived(self, len(order), lambda i: self[int(order[i])],
                       renew=lambda: rng.shuffle(order) if reshuffle_each_iteration else None)

    def batch(self, batch_size, drop_remainder=False, num_parallel_calls=None, deterministic=None):
        """Elements of ``batch_size`` elements each, stacked along a new first axis; the last one may have fewer."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"[Dataset.batch] batch_size must be a positive integer. Received: batch_size={batch_size!r}")
        n = self._known("batch")
        count = n // batch_size if drop_remainder else -(-n // batch_size)

        def get(i):
            elements = [self[j] for j in range(i * batch_size, min((i + 1) * batch_size, n))]
            rows = zip(*map(flatten, elements))
            return pack_sequence_as(elements[0], [np.stack([np.asarray(x) for x in column]) for column in rows])

        return Derived(self, count, get)

    def _known(self, op):
        n = self.num_batches
        if n is None:
            raise ValueError(f"[Dataset.{op}] the number of elements must be known. Received: a data set without end")
        return n


class Derived(Dataset):
    """Elements made from those of another data set.

    Args:
        source: PyDataset. count: number of elements, None without end.
        get: function of the index; by default the source's element of this index.
        renew: called after every epoch.
    """

    def __init__(self, source, count, get=None, renew=None):
        super().__init__(source.workers, source.use_multiprocessing, source.max_queue_size)
        self._source, self._count = source, count
        self._get, self._renew = get or source.__getitem__, renew

    @property
    def num_batches(self):
        return self._count

    def __len__(self):
        if self._count is None:
            raise TypeError("[Dataset] has no length: it has no end")
        return self._count

    def __getitem__(self, index):
        if index < 0 or self._count is not None and index >= self._count:
            raise IndexError(f"[Dataset] the index must be below {self._count}. Received: index={index}")
        return self._get(index)

    def on_epoch_begin(self):
        self._source.on_epoch_begin()

    def on_epoch_end(self):
        self._source.on_epoch_end()
        if self._renew is not None:
            self._renew()


class Samples(Dataset):
    """The rows of arrays, one element each.

    Args:
        arrays: nest of arrays with the same number of rows. order: the rows, as ints.
    """

    def __init__(self, arrays, order):
        super().__init__()
        self._arrays, self._order = arrays, np.asarray(order, "int64")

    def __len__(self):
        return len(self._order)

    def __getitem__(self, index):
        return map_structure(lambda a: a[self._order[index]], self._arrays)
