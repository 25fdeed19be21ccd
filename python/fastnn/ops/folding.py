"""Windows as columns and back, axes rearranged by name, forward-mode products, functions made elementwise."""

import re

import numpy as np

from ..autograd import GradientTape
from ..symbolic import op
from ..tensor import as_tensor, from_numpy
from .array import reshape, transpose
from .creation import ones, zeros_like
from .indexing import segment_sum, take
from .repetition import pad


def _two(name, argument, value, low=1):
    pair = (value, value) if hasattr(value, "__index__") else tuple(value)
    if len(pair) != 2 or any(not hasattr(v, "__index__") or v < low for v in pair):
        raise ValueError(f"[{name}] {argument} must be an integer or two, at least {low}. Received: {argument}={value!r}")
    return pair


def _places(name, size, kernel_size, dilation, padding, stride):
    """The index in a padded (h, w) image of each element of each window: (kh * kw, windows); and the padded sizes."""
    k, d = _two(name, "kernel_size", kernel_size), _two(name, "dilation", dilation)
    p, s = _two(name, "padding", padding, 0), _two(name, "stride", stride)
    h, w = size[0] + 2 * p[0], size[1] + 2 * p[1]
    rows, columns = ((n - (k[i] - 1) * d[i] - 1) // s[i] + 1 for i, n in enumerate((h, w)))
    if rows < 1 or columns < 1:
        raise ValueError(f"[{name}] a window must fit into the image. Received: size={tuple(size)}, kernel_size={kernel_size}")
    y = (np.arange(k[0]) * d[0])[:, None, None, None] + (np.arange(rows) * s[0])[None, None, :, None]
    x = (np.arange(k[1]) * d[1])[None, :, None, None] + (np.arange(columns) * s[1])[None, None, None, :]
    return (y * w + x).reshape(k[0] * k[1], rows * columns).astype("int32"), (h, w), p


@op
def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of images as columns.

    Args:
        x: (n, c, h, w).
        kernel_size, dilation, padding, stride: int or (rows, columns).

    Returns:
        (n, c * kh * kw, windows)
    """
    x = as_tensor(x)
    if x.ndim != 4:
        raise ValueError(f"[unfold] x must have 4 axes. Received: x.shape={x.shape}")
    n, c = x.shape[:2]
    index, (h, w), p = _places("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    if any(p):
        x = pad(x, ((0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])))
    y = take(reshape(x, (n, c, h * w)), index, axis=2)
    return reshape(y, (n, c * index.shape[0], index.shape[1]))


@op
def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns of windows added up to images: the adjoint of ``unfold``.

    Args:
        x: (n, c * kh * kw, windows).
        output_size: (h, w) of the images.
        kernel_size, dilation, padding, stride: those of ``unfold``.

    Returns:
        (n, c, h, w)
    """
    x = as_tensor(x)
    size = _two("fold", "output_size", output_size)
    index, (h, w), p = _places("fold", size, kernel_size, dilation, padding, stride)
    if x.ndim != 3 or x.shape[1] % index.shape[0] or x.shape[2] != index.shape[1]:
        raise ValueError(f"[fold] x must be (n, c * {index.shape[0]}, {index.shape[1]}). Received: x.shape={x.shape}")
    n, c = x.shape[0], x.shape[1] // index.shape[0]
    columns = transpose(reshape(x, (n * c, index.size)), (1, 0))
    y = segment_sum(columns, from_numpy(index.reshape(-1)), h * w)
    y = reshape(transpose(y, (1, 0)), (n, c, h, w))
    return y[:, :, p[0]:h - p[0], p[1]:w - p[1]] if any(p) else y


def _groups(side):
    return [part.strip("()").split() if part.startswith("(") else [part] for part in re.findall(r"\([^)]*\)|\S+", side)]


@op
def rearrange(tensor, pattern, **axes_lengths):
    """The axes reordered, split and merged by names, as einops writes it: ``"b (h p) w -> b h (w p)"``.

    Args:
        pattern: names of the axes before and after; those in brackets are one axis.
        axes_lengths: sizes of names that cannot be worked out.
        tensor: tensor with as many axes as the left side has parts.

    Raises:
        ValueError: the pattern does not fit.
    """
    x = as_tensor(tensor)
    if not isinstance(pattern, str):
        raise TypeError(f"[rearrange] pattern must be a string. Received: pattern={pattern!r}")
    left, arrow, right = pattern.partition("->")
    before, after = _groups(left), _groups(right)
    names = [n for group in before for n in group]
    if not arrow or len(before) != x.ndim or sorted(names) != sorted(n for g in after for n in g) or (
            len(set(names)) < len(names)):
        raise ValueError("[rearrange] pattern must name each axis once on both sides. "
                         f"Received: pattern={pattern!r}, tensor.shape={x.shape}")
    sizes = dict(axes_lengths)
    for group, size in zip(before, x.shape):
        unknown = [n for n in group if n not in sizes]
        known = int(np.prod([sizes[n] for n in group if n in sizes], dtype=np.int64))
        if len(unknown) > 1 or (unknown and (known == 0 or size % known)) or (not unknown and known != size):
            raise ValueError(f"[rearrange] the sizes of {group} must multiply to {size}. Received: {axes_lengths}")
        if unknown:
            sizes[unknown[0]] = size // known
    x = reshape(x, [sizes[n] for n in names])
    order = [names.index(n) for g in after for n in g]
    x = transpose(x, order)
    return reshape(x, [int(np.prod([sizes[n] for n in g], dtype=np.int64)) for g in after])


def jvp(fun, primals, tangents, has_aux=False):
    """The value of a function, and its derivative along given directions.

    Args:
        fun: a function of tensors.
        primals: list or tuple of its arguments. tangents: of directions, in their shapes.
        has_aux: fun returns a pair, of which the second is handed on.

    Returns:
        (value, derivative), or (value, derivative, aux)

    The derivative is the gradient, with respect to the weights v, of sum(v * gradient of fun); second-order gradients of
    the ops in fun must exist.
    """
    from ..tree import flatten, pack_sequence_as
    from .elementwise import add, multiply
    from .reduction import sum as sum_

    xs = [as_tensor(p).alias() for p in primals]
    directions = [as_tensor(t, x.dtype) for t, x in zip(tangents, xs)]
    with GradientTape(persistent=True) as outer:
        with GradientTape() as inner:
            inner.watch(xs)
            result = fun(*xs)
            value, aux = result if has_aux else (result, None)
            ys = flatten(value)
        weights = [ones(y.shape, y.dtype) for y in ys]
        outer.watch(weights)
        gradients = inner.gradient(ys, xs, output_gradients=weights)
        total = None
        for g, t in zip(gradients, directions):
            if g is not None:
                part = sum_(multiply(g, t))
                total = part if total is None else add(total, part)
    found = [None] * len(ys) if total is None else outer.gradient(total, weights)
    found = [zeros_like(y) if g is None else g for g, y in zip(found, ys)]
    derivative = pack_sequence_as(value, found)
    return (value, derivative, aux) if has_aux else (value, derivative)


def vectorize(pyfunc, *, excluded=None, signature=None):
    """A function of single values, as one of tensors that applies it to each element.

    Args:
        pyfunc: a function of numbers, or of arrays with the axes that ``signature`` names.
        excluded: positions and names of arguments that are handed on whole.
        signature: as NumPy's, "(m,n),(n)->(m)".

    Returns:
        A function of tensors; its results have no gradient.
    """
    from ..tensor import to_numpy
    from .._core import Tensor

    mapped = np.vectorize(pyfunc, excluded=excluded, signature=signature)

    def plain(x):
        return to_numpy(x) if isinstance(x, Tensor) else x

    def call(*args, **kwargs):
        y = mapped(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()})
        wrap = lambda a: as_tensor(np.asarray(a, "float32") if np.asarray(a).dtype == np.float64 else np.asarray(a))  # noqa: E731
        return tuple(map(wrap, y)) if isinstance(y, tuple) else wrap(y)

    call.__name__ = getattr(pyfunc, "__name__", "vectorized")
    call.__doc__ = pyfunc.__doc__
    return call


__all__ = ["fold", "jvp", "rearrange", "unfold", "vectorize"]
