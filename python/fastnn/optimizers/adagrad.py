"""Adagrad: steps divided by the root of the sum of all squared gradients."""
from .. import initializers, ops
from .base import Optimizer


class Adagrad(Optimizer):
    """Adagrad.

    a = a + g^2;  w = w - learning_rate g / sqrt(a + epsilon)

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        initial_accumulator_value: a at the start; not negative.
        epsilon: keeps the root away from zero.

    Source: Duchi et al. 2011.
    """

    def __init__(self, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        start = initializers.Constant(self.initial_accumulator_value)
        self._accumulators = self.add_optimizer_variables(var_list, "accumulator", start)

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        accumulator = self._accumulators[self._get_variable_index(variable)]
        self.assign_add(accumulator, ops.square(gradient))
        self.assign_sub(variable, lr * gradient / ops.sqrt(accumulator.value + self.epsilon))

    def get_config(self):
        return self._config_with("initial_accumulator_value", "epsilon")
