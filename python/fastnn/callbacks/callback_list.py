"""CallbackList: calls the hooks of several callbacks in order."""
import numpy as np

from .. import tree
from .callback import Callback
from .history import History
from .progbar_logger import ProgbarLogger


class CallbackList(Callback):
    """Calls the hooks of several callbacks in order.

    Args:
        callbacks: None, a callback, or a list of them.
        add_history: add a `History` if there is none.
        add_progbar: add a `ProgbarLogger` if there is none.
        model: the model of the callbacks.
        params: for `set_params` of each of them.

    Raises:
        TypeError: something is not a callback.
    """

    def __init__(self, callbacks=None, add_history=False, add_progbar=False, model=None, **params):
        super().__init__()
        self._asked = {}  # mode -> (number of callbacks, whether one looks at batches, those to ask)
        self.callbacks = [c for c in tree.flatten(callbacks) if c is not None] if callbacks else []
        for callback in self.callbacks:
            if isinstance(callback, type) or not hasattr(callback, "set_model"):
                raise TypeError(
                    f"[callbacks] every callback must be a Callback object. Received: {callback!r}"
                )
        self._history = self._first(History)
        self._progbar = self._first(ProgbarLogger)
        if self._history is None and add_history:
            self._history = History()
            self.callbacks.append(self._history)
        if self._progbar is None and add_progbar:
            self._progbar = ProgbarLogger()
            self.callbacks.append(self._progbar)
        self.set_model(model)
        self.set_params(params)

    def _first(self, kind):
        return next((c for c in self.callbacks if isinstance(c, kind)), None)

    def append(self, callback):
        """Add a callback at the end."""
        self.callbacks.append(callback)

    def set_params(self, params):
        """Passes the arguments of `fit` on."""
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model):
        """Passes the model on."""
        if model is None:
            return
        super().set_model(model)
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            callback.set_model(model)

    def wants_batches(self, mode):
        """Return whether any callback looks at batches; objects that cannot say so do."""
        asked = self._asked.get(mode)
        if asked is None or asked[0] != len(self.callbacks):
            # What a class says of its hooks stays; who answers for itself is asked each time.
            own = [c for c in self.callbacks if getattr(type(c), "wants_batches", None) is not Callback.wants_batches]
            always = any(c.wants_batches(mode) for c in self.callbacks if not any(c is o for o in own))
            asked = self._asked[mode] = (len(self.callbacks), always, own)
        return asked[1] or any([getattr(c, "wants_batches", lambda mode: True)(mode) for c in asked[2]])

    def _call(self, hook, *args):
        *position, logs = args
        logs = _numbers(logs)
        for callback in self.callbacks:
            getattr(callback, hook)(*position, logs)

    def on_batch_begin(self, batch, logs=None):
        self._call("on_batch_begin", batch, logs)

    def on_batch_end(self, batch, logs=None):
        self._call("on_batch_end", batch, logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._call("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._call("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._call("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._call("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._call("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._call("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch, logs=None):
        self._call("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._call("on_predict_batch_end", batch, logs)

    def on_train_begin(self, logs=None):
        self._call("on_train_begin", logs)

    def on_train_end(self, logs=None):
        self._call("on_train_end", logs)

    def on_test_begin(self, logs=None):
        self._call("on_test_begin", logs)

    def on_test_end(self, logs=None):
        self._call("on_test_end", logs)

    def on_predict_begin(self, logs=None):
        self._call("on_predict_begin", logs)

    def on_predict_end(self, logs=None):
        self._call("on_predict_end", logs)


def _numbers(logs):
    """Return a dictionary with scalar tensors as Python numbers; callbacks may add entries to it."""
    return {key: _number(value) for key, value in (logs or {}).items()}


def _number(value):
    if isinstance(value, (int, float, str)) or not hasattr(value, "shape"):
        return value
    return np.asarray(value).item() if tuple(value.shape) == () else value
