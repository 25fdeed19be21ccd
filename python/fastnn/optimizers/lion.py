"""Lion: steps of one size, in the direction of the sign of an average gradient."""
from .. import ops
from .base import Optimizer


class Lion(Optimizer):
    """Lion.

    w = w - learning_rate sign(beta_1 m + (1 - beta_1) g);  m = beta_2 m + (1 - beta_2) g

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here; 3 to 10 times smaller than
            for Adam.
        beta_1: weight of the past in the step, in (0, 1].
        beta_2: decay of the mean of gradients.

    Source: Chen et al. 2023.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.99, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        if beta_1 <= 0 or beta_1 > 1:
            raise ValueError(
                "[Lion] Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to "
                f"SignSGD. Received: beta_1={beta_1}."
            )
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._momentums = self.add_optimizer_variables(var_list, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        m = self._momentums[self._get_variable_index(variable)]
        direction = ops.sign(m.value * self.beta_1 + gradient * (1.0 - self.beta_1))
        self.assign_sub(variable, lr * direction)
        self.assign(m, m.value * self.beta_2 + gradient * (1.0 - self.beta_2))

    def get_config(self):
        return self._config_with("beta_1", "beta_2")
