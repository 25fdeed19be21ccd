"""Learning rate schedules: pass one as `learning_rate` of an optimizer."""
from .base import LearningRateSchedule, resolve_schedule, serialize
from .cyclic import CyclicalLearningRate, OneCycle
from .decay import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
)

_OBJECTS = {
    cls.__name__: cls
    for cls in (
        CosineDecay, CosineDecayRestarts, CyclicalLearningRate, ExponentialDecay, InverseTimeDecay, OneCycle,
        PiecewiseConstantDecay, PolynomialDecay,
    )
}  # fmt: skip


def deserialize(config, custom_objects=None):
    """Return the schedule of a config.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return resolve_schedule(config, _OBJECTS, custom_objects)


__all__ = [*_OBJECTS, "LearningRateSchedule", "deserialize", "serialize"]
