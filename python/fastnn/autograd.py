"""Reverse-mode differentiation with a tape of closures.

While a ``GradientTape`` is active, an op that reads a watched tensor gives its result a ``Node``:
the nodes of its parents and a function from the gradient of the result to theirs. Nodes are
numbered as they are made, so walking them from the highest number down visits every node after
all nodes made from it; nothing is recursive. A tape covers the numbers given out while it recorded.
"""

import heapq
import itertools
import weakref

import numpy as np

from . import _core, labels
from ._core import Tensor, record  # noqa: F401  (record is the ops' door to the tape)

# Tapes that are recording or may still be asked for a gradient: while another one is open, a
# gradient must not free the closures that it walks.
_open_tapes = weakref.WeakSet()
_numbers = itertools.count(1)  # next() is atomic: threads share the numbers


class Node:
    """What made a tensor: ``vjp(*gradients of the outputs)`` gives the gradients of ``parents``."""

    __slots__ = ("parents", "vjp", "number", "outputs", "shape", "dtype", "owner", "label", "__weakref__")

    def __init__(self, parents, vjp, outputs=1, shape=None, dtype=None, owner=None):
        self.number = next(_numbers)
        self.parents = parents  # (node, output) pairs; None where no gradient is wanted
        self.vjp = vjp
        self.outputs = outputs
        self.shape = shape  # of the only output, for zeros of unconnected gradients
        self.dtype = dtype
        self.owner = owner  # the Variable of a leaf
        self.label = labels.backward() if labels.listeners else None

    def __lt__(self, other):
        return self.number > other.number


def _record(y, parents, vjp):
    """Note on the tape that ``y`` was computed from ``parents``: see ``record``."""
    links = tuple([(p.node, p.output) if type(p) is Tensor and p.node is not None else None for p in parents])
    if type(y) is Tensor:
        y.node = Node(links, vjp)
        y.output = 0
        return y
    node = Node(links, vjp, len(y))
    for i, t in enumerate(y):
        if t is not None:
            t.node = node
            t.output = i
    return y


_core.set_recorder(_record)


def needs_grad(x):
    """Whether a gradient with respect to the tensor ``x`` may be asked for."""
    return x.node is not None and _core.recording() > 0


def _as_tensor(x, dtype=None):
    from .tensor import as_tensor

    return as_tensor(x, dtype)


def _add(a, b):
    if getattr(a, "is_indexed_slices", False) or getattr(b, "is_indexed_slices", False):
        from .ops.indexed import add_sparse

        return add_sparse(a, b)
    from .ops import add

    return add(a, b)


class GradientTape:
    """Records ops so that gradients can be asked for afterwards, as TensorFlow's tape does.

    Trainable variables are watched by themselves, tensors after ``watch``. A tape gives one gradient,
    or any number when ``persistent``. Tapes nest: a gradient taken inside another tape is itself recorded.

    Args:
        persistent: allow several calls of ``gradient``.
        watch_accessed_variables: watch every trainable variable that is read.

    Example:
        with GradientTape() as tape:
            loss = ops.mean(ops.square(model(x) - y))
        gradients = tape.gradient(loss, model.trainable_variables)
    """

    def __init__(self, persistent=False, watch_accessed_variables=True):
        self._persistent = persistent
        self._watch_variables = watch_accessed_variables
        self._watched = {}  # id of a watched leaf or node -> the node
        self._spans = []  # numbers recorded, as [first, last]
        self._recording = False
        self._used = False

    def __enter__(self):
        if self._recording:
            raise ValueError("[GradientTape] a tape must not be entered twice")
        self._start()
        return self

    def __exit__(self, *_):
        if self._recording:
            self._stop()

    def _start(self):
        self._recording = True
        self._spans.append([next(_numbers), None])
        _open_tapes.add(self)
        _core.set_recording(_core.recording() + 1)

    def _stop(self):
        self._recording = False
        self._spans[-1][1] = next(_numbers)
        _core.set_recording(max(0, _core.recording() - 1))

    def watch(self, tensor):
        """Record what is computed from ``tensor``, or from each tensor or variable of a nest."""
        from .tensor import Variable
        from .tree import flatten

        for x in flatten(tensor):
            if isinstance(x, Variable):
                x._watched = True
                self._watched[id(x.leaf())] = x.leaf()
                continue
            if type(x) is not Tensor:
                raise TypeError(f"[GradientTape.watch] tensor must be a Tensor or a Variable. Received: {type(x).__name__}")
            if x.node is None:
                x.node = Node((), None)
                x.output = 0
            self._watched[(id(x.node), x.output)] = x.node

    def watched_variables(self):
        """The variables given to ``watch``."""
        return tuple(n.owner for n in self._watched.values() if n.owner is not None)

    def stop_recording(self):
        """A context in which nothing is recorded on this tape."""
        return _Paused(self)

    def reset(self):
        """Forget what was recorded so far."""
        self._watched = {}
        self._spans = [[next(_numbers), None]] if self._recording else []

    def _covers(self, number):
        for first, last in self._spans:
            if number > first and (last is None or number <= last):
                return True
        return False

    def gradient(self, target, sources, output_gradients=None, unconnected_gradients="none"):
        """The gradient of the sum of ``target`` with respect to each of ``sources``.

        Args:
            target: a tensor, or a nest of them.
            sources: a tensor or variable, or a nest (list, tuple, dict) of them.
            output_gradients: what to multiply each target's gradient by, in the shape of ``target``.
            unconnected_gradients: "none" gives None where target does not depend on a source, "zero" gives zeros.

        Returns:
            Gradients in the structure of ``sources``.

        Raises:
            ValueError: the tape was used before and is not persistent.
        """
        from .tensor import Variable
        from .tree import flatten, pack_sequence_as

        if self._used and not self._persistent:
            raise ValueError("[GradientTape.gradient] a tape that is not persistent gives one gradient only; "
                             "make it with persistent=True")
        if str(unconnected_gradients).split(".")[-1].lower() not in ("none", "zero"):
            raise ValueError("[GradientTape.gradient] unconnected_gradients must be 'none' or 'zero'. "
                             f"Received: unconnected_gradients={unconnected_gradients!r}")
        zero = str(unconnected_gradients).split(".")[-1].lower() == "zero"
        self._used = True
        if self._recording and not self._persistent:
            self._stop()
        targets = flatten(target)
        seeds = flatten(output_gradients) if output_gradients is not None else [None] * len(targets)
        flat = flatten(sources)
        wanted = []
        for s in flat:
            if isinstance(s, Variable):
                leaf = s.leaf() if s.trainable or id(s.leaf(False)) in self._watched else None
                if leaf is not None and not self._watch_variables and id(leaf) not in self._watched:
                    leaf = None
                wanted.append((leaf, 0))
            elif type(s) is Tensor:
                known = s.node is not None and (
                    (id(s.node), s.output) in self._watched or self._covers(s.node.number))
                wanted.append((s.node if known else None, s.output))
            else:
                raise TypeError("[GradientTape.gradient] sources must be tensors or variables. "
                                f"Received: {type(s).__name__}")
        keep = {w for w in wanted if w[0] is not None}
        release = not self._persistent and len(_open_tapes) <= (self in _open_tapes)
        if not self._persistent:
            _open_tapes.discard(self)
        with labels.named("gradients"):
            found = self._walk(targets, seeds, keep, release)
        result = []
        for s, w in zip(flat, wanted):
            g = found.get(w) if w[0] is not None else None
            if g is None and zero:
                from .ops import zeros

                g = zeros(s.shape, s.dtype)
            result.append(g)
        return pack_sequence_as(sources, result)

    def _walk(self, targets, seeds, keep, release):
        grads = {}  # (node, output) -> gradient
        heap, seen = [], set()

        def give(link, g):
            node = link[0]
            old = grads.get(link)
            grads[link] = g if old is None else _add(old, g)
            if node not in seen:
                seen.add(node)
                heapq.heappush(heap, node)

        for t, seed in zip(targets, seeds):
            if isinstance(t, _variable_type()):
                t = t.value
            if type(t) is not Tensor:
                raise TypeError(f"[GradientTape.gradient] target must be a Tensor. Received: {type(t).__name__}")
            if t.node is None:
                continue
            if seed is None:
                if t.dtype not in ("float16", "bfloat16", "float32", "float64"):
                    raise TypeError(f"[GradientTape.gradient] target must be floating point. Received: dtype={t.dtype}")
                seed = _core.full(t.shape, 1.0, t.dtype)
            else:
                seed = _as_tensor(seed, t.dtype)
                if seed.shape != t.shape:
                    raise ValueError("[GradientTape.gradient] output_gradients must have the shape of target. "
                                     f"Received: {seed.shape}, target.shape={t.shape}")
            give((t.node, t.output), seed)
        while heap:
            node = heapq.heappop(heap)
            if node.vjp is None:
                if node.parents is None:
                    raise ValueError("[GradientTape.gradient] the values that this gradient needs were freed by an earlier one; "
                                     "make the tape with persistent=True")
                continue
            if not self._covers(node.number):
                continue
            if node.label is not None:
                _core.set_label(node.label)
            if node.outputs == 1:
                g = grads[node, 0] if (node, 0) in keep else grads.pop((node, 0))
                parts = node.vjp(g)
            else:
                gs = [(grads.get if (node, i) in keep else grads.pop)((node, i), None) for i in range(node.outputs)]
                parts = node.vjp(*gs)
            for link, g in zip(node.parents, parts):
                if link is not None and g is not None:
                    give(link, g)
            if release:
                node.vjp = node.parents = None
        return grads

    def _gradient_again(self, target, sources, seed):
        """A gradient that leaves the tape ready for the next row of a Jacobian."""
        persistent, self._persistent = self._persistent, True
        try:
            return self.gradient(target, sources, output_gradients=_as_tensor(seed))
        finally:
            self._persistent = persistent

    def jacobian(self, target, sources, unconnected_gradients="none"):
        """d target[i] / d source[j], of shape target.shape + source.shape, for each source."""
        from .ops import reshape, stack, zeros
        from .tree import flatten, pack_sequence_as

        if self._used and not self._persistent:
            raise ValueError("[GradientTape.jacobian] a tape that is not persistent gives one gradient only; "
                             "make it with persistent=True")
        flat = flatten(sources)
        rows = [[] for _ in flat]
        n = target.size
        for i in range(n):
            seed = np.zeros(n, "float32")
            seed[i] = 1
            gs = self._gradient_again(target, flat, seed.reshape(target.shape))
            for row, g in zip(rows, gs):
                row.append(g)
        result = []
        for s, row in zip(flat, rows):
            if not row or all(g is None for g in row):
                zero = str(unconnected_gradients).lower() == "zero" or not row
                result.append(zeros(tuple(target.shape) + tuple(s.shape)) if zero else None)
            else:
                full = [g if g is not None else zeros(s.shape) for g in row]
                result.append(reshape(stack(full), tuple(target.shape) + tuple(s.shape)))
        return pack_sequence_as(sources, result)

    def batch_jacobian(self, target, source, unconnected_gradients="none"):
        """d target[b, i] / d source[b, j] for every sample b, which must not depend on other samples."""
        from .ops import reshape, stack, zeros

        if target.ndim < 1 or target.shape[0] != source.shape[0]:
            raise ValueError("[GradientTape.batch_jacobian] target and source must have the same first dimension. "
                             f"Received: target.shape={target.shape}, source.shape={source.shape}")
        inner = target.shape[1:]
        n = int(np.prod(inner, dtype=np.int64))
        rows = []
        for i in range(n):
            seed = np.zeros((target.shape[0], n), "float32")
            seed[:, i] = 1
            g = self._gradient_again(target, source, seed.reshape(target.shape))
            rows.append(g if g is not None else zeros(source.shape))
        if not rows:
            return zeros(tuple(target.shape) + tuple(source.shape[1:]))
        return reshape(stack(rows, axis=1), tuple(target.shape) + tuple(source.shape[1:]))


def _variable_type():
    from .tensor import Variable

    return Variable


class _Paused:
    def __init__(self, tape):
        self._tape = tape

    def __enter__(self):
        self._was = self._tape._recording
        if self._was:
            self._tape._stop()

    def __exit__(self, *_):
        if self._was:
            self._tape._start()


def record_without_gradient(op, y, parents):
    """Note ``y`` on the tape so that a gradient asked for through it is an error rather than silently None."""

    def vjp(*_):
        raise ValueError(f"[{op}] has no gradient: put stop_gradient around it, or compute it from functions that have one")

    return record(y, parents, vjp)


class no_recording:
    """A context in which no tape of this thread records."""

    def __enter__(self):
        self._old = _core.set_recording(0)

    def __exit__(self, *_):
        _core.set_recording(self._old)


def stop_gradient(variable):
    """The same values, constant as far as gradients are concerned. Takes a tensor, variable or nest.

    Args:
        variable: tensor, variable, or nest of them.
    """
    from .symbolic import KerasTensor, apply_symbolic, owned
    from .tensor import Variable
    from .tree import map_structure

    def one(v):
        if isinstance(v, KerasTensor):
            return apply_symbolic(stop_gradient, (v,), {})
        if isinstance(v, Variable):
            v = v.value
        return owned(_as_tensor(v).alias())

    return map_structure(one, variable)


def custom_gradient(f):
    """Give ``f`` a gradient of its own.

    ``f(*args)`` returns ``(y, grad)``; ``grad(*upstream)`` returns the gradient of every argument
    (one value if there is one argument). ``grad`` may take ``upstream=`` as Keras allows.

    Args:
        f: function of tensors.
    """
    import functools
    import inspect

    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        tensors = tuple(_as_tensor(a) if not isinstance(a, (str, bytes, type(None))) else a for a in args)
        with no_recording():
            y, grad = f(*[t.alias() if type(t) is Tensor else t for t in tensors], **kwargs)
        outputs = tuple(y) if isinstance(y, (list, tuple)) else (y,)
        outputs = tuple(_as_tensor(o).alias() for o in outputs)
        by_name = "upstream" in inspect.signature(grad).parameters

        def vjp(*gs):
            from .ops import zeros

            gs = [zeros(o_shape, o_dtype) if g is None else g for g, (o_shape, o_dtype) in zip(gs, specs)]
            parts = grad(upstream=gs[0]) if by_name and len(gs) == 1 else grad(*gs)
            parts = tuple(parts) if isinstance(parts, (list, tuple)) else (parts,)
            if len(parts) != len(tensors):
                raise ValueError(f"[custom_gradient] grad must return one gradient for each argument ({len(tensors)}). "
                                 f"Received: {len(parts)}")
            return tuple(None if p is None else _as_tensor(p) for p in parts)

        specs = [(o.shape, o.dtype) for o in outputs]
        if len(outputs) == 1:
            out = record(outputs[0], tensors, vjp)
        else:
            out = record(outputs, tensors, vjp)
        if isinstance(y, (list, tuple)):
            return type(y)(out) if len(outputs) > 1 else type(y)([out])
        return out

    return wrapper
