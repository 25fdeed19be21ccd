"""Optimizers: change the trainable variables by their gradients."""
from ..saving.serialization import resolve, serialize_keras_object
from . import schedules
from .adadelta import Adadelta
from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adamax import Adamax
from .base import Optimizer
from .ftrl import Ftrl
from .lamb import Lamb
from .lion import Lion
from .loss_scale_optimizer import LossScaleOptimizer
from .multi_optimizer import MultiOptimizer, OptimizerMap
from .muon import Muon
from .nadam import Nadam
from .rmsprop import RMSprop
from .schedule_free_adamw import ScheduleFreeAdamW
from .sgd import SGD

_CLASSES = (
    Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Ftrl, Lamb, Lion, LossScaleOptimizer, MultiOptimizer, Muon, Nadam, RMSprop,
    SGD, ScheduleFreeAdamW,
)  # fmt: skip
_OBJECTS = {cls.__name__: cls for cls in _CLASSES}
_OBJECTS.update({cls.__name__.lower(): cls for cls in _CLASSES})


def serialize(optimizer):
    """Return the config of an optimizer.

    Args:
        optimizer: what is to be described.
    """
    return serialize_keras_object(optimizer)


def deserialize(config, custom_objects=None):
    """Return the optimizer of a config; the class name may be written in lower case.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return _resolve(config, custom_objects)


def get(identifier):
    """Return an optimizer from a name ("adam", in any case), a config, a class or an object.

    Args:
        identifier: any of the above.

    Raises:
        ValueError: the identifier is none of these.
    """
    return _resolve(identifier, None)


def _resolve(identifier, custom_objects):
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str) and identifier.lower() in _OBJECTS:
        identifier = identifier.lower()
    if isinstance(identifier, dict) and str(identifier.get("class_name")).lower() in _OBJECTS:
        identifier = {**identifier, "class_name": identifier["class_name"].lower()}
    optimizer = identifier
    if isinstance(identifier, (str, dict, type)):
        optimizer = resolve(identifier, "optimizer", _OBJECTS, custom_objects)
    if not isinstance(optimizer, Optimizer):
        raise ValueError(
            "[optimizer] Could not interpret optimizer identifier: it must be a name, a config, or an Optimizer. "
            f"Received: identifier={identifier!r}"
        )
    return optimizer
