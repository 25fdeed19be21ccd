"""Callbacks that set the learning rate: LearningRateScheduler and ReduceLROnPlateau."""
import inspect

import numpy as np

from ..optimizers.multi_optimizer import optimizers_of
from ..utils.messages import print_msg
from .callback import Callback
from .monitor import MonitorCallback


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of each epoch.

    Args:
        schedule: function of the epoch (from 0), or of the epoch and the learning rate now, that returns the
            new learning rate as a float.
        verbose: 1 prints a line per epoch.
    """

    def __init__(self, schedule, verbose=0):
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch, logs=None):
        for name, optimizer in _optimizers(self.model).items():
            rate = self._scheduled(epoch, float(optimizer.learning_rate))
            optimizer.learning_rate = rate
            if self.verbose > 0:
                print_msg(f"\nEpoch {epoch + 1}: LearningRateScheduler setting {name}learning rate to {rate}.")

    def _scheduled(self, epoch, rate):
        rate = self.schedule(*(epoch, rate)[: _positional_count(self.schedule)])
        scalar = hasattr(rate, "__float__") and tuple(getattr(rate, "shape", ())) == ()
        if isinstance(rate, bool) or not scalar:
            raise ValueError(
                "[LearningRateScheduler] The output of the `schedule` function should be a float. "
                f"Received: {rate!r}"
            )
        return float(rate)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs.update(learning_rates(self.model))


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate by `factor` when `monitor` has not improved for `patience` epochs.

    Args:
        monitor: name in the logs.
        factor: below 1.
        patience: number of epochs without improvement.
        verbose: 1 prints a line at each change.
        mode: "min", "max" or "auto".
        min_delta: a smaller change is no improvement.
        cooldown: number of epochs after a change that do not count.
        min_lr: the learning rate does not go below this.

    Raises:
        ValueError: `factor` is not below 1.
    """

    def __init__(
        self, monitor="val_loss", factor=0.1, patience=10, verbose=0, mode="auto", min_delta=0.0001,
        cooldown=0, min_lr=0.0, **kwargs,
    ):  # fmt: skip
        super().__init__(monitor, mode, min_delta=min_delta)
        if factor >= 1.0:
            raise ValueError(
                f"[ReduceLROnPlateau] does not support a factor >= 1.0. Received: factor={factor}"
            )
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs=None):
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor_op is None:
            self._set_monitor_op()
        logs = {} if logs is None else logs
        logs.update(learning_rates(self.model))
        current = logs.get(self.monitor)
        if current is None:
            self._missing("Learning rate reduction is conditioned on metric", logs)
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                reduced = [self._reduce(epoch, *item) for item in _optimizers(self.model).items()]
                if any(reduced):
                    self.cooldown_counter = self.cooldown
                    self.wait = 0

    def _reduce(self, epoch, name, optimizer):
        old = float(optimizer.learning_rate)
        if old <= np.float32(self.min_lr):  # the rate is kept in float32
            return False
        new = max(old * self.factor, self.min_lr)
        optimizer.learning_rate = new
        if self.verbose > 0:
            print_msg(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing {name}learning rate to {new}.")
        return True

    def in_cooldown(self):
        """Return whether the last change was less than `cooldown` epochs ago."""
        return self.cooldown_counter > 0


def _optimizers(model):
    """Return {"": optimizer}, or {"name ": optimizer} of each part of a MultiOptimizer."""
    found = optimizers_of(model)
    if not all(hasattr(optimizer, "learning_rate") for optimizer in found):
        raise ValueError(
            f'Optimizer must have a "learning_rate" attribute. Received: model.optimizer={found[0]!r}'
        )
    return {"": found[0]} if len(found) == 1 else {f"{optimizer.name} ": optimizer for optimizer in found}


def learning_rates(model):
    """Return {"learning_rate": now}, or {"learning_rate_name": now} for each part of a MultiOptimizer."""
    return {f"learning_rate_{name}".strip().removesuffix("_"): float(optimizer.learning_rate)
            for name, optimizer in _optimizers(model).items()}


def _positional_count(function):
    """Return 1 or 2: how many of (epoch, learning rate) a schedule takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 2
    return 2 if sum(p.kind in kinds for p in parameters) >= 2 else 1
