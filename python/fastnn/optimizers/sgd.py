"""SGD: gradient descent, with momentum and Nesterov's momentum."""
from .. import _core, ops
from .fused import FusedOptimizer, storage


class SGD(FusedOptimizer):
    """Gradient descent.

    Without momentum w = w - learning_rate g; with it m = momentum m - learning_rate g and
    w = w + m, or w = w + momentum m - learning_rate g with `nesterov`.

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        momentum: in [0, 1].
        nesterov: use Nesterov's momentum.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, *shared, **kwargs):
        super().__init__(learning_rate, *shared, **kwargs)
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ValueError(f"[SGD] `momentum` must be a float between [0, 1]. Received: momentum={momentum!r}")
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum else []

    def _kernel(self, positions, weights, grads, rate, options):
        momentums = storage(self.momentums, positions)
        _core.sgd_update(
            w=weights, g=grads, m=momentums, lr=rate, momentum=self.momentum, nesterov=self.nesterov, **options
        )

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        if not self.momentum:
            self.assign_sub(variable, gradient * lr)
            return
        m = self.momentums[self._get_variable_index(variable)]
        self.assign(m, m.value * self.momentum - gradient * lr)
        if self.nesterov:
            self.assign_add(variable, m.value * self.momentum - gradient * lr)
        else:
            self.assign_add(variable, m.value)

    def get_config(self):
        return self._config_with("momentum", "nesterov")
