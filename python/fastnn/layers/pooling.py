"""Pooling layers: windows of a given size, and whole inputs."""
from .. import ops
from ..ops.window import is_channels_first, spatial
from .input_spec import InputSpec
from .layer import Layer

_POOL_DOC = """{what} of each window of `pool_size` {cells}.

    Args:
        pool_size: int{pairs}.
        strides: int{pairs}; `pool_size` by default.
        padding: "valid", no padding; "same", output size ceil(size / stride). Padding takes no part in the result.
        data_format: "channels_last" {last}, "channels_first" {first}, or None, the global setting.

    Input: {last}. Output: the same rank, with sizes (size - pool_size) // stride + 1.

    Raises:
        ValueError: a size or stride below 1, or a window larger than the input.
    """
_LAST = {1: "(n, steps, c)", 2: "(n, h, w, c)", 3: "(n, d, h, w, c)"}
_FIRST = {1: "(n, c, steps)", 2: "(n, c, h, w)", 3: "(n, c, d, h, w)"}


class _Pooling(Layer):
    _rank = None
    _pool = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls._rank is not None and cls._pool is not None and not cls.__doc__:
            n = cls._rank
            cls.__doc__ = _POOL_DOC.format(
                what="The maximum" if "Max" in cls.__name__ else "The mean", cells={1: "steps", 2: "pixels", 3: "cells"}[n],
                pairs=f", or one of each of the {n} axes" if n > 1 else "", last=_LAST[n], first=_FIRST[n])

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        kind, n = type(self).__name__, self._rank
        self.pool_size = spatial(pool_size, n, kind, "pool_size")
        self.strides = self.pool_size if strides is None else spatial(strides, n, kind, "strides")
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise ValueError(f"[{kind}] padding must be 'valid' or 'same'. Received: padding={padding!r}")
        self.data_format = "channels_first" if is_channels_first(data_format, kind) else "channels_last"
        self.input_spec = InputSpec(ndim=n + 2)

    def call(self, inputs):
        return self._pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size, "padding": self.padding, "strides": self.strides,
                "data_format": self.data_format}


class MaxPooling1D(_Pooling):
    _rank, _pool = 1, staticmethod(ops.max_pool)


class MaxPooling2D(_Pooling):
    _rank, _pool = 2, staticmethod(ops.max_pool)


class MaxPooling3D(_Pooling):
    _rank, _pool = 3, staticmethod(ops.max_pool)


class AveragePooling1D(_Pooling):
    _rank, _pool = 1, staticmethod(ops.average_pool)


class AveragePooling2D(_Pooling):
    _rank, _pool = 2, staticmethod(ops.average_pool)


class AveragePooling3D(_Pooling):
    _rank, _pool = 3, staticmethod(ops.average_pool)


_GLOBAL_DOC = """{what} of each channel over all {cells}.

    Args:
        data_format: "channels_last" {last}, "channels_first" {first}, or None, the global setting.
        keepdims: keep the reduced axes with size 1.
{mask}
    Input: {last}. Output: (n, c), or the rank of the input with `keepdims`.

    Raises:
        ValueError: there is nothing to reduce.
    """
_MASK_DOC = """
    A mask (n, steps), bool, leaves out steps; a row without any step gives NaN.
"""


class _GlobalPooling(Layer):
    _rank = None
    _pool = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls._rank is not None and not cls.__doc__:
            n, is_max = cls._rank, "Max" in cls.__name__
            cls.__doc__ = _GLOBAL_DOC.format(
                what="The maximum" if is_max else "The mean", cells={1: "steps", 2: "pixels", 3: "cells"}[n],
                mask=_MASK_DOC if n == 1 and not is_max else "", last=_LAST[n], first=_FIRST[n])

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(**kwargs)
        self.data_format = "channels_first" if is_channels_first(data_format, type(self).__name__) else "channels_last"
        self.keepdims = bool(keepdims)
        self.input_spec = InputSpec(ndim=self._rank + 2)

    def call(self, inputs):
        first = self.data_format == "channels_first"
        sizes = inputs.shape[2:] if first else inputs.shape[1:-1]
        if 0 in sizes:
            raise ValueError(f"[{self.name}] inputs must not be empty. Received: shape={inputs.shape}")
        y = self._pool(inputs, sizes, sizes, "valid", self.data_format)
        if self.keepdims:
            return y
        return ops.reshape(y, (y.shape[0], y.shape[1] if first else y.shape[-1]))

    def compute_output_shape(self, input_shape):
        n, first = self._rank, self.data_format == "channels_first"
        channels = input_shape[1 if first else -1]
        ones = (1,) * n if self.keepdims else ()
        return (input_shape[0], channels, *ones) if first else (input_shape[0], *ones, channels)

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format, "keepdims": self.keepdims}


class GlobalMaxPooling1D(_GlobalPooling):
    _rank, _pool = 1, staticmethod(ops.max_pool)


class GlobalMaxPooling2D(_GlobalPooling):
    _rank, _pool = 2, staticmethod(ops.max_pool)


class GlobalMaxPooling3D(_GlobalPooling):
    _rank, _pool = 3, staticmethod(ops.max_pool)


class GlobalAveragePooling1D(_GlobalPooling):
    _rank, _pool = 1, staticmethod(ops.average_pool)

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return super().call(inputs)
        axis = 2 if self.data_format == "channels_first" else 1
        on = ops.expand_dims(ops.cast(mask, "bool"), 3 - axis)
        total = ops.sum(ops.where(on, inputs, ops.cast(0, inputs.dtype)), axis=axis, keepdims=self.keepdims)
        return total / ops.sum(ops.cast(on, inputs.dtype), axis=axis, keepdims=self.keepdims)

    def compute_mask(self, inputs, previous_mask=None):
        return None  # there are no steps left to mask


class GlobalAveragePooling2D(_GlobalPooling):
    _rank, _pool = 2, staticmethod(ops.average_pool)


class GlobalAveragePooling3D(_GlobalPooling):
    _rank, _pool = 3, staticmethod(ops.average_pool)


class _AdaptivePooling(Layer):
    """Pools to a given output size: output o covers the cells floor(o * size / outputs) to ceil((o + 1) * size / outputs).

    Args:
        output_size: int, or one for each axis of space.
        data_format: "channels_last", "channels_first", or None, the global setting.
    """

    _rank = None
    _pool = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__doc__ = cls.__doc__ or _AdaptivePooling.__doc__

    def __init__(self, output_size, data_format=None, **kwargs):
        super().__init__(**kwargs)
        kind = type(self).__name__
        self.output_size = spatial(output_size, self._rank, kind, "output_size")
        self.data_format = "channels_first" if is_channels_first(data_format, kind) else "channels_last"
        self.input_spec = InputSpec(ndim=self._rank + 2)

    def call(self, inputs):
        return self._pool(inputs, self.output_size, self.data_format)

    def compute_output_shape(self, input_shape):
        if self.data_format == "channels_first":
            return (*input_shape[:2], *self.output_size)
        return (input_shape[0], *self.output_size, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "output_size": self.output_size, "data_format": self.data_format}


class AdaptiveMaxPooling1D(_AdaptivePooling):
    _rank, _pool = 1, staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling2D(_AdaptivePooling):
    _rank, _pool = 2, staticmethod(ops.adaptive_max_pool)


class AdaptiveMaxPooling3D(_AdaptivePooling):
    _rank, _pool = 3, staticmethod(ops.adaptive_max_pool)


class AdaptiveAveragePooling1D(_AdaptivePooling):
    _rank, _pool = 1, staticmethod(ops.adaptive_average_pool)


class AdaptiveAveragePooling2D(_AdaptivePooling):
    _rank, _pool = 2, staticmethod(ops.adaptive_average_pool)


class AdaptiveAveragePooling3D(_AdaptivePooling):
    _rank, _pool = 3, staticmethod(ops.adaptive_average_pool)


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D
