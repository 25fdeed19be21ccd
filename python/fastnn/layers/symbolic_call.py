"""Calls of layers on symbolic tensors: the shapes and dtypes of what they would return."""
from .. import tree
from ..symbolic import KerasTensor, infer
from .calling import call_signature, shape_arguments, tensor_arguments


def symbolic_outputs(layer, args, kwargs):
    """The result of `layer.call(*args, **kwargs)` as KerasTensors without history.

    `compute_output_shape` decides where a layer has its own; otherwise `call` runs on tensors
    without values.
    """
    if getattr(type(layer).compute_output_shape, "by_trial", False):
        return infer(layer.call, args, kwargs)
    tensors = tensor_arguments(call_signature(layer).bind(args, kwargs))
    if not layer._takes_strings and not layer._layers and any(
            getattr(x, "dtype", None) == "string" for x in tree.flatten(list(tensors.values()))):
        raise TypeError(f"[{layer.name}] inputs must hold numbers: a {type(layer).__name__} cannot take strings. "
                        "Received: a KerasTensor with dtype='string'")
    shape = layer.compute_output_shape(**shape_arguments(layer.compute_output_shape, tensors, layer.name))
    if not tree.is_nested(shape):
        raise ValueError(f"[{layer.name}] compute_output_shape() must return a shape. Received: {shape!r}")
    return tree.map_shape_structure(lambda s: KerasTensor(s, dtype=layer.compute_dtype), shape)


def output_shape_by_trial(layer, args, kwargs):
    """The output shape of `layer.call`, from shapes of its arguments."""
    signature = call_signature(layer)
    if getattr(type(layer).call, "is_missing", False):
        raise layer._not_implemented_error("compute_output_shape")

    def tensors(shapes):
        return tree.map_shape_structure(lambda s: KerasTensor(s, dtype=layer.compute_dtype), shapes)

    args = [tensors(x) for x in args]
    if len(kwargs) == 1 and not args:
        args, kwargs = [tensors(next(iter(kwargs.values())))], {}
    else:
        names = {f"{name}_shape": name for name in signature.parameters}
        kwargs = {names.get(key, key): tensors(value) for key, value in kwargs.items()}
    function = layer.call if layer.built else layer  # a call builds the layer
    return tree.map_structure(lambda x: tuple(x.shape), infer(function, args, kwargs))
