"""Lamb: Adam with a step per layer proportional to the norm of its weights."""
from .. import ops
from .base import Optimizer


class Lamb(Optimizer):
    """Lamb.

    u = Adam's step with learning rate 1;  w = w - learning_rate (|w| / |u|) u, ratio 1 where a norm is 0

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        beta_1, beta_2: decay of the means of gradients and of their squares.
        epsilon: keeps the division away from zero.

    Source: You et al. 2020.
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
        self._momentums, self._velocities = self.add_optimizer_variables(var_list, ["momentum", "velocity"])

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        i = self._get_variable_index(variable)
        m, v = self._momentums[i], self._velocities[i]
        self.assign_add(m, (gradient - m.value) * (1.0 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v.value) * (1.0 - self.beta_2))
        m_hat = m.value / (1.0 - ops.power(self.beta_1, step))
        v_hat = v.value / (1.0 - ops.power(self.beta_2, step))
        update = m_hat / (ops.sqrt(v_hat) + self.epsilon)
        w_norm = ops.sqrt(ops.sum(ops.square(variable.value)))
        u_norm = ops.sqrt(ops.sum(ops.square(update)))
        both = ops.logical_and(w_norm > 0.0, u_norm > 0.0)
        ratio = ops.where(both, w_norm / ops.where(both, u_norm, 1.0), 1.0)
        self.assign_sub(variable, ratio * lr * update)

    def get_config(self):
        return self._config_with("beta_1", "beta_2", "epsilon")
