"""Hashing and HashedCrossing: categories as bins, without a vocabulary."""
import functools

import numpy as np

from .. import dtypes, ops
from ..ops.numpy_op import numpy_op
from ..tensor import Tensor, from_numpy, to_numpy
from ..utils.fingerprint import cat64, fingerprint64, siphash64
from .categories import HostLayer, check_mode, encode, encoded_shape


class Hashing(HostLayer):
    """The bin of each category: a hash of its text, modulo the number of bins.

    Args:
        num_bins: int, at least 1; with mask_value, bin 0 is the mask's.
        mask_value: category that goes to bin 0.
        salt: int, or two ints: use SipHash with this key. FarmHash by default. Both as TensorFlow has them.
        output_mode: "int", the bins; "one_hot", "multi_hot" or "count", see `CategoryEncoding`.
        sparse: False; there are no sparse tensors.

    Input: integers, or an array or list of strings. Output: int64, or floats with num_bins as last axis.

    Raises:
        ValueError: num_bins is not positive, or an argument is unknown.
    """

    def __init__(self, num_bins, mask_value=None, salt=None, output_mode="int", sparse=False, **kwargs):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == "int" else dtypes.floatx()
        super().__init__(**kwargs)
        if num_bins is None or num_bins <= 0:
            raise ValueError("[Hashing] The `num_bins` for `Hashing` cannot be `None` or non-positive values. "
                             f"Received: num_bins={num_bins}.")
        check_mode("Hashing", output_mode, ("int", "one_hot", "multi_hot", "count"), sparse)
        if output_mode == "int" and self.dtype_policy.name not in ("int32", "int64"):
            raise ValueError('[Hashing] When `output_mode="int"`, `dtype` should be an integer type, \'int32\' or '
                             f"'int64'. Received: dtype={kwargs['dtype']}")
        self.num_bins = num_bins
        self.mask_value = mask_value
        self.output_mode = output_mode
        self.sparse = sparse
        self.salt = salt if salt is None else _salt("Hashing", salt)

    def call(self, inputs):
        if self.output_mode == "one_hot" and inputs.shape[-1:] == (1,):
            inputs = inputs.reshape(inputs.shape[:-1]) if isinstance(inputs, np.ndarray) else ops.squeeze(inputs, -1)
        bins = self._host(self._bins, inputs)
        return encode(bins, self.output_mode, self.num_bins, self.dtype)

    def _bins(self, array):
        bins, shift = self.num_bins, 0
        if self.mask_value is not None and bins > 1:
            bins, shift = bins - 1, 1
        result = hash_bins(array, bins, self.salt) + shift
        return np.where(array == self.mask_value, 0, result) if shift else result

    def compute_output_shape(self, input_shape):
        return encoded_shape(input_shape, self.output_mode, self.num_bins)

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins, "salt": self.salt, "mask_value": self.mask_value,
                "output_mode": self.output_mode, "sparse": self.sparse}


def _salt(kind, salt):
    if isinstance(salt, (tuple, list)) and len(salt) == 2:
        return [int(v) for v in salt]
    if isinstance(salt, int) and not isinstance(salt, bool):
        return [salt, salt]
    raise ValueError(f"[{kind}] The `salt` argument can only be a tuple of size 2 integers, or a single integer. "
                     f"Received: salt={salt}.")


def hash_bins(array, bins, salt=None):
    """The int64 bins of an array of strings or numbers; numbers are hashed as their decimal text."""
    if array.dtype.kind in "OSU":
        array = as_text(array)
    elif array.dtype.kind == "f":
        array = array.astype("int64")
    elif array.dtype.kind == "b":
        array = array.astype("int64")
    f = fingerprint64 if salt is None else functools.partial(siphash64, key=tuple(salt))
    values, places = np.unique(array, return_inverse=True)
    table = np.array([f(str(v).encode()) % bins for v in values.tolist()], np.int64)
    return table[places].reshape(array.shape) if array.size else np.zeros(array.shape, np.int64)


def as_text(array, encoding="utf-8"):
    """An array of strings from one of strings, bytes or objects."""
    array = np.asarray(array)
    if array.dtype.kind == "U":
        return array
    decode = [v.decode(encoding) if isinstance(v, bytes) else str(v) for v in array.ravel().tolist()]
    return np.array(decode, dtype=np.str_).reshape(array.shape) if decode else np.zeros(array.shape, "U1")


class HashedCrossing(HostLayer):
    """The bin of each combination of categories.

    Args:
        num_bins: int.
        output_mode: "int", the bins, or "one_hot".
        sparse: False; there are no sparse tensors.

    Input: a list of at least two arrays, of integers or strings, of shape (), (batch,) or (batch, 1).
    Output: int64 of that shape, or floats with num_bins as last axis.

    Raises:
        ValueError: fewer than two inputs, or their shapes differ or are others.
    """

    def __init__(self, num_bins, output_mode="int", sparse=False, name=None, dtype=None, **kwargs):
        if output_mode == "int" and dtype is None:
            dtype = "int64"
        super().__init__(name=name, dtype=dtype, **kwargs)
        check_mode("HashedCrossing", output_mode, ("int", "one_hot"), sparse)
        if isinstance(num_bins, bool) or not hasattr(num_bins, "__index__") or num_bins < 1:
            raise ValueError(f"[HashedCrossing] num_bins must be a positive integer. Received: num_bins={num_bins!r}")
        self.num_bins = num_bins.__index__()
        self.output_mode = output_mode
        self.sparse = sparse

    def __call__(self, inputs, *args, **kwargs):
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            raise ValueError("[HashedCrossing] the layer should be called on a list or tuple of at least two inputs. "
                             f"Received: inputs={inputs}")
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs):
        shapes = {tuple(x.shape) for x in inputs}
        shape = shapes.pop()
        if shapes or len(shape) > 2 or (len(shape) == 2 and shape[-1] != 1):
            raise ValueError("[HashedCrossing] All inputs should have shape `()`, `(batch_size)` or "
                             f"`(batch_size, 1)`. Received: shapes {[tuple(x.shape) for x in inputs]}")
        if any(isinstance(x, Tensor) for x in inputs):
            bins = numpy_op(lambda *arrays: self._bins(arrays), *inputs)
        else:
            bins = from_numpy(self._bins(inputs))
        return encode(bins, self.output_mode, self.num_bins, self.dtype)

    def _bins(self, arrays):
        columns = [_fingerprints(to_numpy(a) if isinstance(a, Tensor) else np.asarray(a)) for a in arrays]
        shape = np.shape(arrays[0])
        result = []
        for row in zip(*columns):
            h = 0xDECAFCAFFE  # TensorFlow's key
            for value in row:
                h = cat64(h, value)
            result.append(h % self.num_bins)
        return np.array(result, np.int64).reshape(shape)

    def compute_output_shape(self, input_shape):
        return encoded_shape(tuple(input_shape[0]), self.output_mode, self.num_bins)

    def get_config(self):
        return {"num_bins": self.num_bins, "output_mode": self.output_mode, "sparse": self.sparse, "name": self.name,
                "dtype": self.dtype}


def _fingerprints(array):
    if array.dtype.kind in "iu":
        return [v & 0xFFFFFFFFFFFFFFFF for v in array.ravel().tolist()]
    if array.dtype.kind not in "OSU":
        raise ValueError("[HashedCrossing] All inputs should have an integer or string dtype. "
                         f"Received: dtype={array.dtype}")
    return [fingerprint64(v.encode()) for v in as_text(array).ravel().tolist()]
