"""Constraints: projections of a weight, `constraint(w)` -> the weight, applied after each optimizer step."""
from . import ops
from .capturing import Watched
from .config import epsilon
from .saving.serialization import resolve, serialize_keras_object
from .tensor import as_tensor


class Constraint(Watched):
    """Base class: subclasses define `__call__(w)` and, with arguments, `get_config()`."""

    def __call__(self, w):
        return w

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class MaxNorm(Constraint):
    """Scale each unit's weights down to a norm of at most `max_value`.

    Args:
        max_value: the largest norm.
        axis: the axes that one norm runs over: 0 for a Dense kernel (inputs, units), [0, 1, 2] for a
            Conv2D kernel (kh, kw, ic, oc).
    """

    def __init__(self, max_value=2, axis=0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w):
        w, norms = _norms(w, self.axis)
        return w * (ops.clip(norms, 0, self.max_value) / (epsilon() + norms))

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """Replace negative weights by zero."""

    def __call__(self, w):
        return ops.maximum(as_tensor(w), 0.0)


class UnitNorm(Constraint):
    """Scale each unit's weights to norm 1; `axis` as for `MaxNorm`.

    Args:
        axis: int or list of ints.
    """

    def __init__(self, axis=0):
        self.axis = axis

    def __call__(self, w):
        w, norms = _norms(w, self.axis)
        return w / (epsilon() + norms)

    def get_config(self):
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """Move each unit's norm into [min_value, max_value].

    Args:
        min_value, max_value: the interval.
        rate: the part of the way to go at each step, in [0, 1]; 1 is strict.
        axis: as for `MaxNorm`.
    """

    def __init__(self, min_value=0.0, max_value=1.0, rate=1.0, axis=0):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w):
        w, norms = _norms(w, self.axis)
        desired = self.rate * ops.clip(norms, self.min_value, self.max_value) + (1.0 - self.rate) * norms
        return w * (desired / (epsilon() + norms))

    def get_config(self):
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


def _norms(w, axis):
    """Return the weight as a tensor, and its norms over `axis` with that axis kept as size 1."""
    w = as_tensor(w)
    axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    return w, ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))


max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm

_OBJECTS = {cls.__name__: cls for cls in (MaxNorm, NonNeg, UnitNorm, MinMaxNorm)}
_OBJECTS.update(max_norm=MaxNorm, non_neg=NonNeg, unit_norm=UnitNorm, min_max_norm=MinMaxNorm)


def serialize(constraint):
    """Return the config of a constraint.

    Args:
        constraint: what is to be described.
    """
    return serialize_keras_object(constraint)


def deserialize(config, custom_objects=None):
    """Return the constraint of a config or a name.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return resolve(config, "constraint", _OBJECTS, custom_objects)


def get(identifier):
    """Return a constraint from a name, a config, a class or a callable.

    Args:
        identifier: any of the above.

    Raises:
        ValueError: the identifier is none of these.
    """
    return resolve(identifier, "constraint", _OBJECTS)
