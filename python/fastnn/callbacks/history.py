"""History: remembers the logs of every epoch."""
from .callback import Callback


class History(Callback):
    """What `fit` returns.

    Attributes:
        epoch: the epochs that were run.
        history: {name of a loss or metric: [its value at the end of each epoch]}.
    """

    def __init__(self):
        super().__init__()
        self.history = {}
        self.epoch = []

    def on_train_begin(self, logs=None):
        self.epoch = []

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self
