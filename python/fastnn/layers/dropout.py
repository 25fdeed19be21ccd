"""Layers that add noise during training and do nothing otherwise."""
import math
import numbers

from .. import ops, random
from ..ops.window import is_channels_first
from .input_spec import InputSpec
from .layer import Layer


def _rate(kind, rate, below_one=False):
    if isinstance(rate, bool) or not isinstance(rate, numbers.Real) or not 0 <= rate <= 1 or (below_one and rate == 1):
        raise ValueError(f"[{kind}] Invalid value received for argument `rate`. Expected a float value between 0 and 1, in "
                         f"[0, 1{')' if below_one else ']'}. Received: rate={rate!r}")
    return rate if isinstance(rate, (int, float)) else float(rate)


class _Noise(Layer):
    """Base: keeps a seed generator where there is noise to draw."""

    def _prepare(self, seed, active):
        self.seed = seed
        if active:
            self.seed_generator = seed if isinstance(seed, random.SeedGenerator) else random.SeedGenerator(seed)
        self.supports_masking = True


class Dropout(_Noise):
    """Sets elements to zero with probability `rate` during training and divides the others by 1 - rate.

    Args:
        rate: number in [0, 1].
        noise_shape: shape that broadcasts to the input's: elements that share an entry are dropped together;
            None in it stands for the size of the input.
        seed: int; by default drawn.
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = _rate("Dropout", rate)
        if noise_shape is not None:
            wrong = None
            if not isinstance(noise_shape, (list, tuple)):
                wrong = "a tuple or list of integers"
            elif any(n is not None and (isinstance(n, bool) or not hasattr(n, "__index__")) for n in noise_shape):
                wrong = "all elements to be integers or None"
            elif any(n is not None and n < 1 for n in noise_shape):
                wrong = "all dimensions to be positive integers or None"
            if wrong:
                raise ValueError(f"[Dropout] Invalid value received for argument `noise_shape`. Expected {wrong}. "
                                 f"Received: noise_shape={noise_shape!r}")
            noise_shape = tuple(noise_shape)
        self.noise_shape = noise_shape
        self._prepare(seed, rate > 0)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        return random.dropout(inputs, self.rate, self.noise_shape, self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed, "noise_shape": self.noise_shape}


class _SpatialDropout(_Noise):
    """Base of the dropouts that drop whole channels."""

    _ndim = None

    def __init__(self, rate, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(name=name, dtype=dtype, **kwargs)
        self.rate = _rate(type(self).__name__, rate)
        self._prepare(seed, rate > 0)
        self.input_spec = InputSpec(ndim=self._ndim)

    def _noise_shape(self, shape):
        return (shape[0], *(1,) * (len(shape) - 2), shape[-1])

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        return random.dropout(inputs, self.rate, self._noise_shape(inputs.shape), self.seed_generator)

    def get_config(self):
        config = super().get_config()
        del config["trainable"]  # Keras's does not take it
        return {**config, "rate": self.rate, "seed": self.seed}


class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole channels of (n, steps, c).

    Args:
        rate: number in [0, 1].
        seed: int; by default drawn.
    """

    _ndim = 3


class _ChannelsDropout(_SpatialDropout):
    def __init__(self, rate, data_format=None, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        first = is_channels_first(data_format, type(self).__name__)
        self.data_format = "channels_first" if first else "channels_last"

    def _noise_shape(self, shape):
        if self.data_format == "channels_first":
            return (*shape[:2], *(1,) * (len(shape) - 2))
        return super()._noise_shape(shape)

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


class SpatialDropout2D(_ChannelsDropout):
    """Dropout of whole channels of (n, h, w, c).

    Args:
        rate: number in [0, 1].
        data_format: "channels_last", "channels_first" (n, c, h, w), or None, the global setting.
        seed: int; by default drawn.
    """

    _ndim = 4


class SpatialDropout3D(_ChannelsDropout):
    """Dropout of whole channels of (n, d, h, w, c). Arguments as for `SpatialDropout2D`.

    Args:
        rate: number in [0, 1]; the share of channels that become 0.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
        name: string or None.
        dtype: string or None; floatx by default.
    """

    _ndim = 5


class GaussianNoise(_Noise):
    """Adds normal noise of mean 0 during training.

    Args:
        stddev: number, at least 0.
        seed: int; by default drawn.
    """

    def __init__(self, stddev, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(stddev, numbers.Real) or not stddev >= 0:
            raise ValueError("[GaussianNoise] Invalid value received for argument `stddev`. Expected a number that is not "
                             f"negative. Received: stddev={stddev!r}")
        self.stddev = stddev
        self._prepare(seed, stddev > 0)

    def call(self, inputs, training=False):
        if not training or self.stddev == 0:
            return inputs
        noise = random.normal(inputs.shape, 0.0, self.stddev, dtype=self.compute_dtype, seed=self.seed_generator)
        return ops.add(inputs, noise)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


class GaussianDropout(_Noise):
    """Multiplies by normal noise of mean 1 and variance rate / (1 - rate) during training.

    Args:
        rate: number in [0, 1).
        seed: int; by default drawn.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = _rate("GaussianDropout", rate, below_one=True)
        self._prepare(seed, rate > 0)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        stddev = math.sqrt(self.rate / (1 - self.rate))
        noise = random.normal(inputs.shape, 1.0, stddev, dtype=self.compute_dtype, seed=self.seed_generator)
        return ops.multiply(inputs, noise)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


# The value that SELU tends to, -scale alpha.
_ALPHA_P = -1.6732632423543772 * 1.0507009873554805


class AlphaDropout(_Noise):
    """Sets elements to SELU's lower bound with probability `rate` during training, and rescales so that mean and
    variance of standard normal inputs stay.

    Args:
        rate: number in [0, 1].
        noise_shape: shape that broadcasts to the input's, see `Dropout`.
        seed: int; by default drawn.
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate = _rate("AlphaDropout", rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self._prepare(seed, rate > 0)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        shape = inputs.shape
        if self.noise_shape is not None:
            shape = tuple(n if m is None else m for m, n in zip(self.noise_shape, shape))
        kept = ops.greater_equal(random.uniform(shape, seed=self.seed_generator), self.rate)
        if self.rate == 1:
            return ops.zeros_like(inputs)
        a = ((1 - self.rate) * (1 + self.rate * _ALPHA_P**2)) ** -0.5
        b = -a * _ALPHA_P * self.rate
        return ops.add(ops.multiply(ops.where(kept, inputs, _ALPHA_P), a), b)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed, "noise_shape": self.noise_shape}
