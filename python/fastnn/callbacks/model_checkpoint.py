"""ModelCheckpoint: saves the model, or its weights, during training."""
import os

from ..utils.messages import print_msg
from ..utils.warning import warn
from .monitor import MonitorCallback

_WEIGHTS = (".weights.h5", ".safetensors")
_MODELS = (".keras", ".h5")


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, during training.

    Args:
        filepath: where to; may contain {epoch} (from 1), {batch} and names of the logs with a format, as
            "model-{epoch:02d}-{val_loss:.2f}.keras". It ends in `.keras`, and for weights in `.weights.h5` or
            `.safetensors`.
        monitor: name in the logs.
        verbose: 1 prints a line at each decision.
        save_best_only: save only when `monitor` improved.
        save_weights_only: save by `model.save_weights` instead of `model.save`.
        mode: "min", "max" or "auto".
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: the value to improve on at the start.

    Raises:
        ValueError: `save_freq` or the ending of `filepath` is none of these.
    """

    def __init__(
        self, filepath, monitor="val_loss", verbose=0, save_best_only=False, save_weights_only=False,
        mode="auto", save_freq="epoch", initial_value_threshold=None,
    ):  # fmt: skip
        super().__init__(monitor, mode, initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self._batches_since_save = 0
        self._last_batch = None
        self._current_epoch = 0
        if save_freq != "epoch" and (isinstance(save_freq, bool) or not isinstance(save_freq, int)):
            raise ValueError(
                "[ModelCheckpoint] Unrecognized save_freq: it must be 'epoch' or an integer. "
                f"Received: save_freq={save_freq!r}"
            )
        endings = _WEIGHTS if save_weights_only else _MODELS
        if not self.filepath.endswith(endings):
            raise ValueError(
                f"[ModelCheckpoint] with save_weights_only={save_weights_only} the filepath provided must end in "
                f"{' or '.join(f'`{e}`' for e in endings)}. Received: filepath={self.filepath}"
            )

    def wants_batches(self, mode):
        return mode == "train" and self.save_freq != "epoch"

    def on_train_begin(self, logs=None):
        # Told before the first epoch rather than after it, when its work would be lost.
        if not self.save_weights_only and self.filepath.endswith(".h5") and _is_ours(self.model):
            raise ValueError("[ModelCheckpoint] models are written as `.keras`. "
                             f"Received: filepath={self.filepath}")

    def on_epoch_begin(self, epoch, logs=None):
        self._current_epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self._should_save_on_batch(batch):
            self._save_model(self._current_epoch, batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.save_best_only and self.monitor_op is None:
            self._set_monitor_op()
        if self.save_freq == "epoch":
            self._save_model(epoch, None, logs)

    def _should_save_on_batch(self, batch):
        if self.save_freq == "epoch":
            return False
        # Batches count from 0 in each epoch; with steps_per_execution some are skipped.
        new_epoch = self._last_batch is None or batch <= self._last_batch
        self._batches_since_save += batch + 1 if new_epoch else batch - self._last_batch
        self._last_batch = batch
        if self._batches_since_save < self.save_freq:
            return False
        self._batches_since_save = 0
        return True

    def _should_save(self, epoch, logs, filepath):
        start = f"\nEpoch {epoch + 1}:"
        if not self.save_best_only:
            self._say(f"{start} saving model to {filepath}")
            return True
        current = logs.get(self.monitor)
        if current is None:
            warn(f"Can save best model only with {self.monitor} available.")
            return True
        if getattr(current, "shape", ()):
            warn(
                "Can save best model only when `monitor` is a scalar value. Falling back to "
                f"`save_best_only=False`. Received: {current}"
            )
            return True
        if self.monitor_op is None:
            self._set_monitor_op()
        best = "None" if self.best is None else f"{self.best:.5f}"
        if not self._is_improvement(current, self.best):
            self._say(f"{start} {self.monitor} did not improve from {best}")
            return False
        self._say(f"{start} {self.monitor} improved from {best} to {current:.5f}, saving model to {filepath}")
        self.best = current
        return True

    def _save_model(self, epoch, batch, logs):
        logs = logs or {}
        filepath = self._get_file_path(epoch, batch, logs)
        if not self._should_save(epoch, logs, filepath):
            return
        if os.path.isdir(filepath):
            raise OSError(
                "[ModelCheckpoint] Please specify a non-directory filepath for ModelCheckpoint. "
                f"Received: filepath={filepath}"
            )
        folder = os.path.dirname(filepath)
        if folder:
            os.makedirs(folder, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(filepath, overwrite=True)
        else:
            self.model.save(filepath, overwrite=True)
        self._say(f"\nEpoch {epoch + 1}: finished saving model to {filepath}")

    def _get_file_path(self, epoch, batch, logs):
        values = dict(logs)
        if batch is not None:
            values.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**{**values, "epoch": epoch + 1})
        except KeyError as error:
            raise KeyError(
                f'[ModelCheckpoint] Failed to format this callback filepath: "{self.filepath}". '
                f"Received: no {error} in the logs {sorted(logs)}"
            ) from error

    def _say(self, message):
        if self.verbose > 0:
            print_msg(message)


def _is_ours(model):
    from ..models import Model

    return isinstance(model, Model)
