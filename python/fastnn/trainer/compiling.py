"""compile: the optimizer, losses and metrics of a model."""

import difflib
import inspect

from .. import _core, labels, ops
from ..layers.calling import signature_of
from ..scopes import on_own_device
from ..utils.warning import warn
from .common import check_count
from .compiled import CompiledLoss, CompiledMetrics

# What the trainer keeps on the model is not part of the model's state.
_OWN = frozenset((
    "optimizer", "loss", "history", "_loss_tracker", "_compile_loss", "_compile_metrics", "_compile_config",
    "_trained_weights", "_signature_cache", "_busy", "_captures"))
_DECIDING = frozenset(("optimizer", "loss", "_loss_tracker", "_compile_loss", "_compile_metrics"))


class Compiling:
    """What `compile` decides, and what follows from it for one batch: the loss and the metrics. See Trainer."""

    def __setattr__(self, name, value):
        if name in _OWN:
            if name in _DECIDING:
                _core.changed()
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @on_own_device
    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None,
                run_eagerly=False, steps_per_execution=1, jit_compile="auto", auto_scale_loss=True, **kwargs):
        """Choose how the model is trained.

        Args:
            optimizer: name, config or Optimizer.
            loss: name, function or Loss; for several outputs also a list in their order or a dict by
                their names, with None for an output without a loss.
            loss_weights: a number for each loss, in the structure of ``loss``.
            metrics: list of names, functions or Metrics; for several outputs a list of lists or a dict.
            weighted_metrics: the same, with sample weights applied.
            run_eagerly: never replay a recorded step.
            steps_per_execution: batches between two calls of the batch callbacks.
            jit_compile: accepted for Keras's sake; there is nothing to compile.
            auto_scale_loss: under the mixed_float16 policy, put the optimizer into a `LossScaleOptimizer`.

        Raises:
            TypeError: an unknown argument.
            ValueError: a loss, metric or optimizer that does not exist or has the wrong form.
        """
        from .. import metrics as metrics_module
        from .. import optimizers

        if kwargs:
            known = [p for p in inspect.signature(Compiling.compile).parameters if p not in ("self", "kwargs")]
            hints = []
            for name in kwargs:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                hints.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
            raise TypeError(f"[compile] got an unexpected keyword argument: {', '.join(hints)}")
        self.steps_per_execution = check_count(steps_per_execution, "steps_per_execution", "compile", optional=False)
        optimizer = optimizers.get(optimizer)
        if auto_scale_loss and optimizer is not None and getattr(self.dtype_policy, "name", None) == "mixed_float16" \
                and not isinstance(optimizer, optimizers.LossScaleOptimizer):
            optimizer = optimizers.LossScaleOptimizer(optimizer)  # else small gradients would be 0 in float16
        names = self._names_of_outputs()
        compile_loss = CompiledLoss(loss, loss_weights, names) if loss is not None else None
        compile_metrics = CompiledMetrics(metrics, weighted_metrics, names) \
            if metrics is not None or weighted_metrics is not None else None
        # Nothing of the model has changed before all arguments were found good.
        self.optimizer = optimizer
        self._compile_loss = compile_loss
        self._compile_metrics = compile_metrics
        self.loss = loss
        self._loss_tracker = metrics_module.Mean(name="loss")
        self.run_eagerly = bool(run_eagerly)
        self.jit_compile = jit_compile
        self.stop_training = False
        self._compiled = True
        self._compile_config = {
            "optimizer": optimizer, "loss": loss, "loss_weights": loss_weights, "metrics": metrics,
            "weighted_metrics": weighted_metrics, "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution, "jit_compile": jit_compile,
        }
        self._trained_weights = self._trainable_ids()
        self._signature_cache = {}
        self._captures = {}

    def _names_of_outputs(self):
        names = getattr(self, "output_names", None)
        return list(names) if names else None

    @property
    def compiled(self):
        """Whether ``compile`` was called."""
        return self._compiled

    def _trainable_ids(self):
        return [id(w) for w in self.trainable_weights] if self.built else None

    def _assert_compiled(self, op):
        if not self._compiled:
            raise ValueError(f"[{op}] You must call compile() before {op}(). "
                             "For example: model.compile(optimizer='adam', loss='mse')")

    # ---- metrics ----

    @property
    def metrics(self):
        """All metrics: the loss, those of ``compile``, those of each output's loss, then the layers'."""
        found = []
        if self._compiled:
            found.append(self._loss_tracker)
            if self._compile_metrics is not None:
                found.append(self._compile_metrics)
            if self._compile_loss is not None:
                found.extend(self._compile_loss.metrics)
        found.extend(self._own_metrics())
        return found

    def _own_metrics(self):
        """Metrics that were assigned to the model or to its layers."""
        from ..metrics import Metric

        found = list(getattr(self, "_metrics", ()))
        flatten_layers = getattr(self, "_flatten_layers", None)
        if flatten_layers is not None:
            for layer in flatten_layers(include_self=False):
                if not isinstance(layer, Compiling):
                    found.extend(m for m in getattr(layer, "_metrics", ()) if isinstance(m, Metric))
        return found

    @property
    def metrics_names(self):
        """The names of ``metrics``."""
        return [m.name for m in self.metrics]

    @on_own_device
    def reset_metrics(self):
        """Start all metrics again from zero."""
        for m in self.metrics:
            m.reset_state()

    @on_own_device
    def get_metrics_result(self):
        """{name: value} of all metrics."""
        results = {}
        for m in self.metrics:
            value = m.result()
            if isinstance(value, dict):
                results.update(value)
            else:
                results[m.name] = value
        return results

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the compiled metrics with a batch and return all results. May be overridden."""
        self._update_metrics(x, y, y_pred, sample_weight)
        return self.get_metrics_result()

    def _build_before_steps(self, y):
        """Make the variables of the loss, the optimizer and the metrics where the shapes of the outputs are known.

        A step that makes variables is unlike all others: its recording would be thrown away. What is not built here is
        built by the first step.
        """
        graph = getattr(self, "_graph", None)
        loss, metrics, optimizer = self._compile_loss, self._compile_metrics, self.optimizer
        if graph is None or y is None or _is_custom(type(self).call) or _is_custom(type(self).compute_loss):
            return
        outputs = graph.outputs_struct
        if type(outputs) in (list, tuple) and len(outputs) == 1:
            outputs = outputs[0]  # as `call` returns it
        if loss is not None and not loss.built:
            loss.build(y, outputs)
        if optimizer is not None and not optimizer.built and self.trainable_weights:
            optimizer.build(self.trainable_weights)
        if metrics is not None and not metrics.built:
            metrics.build(y, outputs)

    def _update_metrics(self, x, y, y_pred, sample_weight):
        if self._compile_metrics is not None:
            with labels.named("metrics"):
                self._compile_metrics.update_state(y, y_pred, sample_weight)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The total loss of a batch, a scalar Tensor. May be overridden.

        Raises:
            ValueError: there is nothing to minimise.
        """
        total = None
        if self._compile_loss is not None:
            total = self._compile_loss(y, y_pred, sample_weight)
        for loss in self.losses:
            if loss.ndim:
                loss = ops.sum(loss)
            total = loss if total is None else ops.add(total, loss)
        if total is None:
            raise ValueError("[fit] there is no loss to compute: give compile() a loss, or call add_loss() in a layer.")
        return total

    def _has_loss(self):
        """Whether there is a loss to evaluate: compile's, added ones, or that of an overridden compute_loss."""
        function = getattr(self.compute_loss, "__func__", self.compute_loss)
        return self._compile_loss is not None or function is not Compiling.compute_loss or bool(self.losses)

    def _compute_loss(self, x, y, y_pred, sample_weight, training):
        function = getattr(self.compute_loss, "__func__", self.compute_loss)
        if function is Compiling.compute_loss or signature_of(function).has_training:
            return self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        return self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)

    # ---- saving what compile was given ----

    def get_compile_config(self):
        """The arguments of ``compile`` as a config, or None before it."""
        if self._compile_config is None:
            return None
        from ..saving import serialize_keras_object

        return {k: serialize_keras_object(v) for k, v in self._compile_config.items()}

    def compile_from_config(self, config):
        """Call ``compile`` with what ``get_compile_config`` gave."""
        from ..saving import deserialize_keras_object

        if _is_custom(type(self).compile) and not _is_custom(type(self).compile_from_config):
            warn("`compile()` was not called as part of model loading because the model's `compile()` method is custom. "
                 "Override `get_compile_config()` and `compile_from_config(config)`, too, or call `compile()` after "
                 "loading.")
            return
        self.compile(**{k: deserialize_keras_object(v) for k, v in config.items()})
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)


def _is_custom(method):
    """Whether a method is not this library's."""
    return method.__module__.split(".")[0] != __name__.split(".")[0]
