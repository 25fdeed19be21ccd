"""Fourier transforms. A complex tensor is a pair of its real and imaginary part; NumPy computes them."""

import numpy as np

from .. import dtypes
from .._core import record
from ..symbolic import op
from ..tensor import as_tensor, from_numpy
from .array import flip, moveaxis
from .creation import zeros_like
from .elementwise import add, divide, greater, multiply, negative, square, where
from .indexing import take
from .joining import concatenate
from .numpy_op import float_dtype, numpy_op
from .reduction import _reshape
from .reduction import sum as sum_
from .repetition import pad, tile


def _pair(name, x):
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"[{name}] Input `x` should be a tuple of two tensors - real and imaginary. Received: x={x!r}")
    real, imag = as_tensor(x[0]), as_tensor(x[1])
    if real.shape != imag.shape:
        raise ValueError(f"[{name}] Both the real and imaginary parts should have the same shape. "
                         f"Received: x[0].shape = {real.shape}, x[1].shape = {imag.shape}")
    if real.dtype not in dtypes.FLOAT_DTYPES or imag.dtype not in dtypes.FLOAT_DTYPES:
        raise ValueError(f"[{name}] both tensors in input `x` must be of type float. Received: {real.dtype}, {imag.dtype}")
    return real, imag


def _transform(real, imag, axes, inverse):
    """The discrete transform without a factor; its adjoint is the one in the other direction."""
    def f(a, b):
        z = a.astype("float64") + 1j * b
        if inverse:
            z = np.fft.ifftn(z, axes=axes, norm="forward")
        else:
            z = np.fft.fftn(z, axes=axes)
        return z.real, z.imag

    y = numpy_op(f, real, imag, dtype=real.dtype)

    def vjp(gr, gi):
        gr = zeros_like(real) if gr is None else gr
        gi = zeros_like(real) if gi is None else gi
        return _transform(gr, gi, axes, not inverse)

    return record(y, (real, imag), vjp)


def _axes(name, x, n):
    if x.ndim < n:
        raise ValueError(f"[{name}] x must have at least {n} axes. Received: shape={x.shape}")
    return tuple(range(-n, 0))


@op
def fft(x):
    """The discrete Fourier transform along the last axis.

    Args:
        x: (real part, imaginary part), float tensors of one shape.

    Returns:
        (real part, imaginary part)
    """
    real, imag = _pair("fft", x)
    return _transform(real, imag, _axes("fft", real, 1), False)


@op
def fft2(x):
    """The discrete Fourier transform along the last two axes of (real part, imaginary part).

    Args:
        x: (real part, imaginary part), two tensors (..., m, n).
    """
    real, imag = _pair("fft2", x)
    return _transform(real, imag, _axes("fft2", real, 2), False)


@op
def ifft2(x):
    """The inverse of ``fft2``.

    Args:
        x: (real part, imaginary part), two tensors (..., m, n).
    """
    real, imag = _pair("ifft2", x)
    y = _transform(real, imag, _axes("ifft2", real, 2), True)
    n = real.shape[-1] * real.shape[-2]
    return tuple(multiply(v, 1 / n) for v in y)


def _to_length(x, n):
    """x with its last axis cut, or filled with zeros, to n."""
    size = x.shape[-1]
    if size > n:
        return x[..., :n]
    return pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n - size)]) if size < n else x


@op
def rfft(x, fft_length=None):
    """The first fft_length // 2 + 1 values of the discrete Fourier transform of real numbers along the last axis.

    Args:
        x: (..., n). fft_length: int; x is cut or filled with zeros to it. n by default.

    Returns:
        (real part, imaginary part)
    """
    x = as_tensor(x)
    x = as_tensor(x, float_dtype(x.dtype))
    x = x if fft_length is None else _to_length(x, fft_length)
    y = _transform(x, zeros_like(x), _axes("rfft", x, 1), False)
    return tuple(v[..., : x.shape[-1] // 2 + 1] for v in y)


@op
def irfft(x, fft_length=None):
    """The real numbers whose ``rfft`` is x: (..., fft_length), by default 2 (n - 1) for n values.

    Args:
        x: (real part, imaginary part), two tensors (..., n).
        fft_length: int or None.
    """
    real, imag = _pair("irfft", x)
    n = 2 * (real.shape[-1] - 1) if fft_length is None else fft_length
    half = n // 2 + 1
    real, imag = _to_length(real, half), _to_length(imag, half)
    rest = n - half  # the values that are conjugates of the second to the last
    if rest:
        back = flip(real[..., 1:1 + rest], -1), negative(flip(imag[..., 1:1 + rest], -1))
        real, imag = concatenate([real, back[0]], -1), concatenate([imag, back[1]], -1)
    # The first and the middle value have no imaginary part that counts: they give none to the real result.
    return multiply(_transform(real, imag, (-1,), True)[0], 1 / n)


@op
def extract_sequences(x, sequence_length, sequence_stride):
    """All runs of ``sequence_length`` values of the last axis, ``sequence_stride`` apart: (..., runs, sequence_length).

    Args:
        x: tensor (..., n).
        sequence_length: int.
        sequence_stride: int.
    """
    x = as_tensor(x)
    _check_stride("extract_sequences", sequence_stride)
    if x.ndim < 1:
        raise ValueError(f"[extract_sequences] Input should have rank >= 1. Received: x.shape={x.shape}")
    count = (x.shape[-1] - sequence_length) // sequence_stride + 1
    if sequence_length < 1 or count < 1:
        raise ValueError("[extract_sequences] sequence_length must be from 1 to the last axis of x. "
                         f"Received: sequence_length={sequence_length}, x.shape={x.shape}")
    index = np.arange(count)[:, None] * sequence_stride + np.arange(sequence_length)
    return take(x, index.astype("int32"), axis=-1)


def _check_stride(name, stride):
    if isinstance(stride, bool) or not hasattr(stride, "__index__") or stride < 1:
        raise ValueError(f"[{name}] `sequence_stride` must be a positive integer. Received: sequence_stride={stride}")


def _window(name, window, sequence_length, fft_length, dtype):
    """The window in the middle of fft_length values."""
    if fft_length < sequence_length:
        raise ValueError(f"[{name}] `fft_length` must equal or larger than `sequence_length`. Received: "
                         f"sequence_length={sequence_length}, fft_length={fft_length}")
    before = (fft_length - sequence_length) // 2
    after = fft_length - sequence_length - before
    if window is None:
        return from_numpy(np.ones(fft_length, dtype))
    if isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ValueError(f'[{name}] If a string is passed to `window`, it must be one of `"hann"`, `"hamming"`. '
                             f"Received: window={window}")
        a = 0.5 if window == "hann" else 0.54
        window = a - (1 - a) * np.cos(2 * np.pi * np.arange(sequence_length) / sequence_length)  # periodic
    window = as_tensor(window, dtype)
    if window.shape != (sequence_length,):
        raise ValueError(f"[{name}] The shape of `window` must be equal to [sequence_length]. Received: shape {window.shape}")
    return pad(window, [(before, after)])


@op
def stft(x, sequence_length, sequence_stride, fft_length, window="hann", center=True):
    """The Fourier transforms of windows of a signal.

    Args:
        x: (..., n) float32 or float64.
        sequence_length: of a window. sequence_stride: their distance.
        fft_length: of the transforms, at least sequence_length.
        window: "hann", "hamming", weights (sequence_length,) or None.
        center: windows are centred at multiples of the stride; the signal is mirrored at its ends.

    Returns:
        (real part, imaginary part), each (..., windows, fft_length // 2 + 1).
    """
    x = as_tensor(x)
    if x.dtype not in ("float32", "float64"):
        raise TypeError(f"[stft] Invalid input type. Expected `float32` or `float64`. Received: input type={x.dtype}")
    _check_stride("stft", sequence_stride)
    weights = _window("stft", window, sequence_length, fft_length, x.dtype)
    if center:
        x = pad(x, [(0, 0)] * (x.ndim - 1) + [(fft_length // 2, fft_length // 2)], mode="reflect")
    return rfft(multiply(extract_sequences(x, fft_length, sequence_stride), weights))


def _overlap_add(frames, stride):
    """(..., count, size) added up at distances of stride: (..., stride * (count - 1) + size)."""
    *lead, count, size = frames.shape
    parts = -(-size // stride)
    frames = pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, parts * stride - size)])
    pieces = moveaxis(_reshape(frames, (*lead, count, parts, stride)), -2, 0)
    total = None
    for i in range(parts):
        part = pad(pieces[i], [(0, 0)] * len(lead) + [(i, parts - 1 - i), (0, 0)])
        total = part if total is None else add(total, part)
    return _reshape(total, (*lead, (count + parts - 1) * stride))[..., : stride * (count - 1) + size]


@op
def istft(x, sequence_length, sequence_stride, fft_length, length=None, window="hann", center=True):
    """The signal whose ``stft`` is x: the windows' signals added up, over the sum of the squared weights between the ends.

    Args:
        x: (real part, imaginary part), each (..., windows, fft_length // 2 + 1).
        length: of the signal; all that the windows cover by default.
        others: those of ``stft``.
        sequence_length, sequence_stride, fft_length, window, center: those of `stft`.
    """
    real, imag = _pair("istft", x)
    if real.ndim < 2:
        raise ValueError(f"[istft] Input `x` must have at least 2 dimensions. Received shape: {real.shape}")
    _check_stride("istft", sequence_stride)
    frames = irfft((real, imag), fft_length)
    if window is not None:
        weights = _window("istft", window, sequence_length, fft_length, real.dtype)
        parts = -(-fft_length // sequence_stride)
        squares = pad(square(weights), [(0, parts * sequence_stride - fft_length)])
        norm = sum_(_reshape(squares, (parts, sequence_stride)), axis=0)  # what all windows together weigh a position with
        norm = tile(norm, (parts,))[:fft_length]
        covered = greater(norm, 1e-10)
        frames = multiply(frames, where(covered, divide(weights, where(covered, norm, 1.0)), weights))
    y = _overlap_add(frames, sequence_stride)
    start = fft_length // 2 if center else 0
    end = start + length if length is not None else y.shape[-1] - start
    return y[..., start:end]


__all__ = ["extract_sequences", "fft", "fft2", "ifft2", "irfft", "istft", "rfft", "stft"]
