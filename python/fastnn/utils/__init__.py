"""Helpers around models."""
from ..dtypes import standardize_dtype
from ..symbolic import is_keras_tensor
from .arrays import normalize, pad_sequences, to_categorical
from .progbar import Progbar
from .py_dataset import PyDataset
from .py_dataset import PyDataset as Sequence
from .session import clear_session, set_random_seed
from .splitting import split_dataset
from .timeseries import timeseries_dataset_from_array

# Loaded when first used: image files, folders and pictures of models need more than a training does.
_LAZY = {
    "array_to_img": "image_utils", "img_to_array": "image_utils", "load_img": "image_utils", "save_img": "image_utils",
    "audio_dataset_from_directory": "directories", "image_dataset_from_directory": "directories",
    "text_dataset_from_directory": "directories", "model_to_dot": "plotting", "model_to_svg": "plotting",
    "plot_model": "plotting", "Config": "settings", "get_source_inputs": "sources",
    "FeatureSpace": "..layers.feature_space", "get_file": "file_utils", "AdversarialTraining": "adversarial", "adversarial_examples": "adversarial",
}

__all__ = [*_LAZY, "bounding_boxes", "CustomObjectScope", "Progbar", "PyDataset", "Sequence", "clear_session", "custom_object_scope",
           "deserialize_keras_object", "get_custom_objects", "get_registered_name", "get_registered_object",
           "is_keras_tensor", "normalize", "pack_x_y_sample_weight", "pad_sequences",
           "register_keras_serializable", "serialize_keras_object", "set_random_seed", "split_dataset",
           "standardize_dtype", "timeseries_dataset_from_array", "to_categorical",
           "unpack_x_y_sample_weight"]


def __getattr__(name):
    # Keras also shows functions of `saving` and of the trainer here; they build on modules that need this one.
    if name == "bounding_boxes":
        import importlib

        return importlib.import_module(f"{__name__}.bounding_boxes")
    if name in ("pack_x_y_sample_weight", "unpack_x_y_sample_weight"):
        from ..trainer import data

        return getattr(data, name)
    if name in _LAZY:
        import importlib

        home = _LAZY[name]
        return getattr(importlib.import_module(home if home.startswith(".") else f".{home}", __name__), name)
    if name in ("disable_interactive_logging", "enable_interactive_logging", "is_interactive_logging_enabled"):
        from .. import config

        return getattr(config, name)
    if name in __all__:
        from .. import saving

        return getattr(saving, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, "disable_interactive_logging", "enable_interactive_logging",
                   "is_interactive_logging_enabled"})
