"""Configs of objects, their registration, and files."""
from .files import ModelFileNotFoundError, ModelFormatError
from .registration import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from .serialization import deserialize_keras_object, serialize_keras_object
from .state import WeightsReport

_FILES = ("load_model", "load_weights", "save_model", "save_weights")  # their modules are imported when first used

__all__ = [
    "CustomObjectScope",
    "KerasFileEditor",
    "ModelFileNotFoundError",
    "ModelFormatError",
    "WeightsReport",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]


def __getattr__(name):
    if name == "KerasFileEditor":
        from .file_editor import KerasFileEditor

        return KerasFileEditor
    if name in _FILES:
        from . import model_files

        return getattr(model_files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
