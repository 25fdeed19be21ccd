"""Nadam: Adam with Nesterov's momentum."""
from .. import ops
from ..dtypes import floatx
from ..tensor import Variable
from .base import Optimizer


class Nadam(Optimizer):
    """Nadam.

    u_t = beta_1 (1 - 0.96^t / 2);  U_t = u_1 ... u_t
    m = m + (1 - beta_1) (g - m);  v = v + (1 - beta_2) (g^2 - v)
    m' = u_(t+1) m / (1 - U_(t+1)) + (1 - u_t) g / (1 - U_t)
    w = w - learning_rate m' / (sqrt(v / (1 - beta_2^t)) + epsilon)

    Args:
        learning_rate: see `Optimizer`, as all arguments that are not listed here.
        beta_1, beta_2: decay of the means of gradients and of their squares.
        epsilon: keeps the division away from zero.

    Source: Dozat 2015.
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
        dtype = var_list[0].dtype if var_list else floatx()
        self._u_product = Variable(1.0, dtype=dtype, trainable=False, name="u_product")

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        step = ops.cast(self.iterations + 1, self._u_product.dtype)
        self.assign(self._u_product, self._u_product.value * self._rate(step))
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _rate(self, step):
        return self.beta_1 * (1.0 - 0.5 * ops.power(0.96, step))

    def update_step(self, gradient, variable, learning_rate):
        lr, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        now, next_ = self._rate(step), self._rate(step + 1.0)
        product = ops.cast(self._u_product, variable.dtype)
        i = self._get_variable_index(variable)
        m, v = self._momentums[i], self._velocities[i]
        self.assign_add(m, (gradient - m.value) * (1.0 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v.value) * (1.0 - self.beta_2))
        m_hat = next_ * m.value / (1.0 - product * next_) + (1.0 - now) * gradient / (1.0 - product)
        v_hat = v.value / (1.0 - ops.power(self.beta_2, step))
        self.assign_sub(variable, lr * m_hat / (ops.sqrt(v_hat) + self.epsilon))

    def get_config(self):
        return self._config_with("beta_1", "beta_2", "epsilon")
