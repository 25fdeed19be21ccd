"""The graph of symbolic calls: operations, and a node for each of their calls.

A KerasTensor knows the node that made it (`history`); a node knows its operation and its arguments.
A functional model is a part of this graph, run again on real tensors.
"""
from collections import namedtuple

from .. import tree
from ..symbolic import KerasTensor
from ..utils.naming import auto_name, to_snake_case

KerasHistory = namedtuple("KerasHistory", ["operation", "node_index", "tensor_index"])


class Operation:
    """What can be called on symbolic tensors: a layer, or a function of `ops`.

    Attributes:
        name: string.
    """

    def __init__(self, name=None):
        self.name = name if name is not None else auto_name(to_snake_case(type(self).__name__))
        self._inbound_nodes = []
        self._outbound_nodes = []

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
        """The symbolic result of the first call; AttributeError if there was none."""
        return self._first_node("output").output


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
