"""fastnn: Keras-style deep learning in one small native wheel."""
import importlib
import os

from . import _core

if os.environ.get("FASTNN_DEVICE"):
    from .scopes import set_device

    set_device(os.environ["FASTNN_DEVICE"])

if not (os.environ.get("FASTNN_NUM_THREADS") or "1").strip().lstrip("+0")[:1].isdigit():
    from .utils.warning import warn

    warn("[FASTNN_NUM_THREADS] must be a positive integer, and is ignored. "
         f"Received: FASTNN_NUM_THREADS={os.environ['FASTNN_NUM_THREADS']!r}")

from . import config, ops, utils
from ._core import Tensor, empty_cache, isa, memory_stats, num_threads, reset_peak_memory, set_num_threads
from .autograd import GradientTape, custom_gradient, stop_gradient
from .symbolic import KerasTensor
from .tensor import Variable, convert_to_numpy, convert_to_tensor, from_dlpack, is_tensor
from .utils.naming import name_scope
from .version import __version__

# Loaded when first used, so that scripts that only want the ops start fast.
_MODULES = (
    "activations", "applications", "backend", "bench", "callbacks", "compat", "constraints", "cuda", "datasets", "dtype_policies", "initializers", "keras",
    "layers", "losses", "metrics", "mixed_precision", "models", "optimizers", "preprocessing", "random", "regularizers",
    "quantizers", "saving", "tree", "wrappers",
)
_NAMES = {
    "Model": "models", "Sequential": "models", "Input": "layers", "InputSpec": "layers", "Layer": "layers",
    "Operation": "layers.operation", "Function": "models.function", "Optimizer": "optimizers", "Loss": "losses", "Metric": "metrics",
    "Initializer": "initializers", "Quantizer": "quantizers", "Regularizer": "regularizers", "DTypePolicy": "dtype_policies",
    "FloatDTypePolicy": "dtype_policies", "RematScope": "rematerialization", "remat": "rematerialization", "device": "scopes", "set_device": "scopes",
    "StatelessScope": "stateless", "ModelFormatError": "saving", "capture": "capturing", "function": "capturing", "profile": "profiling",
}


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    import difflib

    near = difflib.get_close_matches(name, [n for n in __dir__() if n[0] != "_"], 1, 0.75)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}" + (f". Did you mean {near[0]!r}?" if near else ""))


def __dir__():
    return sorted({*globals(), *_MODULES, *_NAMES})


def version():
    """The version of fastnn, as a string."""
    return __version__
