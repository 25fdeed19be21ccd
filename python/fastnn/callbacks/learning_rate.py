"""Callbacks that set the learning rate: LearningRateScheduler and ReduceLROnPlateau."""
import inspect

import numpy as np

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
        optimizer = _optimizer(self.model)
        args = (epoch, float(optimizer.learning_rate))
        rate = self.schedule(*args[: _positional_count(self.schedule)])
        scalar = hasattr(rate, "__float__") and tuple(getattr(rate, "shape", ())) == ()
        if isinstance(rate, bool) or not scalar:
            raise ValueError(
                "[LearningRateScheduler] The output of the `schedule` function should be a float. "
                f"Received: {rate!r}"
            )
        rate = float(rate)
        optimizer.learning_rate = rate
        if self.verbose > 0:
            print(
                f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.", flush=True
            )

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = float(_optimizer(self.model).learning_rate)


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
        logs["learning_rate"] = float(_optimizer(self.model).learning_rate)
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
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduce(self, epoch):
        optimizer = _optimizer(self.model)
        old = float(optimizer.learning_rate)
        if old <= np.float32(self.min_lr):  # the rate is kept in float32
            return False
        new = max(old * self.factor, self.min_lr)
        optimizer.learning_rate = new
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.", flush=True)
        return True

    def in_cooldown(self):
        """Return whether the last change was less than `cooldown` epochs ago."""
        return self.cooldown_counter > 0


def _optimizer(model):
    optimizer = getattr(model, "optimizer", None)
    if not hasattr(optimizer, "learning_rate"):
        raise ValueError(
            'Optimizer must have a "learning_rate" attribute. '
            f"Received: model.optimizer={optimizer!r}"
        )
    return optimizer


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
