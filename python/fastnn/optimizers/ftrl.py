"""Ftrl: follow the regularized leader, for sparse linear models."""
from .. import initializers, ops
from .base import Optimizer


class Ftrl(Optimizer):
    """Ftrl.

    g' = g + 2 l2_shrinkage w;  n' = n + g^2;  sigma = (n'^-p - n^-p) / learning_rate;  z = z + g' - sigma w
    w = (clip(z, -l1, l1) - z) / (n'^-p / learning_rate + 2 (l2 + beta / (2 learning_rate)))

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        learning_rate_power: p, not positive; -0.5 is the usual root.
        initial_accumulator_value: n at the start, not negative.
        l1_regularization_strength, l2_regularization_strength: of the penalties, not negative.
        l2_shrinkage_regularization_strength: of a penalty on the size of weights, not negative.
        beta: of the paper.

    Raises:
        ValueError: an argument is out of its range.

    Source: McMahan et al. 2013.
    """

    def __init__(
        self, learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1,
        l1_regularization_strength=0.0, l2_regularization_strength=0.0, l2_shrinkage_regularization_strength=0.0,
        beta=0.0, *shared, **kwargs,
    ):
        super().__init__(learning_rate, *shared, **kwargs)
        for key, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength),
        ):
            if value < 0.0:
                raise ValueError(f"`{key}` needs to be positive or zero. Received: {key}={value}.")
        if learning_rate_power > 0.0:
            raise ValueError(
                "`learning_rate_power` needs to be negative or zero. "
                f"Received: learning_rate_power={learning_rate_power}."
            )
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        start = initializers.Constant(self.initial_accumulator_value)
        self._accumulators, self._linears = self.add_optimizer_variables(
            var_list, ["accumulator", "linear"], [start, "zeros"]
        )

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        i = self._get_variable_index(variable)
        accumulator, linear = self._accumulators[i], self._linears[i]
        l1, power = self.l1_regularization_strength, -self.learning_rate_power
        l2 = self.l2_regularization_strength + self.beta / (2.0 * lr)
        shrunk = gradient + 2.0 * self.l2_shrinkage_regularization_strength * variable.value
        old, new = accumulator.value, accumulator.value + ops.square(gradient)
        sigma = (ops.power(new, power) - ops.power(old, power)) / lr
        self.assign_add(linear, shrunk - sigma * variable.value)
        quadratic = ops.power(new, power) / lr + 2.0 * l2
        z = linear.value
        self.assign(variable, (ops.clip(z, -l1, l1) - z) / quadratic)
        self.assign(accumulator, new)

    def get_config(self):
        return self._config_with(
            "learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
            "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta",
        )
