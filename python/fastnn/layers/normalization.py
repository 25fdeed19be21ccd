"""Normalization layers: over the batch, and within each sample."""
import math

from .. import constraints, initializers, ops, regularizers
from ..ops.normalization import batch_norm_inference, batch_norm_train, move_average
from ..utils.warning import warn
from .input_spec import InputSpec
from .layer import Layer


def _number(value, kind, name, low, high):
    """``value`` as a float in [low, high], for an error before any state is made."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"[{kind}] {name} must be a number in [{low}, {high}]. Received: {name}={value!r}")
    return float(value)


def _epsilon(value, kind):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"[{kind}] epsilon must be a positive number. Received: epsilon={value!r}")
    return float(value)


class _Scaled(Layer):
    """A layer with gamma and beta and what belongs to them."""

    _plain = ()
    _objects = ()

    def _set_options(self, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                     beta_constraint, gamma_constraint):
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.supports_masking = True

    def _add_scale(self, shape, gamma, beta):
        def add(name):
            return self.add_weight(shape=shape, name=name, initializer=getattr(self, f"{name}_initializer"),
                                   regularizer=getattr(self, f"{name}_regularizer"),
                                   constraint=getattr(self, f"{name}_constraint"), autocast=False)

        self.gamma = add("gamma") if gamma else None
        self.beta = add("beta") if beta else None

    def get_config(self):
        config = {**super().get_config(), **{name: getattr(self, name) for name in (*self._plain, "center", "scale")}}
        modules = {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
        for name in ("beta_initializer", "gamma_initializer", *self._objects, "beta_regularizer", "gamma_regularizer",
                     "beta_constraint", "gamma_constraint"):
            config[name] = modules[name.rsplit("_", 1)[1]].serialize(getattr(self, name))
        return config


def _check_axis(axis, input_shape, name):
    """axis as an index from 0 on, of a known size."""
    rank = len(input_shape)
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise ValueError(f"[{name}] axis must be an integer. Received: axis={axis!r}")
    if not -rank <= axis < rank:
        raise ValueError(f"[{name}] axis must be in [{-rank}, {rank}). Received: axis={axis}, shape={tuple(input_shape)}")
    if input_shape[axis] is None:
        raise ValueError(f"[{name}] Axis {axis} of the input tensor should have a defined dimension but the layer received an "
                         f"input with shape {tuple(input_shape)}")
    return axis % rank


class BatchNormalization(_Scaled):
    """Normalizes every channel: (x - mean) / sqrt(variance + epsilon) * gamma + beta.

    Training uses mean and (biased) variance of the batch and moves the moving statistics towards them:
    moving = moving * momentum + batch * (1 - momentum). Inference uses the moving statistics, and so
    does training with ``trainable=False``: a frozen layer changes nothing and does not see the batch.

    Args:
        axis: int, the axis of the channels.
        momentum: float in [0, 1].
        epsilon: float above 0.
        center, scale: bool; with beta, with gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: of the weights.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: of the weights.
        renorm: bool; training, too, normalizes by moving statistics: (x - mean) / stddev * r + d with
            r = stddev / renorm_stddev and d = (mean - renorm_mean) / renorm_stddev, taken as constants.
        renorm_clipping: dict of bounds "rmin", "rmax" of r and "dmax" of |d|, or None.
        renorm_momentum: float in [0, 1], of renorm_mean and renorm_stddev.
        synchronized: accepted for Keras's sake; there is one process.

    Weights, each (channels,): gamma, ones; beta, zeros; not trained: moving_mean, zeros; moving_variance, ones;
    with renorm also moving_stddev, renorm_mean and renorm_stddev.

    Call arguments:
        inputs: (n, ..., c) for axis -1.
        training: bool.
        mask: bool, of the shape of inputs without the last axis; what is False does not count for the
            statistics. It is normalized like the rest.

    Raises:
        ValueError: an argument out of range; training on an empty batch, which leaves the state alone.

    Source: Ioffe and Szegedy 2015; renorm: Ioffe 2017.
    """

    _plain = ("axis", "momentum", "epsilon", "renorm", "renorm_clipping", "renorm_momentum", "synchronized")
    _objects = ("moving_mean_initializer", "moving_variance_initializer")

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", moving_mean_initializer="zeros", moving_variance_initializer="ones",
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                 renorm=False, renorm_clipping=None, renorm_momentum=0.99, synchronized=False, **kwargs):
        super().__init__(**kwargs)
        if isinstance(axis, (list, tuple)) and len(axis) == 1:
            axis = axis[0]
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            raise ValueError(f"[BatchNormalization] axis must be an integer. Received: axis={axis!r}")
        self.axis = axis.__index__()
        self.momentum = _number(momentum, "BatchNormalization", "momentum", 0, 1)
        self.epsilon = _epsilon(epsilon, "BatchNormalization")
        self.synchronized = synchronized
        self.renorm = bool(renorm)
        self.renorm_clipping = _clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = _number(renorm_momentum, "BatchNormalization", "renorm_momentum", 0, 1)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self._set_options(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                          beta_constraint, gamma_constraint)

    def build(self, input_shape):
        axis = _check_axis(self.axis, input_shape, self.name)
        shape = (input_shape[axis],)
        self._add_scale(shape, self.scale, self.center)
        self.moving_mean = self.add_weight(shape=shape, name="moving_mean", initializer=self.moving_mean_initializer,
                                           trainable=False, autocast=False)
        self.moving_variance = self.add_weight(shape=shape, name="moving_variance",
                                               initializer=self.moving_variance_initializer, trainable=False,
                                               autocast=False)
        if self.renorm:
            def state(name, value):
                return self.add_weight(shape=shape, name=name, initializer=lambda *_, **__: value, trainable=False,
                                       autocast=False)

            stddev = ops.sqrt(self.moving_variance.value)
            self.moving_stddev = state("moving_stddev", stddev)
            self.renorm_mean = state("renorm_mean", self.moving_mean.value)
            self.renorm_stddev = state("renorm_stddev", stddev)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: input_shape[axis]})

    def call(self, inputs, training=None, mask=None):
        x = ops.cast(inputs, "float32") if inputs.dtype != "float32" else inputs
        axis = self.axis % x.ndim
        if mask is not None and mask.ndim != x.ndim - 1:
            raise ValueError(f"[{self.name}] mask must have one dimension less than inputs. "
                             f"Received: mask.shape={mask.shape}, inputs.shape={x.shape}")
        gamma = None if self.gamma is None else ops.convert_to_tensor(self.gamma, "float32")
        beta = None if self.beta is None else ops.convert_to_tensor(self.beta, "float32")
        if axis != x.ndim - 1:
            x = ops.moveaxis(x, axis, -1)
        if training and self.trainable:
            if x.size == 0:
                raise ValueError(f"[{self.name}] a batch to train on must not be empty. Received: shape={inputs.shape}")
            if mask is None and not self.renorm:
                y, mean, variance = batch_norm_train(x, gamma, beta, self.epsilon)
            elif mask is None:
                mean, variance = ops.moments(x, tuple(range(x.ndim - 1)))
            else:
                on = ops.expand_dims(ops.cast(mask, "bool"), -1)
                if axis != x.ndim - 1:
                    on = ops.moveaxis(ops.broadcast_to(on, inputs.shape), axis, -1)
                mean, variance = _masked_moments(x, on)
            if self.renorm:
                gamma, beta = self._renormalize(mean, variance, gamma, beta)
            if self.renorm or mask is not None:
                y = batch_norm_inference(x, mean, variance, gamma, beta, self.epsilon)
            if x.device != "meta":
                self._move(mean, variance)
        else:
            mean = ops.convert_to_tensor(self.moving_mean, "float32")
            variance = ops.convert_to_tensor(self.moving_variance, "float32")
            y = batch_norm_inference(x, mean, variance, gamma, beta, self.epsilon)
        if axis != x.ndim - 1:
            y = ops.moveaxis(y, -1, axis)
        return y if self.compute_dtype == "float32" else ops.cast(y, self.compute_dtype)

    def _move(self, mean, variance):
        """The moving statistics, one step towards those of the batch."""
        move_average(self.moving_mean, mean, self.momentum)
        if not self.renorm:
            move_average(self.moving_variance, variance, self.momentum)
            return
        stddev = ops.sqrt(variance + self.epsilon)
        move_average(self.renorm_mean, mean, self.renorm_momentum)
        move_average(self.renorm_stddev, stddev, self.renorm_momentum)
        move_average(self.moving_stddev, stddev, self.momentum)
        self.moving_variance.assign(ops.relu(ops.square(self.moving_stddev.value) - self.epsilon))

    def _renormalize(self, mean, variance, gamma, beta):
        """gamma and beta that include r and d: (n * r + d) * gamma + beta = n * (r * gamma) + (d * gamma + beta)."""
        limits = self.renorm_clipping
        mean, variance = ops.stop_gradient(mean), ops.stop_gradient(variance)
        stddev = ops.maximum(self.renorm_stddev, math.sqrt(self.epsilon))
        r = ops.sqrt(variance + self.epsilon) / stddev
        d = (mean - self.renorm_mean.value) / stddev
        if "rmin" in limits:
            r = ops.maximum(r, limits["rmin"])
        if "rmax" in limits:
            r = ops.minimum(r, limits["rmax"])
        if "dmax" in limits:
            d = ops.clip(d, -limits["dmax"], limits["dmax"])
        if gamma is not None:
            r, d = r * gamma, d * gamma
        return r, d if beta is None else d + beta

    def compute_output_shape(self, input_shape):
        _check_axis(self.axis, input_shape, self.name)
        return tuple(input_shape)


def _clipping(limits):
    """The given bounds of "rmin", "rmax" and "dmax"."""
    if limits is not None and not isinstance(limits, dict):
        raise TypeError(f"[BatchNormalization] renorm_clipping must be a dict. Received: renorm_clipping={limits!r}")
    limits = {name: value for name, value in (limits or {}).items() if value is not None}
    if set(limits) - {"rmin", "rmax", "dmax"}:
        raise ValueError("[BatchNormalization] renorm_clipping may hold 'rmin', 'rmax' and 'dmax'. Received invalid keys: "
                         f"renorm_clipping={limits}")
    if limits.get("rmin", 0) > limits.get("rmax", math.inf) or limits.get("dmax", 0) < 0:
        raise ValueError("[BatchNormalization] renorm_clipping must have rmin <= rmax and dmax >= 0: "
                         "rmax should be at least rmin, and dmax should be non-negative. "
                         f"Received: renorm_clipping={limits}")
    return limits


def _masked_moments(x, on):
    """Mean and variance over all axes but the last of what is ``on``: bool, broadcast to x."""
    axes = tuple(range(x.ndim - 1))
    # Not a product with 0: what is masked may be infinite.
    zero = ops.zeros((), "float32")
    weights = ops.broadcast_to(ops.cast(on, "float32"), x.shape)
    count = ops.sum(weights, axis=axes) + 1e-7
    mean = ops.sum(ops.where(on, x, zero), axis=axes) / count
    variance = ops.sum(ops.where(on, ops.square(x - mean), zero), axis=axes) / count
    return mean, variance


class LayerNormalization(_Scaled):
    """Normalizes every sample over ``axis``: (x - mean) / sqrt(variance + epsilon) * gamma + beta.

    Args:
        axis: int or sequence of ints.
        epsilon: float above 0.
        center, scale: bool; with beta, with gamma.
        beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint:
            of the weights.
        rms_scaling: True neither subtracts the mean nor adds beta, as old Keras models ask for.

    Weights, of the sizes of ``axis``: gamma, ones; beta, zeros.

    Raises:
        ValueError: an axis does not exist, or epsilon is not positive.

    Source: Ba, Kiros and Hinton 2016.
    """

    _plain = ("axis", "epsilon", "rms_scaling")

    def __init__(self, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros", gamma_initializer="ones",
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None, **kwargs):
        rms_scaling = kwargs.pop("rms_scaling", False)
        super().__init__(**kwargs)
        if rms_scaling:
            warn("[LayerNormalization] rms_scaling=True divides by the standard deviation, not by the root mean "
                 "square; RMSNormalization does that")
        self.axis = _axes(axis, "LayerNormalization")
        self.epsilon = _epsilon(epsilon, "LayerNormalization")
        self.rms_scaling = bool(rms_scaling)
        self._set_options(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                          beta_constraint, gamma_constraint)

    def build(self, input_shape):
        axes = sorted(_check_axis(a, input_shape, self.name) for a in _as_list(self.axis))
        if isinstance(self.axis, list):  # Keras sorts -1 before 1, and its files hold weights of this shape
            self.axis = sorted(self.axis)
        shape = tuple(input_shape[a] for a in _as_list(self.axis))
        self._add_scale(shape, self.scale or self.rms_scaling, self.center and not self.rms_scaling)
        wanted = tuple(input_shape[a] for a in axes)
        self._reshaped = wanted if wanted != shape else None

    def call(self, inputs):
        gamma, beta = self.gamma, self.beta
        if self._reshaped:  # as Keras does it: values in their order, not transposed
            gamma, beta = (w if w is None else ops.reshape(w, self._reshaped) for w in (gamma, beta))
        y = ops.layer_normalization(inputs, gamma, beta, self.axis, self.epsilon, rms_scaling=self.rms_scaling)
        return y if y.dtype == self.compute_dtype else ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        for a in _as_list(self.axis):
            _check_axis(a, input_shape, self.name)
        return tuple(input_shape)


class RMSNormalization(Layer):
    """Divides every sample by its root mean square over ``axis``: x / sqrt(mean(x^2) + epsilon) * scale.

    Args:
        axis: int or sequence of ints.
        epsilon: float above 0.

    Weights: scale, of the sizes of ``axis``, ones.

    Raises:
        ValueError: an axis does not exist, or epsilon is not positive.

    Source: Zhang and Sennrich 2019.
    """

    def __init__(self, axis=-1, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.axis = _axes(axis, "RMSNormalization")
        self.epsilon = _epsilon(epsilon, "RMSNormalization")
        self.supports_masking = True

    def build(self, input_shape):
        axes = sorted(_check_axis(a, input_shape, self.name) for a in _as_list(self.axis))
        self.scale = self.add_weight(shape=tuple(input_shape[a] for a in axes), name="scale", initializer="ones")
        # The shape in which scale meets the input.
        self._broadcast = tuple(n if a in axes else 1 for a, n in enumerate(input_shape))[axes[0]:]

    def call(self, inputs):
        return ops.rms_normalization(inputs, ops.reshape(self.scale, self._broadcast), self.axis, self.epsilon)

    def compute_output_shape(self, input_shape):
        for a in _as_list(self.axis):
            _check_axis(a, input_shape, self.name)
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


def _as_list(axis):
    return axis if isinstance(axis, list) else [axis]


def _axes(axis, kind):
    """An int, or a list of ints."""
    for a in axis if isinstance(axis, (list, tuple)) else (axis,):
        if isinstance(a, bool) or not hasattr(a, "__index__"):
            words = ("Expected an int or a list/tuple of ints for the argument 'axis'" if kind == "LayerNormalization" else
                     "Invalid value for `axis` argument: expected an int or a list/tuple of ints")
            raise TypeError(f"[{kind}] {words}. Received: axis={axis!r}")
    return [a.__index__() for a in axis] if isinstance(axis, (list, tuple)) else axis.__index__()
