"""Copies of models with new weights."""
from .. import tree
from ..layers.input_layer import Input, InputLayer
from ..layers.layer import Layer
from ..saving.serialization import SafeModeScope
from .functional import Functional
from .model import Model
from .sequential import Sequential


def clone_model(model, input_tensors=None, clone_function=None, call_function=None, recursive=False):
    """A model of the same architecture with new layers and newly initialised weights.

    Args:
        model: functional, Sequential, or any Model with a config.
        input_tensors: KerasTensor, or the structure of them that replaces the model's inputs.
        clone_function: function from a layer to the layer that takes its place; by default a new layer
            from the config. InputLayers are not given to it.
        call_function: function (layer, *args, **kwargs) that applies a new layer; only for functional models.
        recursive: bool; use `clone_function` inside nested models, too.

    Returns:
        The new model.

    Raises:
        ValueError: a function or input is given for a model that is neither functional nor Sequential.
    """
    clone = clone_function or _from_config
    if recursive:
        inner = clone

        def clone(layer):
            if isinstance(layer, (Functional, Sequential)):
                return clone_model(layer, clone_function=inner, call_function=call_function, recursive=True)
            return inner(layer)

    if isinstance(model, Sequential):
        if call_function is not None:
            raise ValueError("[clone_model] call_function is only for functional models. "
                             f"Received: a Sequential model, {model.name!r}")
        return _compiled_as(model, _clone_sequential(model, clone, input_tensors))
    if isinstance(model, Functional):
        return _compiled_as(model, _clone_functional(model, clone, input_tensors, call_function))
    if not isinstance(model, Model):
        raise ValueError(f"[clone_model] model must be a Model. Received: model={model!r}")
    if clone_function is not None or input_tensors is not None or call_function is not None:
        raise ValueError("[clone_model] clone_function, call_function and input_tensors need a functional or "
                         f"Sequential model. Received: a {type(model).__name__}")
    return _from_config(model)


def _from_config(layer):
    with SafeModeScope(False):  # functions of this process, not of a file
        return type(layer).from_config(layer.get_config())


def _compiled_as(model, copy):
    if model.compiled:
        copy.compile_from_config(model.get_compile_config())
    return copy


def _clone_sequential(model, clone, input_tensors):
    if input_tensors is not None:
        tensors = tree.flatten(input_tensors)
        if len(tensors) != 1:
            raise ValueError(f"[clone_model] a Sequential model has one input. Received: {len(tensors)} input_tensors")
        first = [tensors[0]]
    else:
        first = [_from_config(layer) for layer in model._layers[:1] if isinstance(layer, InputLayer)]
    return Sequential([*first, *(clone(layer) for layer in model.layers)], trainable=model.trainable, name=model.name)


def _clone_functional(model, clone, input_tensors, call_function):
    graph = model._graph
    if input_tensors is None:
        inputs = [Input(batch_shape=x.shape, dtype=x.dtype, name=x.name, optional=x.history.operation.optional)
                  for x in graph.inputs]
    else:
        inputs = tree.flatten(input_tensors)
        if len(inputs) != len(graph.inputs) or isinstance(input_tensors, dict) != isinstance(graph.inputs_struct, dict):
            raise ValueError("[clone_model] `input_tensors` must have the same structure as model.input: "
                             f"{graph.inputs_struct}. Received: input_tensors={input_tensors}")
    clones = {}

    def call(operation, args, kwargs):
        if not isinstance(operation, Layer):
            return operation.function(*args, **kwargs)
        if operation not in clones:
            clones[operation] = clone(operation)
        if call_function is not None:
            return call_function(clones[operation], *args, **kwargs)
        return clones[operation](*args, **kwargs)

    outputs = graph.run(inputs, call)
    inputs = tree.pack_sequence_as(graph.inputs_struct, inputs)
    cls = type(model) if type(model).__init__ is Functional.__init__ else Functional
    return cls(inputs=inputs, outputs=outputs, name=model.name, trainable=model.trainable or None)
