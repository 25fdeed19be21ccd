"""Matrix products: matmul and what reduces to it, and the fused product of dense layers."""

import numpy as np

from .. import _core, dtypes
from .._core import recording
from ..autograd import record
from ..symbolic import op
from ..tensor import as_tensor, from_numpy, to_numpy

__all__ = ["dense", "dot", "einsum", "inner", "matmul", "outer", "tensordot", "vdot"]

# Activations that a matrix product or convolution applies to its result while it is in registers:
# those with a derivative that is a function of the result.
FUSED = {None: 0, "linear": 0, "relu": 1, "sigmoid": 2, "tanh": 3}
_SIGMOID, _TANH = 2, 3


def epilogue_backward(kind, y, gy, bias):
    """(gz, gb): the gradient before bias and activation ``kind``, and its sum over all axes but the
    last, or None without ``bias``. ``y`` is the result after the activation."""
    gz, gb = _core.epilogue_backward(kind, y, gy, bias)

    def vjp(ggz, ggb):
        from . import add, broadcast_to, multiply, subtract

        g = broadcast_to(ggb, y.shape) if ggz is None else ggz if ggb is None else add(ggz, ggb)
        g_gy = epilogue_backward(kind, y, g, False)[0] if kind else g
        if kind == _SIGMOID:  # d y (1 - y) / dy
            return multiply(multiply(g, gy), subtract(1.0, multiply(2.0, y))), g_gy
        if kind == _TANH:  # d (1 - y^2) / dy
            return multiply(multiply(g, gy), multiply(-2.0, y)), g_gy
        return None, g_gy

    return record((gz, gb), (y, gy), vjp)


def sum_to(g, shape):
    """``g`` summed over the axes that broadcasting gave it over ``shape``."""
    if g.shape == tuple(shape):
        return g
    from . import reshape, sum

    extra = g.ndim - len(shape)
    axes = tuple(i for i, n in enumerate(g.shape) if i < extra or (n != 1 and shape[i - extra] == 1))
    return reshape(sum(g, axis=axes), shape) if axes else reshape(g, shape)


def _recorded_matmul(y, a, b, trans_a, trans_b):
    """``y``, the product of the tensors a and b, on the tape."""
    def vjp(gy):
        ga = gb = None
        if a.node is not None:
            ga = _matmul(b, gy, trans_b, True) if trans_a else _matmul(gy, b, False, not trans_b)
            ga = sum_to(ga, a.shape)
        if b.node is not None:
            if b.ndim == 2 and a.ndim > 2 and not trans_a:  # one product over all rows of the batch
                gb = _weight_gradient(a, gy, trans_b)
            else:
                gb = _matmul(gy, a, True, trans_a) if trans_b else _matmul(a, gy, not trans_a, False)
                gb = sum_to(gb, b.shape)
        return ga, gb

    return record(y, (a, b), vjp)


def _weight_gradient(x, gy, transposed=False):
    """x^T @ gy, or its transpose, over all axes but the last."""
    if x.ndim > 2:
        from . import reshape

        x, gy = reshape(x, (-1, x.shape[-1])), reshape(gy, (-1, gy.shape[-1]))
    return _matmul(gy, x, True, False) if transposed else _matmul(x, gy, True, False)


def _matmul(a, b, trans_a=False, trans_b=False):
    """a @ b of tensors with at least 2 axes, of which the last two are swapped where asked."""
    y = _core.product(a, b, trans_a, trans_b)
    if y is not None:
        return _recorded_matmul(y, a, b, trans_a, trans_b) if recording() else y
    from . import cast

    dtype = dtypes.result_type(a.dtype, b.dtype)
    if a.dtype == b.dtype == "int8":
        dtype = "int32"  # products of bytes are summed in int32, as Keras does
    compute = "float32" if dtype in ("float16", "bfloat16") else dtype
    a, b = cast(a, compute), cast(b, compute)
    if compute == "float32":
        return cast(_matmul(a, b, trans_a, trans_b), dtype)
    if a.device == "meta":
        shape = _core.matmul(_core.meta(a.shape, "float32"), _core.meta(b.shape, "float32"), None, trans_a, trans_b, 0).shape
        return _core.meta(shape, dtype)
    na, nb = to_numpy(a), to_numpy(b)
    y = from_numpy(np.matmul(na.swapaxes(-1, -2) if trans_a else na, nb.swapaxes(-1, -2) if trans_b else nb))

    def vjp(gy):
        ga = _matmul(b, gy, trans_b, True) if trans_a else _matmul(gy, b, False, not trans_b)
        gb = _matmul(gy, a, True, trans_a) if trans_b else _matmul(a, gy, not trans_a, False)
        return sum_to(ga, a.shape), sum_to(gb, b.shape)

    return record(y, (a, b), vjp)


@op(kernel=_core.product, least=2)
def matmul(x1, x2):
    """Matrix product with NumPy's rules: 1-D arguments are vectors, leading axes broadcast.

    Args:
        x1: (..., m, k) or (k,).
        x2: (..., k, n) or (k,).

    Returns:
        (..., m, n), without the axis of an argument that was a vector; zeros where k is 0.

    Raises:
        ValueError: the inner sizes differ, the leading axes do not broadcast, or an argument is a scalar.
    """
    y = _core.product(x1, x2, False, False)
    if y is not None:
        return _recorded_matmul(y, x1, x2, False, False) if recording() else y
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.ndim > 1 and x2.ndim > 1:
        return _matmul(x1, x2)
    from . import reshape

    if x1.ndim == 0 or x2.ndim == 0:
        raise ValueError("[matmul] x1 and x2 must have at least 1 axis. "
                         f"Received: x1.shape={x1.shape}, x2.shape={x2.shape}")
    y = _matmul(reshape(x1, (1, -1)) if x1.ndim == 1 else x1, reshape(x2, (-1, 1)) if x2.ndim == 1 else x2)
    shape = y.shape[:-1] if x2.ndim == 1 else y.shape
    if x1.ndim == 1:
        shape = shape[: len(shape) - (1 if x2.ndim == 1 else 2)] + (() if x2.ndim == 1 else shape[-1:])
    return reshape(y, shape)


@op
def dense(x, kernel, bias=None, activation=None):
    """activation(x @ kernel + bias) as one kernel: what a Dense layer computes.

    Args:
        x: (..., k), at least 2 axes.
        kernel: (k, n).
        bias: (n,), or None.
        activation: None, "linear", "relu", "sigmoid" or "tanh".

    Returns:
        (..., n)

    Raises:
        ValueError: shapes disagree, or the activation is another one.
    """
    kind = FUSED.get(activation)
    if kind is None:
        raise ValueError(f"[dense] activation must be one of {[a for a in FUSED if a]} or None. "
                         f"Received: activation={activation!r}")
    y = _core.product(x, kernel, False, False, bias, kind)
    if y is None:
        x, kernel = as_tensor(x), as_tensor(kernel)
        bias = None if bias is None else as_tensor(bias)
        if kernel.ndim != 2 or x.ndim < 2:
            raise ValueError("[dense] x must have at least 2 axes and kernel 2. "
                             f"Received: x.shape={x.shape}, kernel.shape={kernel.shape}")
        y = _core.product(x, kernel, False, False, bias, kind)
        if y is None:
            return _dense_of_ops(x, kernel, bias, activation)
    if not recording():
        return y

    def vjp(gy):
        gz, gb = gy, None
        if kind or (bias is not None and bias.node is not None):
            gz, gb = epilogue_backward(kind, y, gy, bias is not None)
        gx = _matmul(gz, kernel, False, True) if x.node is not None else None
        gw = _weight_gradient(x, gz) if kernel.node is not None else None
        return gx, gw, gb

    return record(y, (x, kernel, bias), vjp)


def _dense_of_ops(x, kernel, bias, activation):
    """dense for other dtypes than float32."""
    from .. import ops

    if not dtypes.is_float(x.dtype):  # counts and flags: cast once, to the dtype of the weights
        x = ops.cast(x, kernel.dtype)
    y = matmul(x, kernel)
    if bias is not None:
        y = ops.add(y, bias)
    return y if not FUSED[activation] else getattr(ops, activation)(y)


@op
def dot(x1, x2):
    """Dot product with NumPy's rules: the last axis of ``x1`` with the second to last of ``x2`` (its only one if 1-D).

    Args:
        x1: tensor.
        x2: tensor.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    from . import multiply

    if x1.ndim == 0 or x2.ndim == 0:
        return multiply(x1, x2)
    if x1.ndim <= 2 and x2.ndim <= 2:
        return matmul(x1, x2)
    return tensordot(x1, x2, axes=((x1.ndim - 1,), (max(x2.ndim - 2, 0),)))


@op
def vdot(x1, x2):
    """Sum of the products of all elements of two tensors of equal size.

    Args:
        x1: tensor of any shape.
        x2: tensor of any shape.
    """
    from . import reshape

    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.size != x2.size:
        raise ValueError(f"[vdot] x1 and x2 must have equal sizes. Received: x1.shape={x1.shape}, x2.shape={x2.shape}")
    return matmul(reshape(x1, (-1,)), reshape(x2, (-1,)))


@op
def inner(x1, x2):
    """Products summed over the last axes: (..., k) and (..., k) give the axes of ``x1``, then those of ``x2``.

    Args:
        x1: tensor (..., k).
        x2: tensor (..., k).
    """
    from . import multiply

    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.ndim == 0 or x2.ndim == 0:
        return multiply(x1, x2)
    if x1.shape[-1] != x2.shape[-1]:
        raise ValueError(f"[inner] the last dimension of x1 and x2 must be equal. Received: x1.shape={x1.shape}, x2.shape={x2.shape}")
    return tensordot(x1, x2, axes=((x1.ndim - 1,), (x2.ndim - 1,)))


@op
def outer(x1, x2):
    """x1[i] * x2[j] of two tensors made flat: (x1.size, x2.size).

    Args:
        x1: tensor of any shape.
        x2: tensor of any shape.
    """
    from . import multiply, reshape

    x1, x2 = as_tensor(x1), as_tensor(x2)
    return multiply(reshape(x1, (x1.size, 1)), reshape(x2, (1, x2.size)))


@op
def tensordot(x1, x2, axes=2):
    """Products summed over pairs of axes.

    Args:
        x1, x2: tensors.
        axes: n: the last n axes of ``x1`` with the first n of ``x2``; or two lists of axes.

    Returns:
        The other axes of ``x1``, then those of ``x2``.

    Raises:
        ValueError: an axis does not exist, or the sizes of a pair differ.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if isinstance(axes, int):
        if not 0 <= axes <= min(x1.ndim, x2.ndim):
            raise ValueError("[tensordot] axes must be from 0 to the number of axes of both arguments. "
                             f"Received: axes={axes}, x1.shape={x1.shape}, x2.shape={x2.shape}")
        pairs = (list(range(x1.ndim - axes, x1.ndim)), list(range(axes)))
    else:
        pairs = [[a] if isinstance(a, int) else list(a) for a in axes]
    if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
        raise ValueError(f"[tensordot] axes must be a number or two lists of equal length. Received: axes={axes}")
    for x, name, which in ((x1, "x1", pairs[0]), (x2, "x2", pairs[1])):
        if any(not -x.ndim <= a < x.ndim for a in which) or len({a % x.ndim for a in which}) < len(which):
            raise ValueError(f"[tensordot] axes must be different axes of {name}. "
                             f"Received: axes={axes}, {name}.shape={x.shape}")
    a, b = [i % x1.ndim for i in pairs[0]], [i % x2.ndim for i in pairs[1]]
    if any(x1.shape[i] != x2.shape[j] for i, j in zip(a, b)):
        raise ValueError("[tensordot] axes that are summed together must have equal sizes. "
                         f"Received: axes={axes}, x1.shape={x1.shape}, x2.shape={x2.shape}")
    labels = [chr(i) for i in range(97, 97 + x1.ndim + x2.ndim)]
    l1, l2 = labels[: x1.ndim], labels[x1.ndim :]
    for i, j in zip(a, b):
        l2[j] = l1[i]
    keep = [v for i, v in enumerate(l1) if i not in a] + [v for j, v in enumerate(l2) if j not in b]
    return _einsum([x1, x2], [l1, l2], keep)


@op
def einsum(subscripts, *operands, **kwargs):
    """Sums of products by Einstein's notation, as NumPy's: "bij,bjk->bik", "...i,i->...", "ii->i".

    Operands are contracted from left to right; each contraction is a batched matrix product.

    Args:
        subscripts: string.
        operands: tensors, as many as the string names.

    Raises:
        ValueError: the subscripts do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"[einsum] subscripts must be a string. Received: {type(subscripts).__name__}")
    xs = [as_tensor(x) for x in operands]
    inputs, output = _parse(subscripts, xs)
    return _einsum(xs, inputs, output)


def _parse(subscripts, xs):
    """The labels of each axis of the operands and of the result; axes of an ellipsis are numbers."""
    def bad(what):
        shapes = ", ".join(str(x.shape) for x in xs)
        return ValueError(f"[einsum] {what}. Received: subscripts={subscripts!r}, shapes {shapes}")

    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        raise bad("there must be one term for each operand")
    if any(not c.isalpha() for term in terms + [right] for c in term.replace("...", "", 1)):
        raise bad("subscripts must be letters, and '...' at most once in a term")

    inputs = []
    for term, x in zip(terms, xs):
        head, dots, tail = term.partition("...")
        hidden = x.ndim - len(head) - len(tail)
        if hidden < 0 or (hidden and not dots):
            raise bad("a term must have one letter for each axis of its operand")
        inputs.append([*head, *range(-hidden, 0), *tail])
    flat = [v for labels in inputs for v in labels]
    widest = min([v for v in flat if isinstance(v, int)], default=0)
    if arrow:
        head, dots, tail = right.partition("...")
        output = [*head, *(range(widest, 0) if dots else ()), *tail]
        if len(set(output)) < len(output):
            raise bad("a letter must not be repeated in the result")
        if any(v not in flat for v in output):
            raise bad("each letter of the result must be in a term")
    else:
        output = [*range(widest, 0), *sorted(v for v in set(flat) if isinstance(v, str) and flat.count(v) == 1)]
    sizes = {}
    for labels, x in zip(inputs, xs):
        for v, n in zip(labels, x.shape):
            if n != 1 and sizes.setdefault(v, n) != n:
                raise bad(f"all axes named {v!r} must have one size" if isinstance(v, str)
                          else "the axes of '...' must broadcast")
    return inputs, output


def _einsum(xs, inputs, output):
    from . import broadcast_to, cast, reshape, sum, transpose

    dtype = dtypes.result_type(*[x.dtype for x in xs])
    if all(x.dtype == "int8" for x in xs):
        dtype = "int32"
    xs = [cast(x, dtype) if x.dtype != dtype else x for x in xs]
    sizes = {}
    for labels, x in zip(inputs, xs):
        for v, n in zip(labels, x.shape):
            sizes[v] = n if sizes.get(v, 1) == 1 else sizes[v]

    def simplify(x, labels, keep):
        """Without repeated labels, broadcast axes, and axes that only this operand has."""
        for v in [v for i, v in enumerate(labels) if v in labels[:i]]:
            i = labels.index(v)
            x, labels = _diagonal(x, i, labels.index(v, i + 1)), [u for u in labels if u != v] + [v]
        ones = [i for i, v in enumerate(labels) if x.shape[i] == 1 and (sizes[v] != 1 or v not in keep)]
        if ones:
            x = reshape(x, [n for i, n in enumerate(x.shape) if i not in ones])
            labels = [v for i, v in enumerate(labels) if i not in ones]
        alone = tuple(i for i, v in enumerate(labels) if v not in keep)
        if alone:
            x, labels = sum(x, axis=alone), [v for i, v in enumerate(labels) if i not in alone]
        return x, labels

    def keep_after(i):
        return set(output).union(*inputs[i:])

    x, labels = simplify(xs[0], list(inputs[0]), keep_after(1))
    for i in range(1, len(xs)):
        y, other = simplify(xs[i], list(inputs[i]), keep_after(i + 1).union(labels))
        x, labels = _contract(x, labels, y, other, keep_after(i + 1))
    x, labels = simplify(x, labels, set(output))
    missing = [v for v in output if v not in labels]  # sizes of 1, or of another operand's broadcast
    if missing:
        x, labels = reshape(x, (1,) * len(missing) + x.shape), missing + labels
    order = [labels.index(v) for v in output]
    if order != list(range(len(order))):
        x = transpose(x, order)
    shape = tuple(sizes[v] for v in output)
    x = x if x.dtype == dtype else cast(x, dtype)  # sums of small integers come in int32
    return x if x.shape == shape else broadcast_to(x, shape)


def _diagonal(x, i, j):
    """The elements with equal indices on axes i < j, on a new last axis."""
    from . import reshape, transpose

    n, m = x.shape[i], x.shape[j]
    if n != m:
        raise ValueError(f"[einsum] axes of one letter must have equal sizes. Received: shape={x.shape}")
    rest = [a for a in range(x.ndim) if a not in (i, j)]
    kept = [x.shape[a] for a in rest]
    x = reshape(transpose(x, [i, j, *rest]), [n * n, *kept])[:: n + 1]
    return transpose(x, [*range(1, len(rest) + 1), 0])


def _contract(x, lx, y, ly, keep):
    """The product of two operands, summed over the labels that are not in ``keep``."""
    from . import multiply, reshape, transpose

    batch = [v for v in lx if v in ly and v in keep]
    inner = [v for v in lx if v in ly and v not in keep]
    fx, fy = [v for v in lx if v not in ly], [v for v in ly if v not in lx]
    size = {v: n for v, n in [*zip(lx, x.shape), *zip(ly, y.shape)]}

    def count(labels):
        return int(np.prod([size[v] for v in labels], dtype=np.int64))

    def arrange(t, labels, order):
        return t if labels == order else transpose(t, [labels.index(v) for v in order])

    shape = [size[v] for v in batch + fx + fy]
    if not inner:
        x = reshape(arrange(x, lx, batch + fx), [size[v] for v in batch + fx] + [1] * len(fy))
        y = reshape(arrange(y, ly, batch + fy), [size[v] for v in batch] + [1] * len(fx) + [size[v] for v in fy])
        return multiply(x, y), batch + fx + fy
    # The product reads either operand transposed, so most orders need no copy.
    trans_x, trans_y = lx == batch + inner + fx and bool(fx), ly == batch + fy + inner and bool(fy)
    x = arrange(x, lx, batch + inner + fx if trans_x else batch + fx + inner)
    y = arrange(y, ly, batch + fy + inner if trans_y else batch + inner + fy)
    b, k, m, n = count(batch), count(inner), count(fx), count(fy)
    lead = [b] if batch else []
    x = reshape(x, lead + ([k, m] if trans_x else [m, k]))
    y = reshape(y, lead + ([n, k] if trans_y else [k, n]))
    return reshape(_matmul(x, y, trans_x, trans_y), shape), batch + fx + fy
