"""compile, fit, evaluate and predict: what Model inherits."""

import threading

import numpy as np

from .. import labels
from ..autograd import GradientTape
from ..config import max_epochs
from ..layers.calling import signature_of
from ..scopes import on_own_device
from ..tensor import Variable, to_numpy
from ..tree import flatten, map_structure, pack_sequence_as
from ..utils.warning import warn
from .common import Steps, check_count, is_due, limit_steps, pack, rows_of, to_logs, whole_batch
from .compiled import CompiledMetrics
from .compiling import Compiling
from .data import (
    ArrayData,
    check_batch_size,
    check_finite,
    make_data,
    to_arrays,
    to_tensors,
    unpack_x_y_sample_weight,
)
from .replaying import Replaying


class Trainer(Compiling, Replaying):
    """Training and inference of a model. Layers and weights come from the class it is mixed into."""

    def __init__(self):
        self._compiled = False
        self._loss_tracker = None
        self._compile_loss = None
        self._compile_metrics = None
        self._compile_config = None
        self.optimizer = None
        self.loss = None
        self.stop_training = False
        self.steps_per_execution = 1
        self.run_eagerly = False
        self.jit_compile = False
        self.test_function = self.train_function = self.predict_function = None
        self._busy = threading.RLock()
        self._trained_weights = None
        self._captures = {}

    # ---- one step; each may be overridden ----

    def _call_model(self, x, training):
        if self._call_has_training_arg:
            return self(x, training=training)
        return self(x)

    @property
    def _call_has_training_arg(self):
        found = self.__dict__.get("_takes_training")
        if found is None:
            call = signature_of(getattr(self.call, "__func__", self.call))
            found = self.__dict__["_takes_training"] = call.has_training or call.varkw is not None
        return found

    def train_step(self, data):
        """One step of training on a batch (x, y, sample_weight): returns {name: value} of the metrics."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self._train_on(x, y, sample_weight)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _train_on(self, x, y, sample_weight):
        with GradientTape() as tape:
            y_pred = self._call_model(x, True)
            with labels.named("loss"):
                loss = self._compute_loss(x, y, y_pred, sample_weight, True)
                scaled = self.optimizer.scale_loss(loss) if self.optimizer is not None else loss
        with labels.named("metrics"):
            self._loss_tracker.update_state(loss, sample_weight=rows_of(x))
        weights = self.trainable_weights
        if weights and self.optimizer is not None:
            gradients = tape.gradient(scaled, weights)
            with labels.named("optimizer"):
                self.optimizer.apply(gradients, weights)
        elif not weights:
            warn("The model does not have any trainable weights.")
        return y_pred

    def test_step(self, data):
        """One step of evaluation on a batch: returns {name: value} of the metrics."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self._call_model(x, False)
        if self._has_loss():
            loss = self._compute_loss(x, y, y_pred, sample_weight, False)
            self._loss_tracker.update_state(loss, sample_weight=rows_of(x))
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def predict_step(self, data):
        """The model's outputs for a batch."""
        x, _, _ = unpack_x_y_sample_weight(data)
        return self._call_model(x, False)

    def make_train_function(self, force=False):
        """The function that ``fit`` calls with each batch, kept in ``train_function``."""
        if self.train_function is None or force:
            self.train_function = lambda data: self._replay("train_step", self.train_step, data)
        return self.train_function

    def make_test_function(self, force=False):
        """The function that ``evaluate`` calls with each batch, kept in ``test_function``."""
        if self.test_function is None or force:
            self.test_function = lambda data: self._replay("test_step", self.test_step, data)
        return self.test_function

    def make_predict_function(self, force=False):
        """The function that ``predict`` calls with each batch, kept in ``predict_function``."""
        if self.predict_function is None or force:
            self.predict_function = lambda data: self._replay("predict_step", self.predict_step, data)
        return self.predict_function

    # ---- loops ----

    @on_own_device
    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
            validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
            steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1,
            check_labels=None):
        """Train the model.

        Args:
            x: an array or tensor (samples, ...), a list of them in the order of the inputs, a dict by the
                names of the inputs; or something that makes (x, y[, sample_weight]) batches: a generator, a
                PyDataset, a torch DataLoader, a tf.data.Dataset.
            y: targets in the structure of the outputs: array, list, or dict by their names.
            batch_size: samples in a batch; by default what `steps_per_epoch` batches need, or 32.
            epochs: the number of the last epoch; ``initial_epoch`` counts from 0.
            verbose: 0 silent, 1 a progress bar, 2 a line per epoch, "auto" 1 on a terminal and 2 elsewhere.
            callbacks: list of Callbacks.
            validation_split: fraction of the last samples held out.
            validation_data: (x, y), (x, y, sample_weight), or something that makes batches.
            shuffle: whether samples come in a new order in every epoch; "batch", within each batch.
            class_weight: {class: weight} for one output.
            sample_weight: array (samples,), or (samples, time); a list or dict for several outputs.
            steps_per_epoch, validation_steps: batches to take, for sources without an end.
            validation_batch_size: batch_size by default.
            validation_freq: validate every that many epochs, or after the epochs (from 1) of a list.
            check_labels: refuse NaN and infinity in y; None, unless a TerminateOnNaN callback sees to them.

        Returns:
            A History: ``history.history`` is {name: [value of each epoch]}.

        Raises:
            ValueError: an argument has a wrong value, lengths differ, or compile() was not called.
            RuntimeError: another thread is training this model.
        """
        from ..callbacks import CallbackList

        self._assert_compiled("fit")
        epochs = check_count(epochs, "epochs", "fit", 0, optional=False)
        epochs = min(epochs, max_epochs() or epochs)
        initial_epoch = check_count(initial_epoch, "initial_epoch", "fit", 0, optional=False)
        steps_per_epoch = check_count(steps_per_epoch, "steps_per_epoch", "fit")
        validation_steps = check_count(validation_steps, "validation_steps", "fit")
        if validation_batch_size is not None:
            check_batch_size(validation_batch_size)
        if isinstance(validation_freq, (list, tuple, set)):
            validation_freq = {check_count(v, "validation_freq", "fit", optional=False) for v in validation_freq}
        else:
            validation_freq = check_count(validation_freq, "validation_freq", "fit", optional=False)
        if not isinstance(validation_split, (int, float)) or not 0 <= validation_split < 1:
            raise ValueError("[fit] validation_split must be at least 0 and below 1. "
                             f"Received: validation_split={validation_split!r}")
        if class_weight is not None and not isinstance(class_weight, dict):
            raise ValueError(f"[fit] class_weight must be a dict. Received: class_weight={class_weight!r}")
        verbose = self._verbosity(verbose)
        if check_labels is None:
            check_labels = not _looks_for_nan(getattr(callbacks, "callbacks", callbacks))
        data = make_data(x, y, sample_weight, batch_size, class_weight, shuffle, "fit", steps_per_epoch)
        if check_labels and data.y is not None:
            check_finite(data.y, "y")
        if validation_split and validation_data is None:
            if not isinstance(data, ArrayData):
                raise ValueError("[fit] validation_split must go with arrays. "
                                 f"Received: x={type(x).__name__}; pass validation_data instead")
            # The weights that class_weight stands for are for training alone.
            whole = ArrayData(x, y, sample_weight, batch_size, op="fit") if class_weight is not None else data
            train, _ = data.split(validation_split)
            _, held_out = whole.split(validation_split)
            data = ArrayData(*train, batch_size=batch_size, shuffle=shuffle, op="fit", steps=steps_per_epoch)
            validation_data = held_out
        validation = None
        if validation_data is not None:
            validation = self._validation_data(validation_data, validation_batch_size or batch_size, validation_steps)
            if check_labels and validation.y is not None:
                check_finite(validation.y, "validation y")
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("[fit] the model is already training in another thread")
        try:
            self._warn_if_trainable_changed()
            steps_per_epoch = limit_steps(steps_per_epoch, data)
            steps = steps_per_epoch if steps_per_epoch is not None else data.steps
            if not isinstance(callbacks, CallbackList):
                callbacks = CallbackList(callbacks, add_history=True, add_progbar=verbose != 0, verbose=verbose,
                                         epochs=epochs, steps=steps, model=self)
            return self._fit(data, validation, callbacks, epochs, initial_epoch, steps_per_epoch, validation_steps,
                             validation_freq)
        finally:
            self._busy.release()

    def _fit(self, data, validation, callbacks, epochs, initial_epoch, steps_per_epoch, validation_steps,
             validation_freq):
        self.stop_training = False
        self.make_train_function()
        logs = {}
        batches = Steps(data) if steps_per_epoch is not None else None
        self._initial_epoch = None
        callbacks.on_train_begin()
        if self._initial_epoch is not None:  # a callback has restored the state of an interrupted training
            initial_epoch = self._initial_epoch
        try:
            for epoch in range(initial_epoch, epochs):
                self.reset_metrics()
                callbacks.on_epoch_begin(epoch)
                steps, results = self._run_epoch(batches or Steps(data), callbacks, steps_per_epoch)
                if steps == 0:
                    break
                logs = self._logs(results)
                if validation is not None and is_due(epoch + 1, validation_freq):
                    for name, value in self._evaluate(validation, callbacks, validation_steps).items():
                        logs[f"val_{name}"] = value
                logs = dict(sorted(logs.items()))
                callbacks.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
            finalize = getattr(self.optimizer, "finalize_variable_values", None)
            if finalize is not None and epochs > initial_epoch:
                finalize(self.trainable_weights)
        finally:
            # Also after an error or Ctrl-C: callbacks close what they opened.
            callbacks.on_train_end(logs)
        return self.history

    def _run_epoch(self, batches, callbacks, steps_per_epoch):
        """Train on one epoch's batches. Returns their number and, if a step is overridden, the last one's results."""
        results, step = None, 0
        standard = self._standard_train_step()
        batches.begin()
        while steps_per_epoch is None or step < steps_per_epoch:
            batch = batches.next()
            if batch is None:
                self._check_ran_dry(step, steps_per_epoch, batches.used)
                break
            watched = callbacks.wants_batches("train")
            if watched:
                callbacks.on_train_batch_begin(step)
            last = step + self.steps_per_execution
            if steps_per_epoch is not None:
                last = min(last, steps_per_epoch)
            while batch is not None:
                if standard:
                    if step == 0:
                        self._build_before_steps(batch[1])
                    # Metrics are read when somebody looks at them.
                    self._replay("train", self._train_once, *batch)
                else:
                    results = self.train_function(pack(batch))
                step += 1
                batch = batches.next() if step < last else None
            if watched:
                callbacks.on_train_batch_end(step - 1, self._logs(results))
            if self.stop_training:
                break
        batches.end()
        return step, results

    def _check_ran_dry(self, step, steps_per_epoch, used):
        if step == 0 and not used:
            raise ValueError("[fit] the data must have at least one batch. Received: a source that gave none")
        if step == 0:
            warn("[fit] the data ran out: a generator gives its batches once. Training stops here; for more epochs "
                 "give fit() a source that starts again, or steps_per_epoch with one that does not end.")
        elif steps_per_epoch is not None:
            warn(f"[fit] Your input ran out of data after {step} of {steps_per_epoch} steps of this epoch. "
                 "Make sure that your dataset or generator gives enough batches (use repeat()).")

    def _standard_train_step(self):
        """Whether metrics may be read at the end of the epoch only: nothing of the step is overridden."""
        cls = type(self)
        return (cls.train_step is Trainer.train_step and cls.compute_metrics is Trainer.compute_metrics
                and cls.make_train_function is Trainer.make_train_function)

    def _logs(self, results):
        """What callbacks see: the metrics, or what an overridden step returned."""
        if results is None:
            results = self.get_metrics_result()
        elif not isinstance(results, dict):
            raise ValueError("[fit] train_step and test_step must return a dict of results. "
                             f"Received: {type(results).__name__}")
        return to_logs(results)

    def _validation_data(self, validation_data, batch_size, steps):
        if isinstance(validation_data, (tuple, list)):
            return make_data(*unpack_x_y_sample_weight(tuple(validation_data)), batch_size=batch_size, op="fit", steps=steps)
        return make_data(validation_data, batch_size=batch_size, op="fit", steps=steps)

    @staticmethod
    def _verbosity(verbose):
        if verbose == "auto":
            from ..utils.progbar import is_interactive

            return 1 if is_interactive() else 2
        if verbose not in (0, 1, 2):
            raise ValueError(f"[fit] verbose must be 'auto', 0, 1 or 2. Received: verbose={verbose!r}")
        return int(verbose)

    def _warn_if_trainable_changed(self):
        now = self._trainable_ids()
        if self._trained_weights is not None and now != self._trained_weights and self.built:
            self._check_optimizer_knows()
            warn("The set of trainable weights has changed since compile(): the new set is trained. "
                 "Call compile() after setting trainable to start the optimizer afresh.")
        self._trained_weights = now

    def _check_optimizer_knows(self):
        """ValueError where weights are trained that were made after the optimizer's state, as `enable_lora` does."""
        known = getattr(self.optimizer, "_index", None)
        if known is None or not self.optimizer.built:
            return
        new = [v.path for v in self.trainable_variables if id(v) not in known]
        if new:
            raise ValueError("[train] call compile() again (after enable_lora, new layers, or trainable=True): the optimizer was built "
                             f"before these weights became trainable, and has no state for them. Received: {new}")

    @on_own_device
    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None,
                 callbacks=None, return_dict=False, **kwargs):
        """The loss and metrics of the model on data given as in ``fit``.

        Returns:
            The loss, or a list of the loss and the metrics; a dict by name with ``return_dict=True``.
        """
        from ..callbacks import CallbackList

        if kwargs:
            raise TypeError(f"[evaluate] got an unexpected keyword argument: {', '.join(map(repr, kwargs))}")
        self._assert_compiled("evaluate")
        steps = check_count(steps, "steps", "evaluate")
        verbose = self._verbosity(verbose)
        data = make_data(x, y, sample_weight, batch_size, op="evaluate", steps=steps)
        steps = limit_steps(steps, data)
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(callbacks, add_progbar=verbose != 0, verbose=verbose, epochs=1,
                                     steps=steps if steps is not None else data.steps, model=self)
        logs = self._evaluate(data, callbacks, steps)
        return logs if return_dict else self._in_order(logs)

    def _evaluate(self, data, callbacks, steps):
        self.make_test_function()
        self.reset_metrics()
        callbacks.on_test_begin()
        self.stop_evaluating = False
        results, step = None, 0
        batches = Steps(data)
        batches.begin()
        cls = type(self)
        standard = (cls.test_step is Trainer.test_step and cls.compute_metrics is Trainer.compute_metrics
                    and cls.make_test_function is Trainer.make_test_function)
        while steps is None or step < steps:
            batch = batches.next()
            if batch is None:
                if step == 0:
                    raise ValueError("[evaluate] the data must have at least one batch. Received: a source that gave none")
                break
            watched = callbacks.wants_batches("test")
            if watched:
                callbacks.on_test_batch_begin(step)
            if standard:
                self._replay("test", self._test_once, *batch)  # metrics are read when somebody looks at them
            else:
                results = self.test_function(pack(batch))
            if watched:
                callbacks.on_test_batch_end(step, self._logs(results))
            step += 1
            if self.stop_evaluating:
                break
        batches.end()
        logs = self._logs(results)
        callbacks.on_test_end(logs)
        return logs

    def _in_order(self, logs):
        """Results as Keras lists them: by the metrics' own names, then those with an output's name before it."""
        names = {}
        for m in self.metrics:
            names.update(dict.fromkeys([s.name for s in m.metrics] if isinstance(m, CompiledMetrics) else [m.name]))
        ordered = [logs[n] for n in names if n in logs]
        ordered += [logs[k] for k in sorted(logs) if k not in names]
        return ordered[0] if len(ordered) == 1 else ordered

    @on_own_device
    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """The model's outputs for all samples, as NumPy arrays in the structure of the outputs."""
        from ..callbacks import CallbackList

        steps = check_count(steps, "steps", "predict")
        quiet = verbose == "auto"  # a line in each of a script's predictions would be noise
        verbose = self._verbosity(verbose)
        quiet = verbose == 0 or quiet and verbose == 2
        if quiet and callbacks is None and steps is None and type(self).make_predict_function is Trainer.make_predict_function:
            done = self._predict_arrays(x, 32 if batch_size is None else check_batch_size(batch_size))
            if done is not None:
                return done
        data = make_data(x, batch_size=batch_size, op="predict", steps=steps)
        steps = limit_steps(steps, data)
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(callbacks, add_progbar=not quiet, verbose=verbose, epochs=1,
                                     steps=steps if steps is not None else data.steps, model=self)
        self.make_predict_function()
        self.stop_predicting = False
        callbacks.on_predict_begin()
        structure, parts, step = None, [], 0
        batches = Steps(data)
        batches.begin()
        while steps is None or step < steps:
            batch = batches.next()
            if batch is None:
                break
            watched = callbacks.wants_batches("predict")
            if watched:
                callbacks.on_predict_batch_begin(step)
            outputs = self.predict_function(pack(batch))
            structure = outputs
            parts.append([np.asarray(t) for t in flatten(outputs)])
            if watched:
                callbacks.on_predict_batch_end(step, {"outputs": outputs})
            step += 1
            if self.stop_predicting:
                break
        batches.end()
        callbacks.on_predict_end()
        if not parts:
            raise ValueError("[predict] the data must have at least one batch. Received: a source that gave none")
        whole = [np.concatenate(leaf) if len(leaf) > 1 else np.array(leaf[0]) for leaf in zip(*parts)]
        return pack_sequence_as(structure, whole)

    # ---- single batches ----

    @on_own_device
    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One step of training on one batch. Returns the loss, or a list of it and the metrics.

        Threads that train one model take turns: a step waits for another one, or for the end of ``fit``.
        """
        with self._busy:
            return self._train_on_batch(x, y, sample_weight, class_weight, return_dict)

    def _train_on_batch(self, x, y, sample_weight, class_weight, return_dict):
        self._assert_compiled("train_on_batch")
        data = ArrayData(x, y, sample_weight, class_weight=class_weight, op="train_on_batch")
        if data.y is not None:
            check_finite(data.y, "y")
        self._warn_if_trainable_changed()
        self.make_train_function()
        self.reset_metrics()
        logs = self._logs(self.train_function(pack(whole_batch(data))))
        return logs if return_dict else self._in_order(logs)

    @on_own_device
    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """The loss and metrics of one batch."""
        self._assert_compiled("test_on_batch")
        data = ArrayData(x, y, sample_weight, op="test_on_batch")
        self.make_test_function()
        self.reset_metrics()
        logs = self._logs(self.test_function(pack(whole_batch(data))))
        return logs if return_dict else self._in_order(logs)

    @on_own_device
    def predict_on_batch(self, x):
        """The outputs for one batch, as NumPy arrays."""
        self.make_predict_function()
        outputs = self.predict_function(pack((to_tensors(to_arrays(x, "x", "predict_on_batch")), None, None)))
        return map_structure(lambda t: np.array(to_numpy(t.value if isinstance(t, Variable) else t)), outputs)


def _looks_for_nan(callbacks):
    """Whether a TerminateOnNaN is among callbacks: a list, nest, one of them, or None."""
    if not callbacks:
        return False
    from ..callbacks import TerminateOnNaN

    return any(isinstance(c, TerminateOnNaN) for c in flatten(callbacks))
