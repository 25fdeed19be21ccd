"""Convolution and transposed convolution of sequences, images and volumes.

The three kernels (forward, gradient of the input, gradient of the kernel) are each other's
gradients, so one function for each records all orders of derivative.
"""

import functools
import itertools

from .. import _core, dtypes
from ..autograd import record
from ..symbolic import op
from ..tensor import as_tensor
from .matmul import FUSED, epilogue_backward

__all__ = ["conv", "conv_transpose", "fused_conv", "fused_conv_transpose"]


def conv_padding(padding, size, window, stride):
    """(before, after) of one axis: "valid", "same" (TensorFlow's rule: the odd one goes after),
    "causal", or an explicit pair or number."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        return total // 2, total - total // 2
    if padding == "causal":
        return window - 1, 0
    if isinstance(padding, int):
        return padding, padding
    before, after = padding
    return before, after


def transpose_sizes(size, taps, stride, dilation, padding, output_padding):
    """(output size, padding before, padding after) of one axis of a transposed convolution.

    The paddings are those of the convolution whose input has the output size.
    """
    window = (taps - 1) * dilation + 1
    if padding == "valid":
        before = 0
        output = (size - 1) * stride + (max(window, stride) if output_padding is None else window + output_padding)
    else:
        extra = stride + window - 2 if output_padding is None else window + window % 2 - 2 + output_padding
        before = max(window - 1 - (extra + 1) // 2, 0)
        output = (size - 1) * stride + 1 + extra - (window - 1)
    return output, before, max((size - 1) * stride + window - before - output, 0)


def per_axis(name, value, rank, op="conv"):
    """An int for each of ``rank`` axes, from one int or a sequence of them."""
    values = (value,) * rank if not isinstance(value, (tuple, list)) else tuple(value)
    try:
        if len(values) != rank or any(isinstance(v, bool) for v in values):
            raise TypeError
        return tuple(v.__index__() for v in values)
    except (TypeError, AttributeError):
        raise ValueError(f"[{op}] {name} must be an integer or {rank} integers. Received: {name}={value!r}") from None


@functools.lru_cache(4096)
def _options(strides, dilations, pads, groups):
    return _core.Conv2dOptions(strides, dilations, pads, groups)


def _forward(x, w, bias, o, kind):
    y = _core.conv2d_forward(x, w, bias, o, kind)

    def vjp(gy):
        gz, gb = gy, None
        if kind or (bias is not None and bias.node is not None):
            gz, gb = epilogue_backward(kind, y, gy, bias is not None)
        gx = _backward_input(gz, w, None, _size(x), o, 0) if x.node is not None else None
        gw = _backward_weights(x, gz, _taps(w), o) if w.node is not None else None
        return gx, gw, gb

    return record(y, (x, w, bias), vjp)


def _backward_input(gy, w, bias, size, o, kind):
    gx = _core.conv2d_backward_input(gy, w, bias, size, o, kind)

    def vjp(ggx):
        gz, gb = ggx, None
        if kind or (bias is not None and bias.node is not None):
            gz, gb = epilogue_backward(kind, gx, ggx, bias is not None)
        ggy = _forward(gz, w, None, o, 0) if gy.node is not None else None
        gw = _backward_weights(gz, gy, _taps(w), o) if w.node is not None else None
        return ggy, gw, gb

    return record(gx, (gy, w, bias), vjp)


def _backward_weights(x, gy, taps, o):
    gw = _core.conv2d_backward_weights(x, gy, taps, o)

    def vjp(ggw):
        gx = _backward_input(gy, ggw, None, _size(x), o, 0) if x.node is not None else None
        ggy = _forward(x, ggw, None, o, 0) if gy.node is not None else None
        return gx, ggy

    return record(gw, (x, gy), vjp)


def _size(x):
    return x.shape[1:3] if x.ndim == 4 else (1, x.shape[1])


def _taps(w):
    return w.shape[:2] if w.ndim == 4 else (1, w.shape[0])


def _with_height(pairs):
    """Options of sequences are those of images of height 1."""
    return ((0, 0), *pairs) if len(pairs) == 1 else pairs


def _flat_options(strides, dilations, pads, groups):
    pads = _with_height(pads)
    if len(strides) == 1:
        strides, dilations = (1, *strides), (1, *dilations)
    return _options(strides, dilations, (*pads[0], *pads[1]), groups)


def _checked(name, x, kernel, strides, dilation_rate, padding, paddings):
    """strides, dilations and paddings for each axis, of an input of shape x and a kernel of shape kernel."""
    rank = len(x) - 2
    if rank not in (1, 2, 3):
        raise ValueError(f"[{name}] inputs must have 3, 4 or 5 axes (batch, 1 to 3 of space, channels). "
                         f"Received: inputs.shape={x}")
    if len(kernel) != len(x):
        raise ValueError(f"[{name}] kernel must have as many axes as inputs. "
                         f"Received: inputs.shape={x}, kernel.shape={kernel}")
    if 0 in kernel or x[-1] == 0:
        raise ValueError(f"[{name}] kernel and channels must not be empty. "
                         f"Received: inputs.shape={x}, kernel.shape={kernel}")
    strides = per_axis("strides", strides, rank, name)
    dilations = per_axis("dilation_rate", dilation_rate, rank, name)
    if min(strides) < 1:
        raise ValueError(f"[{name}] strides must be at least 1. Received: strides={strides}")
    if min(dilations) < 1:
        raise ValueError(f"[{name}] dilation_rate must be at least 1. Received: dilation_rate={dilations}")
    if isinstance(padding, str):
        padding = padding.lower()
        if padding not in paddings:
            raise ValueError(f"[{name}] padding must be one of {', '.join(paddings)}. Received: padding={padding!r}")
        padding = (padding,) * rank
    else:
        try:
            padding = (padding,) * rank if isinstance(padding, int) else tuple(padding)
            if len(padding) != rank or any(not isinstance(p, int) and [int(v) for v in p] != list(p) for p in padding):
                raise TypeError
        except (TypeError, ValueError):
            raise ValueError(f"[{name}] padding must be a name, an integer or a pair of integers for each axis. "
                             f"Received: padding={padding!r}") from None
    return strides, dilations, padding


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


@functools.lru_cache(4096, typed=True)
def _plan(x, kernel, strides, padding, dilation_rate, groups):
    """(strides, dilations, pads, groups, kernel options) of a convolution of these shapes."""
    strides, dilations, padding = _checked("conv", x, kernel, strides, dilation_rate, padding,
                                           ("valid", "same", "causal"))
    groups = per_axis("groups", groups, 1)[0]
    pads = tuple(conv_padding(p, n, (k - 1) * d + 1, s)
                 for p, n, k, d, s in zip(padding, x[1:], kernel, dilations, strides))
    options = _flat_options(strides, dilations, pads, groups) if len(x) < 5 else None
    return strides, dilations, pads, groups, options


@op
def fused_conv(x, kernel, bias=None, strides=1, padding="valid", dilation_rate=1, groups=1, activation=None):
    """activation(conv(x, kernel) + bias) as one kernel: what a convolution layer computes.

    y[n,i,j,o] = sum_{u,v,c} x[n, i*sh - ph + u*dh, j*sw - pw + v*dw, c] * kernel[u,v,c,o]

    Args:
        x: (n, w, c), (n, h, w, c) or (n, d, h, w, c).
        kernel: (..., c / groups, filters), as many taps axes as x has axes of space.
        bias: (filters,), or None.
        strides, dilation_rate: int or one for each axis of space, at least 1.
        padding: "valid", "same" (output size ceil(size / stride)), "causal", or a (before, after) for each axis.
        groups: channels and filters are cut into this many independent groups.
        activation: None, "linear", "relu", "sigmoid" or "tanh".

    Returns:
        (n, ..., filters) with sizes (size + pads - (taps - 1) * dilation - 1) // stride + 1.

    Raises:
        ValueError: ranks or channels disagree, or the window exceeds the padded input.

    Source: packing a convolution into a matrix product, Chellapilla et al. 2006.
    """
    x, kernel = as_tensor(x), as_tensor(kernel)
    bias = None if bias is None else as_tensor(bias)
    kind = _kind("conv", activation)
    strides, dilations, pads, groups, options = _plan(
        x.shape, kernel.shape, _tuples(strides), _tuples(padding), _tuples(dilation_rate), groups)

    def f(x, w, b):
        if options is None:
            return _conv3d(x, w, b, strides, dilations, pads, groups, kind)
        return _forward(x, w, b, options, kind)

    return _with_dtype(x, kernel, bias, f,
                       lambda x, w, b: _conv_of_slices(x, w, b, strides, dilations, pads, groups, kind))


def _kind(name, activation):
    kind = FUSED.get(activation)
    if kind is None:
        raise ValueError(f"[{name}] activation must be one of {[a for a in FUSED if a]} or None. "
                         f"Received: activation={activation!r}")
    return kind


def _with_dtype(x, kernel, bias, f, f64):
    """f in float32, or f64 in float64, on whatever the arguments are; the result has their common dtype."""
    if x.dtype == kernel.dtype == "float32" and (bias is None or bias.dtype == "float32"):
        return f(x, kernel, bias)
    from . import cast

    dtype = dtypes.result_type(x.dtype, kernel.dtype, float)
    compute = "float64" if dtype == "float64" else "float32"
    arguments = [None if t is None else cast(t, compute) for t in (x, kernel, bias)]
    if compute == "float32":
        return cast(f(*arguments), dtype)
    inferring = _core.set_inferring(True)
    try:
        y = f(*[None if t is None else _core.meta(t.shape, "float32") for t in arguments])  # the checks
    finally:
        _core.set_inferring(inferring)
    return _core.meta(y.shape, dtype) if x.device == "meta" else f64(*arguments)


def _conv_of_slices(x, w, bias, strides, dilations, pads, groups, kind):
    """The definition, tap by tap, for dtypes and ranks without a kernel."""
    from . import add, concatenate, matmul, pad

    x = pad(x, ((0, 0), *pads, (0, 0)))
    out = [(n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(x.shape[1:], w.shape, dilations, strides)]
    y, icg, ocg = bias, w.shape[-2], w.shape[-1] // groups
    for at in itertools.product(*map(range, w.shape[:-2])):
        part = x[(slice(None), *(slice(u * d, u * d + (o - 1) * s + 1, s)
                                 for u, d, o, s in zip(at, dilations, out, strides)))]
        terms = [matmul(part[..., g * icg : (g + 1) * icg], w[at][:, g * ocg : (g + 1) * ocg]) for g in range(groups)]
        term = terms[0] if groups == 1 else concatenate(terms, axis=-1)
        y = term if y is None else add(y, term)
    return _activate(y, kind)


def _conv_transpose_of_slices(x, w, bias, size, strides, dilations, pads, groups, kind):
    """A convolution of x with zeros put between its cells and the kernel turned around."""
    from . import flip, pad, reshape, transpose

    rank = x.ndim - 2
    around = []
    for axis, (s, d, k, n, (before, _)) in enumerate(zip(strides, dilations, w.shape, size, pads), 1):
        shape = x.shape
        x = reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
        x = pad(x, [(0, s - 1) if i == axis + 1 else (0, 0) for i in range(x.ndim)])
        x = reshape(x, (*shape[:axis], shape[axis] * s, *shape[axis + 1 :]))
        # The last cell is followed by s - 1 zeros that no window may need.
        around.append(((k - 1) * d - before, n + before - shape[axis] * s))
    x = x[(slice(None), *(slice(0, n + min(after, 0)) for n, (_, after) in zip(x.shape[1:], around)))]
    pads = [(before, max(after, 0)) for before, after in around]
    # (..., filters / groups, groups * c) -> (..., c, filters)
    w = reshape(flip(w, tuple(range(rank))), (*w.shape[:-1], groups, -1))
    w = transpose(w, (*range(rank), rank + 2, rank + 1, rank))
    w = reshape(w, (*w.shape[:-2], -1))
    return _conv_of_slices(x, w, bias, (1,) * rank, dilations, pads, groups, kind)


def _conv3d(x, w, bias, strides, dilations, pads, groups, kind):
    """The sum over depth taps of 2-D convolutions of the depths that each of them reads."""
    from . import pad, reshape

    window = (w.shape[0] - 1) * dilations[0] + 1
    depth = x.shape[1] + sum(pads[0])
    if window > depth:
        raise ValueError(f"[conv] the window must fit into the padded input. Received: window={window}, padded input={depth}")
    out = (depth - window) // strides[0] + 1
    if any(pads[0]):
        x = pad(x, ((0, 0), pads[0], (0, 0), (0, 0), (0, 0)))
    o = _flat_options(strides[1:], dilations[1:], pads[1:], groups)
    y = None
    for u in range(w.shape[0]):
        start = u * dilations[0]
        part = x[:, start : start + (out - 1) * strides[0] + 1 : strides[0]]
        part = reshape(part, (-1, *part.shape[2:]))
        term = _forward(part, w[u], bias if u == 0 else None, o, 0)
        y = term if y is None else y + term
    y = reshape(y, (x.shape[0], out, *y.shape[1:]))
    return _activate(y, kind)


def _activate(y, kind):
    from .. import ops

    return y if kind == 0 else getattr(ops, next(name for name, k in FUSED.items() if k == kind))(y)


@op
def fused_conv_transpose(x, kernel, bias=None, strides=1, padding="valid", output_padding=None, dilation_rate=1,
                         groups=1, activation=None):
    """activation(conv_transpose(x, kernel) + bias) as one kernel.

    A transposed convolution is the gradient of a convolution with respect to its input.

    Args:
        x: (n, w, c), (n, h, w, c) or (n, d, h, w, c).
        kernel: (..., filters / groups, c): the last two axes are those of a convolution from filters to c.
        bias: (filters,), or None.
        strides, dilation_rate: int or one for each axis of space.
        padding: "valid" or "same".
        output_padding: added to the output size at the end, less than the stride; None gives size * stride
            for "same" and (size - 1) * stride + max(window, stride) for "valid".
        groups: channels and filters are cut into this many independent groups.
        activation: None, "linear", "relu", "sigmoid" or "tanh".

    Returns:
        (n, ..., filters)

    Raises:
        ValueError: ranks or channels disagree, or output_padding gives a size that no convolution has.
    """
    x, kernel = as_tensor(x), as_tensor(kernel)
    bias = None if bias is None else as_tensor(bias)
    kind = _kind("conv_transpose", activation)
    strides, dilations, padding = _checked("conv_transpose", x.shape, kernel.shape, strides, dilation_rate, padding,
                                           ("valid", "same"))
    rank = x.ndim - 2
    extra = (None,) * rank
    if output_padding is not None:
        extra = per_axis("output_padding", output_padding, rank, "conv_transpose")
        if any(not 0 <= e < s for e, s in zip(extra, strides)):
            raise ValueError("[conv_transpose] output_padding must be from 0 to strides - 1. "
                             f"Received: output_padding={output_padding}, strides={strides}")
    groups = per_axis("groups", groups, 1, "conv_transpose")[0]
    sizes = [transpose_sizes(n, k, s, d, p, e)
             for n, k, s, d, p, e in zip(x.shape[1:], kernel.shape, strides, dilations, padding, extra)]
    size, pads = tuple(s[0] for s in sizes), tuple(s[1:] for s in sizes)
    if min(size) < 1:
        raise ValueError(f"[conv_transpose] the output must not be empty. Received: output size {size} "
                         f"from inputs.shape={x.shape}")
    o = None if rank == 3 else _flat_options(strides, dilations, pads, groups)

    def f(x, w, b):
        if rank == 3:
            return _conv3d_transpose(x, w, b, size, strides, dilations, pads, groups, kind)
        return _backward_input(x, w, b, size if rank == 2 else (1, *size), o, kind)

    return _with_dtype(
        x, kernel, bias, f,
        lambda x, w, b: _conv_transpose_of_slices(x, w, b, size, strides, dilations, pads, groups, kind))


def _conv3d_transpose(x, w, bias, size, strides, dilations, pads, groups, kind):
    """Each depth of the result is the sum of the 2-D results of the depths and taps that reach it."""
    from . import add, reshape, stack, zeros

    n, depth = x.shape[:2]
    o = _flat_options(strides[1:], dilations[1:], pads[1:], groups)
    flat = reshape(x, (n * depth, *x.shape[2:]))
    taps = [reshape(t, (n, depth, *t.shape[1:]))
            for t in (_backward_input(flat, w[u], None, size[1:], o, 0) for u in range(w.shape[0]))]
    slices = []
    for at in range(size[0]):
        total = None
        for u, t in enumerate(taps):
            i, rest = divmod(at + pads[0][0] - u * dilations[0], strides[0])
            if rest == 0 and 0 <= i < depth:
                total = t[:, i] if total is None else add(total, t[:, i])
        slices.append(zeros((n, *size[1:], taps[0].shape[-1])) if total is None else total)
    y = stack(slices, axis=1)
    return _activate(y if bias is None else add(y, bias), kind)


def _to_channels_last(x):
    from . import transpose

    return transpose(x, (0, *range(2, x.ndim), 1))


def _to_channels_first(x):
    from . import transpose

    return transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def channels_last(data_format, name):
    """Whether ``data_format`` (None: the configured one) is "channels_last".

    Raises:
        ValueError: it is not the name of a format.
    """
    from ..config import image_data_format

    data_format = image_data_format() if data_format is None else data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"[{name}] data_format must be 'channels_last' or 'channels_first'. "
                         f"Received: data_format={data_format!r}")
    return data_format == "channels_last"


@op
def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Convolution (cross-correlation) over 1, 2 or 3 axes of space.

    On a CPU, windows of 3 x 3 pixels, and of 3 or 5 in a row or a column, that move by one are computed in tiles of up to
    4 outputs by minimal filtering, where that saves time (16 channels at least). An output's rounding then follows the
    largest values that its tile reads, and NaN or infinity reaches all outputs of the tile. So it is with gradients.

    Args:
        inputs: (n, ..., c) for "channels_last", (n, c, ...) for "channels_first".
        kernel: (..., c / groups, filters); the number of groups follows from its channels.
        strides: int or one for each axis of space.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; the configured one by default.
        dilation_rate: int or one for each axis of space.

    Returns:
        (n, ..., filters), in the format of the input.

    Raises:
        ValueError: ranks or channels disagree, or the window exceeds the padded input.
    """
    x, kernel = as_tensor(inputs), as_tensor(kernel)
    last = channels_last(data_format, "conv")
    if x.ndim < 3 or kernel.ndim < 3:
        _checked("conv", x.shape, kernel.shape, strides, dilation_rate, padding, ())
    if not last:
        x = _to_channels_last(x)
    channels, per_group = x.shape[-1], kernel.shape[-2]
    if per_group == 0 or channels % per_group:
        raise ValueError("[conv] the channels of kernel must divide those of inputs. "
                         f"Received: inputs.shape={x.shape}, kernel.shape={kernel.shape}")
    y = fused_conv(x, kernel, None, strides, padding, dilation_rate, max(channels // per_group, 1))
    return y if last else _to_channels_first(y)


@op
def conv_transpose(inputs, kernel, strides=1, padding="valid", output_padding=None, data_format=None, dilation_rate=1):
    """Transposed convolution over 1, 2 or 3 axes of space: enlarges where a convolution shrinks.

    Args:
        inputs: (n, ..., c) for "channels_last", (n, c, ...) for "channels_first".
        kernel: (..., filters, c).
        strides: int or one for each axis of space.
        padding: "valid" or "same".
        output_padding: int or one for each axis: added to the output size; see ``fused_conv_transpose``.
        data_format: "channels_last" or "channels_first"; the configured one by default.
        dilation_rate: int or one for each axis of space.

    Returns:
        (n, ..., filters), in the format of the input.

    Raises:
        ValueError: ranks or channels disagree, or output_padding is not less than the stride.
    """
    x, kernel = as_tensor(inputs), as_tensor(kernel)
    last = channels_last(data_format, "conv_transpose")
    if not last and x.ndim > 2:
        x = _to_channels_last(x)
    y = fused_conv_transpose(x, kernel, None, strides, padding, output_padding, dilation_rate)
    return y if last else _to_channels_first(y)
