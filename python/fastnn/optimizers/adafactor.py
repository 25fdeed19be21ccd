"""Adafactor: second moments kept as a row and a column per matrix."""
from .. import ops
from ..tensor import Variable
from .base import Optimizer


class Adafactor(Optimizer):
    """Adafactor.

    beta = 1 - t^beta_2_decay;  s = g^2 + epsilon_1;  rho = min(learning_rate, 1 / sqrt(t))
    matrices: r, c = means of s over columns and rows, averaged with beta;  v = r c / mean(r)
    others: v = beta v + (1 - beta) s
    u = g / sqrt(v);  w = w - max(epsilon_2, rms(w)) rho u / max(1, rms(u) / clip_threshold)

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        beta_2_decay: exponent of the decay of second moments.
        epsilon_1, epsilon_2: small numbers for the gradients' squares and the weights' size.
        clip_threshold: of the size of u.
        relative_step: accepted for Keras's sake; the rate is kept below 1 / sqrt(t) in any case, as there.

    Source: Shazeer and Stern 2018.
    """

    def __init__(
        self, learning_rate=0.001, beta_2_decay=-0.8, epsilon_1=1e-30, epsilon_2=1e-3, clip_threshold=1.0,
        relative_step=True, *shared, **kwargs,
    ):
        super().__init__(learning_rate, *shared, **kwargs)
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold
        self.relative_step = relative_step

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._r, self._c, self._v = [], [], []
        for variable in var_list:
            shape = tuple(variable.shape)
            if variable.overwrite_with_gradient:
                row = column = velocity = None
            elif len(shape) < 2:  # scalars in place of rows and columns, as Keras saves them
                row, column = (Variable(0, name=variable.name, trainable=False) for _ in range(2))
                self._track(row)
                self._track(column)
            else:
                row = self.add_variable(shape[:-1], dtype=variable.dtype, name=variable.name)
                column = self.add_variable(shape[:-2] + shape[-1:], dtype=variable.dtype, name=variable.name)
            if row is not None:
                velocity = self.add_variable_from_reference(variable, "velocity")
            self._r.append(row)
            self._c.append(column)
            self._v.append(velocity)

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        i = self._get_variable_index(variable)
        r, c, v = self._r[i], self._c[i], self._v[i]
        rho = ops.minimum(lr, ops.rsqrt(step))
        beta = 1.0 - ops.power(step, self.beta_2_decay)
        square = ops.square(gradient) + self.epsilon_1
        if len(variable.shape) >= 2:
            self.assign(r, beta * r.value + (1.0 - beta) * ops.mean(square, axis=-1))
            self.assign(c, beta * c.value + (1.0 - beta) * ops.mean(square, axis=-2))
            row = r.value / ops.mean(r.value, axis=-1, keepdims=True)
            self.assign(v, ops.expand_dims(row, -1) * ops.expand_dims(c.value, -2))
        else:
            self.assign(v, beta * v.value + (1.0 - beta) * square)
        update = gradient / ops.sqrt(v.value)
        update = update / ops.maximum(1.0, _rms(update) / self.clip_threshold)
        self.assign_sub(variable, ops.maximum(self.epsilon_2, _rms(variable.value)) * rho * update)

    def get_config(self):
        return self._config_with("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")


def _rms(x):
    return ops.sqrt(ops.mean(ops.square(x)))
