"""Layers that turn signals into spectrograms."""
import math

import numpy as np

from .. import config, initializers, ops
from ..ops.conv2d import channels_last
from ..tensor import from_numpy
from ..utils.warning import warn
from .input_spec import InputSpec
from .layer import Layer

_MODES = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")


class STFTSpectrogram(Layer):
    """The short-time Fourier transform of signals, as a convolution whose kernels may be trained.

    Args:
        mode: "log", log of the magnitude; "magnitude"; "psd", the power, doubled but for the first and last frequency;
            "real", "imag" or "angle"; "stft", real and imaginary parts behind one another.
        frame_length: samples in a window. frame_step: between windows; half a window by default.
        fft_length: frequencies are multiples of 1 / fft_length; the next power of two by default.
        window: name of a window ("hann", "hamming", ...), weights (frame_length,) or None.
        periodic: bool, of a named window.
        scaling: "density", "spectrum" or None: what the window's weights are divided by.
        padding: "valid" or "same".
        expand_dims: bool; channels get an axis of their own.
        data_format: "channels_last" (n, samples, c), "channels_first" (n, c, samples) or None, the global setting.

    Output: (n, windows, fft_length // 2 + 1) for each channel.

    Weights: real_kernel and imag_kernel (frame_length, 1, fft_length // 2 + 1), those that the mode needs.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, mode="log", frame_length=256, frame_step=None, fft_length=None, window="hann", periodic=False,
                 scaling="density", padding="valid", expand_dims=False, data_format=None, **kwargs):
        def check(ok, what):
            if not ok:
                raise ValueError(f"[STFTSpectrogram] {what}")

        check(frame_step is None or 1 <= frame_step <= frame_length, "`frame_step` should be a positive integer not greater "
              f"than `frame_length`. Received frame_step={frame_step}, frame_length={frame_length}")
        check(fft_length is None or fft_length >= frame_length, "`fft_length` should be not less than `frame_length`. "
              f"Received fft_length={fft_length}, frame_length={frame_length}")
        check(mode in _MODES, f"Output mode is invalid, it must be one of {', '.join(_MODES)}. Received: mode={mode}")
        check(scaling in (None, "density", "spectrum"),
              f"Scaling is invalid, it must be `None`, 'density' or 'spectrum'. Received scaling={scaling}")
        check(padding in ("valid", "same"), f"Padding is invalid, it should be 'valid', 'same'. Received: padding={padding}")
        if fft_length is not None and fft_length & (fft_length - 1):
            warn(f"`fft_length` is recommended to be a power of two. Received fft_length={fft_length}")
        super().__init__(**kwargs)
        self.mode, self.frame_length, self.frame_step, self.fft_length = mode, frame_length, frame_step, fft_length
        self._frame_step = frame_step or frame_length // 2
        self._fft_length = fft_length or 2 ** math.ceil(math.log2(frame_length))
        self.window, self.periodic, self.scaling, self.padding = window, periodic, scaling, padding
        self.expand_dims = expand_dims
        self.data_format = config.image_data_format() if data_format is None else data_format
        self._last = channels_last(self.data_format, "STFTSpectrogram")
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape):
        shape = (self.frame_length, 1, self._fft_length // 2 + 1)
        for side in ("real", "imag"):
            if self.mode != {"real": "imag", "imag": "real"}[side]:
                initializer = initializers.STFT(side, self.window, self.scaling, self.periodic)
                setattr(self, f"{side}_kernel", self.add_weight(shape, initializer, name=f"{side}_kernel"))

    def call(self, inputs):
        x = inputs if self._last else ops.swapaxes(inputs, 1, 2)
        n, samples, c = x.shape
        x = ops.reshape(ops.swapaxes(x, 1, 2), (n * c, samples, 1))

        def side(kernel):
            kernel = ops.cast(kernel, self.compute_dtype)
            return ops.conv(x, kernel, self._frame_step, self.padding, "channels_last")

        real = side(self.real_kernel) if self.mode != "imag" else None
        imag = side(self.imag_kernel) if self.mode != "real" else None
        y = self._result(real, imag)
        y = ops.reshape(y, (n, c, *y.shape[1:]))  # (n, c, windows, frequencies)
        if self.expand_dims:
            return ops.transpose(y, (0, 2, 3, 1)) if self._last else y
        windows, count = y.shape[2:]
        y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (n, windows, c * count))
        return y if self._last else ops.swapaxes(y, 1, 2)

    def _result(self, real, imag):
        if self.mode in ("real", "imag"):
            return real if imag is None else imag
        if self.mode == "angle":
            return ops.arctan2(imag, real)
        if self.mode == "stft":
            return ops.concatenate([real, imag], axis=2)
        power = ops.add(ops.square(real), ops.square(imag))
        if self.mode == "psd":
            twice = np.full(power.shape[-1], 2.0, "float32")
            twice[[0, -1]] = 1
            return ops.multiply(power, ops.cast(from_numpy(twice), power.dtype))
        magnitude = ops.sqrt(ops.maximum(power, config.epsilon()))
        return magnitude if self.mode == "magnitude" else ops.log(ops.maximum(magnitude, config.epsilon()))

    def get_config(self):
        names = ("mode", "frame_length", "frame_step", "fft_length", "window", "periodic", "scaling", "padding", "data_format",
                 "expand_dims")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class MelSpectrogram(Layer):
    """Spectrograms of audio signals on the mel scale.

    Args:
        fft_length: of the transforms. sequence_stride: samples between windows. sequence_length: samples in a window;
            fft_length by default.
        window: "hann", "hamming" or weights.
        sampling_rate: samples per second.
        num_mel_bins: int, results for each window. min_freq, max_freq: the range in hertz; up to half the rate.
        power_to_db: bool; decibels, at least top_db below the largest.
        top_db, min_power, ref_power: of the decibels. mag_exp: the power of the magnitude.

    Input: (samples,) or (n, samples). Output: (num_mel_bins, windows) or (n, num_mel_bins, windows).

    Raises:
        ValueError: fft_length is below sequence_length.
    """

    def __init__(self, fft_length=2048, sequence_stride=512, sequence_length=None, window="hann", sampling_rate=16000,
                 num_mel_bins=128, min_freq=20.0, max_freq=None, power_to_db=True, top_db=80.0, mag_exp=2.0,
                 min_power=1e-10, ref_power=1.0, **kwargs):
        super().__init__(**kwargs)
        self.fft_length, self.sequence_stride = fft_length, sequence_stride
        self.sequence_length = sequence_length or fft_length
        if self.fft_length < self.sequence_length:
            raise ValueError("[MelSpectrogram] `fft_length` must be greater than or equal to `sequence_length`. Received: "
                             f"`sequence_length`={self.sequence_length}, `fft_length`={self.fft_length}.")
        self.window, self.sampling_rate, self.num_mel_bins = window, sampling_rate, num_mel_bins
        self.min_freq, self.max_freq = min_freq, max_freq or int(sampling_rate / 2)
        self.power_to_db, self.top_db, self.mag_exp = power_to_db, top_db, mag_exp
        self.min_power, self.ref_power = min_power, ref_power

    def call(self, inputs):
        dtype = self.compute_dtype if self.compute_dtype in ("float32", "float64") else "float32"
        real, imag = ops.stft(ops.cast(inputs, dtype), self.sequence_length, self.sequence_stride, self.fft_length, self.window)
        y = ops.power(ops.sqrt(ops.add(ops.square(real), ops.square(imag))), self.mag_exp)
        weights = self.linear_to_mel_weight_matrix(self.num_mel_bins, self.fft_length // 2 + 1, self.sampling_rate, self.min_freq,
                                                   self.max_freq)
        y = ops.matmul(y, ops.cast(weights, dtype))
        if self.power_to_db:
            y = ops.multiply(ops.log10(ops.maximum(y, self.min_power)), 10.0)
            y = ops.subtract(y, 10.0 * math.log10(max(abs(self.ref_power), self.min_power)))
            y = ops.maximum(y, ops.subtract(ops.max(y), self.top_db))
        return ops.cast(ops.swapaxes(y, -1, -2), self.compute_dtype)

    def linear_to_mel_weight_matrix(self, num_mel_bins=20, num_spectrogram_bins=129, sampling_rate=8000,
                                    lower_edge_hertz=125.0, upper_edge_hertz=3800.0, dtype="float32"):
        """(num_spectrogram_bins, num_mel_bins): triangles that overlap by half, evenly spaced on the mel scale.

        mel = 1127 log(1 + hertz / 700); the lowest frequency belongs to none.
        """
        def mel(hertz):
            return 1127.0 * np.log(1.0 + hertz / 700.0)

        places = mel(np.linspace(0.0, sampling_rate / 2, num_spectrogram_bins))[1:, None]
        edges = np.linspace(mel(lower_edge_hertz), mel(upper_edge_hertz), num_mel_bins + 2)
        low, middle, high = edges[:-2], edges[1:-1], edges[2:]
        weights = np.maximum(0.0, np.minimum((places - low) / (middle - low), (high - places) / (high - middle)))
        return from_numpy(np.pad(weights, ((1, 0), (0, 0))).astype(dtype))

    def compute_output_shape(self, input_shape):
        samples, fft = input_shape[-1], self.fft_length
        windows = None if samples is None else (samples + 2 * (fft // 2) - fft) // self.sequence_stride + 1
        return (*input_shape[:-1], self.num_mel_bins, windows)

    def get_config(self):
        names = ("fft_length", "sequence_stride", "sequence_length", "window", "sampling_rate", "num_mel_bins", "min_freq",
                 "max_freq", "power_to_db", "top_db", "mag_exp", "min_power", "ref_power")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
