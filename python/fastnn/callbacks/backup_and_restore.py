"""BackupAndRestore: training that was interrupted goes on where it stopped."""
import json
import os
import random as python_random
import sys

import numpy as np

from .callback import Callback

_NAME = "latest.weights.h5"


class BackupAndRestore(Callback):
    """Saves the state of the training, and starts from it when `fit` is called again after an interruption.

    One file holds the weights, the optimizer, the epoch, and the random generators of the layers, of NumPy, of Python and
    of this library: training that goes on after an epoch gives the same weights as training that was never interrupted.
    The file is written at once or not at all. It is removed when the training has ended.

    Args:
        backup_dir: folder; made if needed, and not to be shared with other trainings.
        save_freq: "epoch", or a number of batches; an epoch that was interrupted is begun again.
        double_checkpoint: keep the state before the last one as well, for a disk that spoils files; a save that fails
            leaves the one before it as it was in any case.
        delete_checkpoint: remove the file at the end of the training.

    Raises:
        ValueError: `backup_dir` is empty, or `save_freq` is neither.
    """

    def __init__(self, backup_dir, save_freq="epoch", double_checkpoint=False, delete_checkpoint=True):
        super().__init__()
        if backup_dir is None or not os.fspath(backup_dir):
            raise ValueError(f"[BackupAndRestore] Empty `backup_dir` argument passed. Received: backup_dir={backup_dir!r}")
        if save_freq != "epoch" and (isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1):
            raise ValueError("[BackupAndRestore] Invalid value for `save_freq`: it must be 'epoch' or a positive integer. "
                             f"Received: save_freq={save_freq!r}")
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._weights_path = os.path.join(self.backup_dir, _NAME)
        self._prev_weights_path = f"{self._weights_path}.bkp"
        self._current_epoch = self._last_batch_seen = 0
        self._batches = 0  # since the last save

    def wants_batches(self, mode):
        return mode == "train" and self.save_freq != "epoch"

    def on_train_begin(self, logs=None):
        self._outer_error = sys.exc_info()[1]
        if not os.path.exists(self._weights_path) and not os.path.exists(self._prev_weights_path):
            return
        if not self.model.built:
            raise ValueError("[BackupAndRestore] the model must be built before its state is restored: start it with an "
                             f"Input, or call it on data. Received: {self.model.name!r}")
        from ..saving import ModelFormatError

        try:
            self._load(self._weights_path)
        except (OSError, ModelFormatError):
            if not os.path.exists(self._prev_weights_path):
                raise
            self._load(self._prev_weights_path)

    def _load(self, path):
        from ..saving.archive import open_regular
        from ..saving.h5 import open_h5
        from ..saving.state import load_state

        with open_regular(path) as (file, _), open_h5(file, path) as root:
            load_state(self.model, root, path, op="BackupAndRestore")
            own = root.members.get("fastnn")
            text = own.attribute("training") if own is not None else None
        if text is not None:
            self.model._initial_epoch = _restore(json.loads(text))

    def on_epoch_begin(self, epoch, logs=None):
        self._current_epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._last_batch_seen = batch
        if self.save_freq != "epoch":
            self._batches += 1
            if self._batches >= self.save_freq:
                self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._current_epoch, self._last_batch_seen = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save()

    def _save(self):
        from ..saving.model_files import write_state

        self._batches = 0
        os.makedirs(self.backup_dir, exist_ok=True)
        if self.double_checkpoint and os.path.exists(self._weights_path):
            os.replace(self._weights_path, self._prev_weights_path)
        write_state(self.model, self._weights_path, {"training": json.dumps(_state(self._current_epoch))})

    def on_train_end(self, logs=None):
        if sys.exc_info()[1] is not self._outer_error:
            return  # interrupted: the file is what the next `fit` starts from
        if self.delete_checkpoint and os.path.exists(self._weights_path):
            for path in (self._weights_path, self._prev_weights_path):
                if os.path.exists(path):
                    os.remove(path)
            if not os.listdir(self.backup_dir):
                os.rmdir(self.backup_dir)


def _state(epoch):
    """The next epoch, and the random generators of the process."""
    from ..random import global_seed_generator

    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, values, spare = python_random.getstate()
    return {"epoch": epoch, "numpy": [kind, keys.tolist(), position, has_gauss, gauss],
            "python": [version, list(values), spare], "fastnn": global_seed_generator().state.numpy().tolist()}


def _restore(state):
    """Sets the generators; the next epoch."""
    from ..random import global_seed_generator

    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, "uint32"), position, has_gauss, gauss))
    version, values, spare = state["python"]
    python_random.setstate((version, tuple(values), spare))
    global_seed_generator().state.assign(np.array(state["fastnn"], "uint32"))
    return state["epoch"]
