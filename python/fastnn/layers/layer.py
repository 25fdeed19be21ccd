"""Layer: variables, a state that is built on the first call, and the call itself.

A subclass writes `__init__`, `build(input_shape)`, `call(inputs)` and `get_config`; everything
that happens around `call` (casts, checks, masks, the training flag, losses, the graph of symbolic
calls) is here.
"""
import difflib
import functools
import warnings

from .. import _core, initializers, ops, tree
from .. import constraints as constraints_module
from .. import regularizers as regularizers_module
from ..dtype_policies import get as get_policy
from ..dtype_policies import serialize as serialize_policy
from ..symbolic import KerasTensor, infer
from ..tensor import Tensor, Variable, as_tensor, standardize_shape
from ..tracking import unwrap, wrap
from ..utils.naming import auto_name, check_name, current_path, name_scope, to_snake_case
from .calling import call_signature, context, next_generation, shape_arguments, shapes_of, signature_of, tensor_arguments
from .input_spec import InputSpec, check_input
from .configs import constructor_config, layer_from_config
from .operation import Node, Operation
from .symbolic_call import output_shape_by_trial, symbolic_outputs

_PLAIN = frozenset((int, float, str, bool, type(None), Tensor))
_FLOATS = frozenset(("float16", "bfloat16", "float32", "float64"))


def _build_once(build):
    """`build` in the name scope of the layer; the outermost of a chain of `super().build` marks it built."""

    @functools.wraps(build)
    def wrapper(self, *args, **kwargs):
        if self._building:
            return build(self, *args, **kwargs)
        object.__setattr__(self, "_building", True)
        object.__setattr__(self, "_locked", False)
        inferring = _core.set_inferring(False)  # initial values are computed, also inside a trial run
        try:
            with name_scope(self.name, caller=self):
                self._path = current_path()
                build(self, *args, **kwargs)
        finally:
            object.__setattr__(self, "_building", False)
            _core.set_inferring(inferring)
        self._build_shapes = signature_of(build).bind(args, kwargs)
        self.built = True
        self._locked = True

    wrapper._builds_once = True
    return wrapper


class Layer(Operation):
    """The base of all layers: a function with variables.

    Args:
        activity_regularizer: Regularizer, name or None; its value of every output joins `losses`.
        trainable: bool; False excludes the variables from training.
        dtype: dtype name, DTypePolicy or None (the global policy).
        autocast: bool; cast floating inputs to the compute dtype.
        name: string, unique by default (`dense`, `dense_1`, ...).
        input_shape, input_dim, batch_input_shape: shape of the input, without the batch, as its last
            size, or whole; a Sequential model then builds at once.

    Raises:
        ValueError: an unknown argument, or an invalid name.
    """

    _allow_non_tensor_positional_args = False
    _quiet_masks = False

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
        put(self, "supports_masking", cls.compute_mask is not Layer.compute_mask)
        return self

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__ and not hasattr(cls.__dict__["build"], "_builds_once"):
            cls.build = _build_once(cls.__dict__["build"])

    def __init__(self, *, activity_regularizer=None, trainable=True, dtype=None, autocast=True, name=None, **kwargs):
        kind = type(self).__name__
        self.name = auto_name(to_snake_case(kind)) if name is None else check_name(name, kind)
        self.activity_regularizer = regularizers_module.get(activity_regularizer)
        self._trainable = bool(trainable)
        self.dtype_policy = get_policy(dtype)
        self._autocast = bool(autocast)
        self._batch_shape = self._take_input_shape(kwargs)
        if kwargs:
            raise ValueError(f"[{kind}] unrecognized arguments{_did_you_mean(type(self), kwargs)}. Received: {kwargs}")
        self._initialized = True

    def _take_input_shape(self, kwargs):
        """Removes the input shape arguments from `kwargs`; the shape with its batch, or None."""
        shape = kwargs.pop("input_shape", None)
        dim = kwargs.pop("input_dim", None)
        batch_shape = kwargs.pop("batch_input_shape", None)
        batch_size = kwargs.pop("batch_size", None)
        if batch_shape is not None:
            return standardize_shape(batch_shape, self.name, allow_none=True)
        if shape is None and dim is not None:
            shape = (dim,)
        if shape is None:
            return None
        if hasattr(shape, "__index__") and not isinstance(shape, bool):
            shape = (shape,)
        return standardize_shape((batch_size, *shape), self.name, allow_none=True)

    # ---- attributes and state ----------------------------------------------------------------------

    def __setattr__(self, name, value):
        if type(value) in _PLAIN or name in ("_inbound_nodes", "_outbound_nodes", "_build_shapes", "_batch_shape"):
            object.__setattr__(self, name, value)
            return
        if name[:2] == "__" or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
            return
        object.__setattr__(self, name, wrap(value, self))

    def __delattr__(self, name):
        unwrap(getattr(self, name), self)
        object.__delattr__(self, name)

    def _group_of(self, value):
        """The list in which `value` is kept, or None if it is not part of the state."""
        if isinstance(value, Variable):
            return self._trainable_variables if value.trainable else self._non_trainable_variables
        if isinstance(value, Layer):
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
        if self._locked and group is not self._metrics:
            raise ValueError(
                f"[{self.name}] variables and layers must be made in __init__() or build(); "
                f"this layer is built. Received: {value!r}")
        group.append(value)

    def _untrack(self, value):
        for group in (self._trainable_variables, self._non_trainable_variables, self._layers, self._metrics,
                      self._seed_generators):
            group[:] = [x for x in group if x is not value]

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
            aggregation, overwrite_with_gradient: accepted as Keras does; without effect on one machine.
            name: string; the last part of the variable's path.

        Returns:
            The Variable.

        Raises:
            TypeError, ValueError: the shape is not one.
            MemoryError: it is too large.
        """
        shape = standardize_shape(() if shape is None else shape, f"{self.name}.add_weight")
        dtype = self.variable_dtype if dtype is None else dtype
        if initializer is None:
            initializer = "glorot_uniform" if str(dtype) in _FLOATS else "zeros"
        inferring = _core.set_inferring(False)
        try:
            with name_scope(self.name, caller=self):
                variable = Variable(initializers.get(initializer), shape=shape, dtype=dtype, trainable=trainable,
                                    name=name or "variable")
                variable.path = f"{current_path()}/{variable.name}"
        finally:
            _core.set_inferring(inferring)
        variable.regularizer = regularizers_module.get(regularizer)
        variable.constraint = constraints_module.get(constraint)
        self._track(variable)
        if not self._trainable:
            variable.trainable = False
        return variable

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

    def _flatten_layers(self, include_self=True):
        """This layer and all below it, each once, parents first."""
        found, seen, stack = [], set(), [self]
        while stack:
            layer = stack.pop()
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if include_self or layer is not self:
                found.append(layer)
            stack.extend(reversed(layer._layers))
        return found

    def _collect(self, own):
        """`own(layer)` of this layer and all below it, in order, each object once."""
        found, seen = [], set()
        for layer in self._flatten_layers():
            for x in own(layer):
                if id(x) not in seen:
                    seen.add(id(x))
                    found.append(x)
        return found

    @property
    def variables(self):
        """All variables, states of seed generators included, without those of metrics."""
        return self._collect(lambda layer: [
            *layer._trainable_variables, *layer._non_trainable_variables, *(g.state for g in layer._seed_generators)])

    @property
    def weights(self):
        """All variables, without states of seed generators and metrics."""
        return self._collect(lambda layer: [*layer._trainable_variables, *layer._non_trainable_variables])

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

    # ---- dtypes and specs --------------------------------------------------------------------------

    @property
    def compute_dtype(self):
        """dtype name of computations and results."""
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self):
        """dtype name of variables."""
        return self.dtype_policy.variable_dtype

    @property
    def dtype(self):
        """dtype name of variables."""
        return self.dtype_policy.variable_dtype

    @property
    def input_dtype(self):
        """dtype name that floating inputs are cast to."""
        return self.dtype_policy.compute_dtype

    @property
    def input_spec(self):
        """InputSpec of the input, a structure of them for several inputs, or None."""
        return self._input_spec

    @input_spec.setter
    def input_spec(self, value):
        for spec in tree.flatten(value):
            if spec is not None and not isinstance(spec, InputSpec):
                raise TypeError(f"[{self.name}] input_spec must hold InputSpec objects. Received: {spec!r}")
        object.__setattr__(self, "_input_spec", value)

    @property
    def path(self):
        """The names from the outermost layer to this one, joined by `/`."""
        return self._path if self._path is not None else self.name


    # ---- build -------------------------------------------------------------------------------------

    def build(self, input_shape=None):
        """Makes the variables; called once, before the first call.

        Args:
            input_shape: shape tuple (or structure of them) of the first argument of `call`. With several
                arguments, name them like those of `call`, with `_shape` behind.
        """
        if any(not layer.built for layer in self._layers):
            warnings.warn(f"[{self.name}] has sublayers that are not built and no build() of its own: call the "
                          "layer once, so that they make their variables", stacklevel=2)

    def build_from_config(self, config):
        """Builds from what `get_build_config` returned."""
        shapes = config.get("shapes_dict")
        if shapes:
            self.build(**{name: _as_shapes(value) for name, value in shapes.items()})
        elif config.get("input_shape") is not None:
            self.build(_as_shapes(config["input_shape"]))

    def get_build_config(self):
        """Returns the shapes that the layer was built with as a dict, or None."""
        shapes = self._build_shapes
        if not shapes:
            return None
        if len(shapes) == 1:
            return {"input_shape": next(iter(shapes.values()))}
        return {"shapes_dict": dict(shapes)}

    def _build_for_call(self, args, kwargs, symbolic):
        """Builds the layer for the arguments of a call."""
        tensors = tensor_arguments(call_signature(self).bind(args, kwargs))
        if type(self).build is not Layer.build:
            self.build(**shape_arguments(self.build, tensors, self.name))
            return
        if any(not layer.built for layer in self._layers):
            if not symbolic:
                return  # the call that follows builds the sublayers
            with name_scope(self.name, caller=self):
                infer(self.call, args, kwargs)
        self.build(next((shapes_of(x) for x in tensors.values()), None))

    # ---- call --------------------------------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        """Casts and checks the arguments, builds the layer if needed, and runs `call`.

        Args:
            args: tensors, arrays or symbolic tensors, or structures of them.
            kwargs: further arguments of `call`. `training` is that of the enclosing call if not given,
                then the default of `call`. Masks come from the inputs if not given.

        Returns:
            What `call` returns; symbolic tensors if an argument is symbolic.

        Raises:
            ValueError, TypeError: the arguments do not agree with the layer.
        """
        if not self._initialized:
            raise RuntimeError(f"[{type(self).__name__}] super().__init__() must be called in __init__()")
        symbolic = False
        if len(args) == 1 and not kwargs and type(args[0]) is Tensor:
            first = args[0]
            if first.dtype != self.compute_dtype and self._autocast and first.dtype in _FLOATS:
                args = (self._convert(first),)
                first = args[0]
        else:
            args, kwargs, symbolic = self._convert_arguments(args, kwargs)
            first = args[0] if args else next(iter(kwargs.values()), None)
        if self._input_spec is not None:
            check_input(self._input_spec, first, self)
        if not self.built:
            self._build_for_call(args, kwargs, symbolic)
            if self._input_spec is not None:
                check_input(self._input_spec, first, self)

        signature = call_signature(self)
        outer_entry, outer_training = context.entry, context.training
        if outer_entry is None:
            context.entry = self
            self._entry_generation = next_generation()
        node_kwargs = kwargs
        training = kwargs.get("training")
        if training is None:
            training = outer_training if outer_training is not None else signature.training_default
        try:
            context.training = training
            kwargs = dict(kwargs)
            if signature.has_training:
                if training is not None:
                    kwargs["training"] = training
            elif not signature.varkw:
                kwargs.pop("training", None)
            mask = _mask_of(first)
            if signature.masks:
                mask = self._add_masks(signature, args, kwargs, mask)
            with name_scope(self.name, caller=self):
                if symbolic:
                    outputs = symbolic_outputs(self, args, kwargs)
                else:
                    outputs = self.call(*args, **kwargs)
                    if self.activity_regularizer is not None:
                        self._regularize(outputs)
            self.built = True
            if self.supports_masking:
                self._set_masks(first, outputs, mask)
            elif mask is not None and not self._quiet_masks:
                warnings.warn(
                    f"[{self.name}] does not support masking: the mask of its input ends here", stacklevel=2)
        finally:
            context.training = outer_training
            if outer_entry is None:
                context.entry = None
        if symbolic:
            Node(self, args, node_kwargs, outputs)
        return outputs

    def call(self, *args, **kwargs):
        """The computation of the layer; subclasses write it."""
        raise NotImplementedError(f"[{type(self).__name__}] has no call() method")

    def _convert(self, x):
        """One argument as a tensor; floats in the compute dtype."""
        if not isinstance(x, (Tensor, KerasTensor)):
            if isinstance(x, Variable) or not hasattr(x, "__array__"):
                return x
            x = as_tensor(x)
        if self._autocast and x.dtype in _FLOATS and x.dtype != self.compute_dtype and self.compute_dtype in _FLOATS:
            mask = getattr(x, "_keras_mask", None)
            x = ops.cast(x, self.compute_dtype)
            if mask is not None:
                x._keras_mask = mask
        return x

    def _convert_arguments(self, args, kwargs):
        """All arguments converted, and whether one of them is symbolic."""
        args = tuple(tree.map_structure(self._convert, x) for x in args)
        kwargs = {name: tree.map_structure(self._convert, x) if name != "training" else x for name, x in kwargs.items()}
        leaves = tree.flatten(args)
        if not self._allow_non_tensor_positional_args:
            for x in leaves:
                if x is not None and not isinstance(x, (Tensor, KerasTensor, Variable)):
                    raise ValueError(
                        f"[{self.name}] only tensors may be passed by position; pass other arguments by keyword. "
                        f"Received: {x!r} (of type {type(x).__name__})")
        symbolic = any(isinstance(x, KerasTensor) for x in leaves + tree.flatten(list(kwargs.values())))
        return args, kwargs, symbolic

    def _add_masks(self, signature, args, kwargs, mask):
        """Fills the mask arguments that the caller left out; returns the mask of the first argument."""
        if kwargs.get("mask") is not None:
            return kwargs["mask"]
        if "mask" in signature.masks and len(args) <= signature.index("mask"):
            if mask is not None:
                kwargs["mask"] = mask
        if len(signature.masks) > 1 or "mask" not in signature.masks:
            for name, x in tensor_arguments(signature.bind(args, kwargs)).items():
                if f"{name}_mask" in signature.masks and kwargs.get(f"{name}_mask") is None:
                    found = _mask_of(x)
                    if found is not None:
                        kwargs[f"{name}_mask"] = found
        return mask

    def _set_masks(self, inputs, outputs, mask):
        """Attaches `compute_mask(inputs, mask)` to the outputs that have no mask yet."""
        if mask is None and type(self).compute_mask is Layer.compute_mask:
            return
        flat = [outputs] if type(outputs) is Tensor else tree.flatten(outputs)
        if all(getattr(x, "_keras_mask", None) is not None for x in flat):
            return
        masks = self.compute_mask(inputs, mask)
        if masks is None:
            return
        for x, m in zip(flat, tree.flatten(masks)):
            if m is not None and getattr(x, "_keras_mask", None) is None:
                x._keras_mask = m

    def compute_mask(self, inputs, previous_mask):
        """The mask of the outputs; by default that of the inputs.

        Args:
            inputs: first argument of `call`.
            previous_mask: its mask (bool tensor, or structure of them), or None.
        """
        return previous_mask

    def compute_output_shape(self, *args, **kwargs):
        """The shape of the output for `input_shape` (named as in `build`); found by a trial run if not overridden."""
        return output_shape_by_trial(self, args, kwargs)

    compute_output_shape.by_trial = True

    def compute_output_spec(self, *args, **kwargs):
        """Symbolic tensors with the shape and dtype of the outputs of a call."""
        return symbolic_outputs(self, args, kwargs)

    def symbolic_call(self, *args, **kwargs):
        """The outputs of a call on symbolic tensors, without a node in the graph."""
        return symbolic_outputs(self, args, kwargs)

    # ---- losses ------------------------------------------------------------------------------------

    def add_loss(self, loss):
        """Adds scalar tensors to `losses`, until the next outermost call; to be used in `call`.

        Args:
            loss: scalar tensor, or a structure of them.

        Raises:
            ValueError: it is not a tensor.
        """
        current = context.entry._entry_generation if context.entry is not None else self._losses_generation
        if self._losses_generation != current:
            self._losses, self._losses_generation = [], current
        for x in tree.flatten(loss):
            if not isinstance(x, (Tensor, KerasTensor)):
                raise ValueError(f"[{self.name}.add_loss] loss must be a tensor. Received: loss={x!r}")
            if isinstance(x, Tensor) and x.device != "meta":
                self._losses.append(x)

    def _regularize(self, outputs):
        for y in tree.flatten(outputs):
            if isinstance(y, Tensor):
                loss = self.activity_regularizer(y)
                # A mean over the batch, so that the strength does not depend on the batch size.
                self.add_loss(loss / max(1, y.shape[0]) if y.ndim else loss)

    @property
    def losses(self):
        """Scalars of `add_loss` and activity regularizers in the last call, then those of weight regularizers."""
        losses = [x for layer in self._flatten_layers() if layer._losses_generation >= self._entry_generation
                  for x in layer._losses]
        return losses + [v.regularizer(v) for v in self.trainable_weights if getattr(v, "regularizer", None)]

    def _clear_losses(self):
        for layer in self._flatten_layers():
            layer._losses = []

    # ---- graph and configuration -------------------------------------------------------------------

    def get_config(self):
        """Returns the arguments that make an equal layer, as a dict that JSON can hold.

        A subclass whose constructor takes more overrides this, unless they are plain values or
        objects of this library.
        """
        config = {"name": self.name, "trainable": self.trainable, "dtype": serialize_policy(self.dtype_policy)}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers_module.serialize(self.activity_regularizer)
        if getattr(type(self).get_config, "by_constructor", False) and type(self).__init__ is not Layer.__init__:
            # What the constructor does not take cannot be given to it again.
            signature = signature_of(type(self).__init__)
            config = {name: value for name, value in config.items() if signature.varkw or name in signature.parameters}
            config.update(constructor_config(self))
        return config

    get_config.by_constructor = True

    @classmethod
    def from_config(cls, config):
        """Makes a layer from what `get_config` returned."""
        return layer_from_config(cls, config)

    def save_own_variables(self, store):
        """Puts the layer's own variables into the mapping `store`, under "0", "1", ..."""
        for index, variable in enumerate([*self._trainable_variables, *self._non_trainable_variables]):
            store[str(index)] = variable

    def load_own_variables(self, store):
        """Sets the layer's own variables from the mapping `store`.

        Raises:
            ValueError: the count differs.
        """
        own = [*self._trainable_variables, *self._non_trainable_variables]
        if len(store) != len(own):
            raise ValueError(f"[{self.name}] expects {len(own)} variables: {[v.name for v in own]}. Received: {len(store)}")
        for index, variable in enumerate(own):
            variable.assign(store[str(index)])

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _mask_of(x):
    """The mask attached to a tensor; for a structure, the structure of masks, or None if there is none."""
    if isinstance(x, (list, tuple, dict)):
        masks = tree.map_structure(lambda leaf: getattr(leaf, "_keras_mask", None), x)
        return masks if any(m is not None for m in tree.flatten(masks)) else None
    return getattr(x, "_keras_mask", None)


def _as_shapes(value):
    """Shapes read from JSON, where tuples became lists."""
    return tree.map_shape_structure(lambda shape: tuple(shape) if isinstance(shape, (list, tuple)) else shape, value)


def _did_you_mean(cls, kwargs):
    """A hint for misspelt arguments of the constructors of `cls`."""
    known = {name for base in cls.__mro__ if "__init__" in vars(base) for name in signature_of(base.__init__).parameters}
    pairs = [(name, near[0]) for name in kwargs if (near := difflib.get_close_matches(name, known, 1, 0.6))]
    return "".join(f"; did you mean `{near}` for `{name}`?" for name, near in pairs)
