"""StatelessScope: code that changes variables runs, and the variables stay as they are."""
import gc

import numpy as np

from .tensor import Variable, as_tensor, to_numpy

_open = []  # the scopes that code runs in, the innermost last


class StatelessScope:
    """Context in which variables have other values, and after which all variables are as they were before.

    Args:
        state_mapping: pairs (variable, value) of what variables hold inside.
        collect_losses: bool; what layers give to `add_loss` is in `losses`, too.
        initialize_variables: bool; accepted for Keras's sake: variables that are made inside have their values at once.

    Attributes:
        losses: list of tensors.

    Raises:
        ValueError: a key is no Variable, or a value has another shape.

    Example:
        with fastnn.StatelessScope([(w, w.value * 0) for w in model.weights]) as scope:
            y = model(x, training=True)
        new = [scope.get_current_value(w) for w in model.weights]
    """

    def __init__(self, state_mapping=None, collect_losses=False, initialize_variables=True):
        self.collect_losses, self.initialize_variables = collect_losses, initialize_variables
        self.losses, self._mapping, self._values = [], [], {}
        for variable, value in state_mapping or ():
            if not isinstance(variable, Variable):
                raise ValueError("[StatelessScope] Invalid reference variable: the keys of state_mapping must be Variables. "
                                 f"Received: {variable!r}")
            value = as_tensor(value, variable.dtype)
            if value.shape != variable.shape:
                raise ValueError(f"[StatelessScope] Invalid variable value: it must have the shape of {variable.path}, "
                                 f"{variable.shape}. Received: value.shape={value.shape}")
            self._mapping.append((variable, value))
            self._values[id(variable)] = value

    def __enter__(self):
        # Whoever holds a value keeps it: variables are overwritten in a copy then.
        self._before = [(x, x.value) for x in gc.get_objects() if isinstance(x, Variable) and not x.value.device == "meta"]
        for variable, value in self._mapping:
            variable.assign(value)
        self._inside = {id(variable): (variable.version, variable.value) for variable, _ in self._before}
        _open.append(self)
        return self

    def __exit__(self, *error):
        _open.remove(self)
        for variable, before in self._before:
            version, inside = self._inside[id(variable)]
            if variable.version != version or not _equal(variable.value, inside):
                self._values[id(variable)] = variable.value
            elif id(variable) not in self._values:
                continue
            variable.assign(before)
        self._before, self._inside = [], {}

    def add_loss(self, loss):
        """Adds to `losses`."""
        self.losses.append(loss)

    def add_update(self, update):
        """Gives a variable a value, by a pair (variable, value)."""
        variable, value = update
        if self in _open:
            variable.assign(value)
        else:
            self._values[id(variable)] = as_tensor(value, variable.dtype)

    def get_current_value(self, variable):
        """What a variable holds inside, or held at the end; None for one that was neither given a value nor changed."""
        if self not in _open:
            return self._values.get(id(variable))
        version, inside = self._inside.get(id(variable), (variable.version, None))
        return variable.value if variable.version != version or id(variable) in self._values else None


def collect(loss):
    """Notes a loss that a layer adds."""
    if _open and _open[-1].collect_losses:
        _open[-1].add_loss(loss)


def _equal(x, y):
    return np.array_equal(to_numpy(x), to_numpy(y), equal_nan=x.dtype.startswith(("float", "bfloat")))
