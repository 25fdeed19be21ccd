"""Settings of the whole process: default float type, fuzz factor, layout of images."""
from . import _core
from .dtypes import floatx, set_floatx

_epsilon = 1e-7


def epsilon():
    """The small number that keeps divisions and logarithms finite; 1e-7 at start."""
    return _epsilon


def set_epsilon(value):
    """Set the number that `epsilon` returns.

    Args:
        value: number.

    Raises:
        ValueError: `value` is not a positive number.
    """
    global _epsilon
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"[set_epsilon] value must be a positive number. Received: value={value!r}")
    _epsilon = float(value)
    _core.changed()


_image_data_format = "channels_last"


def image_data_format():
    """The default layout of images: "channels_last" (n, h, w, c) at start."""
    return _image_data_format


def set_image_data_format(data_format):
    """Set the default layout of images to "channels_last" or "channels_first" (n, c, h, w).

    Args:
        data_format: string.

    Raises:
        ValueError: `data_format` is neither.
    """
    global _image_data_format
    _image_data_format = standardize_data_format(data_format, "set_image_data_format")
    _core.changed()


def standardize_data_format(data_format, op="data_format"):
    """`data_format` if it is "channels_last" or "channels_first"; the default for None.

    Args:
        data_format: string or None.
        op: string; who asks, for the error.

    Raises:
        ValueError: it is anything else.
    """
    if data_format is None:
        return _image_data_format
    name = str(data_format).lower()
    if name not in ("channels_last", "channels_first"):
        raise ValueError(f"[{op}] data_format must be 'channels_last' or 'channels_first'. "
                         f"Received: data_format={data_format!r}")
    return name


def backend():
    """The name of the library that computes: "fastnn"."""
    return "fastnn"


_switches = {"flash_attention": False, "interactive_logging": True, "traceback_filtering": True}
_limits = {"epochs": None, "steps_per_epoch": None}


def enable_flash_attention():
    """Let attention layers use a fused kernel; one way to compute serves both settings."""
    _switches["flash_attention"] = True


def disable_flash_attention():
    """Take back `enable_flash_attention`."""
    _switches["flash_attention"] = False


def is_flash_attention_enabled():
    """Whether `enable_flash_attention` was called."""
    return _switches["flash_attention"]


_PRECISIONS = ("float32", "tf32", "bf16")
_matmul_precision = "float32"


def matmul_precision():
    """What `set_matmul_precision` was given last; "float32" at start."""
    return _matmul_precision


def set_matmul_precision(precision):
    """Let a GPU compute matrix products and convolutions of float32 tensors less precisely, on its tensor cores.

    Sums stay float32. Products with a matrix of at most 8 rows or columns are bound by memory and stay float32, and
    so does the CPU. "tf32" leaves products of arrays whose sizes are no multiples of 4 in float32.

    Args:
        precision: `"float32"`: exact products; `"tf32"`: operands rounded to 11 bits of precision; `"bf16"`: to 8.

    Raises:
        ValueError: `precision` is none of these.
    """
    global _matmul_precision
    if precision not in _PRECISIONS:
        raise ValueError("[set_matmul_precision] precision must be 'float32', 'tf32' or 'bf16'. "
                         f"Received: precision={precision!r}")
    _matmul_precision = precision
    _core.set_matmul_precision(_PRECISIONS.index(precision))
    _core.changed()


def enable_interactive_logging():
    """Print progress to the standard output; so at start."""
    _switches["interactive_logging"] = True


def disable_interactive_logging():
    """Log progress through `logging` in place of printing it."""
    _switches["interactive_logging"] = False


def is_interactive_logging_enabled():
    """Whether progress is printed."""
    return _switches["interactive_logging"]


def enable_determinism():
    """Nothing has to be enabled: the same seed gives the same bits, for any number of threads (on one instruction set)."""


def enable_traceback_filtering():
    """Accepted as Keras does: the tracebacks of fastnn are short as they are."""
    _switches["traceback_filtering"] = True


def disable_traceback_filtering():
    """Accepted as Keras does, see `enable_traceback_filtering`."""
    _switches["traceback_filtering"] = False


def is_traceback_filtering_enabled():
    """What was set last; True at start."""
    return _switches["traceback_filtering"]


def enable_unsafe_deserialization():
    """Accepted as Keras does, without effect: loading a file never runs code."""


def is_nnx_enabled():
    """False: NNX is a part of another library."""
    return False


def set_backend(backend):
    """Accepts "fastnn", the only library that computes.

    Args:
        backend: string.

    Raises:
        ValueError: another name.
    """
    if backend != "fastnn":
        raise ValueError(f"[set_backend] fastnn computes by itself. Received: backend={backend!r}")


def _limit(name, value):
    if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__") or value < 1):
        raise ValueError(f"[set_max_{name}] max_{name} must be a positive integer or None. Received: {value!r}")
    _limits[name] = None if value is None else value.__index__()


def set_max_epochs(max_epochs):
    """Let `fit` run at most this many epochs, whatever it is told; None, no limit.

    Args:
        max_epochs: int or None.
    """
    _limit("epochs", max_epochs)


def max_epochs():
    """The limit of `set_max_epochs`, or None."""
    return _limits["epochs"]


def set_max_steps_per_epoch(max_steps_per_epoch):
    """Let an epoch, also of `evaluate` and `predict`, have at most this many steps; None, no limit.

    Args:
        max_steps_per_epoch: int or None.
    """
    _limit("steps_per_epoch", max_steps_per_epoch)


def max_steps_per_epoch():
    """The limit of `set_max_steps_per_epoch`, or None."""
    return _limits["steps_per_epoch"]


def __getattr__(name):
    if name in ("dtype_policy", "set_dtype_policy"):
        from . import dtype_policies

        return getattr(dtype_policies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "backend", "disable_flash_attention", "disable_interactive_logging", "disable_traceback_filtering", "dtype_policy",
    "enable_flash_attention", "enable_interactive_logging", "enable_traceback_filtering",
    "enable_unsafe_deserialization", "epsilon", "floatx", "image_data_format", "is_flash_attention_enabled",
    "is_interactive_logging_enabled", "is_nnx_enabled", "is_traceback_filtering_enabled", "max_epochs",
    "max_steps_per_epoch", "set_backend", "set_dtype_policy", "set_epsilon", "set_floatx", "set_image_data_format",
    "set_max_epochs", "set_max_steps_per_epoch", "standardize_data_format",
]


def __dir__():
    return sorted({*globals(), *__all__})
