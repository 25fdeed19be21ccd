"""EarlyStopping: ends training when a metric no longer improves."""
from ..utils.messages import print_msg
from .monitor import MonitorCallback


class EarlyStopping(MonitorCallback):
    """Ends training when `monitor` has not improved for `patience` epochs.

    Args:
        monitor: name in the logs.
        min_delta: a smaller change is no improvement.
        patience: number of epochs without improvement after which training ends.
        verbose: 1 prints a line when it ends.
        mode: "min", "max" or "auto".
        baseline: as long as the metric is not better than this, epochs count as without improvement.
        restore_best_weights: at the end give the model the weights of its best epoch.
        start_from_epoch: epochs before this one are not looked at.
    """

    def __init__(
        self, monitor="val_loss", min_delta=0, patience=0, verbose=0, mode="auto", baseline=None,
        restore_best_weights=False, start_from_epoch=0,
    ):  # fmt: skip
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.wait = 0
        self.stopped_epoch = 0
        self.best_epoch = 0
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights = None

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor_op is None:
            self._set_monitor_op()
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            # If nothing ever improves, the first epoch that was looked at is the best.
            self.best_weights = self.model.get_weights()
            self.best_epoch = epoch
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = current
            self.best_epoch = epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        if self.stopped_epoch > 0 and self.verbose > 0:
            print_msg(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print_msg(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def get_monitor_value(self, logs):
        """Return the watched number, or None with a warning when it is not in the logs."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            self._missing("Early stopping conditioned on metric", logs or {})
        return value
