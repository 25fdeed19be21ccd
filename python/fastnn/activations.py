"""Activation functions, by themselves and by the names that layers take."""

from . import ops
from .ops import (
    celu, elu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_tanh, leaky_relu, log_sigmoid, mish, relu6, selu,
    sigmoid, silu, soft_shrink, softplus, softsign, sparse_plus, sparse_sigmoid, sparsemax, squareplus,
    tanh, tanh_shrink, threshold,
)
from .saving.registration import get_registered_name
from .saving.serialization import resolve, serialize_keras_object


def linear(x):
    """``x`` itself; a copy of an array, which its owner may change.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
    """
    return ops.convert_to_tensor(x) if type(x).__module__ == "numpy" else x


def exponential(x):
    """e to the power of ``x``.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
    """
    return ops.exp(x)


def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """``x`` above ``threshold``, up to ``max_value``; ``negative_slope * (x - threshold)`` below.

    Args:
        x: tensor.
        negative_slope: slope below the threshold.
        max_value: the largest result, or None.
        threshold: values up to it are not passed on as they are.
    """
    if not threshold and max_value is None:
        return ops.leaky_relu(x, negative_slope) if negative_slope else ops.relu(x)
    if not threshold and not negative_slope and max_value == 6:
        return ops.relu6(x)
    low = ops.multiply(ops.subtract(x, threshold), negative_slope)
    y = ops.where(ops.greater(x, threshold), x, low)
    return y if max_value is None else ops.minimum(y, max_value)


def gelu(x, approximate=False):
    """``x`` times the standard normal distribution function of ``x`` (Hendrycks & Gimpel 2016).

    Args:
        x: tensor.
        approximate: write the distribution function with tanh instead of erf.
    """
    return ops.gelu(x, approximate)


def softmax(x, axis=-1):
    """``exp(x) / sum(exp(x))`` along ``axis``.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        axis: int, or several of them, or None for all.
    """
    return ops.softmax(x, axis)


def log_softmax(x, axis=-1):
    """``log(softmax(x))`` along ``axis``, without overflow.

    Args:
        x: tensor of any shape, floats; integers are converted to floatx.
        axis: int, or several of them, or None for all.
    """
    return ops.log_softmax(x, axis)


swish, hard_swish = silu, hard_silu

_FUNCTIONS = (
    celu, elu, exponential, gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_tanh, leaky_relu, linear, log_sigmoid,
    log_softmax, mish, relu, relu6, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign, sparse_plus,
    sparse_sigmoid, sparsemax, squareplus, tanh, tanh_shrink, threshold,
)
_OBJECTS = {f.__name__: f for f in _FUNCTIONS}
_OBJECTS.update(swish=silu, hard_swish=hard_silu)


def serialize(activation):
    """The name of an activation function of this module; a config of any other function or layer.

    Args:
        activation: function or layer.
    """
    name = getattr(activation, "__name__", None)
    if name is not None and _OBJECTS.get(name) is activation:
        return name
    config = serialize_keras_object(activation)
    if isinstance(config, dict) and config.get("class_name") == "function":
        return get_registered_name(activation)
    return config


def deserialize(config, custom_objects=None):
    """The activation function of a name or a config.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return resolve(config, "activation function", _OBJECTS, custom_objects)


def get(identifier):
    """The activation function of a name, a config or a callable; None gives ``linear``.

    Args:
        identifier: any of the above.

    Raises:
        ValueError: the identifier is none of these.
    """
    if identifier is None:
        return linear
    return resolve(identifier, "activation function", _OBJECTS)
