"""RMSprop: steps divided by the root of a running mean of squared gradients."""
from .. import _core, ops
from .fused import FusedOptimizer, storage


class RMSprop(FusedOptimizer):
    """RMSprop.

    v = rho v + (1 - rho) g^2;  centered: u = rho u + (1 - rho) g, else u = 0
    d = learning_rate g / sqrt(v - u^2 + epsilon);  w = w - d, or m = momentum m + d;  w = w - m

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        rho: decay of the means.
        momentum: of the steps; 0 for none.
        epsilon: keeps the root away from zero.
        centered: divide by the variance instead of the mean square.

    Source: Hinton, lecture 6 of Neural Networks for Machine Learning, 2012.
    """

    def __init__(self, learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._velocities = self.add_optimizer_variables(var_list, "velocity")
        self._momentums = self.add_optimizer_variables(var_list, "momentum") if self.momentum > 0 else []
        self._average_gradients = (
            self.add_optimizer_variables(var_list, "average_gradient") if self.centered else []
        )

    def _kernel(self, positions, weights, grads, rate, options):
        velocities = storage(self._velocities, positions)
        averages = storage(self._average_gradients, positions)
        momentums = storage(self._momentums, positions)
        _core.rmsprop_update(
            w=weights, g=grads, v=velocities, mean=averages, m=momentums, lr=rate, rho=self.rho,
            momentum=self.momentum, epsilon=self.epsilon, **options,
        )  # fmt: skip

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        i = self._get_variable_index(variable)
        v = self._velocities[i]
        self.assign(v, self.rho * v.value + (1.0 - self.rho) * ops.square(gradient))
        variance = v.value
        if self.centered:
            average = self._average_gradients[i]
            self.assign(average, self.rho * average.value + (1.0 - self.rho) * gradient)
            variance = variance - ops.square(average.value)
        step = lr * gradient / ops.sqrt(variance + self.epsilon)
        if self.momentum > 0:
            m = self._momentums[i]
            self.assign(m, self.momentum * m.value + step)
            step = m.value
        self.assign_sub(variable, step)

    def get_config(self):
        return self._config_with("rho", "momentum", "epsilon", "centered")
