"""OptimizerState: the variables that an optimizer keeps, and their way into files and out of them."""

import numpy as np

from .. import initializers
from ..capturing import note_attribute
from ..tensor import Variable
from ..utils.warning import warn


class OptimizerState:
    """Base of `Optimizer`. Makes and tracks the optimizer's variables; `_index` maps trainable ones to positions."""

    def __setattr__(self, name, value):
        if name != "_variables":
            self._check_super_called()
        if isinstance(value, Variable):  # what a subclass sets as an attribute belongs to the state, as in Keras
            self._track(value)
        if not isinstance(getattr(type(self), name, None), property):
            note_attribute(self, name, value)
        super().__setattr__(name, value)

    def _check_super_called(self):
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                f"In optimizer '{type(self).__name__}', you forgot to call `super().__init__()` as the first "
                "statement in the `__init__()` method. Go add it!"
            )

    @property
    def variables(self):
        """All variables of the optimizer: step count, learning rate, then the state of `build`."""
        self._check_super_called()
        return list(self._variables)

    def add_variable(
        self, shape, initializer="zeros", dtype=None, aggregation="none", layout=None, name=None
    ):
        """Make a variable of the optimizer's state."""
        return self._own_variable(initializers.get(initializer), name, dtype, tuple(shape))

    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        """Make a variable of the shape and dtype of another."""
        path = getattr(reference_variable, "path", None) or reference_variable.name
        name = f"{path.replace('/', '_').replace(':', '_')}_{name or 'var'}"
        return self.add_variable(reference_variable.shape, initializer, reference_variable.dtype, name=name)

    def add_optimizer_variables(self, trainable_variables, name, initializer="zeros"):
        """Make one variable, or one of each name in a list of names, per trainable variable.

        Returns:
            A list in the order of `trainable_variables`, or a tuple with one list per name. None stands for
            variables that are overwritten by their gradient and need no state.
        """
        names = [name] if isinstance(name, str) else list(name)
        initials = list(initializer) if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        if len(names) != len(initials):
            raise ValueError(
                "[add_optimizer_variables] name and initializer must have the same length. "
                f"Received: name={name}, initializer={initializer}"
            )
        state = tuple([] for _ in names)
        for variable in trainable_variables:
            for made, own_name, initial in zip(state, names, initials):
                direct = variable.overwrite_with_gradient
                made.append(
                    None if direct else self.add_variable_from_reference(variable, own_name, initial)
                )
        return state[0] if isinstance(name, str) else state

    def _own_variable(self, initializer, name, dtype, shape=None):
        name = name.replace("/", "_") if name else None
        variable = Variable(initializer, shape=shape, dtype=dtype, trainable=False, name=name)
        variable.path = f"{self.name}/{variable.name}"
        self._variables.append(variable)  # it is new: no search, which would take the square of their number
        return variable

    def _track(self, variable):
        if not any(v is variable for v in self._variables):
            self._variables.append(variable)

    def _get_variable_index(self, variable):
        return self._index[id(variable)]

    def assign(self, variable, value):
        variable.assign(value)

    def assign_add(self, variable, value):
        variable.assign_add(value)

    def assign_sub(self, variable, value):
        variable.assign_sub(value)

    def set_weights(self, weights):
        """Set all variables of the optimizer, in the order of `variables`.

        Raises:
            ValueError: the optimizer is not built, or number or shapes differ.
        """
        kind = type(self).__name__
        if not self.built:
            raise ValueError(
                f"[{kind}] You are calling `set_weights()` on an optimizer that has not yet been built. Please "
                "call `optimizer.build(trainable_variables)` first."
            )
        variables, weights = self.variables, [np.asarray(w) for w in weights]
        shapes = [tuple(v.shape) for v in variables]
        if [w.shape for w in weights] != shapes:
            raise ValueError(
                f"[{kind}] weights must have the shapes of the optimizer's variables, {shapes}. "
                f"Received: {[w.shape for w in weights]}"
            )
        for variable, weight in zip(variables, weights):
            variable.assign(weight)

    def save_own_variables(self, store):
        """Put the values of all variables into a dictionary, under "0", "1", ..."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store):
        """Take the values of all variables from what `save_own_variables` filled."""
        variables = self.variables
        if len(store) != len(variables):
            warn(
                f"Skipping variable loading for optimizer '{self.name}', because it has {len(variables)} variables "
                f"whereas the saved optimizer has {len(store)} variables."
            )
            return
        for i, variable in enumerate(variables):
            variable.assign(store[str(i)])
