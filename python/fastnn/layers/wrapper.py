"""Wrapper, a layer around a layer."""
from .. import tree
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..symbolic import KerasTensor
from .layer import Layer


def with_dtype(spec, dtype):
    """Symbolic tensors of another dtype: a wrapper computes in that of the layer inside."""
    return tree.map_structure(lambda x: KerasTensor(x.shape, dtype=dtype), spec)


class Wrapper(Layer):
    """A layer that uses another one; TimeDistributed is one.

    Args:
        layer: Layer.

    Raises:
        ValueError: `layer` is not a Layer.
    """

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError(f"[{type(self).__name__}] Layer {layer!r} supplied to Wrapper isn't a supported layer type. "
                             "Please ensure wrapped layer is a valid Keras layer.")
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape=None):
        if not self.layer.built:
            self.layer.build(input_shape)

    def get_config(self):
        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        return cls(deserialize_keras_object(config.pop("layer"), custom_objects=custom_objects), **config)
