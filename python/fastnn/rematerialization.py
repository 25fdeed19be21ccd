"""Rematerialisation: compute again in the backward pass what would have to be kept."""
import functools

from . import _core
from ._core import Tensor, record
from .autograd import GradientTape, _numbers
from .tensor import AutocastScope
from .tree import flatten, pack_sequence_as


def remat(f):
    """The function f, of whose computation nothing is kept for the gradient.

    The backward pass runs f again, so time is traded for memory. f must give the same result again: a layer does, its
    random numbers and moving statistics included; other functions must not draw random numbers, unless their seeds are fixed.

    Args:
        f: a function, or a layer, of tensors.

    Returns:
        A function with the results and gradients of f, those of variables and tensors that f reads included.

    Example:
        y = remat(block)(x)
    """
    from .layers import Layer

    call = _remat(f, f if isinstance(f, Layer) else None)
    try:
        return functools.wraps(f, updated=())(call)
    except (AttributeError, TypeError):
        return call


def _remat(f, layer=None, least=0):
    """`f`, run again for its gradient with the state that `layer` had, unless its results have at most `least` elements."""

    def call(*args, **kwargs):
        if not _core.recording():
            return f(*args, **kwargs)
        before = _State(layer) if layer is not None else None
        start = next(_numbers)
        y = f(*args, **kwargs)
        outputs = flatten(y)
        if not all(type(v) is Tensor for v in outputs) or all(v.node is None for v in outputs):
            return y
        if sum(v.size for v in outputs) <= least:
            return y
        links, inner = _read(outputs, start)
        parents = tuple(_stand_in(link) for link in links)
        plain = tuple(_core.clone(v) if v.node is not None and v.node.number < start else v.alias() for v in outputs)
        for v in plain:
            v.node = None
        if layer is None or not layer.losses:  # a loss from within needs its own path
            for node in inner:  # a result that its own gradient needs would keep itself
                node.vjp = node.parents = None

        def vjp(*gs):
            used = [i for i, g in enumerate(gs) if g is not None]
            release = not _core.recording()
            with GradientTape() as tape:
                again = flatten(f(*args, **kwargs) if before is None else before.run(f, args, kwargs))
            found = tape._walk([again[i] for i in used], [gs[i] for i in used], set(links), release)
            return tuple(found.get(link) for link in links)

        result = record(plain if len(plain) > 1 else plain[0], parents, vjp)
        return pack_sequence_as(y, list(result) if len(plain) > 1 else [result])

    return call


class _State:
    """What a call of a layer reads besides its arguments and trained variables: seeds, moving statistics, the scopes around."""

    def __init__(self, layer):
        from .layers.calling import context

        self.layer, self.training = layer, context.state.training
        self.dtype = AutocastScope.current()
        self.values = [(v, _core.clone(v.value)) for v in layer.variables if not v.trainable]

    def run(self, f, args, kwargs):
        """f once more in this state; afterwards the variables are as before."""
        from .layers.calling import context

        now = [(v, _core.clone(v.value)) for v, _ in self.values]
        state = context.state
        outer = state.entry, state.training
        state.entry, state.training = self.layer, self.training
        try:
            for v, value in self.values:
                v.assign(value)
            with AutocastScope(self.dtype):
                return f(*args, **kwargs)
        finally:
            state.entry, state.training = outer
            for v, value in now:
                v.assign(value)


def _read(outputs, start):
    """What the outputs were computed from, as (node, output): leaves, and results of before number ``start``; and the nodes
    between."""
    links, inner, seen = [], set(), set()
    stack = [(v.node, v.output) for v in outputs if v.node is not None]
    while stack:
        link = stack.pop()
        if link in seen:
            continue
        seen.add(link)
        node = link[0]
        if node.number < start or node.vjp is None:
            links.append(link)
        else:
            inner.add(node)
            stack.extend(p for p in node.parents if p is not None)
    return links, inner


def _stand_in(link):
    t = _core.full((), 0.0, "float32")
    t.node, t.output = link
    return t


class RematScope:
    """Layers made in this `with` block compute again, in the backward pass, what their gradients need.

    Args:
        mode: "full", every layer; "larger_than", layers whose results have more than `output_size_threshold` elements;
            "list_of_layers", those in `layer_names`; "activations", accepted: layers keep nothing but the result of
            their activation anyway; or None, no layer.
        output_size_threshold: int, elements. layer_names: list of names.

    Raises:
        ValueError: another mode.
    """

    def __init__(self, mode="full", output_size_threshold=1024, layer_names=None):
        if mode not in ("full", "activations", "larger_than", "list_of_layers", None):
            raise ValueError("[RematScope] mode must be 'full', 'activations', 'larger_than', 'list_of_layers' or None. "
                             f"Received: mode={mode!r}")
        self.mode, self.output_size_threshold, self.layer_names = mode, output_size_threshold, layer_names or []
        self._outer = []

    def __enter__(self):
        from .layers.calling import context

        self._outer.append(context.remat)
        context.remat = self
        return self

    def __exit__(self, *_):
        from .layers.calling import context

        context.remat = self._outer.pop()

    def apply(self, layer):
        """Makes `layer`, which is being made, one that computes again. A model does not: its layers do."""
        from .models import Model

        if isinstance(layer, Model):
            return
        if self.mode in ("full", "larger_than") or self.mode == "list_of_layers" and layer.name in self.layer_names:
            least = self.output_size_threshold if self.mode == "larger_than" else 0
            object.__setattr__(layer, "call", _remat(layer.call, layer, least))
