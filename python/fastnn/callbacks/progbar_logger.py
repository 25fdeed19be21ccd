"""ProgbarLogger: the progress line of fit, evaluate and predict."""
from ..utils.progbar import Progbar
from .callback import Callback


class ProgbarLogger(Callback):
    """Shows progress and metrics on standard output; `fit` adds one unless `verbose=0`."""

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.progbar = None
        self.target = None
        self.verbose = 1
        self.epochs = 1
        self._in_fit = False

    def set_params(self, params):
        """Takes the arguments of `fit`; `verbose` is the one of interest."""
        super().set_params(params)
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else verbose
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def wants_batches(self, mode):
        if not self.verbose or mode == "test" and self._in_fit:
            return False
        if self.target is None:
            return True  # somebody must count the steps
        # Metrics are read only when the line is about to be drawn.
        return self.verbose == 1 and (self.progbar is None or self.progbar.wants_update())

    def on_train_begin(self, logs=None):
        self._in_fit = True

    def on_train_end(self, logs=None):
        self._in_fit = False

    def on_test_begin(self, logs=None):
        if not self._in_fit:
            self._start()

    def on_predict_begin(self, logs=None):
        self._start()

    def on_epoch_begin(self, epoch, logs=None):
        self._start(f"Epoch {epoch + 1}/{self.epochs}" if self.epochs > 1 else None)

    def on_train_batch_end(self, batch, logs=None):
        self._update(batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        if not self._in_fit:
            self._update(batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._update(batch, None)

    def on_epoch_end(self, epoch, logs=None):
        self._finish(logs)

    def on_test_end(self, logs=None):
        if not self._in_fit:
            self._finish(logs)

    def on_predict_end(self, logs=None):
        self._finish(None)

    def _start(self, title=None):
        self.seen = 0
        self.progbar = Progbar(target=self.target, verbose=self.verbose, unit_name="step", title=title)

    def _show(self, current, logs, finalize):
        # Logs are running means already: the bar must not average them again.
        self.progbar.stateful_metrics.update(logs)
        self.progbar.update(current, list(logs.items()), finalize=finalize)

    def _update(self, batch, logs):
        if self.progbar is None:
            self._start()
        self.seen = batch + 1
        if self.verbose == 1:
            self._show(self.seen, logs or {}, finalize=False)

    def _finish(self, logs):
        if self.progbar is None:
            return
        if self.target is None and self.seen:
            self.target = self.seen
            self.progbar.target = self.target
        self._show(self.target or self.seen, logs or {}, finalize=True)
