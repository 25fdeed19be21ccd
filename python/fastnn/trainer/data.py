"""Where batches come from: arrays, generators, datasets.

Every source has ``epoch(shuffle)``, an iterator over (x, y, sample_weight) nests of Tensors;
``steps``, the number of batches of an epoch or None; and ``size``, the number of samples or None.
"""
import itertools
import random

import numpy as np

from .. import _core, dtypes
from .._core import Tensor
from ..strings import Strings, are_strings
from ..tensor import Variable, convert_to_tensor, from_numpy, to_numpy
from ..tree import flatten, map_structure
from ..utils.py_dataset import PyDataset


def pack_x_y_sample_weight(x, y=None, sample_weight=None):
    """(x,), (x, y) or (x, y, sample_weight), leaving out what is None at the end.

    Args:
        x: inputs.
        y: targets, or None.
        sample_weight: weights, or None.
    """
    if y is None:
        return x if not isinstance(x, (tuple, list)) else (x,)
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data):
    """The (x, y, sample_weight) of what a batch, generator or ``validation_data`` gives.

    Args:
        data: inputs, or a tuple of inputs, targets and weights.

    Raises:
        ValueError: a tuple of more than three parts.
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if 1 <= len(data) <= 3:
        return data + (None,) * (3 - len(data))
    raise ValueError("[fit] data must be x, (x, y) or (x, y, sample_weight). "
                     f"Received: a tuple of {len(data)} parts")


def _columns_without_numbers(value):
    """The columns of a pandas table that are to blame when it does not hold numbers; the name of a Series."""
    if not hasattr(value, "dtypes") or not hasattr(value, "iloc"):
        return []
    columns = zip(value.columns, value.dtypes) if hasattr(value, "columns") else [(value.name, value.dtype)]
    return [name for name, dtype in columns if str(dtype).lower() not in dtypes.ALLOWED_DTYPES + ("boolean",)]


def dense(value):
    """A sparse or ragged array of SciPy, JAX or TensorFlow, or a pandas table, as a dense one; other values as they are."""
    if isinstance(value, (np.ndarray, Tensor)):
        return value
    if hasattr(value, "toarray"):  # SciPy
        return value.toarray()
    if hasattr(value, "todense"):  # JAX
        return np.asarray(value.todense())
    if hasattr(value, "row_splits") and hasattr(value, "to_tensor"):  # a RaggedTensor, filled up with zeros
        return np.asarray(value.to_tensor())
    if hasattr(value, "dense_shape") and hasattr(value, "indices"):  # a SparseTensor
        values = np.asarray(value.values)
        array = np.zeros([int(n) for n in value.dense_shape], values.dtype)
        array[tuple(np.asarray(value.indices).T)] = values
        return array
    if hasattr(value, "to_numpy"):  # pandas
        array = value.to_numpy()
        if array.dtype == object and getattr(value, "ndim", 0) and not _columns_without_numbers(value):
            array = value.to_numpy("float64", na_value=np.nan)  # the Int64 of pandas and its kind
        return array[:, None] if array.ndim == 1 and hasattr(value, "iloc") else array  # a Series is a column
    return value


_INTEGERS = frozenset(np.dtype(name) for name in dtypes.ALLOWED_DTYPES if name not in dtypes.FLOAT_DTYPES)
_CHARS = {"float16": "e", "float32": "f", "float64": "d"}


def to_array(value, name, op="fit"):
    """A leaf of x, y or sample_weight as a NumPy array, floats as floatx.

    A sparse matrix of SciPy stays one, whose rows can be taken; an array of strings for x becomes Strings.

    Raises:
        TypeError: the values are not numbers.
        ValueError: a single number, which has no samples.
    """
    if type(value) is np.ndarray and value.ndim and (value.dtype in _INTEGERS or value.dtype.char == _CHARS.get(dtypes.floatx())):
        return value
    if isinstance(value, Tensor):
        value = to_numpy(value)
    elif isinstance(value, Variable):
        value = value.numpy()
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"[{op}] {name} must not be a masked array, whose mask would be lost. "
                        "Pass array.filled(value).")
    if type(value) is Strings:
        return value
    array = value.tocsr() if is_sparse(value) else np.asarray(dense(value))
    if name.startswith("x") and array.ndim and are_strings(array):
        return Strings(array)
    if name.startswith("x[") and isinstance(value, (str, bytes)):
        raise TypeError(f"[{op}] strings must come in an array, numpy.array([...]): a list has one entry for each input of the model. "
                        f"Received: {name}={value!r}")
    if array.dtype.name not in dtypes.ALLOWED_DTYPES:
        blame = f"; columns without numbers: {_columns_without_numbers(value)}" if hasattr(value, "columns") else ""
        raise TypeError(f"[{op}] {name} must hold numbers. Received: {name}.dtype={array.dtype}{blame}")
    if array.dtype.name in dtypes.FLOAT_DTYPES and array.dtype.name != dtypes.floatx():
        array = array.astype(dtypes.numpy_dtype(dtypes.floatx()))
    if array.ndim == 0:
        raise ValueError(f"[{op}] {name} must have a batch dimension. Received: {name}.shape=()")
    return array


def is_sparse(value):
    """Whether a value is a sparse matrix of SciPy."""
    return hasattr(value, "tocsr")


def rows_in(leaf):
    """How many samples a leaf has."""
    return leaf.shape[0]


def to_arrays(nest, name, op="fit"):
    """Every leaf of a nest as an array. A list of numbers, however deep, is one array."""
    if nest is None:
        return None
    if isinstance(nest, (list, tuple)) and all(isinstance(v, (int, float, np.number)) for v in flatten(nest)):
        return to_array(nest, name, op)
    if isinstance(nest, dict):
        return {k: to_arrays(v, f"{name}[{k!r}]", op) for k, v in nest.items()}
    if isinstance(nest, (list, tuple)):
        parts = [to_arrays(v, f"{name}[{i}]", op) for i, v in enumerate(nest)]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    return to_array(nest, name, op)


def check_finite(nest, name):
    """ValueError naming the first NaN or infinity of a nest of arrays."""
    for leaf in flatten(nest):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" and leaf.size:
            # One pass that allocates nothing tells the common case.
            if np.isfinite(leaf.sum(dtype=np.float64)) or np.isfinite(leaf).all():
                continue
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(leaf))[0])
            raise ValueError(f"[fit] {name} must be finite (pass check_labels=False to allow this). "
                             f"Received: {name}[{', '.join(map(str, where))}]={leaf[where]}")


def check_batch_size(batch_size):
    """ValueError unless batch_size is a positive integer."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"[fit] batch_size must be a positive integer. Received: batch_size={batch_size!r}")
    return int(batch_size)


class ArrayData:
    """Batches of arrays of one length.

    Args:
        x, y, sample_weight: nests of arrays (see ``to_arrays``); y and sample_weight may be None.
        batch_size: samples in a batch; the last one of an epoch may be smaller. By default what `steps` batches need, or 32.
        class_weight: {class: weight}, turned into sample weights.
        shuffle: whether every epoch has an order of its own, from NumPy's global generator; "batch", each batch has.
        steps: batches that are asked for, or None.

    Raises:
        ValueError: lengths differ, there are no rows, a wrong batch_size or class_weight.
    """

    used = False  # whether a batch was ever taken

    def __init__(self, x, y=None, sample_weight=None, batch_size=None, class_weight=None, shuffle=False, op="fit", steps=None):
        x, y = to_arrays(x, "x", op), to_arrays(y, "y", op)
        sample_weight = to_arrays(sample_weight, "sample_weight", op)
        if class_weight is not None:
            check_class_weight(y, sample_weight, op)
            sample_weight = class_weights(y, class_weight, op)
        self._nests = (x, y, sample_weight)
        sizes = {rows_in(leaf) for nest in self._nests if nest is not None for leaf in flatten(nest) if leaf is not None}
        if len(sizes) > 1:
            every = {name: [rows_in(v) for v in flatten(nest) if v is not None]
                     for name, nest in zip(("x", "y", "sample_weight"), self._nests) if nest is not None}
            raise ValueError(f"[{op}] x, y and sample_weight must have the same number of rows. Received: {every}")
        if not sizes:
            raise ValueError(f"[{op}] x must hold at least one array. Received: x=None")
        self.size = sizes.pop()
        if self.size == 0:
            none = [name for name, nest in zip(("x", "y", "sample_weight"), self._nests) if nest is not None]
            raise ValueError(f"[{op}] the data must have at least one row. Received: {dict.fromkeys(none, 0)}")
        if batch_size is None:
            batch_size = -(-self.size // steps) if steps else 32
        self.batch_size = check_batch_size(batch_size)
        self.steps = -(-self.size // self.batch_size)
        self._shuffle = bool(shuffle)
        self._batch_shuffle = shuffle == "batch"

    @property
    def y(self):
        return self._nests[1]

    def on_epoch_begin(self):
        """Called before an epoch."""

    def on_epoch_end(self):
        """Called after an epoch."""

    def split(self, fraction):
        """(the first 1 - fraction of the rows, the rest) as two nests (x, y, sample_weight)."""
        at = int(self.size * (1.0 - fraction))
        if at == 0 or at == self.size:
            raise ValueError("[fit] validation_split must leave rows on both sides. "
                             f"Received: validation_split={fraction}, rows={self.size}")
        cut = [map_structure(lambda a: a if a is None else a[:at], n) for n in self._nests]
        rest = [map_structure(lambda a: a if a is None else a[at:], n) for n in self._nests]
        return tuple(cut), tuple(rest)

    def epoch(self):
        """The batches of one pass, (x, y, sample_weight) of Tensors."""
        order = np.random.permutation(self.size).astype(np.int64, copy=False) if self._shuffle and not self._batch_shuffle else None
        x, y, w = self._nests
        for start in range(0, self.size, self.batch_size):
            stop = min(start + self.batch_size, self.size)
            chosen = None if order is None else order[start:stop]
            if self._batch_shuffle:
                chosen = start + np.random.permutation(stop - start).astype(np.int64, copy=False)
            if chosen is None:
                # Contiguous rows are read where they are.
                def rows(a, start=start, stop=stop):
                    if is_sparse(a):
                        return from_numpy(a[start:stop].toarray())
                    if type(a) is Strings:
                        return a[start:stop]
                    return None if a is None else from_numpy(a[start:stop], borrow=True)
            else:
                index = from_numpy(chosen, borrow=True)

                def rows(a, index=index, chosen=chosen):
                    if is_sparse(a):
                        return from_numpy(a[chosen].toarray())
                    if type(a) is Strings:
                        return a[chosen]
                    return None if a is None else _core.gather(from_numpy(a, borrow=True), index, 0)
            yield (rows(x) if type(x) is np.ndarray else map_structure(rows, x),
                   rows(y) if type(y) is np.ndarray else map_structure(rows, y),
                   None if w is None else map_structure(rows, w))


def check_class_weight(y, sample_weight, op):
    """ValueError where class weights cannot be given: together with sample_weight, or for none or several outputs."""
    if sample_weight is not None:
        raise ValueError(f"[{op}] You cannot `class_weight` and `sample_weight` at the same time. Received: both")
    outputs = 0 if y is None else len(flatten(y))
    if outputs != 1:
        raise ValueError(f"[{op}] `class_weight` is only supported for Models with a single output. It needs the targets y. "
                         f"Received: {outputs} outputs")


def class_weights(y, class_weight, op="fit"):
    """The weight of every row of ``y``: integer labels, (n, 1) labels, or one-hot rows.

    Raises:
        ValueError: several outputs, no y, or a weight that is not a number.
    """
    check_class_weight(y, None, op)
    leaves = flatten(y)
    if not isinstance(class_weight, dict) or not all(isinstance(v, (int, float, np.number)) for v in class_weight.values()):
        raise ValueError(f"[{op}] class_weight must map class indices to numbers. Received: class_weight={class_weight!r}")
    labels = dense(leaves[0])
    if labels.ndim > 1:
        labels = labels.argmax(axis=-1) if labels.shape[-1] != 1 else labels[..., 0]
    labels = np.asarray(labels)
    weights = np.ones(labels.shape, dtypes.floatx())
    for label, weight in class_weight.items():
        weights[np.round(labels) == label] = weight
    return weights


def to_tensors(nest):
    """A batch of a generator or dataset as Tensors, floats as floatx."""

    def one(v):
        if v is None:
            return None
        if isinstance(v, Strings):
            return v
        v = dense(v)
        if getattr(getattr(v, "dtype", None), "name", None) == "string":  # of TensorFlow
            v = np.asarray(v)
        if are_strings(v):
            return Strings(v)
        t = v if isinstance(v, Tensor) else convert_to_tensor(v)
        return convert_to_tensor(t, dtypes.floatx()) if t.dtype == "float64" else t

    return map_structure(one, nest)


class IterableData:
    """Batches made by somebody else: a generator, an iterable such as a torch DataLoader or a
    tf.data.Dataset, or a PyDataset.

    Args:
        source: gives x, (x, y) or (x, y, sample_weight) batches.
        class_weight: {class: weight}, turned into sample weights batch by batch.
        shuffle: whether a PyDataset's batches come in an order of their own; a Dataset's keep theirs.
    """

    size = None
    y = None
    batch_size = None
    used = False

    def __init__(self, source, class_weight=None, shuffle=False, op="fit"):
        self._source = source
        self._class_weight = class_weight
        self._op = op
        self._shuffle = shuffle and is_indexed(source) and not getattr(source, "ordered", False)
        self._iterator = None
        self.steps = None
        if is_indexed(source):
            self.steps = source.num_batches if hasattr(source, "num_batches") else len(source)
        elif hasattr(source, "__len__"):
            try:
                self.steps = len(source)
            except TypeError:
                pass
        if self.steps == 0:
            raise ValueError(f"[{op}] the data must have at least one batch. Received: len={self.steps}")
        spec = getattr(source, "element_spec", None)  # tf.data tells before the first batch
        if class_weight is not None and isinstance(spec, tuple) and len(spec) > 1:
            check_class_weight(spec[1], spec[2] if len(spec) > 2 else None, op)

    def _batches(self):
        if is_indexed(self._source):
            source, n = self._source, self.steps
            order = itertools.count() if n is None else list(range(n)) if self._shuffle else range(n)
            if self._shuffle and n is not None:
                random.shuffle(order)
            workers, ahead = getattr(source, "workers", 1), getattr(source, "prefetched", 0)
            if workers > 1 or ahead:
                yield from _made_ahead(source, order, workers, ahead or max(1, source.max_queue_size))
            else:
                for i in order:
                    yield source[i]
        elif hasattr(self._source, "__next__"):
            for batch in self._source:  # a generator goes on where it stopped; `yield from` would close it with this one
                yield batch
        else:
            yield from iter(self._source)

    def on_epoch_begin(self):
        """Tells a PyDataset."""
        if is_indexed(self._source) and hasattr(self._source, "on_epoch_begin"):
            self._source.on_epoch_begin()

    def on_epoch_end(self):
        """Tells a PyDataset."""
        if is_indexed(self._source) and hasattr(self._source, "on_epoch_end"):
            self._source.on_epoch_end()

    def epoch(self):
        """The batches of one pass, (x, y, sample_weight) of Tensors."""
        for batch in self._batches():
            x, y, w = unpack_x_y_sample_weight(batch)
            if self._class_weight is not None:
                check_class_weight(y, w, self._op)
                w = class_weights(to_arrays(y, "y"), self._class_weight, self._op)
            yield to_tensors(x), to_tensors(y), to_tensors(w)


def _made_ahead(source, order, workers, ahead):
    """The batches of an indexed source in order, made by threads before they are asked for."""
    import collections
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as pool:
        waiting = collections.deque()
        try:
            for i in order:
                waiting.append(pool.submit(source.__getitem__, i))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def is_indexed(source):
    """Whether a source gives its batches by number, as PyDataset does."""
    if isinstance(source, PyDataset):
        return True
    return hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(
        source, (list, tuple, dict, np.ndarray, Tensor)) and not hasattr(source, "dtype") and not hasattr(
        source, "to_numpy") and not hasattr(source, "sampler")


def is_iterable_source(x):
    """Whether x makes batches itself rather than being an array or a nest of arrays."""
    if x is None or isinstance(x, (np.ndarray, Tensor, Variable, list, tuple, dict, int, float)):
        return False
    if any(hasattr(x, name) for name in ("__array__", "__dlpack__", "to_numpy", "toarray", "todense", "dense_shape", "row_splits")):
        return False  # an array, see `dense`
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or is_indexed(x)


def kind_of(x):
    """What a source of batches is called."""
    module = type(x).__module__.split(".")[0]
    if module == "torch":
        return "torch DataLoader"
    if module == "tensorflow":
        return "tf.data.Dataset"
    return "PyDataset" if is_indexed(x) else "generator"


def make_data(x, y=None, sample_weight=None, batch_size=None, class_weight=None, shuffle=False, op="fit", steps=None):
    """The source of batches for the arguments of fit, evaluate or predict."""
    if callable(x) and not hasattr(x, "__getitem__") and not hasattr(x, "__iter__") and not hasattr(x, "__array__"):
        x = x()  # a generator function
    if isinstance(x, (str, bytes)):
        raise ValueError(f"[{op}] Unrecognized data type: x must be arrays, or make batches. Received: x={x!r} (of type {type(x).__name__})")
    if is_iterable_source(x):
        for name, value in (("y", y), ("sample_weights", sample_weight)):
            if value is not None:
                raise ValueError(f"[{op}] When providing `x` as a {kind_of(x)}, `{name}` should not be passed: each batch has its own. "
                                 f"Received: x={type(x).__name__}")
        return IterableData(x, class_weight, shuffle, op)
    return ArrayData(x, y, sample_weight, batch_size, class_weight, shuffle, op, steps)
