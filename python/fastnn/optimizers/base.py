"""Optimizer: what all optimizers share around the update of one variable.

The learning rate and the step count are variables, read by ops or kernels and never turned into Python
numbers on the way to an update, so that a recorded step can be run again.
"""
import re

from .. import _core, ops
from ..capturing import recorded_phase
from ..dtypes import floatx
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..tensor import Variable, as_tensor
from ..utils.naming import auto_name, to_snake_case
from ..utils.stateless import substituted
from ..utils.warning import warn
from .arguments import check_shared, checked_rate, full_signature, take_old_names
from .clipping import clip_by_global_norm, clip_by_norm
from .schedules import LearningRateSchedule
from .state import OptimizerState


class Optimizer(OptimizerState):
    """Base class: subclasses define `build`, `update_step` and `get_config`.

    `build(variables)` calls `super().build(variables)` and makes the state with `add_optimizer_variables`;
    `update_step(gradient, variable, learning_rate)` changes one variable with `assign`, `assign_add` or
    `assign_sub`.

    Args:
        learning_rate: number, `LearningRateSchedule`, or a function without arguments that returns one.
            `lr` is understood as well.
        weight_decay: before each update, variables lose weight_decay * learning_rate of themselves.
        clipnorm: each gradient is scaled down to at most this norm.
        clipvalue: gradients are clipped to [-clipvalue, clipvalue].
        global_clipnorm: all gradients together are scaled down to at most this norm.
        use_ema: keep an exponential moving average of the variables.
        ema_momentum: average = momentum * average + (1 - momentum) * variable.
        ema_overwrite_frequency: overwrite the variables by their average every so many steps; with None only
            `finalize_variable_values` does, which `fit` calls at its end.
        loss_scale_factor: `scale_loss` multiplies the loss by it, and gradients are divided by it.
        gradient_accumulation_steps: update only every so many steps (>= 2), with the mean of their gradients.
        name: of the optimizer.

    Raises:
        ValueError: an argument is unknown or out of its range, or two kinds of clipping are asked for.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay=None,
        clipnorm=None,
        clipvalue=None,
        global_clipnorm=None,
        use_ema=False,
        ema_momentum=0.99,
        ema_overwrite_frequency=None,
        loss_scale_factor=None,
        gradient_accumulation_steps=None,
        name=None,
        **kwargs,
    ):
        kind = type(self).__name__
        self._variables = []
        learning_rate = take_old_names(self, kwargs, learning_rate)
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        check_shared(kind, clips, use_ema, ema_momentum, ema_overwrite_frequency, gradient_accumulation_steps)
        self.name = name or auto_name(to_snake_case(kind))
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._trainable_variables = []
        self._index = {}  # id of a trainable variable -> its position
        self._no_decay_ids = frozenset()
        self._no_decay_pattern = None
        self._iterations = self._own_variable(0, "iteration", "int")
        if not callable(learning_rate):
            learning_rate = checked_rate(kind, learning_rate)
            learning_rate = self._own_variable(learning_rate, "learning_rate", floatx())
        self._learning_rate = learning_rate

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__signature__ = full_signature(cls, Optimizer)  # what `*shared` stands for, written out

    @property
    def iterations(self):
        """The number of updates so far: of calls, or with accumulation of groups of calls."""
        if self.gradient_accumulation_steps:
            return ops.floor_divide(self._iterations, self.gradient_accumulation_steps)
        return self._iterations

    @property
    def learning_rate(self):
        """The learning rate now: the variable, or the scalar that the schedule gives for this step."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return rate(self._iterations)
        if callable(rate) and not isinstance(rate, Variable):
            return rate()
        return rate

    @learning_rate.setter
    def learning_rate(self, value):
        current = self._learning_rate
        if callable(value) and not isinstance(value, Variable):
            if isinstance(current, Variable):
                self._variables = [v for v in self._variables if v is not current]
            self._learning_rate = value
        elif isinstance(current, Variable):
            current.assign(value)
        else:
            raise TypeError(
                f"[{type(self).__name__}] This optimizer was created with a `LearningRateSchedule` object or a "
                "function as its `learning_rate`, hence the learning rate is not settable to a number. "
                f"Received: learning_rate={value}"
            )

    def build(self, variables):
        """Make the state for these trainable variables. Subclasses call this first."""
        variables = list(variables)
        self._trainable_variables = variables
        self._index = {id(v): i for i, v in enumerate(variables)}
        if self.use_ema:
            self._model_variables_moving_average = self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self._accumulated_gradients = [
                self.add_variable_from_reference(v, "gradient_accumulator") for v in variables
            ]
        self.built = True

    # One step ------------------------------------------------------------------------------------------

    def update_step(self, gradient, variable, learning_rate):
        """Change one variable. Subclasses define it."""
        raise NotImplementedError("Optimizer subclasses must implement the `update_step()` method.")

    def apply_gradients(self, grads_and_vars):
        """Apply pairs of gradient and variable; see `apply`. Returns the step count."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self._iterations

    def apply(self, grads, trainable_variables=None):
        """Update the variables by their gradients.

        Args:
            grads: gradients; None leaves a variable as it is.
            trainable_variables: their variables; when left out, those that the optimizer was built with.

        Raises:
            ValueError: numbers or shapes do not match, a variable is not one the optimizer was built with, or
                no gradient is given at all.
        """
        grads = list(grads)
        if not grads:
            return
        variables = self._variables_for(grads, trainable_variables)
        grads, variables = self._usable(grads, variables)
        if grads:
            if self.loss_scale_factor is not None:
                grads = [g / self.loss_scale_factor for g in grads]
            self._accumulate_and_update(grads, variables)
            for variable in variables:
                if variable.constraint is not None:
                    variable.assign(variable.constraint(variable))
        _core.increment(self._iterations.mutable())

    def _variables_for(self, grads, variables):
        kind = type(self).__name__
        if variables is None:
            if not self.built:
                raise ValueError(
                    f"[{kind}] When passing `grads` without `variables`, the optimizer must already be built on a "
                    "list of variables. Call `optimizer.build(trainable_variables)` first."
                )
            variables = self._trainable_variables
        else:
            variables = list(variables)
            if not self.built:
                self.build(variables)
                self.built = True
            for variable in variables:
                if id(variable) not in self._index:
                    raise ValueError(
                        f"[{kind}] Unknown variable: an optimizer can only be called for the variables it was "
                        "built with; make a new optimizer for other variables. "
                        f"Received: {getattr(variable, 'path', variable)}"
                    )
        if len(grads) != len(variables):
            raise ValueError(
                f"[{kind}] there must be one gradient for each variable. "
                f"Received: {len(grads)} gradients, {len(variables)} variables"
            )
        return variables

    def _usable(self, grads, variables):
        """Drop missing gradients and check shapes before anything changes."""
        kept_grads, kept_variables, missing, direct = [], [], [], []
        for grad, variable in zip(grads, variables):
            if grad is None:
                missing.append(variable.path)
                continue
            if not getattr(grad, "is_indexed_slices", False):
                grad = as_tensor(grad)
            elif not self._takes_sparse(grad):
                grad = grad.to_dense()
            if grad.shape != variable.shape:
                raise ValueError(
                    f"[{type(self).__name__}] a gradient must have the shape of its variable {variable.path}, "
                    f"{variable.shape}. Received: gradient.shape={grad.shape}"
                )
            if variable.overwrite_with_gradient:
                direct.append((grad, variable))
                continue
            kept_grads.append(grad)
            kept_variables.append(variable)
        if not kept_grads and not direct:
            raise ValueError(f"[{type(self).__name__}] No gradients provided for any variable.")
        if missing:
            warn(
                f"Gradients do not exist for variables {missing} when minimizing the loss. If using "
                "`model.compile()`, did you forget to provide a `loss` argument?"
            )
        for grad, variable in direct:
            self._overwrite(variable, grad)
        return kept_grads, kept_variables

    def _overwrite(self, variable, grad):
        """Give a variable the value of its gradient; with accumulation the largest of a group."""
        if not self.gradient_accumulation_steps:
            variable.assign(grad)
            return
        largest = self._accumulated_gradients[self._index[id(variable)]]
        grad = ops.maximum(grad, largest)
        if self._phase_now()[0]:
            variable.assign(grad)
            grad = ops.zeros_like(grad)
        largest.assign(grad)

    def phase(self):
        """What the number of this step decides: (whether it updates, whether averages overwrite the weights).

        None when every step is like the others. The training loops keep recordings of different phases apart.
        """
        steps, frequency = self.gradient_accumulation_steps, self.use_ema and self.ema_overwrite_frequency
        if not steps and not frequency:
            return None
        count = int(self._iterations)
        groups = count // steps if steps else count
        return not steps or (count + 1) % steps == 0, bool(frequency) and (groups + 1) % frequency == 0

    def _phase_now(self):
        return recorded_phase(self) or self.phase()

    def _takes_sparse(self, grad):
        """Return whether the update can use this sparse gradient as it is."""
        return False

    def _accumulate_and_update(self, grads, variables):
        steps = self.gradient_accumulation_steps
        if steps:
            sums = [self._accumulated_gradients[self._index[id(v)]] for v in variables]
            if not self._phase_now()[0]:
                for total, grad in zip(sums, grads):
                    total.assign_add(grad)
            else:
                self._update([(grad + total.value) / steps for grad, total in zip(grads, sums)], variables)
                for total in self._accumulated_gradients:
                    total.assign(ops.zeros(total.shape, dtype=total.dtype))
        else:
            self._update(grads, variables)
        if self.use_ema:
            self._update_average()

    def _update(self, grads, variables):
        grads = self._clip_gradients(grads)
        self._apply_weight_decay(variables)
        self._backend_update_step(grads, variables, self.learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for grad, variable in zip(grads, trainable_variables):
            self.update_step(grad, variable, learning_rate)

    def _clip_gradients(self, grads):
        if self.clipnorm:
            return [clip_by_norm(g, self.clipnorm) for g in grads]
        if self.global_clipnorm:
            return clip_by_global_norm(grads, self.global_clipnorm)
        if self.clipvalue:
            return [ops.clip(g, -self.clipvalue, self.clipvalue) for g in grads]
        return grads

    # Weight decay and averages -------------------------------------------------------------------------

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Name variables that weight decay leaves alone.

        Args:
            var_list: variables.
            var_names: regular expressions searched in the names of variables, such as "bias".

        Raises:
            ValueError: the optimizer is built already.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay()` can only be configured before the optimizer is built."
            )
        self._no_decay_ids = frozenset(id(v) for v in var_list or ())
        self._no_decay_pattern = re.compile("|".join(var_names)) if var_names else None

    def _use_weight_decay(self, variable):
        if id(variable) in self._no_decay_ids:
            return False
        return self._no_decay_pattern is None or not self._no_decay_pattern.search(variable.name)

    def _apply_weight_decay(self, variables):
        if self.weight_decay is None:
            return
        rate = self.learning_rate
        for variable in variables:
            if self._use_weight_decay(variable):
                decay = ops.cast(rate, variable.dtype) * self.weight_decay
                variable.assign_sub(ops.multiply(variable, decay))

    def _update_average(self):
        # The first average is the variable itself: momentum counts from the second step on.
        started = ops.not_equal(self.iterations, 0)
        for variable, average in zip(self._trainable_variables, self._model_variables_moving_average):
            if average is not None:
                momentum = ops.cast(started, variable.dtype) * self.ema_momentum
                average.assign(momentum * average.value + (1.0 - momentum) * variable.value)
        if self.ema_overwrite_frequency and self._phase_now()[1]:
            self._overwrite_model_variables_with_average_value(self._trainable_variables)

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        averages = self._model_variables_moving_average
        if len(trainable_variables) != len(averages):
            raise ValueError(
                f"[{type(self).__name__}] there must be one variable for each average. "
                f"Received: {len(trainable_variables)} variables, {len(averages)} averages"
            )
        for variable, average in zip(trainable_variables, averages):
            if average is not None:
                variable.assign(average)

    def finalize_variable_values(self, var_list):
        """Overwrite the variables by their moving average, if one is kept; `fit` calls this at its end."""
        if self.use_ema and self.built:
            self._overwrite_model_variables_with_average_value(list(var_list))

    # Other uses ----------------------------------------------------------------------------------------

    def scale_loss(self, loss):
        """Return the loss times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        """Return what an update would make of these values, and change nothing.

        Args:
            optimizer_variables: values for `self.variables`.
            grads: gradients.
            trainable_variables: values for the variables the optimizer was built with.

        Returns:
            (new values of the trainable variables, new values of the optimizer's variables).
        """
        kind = type(self).__name__
        if not self.built:
            raise ValueError(
                f"[{kind}] To call `stateless_apply`, {kind} must be built (i.e. its variables must have been "
                "created). You can build it via `optimizer.build(trainable_variables)`."
            )
        own = self.variables
        for given, variables, name in (
            (optimizer_variables, own, "optimizer_variables"),
            (trainable_variables, self._trainable_variables, "trainable_variables"),
        ):
            if len(given) != len(variables):
                raise ValueError(
                    f"[{kind}] `{name}` must be a list of {len(variables)} values. Received length {len(given)}"
                )
        with substituted(self._trainable_variables + own, [*trainable_variables, *optimizer_variables]):
            self.apply(grads)
            return [v.value for v in self._trainable_variables], [v.value for v in own]

    def get_config(self):
        rate = self._learning_rate
        rate = float(rate) if isinstance(rate, Variable) else serialize_keras_object(rate)
        return {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    def _config_with(self, *names):
        """Return the config of the arguments that all share, and of these attributes."""
        return {**Optimizer.get_config(self), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = deserialize_keras_object(config["learning_rate"], custom_objects)
        return cls(**config)
