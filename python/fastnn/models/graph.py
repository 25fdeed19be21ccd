"""Graph: the part of the symbolic graph between given inputs and outputs, ready to run on tensors."""


import numpy as np

from .. import ops, tree
from ..layers.operation import FunctionOperation
from ..strings import Strings, are_strings
from ..symbolic import KerasTensor, infer
from ..tensor import Tensor, as_tensor
from ..utils.warning import warn


class Graph:
    """Nodes from `inputs` to `outputs`, in the order in which they run.

    Args:
        inputs, outputs: KerasTensors, or structures of them.
        name: of the model, for error messages.

    Attributes:
        check_sizes: bool; False leaves all sizes of the inputs to the layers.
        nodes: calls, deepest (farthest from the outputs) first.
        operations: layers and functions, in the order of `Model.layers`.

    Raises:
        ValueError: an output depends on a tensor that is not among the inputs, or two operations
            share a name.
    """

    def __init__(self, inputs, outputs, name):
        self.name, self.check_sizes = name, True
        self.inputs_struct, self.outputs_struct = inputs, outputs
        self.inputs, self.outputs = tree.flatten(inputs), tree.flatten(outputs)
        self.names = [x.name for x in self.inputs]
        self._arrange()
        self._check_connected()
        self._compile()

    def _node(self, x):
        return x.history.operation._inbound_nodes[x.history.node_index]

    def _walk(self):
        """All nodes that the outputs depend on, parents first, and the order in which operations were met."""
        stops = {id(x) for x in self.inputs}
        finished, order, met = set(), [], {}
        for output in self.outputs:
            stack = [(self._node(output), None)]
            while stack:
                node, children = stack.pop()
                if children is None:
                    if node in finished:
                        continue
                    met.setdefault(node.operation, len(met))
                    children = iter([] if node.is_input else node.input_tensors)
                for x in children:
                    if id(x) in stops and not self._node(x).is_input:
                        continue  # an intermediate tensor as input: what made it does not belong to the model
                    parent = self._node(x)
                    if parent not in finished:
                        stack.append((node, children))
                        stack.append((parent, None))
                        break
                else:
                    if node not in finished:
                        finished.add(node)
                        order.append(node)
        return order, met

    def _arrange(self):
        # A node runs at its distance from the outputs; a shared layer counts with its largest.
        order, met = self._walk()
        inside = set(order)
        depth_of_node, depth_of_operation = {}, {}
        for node in reversed(order):
            depth = max(depth_of_node.get(node, 0), depth_of_operation.get(node.operation, 0))
            depth_of_node[node] = depth_of_operation[node.operation] = depth
            for parent in node.parents:
                if parent in inside:
                    depth_of_node[parent] = max(depth + 1, depth_of_node.get(parent, 0))
        for x in self.inputs:
            node = self._node(x)
            if node.is_input and node not in depth_of_node:  # an input that no output needs
                depth_of_node[node] = depth_of_operation[node.operation] = 0
                met[node.operation] = -1
        self.nodes = sorted(depth_of_node, key=lambda node: -depth_of_node[node])
        self.operations = sorted(depth_of_operation, key=lambda op: (-depth_of_operation[op], met[op]))
        names = [operation.name for operation in self.operations]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"[{self.name}] all layers of a model should have unique names. Received twice: {twice}")

    def _needing(self, x):
        """The path of the first output that depends on the tensor x."""
        for path, output in tree.flatten_with_path(self.outputs_struct):
            stack, seen = [output], set()
            while stack:
                one = stack.pop()
                if one is x:
                    return _dotted(path)
                node = self._node(one)
                if node not in seen and not node.is_input:
                    seen.add(node)
                    stack.extend(node.input_tensors)
        return ""

    def _check_connected(self):
        known = {id(x) for x in self.inputs}
        done = []
        for node in self.nodes:
            if node.is_input and not all(id(x) in known for x in node.outputs):
                x = node.outputs[0]
                raise ValueError(
                    f"[{self.name}] graph disconnected. Output with path `{self._needing(x)}` is not connected to `inputs`: it "
                    f"depends on the input {x.name!r} of shape {x.shape}, which is not among the inputs of the model. "
                    f"Received: inputs={self.names}")
            for x in node.input_tensors:
                if id(x) not in known:
                    raise ValueError(
                        f"[{self.name}] graph disconnected: {node.operation.name!r} needs {x!r}, which does not come "
                        f"from the inputs. Received: inputs={self.names}; connected so far: {done}")
            known.update(id(x) for x in node.outputs)
            done.append(node.operation.name)

    def _compile(self):
        """Turns nodes into steps over a list of values, each released after its last use."""
        slots = {id(x): i for i, x in enumerate(self.inputs)}
        last_use = {}
        self._steps = []
        for node in self.nodes:
            if all(id(x) in slots for x in node.outputs):  # an input, or a tensor given as one
                continue
            for x in node.outputs:
                slots.setdefault(id(x), len(slots))
            for x in node.input_tensors:
                last_use[slots[id(x)]] = len(self._steps)
            simple = len(node.args) == 1 and not node.kwargs and isinstance(node.args[0], KerasTensor)
            source = slots[id(node.args[0])] if simple else _argument_filler((list(node.args), dict(node.kwargs)), slots)
            self._steps.append([node.operation, simple, source, [slots[id(x)] for x in node.outputs], []])
        results = [slots[id(x)] for x in self.outputs]
        for slot, index in last_use.items():
            if slot not in results:
                self._steps[index][4].append(slot)
        self._results = results
        self._size = len(slots)
        self._chain = self._as_chain()
        self._single = isinstance(self.outputs_struct, KerasTensor)
        self._accepted = None  # shape of the last single input that needed no change

    def _as_chain(self):
        """The operations of a graph in which each one takes the result of the one before, else None."""
        previous = 0
        for _, simple, source, targets, _ in self._steps:
            if not simple or source != previous or len(targets) != 1:
                return None
            previous = targets[0]
        whole = len(self.inputs) == 1 and isinstance(self.outputs_struct, KerasTensor) and self._results == [previous]
        return [step[0] for step in self._steps] if whole else None

    def run(self, flat_inputs, call=None):
        """The outputs, in their structure, for a flat list of inputs.

        Args:
            flat_inputs: one value per input.
            call: function (operation, args, kwargs) -> result; by default the operation is called.
        """
        if self._chain is not None and call is None:
            y = flat_inputs[0]
            for operation in self._chain:
                y = operation(y)
            return y
        values = [None] * self._size
        values[:len(flat_inputs)] = flat_inputs
        for operation, simple, source, targets, released in self._steps:
            if call is not None:
                args, kwargs = ((values[source],), {}) if simple else source(values)
                y = call(operation, args, kwargs)
            elif simple:
                y = operation(values[source])
            else:
                args, kwargs = source(values)
                y = operation(*args, **kwargs)
            if len(targets) == 1 and not isinstance(y, (list, tuple, dict)):
                values[targets[0]] = y
            else:
                for slot, one in zip(targets, tree.flatten(y)):
                    values[slot] = one
            for slot in released:
                values[slot] = None
        results = [values[i] for i in self._results]
        if self._single:
            return results[0]
        return tree.pack_sequence_as(self.outputs_struct, results)

    def run_symbolic(self, flat_inputs):
        """The outputs as KerasTensors without history; no nodes are added."""

        def call(operation, args, kwargs):
            if isinstance(operation, FunctionOperation):
                return infer(operation.function, args, kwargs)
            return operation.compute_output_spec(*args, **kwargs)

        return self.run(flat_inputs, call)

    def standardize(self, inputs):
        """The inputs of a call as a flat list of tensors with the dtypes and ranks of the model's inputs.

        Accepts the structure of the model's inputs; for several inputs also a dict by input name, or
        a list in order.

        Raises:
            ValueError: structure, count or shape do not agree.
        """
        if type(inputs) is Tensor and inputs.shape == self._accepted and inputs.dtype == self.inputs[0].dtype:
            return [inputs]
        flat = self._flat_inputs(inputs)
        for i, (x, like) in enumerate(zip(flat, self.inputs)):
            flat[i] = self._adapt(x, like)
        if flat[0] is inputs and len(flat) == 1:
            self._accepted = inputs.shape
        return flat

    def _flat_inputs(self, inputs):
        struct = self.inputs_struct
        if isinstance(inputs, (Tensor, KerasTensor)):
            flat = [inputs]
        elif isinstance(inputs, dict) and not isinstance(struct, dict):
            self._check_keys(inputs, self.names)
            return [inputs[name] for name in self.names]
        elif isinstance(inputs, dict):
            self._check_keys(inputs, list(struct))
            flat = tree.flatten({key: inputs[key] for key in struct})
        else:
            if isinstance(struct, dict) and list(struct) != sorted(struct):
                raise ValueError(f"[{self.name}] The structure of `inputs` doesn't match the expected structure: "
                                 f"they must be a dict with the keys {list(struct)}")
            if isinstance(struct, dict):
                warn("The structure of `inputs` doesn't match the expected structure: "
                     f"[{self.name}] takes a dict with the keys {list(struct)}")
            flat = tree.flatten(inputs)
        if len(flat) != len(self.inputs):
            raise ValueError(
                f"[{self.name}] expects {len(self.inputs)} "
                f"{'named input(s) with keys' if isinstance(struct, dict) else 'input(s):'} "
                f"{list(struct) if isinstance(struct, dict) else self.names}. Received: {len(flat)}, of shapes "
                f"{[getattr(x, 'shape', x) for x in flat]}")
        return flat

    def _check_keys(self, inputs, names):
        if any(name not in inputs for name in names):
            raise ValueError(f"[{self.name}] inputs must be a dict with the keys {names}. Received: {list(inputs)}")
        if len(inputs) > len(names):
            unused = [name for name in inputs if name not in names]
            warn(f"[{self.name}] inputs hold keys that the model does not use: {unused}")

    def _adapt(self, x, like):
        if x is None:
            if getattr(like.history.operation, "optional", True):
                return None
            raise ValueError(f"[{self.name}] the input {like.name!r} is not optional. Received: None")
        if (like.dtype == "string") != (getattr(x, "dtype", None) == "string"):
            if like.dtype != "string" or not are_strings(np.asarray(x)):
                what = "strings" if like.dtype == "string" else "numbers"
                raise TypeError(f"[{self.name}] the input {like.name!r} must hold {what}. Received: {x!r}")
            x = Strings(np.asarray(x))
        if not isinstance(x, (Tensor, KerasTensor, Strings)):
            x = as_tensor(x)
        mask = getattr(x, "_keras_mask", None)
        y = x if x.dtype == like.dtype else ops.cast(x, like.dtype)
        shape, expected = y.shape, like.shape
        if len(shape) != len(expected):
            if len(shape) == len(expected) + 1 and shape[-1] == 1:
                y = y[..., 0] if isinstance(y, Strings) else ops.squeeze(y, -1)
            elif len(shape) == len(expected) - 1 and expected[-1] == 1:
                y = y[..., None] if isinstance(y, Strings) else ops.expand_dims(y, -1)
        if len(y.shape) != len(expected) or self.check_sizes and any(
                e is not None and n is not None and n != e for n, e in zip(y.shape[1:], expected[1:])):
            path = next(_dotted(path) for path, one in tree.flatten_with_path(self.inputs_struct) if one is like)
            raise ValueError(
                f"[{self.name}] input {like.name!r} is incompatible with the layer: expected shape={expected}, found "
                f"shape={tuple(x.shape)}. Received: the input with name {like.name!r} at path {path!r}")
        if mask is not None and y is not x:
            y._keras_mask = mask
        return y


def _dotted(path):
    return ".".join(map(str, path))


def _argument_filler(structure, slots):
    """A function from the list of values to `structure` with every KerasTensor replaced by its value."""
    if isinstance(structure, KerasTensor):
        slot = slots[id(structure)]
        return lambda values: values[slot]
    if isinstance(structure, dict):
        parts = [(key, _argument_filler(x, slots)) for key, x in structure.items()]
        return lambda values: {key: fill(values) for key, fill in parts}
    if isinstance(structure, (list, tuple)):
        fillers = [_argument_filler(x, slots) for x in structure]
        if hasattr(structure, "_fields"):
            kind = type(structure)
            return lambda values: kind(*[fill(values) for fill in fillers])
        if isinstance(structure, tuple):
            return lambda values: tuple([fill(values) for fill in fillers])
        return lambda values: [fill(values) for fill in fillers]
    return lambda values: structure


def check_symbolic(name, what, structure):
    """Raises ValueError unless every leaf is a KerasTensor with a history.

    Args:
        name: of the model.
        what: "inputs" or "outputs".
    """
    leaves = tree.flatten(structure)
    if not leaves:
        raise ValueError(f"[{name}] {what} must not be empty. Received: {what}={structure}")
    for x in leaves:
        if not isinstance(x, KerasTensor) or x.history is None:
            raise ValueError(
                f"[{name}] All `{what}` values must be KerasTensors that come from Input. Received: {what}={structure} "
                f"(of type {type(x).__name__})")
    if what == "inputs" and len({id(x) for x in leaves}) < len(leaves):
        raise ValueError(f"[{name}] an input must not be given twice. Received: inputs={structure}")
