"""Normalization within groups of channels, to unit length, and by the largest singular value of a kernel."""
from .. import initializers, ops
from .input_spec import InputSpec
from .layer import Layer
from .normalization import _axes, _as_list, _check_axis, _epsilon, _Scaled
from .wrapper import Wrapper, with_dtype


class GroupNormalization(_Scaled):
    """Normalizes every sample over groups of channels: (x - mean) / sqrt(variance + epsilon) * gamma + beta.

    Args:
        groups: int that divides the channels; -1, one group for each channel (instance normalization).
        axis: int, of the channels.
        epsilon: float above 0.
        center, scale: bool; with beta, with gamma.
        beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint:
            of the weights.

    Weights: gamma (c,), ones; beta (c,), zeros.

    Raises:
        ValueError: groups does not divide the channels, or the axis is that of the batch.

    Source: Wu and He 2018.
    """

    _plain = ("groups", "axis", "epsilon")

    def __init__(self, groups=32, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, **kwargs):
        if isinstance(groups, bool) or not hasattr(groups, "__index__") or (groups <= 0 and groups != -1):
            raise ValueError("[GroupNormalization] Received an invalid value for argument `groups`, expected a positive "
                             f"integer (or `-1` for instance normalization). Received: groups={groups!r}")
        super().__init__(**kwargs)
        self.autocast = False  # half floats overflow in the sums
        self.groups = groups.__index__()
        self.axis = axis
        self.epsilon = _epsilon(epsilon, "GroupNormalization")
        self._set_options(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                          beta_constraint, gamma_constraint)

    def build(self, input_shape):
        axis = _check_axis(self.axis, input_shape, self.name)
        channels = input_shape[axis]
        if axis == 0 or channels is None:
            raise ValueError(f"[GroupNormalization] Axis {self.axis} of the input tensor should have a defined dimension but "
                             f"the layer received an input with shape {tuple(input_shape)}")
        if self.groups == -1:
            self.groups = channels
        if channels < self.groups:
            raise ValueError(f"[GroupNormalization] Number of groups ({self.groups}) cannot be more than the number of "
                             f"channels ({channels}).")
        if channels % self.groups:
            raise ValueError(f"[GroupNormalization] Number of groups ({self.groups}) must divide the number of "
                             f"channels ({channels}).")
        self._axis = axis
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})
        self._add_scale((channels,), self.scale, self.center)

    def call(self, inputs):
        shape, axis = inputs.shape, self._axis
        dtype = "float32" if inputs.dtype != "float64" else "float64"
        x = ops.cast(inputs, dtype)
        size = shape[axis] // self.groups
        x = ops.reshape(x, (*shape[:axis], self.groups, size, *shape[axis + 1:]))
        axes = [a for a in range(1, x.ndim) if a != axis]
        mean, variance = ops.moments(x, axes, keepdims=True)
        broadcast = [1] * x.ndim
        broadcast[axis:axis + 2] = self.groups, size
        scale = ops.rsqrt(ops.add(variance, self.epsilon))
        if self.gamma is not None:
            scale = ops.multiply(scale, ops.reshape(ops.cast(self.gamma, dtype), broadcast))
        y = ops.multiply(ops.subtract(x, mean), scale)
        if self.beta is not None:
            y = ops.add(y, ops.reshape(ops.cast(self.beta, dtype), broadcast))
        return ops.cast(ops.reshape(y, shape), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        _check_axis(self.axis, input_shape, self.name)
        return tuple(input_shape)


class UnitNormalization(Layer):
    """Divides every sample by its Euclidean length over ``axis``.

    Args:
        axis: int or sequence of ints.

    Raises:
        TypeError: axis is neither.
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = _axes(axis, "UnitNormalization")
        self.supports_masking = True

    def call(self, inputs):
        return ops.normalize(inputs, axis=tuple(self.axis) if isinstance(self.axis, list) else self.axis, order=2,
                             epsilon=1e-12)

    def compute_output_shape(self, input_shape):
        for a in _as_list(self.axis):
            _check_axis(a, input_shape, self.name)
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


class SpectralNormalization(Wrapper):
    """A layer whose kernel is divided, at each call in training, by an estimate of its largest singular value.

    Args:
        layer: Layer with a kernel or embeddings.
        power_iterations: int, steps of the power method in a call.

    Weights: vector_u, (1, last axis of the kernel): the estimated singular vector, kept between calls.

    Raises:
        ValueError: power_iterations is not positive, or the layer has neither kernel nor embeddings.

    Source: Miyato et al. 2018.
    """

    def __init__(self, layer, power_iterations=1, **kwargs):
        super().__init__(layer, **kwargs)
        if power_iterations <= 0:
            raise ValueError("[SpectralNormalization] `power_iterations` should be greater than zero. "
                             f"Received: power_iterations={power_iterations}")
        self.power_iterations = power_iterations

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        kernel = getattr(self.layer, "kernel", None)
        kernel = getattr(self.layer, "embeddings", None) if kernel is None else kernel
        if kernel is None:
            raise ValueError(f"[SpectralNormalization] {type(self.layer).__name__} object has no attribute 'kernel' nor "
                             "'embeddings'")
        self.kernel = kernel
        self.vector_u = self.add_weight((1, kernel.shape[-1]), initializers.TruncatedNormal(stddev=0.02),
                                        trainable=False, name="vector_u", dtype=kernel.dtype)

    def call(self, inputs, training=False):
        if not training or inputs.device == "meta":
            return self.layer(inputs)
        u, kernel = self.normalized_weights()
        # The layer computes with the divided kernel as a tensor, so that gradients pass through the division.
        name = next(n for n in ("_kernel", "_embeddings", "kernel", "embeddings") if vars(self.layer).get(n) is self.kernel)
        object.__setattr__(self.layer, name, kernel)
        try:
            y = self.layer(inputs)
        finally:
            object.__setattr__(self.layer, name, self.kernel)
        self.vector_u.assign(u)
        self.kernel.assign(kernel)
        return y

    def normalized_weights(self):
        """(next vector_u, the kernel divided by its largest singular value); a kernel of zeros stays as it is."""
        kernel, u = self.kernel.value, self.vector_u.value
        w = ops.reshape(kernel, (-1, kernel.shape[-1]))
        fixed = ops.stop_gradient(w)
        # Decided by `where`, not in Python: a step that reads no values can be replayed.
        anything, start = ops.any(fixed), u
        for _ in range(self.power_iterations):
            v = ops.normalize(ops.matmul(u, ops.transpose(fixed)), axis=None)
            u = ops.normalize(ops.matmul(v, fixed), axis=None)
        sigma = ops.reshape(ops.matmul(ops.matmul(v, w), ops.transpose(u)), ())
        return ops.where(anything, u, start), ops.divide(kernel, ops.where(anything, sigma, 1.0))

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, *args, **kwargs):
        return with_dtype(super().compute_output_spec(*args, **kwargs), self.layer.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "power_iterations": self.power_iterations}
