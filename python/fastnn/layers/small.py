"""Small layers: the input itself, scaled, normalized by known statistics, or only penalized."""
import math

import numpy as np

from .. import config, ops, regularizers
from .._core import Tensor
from ..tensor import from_numpy, to_numpy
from .layer import Layer


class Identity(Layer):
    """The input, whatever its shape."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs


class ActivityRegularization(Layer):
    """The input, whose elements are penalized by l1 |x| + l2 x^2.

    Args:
        l1, l2: numbers, at least 0.
    """

    def __init__(self, l1=0.0, l2=0.0, **kwargs):
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.supports_masking = True
        self.l1 = l1
        self.l2 = l2

    def call(self, inputs):
        return inputs

    def get_config(self):
        config = super().get_config()
        config.pop("activity_regularizer", None)
        return {**config, "l1": self.l1, "l2": self.l2}


def _numbers(kind, name, value):
    """A number, or a nest of numbers as an array, checked."""
    if isinstance(value, Tensor):
        value = to_numpy(value)
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"[{kind}] {name} must be a number or an array of numbers. Received: {name}={value!r}")
    return array


def _plain(value):
    """A config's value: numbers and lists of them."""
    return value if value is None else np.asarray(value).tolist()


class Rescaling(Layer):
    """inputs * scale + offset, in the compute dtype.

    Args:
        scale, offset: numbers, or arrays that broadcast to the input.
    """

    def __init__(self, scale, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset
        self._factors = [_numbers("Rescaling", name, v) for name, v in (("scale", scale), ("offset", offset))]
        self.supports_masking = True

    def call(self, inputs):
        x = ops.cast(inputs, self.compute_dtype)
        scale, offset = (ops.cast(from_numpy(v), self.compute_dtype) for v in self._factors)
        return ops.add(ops.multiply(x, scale), offset)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "scale": _plain(self.scale), "offset": _plain(self.offset)}


class Normalization(Layer):
    """(inputs - mean) / sqrt(variance), with statistics that are given or measured by ``adapt``.

    Args:
        axis: int, tuple of int, or None: the axes along which every position has statistics of its own. None
            has one mean and one variance for all.
        mean, variance: numbers or arrays, both or none.
        invert: compute inputs * sqrt(variance) + mean.

    Weights:
        mean, variance: (sizes of ``axis``), and count, (); none when mean and variance are given.

    Raises:
        ValueError: one of mean and variance is missing, their shapes differ, or an axis does not fit the input.
    """

    def __init__(self, axis=-1, mean=None, variance=None, invert=False, **kwargs):
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis.__index__(),) if hasattr(axis, "__index__") else tuple(axis)
        self.input_mean = mean
        self.input_variance = variance
        self.invert = invert
        self.supports_masking = True
        if (mean is None) != (variance is None):
            raise ValueError("[Normalization] both `mean` and `variance` must be set, or none. "
                             f"Received: mean={mean}, variance={variance}")
        if mean is not None:
            mean, variance = _numbers("Normalization", "mean", mean), _numbers("Normalization", "variance", variance)
            if mean.shape != variance.shape:
                raise ValueError("[Normalization] mean and variance must have the same shape. "
                                 f"Received: mean.shape={mean.shape}, variance.shape={variance.shape}")
            if mean.ndim > len(self.axis):
                raise ValueError("[Normalization] mean must have at most as many dimensions as there are axes. "
                                 f"Received: mean.shape={mean.shape}, axis={self.axis}")

    def build(self, input_shape):
        ndim = len(input_shape)
        if any(not -ndim <= a < ndim for a in self.axis):
            raise ValueError(f"[Normalization] All `axis` values must be in the range [-{ndim}, {ndim}). "
                             f"Received: axis={self.axis}, input_shape={tuple(input_shape)}")
        self._keep = tuple(sorted(a % ndim for a in self.axis))
        if any(input_shape[a] is None for a in self._keep):
            raise ValueError("[Normalization] All `axis` values to be kept must have a known size. "
                             f"Received: axis={self.axis}, input_shape={tuple(input_shape)}")
        self._reduce = tuple(a for a in range(ndim) if a not in self._keep)
        self._sizes = tuple(input_shape[a] for a in self._keep)
        self._broadcast = tuple(input_shape[a] if a in self._keep else 1 for a in range(ndim))
        if self.input_mean is None:
            self.adapt_mean = self.add_weight(self._sizes, "zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(self._sizes, "ones", trainable=False, name="variance")
            # Not read: files of Keras have it.
            self.count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")
        else:
            self._given = [self._given_value("mean", self.input_mean),
                           self._given_value("variance", self.input_variance)]

    @property
    def mean(self):
        """The mean, in a shape that broadcasts to the input's; None before the layer is built."""
        return self._statistic(0)

    @property
    def variance(self):
        """The variance, as `mean`."""
        return self._statistic(1)

    def _statistic(self, i):
        if not self.built:
            return None
        if self.input_mean is not None:
            return from_numpy(self._given[i])
        return ops.reshape((self.adapt_mean, self.adapt_variance)[i], self._broadcast)

    def _given_value(self, name, value):
        value = _numbers("Normalization", name, value)
        try:
            return np.broadcast_to(value, self._sizes).reshape(self._broadcast).astype("float32")
        except ValueError:
            raise ValueError(f"[Normalization] {name} must broadcast to the sizes of axis, {self._sizes}. "
                             f"Received: {name}.shape={value.shape}") from None

    def adapt(self, data):
        """Measure mean and variance.

        Args:
            data: an array or tensor, or a PyDataset, list or generator of batches; of a batch (x, y), x counts.

        Raises:
            ValueError: there is no batch, or the sizes along ``axis`` differ from those of earlier data.
        """
        if self.input_mean is not None:
            raise ValueError("[Normalization.adapt] the layer must have no statistics of its own. "
                             f"Received: mean={self.input_mean}")
        count, mean, variance = 0, 0.0, 0.0
        for batch in [data] if isinstance(data, (np.ndarray, Tensor)) else _batches(data):
            batch = batch[0] if isinstance(batch, (tuple, list)) else batch
            if not hasattr(batch, "shape"):
                raise TypeError("[Normalization.adapt] batches must be arrays, with a `.shape`. "
                                f"Received: a {type(batch).__name__}")
            batch = to_numpy(batch) if isinstance(batch, Tensor) else np.asarray(batch)
            if not self.built:
                self.build(batch.shape)
                self.built = True
            sizes = tuple(batch.shape[a] for a in self._keep) if batch.ndim == len(self._broadcast) else None
            if sizes != self._sizes:
                raise ValueError(f"[Normalization.adapt] data has an incompatible shape: the sizes along axis={self.axis} must be {self._sizes}. "
                                 f"Received: data.shape={batch.shape}")
            rows = math.prod(batch.shape[a] for a in self._reduce)
            if rows == 0:
                continue
            # Chan's update of mean and variance
            batch = batch.astype("float64")
            batch_mean, batch_variance = batch.mean(self._reduce), batch.var(self._reduce)
            count += rows
            share = rows / count
            shift = batch_mean - mean
            mean = mean + shift * share
            variance = (1 - share) * variance + share * batch_variance + share * (1 - share) * shift**2
        if count == 0:
            raise ValueError("[Normalization.adapt] data must have at least one row, not be an empty iterable. Received: none")
        self.adapt_mean.assign(np.asarray(mean, "float32"))
        self.adapt_variance.assign(np.asarray(variance, "float32"))

    def call(self, inputs):
        x = ops.cast(inputs, self.compute_dtype)
        if self.input_mean is None:
            mean, variance = (ops.reshape(w, self._broadcast) for w in (self.adapt_mean, self.adapt_variance))
        else:
            mean, variance = (from_numpy(v) for v in self._given)
        mean = ops.cast(mean, self.compute_dtype)
        # A constant feature has variance 0.
        deviation = ops.maximum(ops.sqrt(ops.cast(variance, self.compute_dtype)), config.epsilon())
        if self.invert:
            return ops.add(mean, ops.multiply(x, deviation))
        return ops.divide(ops.subtract(x, mean), deviation)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "axis": self.axis, "invert": self.invert,
                "mean": _plain(self.input_mean), "variance": _plain(self.input_variance)}


def _batches(data):
    steps = getattr(data, "num_batches", None)
    return (data[i] for i in range(steps)) if steps is not None else data
