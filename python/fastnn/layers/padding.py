"""Layers that change the spatial sizes: zero padding, cropping, upsampling."""
from .. import ops
from ..ops.window import is_channels_first, spatial
from .input_spec import InputSpec
from .layer import Layer


def _pairs(value, n, kind, name):
    """(before, after) of each of n axes, from an int, a value per axis, or a pair per axis."""
    if isinstance(value, (list, tuple)):
        if len(value) != n:
            raise ValueError(f"[{kind}] {name} must be an integer, or hold {n} integers or pairs. "
                             f"Received: {name}={value!r}")
        return tuple(spatial(v, 2, kind, name, low=0) for v in value)
    return (spatial(value, 2, kind, name, low=0),) * n


def _layout(data_format, kind):
    return "channels_first" if is_channels_first(data_format, kind) else "channels_last"


class ZeroPadding1D(Layer):
    """Zeros before and after the steps.

    Args:
        padding: int, or (before, after), steps.
        data_format: "channels_last" (n, steps, c), "channels_first" (n, c, steps), or None, the global setting.

    Input: (n, steps, c). Output: (n, before + steps + after, c).
    """

    def __init__(self, padding=1, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.padding = spatial(padding, 2, "ZeroPadding1D", "padding", low=0)
        self.data_format = _layout(data_format, "ZeroPadding1D")
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs):
        first = self.data_format == "channels_first"
        return ops.pad(inputs, ((0, 0), (0, 0), self.padding) if first else ((0, 0), self.padding, (0, 0)))

    def get_config(self):
        return {**super().get_config(), "padding": self.padding, "data_format": self.data_format}


class ZeroPadding2D(Layer):
    """Zeros around the images.

    Args:
        padding: int; or (rows, columns), each on both sides; or ((top, bottom), (left, right)), pixels.
        data_format: "channels_last" (n, h, w, c), "channels_first" (n, c, h, w), or None, the global setting.

    Input: (n, h, w, c). Output: (n, top + h + bottom, left + w + right, c).
    """

    def __init__(self, padding=(1, 1), data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.padding = _pairs(padding, 2, "ZeroPadding2D", "padding")
        self.data_format = _layout(data_format, "ZeroPadding2D")
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs):
        first = self.data_format == "channels_first"
        return ops.pad(inputs, ((0, 0), (0, 0), *self.padding) if first else ((0, 0), *self.padding, (0, 0)))

    def get_config(self):
        return {**super().get_config(), "padding": self.padding, "data_format": self.data_format}


class _Cropping(Layer):
    def _crop(self, inputs, cropping, data_format):
        start = 2 if data_format == "channels_first" else 1
        index = [slice(None)] * inputs.ndim
        for axis, (before, after) in enumerate(cropping, start):
            size = inputs.shape[axis]
            if before + after >= size:
                what = "`cropping` parameter of `Cropping1D` layer must" if len(cropping) == 1 else (
                    "Values in `cropping` argument should")
                raise ValueError(f"[{self.name}] {what} be smaller than the corresponding spatial dimension of the input. "
                                 f"Received: cropping={self.cropping}, shape={inputs.shape}")
            index[axis] = slice(before, size - after)
        return inputs[tuple(index)]


class Cropping1D(_Cropping):
    """Steps taken away at both ends.

    Args:
        cropping: int, or (before, after), steps.

    Input: (n, steps, c). Output: (n, steps - before - after, c).

    Raises:
        ValueError: nothing would be left.
    """

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__(**kwargs)
        self.cropping = spatial(cropping, 2, "Cropping1D", "cropping", low=0)
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs):
        return self._crop(inputs, (self.cropping,), "channels_last")

    def get_config(self):
        return {**super().get_config(), "cropping": self.cropping}


class Cropping2D(_Cropping):
    """Rows and columns taken away on all sides.

    Args:
        cropping: int; or (rows, columns), each on both sides; or ((top, bottom), (left, right)), pixels.
        data_format: "channels_last" (n, h, w, c), "channels_first" (n, c, h, w), or None, the global setting.

    Input: (n, h, w, c). Output: (n, h - top - bottom, w - left - right, c).

    Raises:
        ValueError: nothing would be left.
    """

    def __init__(self, cropping=((0, 0), (0, 0)), data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.cropping = _pairs(cropping, 2, "Cropping2D", "cropping")
        self.data_format = _layout(data_format, "Cropping2D")
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs):
        return self._crop(inputs, self.cropping, self.data_format)

    def get_config(self):
        return {**super().get_config(), "cropping": self.cropping, "data_format": self.data_format}


class UpSampling1D(Layer):
    """Every step repeated.

    Args:
        size: int, how many times.

    Input: (n, steps, c). Output: (n, steps * size, c).
    """

    def __init__(self, size=2, **kwargs):
        super().__init__(**kwargs)
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise TypeError(f"[UpSampling1D] Expected an integer value for `size`. Received: size={size!r}")
        if size < 1:
            raise ValueError(f"[UpSampling1D] `size` should be a positive integer. Received: size={size}")
        self.size = size.__index__()
        self.input_spec = InputSpec(ndim=3)

    def call(self, inputs):
        return ops.repeat(inputs, self.size, axis=1)

    def get_config(self):
        return {**super().get_config(), "size": self.size}


_WIDE = ("bicubic", "lanczos3", "lanczos5")


class UpSampling2D(Layer):
    """Rows and columns repeated, or interpolated.

    Args:
        size: int or (rows, columns), factors.
        data_format: "channels_last" (n, h, w, c), "channels_first" (n, c, h, w), or None, the global setting.
        interpolation: "nearest" repeats pixels; "bilinear" weighs the two nearest ones of each axis by distance,
            pixel centres aligned (source position (i + 0.5) / size - 0.5, held at the border); "bicubic", "lanczos3" and
            "lanczos5" weigh more of them, see `ops.image.resize`.

    Input: (n, h, w, c). Output: (n, h * size[0], w * size[1], c).
    """

    def __init__(self, size=(2, 2), data_format=None, interpolation="nearest", **kwargs):
        super().__init__(**kwargs)
        self.size = spatial(size, 2, "UpSampling2D", "size")
        self.data_format = _layout(data_format, "UpSampling2D")
        self.interpolation = interpolation.lower() if isinstance(interpolation, str) else interpolation
        if self.interpolation not in ("nearest", "bilinear", *_WIDE):
            raise ValueError(f"[UpSampling2D] interpolation must be one of {('nearest', 'bilinear', *_WIDE)}. "
                             f"Received: interpolation={interpolation!r}")
        self.input_spec = InputSpec(ndim=4)

    def call(self, inputs):
        x = inputs
        start = 2 if self.data_format == "channels_first" else 1
        if self.interpolation in _WIDE:
            sizes = [n * factor for n, factor in zip(x.shape[start:start + 2], self.size)]
            return ops.image.resize(x, sizes, self.interpolation, data_format=self.data_format)
        for axis, factor in enumerate(self.size, start):
            if self.interpolation == "nearest":
                x = ops.repeat(x, factor, axis=axis)
            elif factor > 1:
                x = _interpolate(x, factor, axis)
        return x

    def get_config(self):
        return {**super().get_config(), "size": self.size, "data_format": self.data_format,
                "interpolation": self.interpolation}


class ZeroPadding3D(Layer):
    """Zeros around volumes.

    Args:
        padding: int; or one for each axis; or ((before, after), ...) for each axis, cells.
        data_format: "channels_last" (n, d, h, w, c), "channels_first" (n, c, d, h, w), or None, the global setting.

    Input: (n, d, h, w, c). Output: the same with larger d, h, w.
    """

    def __init__(self, padding=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.padding = _pairs(padding, 3, "ZeroPadding3D", "padding")
        self.data_format = _layout(data_format, "ZeroPadding3D")
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs):
        first = self.data_format == "channels_first"
        return ops.pad(inputs, ((0, 0), (0, 0), *self.padding) if first else ((0, 0), *self.padding, (0, 0)))

    def get_config(self):
        return {**super().get_config(), "padding": self.padding, "data_format": self.data_format}


class Cropping3D(_Cropping):
    """Cells taken away on all sides of volumes.

    Args:
        cropping: int; or one for each axis; or ((before, after), ...) for each axis, cells.
        data_format: "channels_last" (n, d, h, w, c), "channels_first" (n, c, d, h, w), or None, the global setting.

    Input: (n, d, h, w, c). Output: the same with smaller d, h, w.

    Raises:
        ValueError: nothing would be left.
    """

    def __init__(self, cropping=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.cropping = _pairs(cropping, 3, "Cropping3D", "cropping")
        self.data_format = _layout(data_format, "Cropping3D")
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs):
        return self._crop(inputs, self.cropping, self.data_format)

    def get_config(self):
        return {**super().get_config(), "cropping": self.cropping, "data_format": self.data_format}


class UpSampling3D(Layer):
    """Cells repeated along the three axes of space.

    Args:
        size: int or three, factors.
        data_format: "channels_last" (n, d, h, w, c), "channels_first" (n, c, d, h, w), or None, the global setting.

    Input: (n, d, h, w, c). Output: (n, d * size[0], h * size[1], w * size[2], c).
    """

    def __init__(self, size=(2, 2, 2), data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.size = spatial(size, 3, "UpSampling3D", "size")
        self.data_format = _layout(data_format, "UpSampling3D")
        self.input_spec = InputSpec(ndim=5)

    def call(self, inputs):
        x = inputs
        for axis, factor in enumerate(self.size, 2 if self.data_format == "channels_first" else 1):
            x = ops.repeat(x, factor, axis=axis)
        return x

    def get_config(self):
        return {**super().get_config(), "size": self.size, "data_format": self.data_format}


def _interpolate(x, factor, axis):
    """x with ``axis`` enlarged: output i lies at (i + 0.5) / factor - 0.5."""
    import numpy as np

    size = x.shape[axis]
    position = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, max(size - 1, 0))
    below = np.floor(position).astype("int32")
    above = np.minimum(below + 1, max(size - 1, 0)).astype("int32")
    weight = (position - below).astype("float32").reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return ops.take(x, below, axis=axis) * (1 - weight) + ops.take(x, above, axis=axis) * weight
