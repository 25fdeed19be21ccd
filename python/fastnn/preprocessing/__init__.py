"""Functions of `utils` under their old names."""
from ..utils import timeseries_dataset_from_array
from . import image, sequence

__all__ = ["image", "image_dataset_from_directory", "sequence", "text_dataset_from_directory", "timeseries_dataset_from_array"]


def __getattr__(name):
    if name in __all__:
        from .. import utils

        return getattr(utils, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
