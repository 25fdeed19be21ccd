"""What `Layer.__call__` needs to know: the signature of `call`, and the call that is under way."""
import functools
import inspect
import itertools
import threading

from .. import tree
from ..symbolic import without_batch


class CallState:
    """The outermost layer call that is under way, and the `training` of the innermost one."""

    __slots__ = ("entry", "training")

    def __init__(self):
        self.entry = self.training = None


class CallContext(threading.local):
    """The CallState of each thread, the values of `Layer._register_call_context_args`, and the innermost RematScope."""

    def __init__(self):
        self.state = CallState()
        self.values = {}
        self.remat = None


context = CallContext()
_generations = itertools.count(1)


def next_generation():
    """The number of an outermost call: losses of an earlier one are stale."""
    return next(_generations)


class Signature:
    """The parameters of a function, without `self`.

    Attributes:
        names: names of parameters that can be given by position.
        defaults: dict of default values.
        keywords: names of keyword-only parameters.
        varargs, varkw: the names after `*` and `**`, or None.
    """

    def __init__(self, function):
        self.names, self.keywords, self.defaults = [], [], {}
        self.varargs = self.varkw = None
        parameters = list(inspect.signature(function).parameters.values())
        # The instance, whatever its author calls it: a function defined directly in a class takes it first.
        owner = getattr(function, "__qualname__", "").rpartition(".")[0]
        method = inspect.isfunction(function) and owner and not owner.endswith("<locals>")
        if parameters and (method or parameters[0].name == "self"):
            parameters = parameters[1:]
        for p in parameters:
            if p.kind is p.VAR_POSITIONAL:
                self.varargs = p.name
            elif p.kind is p.VAR_KEYWORD:
                self.varkw = p.name
            else:
                (self.keywords if p.kind is p.KEYWORD_ONLY else self.names).append(p.name)
                if p.default is not p.empty:
                    self.defaults[p.name] = p.default
        self.parameters = frozenset(self.names + self.keywords)
        self.has_training = "training" in self.parameters
        self.training_default = self.defaults.get("training")
        self.masks = [name for name in self.names + self.keywords if name == "mask" or name.endswith("_mask")]

    def index(self, name):
        """The position of a parameter; above all positions for a keyword-only one."""
        return self.names.index(name) if name in self.names else len(self.names)

    def bind(self, args, kwargs):
        """The arguments by name, in the order of the parameters, without defaults."""
        bound = dict(zip(self.names, args))
        if len(args) > len(self.names) and self.varargs:
            bound[self.varargs] = tuple(args[len(self.names):])
        bound.update(kwargs)
        return bound


@functools.lru_cache(maxsize=None)
def signature_of(function):
    """The Signature of a function, computed once."""
    return Signature(function)


def call_signature(layer):
    """The Signature of `layer.call`."""
    return signature_of(type(layer).call)


def is_tensor_like(x):
    """True for what has a shape and a dtype: tensors, symbolic tensors, variables, arrays."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def tensor_arguments(bound):
    """The entries of `bound` that are tensors or structures of tensors, masks left out."""
    found = {}
    for name, value in bound.items():
        if name == "mask" or value is None:
            continue
        if is_tensor_like(value):
            found[name] = value
        elif tree.is_nested(value):
            leaves = tree.flatten(value)
            if leaves and all(leaf is None or is_tensor_like(leaf) for leaf in leaves) and any(
                    leaf is not None for leaf in leaves):
                found[name] = value
    return found


def shapes_of(structure):
    """The structure with every tensor replaced by its shape tuple."""
    if is_tensor_like(structure):
        return without_batch(structure)
    return tree.map_structure(lambda x: None if x is None else without_batch(x), structure)


def shape_arguments(function, tensors, owner):
    """The shapes of `tensors` under the parameter names of `function`.

    A function with one parameter gets the shape of the first tensor argument. Otherwise the
    parameters must be called like the arguments of `call` with `_shape` behind.

    Args:
        function: `build` or `compute_output_shape` of a layer.
        tensors: dict from argument name of `call` to tensors.
        owner: name for the error message.

    Raises:
        ValueError: a parameter has no argument of that name.
    """
    signature = signature_of(getattr(function, "__func__", function))
    shapes = {f"{name}_shape": shapes_of(value) for name, value in tensors.items()}
    names = [*signature.names, *signature.keywords]
    if not names and not signature.varkw:
        return {}
    if len(names) == 1 and not signature.varkw:
        return {names[0]: next(iter(shapes.values()), None)}
    if signature.varkw:
        return {**shapes}
    result = {}
    for name in names:
        if name in shapes:
            result[name] = shapes[name]
        elif len(shapes) == 1 and name == names[0]:
            result[name] = next(iter(shapes.values()))
        elif name.endswith("_shape") and name[:-6] not in tensors and name not in signature.defaults:
            raise ValueError(
                f"[{owner}] {function.__name__}() has several arguments, so each must be called like an argument "
                f"of call() with `_shape` behind. Received: `{name}`, but `call()` does not have argument `{name[:-6]}`; "
                f"its tensors are {list(tensors)}")
        elif name not in signature.defaults:
            raise ValueError(
                f"[{owner}] {function.__name__}() has several arguments, so each must be called like an argument of "
                f"call() with `_shape` behind. Received: argument `{name}`, which does not end in `_shape`")
    return result
