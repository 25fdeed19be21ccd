"""Adamax: Adam with the largest past gradient in place of the root of the mean square."""
from .. import ops
from .base import Optimizer


class Adamax(Optimizer):
    """Adamax.

    m = m + (1 - beta_1) (g - m);  u = max(beta_2 u, |g|)
    w = w - learning_rate m / ((1 - beta_1^t) (u + epsilon))

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        beta_1, beta_2: decay of the mean of gradients, and of the largest one.
        epsilon: keeps the division away from zero.

    Source: Kingma and Ba 2014, section 7.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._m, self._u = self.add_optimizer_variables(var_list, ["momentum", "norm"])

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        correction = 1.0 - ops.power(self.beta_1, step)
        i = self._get_variable_index(variable)
        m, u = self._m[i], self._u[i]
        self.assign_add(m, (gradient - m.value) * (1.0 - self.beta_1))
        self.assign(u, ops.maximum(self.beta_2 * u.value, ops.absolute(gradient)))
        self.assign_sub(variable, lr * m.value / (correction * (u.value + self.epsilon)))

    def get_config(self):
        return self._config_with("beta_1", "beta_2", "epsilon")
