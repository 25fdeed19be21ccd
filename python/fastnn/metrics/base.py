"""Metric: a quantity that is accumulated over batches in variables."""
from .. import initializers, ops, tree
from ..capturing import note_attribute
from ..losses.base import compute_dtype
from ..tensor import Variable
from ..utils.naming import auto_name, to_snake_case
from ..utils.stateless import substituted


class Metric:
    """Base class: subclasses make their state with `add_weight` and define `update_state` and `result`.

    Variables and metrics that are set as attributes, also inside of lists and dicts, belong to the state.

    Args:
        dtype: of the state and the result; None is `config.floatx()`.
        name: of the metric.
    """

    def __init__(self, dtype=None, name=None):
        self._variables = []
        self._metrics = []
        self.name = name or auto_name(to_snake_case(type(self).__name__))
        self._dtype = compute_dtype(dtype)

    def __setattr__(self, name, value):
        if name != "_variables" and isinstance(value, (Variable, Metric)):
            self._check_super_called()
        if isinstance(value, Variable):
            self._track(self._variables, value)
        elif isinstance(value, Metric):
            self._track(self._metrics, value)
        elif isinstance(value, (list, tuple, dict)) and name not in ("_variables", "_metrics"):
            for item in tree.flatten(value):
                if isinstance(item, Metric):
                    self._track(self._metrics, item)
                elif isinstance(item, Variable):
                    self._track(self._variables, item)
        note_attribute(self, name, value)
        super().__setattr__(name, value)

    @staticmethod
    def _track(known, item):
        if not any(k is item for k in known):
            known.append(item)

    @property
    def dtype(self):
        """The dtype of the sums."""
        return self._dtype

    @property
    def variables(self):
        """The state: own variables, then those of metrics inside."""
        self._check_super_called()
        return self._variables + [v for metric in self._metrics for v in metric.variables]

    def add_variable(self, shape, initializer, dtype=None, aggregation="sum", name=None):
        """Make a variable of the state."""
        self._check_super_called()
        initializer = initializers.get(initializer) or initializers.Zeros()
        variable = Variable(initializer, shape=tuple(shape), dtype=dtype, trainable=False, name=name)
        variable.path = f"{self.name}/{variable.name}"
        self._track(self._variables, variable)
        return variable

    def add_weight(self, shape=(), initializer=None, dtype=None, name=None):
        """Make a variable of the state; zero unless an initializer is given."""
        return self.add_variable(shape, initializer, dtype=dtype, name=name)

    def update_state(self, *args, **kwargs):
        """Take a batch into account."""
        raise NotImplementedError("Metric subclasses must implement the `update_state()` method.")

    def result(self):
        """Return the value so far: a scalar tensor, or a dictionary of scalars."""
        raise NotImplementedError("Metric subclasses must implement the `result()` method.")

    def reset_state(self):
        """Start again: all variables become zero."""
        for v in self.variables:
            v.assign(ops.zeros(v.shape, dtype=v.dtype))

    def __call__(self, *args, **kwargs):
        self._check_super_called()
        self.update_state(*args, **kwargs)
        return self.result()

    def stateless_update_state(self, metric_variables, *args, **kwargs):
        """Return what `update_state` would make of these values of `variables`, and change nothing."""
        with substituted(self._checked(metric_variables), metric_variables):
            self.update_state(*args, **kwargs)
            return [v.value for v in self.variables]

    def stateless_result(self, metric_variables):
        """Return what `result` would be with these values of `variables`."""
        with substituted(self._checked(metric_variables), metric_variables):
            return self.result()

    def stateless_reset_state(self):
        """Return the values of `variables` that `reset_state` would set."""
        variables = self.variables
        with substituted(variables, [v.value for v in variables]):
            self.reset_state()
            return [v.value for v in variables]

    def _checked(self, values):
        variables = self.variables
        if len(values) != len(variables):
            kind = type(self).__name__
            raise ValueError(
                f"[{kind}] Argument `metric_variables` must be a list of tensors corresponding 1:1 to {kind}()"
                f".variables. Received list with length {len(values)}, but expected {len(variables)} variables."
            )
        return variables

    def _check_super_called(self):
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                f"[{type(self).__name__}] You forgot to call `super().__init__()` in the `__init__()` method. "
                "Go add it!"
            )

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"
