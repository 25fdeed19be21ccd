"""Muon: momentum made orthogonal for matrices, AdamW for everything else."""
import re

from .. import ops
from .base import Optimizer


class Muon(Optimizer):
    """Muon.

    Matrices: m = momentum m + g;  u = orthogonalized(g + momentum m);  w = w - learning_rate * scale * u
    with scale = rms_rate sqrt(max(rows, columns)). Other variables: AdamW.

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        adam_beta_1, adam_beta_2, epsilon: of AdamW.
        adam_weight_decay: weight decay of the variables that AdamW updates.
        weight_decay: weight decay of the matrices.
        exclude_layers: regular expressions; variables whose path matches go to AdamW.
        exclude_embeddings: variables with "embedding" in their path go to AdamW.
        muon_a, muon_b, muon_c: coefficients of the Newton-Schulz step.
        adam_lr_ratio: learning rate of AdamW over that of the matrices.
        momentum, nesterov: of the matrices.
        ns_steps: number of Newton-Schulz steps.
        rms_rate: size of the update of a matrix; None leaves out the scale.

    Source: Jordan et al. 2024; Liu et al. 2025 for the scale.
    """

    def __init__(
        self, learning_rate=0.001, adam_beta_1=0.9, adam_beta_2=0.999, adam_weight_decay=0.004, epsilon=1e-7,
        weight_decay=0.004, *shared, exclude_layers=None, exclude_embeddings=True, muon_a=3.4445, muon_b=-4.775,
        muon_c=2.0315, adam_lr_ratio=1, momentum=0.95, ns_steps=5, nesterov=True, rms_rate=0.2, **kwargs,
    ):
        super().__init__(learning_rate, weight_decay, *shared, **kwargs)
        self.adam_beta_1 = adam_beta_1
        self.adam_beta_2 = adam_beta_2
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = epsilon
        self.exclude_layers = exclude_layers or []
        self.exclude_embeddings = exclude_embeddings
        self.muon_a = muon_a
        self.muon_b = muon_b
        self.muon_c = muon_c
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum = momentum
        self.ns_steps = ns_steps
        self.nesterov = nesterov
        self.rms_rate = rms_rate

    def _should_use_adamw(self, variable):
        path = variable.path
        if len(variable.shape) != 2 or (self.exclude_embeddings and "embedding" in path.lower()):
            return True
        return any(re.search(pattern, path) for pattern in self.exclude_layers)

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self.momentums, self.adam_velocities = [], []
        for variable in var_list:
            momentum = velocity = None
            if not variable.overwrite_with_gradient:
                momentum = self.add_variable_from_reference(variable, "momentum")
                if self._should_use_adamw(variable):
                    velocity = self.add_variable_from_reference(variable, "velocity")
            self.momentums.append(momentum)
            self.adam_velocities.append(velocity)

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        i = self._get_variable_index(variable)
        m, v = self.momentums[i], self.adam_velocities[i]
        if v is not None:
            self._adamw_step(gradient, variable, lr * self.adam_lr_ratio, m, v)
            return
        self.assign(m, gradient + m.value * self.momentum)
        direction = gradient + self.momentum * m.value if self.nesterov else m.value
        self.assign_sub(variable, lr * self.lr_adjust(self.zeropower_via_newtonschulz5(direction, self.ns_steps)))

    def lr_adjust(self, x):
        """Scale the update of a matrix, so that its size does not depend on the matrix's; not with `rms_rate=None`."""
        return x if self.rms_rate is None else x * (max(x.shape) ** 0.5 * self.rms_rate)

    def _adamw_step(self, gradient, variable, lr, m, v):
        step = ops.cast(self.iterations + 1, variable.dtype)
        correction = ops.sqrt(1.0 - ops.power(self.adam_beta_2, step)) / (
            1.0 - ops.power(self.adam_beta_1, step)
        )
        self.assign_add(m, (gradient - m.value) * (1.0 - self.adam_beta_1))
        self.assign_add(v, (ops.square(gradient) - v.value) * (1.0 - self.adam_beta_2))
        self.assign_sub(variable, m.value * (lr * correction) / (ops.sqrt(v.value) + self.epsilon))

    def zeropower_via_newtonschulz5(self, x, steps):
        """Newton-Schulz: x = a x + (b x x' + c (x x')^2) x, so many times, brings all singular values near 1."""
        tall = x.shape[0] > x.shape[1]
        if tall:
            x = ops.transpose(x)
        x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
        for _ in range(steps):
            square = ops.matmul(x, ops.transpose(x))
            mix = self.muon_b * square + self.muon_c * ops.matmul(square, square)
            x = self.muon_a * x + ops.matmul(mix, x)
        return ops.transpose(x) if tall else x

    def _apply_weight_decay(self, variables):
        rate = self.learning_rate
        for variable in variables:
            decay = self.adam_weight_decay if self._should_use_adamw(variable) else self.weight_decay
            if decay is not None and self._use_weight_decay(variable):
                self.assign_sub(variable, variable.value * (ops.cast(rate, variable.dtype) * decay))

    def get_config(self):
        return self._config_with(
            "adam_beta_1", "adam_beta_2", "adam_weight_decay", "epsilon", "exclude_layers", "exclude_embeddings",
            "muon_a", "muon_b", "muon_c", "adam_lr_ratio", "momentum", "ns_steps", "nesterov", "rms_rate",
        )
