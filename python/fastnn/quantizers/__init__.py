"""Quantization: weights and activations as small integers or 8-bit floats."""
import inspect

from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..utils.naming import to_snake_case
from .configs import (AWQConfig, Float8QuantizationConfig, GPTQConfig, Int4QuantizationConfig,
                      Int8QuantizationConfig, QuantizationConfig)
from .fake_quant import fake_quant_with_min_max_vars
from .float8 import compute_float8_amax_history, compute_float8_scale, quantize_and_dequantize
from .packing import pack_int4, unpack_int4
from .quantizer import AbsMaxQuantizer, Quantizer, abs_max_quantize, abs_max_quantize_grouped_with_zero_point

__all__ = [
    "AWQConfig", "AbsMaxQuantizer", "Float8QuantizationConfig", "GPTQConfig", "Int4QuantizationConfig",
    "Int8QuantizationConfig", "QuantizationConfig", "Quantizer", "abs_max_quantize",
    "abs_max_quantize_grouped_with_zero_point", "compute_float8_amax_history", "compute_float8_scale", "deserialize",
    "fake_quant_with_min_max_vars", "get", "pack_int4", "quantize_and_dequantize", "serialize", "unpack_int4",
]

_CLASSES = (Quantizer, AbsMaxQuantizer, QuantizationConfig, Int8QuantizationConfig, Int4QuantizationConfig,
            Float8QuantizationConfig, GPTQConfig, AWQConfig)
_OBJECTS = {cls.__name__: cls for cls in _CLASSES} | {to_snake_case(cls.__name__): cls for cls in _CLASSES}


def get(identifier):
    """Return a quantizer or a config from None, a name, a config dict, a class or the object itself.

    Args:
        identifier: any of the above.

    Raises:
        ValueError: the identifier is none of these.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        return deserialize(identifier)
    found = _OBJECTS.get(identifier) if isinstance(identifier, str) else identifier
    if isinstance(found, QuantizationConfig):
        return found
    if not callable(found):
        raise ValueError(f"[quantizers.get] Could not interpret quantizer identifier: {identifier}")
    return found() if inspect.isclass(found) else found


def serialize(quantizer):
    """Return the config dict of a quantizer.

    Args:
        quantizer: what is to be described.
    """
    return serialize_keras_object(quantizer)


def deserialize(config, custom_objects=None):
    """Return the quantizer of a config dict.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return deserialize_keras_object(config, custom_objects, module_objects=_OBJECTS)
