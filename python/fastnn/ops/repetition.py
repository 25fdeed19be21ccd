"""Repetition, padding, and blocks of pixels."""

import numpy as np

from .. import _core
from .._core import record
from ..symbolic import op, unknown_size
from ..tensor import as_tensor
from .array import axis_index, expand_dims, integers, ravel, reshape, symbolic_sizes, transpose
from .joining import _part, concatenate

__all__ = ["depth_to_space", "pad", "repeat", "space_to_depth", "tile"]


def _sum_to(gy, shape):
    from .reduction import sum_to_shape

    return sum_to_shape(gy, shape)


@op
def repeat(x, repeats, axis=None):
    """``x`` with each element along ``axis`` repeated (of the flat array when None).

    Args:
        repeats: a number, or one for each position along the axis.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_index("repeat", axis, x.ndim)
    counts = integers("repeat", "repeats", repeats)
    if any(c < 0 for c in counts):
        raise ValueError(f"[repeat] repeats must not be negative. Received: repeats={repeats}")
    n = x.shape[axis]
    if len(counts) == 1:
        wide = x.shape[: axis + 1] + (counts[0],) + x.shape[axis + 1:]
        y = _spread(expand_dims(x, axis + 1), wide)
        return reshape(y, x.shape[:axis] + (n * counts[0],) + x.shape[axis + 1:])
    if len(counts) != n:
        raise ValueError("[repeat] repeats must be one number or one for each position. "
                         f"Received: {len(counts)} for {n} positions")
    from .indexing import take

    return take(x, np.repeat(np.arange(n), counts), axis)


def _spread(x, shape):
    y = _core.broadcast_to(x, shape)
    return record(y, (x,), lambda gy: (_sum_to(gy, x.shape),))


@op
def tile(x, repeats):
    """``x`` laid side by side ``repeats`` times along each axis, from the last ones if fewer are given.

    Args:
        x: tensor of any shape and dtype.
        repeats: int or tuple of ints; an integer tensor (k,), or tensors among the ints, where values decide.
    """
    x = as_tensor(x)
    symbolic = symbolic_sizes(repeats)
    repeats = integers("tile", "repeats", repeats if symbolic is None else [0 if r is None else r for r in symbolic])
    if any(r < 0 for r in repeats):
        raise ValueError(f"[tile] repeats must not be negative. Received: repeats={repeats}")
    n = max(len(repeats), x.ndim)
    repeats = (1,) * (n - len(repeats)) + repeats
    sizes = (1,) * (n - x.ndim) + x.shape
    if symbolic is not None:
        symbolic = (1,) * (n - len(symbolic)) + symbolic
        return _core.meta(tuple(unknown_size() if r is None else r * s for r, s in zip(symbolic, sizes)), x.dtype)
    narrow = [v for s in sizes for v in (1, s)]
    wide = [v for r, s in zip(repeats, sizes) for v in (r, s)]
    if len(wide) > 16:  # one axis at a time: a tensor has at most 16
        y = reshape(x, sizes)
        for a, r in enumerate(repeats):
            y = concatenate([y] * r, a) if r else _part(y, a, 0, 0)
        return y
    return reshape(_spread(reshape(x, narrow), wide), [r * s for r, s in zip(repeats, sizes)])


def _pad_pairs(pad_width, n):
    try:
        pairs = np.broadcast_to(np.asarray(pad_width), (n, 2))
    except ValueError:
        pairs = None
    if pairs is None or pairs.dtype.kind not in "iu" or np.asarray(pad_width).ndim > 2:
        raise ValueError(f"[pad] pad_width must be (before, after) for each of {n} axes. Received: pad_width={pad_width}")
    if (pairs < 0).any():
        raise ValueError(f"[pad] pad_width must not be negative. Received: pad_width={pad_width}")
    return [tuple(p) for p in pairs.tolist()]


@op
def pad(x, pad_width, mode="constant", constant_values=None):
    """``x`` with a border.

    Args:
        pad_width: ((before, after), ...) for each axis, one pair for all, or one number.
        mode: "constant", or one of NumPy's "edge", "reflect", "symmetric", "wrap" that repeat values of ``x``.
        constant_values: the border's value in mode "constant"; 0 by default.
    """
    x = as_tensor(x)
    pairs = _pad_pairs(pad_width, x.ndim)
    if mode == "constant":
        value = _core.full((), 0 if constant_values is None else constant_values, x.dtype)
        before = [p[0] for p in pairs]
        y = _core.pad(x, before, [p[1] for p in pairs], value)
        return record(y, (x,), lambda gy: (_crop(gy, before, x.shape),))
    if constant_values is not None:
        raise ValueError(f"[pad] Argument `constant_values` can only be provided when `mode == 'constant'`. Received: mode={mode!r}, "
                         f"constant_values={constant_values}")
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError("[pad] mode must be one of constant, edge, reflect, symmetric, wrap. "
                         f"Received: mode={mode!r}")
    from .indexing import take

    for a, pair in enumerate(pairs):
        if pair != (0, 0):
            if x.shape[a] == 0:
                raise ValueError(f"[pad] mode {mode!r} needs values to repeat. Received: shape={x.shape}, axis={a}")
            x = take(x, np.pad(np.arange(x.shape[a]), pair, mode), a)
    return x


def _crop(x, begin, shape):
    """The part of ``x`` from ``begin`` on: the gradient of a constant border."""
    ones = [1] * x.ndim
    y = _core.slice(x, begin, shape, ones)
    return record(y, (x,), lambda gy: (_uncrop(gy, begin, x.shape),))


def _uncrop(gy, begin, shape):
    gx = _core.slice_backward(gy, shape, begin, [1] * gy.ndim)
    return record(gx, (gy,), lambda g: (_crop(g, begin, gy.shape),))


# ---- blocks of pixels ----


def _blocks(name, x, block_size, data_format):
    x = as_tensor(x)
    if x.ndim != 4:
        raise ValueError(f"[{name}] x must have 4 dimensions. Received: shape={x.shape}")
    (b,) = integers(name, "block_size", block_size)
    if b < 2:
        raise ValueError(f"[{name}] `block_size` must be at least 2. Received: block_size={block_size}")
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(f"[{name}] data_format must be 'channels_first' or 'channels_last'. Received: {data_format!r}")
    first = data_format == "channels_first"
    return (transpose(x, (0, 2, 3, 1)) if first else x), b, first


@op
def space_to_depth(x, block_size, data_format="channels_last"):
    """Blocks of pixels as channels: (n, h b, w b, c) -> (n, h, w, b b c).

    Args:
        x: (n, h b, w b, c), or with the channels first.
        block_size: int b.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    x, b, first = _blocks("space_to_depth", x, block_size, data_format)
    n, h, w, c = x.shape
    if h % b or w % b:
        raise ValueError("[space_to_depth] the height and width must be multiples of block_size. "
                         f"Received: height={h}, width={w}, block_size={b}")
    y = transpose(reshape(x, (n, h // b, b, w // b, b, c)), (0, 1, 3, 2, 4, 5))
    y = reshape(y, (n, h // b, w // b, b * b * c))
    return transpose(y, (0, 3, 1, 2)) if first else y


@op
def depth_to_space(x, block_size, data_format="channels_last"):
    """Channels as blocks of pixels: (n, h, w, b b c) -> (n, h b, w b, c); undoes ``space_to_depth``.

    Args:
        x: (n, h, w, b b c), or with the channels first.
        block_size: int b.
        data_format: "channels_last", "channels_first", or None for the default of `config.image_data_format`.
    """
    x, b, first = _blocks("depth_to_space", x, block_size, data_format)
    n, h, w, c = x.shape
    if c % (b * b):
        raise ValueError("[depth_to_space] the channels must be a multiple of block_size squared. "
                         f"Received: channels={c}, block_size={b}")
    y = transpose(reshape(x, (n, h, w, b, b, c // (b * b))), (0, 1, 3, 2, 4, 5))
    y = reshape(y, (n, h * b, w * b, c // (b * b)))
    return transpose(y, (0, 3, 1, 2)) if first else y
