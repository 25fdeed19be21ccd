"""LossScaleOptimizer: keeps small float16 gradients from vanishing."""
from .. import _core, initializers, ops
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from .base import Optimizer

_NOT_SUPPORTED = (
    "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps",
)  # fmt: skip


class LossScaleOptimizer(Optimizer):
    """Scales the loss up before gradients are taken and the gradients down before `inner_optimizer` sees them.

    A step whose gradients are not all finite is left out and halves the scale; `dynamic_growth_steps` good
    steps in a row double it.

    Args:
        inner_optimizer: the optimizer that updates the weights.
        initial_scale: the scale at the start.
        dynamic_growth_steps: see above.
        name: of the optimizer.

    Raises:
        ValueError: other arguments, which belong to `inner_optimizer`.
    """

    def __init__(self, inner_optimizer, initial_scale=2.0**15, dynamic_growth_steps=2000, name=None, **kwargs):
        if not kwargs.pop("dynamic", True):
            raise ValueError(
                "[LossScaleOptimizer] `dynamic=False` is not supported: set `loss_scale_factor` on the "
                "`inner_optimizer`. Received: dynamic=False"
            )
        for key in _NOT_SUPPORTED:
            value = kwargs.pop(key, None)
            if value and not (key == "ema_momentum" and value == 0.99):
                raise ValueError(
                    f"[LossScaleOptimizer] `{key}` is not supported: set it on the `inner_optimizer`. "
                    f"Received: {key}={value}"
                )
        if kwargs:
            names = ", ".join(f"`{key}`" for key in kwargs)
            raise ValueError(f"[LossScaleOptimizer] does not support arguments: {names}. Received: {kwargs}")
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        self.inner_optimizer.loss_scale_factor = None

    def build(self, var_list):
        if self.built:
            return
        self.step_counter = self.add_variable((), "zeros", "int", name="step_counter")
        start = initializers.Constant(self.initial_scale)
        self.dynamic_scale = self.add_variable((), start, "float32", name="dynamic_scale")
        self.inner_optimizer.build(var_list)
        super().build(var_list)

    @property
    def variables(self):
        return super().variables + self.inner_optimizer.variables

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value):
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self):
        return self.inner_optimizer.iterations

    def apply(self, grads, trainable_variables=None):
        grads = list(grads)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        variables = self._variables_for(grads, trainable_variables)
        grads = [g.to_dense() if getattr(g, "is_indexed_slices", False) else g for g in grads]
        # Decided by `where`, not in Python: a step that reads no values can be replayed. An update by gradients
        # that are not finite is taken back.
        finite, scale = self.check_finite(grads), _core.clone(self.dynamic_scale.value)
        unscaled = [
            g if g is None or v.overwrite_with_gradient else g / ops.cast(scale, g.dtype)
            for g, v in zip(grads, variables)
        ]
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        changing = {id(v): v for v in (*variables, *self.inner_optimizer.variables)}.values()
        before = [(v, _core.clone(v.value)) for v in changing]
        self.inner_optimizer.apply(unscaled, variables)
        for variable, value in before:
            variable.assign(ops.where(finite, variable.value, value))
        # A full count doubles the scale and starts again.
        full = ops.equal(self.step_counter, self.dynamic_growth_steps - 1)
        self.dynamic_scale.assign(scale * ops.where(finite, ops.where(full, 2.0, 1.0), 0.5))
        self.step_counter.assign(ops.where(finite, ops.where(full, 0, self.step_counter + 1), 0))

    def check_finite(self, grads):
        """Return a bool scalar: whether all values of all gradients are finite."""
        finite = [ops.all(ops.isfinite(g)) for g in grads if g is not None]
        return ops.all(ops.stack(finite))

    def scale_loss(self, loss):
        """Return the loss times the scale."""
        scale = self.dynamic_scale.value if self.built else self.initial_scale
        return ops.multiply(loss, ops.cast(scale, getattr(loss, "dtype", "float32")))

    def finalize_variable_values(self, var_list):
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self):
        return {
            "name": self.name,
            "inner_optimizer": serialize_keras_object(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        inner = deserialize_keras_object(config.pop("inner_optimizer"), custom_objects)
        return cls(inner, **config)
