"""The learning rate schedules of Keras: exponential, piecewise, polynomial, inverse time, cosine."""
import math

from ... import ops
from ...tensor import as_tensor
from .base import LearningRateSchedule, as_float, check_positive


class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate^(step / decay_steps)

    Args:
        initial_learning_rate: float.
        decay_steps: positive number of steps in which the rate is multiplied by `decay_rate` once.
        decay_rate: float.
        staircase: use the whole number of (step / decay_steps).
        name: of the schedule.
    """

    def __init__(
        self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="ExponentialDecay"
    ):
        check_positive("ExponentialDecay", "decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step):
        p = as_float(step) / float(self.decay_steps)
        if self.staircase:
            p = ops.floor(p)
        return self.initial_learning_rate * ops.power(float(self.decay_rate), p)

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class InverseTimeDecay(LearningRateSchedule):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps); arguments as `ExponentialDecay`.

    Args:
        initial_learning_rate: number.
        decay_steps: int.
        decay_rate: number.
        staircase: bool; decay at whole multiples of `decay_steps` only.
        name: string.
    """

    def __init__(
        self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="InverseTimeDecay"
    ):
        check_positive("InverseTimeDecay", "decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step):
        p = as_float(step) / float(self.decay_steps)
        if self.staircase:
            p = ops.floor(p)
        return self.initial_learning_rate / (1.0 + self.decay_rate * p)

    get_config = ExponentialDecay.get_config


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and including step boundaries[0], then values[1] up to boundaries[1], and so on.

    Args:
        boundaries: increasing step counts.
        values: one learning rate more than there are boundaries.
        name: of the schedule.
    """

    def __init__(self, boundaries, values, name="PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "[PiecewiseConstantDecay] the length of boundaries must be 1 less than the length of values. "
                f"Received: len(boundaries)={len(boundaries)}, len(values)={len(values)}"
            )
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step):
        step = as_tensor(step)
        rate = as_tensor(float(self.values[-1]))
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            rate = ops.where(step <= boundary, float(value), rate)
        return rate

    def get_config(self):
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


class PolynomialDecay(LearningRateSchedule):
    """(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps)^power + end_learning_rate

    Args:
        initial_learning_rate: float.
        decay_steps: positive; after so many steps the rate stays at `end_learning_rate`.
        end_learning_rate: float.
        power: float; 1 is linear.
        cycle: instead of staying, start again over the next multiple of `decay_steps`.
        name: of the schedule.
    """

    def __init__(
        self,
        initial_learning_rate,
        decay_steps,
        end_learning_rate=0.0001,
        power=1.0,
        cycle=False,
        name="PolynomialDecay",
    ):
        check_positive("PolynomialDecay", "decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step):
        step, decay_steps = as_float(step), float(self.decay_steps)
        if self.cycle:
            decay_steps = decay_steps * ops.maximum(ops.ceil(step / decay_steps), 1.0)
        else:
            step = ops.minimum(step, decay_steps)
        part = ops.power(1.0 - step / decay_steps, float(self.power))
        return (self.initial_learning_rate - self.end_learning_rate) * part + self.end_learning_rate

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "cycle": self.cycle,
            "name": self.name,
        }


class CosineDecay(LearningRateSchedule):
    """Linear warm-up to `warmup_target`, then half a cosine down to alpha times the start of the decay.

    Args:
        initial_learning_rate: float; where the warm-up, or without one the decay, starts.
        decay_steps: positive number of steps of the decay.
        alpha: the end as a part of the start of the decay.
        name: of the schedule.
        warmup_target: float, or None for no warm-up.
        warmup_steps: number of steps of the warm-up.

    Source: Loshchilov and Hutter 2017.
    """

    def __init__(
        self,
        initial_learning_rate,
        decay_steps,
        alpha=0.0,
        name="CosineDecay",
        warmup_target=None,
        warmup_steps=0,
    ):
        check_positive("CosineDecay", "decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step, decay_steps = as_float(step), float(self.decay_steps)
        if self.warmup_target is None:
            return self._decay(step / decay_steps, self.initial_learning_rate)
        warmup_steps = float(self.warmup_steps)
        rate = self._decay((step - warmup_steps) / decay_steps, self.warmup_target)
        if not warmup_steps:
            return rate
        slope = (self.warmup_target - self.initial_learning_rate) / warmup_steps
        return ops.where(step < warmup_steps, slope * step + self.initial_learning_rate, rate)

    def _decay(self, fraction, start):
        cosine = 0.5 * (1.0 + ops.cos(math.pi * ops.minimum(fraction, 1.0)))
        return start * ((1.0 - self.alpha) * cosine + self.alpha)

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decay that starts again, each time longer by `t_mul` and lower by `m_mul`.

    Args:
        initial_learning_rate: float.
        first_decay_steps: positive number of steps of the first decay.
        t_mul: each decay takes so many times the steps of the one before.
        m_mul: each decay starts at so many times the rate of the one before.
        alpha: the end as a part of the initial rate.
        name: of the schedule.

    Source: Loshchilov and Hutter 2017.
    """

    def __init__(
        self, initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name="SGDRDecay"
    ):
        check_positive("CosineDecayRestarts", "first_decay_steps", first_decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self._t_mul = t_mul
        self._m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step):
        fraction = as_float(step) / float(self.first_decay_steps)
        t_mul = float(self._t_mul)
        if t_mul == 1.0:
            restart = ops.floor(fraction)
            fraction = fraction - restart
        else:
            # The decays before number i took 1 + t + ... + t^(i-1) = (1 - t^i) / (1 - t) first decays.
            restart = ops.floor(ops.log(1.0 - fraction * (1.0 - t_mul)) / math.log(t_mul))
            length = ops.power(t_mul, restart)
            fraction = (fraction - (1.0 - length) / (1.0 - t_mul)) / length
        scale = ops.power(float(self._m_mul), restart)
        cosine = 0.5 * scale * (1.0 + ops.cos(math.pi * fraction))
        return self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha)

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self._t_mul,
            "m_mul": self._m_mul,
            "alpha": self.alpha,
            "name": self.name,
        }
