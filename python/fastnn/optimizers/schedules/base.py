"""LearningRateSchedule: the learning rate as a function of the step count."""
from ... import ops
from ...capturing import Watched
from ...saving.serialization import resolve, serialize_keras_object


class LearningRateSchedule(Watched):
    """Base class: subclasses define `__call__(step)` -> scalar, and `get_config()`.

    `step` is a variable or a number; use ops of tensors on it, so that the rate follows the step count.
    """

    def __call__(self, step):
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `__call__(self, step)`."
        )

    def get_config(self):
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `get_config()` "
            "in order to be serializable."
        )

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def check_positive(schedule, name, value):
    """Raise ValueError unless the number is positive."""
    if not value > 0:
        raise ValueError(f"[{schedule}] `{name}` must be > 0. Received: {name}={value}")


def as_float(step):
    """Return the step count as a float32 scalar."""
    return ops.cast(step, "float32")


def resolve_schedule(identifier, objects, custom_objects=None):
    """Return the schedule of a config."""
    return resolve(identifier, "learning rate schedule", objects, custom_objects)


def serialize(learning_rate_schedule):
    """Return the config of a schedule.

    Args:
        learning_rate_schedule: a schedule.
    """
    return serialize_keras_object(learning_rate_schedule)
