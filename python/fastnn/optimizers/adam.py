"""Adam and AdamW: steps along the mean gradient, divided by the root of the mean square."""
from .. import _core, ops
from ..tensor import as_tensor
from .fused import FusedOptimizer, storage


class Adam(FusedOptimizer):
    """Adam.

    m = m + (1 - beta_1) (g - m);  v = v + (1 - beta_2) (g^2 - v);  amsgrad: v' = max(v', v), else v' = v
    w = w - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v') + epsilon)

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        beta_1, beta_2: decay of the means of gradients and of their squares.
        epsilon: keeps the division away from zero ("epsilon hat" of the paper).
        amsgrad: divide by the largest mean square so far.

    Source: Kingma and Ba 2014; Reddi et al. 2018 for amsgrad.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._momentums, self._velocities = self.add_optimizer_variables(var_list, ["momentum", "velocity"])
        self._velocity_hats = self.add_optimizer_variables(var_list, "velocity_hat") if self.amsgrad else []

    def _kernel(self, positions, weights, grads, rate, options):
        m, v = storage(self._momentums, positions), storage(self._velocities, positions)
        largest = storage(self._velocity_hats, positions)
        _core.adam_update(
            w=weights, g=grads, m=m, v=v, vmax=largest, lr=rate, iterations=as_tensor(self.iterations),
            beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon, **options,
        )  # fmt: skip

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        i = self._get_variable_index(variable)
        m, v = self._momentums[i], self._velocities[i]
        alpha = lr * ops.sqrt(1.0 - ops.power(self.beta_2, step)) / (1.0 - ops.power(self.beta_1, step))
        self.assign_add(m, (gradient - m.value) * (1.0 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v.value) * (1.0 - self.beta_2))
        square = v.value
        if self.amsgrad:
            largest = self._velocity_hats[i]
            self.assign(largest, ops.maximum(largest.value, square))
            square = largest.value
        self.assign_sub(variable, m.value * alpha / (ops.sqrt(square) + self.epsilon))

    def get_config(self):
        return self._config_with("beta_1", "beta_2", "epsilon", "amsgrad")


class AdamW(Adam):
    """Adam with weight decay by default: before each step w = w - weight_decay learning_rate w.

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        weight_decay: float.
        beta_1, beta_2, epsilon, amsgrad: see `Adam`.

    Source: Loshchilov and Hutter 2019.
    """

    def __init__(
        self, learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False,
        *shared, **kwargs,
    ):
        if weight_decay is None:
            raise ValueError("[AdamW] Argument `weight_decay` must be a float. Received: weight_decay=None")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, *shared, **kwargs)
