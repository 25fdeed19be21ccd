"""Layer: variables, a state that is built on the first call, and the call itself.

A subclass writes `__init__`, `build(input_shape)`, `call(inputs)` and `get_config`; everything
that happens around `call` (casts, checks, masks, the training flag, losses, the graph of symbolic
calls) is here.
"""
import difflib
import functools

import numpy as np

from .. import _core, labels, ops, tree
from .. import regularizers as regularizers_module
from ..dtype_policies import DTypePolicyMap
from ..dtype_policies import get as get_policy
from ..dtype_policies import serialize as serialize_policy
from ..strings import Strings
from ..stateless import collect
from ..symbolic import KerasTensor, infer, owned
from ..tensor import AutocastScope, Tensor, Variable, as_tensor, standardize_shape
from ..utils.naming import auto_name, check_name, current_path, name_scope, to_snake_case
from ..utils.warning import warn
from .calling import context, next_generation, shape_arguments, shapes_of, signature_of, tensor_arguments
from .configs import constructor_config, layer_from_config, pickled_class, restore_layer
from .context_arguments import ContextArguments
from .input_spec import InputSpec, check_input
from .layer_state import FLOATS, LayerState
from .operation import Node
from .quantization import Quantizable
from .symbolic_call import output_shape_by_trial, symbolic_outputs
from .tf_graph import call_in_graph, in_graph

_LIBRARY = __name__.rpartition(".")[0] + "."
_PACKAGE = __name__.partition(".")[0] + "."
_ONLY_TRAINING = {"training": None}.keys()
_DIRECT = frozenset((Tensor, np.ndarray))


def _build_once(build):
    """`build` in the name scope of the layer; the outermost of a chain of `super().build` marks it built."""

    @functools.wraps(build)
    def wrapper(self, *args, **kwargs):
        if self._building:
            return build(self, *args, **kwargs)
        object.__setattr__(self, "_building", True)
        object.__setattr__(self, "_locked", False)
        inferring = _core.set_inferring(False)  # initial values are computed, also inside a trial run
        groups = self._trainable_variables, self._non_trainable_variables, self._layers, self._seed_generators
        before = [list(group) for group in groups]
        try:
            with name_scope(self.name, caller=self):
                self._path = current_path()
                if self._policy_map is not None:
                    self.dtype_policy = self._policy_map
                build(self, *args, **kwargs)
        except Exception:
            for group, old in zip(groups, before):  # a failed build leaves nothing behind
                group[:] = old
            self._structure_changed()
            raise
        finally:
            object.__setattr__(self, "_building", False)
            _core.set_inferring(inferring)
        self._set_built(signature_of(build).bind(args, kwargs))

    wrapper._builds_once = True
    return wrapper


class Layer(ContextArguments, Quantizable, LayerState):
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
    _takes_strings = False
    _quiet_masks = False

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls, *args, **kwargs)
        put = object.__setattr__
        put(self, "_signature", signature_of(cls.call))
        put(self, "_settled", False)  # the variables of all sublayers exist
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
        if not isinstance(trainable, bool):
            raise ValueError(f"[{kind}] Expected `trainable` to be a boolean. Received: trainable={trainable!r}")
        self._trainable = trainable
        self.dtype_policy = dtype
        self.autocast = bool(autocast)
        self._batch_shape = self._take_input_shape(kwargs)
        if kwargs:
            raise ValueError(f"[{kind}] unrecognized arguments{_did_you_mean(type(self), kwargs)}. Received: {kwargs}")
        self._initialized = True
        if context.remat is not None:
            context.remat.apply(self)
        # The layers of this library that have no build() of their own have nothing to build.
        if type(self).__module__.startswith(_LIBRARY):
            self._build_at_init()

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

    # ---- dtypes and specs --------------------------------------------------------------------------

    @property
    def dtype_policy(self):
        """DTypePolicy: dtypes of computation and variables; may be set from a name."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value):
        policy = get_policy(value)
        if policy.quantization_mode is not None and self.built and not self._is_quantized:
            if policy.quantization_mode in ("gptq", "awq"):
                name = policy.quantization_mode.upper()
                raise ValueError(
                    f"[{self.name}] Implicitly enabling {name} quantization by setting `dtype_policy` is not supported: it "
                    f"needs data for its calibration. Call quantize(config={name}Config(...)). Received: {value!r}")
            self.quantize(policy.quantization_mode)
            return
        self._policy_map = None
        if isinstance(policy, DTypePolicyMap):  # which policy it is depends on the path, see `build`
            self.__dict__["_policy_map"] = policy
            policy = policy[self.path]
        self._dtype_policy = policy
        self._compute_dtype = policy.compute_dtype
        # The layers of this library cast their variables themselves, where that does no harm.
        self._own_casts = (policy.compute_dtype != policy.variable_dtype
                           and not type(self).__module__.startswith(_PACKAGE))

    @property
    def compute_dtype(self):
        """dtype name of computations and results."""
        return self._compute_dtype

    @property
    def variable_dtype(self):
        """dtype name of variables."""
        return self._dtype_policy.variable_dtype

    @property
    def dtype(self):
        """dtype name of variables."""
        return self._dtype_policy.variable_dtype

    @property
    def input_dtype(self):
        """dtype name that floating inputs are cast to."""
        return self._compute_dtype

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
            warn(f"[{self.name}] has sublayers that are not built and no build() of its own: call the "
                 "layer once, so that they make their variables")

    build.by_call = True  # the variables are those of sublayers, which are made when they are called

    def _set_built(self, shapes):
        self._build_shapes = shapes
        self.built = True
        self._locked = True

    def _build_at_init(self):
        """Marks a layer that has nothing to build as built; for the end of `__init__`."""
        if getattr(type(self).build, "by_call", False):
            self.built = True

    def build_from_config(self, config):
        """Builds from what `get_build_config` returned."""
        shapes = config.get("shapes_dict")
        if shapes is not None:
            self.build(**{name: _as_shapes(value) for name, value in shapes.items()})
        elif config.get("input_shape") is not None:
            self.build(_as_shapes(config["input_shape"]))

    def get_build_config(self):
        """Returns the shapes that the layer was built with as a dict, or None."""
        shapes = self._build_shapes
        if shapes is None:
            return None
        if len(shapes) == 1:
            return {"input_shape": next(iter(shapes.values()))}
        return {"shapes_dict": dict(shapes)}

    def _build_for_call(self, args, kwargs, symbolic):
        """Builds the layer for the arguments of a call."""
        tensors = tensor_arguments(self._signature.bind(args, kwargs))
        if not getattr(type(self).build, "by_call", False):
            self.build(**shape_arguments(self.build, tensors, self.name))
            return
        if any(not layer.built for layer in self._layers):
            with name_scope(self.name, caller=self):
                self._path = current_path()
                if symbolic:  # otherwise the call that follows makes them
                    infer(self.call, args, kwargs)
        shapes = {f"{name}_shape": shapes_of(x) for name, x in tensors.items()}
        self._set_built({"input_shape": next(iter(shapes.values()))} if len(shapes) == 1 else shapes)

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
        if self._context_names and not self._in_context:
            return self._call_in_context(args, kwargs)
        symbolic = False
        if len(args) == 1 and type(args[0]) in _DIRECT and (not kwargs or kwargs.keys() == _ONLY_TRAINING):
            # The usual call, without a walk through structures.
            first = args[0]
            if type(first) is not Tensor:
                first = as_tensor(first)
                args = (first,)
            if first.dtype != self._compute_dtype and self.autocast:
                first = self._convert(first)
                args = (first,)
        else:
            if in_graph(args, kwargs):
                return call_in_graph(self, args, kwargs)
            args, kwargs, symbolic = self._convert_arguments(args, kwargs)
            first = args[0] if args else next(iter(kwargs.values()), None)
        if self._input_spec is not None:
            check_input(self._input_spec, first, self)
        if not self.built:
            self._build_for_call(args, kwargs, symbolic)
            if self._input_spec is not None:
                check_input(self._input_spec, first, self)

        signature = self._signature
        node_kwargs = dict(kwargs) if symbolic else None
        state = context.state
        entry, outer_training = state.entry, state.training
        if entry is None:
            state.entry = self
            self.__dict__["_entry_generation"] = next_generation()
        training = kwargs.get("training")
        if training is None:
            training = outer_training if outer_training is not None else signature.training_default
        if signature.has_training:
            if training is not None:
                kwargs["training"] = training
        elif "training" in kwargs and not signature.varkw:
            del kwargs["training"]
        mask = getattr(first, "_keras_mask", None) if type(first) is Tensor else _mask_of(first)
        if signature.masks:
            mask = self._add_masks(signature, args, kwargs, mask)
        state.training = training
        try:
            if symbolic:
                with name_scope(self.name, caller=self):
                    outputs = self.compute_output_spec(*args, **kwargs)
            elif self._own_casts or AutocastScope._open:
                outputs = self._autocast_call(args, kwargs)
            elif self._settled and not labels.listeners:
                outputs = self.call(*args, **kwargs)
            else:
                with labels.named(self.name), name_scope(self.name, caller=self):
                    outputs = self.call(*args, **kwargs)
                self.built = True
                self.__dict__["_settled"] = all(layer.built for layer in self._layers)
            if entry is None and not symbolic:
                outputs = owned(outputs)  # a layer may hand on the array it was given
            if self.activity_regularizer is not None and not symbolic:
                self._regularize(outputs)
            if self.supports_masking:
                self._set_masks(first, outputs, mask)
            elif mask is not None and not self._quiet_masks:
                warn(
                    f"[{self.name}] does not support masking: the mask of its input ends here")
        except Exception as error:
            _note(error, self, args, kwargs)
            raise
        finally:
            state.training = outer_training
            if entry is None:
                state.entry = None
        if symbolic:
            Node(self, args, node_kwargs, outputs)
        return outputs

    def _autocast_call(self, args, kwargs):
        """`call` of a layer with a mixed policy: its variables are read in the compute dtype."""
        with labels.named(self.name), name_scope(self.name, caller=self), AutocastScope(
                self._compute_dtype if self._own_casts and self.autocast else None):
            outputs = self.call(*args, **kwargs)
        self.built = True
        return outputs

    def call(self, *args, **kwargs):
        """The computation of the layer; subclasses write it."""
        raise NotImplementedError(f"[{type(self).__name__}] does not have a `call` method implemented.")

    call.is_missing = True

    def _convert(self, x):
        """One argument as a tensor; floats in the compute dtype."""
        if not isinstance(x, (Tensor, KerasTensor)):
            if not hasattr(x, "__array__"):
                return x
            x = as_tensor(x)
        dtype = self._compute_dtype
        if self.autocast and x.dtype != dtype and x.dtype in FLOATS and dtype in FLOATS:
            mask = getattr(x, "_keras_mask", None)
            x = ops.cast(x, dtype)
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
                if x is not None and not isinstance(x, (Tensor, KerasTensor, Variable, Strings)):
                    raise ValueError(
                        f"[{self.name}] Only input tensors may be passed as positional arguments; pass others by keyword. "
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
        return self.compute_output_spec(*args, **kwargs)

    # ---- losses ------------------------------------------------------------------------------------

    def add_loss(self, loss):
        """Adds scalar tensors to `losses`, until the next outermost call; to be used in `call`.

        Args:
            loss: scalar tensor, or a structure of them.

        Raises:
            ValueError: it is not a tensor.
        """
        entry = context.state.entry
        current = entry._entry_generation if entry is not None else self._losses_generation
        if self._losses_generation != current:
            self._losses, self._losses_generation = [], current
        for x in tree.flatten(loss):
            if not isinstance(x, (Tensor, KerasTensor)):
                raise ValueError(f"[{self.name}.add_loss] loss must be a tensor. Received: loss={x!r}")
            if isinstance(x, Tensor) and x.device != "meta":
                self._losses.append(x)
                collect(x)

    def _regularize(self, outputs):
        for y in tree.flatten(outputs):
            if isinstance(y, Tensor):
                loss = self.activity_regularizer(y)
                # A mean over the batch, so that the strength does not depend on the batch size.
                self.add_loss(loss / max(1, y.shape[0]) if y.ndim else loss)

    @property
    def losses(self):
        """Scalars of `add_loss` and activity regularizers in the last call, then those of weight regularizers."""
        losses = [x for layer in self._flatten_layers() if layer._losses
                  and layer._losses_generation >= self._entry_generation for x in layer._losses]
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
        config = {"name": self.name, "trainable": self.trainable, "dtype": serialize_policy(
            self.dtype_policy if self._policy_map is None else self._policy_map)}
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

    def __reduce__(self):
        # Copies and pickles go through the config: a layer's locks and graph nodes cannot be copied.
        return restore_layer, (pickled_class(self), self.get_config(), self.get_build_config(), self.get_weights())

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _note(error, layer, args, kwargs):
    """Tells at the end of an error which layer was called on what; only once, for the innermost layer."""
    if hasattr(error, "add_note") and not getattr(error, "__notes__", None):
        bound = layer._signature.bind(args, kwargs)
        shapes = ", ".join(f"{name}={_brief(value)}" for name, value in bound.items())
        error.add_note(f"In the call of {layer.name!r} ({type(layer).__name__}) on {shapes}")


def _brief(x):
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(_brief(item) for item in x[:10]) + "]"
    return f"{x.dtype}{tuple(x.shape)}" if hasattr(x, "shape") and hasattr(x, "dtype") else repr(x)[:60]


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
