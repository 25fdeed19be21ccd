"""Random numbers: the functions of keras.random.

Numbers come from a counter (Philox4x32-10): what is drawn depends on the seed, on how many draws a
generator made before, and on the position in the result; not on the number of threads.
"""

import numbers
import random as python_random

import numpy as np

from . import _core, dtypes
from ._core import Tensor, record
from .dtypes import FLOAT_DTYPES
from .symbolic import op
from .tensor import Variable, as_tensor, from_numpy, to_numpy

__all__ = [
    "SeedGenerator", "beta", "binomial", "categorical", "dropout", "gamma", "normal", "randint", "shuffle",
    "truncated_normal", "uniform",
]  # fmt: skip


class SeedGenerator:
    """A source of seeds: every draw with it as ``seed`` gives other numbers, and starting again gives the same.

    Args:
        seed: int; by default one drawn from Python's ``random``, which ``utils.set_random_seed`` makes reproducible.
        name: string.

    Attributes:
        state: variable of two uint32: the seed, and the number of draws so far.

    Raises:
        ValueError: seed is not an integer or negative.
    """

    def __init__(self, seed=None, name=None, **kwargs):
        from .utils.naming import auto_name

        if kwargs:
            raise ValueError(f"[SeedGenerator] Unrecognized keyword arguments: {kwargs}")
        if seed is None:
            seed = python_random.randint(1, 10**9)
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            raise ValueError(f"[SeedGenerator] seed must be an integer. Received: seed={seed!r}")
        seed = seed.__index__()
        if not 0 <= seed < 2**64:
            raise ValueError(f"[SeedGenerator] seed must be in [0, 2**64). Received: seed={seed}")
        self._initial_seed = seed
        self.name = name or auto_name("seed_generator")
        # a seed beyond 32 bits starts the count elsewhere
        state = np.array([seed & 0xFFFFFFFF, seed >> 32], "uint32")
        self.state = Variable(state, dtype="uint32", trainable=False, name="seed_generator_state")
        self.state.path = f"{self.name}/seed_generator_state"

    @property
    def backend(self):
        """The string "fastnn"."""
        return "fastnn"

    def next(self, ordered=True):
        """The key of the next draw, a (2,) uint32 tensor; advances the state."""
        return _core.random_key(self.state.mutable())

    def get_config(self):
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"<SeedGenerator seed={self._initial_seed}, name={self.name}>"


_global = None


def global_seed_generator():
    """The generator behind ``seed=None``."""
    global _global
    if _global is None:
        _global = SeedGenerator(name="global_seed_generator")
    return _global


def set_global_seed(seed):
    """Start the generator behind ``seed=None`` again, from ``seed``.

    Args:
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    global _global
    _global = SeedGenerator(seed, name="global_seed_generator")
    _core.changed()


def draw_key(seed):
    """The key of a draw: that of an integer, always the same, or the next one of a generator.

    Args:
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.

    Raises:
        ValueError: seed is none of int, SeedGenerator, None.
    """
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if seed is None:
        return global_seed_generator().next()
    if isinstance(seed, (Tensor, Variable, np.ndarray)) and seed.ndim == 1:
        seed = as_tensor(seed)
        if seed.shape == (2,) and seed.dtype == "uint32":
            return seed
    if not isinstance(seed, (bool, float)) and hasattr(seed, "__index__"):
        seed = seed.__index__() % 2**64
        return from_numpy(np.array([seed & 0xFFFFFFFF, seed >> 32], "uint32"))
    raise ValueError("[random] seed must be an integer or an instance of fastnn.random.SeedGenerator. "
                     f"Received: seed={seed!r} (of type {type(seed).__name__})")


def generator(seed):
    """A NumPy generator that continues from the key of one draw, for distributions without a kernel.

    Args:
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    key = to_numpy(draw_key(seed)).astype("uint64")
    return np.random.Generator(np.random.Philox(key=key))


def _shape(name, shape):
    from .ops.array import integers

    shape = integers(name, "shape", shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"[random.{name}] sizes must not be negative. Received: shape={shape}")
    return shape


def _float(name, dtype):
    dtype = dtypes.standardize_dtype(dtype)
    if dtype not in FLOAT_DTYPES:
        raise ValueError(f"[random.{name}] requires a floating point dtype. Received: dtype={dtype}")
    return dtype


def _number(x):
    return x if isinstance(x, (int, float)) and not isinstance(x, bool) else None


def _draw(kernel, name, shape, a, b, dtype, seed):
    """A kernel's numbers under Python numbers a, b; as ``a + b * numbers`` when these are tensors."""
    dtype = _float(name, dtype)
    shape = _shape(name, shape)
    key = draw_key(seed)
    if _number(a) is not None and _number(b) is not None:
        y = kernel(key, shape, a, b)
    else:
        from .ops import add, multiply, subtract

        scale = subtract(b, a) if name == "uniform" else b
        y = add(multiply(kernel(key, shape, 0.0, 1.0), as_tensor(scale, "float32")), as_tensor(a, "float32"))
    return y if dtype == "float32" else _core.cast(y, dtype)


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Numbers evenly distributed in [minval, maxval).

    Args:
        shape: tuple of int.
        minval, maxval: numbers or tensors.
        dtype: a float dtype, floatx by default.
        seed: int: the same numbers at every call; SeedGenerator: the next ones; None: a global generator.
    """
    return _draw(_core.random_uniform, "uniform", shape, minval, maxval, dtype, seed)


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normally distributed numbers. Arguments as for ``uniform``.

    Args:
        shape: tuple or list of ints.
        mean: number.
        stddev: number.
        dtype: string; dtype of floats, floatx by default.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    return _draw(_core.random_normal, "normal", shape, mean, stddev, dtype, seed)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normally distributed numbers of which those beyond two standard deviations are left out.

    Args:
        shape: tuple or list of ints.
        mean: number.
        stddev: number.
        dtype: string; dtype of floats, floatx by default.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    return _draw(_core.random_truncated_normal, "truncated_normal", shape, mean, stddev, dtype, seed)


def randint(shape, minval, maxval, dtype="int32", seed=None):
    """Whole numbers evenly distributed in [minval, maxval).

    Args:
        shape: tuple or list of ints.
        minval: int.
        maxval: int.
        dtype: string; an integer dtype.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.

    Raises:
        ValueError: the range is empty, or dtype is not an integer type.
    """
    dtype = dtypes.standardize_dtype(dtype)
    if not dtypes.is_int(dtype):
        raise ValueError(f"[random.randint] requires an integer dtype. Received: dtype={dtype}")
    shape = _shape("randint", shape)
    low, high = int(minval), int(maxval)
    if low >= high:
        raise ValueError(f"[random.randint] minval must be below maxval. Received: minval={minval}, maxval={maxval}")
    bounds = np.iinfo(dtype)
    if low < bounds.min or high - 1 > bounds.max:
        raise ValueError(f"[random.randint] the range must fit {dtype}. Received: minval={minval}, maxval={maxval}")
    if -(2**31) <= low and high <= 2**31:
        y = _core.random_integers(draw_key(seed), shape, low, high)
        return y if dtype == "int32" else _core.cast(y, dtype)
    return from_numpy(generator(seed).integers(low, high, shape, dtype))


@op
def dropout(inputs, rate, noise_shape=None, seed=None):
    """``inputs`` with elements set to zero with probability ``rate``, the others divided by 1 - rate.

    Args:
        noise_shape: shape that broadcasts to that of ``inputs``: elements that share an entry are dropped
            together. None in it stands for the size of ``inputs``.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    x = as_tensor(inputs)
    if isinstance(rate, bool) or not isinstance(rate, numbers.Real) or not 0 <= rate <= 1:
        raise ValueError(f"[dropout] rate must be a number in [0, 1]. Received: rate={rate!r}")
    if x.dtype not in FLOAT_DTYPES:
        raise TypeError(f"[dropout] inputs must be floating point. Received: dtype={x.dtype}")
    from .ops import multiply, zeros_like

    if rate == 1:
        return multiply(zeros_like(x), 1.0) if x.node is None else record(
            zeros_like(x), (x,), lambda gy: (zeros_like(gy),))
    if x.device == "meta":
        if noise_shape is not None:
            _noise_shape(noise_shape, x.shape)
        return x.alias()
    key = draw_key(seed)
    shape = x.shape if noise_shape is None else _noise_shape(noise_shape, x.shape)
    if shape == x.shape and x.dtype == "float32":
        return _dropout(x, key, rate)
    mask = _core.dropout(key, _core.full(shape, 1.0, "float32"), rate)
    return multiply(x, mask if x.dtype == "float32" else _core.cast(mask, x.dtype))


def _dropout(x, key, rate):
    # the mask is drawn again from the key, not kept
    y = _core.dropout(key, x, rate)
    return record(y, (x,), lambda gy: (_dropout(gy, key, rate),))


def _noise_shape(noise_shape, shape):
    if len(noise_shape) != len(shape):
        raise ValueError("[dropout] noise_shape must have one entry for each axis of inputs. "
                         f"Received: noise_shape={noise_shape}, inputs.shape={shape}")
    result = tuple(n if m is None else int(m) for m, n in zip(noise_shape, shape))
    if any(m not in (1, n) for m, n in zip(result, shape)):
        raise ValueError("[dropout] noise_shape must broadcast to the shape of inputs. "
                         f"Received: noise_shape={noise_shape}, inputs.shape={shape}")
    return result


@op
def shuffle(x, axis=0, seed=None):
    """``x`` with its slices along ``axis`` in random order.

    Args:
        x: tensor.
        axis: int.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    from .ops import take
    from .ops.array import axis_index

    x = as_tensor(x)
    axis = axis_index("shuffle", axis, x.ndim)
    if x.device == "meta":
        return x.alias()
    return take(x, generator(seed).permutation(x.shape[axis]), axis)


def categorical(logits, num_samples, dtype="int32", seed=None):
    """Classes drawn with the probabilities softmax(logits).

    Args:
        logits: (rows, classes).
        num_samples: draws for each row.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.

    Returns:
        (rows, num_samples) integers.
    """
    x = as_tensor(logits)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"[random.categorical] logits must be (rows, classes). Received: shape={x.shape}")
    dtype = dtypes.standardize_dtype(dtype)
    rows, classes = x.shape
    (count,) = _shape("categorical", num_samples)
    # inverse of the cumulative distribution
    p = to_numpy(x).astype("float64")
    with np.errstate(all="ignore"):
        p = np.cumsum(np.exp(p - p.max(1, keepdims=True)), 1)
    u = to_numpy(_core.random_uniform(draw_key(seed), (rows, count), 0.0, 1.0)).astype("float64")
    y = np.empty((rows, count), "int64")
    for r in range(rows):
        y[r] = np.searchsorted(p[r], u[r] * p[r, -1], "right")
    return _core.cast(from_numpy(np.minimum(y, classes - 1)), dtype)


def _numpy_draw(name, f, shape, dtype, *parameters):
    dtype = _float(name, dtype)
    values = [to_numpy(as_tensor(p)).astype("float64") for p in parameters]
    with np.errstate(all="ignore"):
        y = f(*values, _shape(name, shape))
    return _core.cast(from_numpy(np.asarray(y, "float64")), dtype)


def gamma(shape, alpha, dtype=None, seed=None):
    """Numbers of the gamma distribution of shape parameter ``alpha`` (number or tensor) and scale 1.

    Args:
        shape: tuple or list of ints.
        alpha: number or tensor, positive.
        dtype: string; dtype of floats, floatx by default.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    return _numpy_draw("gamma", lambda a, s: generator(seed).gamma(a, size=s), shape, dtype, alpha)


def beta(shape, alpha, beta, dtype=None, seed=None):
    """Numbers of the beta distribution.

    Args:
        shape: tuple or list of ints.
        alpha: number or tensor, positive.
        beta: number or tensor, positive.
        dtype: string; dtype of floats, floatx by default.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    return _numpy_draw("beta", lambda a, b, s: generator(seed).beta(a, b, s), shape, dtype, alpha, beta)


def binomial(shape, counts, probabilities, dtype=None, seed=None):
    """Numbers of successes in ``counts`` trials that succeed with ``probabilities``.

    Args:
        shape: tuple or list of ints.
        counts: number or tensor, not negative.
        probabilities: number or tensor in [0, 1].
        dtype: string; dtype of floats, floatx by default.
        seed: int, `SeedGenerator`, or None for the generator that `utils.set_random_seed` sets.
    """
    return _numpy_draw("binomial", lambda n, p, s: generator(seed).binomial(n.astype("int64"), p, s), shape, dtype,
                       counts, probabilities)
