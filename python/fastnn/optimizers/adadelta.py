"""Adadelta: steps scaled by the running size of past steps over that of past gradients."""
from .. import ops
from .base import Optimizer


class Adadelta(Optimizer):
    """Adadelta.

    g2 = rho g2 + (1 - rho) g^2;  d = sqrt(d2 + epsilon) / sqrt(g2 + epsilon) g
    d2 = rho d2 + (1 - rho) d^2;  w = w - learning_rate d

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here; 1.0 is the paper's.
        rho: decay of both averages.
        epsilon: keeps the roots away from zero.

    Source: Zeiler 2012.
    """

    def __init__(self, learning_rate=0.001, rho=0.95, epsilon=1e-7, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        self.rho = rho
        self.epsilon = epsilon

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._accumulated_grads, self._accumulated_delta_vars = self.add_optimizer_variables(
            var_list, ["accumulated_grad", "accumulated_delta_var"]
        )

    def update_step(self, grad, variable, learning_rate):
        lr, grad = ops.cast(learning_rate, variable.dtype), ops.cast(grad, variable.dtype)
        i = self._get_variable_index(variable)
        grad2, delta2 = self._accumulated_grads[i], self._accumulated_delta_vars[i]
        self.assign(grad2, self.rho * grad2.value + (1.0 - self.rho) * ops.square(grad))
        delta = grad * ops.sqrt(delta2.value + self.epsilon) / ops.sqrt(grad2.value + self.epsilon)
        self.assign(delta2, self.rho * delta2.value + (1.0 - self.rho) * ops.square(delta))
        self.assign_sub(variable, lr * delta)

    def get_config(self):
        return self._config_with("rho", "epsilon")
