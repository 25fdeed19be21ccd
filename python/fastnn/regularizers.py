"""Regularizers: penalties on a weight or an output, `regularizer(x)` -> scalar that is added to the loss."""
import math

from . import ops
from .capturing import Watched
from .saving.serialization import resolve, serialize_keras_object


class Regularizer(Watched):
    """Base class: subclasses define `__call__(x)` and `get_config()`."""

    def __call__(self, x):
        return 0.0

    def get_config(self):
        raise NotImplementedError(f"{self} does not implement get_config()")

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x^2)

    Args:
        l1: number, not negative.
        l2: number, not negative.
    """

    def __init__(self, l1=0.0, l2=0.0):
        self.l1 = _non_negative("l1", 0.0 if l1 is None else l1)
        self.l2 = _non_negative("l2", 0.0 if l2 is None else l2)

    def __call__(self, x):
        penalty = 0.0
        if self.l1:
            penalty = self.l1 * ops.sum(ops.absolute(x))
        if self.l2:
            penalty = self.l2 * ops.sum(ops.square(x)) + penalty
        return ops.zeros((), dtype=x.dtype) if isinstance(penalty, float) else penalty

    def get_config(self):
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """l1 * sum(|x|)

    Args:
        l1: number, not negative.
    """

    def __init__(self, l1=0.01):
        self.l1 = _non_negative("l1", 0.01 if l1 is None else l1)

    def __call__(self, x):
        return self.l1 * ops.sum(ops.absolute(x))

    def get_config(self):
        return {"l1": self.l1}


class L2(Regularizer):
    """l2 * sum(x^2)

    Args:
        l2: number, not negative.
    """

    def __init__(self, l2=0.01):
        self.l2 = _non_negative("l2", 0.01 if l2 is None else l2)

    def __call__(self, x):
        return self.l2 * ops.sum(ops.square(x))

    def get_config(self):
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """factor * mean |cosine| over the pairs of rows (or columns) of a matrix: pushes them to be orthogonal.

    Args:
        factor: non-negative float.
        mode: "rows" or "columns".
    """

    def __init__(self, factor=0.01, mode="rows"):
        self.factor = _non_negative("factor", factor)
        if mode not in ("rows", "columns"):
            raise ValueError(
                f'Invalid value for argument `mode`. Expected one of {{"rows", "columns"}}. Received: mode={mode}'
            )
        self.mode = mode

    def __call__(self, inputs):
        if len(inputs.shape) != 2:
            raise ValueError(
                f"Inputs to OrthogonalRegularizer must have rank 2. Received: inputs.shape={tuple(inputs.shape)}"
            )
        if self.mode == "columns":
            inputs = ops.transpose(inputs)
        size = inputs.shape[0]
        square_norm = ops.sum(ops.square(inputs), axis=1, keepdims=True)
        unit = inputs / ops.sqrt(ops.maximum(square_norm, 1e-12))
        cosines = ops.matmul(unit, ops.transpose(unit)) * (1.0 - ops.eye(size, dtype=inputs.dtype))
        pairs = size * (size - 1.0) / 2.0
        return self.factor * 0.5 / pairs * ops.sum(ops.absolute(cosines))

    def get_config(self):
        return {"factor": self.factor, "mode": self.mode}


def _non_negative(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"[regularizer] expected a non-negative float for `{name}`. Received: {name}={value!r}")
    return float(value)


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer

_OBJECTS = {cls.__name__: cls for cls in (L1, L2, L1L2, OrthogonalRegularizer)}
_OBJECTS.update(l1=L1, l2=L2, l1_l2=L1L2, l1l2=L1L2, orthogonal_regularizer=OrthogonalRegularizer)


def serialize(regularizer):
    """Return the config of a regularizer.

    Args:
        regularizer: what is to be described.
    """
    return serialize_keras_object(regularizer)


def deserialize(config, custom_objects=None):
    """Return the regularizer of a config or a name.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return resolve(config, "regularizer", _OBJECTS, custom_objects)


def get(identifier):
    """Return a regularizer from a name, a config, a class or a callable.

    Args:
        identifier: any of the above.

    Raises:
        ValueError: the identifier is none of these.
    """
    return resolve(identifier, "regularizer", _OBJECTS)
