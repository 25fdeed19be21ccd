"""Rematerialisation: compute again in the backward pass what would have to be kept."""
import functools

from . import _core
from ._core import Tensor, record
from .autograd import GradientTape, _numbers
from .tree import flatten, pack_sequence_as


def remat(f):
    """The function f, of whose computation nothing is kept for the gradient.

    The backward pass runs f again, so time is traded for memory. f must give the same result again: random layers
    must not be in it, unless their seeds are fixed.

    Args:
        f: a function, or a layer, of tensors.

    Returns:
        A function with the results and gradients of f, those of variables and tensors that f reads included.

    Example:
        y = remat(block)(x)
    """

    def call(*args, **kwargs):
        if not _core.recording():
            return f(*args, **kwargs)
        start = next(_numbers)
        y = f(*args, **kwargs)
        outputs = flatten(y)
        if not all(type(v) is Tensor for v in outputs) or all(v.node is None for v in outputs):
            return y
        links = _read(outputs, start)
        parents = tuple(_stand_in(link) for link in links)
        plain = tuple(_core.clone(v) if v.node is not None and v.node.number < start else v.alias() for v in outputs)
        for v in plain:
            v.node = None

        def vjp(*gs):
            used = [i for i, g in enumerate(gs) if g is not None]
            with GradientTape() as tape:
                again = flatten(f(*args, **kwargs))
            found = tape._walk([again[i] for i in used], [gs[i] for i in used], set(links), False)
            return tuple(found.get(link) for link in links)

        result = record(plain if len(plain) > 1 else plain[0], parents, vjp)
        return pack_sequence_as(y, list(result) if len(plain) > 1 else [result])

    try:
        return functools.wraps(f, updated=())(call)
    except (AttributeError, TypeError):
        return call


def _read(outputs, start):
    """What the outputs were computed from, as (node, output): leaves, and results of before number ``start``."""
    links, seen = [], set()
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
            stack.extend(p for p in node.parents if p is not None)
    return links


def _stand_in(link):
    t = _core.full((), 0.0, "float32")
    t.node, t.output = link
    return t


class RematScope:
    """Accepted as Keras does: a `with` block around the making of layers. fastnn keeps for a gradient only what it
    needs; to compute a block again, wrap it by `remat`.

    Args:
        mode: "full", "activations", "larger_than", "list_of_layers" or None.
        output_size_threshold, layer_names: of these modes.
    """

    def __init__(self, mode="full", output_size_threshold=1024, layer_names=None):
        if mode not in ("full", "activations", "larger_than", "list_of_layers", None):
            raise ValueError("[RematScope] mode must be 'full', 'activations', 'larger_than', 'list_of_layers' or None. "
                             f"Received: mode={mode!r}")
        self.mode, self.output_size_threshold, self.layer_names = mode, output_size_threshold, layer_names or []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
