"""Loops and branches with the names of keras.ops. They run in Python; a tape records what they do."""

from .. import _core, tree
from .._core import Tensor
from ..symbolic import op
from ..tensor import as_tensor
from .array import flip
from .indexing import get_item
from .joining import concatenate, stack

__all__ = ["associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorized_map", "while_loop"]


def _has_values(x):
    return x.device != "meta"


@op
def cond(pred, true_fn, false_fn):
    """``true_fn()`` if the scalar ``pred`` holds, else ``false_fn()``; both must give the same structure.

    Args:
        pred: bool, or a bool tensor without axes.
        true_fn: function without arguments.
        false_fn: function without arguments.

    Raises:
        ValueError: pred is symbolic, and the two give other structures, shapes or dtypes.
    """
    pred = as_tensor(pred)
    if _has_values(pred):
        return true_fn() if bool(pred) else false_fn()
    y, other = true_fn(), false_fn()
    if _kinds(y) != _kinds(other):
        raise ValueError("[cond] true_fn and false_fn must give the same structure, shapes and dtypes. Received: "
                         f"{_kinds(y)} and {_kinds(other)}")
    return y


def _kinds(nest):
    """The structure of a nest with the shape and dtype of each tensor in its place."""
    return tree.map_structure(lambda x: (tuple(x.shape), x.dtype) if hasattr(x, "shape") else type(x).__name__, nest)


@op
def switch(index, branches, *operands):
    """``branches[index](*operands)``, the index brought into range.

    Args:
        index: int, or an integer tensor without axes.
        branches: list of functions.
    """
    if not branches:
        raise ValueError("[switch] branches must not be empty")
    index = as_tensor(index)
    i = min(max(int(index), 0), len(branches) - 1) if _has_values(index) else 0
    return branches[i](*operands)


@op
def while_loop(cond, body, loop_vars, maximum_iterations=None):
    """Repeat ``loop_vars = body(*loop_vars)`` while ``cond(*loop_vars)`` holds.

    Args:
        loop_vars: a tensor, or a list or tuple of them; ``body`` returns the same structure.
        maximum_iterations: a bound of the number of steps, or None.

    Raises:
        ValueError: ``body`` returns another number of values.
    """
    single = not isinstance(loop_vars, (list, tuple))
    values = tuple(tree.map_structure(as_tensor, v) for v in ((loop_vars,) if single else loop_vars))
    steps = 0
    if not all(_has_values(v) for v in tree.flatten(values)):
        return values[0] if single else type(loop_vars)(values)  # a loop keeps shapes and dtypes
    while maximum_iterations is None or steps < maximum_iterations:
        if not bool(as_tensor(cond(*values))):
            break
        result = body(*values)
        result = tuple(result) if isinstance(result, (list, tuple)) else (result,)
        if len(result) != len(values):
            raise ValueError(f"[while_loop] body must return as many values as loop_vars, {len(values)}. "
                             f"Received: {len(result)}")
        values = tuple(tree.map_structure(as_tensor, v) for v in result)
        steps += 1
    return values[0] if single else type(loop_vars)(values)


@op
def fori_loop(lower, upper, body_fun, init_val):
    """``val = body_fun(i, val)`` for i = lower ... upper - 1, beginning with ``init_val``.

    Args:
        lower: int.
        upper: int.
        body_fun: function (i, val) -> val, of the same structure.
        init_val: tensor or nest of tensors.
    """
    lower, upper = as_tensor(lower), as_tensor(upper)
    value = tree.map_structure(as_tensor, init_val)
    known = _has_values(lower) and _has_values(upper)
    for i in range(int(lower), int(upper)) if known else range(1):
        value = body_fun(_core.full((), i, "int32"), value)
    return value


def _length(name, xs, length=None):
    leaves = tree.flatten(xs)
    sizes = {x.shape[0] if x.ndim else None for x in leaves}
    if length is not None:
        sizes.add(length)
    if len(sizes) != 1 or None in sizes:
        raise ValueError(f"[{name}] all arrays must have the same first size (and length, if it is given). Received: "
                         f"shapes {[x.shape for x in leaves]}, length={length}")
    return sizes.pop(), all([_has_values(x) for x in leaves])


def _joined(results, n):
    """Structures of results stacked along a new first axis."""
    def join(*ys):
        ys = [as_tensor(y) for y in ys]
        return stack(ys) if len(ys) == n else _core.meta((n,) + ys[0].shape, ys[0].dtype)

    return tree.map_structure(join, *results)


@op
def scan(f, init, xs=None, length=None, reverse=False, unroll=1):
    """``carry, y = f(carry, x)`` for every x along the first axis of ``xs``.

    Args:
        f: function (carry, x) -> (carry, y); y may be None.
        init: the first carry, any structure of tensors.
        xs: a structure of tensors, or None: x is None then, ``length`` times.
        length: the number of steps, if ``xs`` does not tell.
        reverse: begin with the last x; results keep the order of ``xs``.
        unroll: accepted for Keras's sake.

    Returns:
        (the last carry, the results stacked)
    """
    if not callable(f):
        raise TypeError(f"[scan] f should be a callable. Received: f={f!r}")
    if not isinstance(unroll, bool) and (not isinstance(unroll, int) or unroll < 1):
        raise ValueError(f"[scan] unroll must be an positive integer or boolean. Received: unroll={unroll!r}")
    if xs is None and length is None:
        raise ValueError("[scan] xs to scan over and length must not both be None. Received: xs=None, length=None")
    carry = tree.map_structure(as_tensor, init)
    xs = None if xs is None else tree.map_structure(as_tensor, xs)
    n, known = (int(length), True) if xs is None else _length("scan", xs, length)
    known = known and all([_has_values(x) for x in tree.flatten(carry)])
    ys = []
    for i in (range(n)[::-1] if reverse else range(n)) if known else range(min(n, 1)):
        carry, y = f(carry, None if xs is None else tree.map_structure(lambda x: get_item(x, i), xs))
        ys.append(y)
    if not ys or all(leaf is None for leaf in tree.flatten(ys[0])):
        return carry, None
    return carry, _joined(ys[::-1] if reverse else ys, n)


@op
def map(f, xs):
    """``f`` of every slice of ``xs`` along the first axis, the results stacked.

    Args:
        f: function of a tensor, or of the structure that ``xs`` is.
        xs: a tensor or a structure of tensors of one first size, at least 1.
    """
    xs = tree.map_structure(as_tensor, xs)
    n, known = _length("map", xs)
    if n == 0:
        raise ValueError("[map] xs must have at least one slice. Received: none")
    return _joined([f(tree.map_structure(lambda x: get_item(x, i), xs)) for i in range(n if known else 1)], n)


def vectorized_map(function, elements):
    """``map`` with its arguments' other names.

    Args:
        function: function of one slice.
        elements: tensor or nest of tensors, cut along their first axis.
    """
    return map(function, elements)


@op
def associative_scan(f, elems, reverse=False, axis=0):
    """The running results of an associative ``f``: y[i] = f(y[i - 1], x[i]) along an axis, y[0] = x[0].

    Args:
        f: function of two slices (the axis kept, of size 1), or of two structures of them.
        elems: a tensor or a structure of tensors.
        reverse: begin at the end.
    """
    elems = tree.map_structure(as_tensor, elems)
    if reverse:
        elems = tree.map_structure(lambda x: flip(x, axis), elems)
    first = tree.flatten(elems)[0]
    if not isinstance(first, Tensor) or not -first.ndim <= axis < first.ndim:
        raise ValueError(f"[associative_scan] axis must be one of the arrays. Received: axis={axis}, shape={first.shape}")
    n, before = first.shape[axis], (slice(None),) * (axis % first.ndim)
    sizes = [x.shape[axis] for x in tree.flatten(elems)]
    if len(set(sizes)) > 1:
        raise ValueError(f"[associative_scan] arrays must have the same first dimension, along axis {axis}. Received: sizes {sizes}")

    def part(i):
        return tree.map_structure(lambda x: get_item(x, (*before, slice(i, i + 1))), elems)

    results = [part(0)] if n else []
    for i in range(1, n):
        results.append(f(results[-1], part(i)))
    if not results:
        return elems
    y = tree.map_structure(lambda *parts: concatenate(parts, axis), *results)
    return tree.map_structure(lambda x: flip(x, axis), y) if reverse else y
