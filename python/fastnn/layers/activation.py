"""Layers that apply an activation function."""
from .. import activations, constraints, initializers, ops, regularizers
from .input_spec import InputSpec
from .layer import Layer


def _number(kind, name, value, low=None):
    if low is not None and (value is None or isinstance(value, (int, float)) and value < low):
        words = {"LeakyReLU": f"The {name} value of a Leaky ReLU layer", "ReLU": f"{name} of a ReLU layer"}[kind]
        never = "a negative value" if name == "max_value" else "None or a negative value"
        raise ValueError(f"[{kind}] {words} cannot be {never}. Received: {name}={value!r}")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (low is None or value >= low):
        least = "" if low is None else f" of at least {low}"
        raise ValueError(f"[{kind}] {name} must be a number{least}. Received: {name}={value!r}")
    return value


class Activation(Layer):
    """Applies an activation function.

    Args:
        activation: its name, the function itself, or a layer.

    Input: any shape. Output: the same.
    """

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.activation = activations.get(activation)

    def call(self, inputs):
        return self.activation(inputs)

    def get_config(self):
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class ReLU(Layer):
    """``x`` from ``threshold`` to ``max_value``; ``negative_slope * (x - threshold)`` below.

    Args:
        max_value: the largest result, not negative, or None.
        negative_slope: slope below the threshold, not negative.
        threshold: not negative.

    Input: any shape. Output: the same.
    """

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.max_value = None if max_value is None else _number("ReLU", "max_value", max_value, 0)
        self.negative_slope = _number("ReLU", "negative_slope", negative_slope, 0)
        self.threshold = _number("ReLU", "threshold", threshold, 0)

    def call(self, inputs):
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self):
        return {**super().get_config(), "max_value": self.max_value, "negative_slope": self.negative_slope,
                "threshold": self.threshold}


class LeakyReLU(Layer):
    """``x`` if positive, else ``negative_slope * x``.

    Args:
        negative_slope: not negative.

    Input: any shape. Output: the same.
    """

    def __init__(self, negative_slope=0.3, **kwargs):
        if "alpha" in kwargs:  # its name in Keras 2
            negative_slope = kwargs.pop("alpha")
        super().__init__(**kwargs)
        self.supports_masking = True
        self.negative_slope = _number("LeakyReLU", "negative_slope", negative_slope, 0)

    def call(self, inputs):
        return ops.leaky_relu(inputs, self.negative_slope)

    def get_config(self):
        return {**super().get_config(), "negative_slope": self.negative_slope}


class PReLU(Layer):
    """``x`` if positive, else ``alpha * x`` with learned ``alpha`` (He et al. 2015).

    Weights: alpha, the shape of one sample, with 1 along ``shared_axes``.

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: of alpha.
        shared_axes: axes, from 1, along which one alpha serves; for images, (1, 2) learns one per channel.

    Input: (n, ...). Output: the same.
    """

    def __init__(self, alpha_initializer="Zeros", alpha_regularizer=None, alpha_constraint=None, shared_axes=None,
                 **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        if shared_axes is not None and not isinstance(shared_axes, (list, tuple)):
            shared_axes = [shared_axes]
        self.shared_axes = None if shared_axes is None else list(shared_axes)

    def build(self, input_shape):
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            if not 1 <= axis <= len(shape):
                raise ValueError(f"[PReLU] shared_axes must be from 1 to {len(shape)} for inputs of shape "
                                 f"{tuple(input_shape)}. Received: shared_axes={self.shared_axes}")
            shape[axis - 1] = 1
        if None in shape:
            raise ValueError("[PReLU] sizes of inputs must be known along axes that are not shared. "
                             f"Received: input_shape={tuple(input_shape)}, shared_axes={self.shared_axes}")
        self.alpha = self.add_weight(
            shape=tuple(shape), initializer=self.alpha_initializer, regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint, name="alpha")
        axes = {i: n for i, n in enumerate(input_shape) if i and i not in (self.shared_axes or ())}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)

    def call(self, inputs):
        return ops.add(ops.relu(inputs), ops.multiply(ops.cast(self.alpha, inputs.dtype), ops.minimum(inputs, 0.0)))

    def get_config(self):
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "alpha_constraint": constraints.serialize(self.alpha_constraint),
            "shared_axes": self.shared_axes,
        }


class ELU(Layer):
    """``x`` if positive, else ``alpha * (exp(x) - 1)``.

    Args:
        alpha: what large negative values approach, negated.

    Input: any shape. Output: the same.
    """

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.alpha = _number("ELU", "alpha", alpha)

    def call(self, inputs):
        return ops.elu(inputs, self.alpha)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


def _check_mask(name, shape, mask_shape):
    """ValueError unless a mask broadcasts to the inputs."""
    if len(mask_shape) > len(shape):
        raise ValueError(f"[{name}] the mask must not have more dimensions than the inputs. "
                         f"Received: inputs.shape={tuple(shape)}, mask.shape={tuple(mask_shape)}")
    if any(None not in (m, n) and m not in (1, n) for m, n in zip(mask_shape[::-1], shape[::-1])):
        raise ValueError(f"[{name}] the mask must be broadcastable to the inputs. "
                         f"Received: inputs.shape={tuple(shape)}, mask.shape={tuple(mask_shape)}")


class Softmax(Layer):
    """``exp(x) / sum(exp(x))`` along an axis.

    Args:
        axis: an int, or several axes that the sum runs over.

    Call arguments:
        mask: bool, of the shape of the inputs: False takes a value out of the sum.

    Input: any shape. Output: the same.
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.axis = list(axis) if isinstance(axis, tuple) else axis

    def call(self, inputs, mask=None):
        if mask is not None:  # far below every value
            mask = ops.cast(mask, "bool")
            _check_mask(self.name, inputs.shape, mask.shape)
            inputs = ops.where(mask, inputs, -3e4 if inputs.dtype == "float16" else -1e9)
        if isinstance(self.axis, list) and len(self.axis) > 1:
            y = ops.exp(ops.subtract(inputs, ops.logsumexp(inputs, self.axis, keepdims=True)))
        else:
            y = ops.softmax(inputs, self.axis[0] if isinstance(self.axis, list) else self.axis)
        return y if mask is None else ops.multiply(y, ops.cast(mask, y.dtype))

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
