"""ScheduleFreeAdamW: AdamW that needs no learning rate schedule."""
from .. import ops
from .base import Optimizer


class ScheduleFreeAdamW(Optimizer):
    """Schedule-free AdamW. Gradients are taken at w, between a fast sequence z and its mean x.

    v = v + (1 - beta_2) (g^2 - v);  z = z - lr g / (sqrt(v / (1 - beta_2^t)) + epsilon)
    x = (1 - 1/t) x + z / t;  w = (1 - beta_1) z + beta_1 x, with lr = learning_rate min(t / warmup_steps, 1)

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        beta_1: how far w lies from z towards x.
        beta_2: decay of the mean of squared gradients.
        epsilon: keeps the division away from zero.
        warmup_steps: number of steps in which the learning rate rises to its value.

    Source: Defazio et al. 2024.
    """

    def __init__(self, learning_rate=0.0025, beta_1=0.9, beta_2=0.999, epsilon=1e-8, warmup_steps=0, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.warmup_steps = warmup_steps

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._momentums, self._velocities = self.add_optimizer_variables(var_list, ["momentum", "velocity"])
        for z, variable in zip(self._momentums, var_list):
            if z is not None:
                z.assign(variable)

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        if self.warmup_steps > 0:
            lr = lr * ops.minimum(step / float(self.warmup_steps), 1.0)
        i = self._get_variable_index(variable)
        z, v = self._momentums[i], self._velocities[i]
        x = (variable.value - (1.0 - self.beta_1) * z.value) / self.beta_1
        self.assign_add(v, (ops.square(gradient) - v.value) * (1.0 - self.beta_2))
        size = ops.sqrt(v.value / (1.0 - ops.power(self.beta_2, step))) + self.epsilon
        self.assign_sub(z, lr * gradient / size)
        x = x + (z.value - x) / step
        self.assign(variable, (1.0 - self.beta_1) * z.value + self.beta_1 * x)

    def get_config(self):
        return self._config_with("beta_1", "beta_2", "epsilon", "warmup_steps")
