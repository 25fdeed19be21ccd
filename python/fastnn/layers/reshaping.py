"""Layers that give their input another shape."""
import math

from .. import ops
from ..ops.window import is_channels_first
from ..tensor import standardize_shape
from .input_spec import InputSpec
from .layer import Layer


class Flatten(Layer):
    """Each sample as one row of values.

    Args:
        data_format: "channels_last", "channels_first" (channels are moved to the end first), or None, the
            global setting.

    Input: (n, ...). Output: (n, product of the other sizes); (n, 1) for (n,).
    """

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        first = is_channels_first(data_format, "Flatten")
        self.data_format = "channels_first" if first else "channels_last"
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs):
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.moveaxis(inputs, 1, -1)
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(Layer):
    """Each sample under another shape.

    Args:
        target_shape: sizes without the batch; one may be -1, worked out from the others.

    Input: (n, ...). Output: (n, *target_shape).

    Raises:
        ValueError: the number of elements differs.
    """

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        if hasattr(target_shape, "__index__"):
            target_shape = (target_shape,)
        sizes = [n for n in target_shape if n not in (-1, None)]
        if any(isinstance(n, int) and n < -1 for n in sizes):
            raise ValueError("[Reshape] each size must be a non-negative integer, or -1 for one that is worked out. "
                             f"Received: target_shape={tuple(target_shape)}")
        standardize_shape(tuple(sizes), "Reshape")
        self.target_shape = tuple(-1 if n in (-1, None) else n.__index__() for n in target_shape)
        if self.target_shape.count(-1) > 1:
            raise ValueError("[Reshape] There must be at most one unknown dimension (-1). "
                             f"Received: target_shape={tuple(target_shape)}")
        self.input_spec = InputSpec(min_ndim=1)

    def compute_output_shape(self, input_shape):
        # Stated rather than inferred: two unknown sizes may well fit together, (None, 3) with (5, 3).
        sizes = tuple(input_shape[1:])
        if -1 not in self.target_shape:
            if None not in sizes and math.prod(sizes) != math.prod(self.target_shape):
                raise ValueError(f"[Reshape] the number of elements must stay the same. Received: "
                                 f"target_shape={self.target_shape}, input_shape={tuple(input_shape)}")
            return (input_shape[0], *self.target_shape)
        known = math.prod(n for n in self.target_shape if n != -1)
        if None not in sizes and (not known or math.prod(sizes) % known):
            raise ValueError(f"[Reshape] the sizes must divide the number of elements. Received: "
                             f"target_shape={self.target_shape}, input_shape={tuple(input_shape)}")
        rest = None if None in sizes else math.prod(sizes) // known
        return (input_shape[0], *(rest if n == -1 else n for n in self.target_shape))

    def call(self, inputs):
        total = math.prod(inputs.shape[1:])
        known = math.prod(n for n in self.target_shape if n != -1)
        if (total % known if known else total) or (-1 not in self.target_shape and total != known) or (
                known == 0 and -1 in self.target_shape):
            raise ValueError(f"[{self.name}] target_shape must have as many elements as a sample. Received: "
                             f"inputs.shape={inputs.shape}, target_shape={self.target_shape}")
        return ops.reshape(inputs, (inputs.shape[0], *(total // known if n == -1 else n for n in self.target_shape)))

    def get_config(self):
        return {**super().get_config(), "target_shape": self.target_shape}


class Permute(Layer):
    """The axes of each sample in another order.

    Args:
        dims: tuple of the axes 1, 2, ...; (2, 1) exchanges the first two.

    Raises:
        ValueError: dims is not a permutation of 1 ... n.
    """

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError("[Permute] Invalid permutation for argument `dims`: it must be one of the axes, which are counted from 1. "
                             f"Received: dims={dims}")
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs):
        return ops.transpose(inputs, (0, *self.dims))

    def get_config(self):
        return {**super().get_config(), "dims": self.dims}


class RepeatVector(Layer):
    """Each sample, a vector, n times.

    Args:
        n: int.

    Input: (n, features). Output: (n, repetitions, features).
    """

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"[RepeatVector] Expected an integer value for `n`. Received: n={n!r} (of type {type(n).__name__})")
        self.n = n.__index__()
        if self.n < 1:
            raise ValueError(f"[RepeatVector] `n` should be a positive integer. Received: n={n}")
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs):
        return ops.repeat(ops.expand_dims(inputs, 1), self.n, axis=1)

    def get_config(self):
        return {**super().get_config(), "n": self.n}
