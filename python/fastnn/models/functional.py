"""Functional: the model between symbolic inputs and outputs."""
import functools

from .. import tree
from ..layers.calling import signature_of
from ..layers.input_layer import Input, InputLayer
from ..layers.input_spec import InputSpec
from ..layers.layer import Layer
from ..layers.operation import FunctionOperation
from ..saving import deserialize_keras_object, serialize_keras_object
from ..symbolic import KerasTensor
from ..trainer import Trainer
from ..utils.naming import to_snake_case
from .graph import Graph, check_symbolic
from .model import Model


class Functional(Model):
    """A model of the layers and ops between `inputs` and `outputs`; made by `Model(inputs, outputs)`.

    Args:
        inputs, outputs: KerasTensors, or lists, tuples or dicts of them.
        name: string.
        trainable: bool or None; of the model alone: the layers stay as they are, trained or frozen.
    """

    _quiet_masks = True  # masks travel with the tensors inside

    def __init__(self, inputs, outputs, name=None, trainable=None, **kwargs):
        Layer.__init__(self, name=name, autocast=False, **kwargs)
        Trainer.__init__(self)
        check_symbolic(self.name, "inputs", inputs)
        check_symbolic(self.name, "outputs", outputs)
        if not all(isinstance(x.history.operation, InputLayer) for x in tree.flatten(inputs)):
            inputs, outputs = _with_own_inputs(self.name, inputs, outputs)
        object.__setattr__(self, "_graph", Graph(inputs, outputs, self.name))
        self._layers[:] = [op for op in self._graph.operations if isinstance(op, Layer)]
        self._structure_changed()
        self.built = True
        if trainable is not None:
            self._trainable = bool(trainable)  # the setter would unfreeze the frozen layers of a loaded model

    def call(self, inputs, training=None, mask=None):
        """Runs the graph on tensors in the structure of the inputs."""
        flat = self._graph.standardize(inputs)
        if mask is not None:
            for x, m in zip(flat, tree.flatten(mask)):
                if m is not None and x is not None:
                    x._keras_mask = m
        return _unpack(self._graph.run(flat))

    def build(self, input_shape=None):
        """Does nothing: a functional model is built from the start."""

    def compute_output_spec(self, inputs, training=None, mask=None):
        """The outputs for symbolic inputs, without nodes in the graph."""
        return _unpack(self._graph.run_symbolic(self._graph.standardize(inputs)))

    def compute_output_shape(self, input_shape):
        """The shapes of the outputs for shapes of the inputs."""
        shapes = []
        tree.map_shape_structure(shapes.append, input_shape)
        tensors = [KerasTensor(shape, dtype=x.dtype) for shape, x in zip(shapes, self.inputs)]
        return tree.map_structure(lambda x: tuple(x.shape), _unpack(self._graph.run_symbolic(tensors)))

    @property
    def operations(self):
        """Layers and functions of the graph, in the order of `layers`."""
        return list(self._graph.operations)

    @property
    def inputs(self):
        """The symbolic inputs, as a flat list."""
        return list(self._graph.inputs)

    @property
    def outputs(self):
        """The symbolic outputs, as a flat list."""
        return list(self._graph.outputs)

    @property
    def input(self):
        """The symbolic inputs in their structure."""
        return self._graph.inputs_struct

    @property
    def output(self):
        """The symbolic outputs in their structure."""
        return self._graph.outputs_struct

    @property
    def input_names(self):
        """The names of the inputs, as a flat list."""
        return list(self._graph.names)

    @property
    def output_names(self):
        """The names of the layers that make the outputs; the keys, if the outputs are a dict."""
        if isinstance(self.output, dict) and not any(tree.is_nested(x) for x in self.output.values()):
            return sorted(self.output)
        return [x.history.operation.name for x in self._graph.outputs]

    @property
    def input_shape(self):
        """The shape of the input, or the structure of shapes."""
        return _unpack(tree.map_structure(lambda x: tuple(x.shape), self.input), list)

    @property
    def output_shape(self):
        """The shape of the output, or the structure of shapes."""
        return _unpack(tree.map_structure(lambda x: tuple(x.shape), self.output), list)

    @property
    def input_spec(self):
        """A list of InputSpec, one per input. The graph itself checks its inputs; one that is set is checked, too."""
        return self._input_spec if self._input_spec is not None else [InputSpec(shape=(None, *x.shape[1:]), allow_last_axis_squeeze=True, name=x.name,
                          optional=x.history.operation.optional) for x in self._graph.inputs]

    @input_spec.setter
    def input_spec(self, value):
        Layer.input_spec.fset(self, value)

    def add_loss(self, loss):
        """Not for functional models: add the loss in the `call` of a layer.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"[{self.name}.add_loss] a functional model takes losses from its layers: "
                         "call self.add_loss(...) in the call() of a layer")

    def get_config(self):
        """Returns the layers, their calls, inputs and outputs as a dict that JSON can hold."""
        if not _makes_functional(type(self)):
            return Layer.get_config(self)
        kept, layers = self._node_indices(), []
        for operation in self._graph.operations:
            config = _serialize_operation(operation)
            config["name"] = operation.name
            config["inbound_nodes"] = [_serialize_call(node, kept) for node in operation._inbound_nodes
                                       if id(node) in kept and not node.is_input]
            layers.append(config)

        def reference(x):
            node = x.history.operation._inbound_nodes[x.history.node_index]
            return [x.history.operation.name, kept[id(node)] + _first_index(x.history.operation), x.history.tensor_index]

        return {"name": self.name, "trainable": self.trainable, "layers": layers,
                "input_layers": tree.map_structure(reference, self.input),
                "output_layers": tree.map_structure(reference, self.output)}

    get_config.by_constructor = True

    def _node_indices(self):
        """The index of each node of the graph among the calls of its operation that belong to this model."""
        inside, kept = {id(node) for node in self._graph.nodes}, {}
        for operation in self._graph.operations:
            index = 0
            for node in operation._inbound_nodes:
                if id(node) in inside:
                    kept[id(node)] = index
                    index += 1
        return kept

    def get_build_config(self):
        """None: the config of a functional model says all about its shapes."""
        return None


@functools.lru_cache(maxsize=None)
def functional_class(cls):
    """A subclass of a user's Model subclass that is Functional, too; it carries the user's name."""
    return type(cls.__name__, (cls, Functional), {"__module__": cls.__module__, "__qualname__": cls.__qualname__,
                                                  "__doc__": cls.__doc__, "_made_functional": True})


def _makes_functional(cls):
    """Whether `cls` can be made from inputs, outputs, name and trainable alone."""
    return cls.__init__ is Functional.__init__


def _first_index(operation):
    """What a config adds to the index of a call where it names inputs and outputs of the whole model.

    There, and not in the arguments of calls, Keras counts the construction of a functional model as its first call.
    """
    return 1 if isinstance(operation, Functional) else 0


def _unpack(x, kinds=(list, tuple)):
    return x[0] if isinstance(x, kinds) and len(x) == 1 else x


def _with_own_inputs(name, inputs, outputs):
    """Inputs of the model's own in place of intermediate tensors, and the outputs computed from them."""
    graph = Graph(inputs, outputs, name)
    own = [x if isinstance(x.history.operation, InputLayer)
           else Input(batch_shape=x.shape, dtype=x.dtype, name=x.history.operation.name + "_input")
           for x in graph.inputs]
    return tree.pack_sequence_as(inputs, own), graph.run(own)


# Keras writes an op as a class: what its constructor takes goes to the config, the rest to the call.
_CALL_PARAMETERS = frozenset(("x", "x1", "x2", "xs", "inputs", "key", "indices", "condition", "mask", "target", "output"))
_KERAS_NN = frozenset((
    "relu", "relu6", "sigmoid", "softplus", "softsign", "silu", "log_sigmoid", "leaky_relu", "hard_sigmoid", "hard_silu",
    "elu", "selu", "gelu", "softmax", "log_softmax", "max_pool", "average_pool", "conv", "depthwise_conv",
    "separable_conv", "conv_transpose", "one_hot", "binary_crossentropy", "categorical_crossentropy",
    "sparse_categorical_crossentropy", "multi_hot", "moments", "batch_normalization", "normalize"))
_KERAS_CORE = frozenset(("cast", "slice", "slice_update", "scatter", "scatter_update", "stop_gradient", "unstack"))
_KERAS_MATH = frozenset(("segment_sum", "segment_max", "top_k", "in_top_k", "logsumexp", "rsqrt", "erf", "erfinv"))


def _serialize_operation(operation):
    if not isinstance(operation, FunctionOperation):
        return serialize_keras_object(operation)
    name = operation.function.__name__
    module = "nn" if name in _KERAS_NN else "core" if name in _KERAS_CORE else "math" if name in _KERAS_MATH else "numpy"
    constructor, _, _ = _split_arguments(operation._inbound_nodes[0])
    return {"module": f"keras.src.ops.{module}", "class_name": operation.class_name, "registered_name": operation.class_name,
            "config": {"name": operation.name, **serialize_keras_object(constructor)}}


def _split_arguments(node):
    """The arguments of a call as (those of Keras's constructor, args, kwargs); all are `args, kwargs` for a layer."""
    if not isinstance(node.operation, FunctionOperation):
        return {}, list(node.args), dict(node.kwargs)
    names = signature_of(node.operation.function).names
    if len(node.args) > len(names):
        return {}, list(node.args), dict(node.kwargs)
    constructor, args, kwargs = {}, [], {}
    for index, (name, value) in enumerate([*zip(names, node.args), *node.kwargs.items()]):
        symbolic = any(isinstance(x, KerasTensor) for x in tree.flatten(value))
        if not symbolic and name not in _CALL_PARAMETERS:
            constructor[name] = value
        elif index < len(node.args) and len(args) == index:
            args.append(value)
        else:
            kwargs[name] = value
    return constructor, args, kwargs


def _serialize_call(node, kept):
    """The arguments of a call as a dict that JSON can hold; tensors become references to their nodes."""

    def one(x):
        if not isinstance(x, KerasTensor):
            return serialize_keras_object(x)
        history = x.history
        index = kept[id(history.operation._inbound_nodes[history.node_index])]
        return {"class_name": "__keras_tensor__",
                "config": {"shape": list(x.shape), "dtype": x.dtype,
                           "keras_history": [history.operation.name, index, history.tensor_index]}}

    _, args, kwargs = _split_arguments(node)
    call = {"args": tree.map_structure(one, args), "kwargs": tree.map_structure(one, kwargs)}
    if _says_training_by_default(node.operation, kwargs):
        call["explicit_training"] = True
    return call


def _says_training_by_default(operation, kwargs):
    """Whether a call says `training=True` where that is the layer's default. Keras writes this default (of augmentation
    layers) into the calls of its files and lets the model decide in `predict`; in our files a call says only what the
    user said, and `explicit_training` beside it tells the two apart."""
    signature = getattr(operation, "_signature", None)
    return signature is not None and kwargs.get("training") is True is signature.training_default


def from_functional_config(cls, config):
    """A functional model from its config.

    Raises:
        ValueError: the calls form a loop, or refer to a layer or call that does not exist.
    """
    config = dict(config)
    layer_configs = config.pop("layers")
    made, waiting = {}, []
    for one in layer_configs:
        if not isinstance(one, dict) or "name" not in one:
            raise ValueError(f"[from_config] every layer must be a dict with a name. Received: {one!r}")
        made[one["name"]] = _deserialize_operation(one)
        waiting.extend((one["name"], call) for call in one.get("inbound_nodes", ()))
    calls = {name: [operation._inbound_nodes[0]] if isinstance(operation, InputLayer) else []
             for name, operation in made.items()}

    def tensor(reference):
        name, index, position = reference
        if name not in made:
            raise ValueError(f"[from_config] a call refers to a layer that does not exist. Missing node: {name}. Received: {reference}")
        nodes = calls[name]
        return nodes[index].outputs[position] if 0 <= index < len(nodes) else None

    while waiting:
        left = []
        blocked = set()  # calls of one layer keep their order
        for name, call in waiting:
            arguments = None if name in blocked else _deserialize_call(call, tensor)
            if arguments is None:
                blocked.add(name)
                left.append((name, call))
                continue
            args, kwargs = arguments
            operation = made[name]
            if not call.get("explicit_training") and _says_training_by_default(operation, kwargs):
                del kwargs["training"]
            output = operation(*args, **kwargs)
            node = tree.flatten(output)[0].history
            calls[name].append(node.operation._inbound_nodes[node.node_index])
        if len(left) == len(waiting):
            raise ValueError("[from_config] the calls must not form a loop or refer to missing calls. "
                             f"Received: {sorted({name for name, _ in left})}")
        waiting = left

    def tensors(structure):
        if isinstance(structure, (list, tuple)) and len(structure) == 3 and isinstance(structure[0], str):
            name, index, position = structure
            found = tensor((name, index - _first_index(made.get(name)), position))
            if found is None:
                raise ValueError(f"[from_config] an input or output refers to a missing call. Received: {structure}")
            return found
        if isinstance(structure, dict):
            return {key: tensors(x) for key, x in structure.items()}
        found = [tensors(x) for x in structure]
        return tuple(found) if isinstance(structure, tuple) else found

    inputs, outputs = tensors(config.pop("input_layers")), tensors(config.pop("output_layers"))
    return cls(inputs=inputs, outputs=outputs, **config)


def _deserialize_operation(config):
    module, name = str(config.get("module")), config.get("class_name")
    if module.startswith("keras.src.ops.") and isinstance(name, str):
        arguments = {key: deserialize_keras_object(value) for key, value in config["config"].items() if key not in ("name", "dtype")}
        return _NamedFunction(config["name"], to_snake_case(name), arguments)
    operation = deserialize_keras_object({"module": "keras.layers", **config})
    if not isinstance(operation, Layer):
        raise ValueError(f"[from_config] must be a layer. Received: {operation!r}")
    return operation


class _NamedFunction:
    """A function of `ops` that gives the node it makes the name of the config."""

    def __init__(self, name, function, arguments):
        from .. import ops

        self.name, self.arguments = name, arguments
        self.function = getattr(ops, function, None) if isinstance(function, str) and function[:1] != "_" else None
        if not callable(self.function) or not hasattr(self.function, "__wrapped__"):
            raise ValueError(f"[from_config] must be a function of fastnn.ops. Received: {function!r}")

    def __call__(self, *args, **kwargs):
        if self.function.__name__ == "get_item" and len(args) > 1 and isinstance(args[1], list):
            args = (args[0], tuple(args[1]))  # JSON has no tuples
        output = self.function(*args, **kwargs, **self.arguments)
        tree.flatten(output)[0].history.operation.name = self.name
        return output


def _deserialize_call(config, tensor):
    """The arguments of a call, or None if a tensor among them does not exist yet."""
    missing = []

    def visit(x):
        if isinstance(x, dict):
            if x.get("class_name") == "__keras_tensor__":
                found = tensor(x["config"]["keras_history"])
                if found is None:
                    missing.append(x)
                return found
            if "class_name" in x and "config" in x:
                return deserialize_keras_object(x)
            return {key: visit(value) for key, value in x.items()}
        if isinstance(x, (list, tuple)):
            return [visit(value) for value in x]
        return x

    args, kwargs = visit(config["args"]), visit(config["kwargs"])
    return None if missing else (args, kwargs)
