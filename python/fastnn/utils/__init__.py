"""Helpers around models."""
from .arrays import normalize, pad_sequences, to_categorical
from .progbar import Progbar
from .py_dataset import PyDataset, PyDataset as Sequence
from .session import clear_session, set_random_seed

__all__ = ["CustomObjectScope", "Progbar", "PyDataset", "Sequence", "clear_session", "custom_object_scope", "deserialize_keras_object",
           "get_custom_objects", "get_registered_name", "get_registered_object", "normalize", "pad_sequences",
           "register_keras_serializable", "serialize_keras_object", "set_random_seed", "to_categorical"]


def __getattr__(name):
    # Keras also shows the functions of `saving` here; they build on modules that need this one.
    if name in __all__:
        from .. import saving

        return getattr(saving, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
