"""LayerState: the variables, sublayers, metrics and seed generators of a layer.

Attributes are watched: what is assigned to a layer, also inside of lists, tuples, dicts and sets,
becomes part of its state, in the order of the assignments.
"""
import itertools

from .. import _core, initializers
from .. import constraints as constraints_module
from .. import regularizers as regularizers_module
from ..capturing import note_attribute
from ..scopes import on_own_device
from ..tensor import Tensor, Variable, as_tensor, standardize_shape
from ..tracking import unwrap, wrap
from ..utils.naming import current_path, name_scope
from .operation import Operation

FLOATS = frozenset(("float16", "bfloat16", "float32", "float64"))
_PLAIN = frozenset((int, float, str, bool, type(None), Tensor))
# What calls and training loops set on the way: no recorded step depends on it.
_QUIET = frozenset((
    "_losses", "_losses_generation", "stop_training", "stop_evaluating", "stop_predicting", "history",
    "train_function", "test_function", "predict_function"))
_UNTRACKED = frozenset(("_inbound_nodes", "_outbound_nodes", "_build_shapes", "_batch_shape"))


_structure = itertools.count(1)


class LayerState(Operation):
    """What a layer is made of; see Layer."""

    # Counts changes of what any layer holds: flattened lists of an older count are made anew.
    _changes = 0

    @staticmethod
    def _structure_changed():
        LayerState._changes = next(_structure)
        _core.changed()

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        put = object.__setattr__
        put(self, "_initialized", False)
        put(self, "_building", False)
        put(self, "_locked", False)
        put(self, "_init_arguments", (args, kwargs))
        put(self, "_trainable_variables", [])
        put(self, "_non_trainable_variables", [])
        put(self, "_layers", [])
        put(self, "_metrics", [])
        put(self, "_seed_generators", [])
        put(self, "_inbound_nodes", [])
        put(self, "_outbound_nodes", [])
        put(self, "_losses", [])
        put(self, "_losses_generation", 0)
        put(self, "_entry_generation", 0)
        put(self, "_build_shapes", None)
        put(self, "_input_spec", None)
        put(self, "_path", None)
        put(self, "built", False)
        return self

    def __setattr__(self, name, value):
        if type(value) in _PLAIN or name in _UNTRACKED:
            if name not in _QUIET:
                note_attribute(self, name, value)
            object.__setattr__(self, name, value)
            return
        if name[:2] == "__" or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        if name not in _QUIET:
            note_attribute(self, name, value)
        object.__setattr__(self, name, wrap(value, self))

    def __delattr__(self, name):
        unwrap(getattr(self, name), self)
        object.__delattr__(self, name)

    def _group_of(self, value):
        """The list in which `value` is kept, or None if it is not part of the state."""
        if isinstance(value, Variable):
            return self._trainable_variables if value.trainable else self._non_trainable_variables
        if isinstance(value, LayerState):
            return self._layers
        kind = type(value)  # recognised by their methods: those modules build on this one
        if hasattr(kind, "update_state") and hasattr(kind, "reset_state"):
            return self._metrics
        if kind.__name__ == "SeedGenerator" and hasattr(value, "state"):
            return self._seed_generators
        return None

    def _track(self, value):
        group = self._group_of(value)
        if group is None or any(value is x for x in group):
            return
        if isinstance(value, Variable) and any(
                value is x for x in self._trainable_variables + self._non_trainable_variables):
            return  # it stays where it was put first, however `trainable` has changed since
        if self._locked and group is not self._metrics:
            raise ValueError(
                f"[{self.name}] You cannot add new elements of state (variables or layers) to a layer that is built: "
                f"make them in __init__() or build(). Received: {value!r}")
        group.append(value)
        self._structure_changed()

    def _untrack(self, value):
        for group in (self._trainable_variables, self._non_trainable_variables, self._layers, self._metrics,
                      self._seed_generators):
            group[:] = [x for x in group if x is not value]
        self._structure_changed()

    def add_weight(self, shape=None, initializer=None, dtype=None, trainable=True, autocast=True, regularizer=None,
                   constraint=None, aggregation="none", overwrite_with_gradient=False, name=None):
        """Adds a variable to the layer.

        Args:
            shape: tuple of ints; () by default.
            initializer: Initializer, name, function or array; glorot_uniform for floats, else zeros.
            dtype: dtype name; the variable dtype of the layer by default.
            trainable: bool.
            autocast: bool; cast the value to the compute dtype when it is used in `call`.
            regularizer: Regularizer or name; its value joins `losses`.
            constraint: Constraint or name; applied after each optimizer update.
            aggregation: accepted as Keras does; without effect on one machine.
            overwrite_with_gradient: bool; optimizers assign the gradient to the variable.
            name: string; the last part of the variable's path.

        Returns:
            The Variable.

        Raises:
            TypeError, ValueError: the shape is not one.
            MemoryError: it is too large.
        """
        if isinstance(shape, str):
            raise ValueError(f"[{self.name}.add_weight] the name must be given as a keyword argument, "
                             f"add_weight(name=...). Received: shape={shape!r}")
        shape = standardize_shape(() if shape is None else shape, f"{self.name}.add_weight")
        dtype = self.variable_dtype if dtype is None else dtype
        if initializer is None:
            initializer = "glorot_uniform" if str(dtype) in FLOATS else "zeros"
        inferring = _core.set_inferring(False)
        try:
            with name_scope(self.name, caller=self):
                variable = Variable(initializers.get(initializer), shape=shape, dtype=dtype, trainable=trainable,
                                    autocast=autocast, name=name or "variable")
                # What is added after the build lies below the layer all the same.
                inside = current_path() if self._building or self._path is None else self._path
                variable.path = f"{inside}/{variable.name}"
        finally:
            _core.set_inferring(inferring)
        variable.regularizer = regularizers_module.get(regularizer)
        variable.constraint = constraints_module.get(constraint)
        variable.overwrite_with_gradient = bool(overwrite_with_gradient)
        self._track(variable)
        if not self._trainable:
            variable.trainable = False
        return variable

    def add_variable(self, shape, initializer, dtype=None, trainable=True, autocast=True, regularizer=None, constraint=None,
                     name=None):
        """Adds a variable; see `add_weight`, which makes it."""
        return self.add_weight(shape, initializer, dtype, trainable, autocast, regularizer, constraint, name=name)

    @property
    def trainable(self):
        """Whether the variables are trained; setting it sets all sublayers, too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        value = bool(value)
        self._trainable = value
        for variable in self._trainable_variables:
            variable.trainable = value
        for layer in self._layers:
            layer.trainable = value

    def _flatten_layers(self, include_self=True, recursive=True):
        """This layer and all below it (only the next level, if not recursive), each once, parents first."""
        if not recursive:
            return [self, *self._layers] if include_self else list(self._layers)
        changes, found = self.__dict__.get("_flat", (-1, None))
        if changes != LayerState._changes:
            found, seen, stack = [], set(), [self]
            while stack:
                layer = stack.pop()
                if id(layer) not in seen:
                    seen.add(id(layer))
                    found.append(layer)
                    stack.extend(reversed(layer._layers))
            self.__dict__["_flat"] = (LayerState._changes, found)
        return found[0 if include_self else 1:]

    def _collect(self, own):
        """`own(layer)` of this layer and all below it, in order, each object once."""
        found = {}
        for layer in self._flatten_layers():
            for x in own(layer):
                found.setdefault(id(x), x)
        return list(found.values())

    @property
    def variables(self):
        """All variables, states of seed generators included, without those of metrics."""
        return self._collect(lambda layer: [
            *layer._trainable_variables, *layer._non_trainable_variables, *(g.state for g in layer._seed_generators)])

    @property
    def weights(self):
        """All variables, without states of seed generators and metrics."""
        changes, found = self.__dict__.get("_flat_weights", (-1, None))
        if changes != LayerState._changes:
            found = self._collect(lambda layer: [*layer._trainable_variables, *layer._non_trainable_variables])
            self.__dict__["_flat_weights"] = (LayerState._changes, found)
        return list(found)

    @property
    def trainable_variables(self):
        """The variables that training changes; none if the layer is not trainable."""
        return [v for v in self.variables if v.trainable] if self.trainable else []

    @property
    def non_trainable_variables(self):
        """The variables that training does not change by gradients."""
        return [v for v in self.variables if not v.trainable] if self.trainable else self.variables

    @property
    def trainable_weights(self):
        """The weights that training changes; none if the layer is not trainable."""
        return [v for v in self.weights if v.trainable] if self.trainable else []

    @property
    def non_trainable_weights(self):
        """The weights that training does not change by gradients."""
        return [v for v in self.weights if not v.trainable] if self.trainable else self.weights

    @property
    def metrics(self):
        """The metrics of this layer and all below it."""
        return self._collect(lambda layer: layer._metrics)

    @property
    def metrics_variables(self):
        """The variables of `metrics`."""
        return [v for metric in self.metrics for v in metric.variables]

    def get_weights(self):
        """Returns the values of `weights`, as a list of NumPy arrays (copies)."""
        return [v.numpy() for v in self.weights]

    @on_own_device
    def set_weights(self, weights):
        """Sets the values of `weights`.

        Args:
            weights: list of arrays, with the shapes and in the order of `get_weights`.

        Raises:
            ValueError: the count or a shape differs; then nothing is changed.
        """
        own, values = self.weights, list(weights)
        if len(own) != len(values):
            raise ValueError(
                f"[{self.name}] set_weights must get {len(own)} arrays, of shapes {[tuple(v.shape) for v in own]}. "
                f"Received: {len(values)} arrays")
        values = [value if hasattr(value, "shape") else as_tensor(value) for value in values]
        for variable, value in zip(own, values):
            if tuple(variable.shape) != tuple(value.shape):
                raise ValueError(
                    f"[{self.name}] set_weights: {variable.path} has shape {tuple(variable.shape)}. "
                    f"Received: shape={tuple(value.shape)}")
        for variable, value in zip(own, values):
            variable.assign(value)

    def count_params(self):
        """The number of scalars in `weights`.

        Raises:
            ValueError: the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"[{self.name}] count_params needs a layer that is built: call it on an input, or build(input_shape)")
        total = 0
        for v in self.weights:
            size = 1
            for n in v.shape:
                size *= n
            total += size
        return total
