"""Callback: hooks that training, evaluation and prediction call."""

_BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Callback:
    """Base class: subclasses define the hooks they need.

    `logs` is a dictionary of numbers: at the end of a batch the metrics so far, at the end of an epoch those
    of the epoch and, with the prefix "val_", of the validation.

    Attributes:
        params: {"verbose", "epochs", "steps"}.
        model: the model that is trained; setting `model.stop_training = True` ends the training.
    """

    def __init__(self):
        self.params = None
        self._model = None

    def set_params(self, params):
        """Gives the arguments of `fit`: verbose, epochs, steps."""
        self.params = params

    def set_model(self, model):
        """Gives the model."""
        self._model = model

    @property
    def model(self):
        """The model that is trained."""
        return self._model

    def wants_batches(self, mode):
        """Return whether a batch hook of "train", "test" or "predict" is defined, so that batches need logs."""
        return any(
            name in self.__dict__ or getattr(type(self), name) is not getattr(Callback, name)
            for name in _BATCH_HOOKS[mode]
        )

    def on_batch_begin(self, batch, logs=None):
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch, logs=None):
        """Another name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch, logs=None):
        """Called at the start of an epoch of training; epochs count from 0."""

    def on_epoch_end(self, epoch, logs=None):
        """Called at the end of an epoch of training, after its validation."""

    def on_train_batch_begin(self, batch, logs=None):
        """Called before a training batch; batches count from 0 in each epoch."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        """Called after a training batch."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Called before a batch of `evaluate`, or of the validation in `fit`."""

    def on_test_batch_end(self, batch, logs=None):
        """Called after a batch of `evaluate`, or of the validation in `fit`."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Called before a batch of `predict`."""

    def on_predict_batch_end(self, batch, logs=None):
        """Called after a batch of `predict`."""

    def on_train_begin(self, logs=None):
        """Called at the start of `fit`."""

    def on_train_end(self, logs=None):
        """Called at the end of `fit`, also when it ends by an error."""

    def on_test_begin(self, logs=None):
        """Called at the start of `evaluate` or of the validation in `fit`."""

    def on_test_end(self, logs=None):
        """Called at the end of `evaluate` or of the validation in `fit`."""

    def on_predict_begin(self, logs=None):
        """Called at the start of `predict`."""

    def on_predict_end(self, logs=None):
        """Called at the end of `predict`."""
