"""Schedules that raise the learning rate and lower it again; these are not in Keras."""
import math

from ... import ops
from .base import LearningRateSchedule, as_float, check_positive


class CyclicalLearningRate(LearningRateSchedule):
    """A triangle wave between two rates: up in `step_size` steps, down in `step_size` steps.

    Args:
        initial_learning_rate: float; the lowest rate.
        maximal_learning_rate: float; the highest rate of the first cycle.
        step_size: positive number of steps of half a cycle; 2 to 10 epochs.
        mode: "triangular": every cycle the same; "triangular2": half the height of the one before;
            "exp_range": the height is multiplied by gamma at each step.
        gamma: float, for "exp_range".
        name: of the schedule.

    Source: Smith 2017.
    """

    def __init__(
        self,
        initial_learning_rate,
        maximal_learning_rate,
        step_size,
        mode="triangular",
        gamma=1.0,
        name="CyclicalLearningRate",
    ):
        check_positive("CyclicalLearningRate", "step_size", step_size)
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                "[CyclicalLearningRate] mode must be 'triangular', 'triangular2' or 'exp_range'. "
                f"Received: mode={mode!r}"
            )
        self.initial_learning_rate = initial_learning_rate
        self.maximal_learning_rate = maximal_learning_rate
        self.step_size = step_size
        self.mode = mode
        self.gamma = gamma
        self.name = name

    def __call__(self, step):
        step = as_float(step)
        halves = step / float(self.step_size)
        cycle = ops.floor(halves * 0.5)  # 0 for the first
        height = 1.0 - ops.absolute(halves - 2.0 * cycle - 1.0)
        if self.mode == "triangular2":
            height = height * ops.power(0.5, cycle)
        elif self.mode == "exp_range":
            height = height * ops.power(float(self.gamma), step)
        return self.initial_learning_rate + (self.maximal_learning_rate - self.initial_learning_rate) * height

    def get_config(self):
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "maximal_learning_rate": self.maximal_learning_rate,
            "step_size": self.step_size,
            "mode": self.mode,
            "gamma": self.gamma,
            "name": self.name,
        }


class OneCycle(LearningRateSchedule):
    """One rise to the maximal rate, then a long fall to almost nothing, both along half a cosine.

    The rate is max / initial_divisor at step 0, max after `warmup_fraction` of the steps, and
    max / initial_divisor / final_divisor from step `total_steps` on.

    Args:
        maximal_learning_rate: float.
        total_steps: positive number of steps of the whole training.
        warmup_fraction: in (0, 1), the part of the steps that rise.
        initial_divisor, final_divisor: positive.
        name: of the schedule.

    Source: Smith and Topin 2018.
    """

    def __init__(
        self,
        maximal_learning_rate,
        total_steps,
        warmup_fraction=0.3,
        initial_divisor=25.0,
        final_divisor=1e4,
        name="OneCycle",
    ):
        check_positive("OneCycle", "total_steps", total_steps)
        check_positive("OneCycle", "initial_divisor", initial_divisor)
        check_positive("OneCycle", "final_divisor", final_divisor)
        if not 0 < warmup_fraction < 1:
            raise ValueError(
                f"[OneCycle] warmup_fraction must be in (0, 1). Received: warmup_fraction={warmup_fraction}"
            )
        self.maximal_learning_rate = maximal_learning_rate
        self.total_steps = total_steps
        self.warmup_fraction = warmup_fraction
        self.initial_divisor = initial_divisor
        self.final_divisor = final_divisor
        self.name = name

    def __call__(self, step):
        step = as_float(step)
        highest = self.maximal_learning_rate
        first = highest / self.initial_divisor
        last = first / self.final_divisor
        warmup_steps = self.warmup_fraction * self.total_steps
        rise = _half_cosine(first, highest, step / warmup_steps)
        fall = _half_cosine(highest, last, (step - warmup_steps) / (self.total_steps - warmup_steps))
        return ops.where(step < warmup_steps, rise, fall)

    def get_config(self):
        return {
            "maximal_learning_rate": self.maximal_learning_rate,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
            "initial_divisor": self.initial_divisor,
            "final_divisor": self.final_divisor,
            "name": self.name,
        }


def _half_cosine(start, end, fraction):
    """From start at fraction 0 to end at fraction 1 and beyond."""
    return end + (start - end) * 0.5 * (1.0 + ops.cos(math.pi * ops.minimum(fraction, 1.0)))
