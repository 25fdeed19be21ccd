"""Sequential: a stack of layers, each with one input and one output."""
import inspect

from ..layers.calling import call_signature
from ..layers.input_layer import InputLayer
from ..layers.layer import Layer
from ..saving import deserialize_keras_object, serialize_keras_object
from ..symbolic import KerasTensor, infer
from ..tensor import standardize_shape
from ..utils.naming import name_scope
from .graph import Graph
from .model import Model


class Sequential(Model):
    """A model that applies its layers one after the other.

    Args:
        layers: list of layers; the first may be an `Input`, or carry `input_shape=`. Without either the
            model is built when it is first called.
        trainable: bool.
        name: string.

    Raises:
        ValueError: something in `layers` is not a layer, or two have the same name.
    """

    _quiet_masks = True

    def __init__(self, layers=None, trainable=True, name=None):
        Model.__init__(self, trainable=trainable, name=name)
        object.__setattr__(self, "_graph", None)
        self.autocast = False
        if layers is not None:
            if not isinstance(layers, (list, tuple)):
                layers = [layers]
            for layer in layers:
                self.add(layer, rebuild=False)
            self._rebuild()

    def add(self, layer, rebuild=True):
        """Puts a layer on top.

        Args:
            layer: Layer, or the symbolic tensor that `Input` returned.
            rebuild: bool; False waits with building for the next `add` or call.

        Raises:
            ValueError: it is not a layer, its name is taken, or it needs several inputs.
        """
        if isinstance(layer, KerasTensor) and layer.history and isinstance(layer.history.operation, InputLayer):
            layer = layer.history.operation
        if not isinstance(layer, Layer):
            raise ValueError(
                f"[{self.name}] Only instances of Layer can be added to a Sequential model. Received: {layer!r} "
                f"(of type {type(layer).__name__})")
        if any(layer.name == other.name and layer is not other for other in self._layers):
            raise ValueError(
                f"[{self.name}] all layers should have unique names. Received twice: name={layer.name!r}")
        if isinstance(layer, InputLayer):
            if self._layers:
                raise ValueError(
                    f"[{self.name}] the input has already been configured: an Input must come first, and only once. "
                    f"Received: Input of shape {layer.batch_shape} after {len(self._layers)} layer(s)")
        else:
            self._check_single_input(layer)
        if not self._layers and not isinstance(layer, InputLayer) and layer._batch_shape is not None:
            self._layers.append(InputLayer(batch_shape=layer._batch_shape))
        before, graph = list(self._layers), self._graph
        self._layers.append(layer)
        self._forget()
        if not rebuild:
            return
        try:
            if graph is not None:
                with name_scope(self.name, caller=self):
                    self._apply(graph.inputs_struct, graph.outputs_struct, [layer])
                self.built = True
            else:
                self._rebuild()
        except Exception:
            # A layer that does not fit leaves the model as it was.
            self._layers[:] = before
            self._structure_changed()
            object.__setattr__(self, "_graph", graph)
            self.built = graph is not None
            raise

    def _check_single_input(self, layer):
        graph = getattr(layer, "_graph", None)
        if graph is not None and len(graph.inputs) != 1:
            raise ValueError(
                f"[{self.name}] a layer of a Sequential model must have one input. Received: {layer.name!r} with the "
                f"inputs {graph.names}; use Model(inputs, outputs) instead")
        signature = call_signature(layer)
        given = ("training", "mask")  # by the call itself
        required = [name for name in signature.names if name not in signature.defaults and name not in given]
        if not signature.names and not signature.varargs:
            raise ValueError(f"[{self.name}] the call() of a layer must take an input. Received: {layer.name!r}")
        if len(required) > 1:
            raise ValueError(
                f"[{self.name}] a layer of a Sequential model must have one input. Received: {layer.name!r}, whose "
                f"call() needs {required}; use Model(inputs, outputs) instead")

    def pop(self, rebuild=True):
        """Removes the top layer and returns it.

        Raises:
            ValueError: there is none.
        """
        if not self.layers:
            raise ValueError(f"[{self.name}.pop] the model has no layers")
        layer = self._layers.pop()
        self._forget()
        if rebuild:
            self._rebuild()
        return layer

    def _forget(self):
        self._structure_changed()
        object.__setattr__(self, "_graph", None)
        self.built = False
        self._build_shapes = None
        self.train_function = self.test_function = self.predict_function = None

    def _rebuild(self):
        if len(self._layers) < 2 and not (self._layers and getattr(self._layers[0], "_graph", None)):
            return
        first = self._layers[0]
        if isinstance(first, InputLayer):
            self.build(first.batch_shape)
        elif getattr(first, "_graph", None) is not None:
            self.build(first.input_shape)

    def build(self, input_shape=None):
        """Builds all layers.

        Args:
            input_shape: shape tuple with the batch size (None if unknown).

        Raises:
            ValueError: there are no layers, or the Input has another shape.
        """
        if not self._layers:
            raise ValueError(f"[{self.name}.build] cannot be built because it has no layers: call add(layer)")
        if not isinstance(input_shape, (list, tuple)) or not all(n is None or hasattr(n, "__index__") for n in input_shape):
            return  # a structure of inputs: the layers are built when they are called
        input_shape = standardize_shape(input_shape, f"{self.name}.build", allow_none=True)
        first = self._layers[0]
        if isinstance(first, InputLayer):
            if first.batch_shape != input_shape:
                raise ValueError(
                    f"[{self.name}.build] the model has already been configured to use input shape {first.batch_shape}. "
                    f"Received: input_shape={input_shape}")
        else:
            graph = getattr(first, "_graph", None)
            dtype = graph.inputs[0].dtype if graph is not None else first.compute_dtype
            self._layers.insert(0, InputLayer(batch_shape=input_shape, dtype=dtype))
            self._structure_changed()
        self._apply(self._layers[0].output, self._layers[0].output, self._layers[1:])

    def _build_for_call(self, args, kwargs, symbolic):
        x = args[0] if args else kwargs.get("inputs")
        # The model is built for any batch size, not for that of its first call; other sizes are for the layers to check.
        self.build((None, *x.shape[1:]) if hasattr(x, "shape") and len(x.shape) else None)
        if self._graph is not None:
            self._graph.check_sizes = False

    def _apply(self, inputs, x, layers):
        """Applies `layers` to the symbolic tensor `x` that comes from `inputs`."""
        for layer in layers:
            try:
                x = layer(x)
            except NotImplementedError:
                return  # a layer that cannot tell its shape: the model is built when it is called
            except TypeError as error:
                needed = [p.name for p in inspect.signature(layer.call).parameters.values()
                          if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
                if len(needed) < 2:
                    raise
                raise ValueError(
                    f"[{self.name}] layers of a Sequential model can only have a single positional argument, the input. "
                    f"Received: {layer.name!r}, whose call needs {needed}") from error
            if not isinstance(x, KerasTensor) and layer is not self._layers[-1]:
                raise ValueError(
                    f"[{self.name}] a layer of a Sequential model must have one output. Received: {layer.name!r}, "
                    f"with {len(x)} outputs")
        object.__setattr__(self, "_graph", Graph(inputs, x, self.name))

    def call(self, inputs, training=None, mask=None):
        """Applies the layers in order."""
        if self._graph is not None:
            flat = self._graph.standardize(inputs)
            if mask is not None:
                flat[0]._keras_mask = mask
            return self._graph.run(flat)
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def compute_output_spec(self, inputs, training=None, mask=None):
        """The output for a symbolic input, without nodes in the graph."""
        if self._graph is None:
            return infer(self.call, (inputs,), {})
        return self._graph.run_symbolic(self._graph.standardize(inputs))

    def compute_output_shape(self, input_shape):
        """The shape of the output for a shape of the input."""
        if self._graph is None:
            return Model.compute_output_shape(self, input_shape)
        return self._graph.run_symbolic([KerasTensor(input_shape, dtype=self.inputs[0].dtype)]).shape

    @property
    def layers(self):
        """The layers, without the Input."""
        layers = self._layers
        return list(layers[1:] if layers and isinstance(layers[0], InputLayer) else layers)

    @layers.setter
    def layers(self, _):
        raise AttributeError(f"[{self.name}] `layers` is reserved. Use `add()` and `pop()` to change the layers")

    def _known_graph(self, what):
        if self._graph is None:
            raise AttributeError(
                f"[{self.name}] has no `{what}` yet: start it with an Input, or call it on data, or build(input_shape)")
        return self._graph

    @property
    def inputs(self):
        """A list with the symbolic input; AttributeError if the model is not built."""
        return list(self._known_graph("inputs").inputs)

    @property
    def outputs(self):
        """A list with the symbolic output; AttributeError if the model is not built."""
        return list(self._known_graph("outputs").outputs)

    @property
    def input(self):
        """The symbolic input; AttributeError if the model is not built."""
        return self._known_graph("input").inputs_struct

    @property
    def output(self):
        """The symbolic output; AttributeError if the model is not built."""
        return self._known_graph("output").outputs_struct

    @property
    def input_shape(self):
        """Shape of the input; AttributeError if the model is not built."""
        return tuple(self._known_graph("input_shape").inputs[0].shape)

    @property
    def output_shape(self):
        """Shape of the output; AttributeError if the model is not built."""
        return tuple(self._known_graph("output_shape").outputs[0].shape)

    @property
    def input_names(self):
        """A list with the name of the input, empty if the model is not built."""
        return list(self._graph.names) if self._graph is not None else []

    @property
    def output_names(self):
        """A list with the name of the last layer."""
        if self._graph is not None:
            return [x.history.operation.name for x in self._graph.outputs]
        return [self.layers[-1].name] if self.layers else []

    def get_config(self):
        """Returns the layers as a dict that JSON can hold."""
        config = Layer.get_config(self)
        config["layers"] = [serialize_keras_object(layer) for layer in self._layers]
        if self._graph is not None:
            config["build_input_shape"] = self._layers[0].batch_shape
        return config

    def get_build_config(self):
        """Returns the shape of the input as a dict, or None."""
        return None if self._graph is None else {"input_shape": self._layers[0].batch_shape}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a model from what `get_config` returned.

        Raises:
            ValueError: the config lacks its layers, or names an unknown class.
        """
        from ..saving import custom_object_scope
        from ..saving.serialization import migrated, sound_config

        if not isinstance(config, dict) or "layers" not in config or "name" not in config:
            raise ValueError("[Sequential.from_config] A Sequential model configuration must be a dictionary containing the "
                             f"'name' and 'layers' keys. Received: config={config!r}")
        if any(isinstance(one, dict) and "config" not in one for one in config["layers"]):
            raise ValueError("[Sequential.from_config] each layer: Expected a dictionary containing a 'config' key. "
                             f"Received: config={config!r}")
        with custom_object_scope(custom_objects or {}), sound_config("Sequential.from_config"):
            layers = [deserialize_keras_object(one) for one in migrated("Sequential", config)["layers"]]
            model = cls(name=config.get("name"), trainable=config.get("trainable", True))
            for layer in layers:
                model.add(layer, rebuild=False)
            model._rebuild()
            shape = config.get("build_input_shape")
            if model._graph is None and shape:
                model.build(tuple(shape))
        return model
