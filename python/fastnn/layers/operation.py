"""The graph of symbolic calls: operations, and a node for each of their calls.

A KerasTensor knows the node that made it (`history`); a node knows its operation and its arguments.
A functional model is a part of this graph, run again on real tensors.
"""
import inspect
from collections import namedtuple

from .. import tree
from ..symbolic import KerasTensor, infer
from ..utils.naming import auto_name, to_snake_case

KerasHistory = namedtuple("KerasHistory", ["operation", "node_index", "tensor_index"])


class Operation:
    """What can be called on symbolic tensors: a layer, a function of `ops`, or a class of one's own.

    Subclasses write `call`, made of ops, and may write `compute_output_spec`, which by default runs `call` on tensors
    without values. A config is the arguments of the constructor, unless `get_config` is written.

    Args:
        name: string without "/"; by default the class's name in snake case, with a number.

    Raises:
        ValueError: the name is something else.
    """

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        object.__setattr__(self, "_init_arguments", (args, kwargs))
        return self

    def __init__(self, name=None):
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(f"[{type(self).__name__}] `name` must be a string and cannot contain character `/`. "
                             f"Received: name={name!r}")
        self.name = name if name is not None else auto_name(to_snake_case(type(self).__name__))
        self._inbound_nodes = []
        self._outbound_nodes = []

    def __call__(self, *args, **kwargs):
        if not any(isinstance(x, KerasTensor) for x in tree.flatten([list(args), dict(kwargs)])):
            return self.call(*args, **kwargs)
        outputs = self.compute_output_spec(*args, **kwargs)
        Node(self, args, kwargs, outputs)
        return outputs

    def call(self, *args, **kwargs):
        """The result for tensors; subclasses write it."""
        raise NotImplementedError(f"[{type(self).__name__}] must have a `call` method")

    def compute_output_spec(self, *args, **kwargs):
        """The result for symbolic tensors: KerasTensors of its shape and dtype."""
        return infer(self.call, args, kwargs)

    def get_config(self):
        """The arguments of the constructor, as a dict that JSON can hold.

        Raises:
            NotImplementedError: one has no config, or they were given as `*args`.
        """
        from ..saving.serialization import serialize_keras_object

        args, kwargs = self._init_arguments
        bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        bound.apply_defaults()
        config = {}
        for key, value in list(bound.arguments.items())[1:]:
            kind = bound.signature.parameters[key].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                raise NotImplementedError(f"[{type(self).__name__}] needs a get_config() of its own: its constructor takes *{key}")
            config.update(value if kind is inspect.Parameter.VAR_KEYWORD else {key: value})
        parameters = bound.signature.parameters.values()
        if "name" in config or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            config["name"] = self.name
        if type(self).get_config is not Operation.get_config:  # what a subclass adds to it comes from there
            return {"name": self.name} if "name" in config else {}
        try:
            return {key: serialize_keras_object(value) for key, value in config.items()}
        except TypeError as error:
            raise NotImplementedError(f"[{type(self).__name__}] needs a get_config() of its own, because an argument of its "
                                      f"constructor has no config. Received: {config}") from error

    @classmethod
    def from_config(cls, config):
        """An operation from a dict of constructor arguments."""
        return cls(**config)

    def _first_node(self, what):
        if not self._inbound_nodes:
            raise AttributeError(
                f"[{self.name}] has no `{what}` yet: it was not called on symbolic tensors")
        return self._inbound_nodes[0]

    @property
    def input(self):
        """The symbolic tensors of the first call; AttributeError if there was none."""
        return self._first_node("input").input

    @property
    def output(self):
        """The symbolic result of the first call, a list of several; AttributeError if there was none."""
        outputs = self._first_node("output").outputs
        return outputs[0] if len(outputs) == 1 else list(outputs)


class FunctionOperation(Operation):
    """A call of a function of `ops` in the graph, named after the function."""

    def __init__(self, function, name=None):
        super().__init__(name or auto_name(function.__name__))
        self.function = function

    @property
    def class_name(self):
        """The function's name as a class name: `get_item` is GetItem."""
        return "".join(part.capitalize() for part in self.function.__name__.split("_"))

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def __repr__(self):
        return f"<Operation name={self.name}>"


class Node:
    """One call of an operation on symbolic tensors.

    Attributes:
        operation: what was called.
        args, kwargs: its arguments, KerasTensors in them.
        input_tensors: the KerasTensors among the arguments, flat.
        output: the result, in its structure.
        outputs: the result, flat.
    """

    def __init__(self, operation, args, kwargs, output):
        self.operation = operation
        self.args, self.kwargs = args, kwargs
        self.input_tensors = [x for x in tree.flatten([list(args), dict(kwargs)]) if isinstance(x, KerasTensor)]
        self.output = output
        self.outputs = tree.flatten(output)
        index = len(operation._inbound_nodes)
        for i, x in enumerate(self.outputs):
            if not isinstance(x, KerasTensor):
                raise ValueError(
                    f"[{operation.name}] all outputs of a symbolic call must be tensors. Received: {x!r}")
            x.history = KerasHistory(operation, index, i)
        operation._inbound_nodes.append(self)
        for node in self.parents:
            node.operation._outbound_nodes.append(self)

    @property
    def is_input(self):
        """True for the node of an InputLayer."""
        return not self.input_tensors

    @property
    def input(self):
        """The symbolic tensors of the call: one, a list, or the structure of the only argument."""
        if len(self.args) == 1 and not any(
                isinstance(x, KerasTensor) for x in tree.flatten(dict(self.kwargs))):
            return self.args[0]
        return self.input_tensors[0] if len(self.input_tensors) == 1 else list(self.input_tensors)

    @property
    def parents(self):
        """The nodes that made the inputs, each once."""
        nodes = []
        for x in self.input_tensors:
            if x.history is not None:
                node = x.history.operation._inbound_nodes[x.history.node_index]
                if all(node is not other for other in nodes):
                    nodes.append(node)
        return nodes

    def __repr__(self):
        return f"<Node operation={self.operation.name}>"


def record_operation(function, args, kwargs, outputs):
    """Notes in the graph that `function(*args, **kwargs)` gave the symbolic `outputs`, and returns them.

    Values that are not tensors pass; a result without tensors is not noted.
    """
    if any(isinstance(x, KerasTensor) for x in tree.flatten(outputs)):
        Node(FunctionOperation(function), args, kwargs, outputs)
    return outputs
