"""Initializers: callables that make the first value of a weight, `initializer(shape, dtype=None)`.

A random initializer with an integer seed (or with none: one is drawn when it is created) returns the same
values at every call; give it a `random.SeedGenerator` to get different ones.
"""
import math
import random as python_random

import numpy as np

from . import _core
from .dtypes import standardize_dtype
from .saving.serialization import deserialize_keras_object, resolve, serialize_keras_object


class Initializer:
    """Base class: subclasses define `__call__(shape, dtype=None)` and, with arguments, `get_config()`."""

    def __call__(self, shape, dtype=None):
        raise NotImplementedError("Initializer subclasses must implement the `__call__()` method.")

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def clone(self):
        """A copy with the same config."""
        return type(self).from_config(self.get_config())


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape, dtype=None):
        return _full(shape, 0.0, dtype)


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape, dtype=None):
        return _full(shape, 1.0, dtype)


class Constant(Initializer):
    """One value everywhere, or an array that broadcasts to the shape.

    Args:
        value: number or array.
    """

    def __init__(self, value=0.0):
        self.value = value

    def __call__(self, shape, dtype=None):
        value = np.asarray(self.value)
        try:
            full = np.broadcast_to(value, tuple(shape))
        except ValueError as error:
            raise ValueError(
                f"[Constant] value must broadcast to the shape. Received: value.shape={value.shape}, "
                f"shape={tuple(shape)}"
            ) from error
        return _tensor(full, dtype)

    def get_config(self):
        return {"value": serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config):
        return cls(deserialize_keras_object(config.get("value", 0.0)))


class Identity(Initializer):
    """gain * identity matrix; only for rank 2.

    Args:
        gain: number.
    """

    def __init__(self, gain=1.0):
        self.gain = gain

    def __call__(self, shape, dtype=None):
        if len(shape) != 2:
            raise ValueError(f"[Identity] the shape must have rank 2. Received: shape={tuple(shape)}")
        return _tensor(self.gain * np.eye(*shape, dtype=np.float32), dtype)

    def get_config(self):
        return {"gain": self.gain}


class RandomInitializer(Initializer):
    """Base of the random initializers.

    Args:
        seed: int, `random.SeedGenerator`, or None for a seed drawn from Python's `random`, which
            `utils.set_random_seed` makes reproducible.
    """

    def __init__(self, seed=None):
        self._init_seed = seed
        if seed is None:
            seed = python_random.randint(1, 10**9)
        elif isinstance(seed, dict):
            seed = deserialize_keras_object(seed)
        elif not isinstance(seed, (int, np.integer)) and not hasattr(seed, "next"):
            raise ValueError(
                f"[{type(self).__name__}] seed must be an integer or a random.SeedGenerator. Received: seed={seed!r}"
            )
        self.seed = seed

    def get_config(self):
        return {"seed": serialize_keras_object(self._init_seed)}


class RandomNormal(RandomInitializer):
    """Normal distribution.

    Args:
        mean: number.
        stddev: number, positive.
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
    """

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        return _draw("normal", shape, self.mean, self.stddev, dtype, self.seed)

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomNormal):
    """Normal distribution; values more than two standard deviations from the mean are drawn again.

    Args:
        mean: number.
        stddev: number, positive.
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
    """

    def __call__(self, shape, dtype=None):
        return _draw("truncated_normal", shape, self.mean, self.stddev, dtype, self.seed)


class RandomUniform(RandomInitializer):
    """Uniform distribution over [minval, maxval).

    Args:
        minval: number.
        maxval: number.
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
    """

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        return _draw("uniform", shape, self.minval, self.maxval, dtype, self.seed)

    def get_config(self):
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


class VarianceScaling(RandomInitializer):
    """Random values of variance scale / n, where n counts the connections of one unit.

    Args:
        scale: positive float.
        mode: n is "fan_in" (inputs of a unit), "fan_out" (outputs) or "fan_avg" (their mean).
        distribution: "truncated_normal" (also "normal"), "untruncated_normal" or "uniform".
        seed: see `RandomInitializer`.
        input_axes, output_axes: the axes whose sizes multiply to fan_in and fan_out, when they are not the
            last two times the receptive field.

    Source: Glorot and Bengio 2010; He et al. 2015.
    """

    def __init__(
        self,
        scale=1.0,
        mode="fan_in",
        distribution="truncated_normal",
        seed=None,
        input_axes=None,
        output_axes=None,
    ):
        if scale <= 0.0:
            raise ValueError(f"[VarianceScaling] Argument `scale` must be positive float. Received: scale={scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(
                f"[VarianceScaling] Invalid `mode` argument: it must be 'fan_in', 'fan_out' or 'fan_avg'. Received: mode={mode!r}"
            )
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(
                "[VarianceScaling] Invalid `distribution` argument: it must be 'truncated_normal', "
                "'untruncated_normal' or 'uniform'. "
                f"Received: distribution={distribution!r}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return _draw("uniform", shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return _draw("normal", shape, 0.0, math.sqrt(variance), dtype, self.seed)
        # 0.8796... is the standard deviation of a unit normal truncated at two deviations.
        stddev = math.sqrt(variance) / 0.87962566103423978
        return _draw("truncated_normal", shape, 0.0, stddev, dtype, self.seed)

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _FixedScaling(VarianceScaling):
    """The named members of the family, which fix scale, mode and distribution."""

    _scaling = ()

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(*self._scaling, seed=seed, input_axes=input_axes, output_axes=output_axes)

    def get_config(self):
        return {
            "seed": serialize_keras_object(self._init_seed),
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class GlorotUniform(_FixedScaling):
    """Uniform over [-limit, limit), limit = sqrt(6 / (fan_in + fan_out)); also called Xavier.

    Args:
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
        input_axes: int or tuple; the axes that count as inputs. None: all but the last.
        output_axes: int or tuple; the axes that count as outputs. None: the last.
    """

    _scaling = (1.0, "fan_avg", "uniform")


class GlorotNormal(_FixedScaling):
    """Truncated normal of deviation sqrt(2 / (fan_in + fan_out)).

    Args:
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
        input_axes: int or tuple; the axes that count as inputs. None: all but the last.
        output_axes: int or tuple; the axes that count as outputs. None: the last.
    """

    _scaling = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_FixedScaling):
    """Uniform over [-limit, limit), limit = sqrt(6 / fan_in).

    Args:
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
        input_axes: int or tuple; the axes that count as inputs. None: all but the last.
        output_axes: int or tuple; the axes that count as outputs. None: the last.
    """

    _scaling = (2.0, "fan_in", "uniform")


class HeNormal(_FixedScaling):
    """Truncated normal of deviation sqrt(2 / fan_in).

    Args:
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
        input_axes: int or tuple; the axes that count as inputs. None: all but the last.
        output_axes: int or tuple; the axes that count as outputs. None: the last.
    """

    _scaling = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_FixedScaling):
    """Uniform over [-limit, limit), limit = sqrt(3 / fan_in).

    Args:
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
        input_axes: int or tuple; the axes that count as inputs. None: all but the last.
        output_axes: int or tuple; the axes that count as outputs. None: the last.
    """

    _scaling = (1.0, "fan_in", "uniform")


class LecunNormal(_FixedScaling):
    """Truncated normal of deviation sqrt(1 / fan_in).

    Args:
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.
        input_axes: int or tuple; the axes that count as inputs. None: all but the last.
        output_axes: int or tuple; the axes that count as outputs. None: the last.
    """

    _scaling = (1.0, "fan_in", "truncated_normal")


class Orthogonal(RandomInitializer):
    """gain * a random orthogonal matrix, uniform over all of them.

    A shape of rank above 2 is filled by a matrix of (product of the first sizes, last size). Rows are
    orthonormal when it is wide, columns when it is tall.

    Args:
        gain: number.
        seed: int, `SeedGenerator` or None; an int gives the same values at every call.

    Source: Saxe et al. 2014; the signs after the QR decomposition are Mezzadri's (2007).
    """

    def __init__(self, gain=1.0, seed=None):
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        if len(shape) < 2:
            raise ValueError(f"[Orthogonal] the shape must have rank >= 2. Received: shape={tuple(shape)}")
        rows, cols = math.prod(shape[:-1]), shape[-1]
        normal = np.asarray(_draw("normal", (max(rows, cols), min(rows, cols)), 0.0, 1.0, "float32", self.seed))
        q, r = np.linalg.qr(normal)
        q = q * np.sign(np.diag(r))
        if rows < cols:
            q = q.T
        return _tensor(self.gain * q.reshape(tuple(shape)), dtype)

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


class STFT(Initializer):
    """Kernel of a 1-D convolution that computes a short-time Fourier transform.

    kernel[t, 0, f] = window[t] / scale * cos or sin(-2 pi t f / n), n = 2 (fft_length - 1)

    Args:
        side: "real" (cosine) or "imag" (sine).
        window: None, an array of (frame_length,), or "hann", "hamming", "blackman" or "rectangular".
        scaling: "density" divides by sqrt(sum(window^2)), "spectrum" by sum(|window|), None by 1.
        periodic: the window is made for spectral analysis (as long as frame_length + 1, last value dropped).

    Called with the shape (frame_length, channels, fft_length); the same kernel serves every channel.
    """

    def __init__(self, side="real", window="hann", scaling="density", periodic=False):
        if side not in ("real", "imag"):
            raise ValueError(f"[STFT] side must be 'real' or 'imag'. Received: side={side!r}")
        if isinstance(window, str):
            _window(window, 1, False)
        if scaling not in (None, "density", "spectrum"):
            raise ValueError(
                f"[STFT] scaling must be None, 'density' or 'spectrum'. Received: scaling={scaling!r}"
            )
        self.side = side
        self.window = window
        self.scaling = scaling
        self.periodic = periodic

    def __call__(self, shape, dtype=None):
        frame_length, channels, fft_length = shape
        time = np.arange(frame_length).reshape(-1, 1, 1)
        frequency = np.arange(fft_length).reshape(1, 1, -1) / ((fft_length - 1) * 2)
        angle = -2 * np.pi * time * frequency
        kernel = np.cos(angle) if self.side == "real" else np.sin(angle)
        if self.window is not None:
            window = self.window
            if isinstance(window, str):
                window = _window(window, frame_length, self.periodic)
            window = np.asarray(window, np.float64)
            if window.shape != (frame_length,):
                raise ValueError(
                    f"[STFT] window must have shape ({frame_length},). Received: window.shape={window.shape}"
                )
            scale = 1.0
            if self.scaling == "density":
                scale = np.sqrt(np.sum(window**2))
            elif self.scaling == "spectrum":
                scale = np.sum(np.abs(window))
            kernel = kernel * (window / scale).reshape(-1, 1, 1)
        return _tensor(kernel, dtype)

    def get_config(self):
        return {
            "side": self.side,
            "window": serialize_keras_object(self.window),
            "periodic": self.periodic,
            "scaling": self.scaling,
        }


def _window(name, n, periodic):
    """Cosine-sum windows a0 - a1 cos(x) + a2 cos(2x); any other by SciPy, where it is installed."""
    coefficients = {
        "hann": (0.5, 0.5, 0.0),
        "hamming": (0.54, 0.46, 0.0),
        "blackman": (0.42, 0.5, 0.08),
        "rectangular": (1.0, 0.0, 0.0),
        "boxcar": (1.0, 0.0, 0.0),
    }
    if name not in coefficients:
        try:
            from scipy.signal import get_window

            return get_window(name, n, periodic)
        except (ImportError, ValueError) as error:
            raise ValueError(f"[STFT] window must be one of {sorted(coefficients)}, or a name that scipy.signal knows. "
                             f"Received: window={name!r}") from error
    if n == 1:
        return np.ones(1)
    x = 2 * np.pi * np.arange(n) / (n if periodic else n - 1)
    a0, a1, a2 = coefficients[name]
    return a0 - a1 * np.cos(x) + a2 * np.cos(2 * x)


def compute_fans(shape, input_axes=None, output_axes=None):
    """Return (fan_in, fan_out) of a weight: (kh, kw, ic, oc) has fan_in kh*kw*ic and fan_out kh*kw*oc.

    Args:
        shape: tuple of ints.
        input_axes: int or tuple; the axes that count as inputs. None: all but the last.
        output_axes: int or tuple; the axes that count as outputs. None: the last.
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return int(shape[0]), int(shape[0])
    field = math.prod(shape[:-2])
    return int(shape[-2] * field), int(shape[-1] * field)


def _draw(name, shape, a, b, dtype, seed):
    from . import random

    return getattr(random, name)(tuple(shape), a, b, dtype=standardize_dtype(dtype), seed=seed)


def _full(shape, value, dtype):
    return _core.full(tuple(shape), value, standardize_dtype(dtype))


def _tensor(array, dtype):
    from .tensor import convert_to_tensor

    return convert_to_tensor(array, dtype=standardize_dtype(dtype))


_CLASSES = (
    Constant, GlorotNormal, GlorotUniform, HeNormal, HeUniform, Identity, LecunNormal, LecunUniform, Ones,
    Orthogonal, RandomNormal, RandomUniform, STFT, TruncatedNormal, VarianceScaling, Zeros,
)  # fmt: skip
_OBJECTS = {cls.__name__: cls for cls in _CLASSES}
_OBJECTS.update(
    constant=Constant, glorot_normal=GlorotNormal, glorot_uniform=GlorotUniform, he_normal=HeNormal,
    he_uniform=HeUniform, identity=Identity, lecun_normal=LecunNormal, lecun_uniform=LecunUniform, ones=Ones,
    one=Ones, orthogonal=Orthogonal, random_normal=RandomNormal, normal=RandomNormal,
    random_uniform=RandomUniform, uniform=RandomUniform, stft=STFT, truncated_normal=TruncatedNormal,
    variance_scaling=VarianceScaling, zeros=Zeros, zero=Zeros, IdentityInitializer=Identity,
    OrthogonalInitializer=Orthogonal, STFTInitializer=STFT,
)  # fmt: skip
IdentityInitializer = Identity
OrthogonalInitializer = Orthogonal
STFTInitializer = STFT


# Keras shows each class under the lower-case name, too.
constant, identity, ones, zeros, orthogonal, stft = Constant, Identity, Ones, Zeros, Orthogonal, STFT
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, glorot_normal, glorot_uniform = VarianceScaling, GlorotNormal, GlorotUniform
he_normal, he_uniform, lecun_normal, lecun_uniform = HeNormal, HeUniform, LecunNormal, LecunUniform


def serialize(initializer):
    """Return the config of an initializer.

    Args:
        initializer: what is to be described.
    """
    return serialize_keras_object(initializer)


def deserialize(config, custom_objects=None):
    """Return the initializer of a config or a name.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return resolve(config, "initializer", _OBJECTS, custom_objects)


def get(identifier):
    """Return an initializer from a name, a config, a class, an array (used as the value) or a callable.

    Args:
        identifier: any of the above.

    Raises:
        ValueError: the identifier is none of these.
    """
    if hasattr(identifier, "__array__") and not callable(identifier):
        return _from_array(identifier)
    return resolve(identifier, "initializer", _OBJECTS)


def _from_array(array):
    def initialize(shape, dtype=None):
        if tuple(shape) != tuple(array.shape):
            raise ValueError(
                f"[initializer] Expected `shape` to be that of the given array, {tuple(array.shape)}. "
                f"Received: shape={tuple(shape)}"
            )
        return _tensor(np.asarray(array), dtype)

    return initialize
