"""Arguments of ops that slide a window (convolution, pooling): checked, and in the form kernels take."""

from .. import config


def spatial(value, n, op, name, low=1):
    """``value``, an integer or a sequence of n integers, as a tuple of n ints of at least ``low``.

    Raises:
        ValueError: another length, a number that is not an integer, or one below ``low``.
    """
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * n
    if len(values) != n:
        raise ValueError(f"[{op}] {name} must be an integer or {n} integers. Received: {name}={value!r}")
    wrong = {v for v in values if type(v) is int and v < low}
    if wrong and low == 1 and n > 1 and isinstance(value, (list, tuple)):
        raise ValueError(f"[{op}] The `{name}` argument must be a tuple of {n} integers. Received {name}={values}, including "
                         f"values {wrong} that do not satisfy `value > 0`")
    for v in values:
        if isinstance(v, (bool, float)) or not hasattr(v, "__index__") or v.__index__() < low:
            raise ValueError(f"[{op}] {name} must be an integer of at least {low}, or {n} of them. "
                             f"Received: {name}={value!r}")
    return tuple(v.__index__() for v in values)


def same_pads(size, window, stride, dilation=1):
    """Padding before and after an axis that gives ceil(size / stride) outputs; the odd cell goes after."""
    span = (window - 1) * dilation + 1
    total = max(0, (-(-size // stride) - 1) * stride + span - size)
    return total // 2, total - total // 2


def pads(padding, sizes, window, strides, dilation, op):
    """Padding as (before, after) of each axis in turn: "valid", "same", or a pair per axis."""
    n = len(sizes)
    if isinstance(padding, str):
        kind = padding.lower()
        if kind == "valid":
            return (0,) * (2 * n)
        if kind == "same":
            return tuple(p for s, k, t, d in zip(sizes, window, strides, dilation) for p in same_pads(s, k, t, d))
    elif isinstance(padding, (list, tuple)) and len(padding) == n:
        return tuple(p for pair in padding for p in spatial(pair, 2, op, "padding", 0))
    raise ValueError(f"[{op}] padding must be 'valid', 'same', or {n} pairs (before, after). Received: padding={padding!r}")


def is_channels_first(data_format, op):
    """Whether ``data_format`` says so; None is the process-wide setting.

    Raises:
        ValueError: another value than None, "channels_last", "channels_first".
    """
    if data_format is None:
        data_format = config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"[{op}] data_format must be 'channels_last' or 'channels_first'. "
                         f"Received: data_format={data_format!r}")
    return data_format == "channels_first"


def channels_to_last(x):
    """(n, c, ...) -> (n, ..., c)"""
    from . import transpose

    return transpose(x, (0, *range(2, x.ndim), 1))


def channels_to_first(x):
    """(n, ..., c) -> (n, c, ...)"""
    from . import transpose

    return transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def check_images(x, op, ndims):
    """ValueError unless x has one of these numbers of dimensions."""
    if x.ndim not in ndims:
        raise ValueError(f"[{op}] inputs must have {' or '.join(map(str, ndims))} dimensions. "
                         f"Received: inputs.shape={x.shape}")
