"""Model: a layer that can be trained, saved and summarised."""
import json

import numpy as np

from .. import _core, scopes, tree
from ..layers.calling import context
from ..layers.layer import Layer
from ..layers.layer_state import LayerState
from ..strings import Strings, are_strings
from ..symbolic import KerasTensor, infer
from ..tensor import Tensor, as_tensor
from ..trainer import Trainer
from ..utils.warning import warn

_LIBRARY = __name__.partition(".")[0] + "."
_INFERENCE = {"training": False}


def _strings(x):
    """An argument of a call with its arrays of strings as Strings."""
    if type(x) is np.ndarray:
        return Strings(x) if are_strings(x) else x
    if type(x) in (list, tuple) and any(map(are_strings, x)):
        return type(x)(map(_strings, x))
    if type(x) is dict and any(map(are_strings, x.values())):
        return {key: _strings(value) for key, value in x.items()}
    return x


def _is_ours(x):
    """Whether a class or callable is this library's: its calls depend on nothing that nobody can see."""
    return (getattr(x, "__module__", None) or "").startswith(_LIBRARY)


class Model(Trainer, Layer):
    """A network with training loops.

    `Model(inputs, outputs)` makes a functional model of the layers and ops between symbolic tensors.
    A subclass writes `__init__` and `call(inputs, training=None)` instead.

    Args:
        inputs: KerasTensor of `Input`, or a list, tuple or dict of them, nested as you like.
        outputs: KerasTensors computed from them, in any such structure.
        trainable: bool.
        dtype: dtype name or DTypePolicy.
        name: string.

    Raises:
        ValueError: inputs or outputs are not symbolic tensors, or the outputs depend on others.
    """

    def __new__(cls, *args, **kwargs):
        from .functional import Functional

        if cls is Model and (args or "inputs" in kwargs or "outputs" in kwargs):
            return Layer.__new__(Functional, *args, **kwargs)
        return Layer.__new__(cls, *args, **kwargs)

    def __init__(self, *args, **kwargs):
        from .functional import Functional, functional_class

        if not isinstance(self, Functional) and _is_functional_call(args, kwargs):
            # A subclass that calls super().__init__(inputs, outputs) is functional from here on.
            self.__class__ = functional_class(type(self))
            Functional.__init__(self, *args, **kwargs)
            return
        Layer.__init__(self, *args, **kwargs)
        Trainer.__init__(self)

    def __call__(self, *args, **kwargs):
        """The outputs for inputs; see `Layer.__call__`. The inference of a model that is made of this
        library's layers alone is recorded and replayed, as `predict` is."""
        if scopes.in_use and context.state.entry is None:
            name = scopes.device_of(self)
            if name not in (None, "meta", _core.current_device()):
                with scopes.device(name):
                    return self(*args, **kwargs)
        args = tuple([x if type(x) is Tensor else _strings(x) for x in args])
        if (not kwargs or kwargs == _INFERENCE) and len(args) == 1 and self._replays():
            x = args[0]
            if type(x) is np.ndarray:
                x = as_tensor(x)
            elif type(x) in (list, tuple, dict):
                x = tree.map_structure(lambda leaf: as_tensor(leaf) if type(leaf) is np.ndarray else leaf, x)
            elif type(x) is not Tensor:
                return Layer.__call__(self, *args, **kwargs)
            return self._replay("inference", self._infer, x) if kwargs else self._replay("call", self._call_eagerly, x)
        return Layer.__call__(self, *args, **kwargs)

    def _call_eagerly(self, x):
        return Layer.__call__(self, x)

    def _infer(self, x):
        return Layer.__call__(self, x, training=False)

    def _replays(self):
        """Whether a call is one that nobody can tell from its replay: inference, outermost, of known layers."""
        if not self.built or self.run_eagerly or context.state.entry is not None or _core.recording():
            return False
        known = self.__dict__.get("_only_ours")
        if known is None or known[0] != LayerState._changes:
            ours = all(_is_ours(type(layer)) and type(layer).__name__ != "Lambda" and layer.activity_regularizer is None
                       and all(_is_ours(v) for v in vars(layer).values() if callable(v)) for layer in self._flatten_layers())
            known = self.__dict__["_only_ours"] = (LayerState._changes, ours)
        return known[1]

    def call(self, *args, **kwargs):
        """The computation of the model; subclasses write it."""
        raise NotImplementedError(
            f"[{type(self).__name__}] does not have a `call` method implemented, and was not made from inputs and outputs.")

    @property
    def layers(self):
        """The layers of the model, without those inside of them."""
        return list(self._layers)

    @layers.setter
    def layers(self, _):
        raise AttributeError(f"[{self.name}] `Model.layers` attribute is reserved. Use another name")

    def get_layer(self, name=None, index=None):
        """Returns a layer by its name or its index in `layers`.

        Raises:
            ValueError: neither or both are given, or there is no such layer.
        """
        if (name is None) == (index is None):
            raise ValueError(f"[get_layer] needs a name or an index. Received: name={name!r}, index={index}")
        layers = self.layers
        if index is not None:
            if isinstance(index, bool) or not hasattr(index, "__index__") or not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"[get_layer] index must be an integer below the number of layers, {len(layers)}. "
                    f"Received: index={index!r}")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"[get_layer] there is no layer of that name. Received: name={name!r}; "
            f"layers: {[layer.name for layer in layers]}")

    def build(self, input_shape=None):
        """Makes the variables by a trial run of `call` on symbolic tensors.

        Args:
            input_shape: shape tuple with the batch size (None if unknown), or a structure of them.

        Raises:
            ValueError: `call` needs more than its first argument.
        """
        if input_shape is None:
            raise ValueError(f"[{self.name}.build] input_shape must be a shape. Received: input_shape=None")
        infer(self.call, [tree.map_shape_structure(lambda s: KerasTensor(s), input_shape)], {})

    build.by_call = True

    def summary(self, line_length=None, positions=None, print_fn=None, expand_nested=False, show_trainable=False,
                layer_range=None, details=False):
        """Prints a table of the layers, their output shapes and parameter counts.

        Args:
            line_length: characters in a line; that of the terminal by default, 80 in a pipe.
            positions: relative or absolute ends of the columns.
            print_fn: function that gets the text; prints by default.
            expand_nested: bool; show the layers of nested models.
            show_trainable: bool; a column that tells which layers are trained.
            layer_range: [first, last] layer names, or patterns of them.
            details: bool; a line for each step that is replayed, with its calls and memory.

        Raises:
            ValueError: the model is not built, or `layer_range` matches nothing.
        """
        from ..utils.summary import print_summary

        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range, details)

    @scopes.on_own_device
    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """Writes the model to a `.keras` file, at once or not at all; see `saving.save_model`."""
        from ..saving.model_files import save_model

        save_model(self, filepath, overwrite, zipped, **kwargs)

    @scopes.on_own_device
    def save_weights(self, filepath, overwrite=True, max_shard_size=None, **kwargs):
        """Writes the weights to a file, at once or not at all.

        Args:
            filepath: path that ends with `.weights.h5`, as Keras writes it, with the state of the optimizer; or
                with `.safetensors`, without it.
            overwrite: False raises FileExistsError if the file exists.
            max_shard_size: GB; write several files of at most that size beside filepath, which then ends with
                `.weights.json` and names them.
            objects_to_skip: list of layers that are left out of a `.weights.h5` file.

        Raises:
            ValueError: another ending, or the model is not built.
            OSError: it cannot be written; an older file is unchanged.
        """
        from ..saving.model_files import save_weights

        save_weights(self, filepath, overwrite, max_shard_size, **kwargs)

    @scopes.on_own_device
    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Reads weights from a file of this library or of Keras.

        Args:
            filepath: path that ends with `.weights.h5`, `.safetensors`, `.keras`, or `.h5` of Keras 2.
            skip_mismatch: leave variables alone that are missing in the file or differ in shape or dtype.
            by_name: bool; in a file of Keras 2, match layers by name instead of by order.

        Returns:
            `saving.WeightsReport`: names of what was loaded, missing, unexpected and mismatched.

        Raises:
            ValueError: variables are missing, or shapes or dtypes differ; then no variable has changed.
        """
        from ..saving.model_files import load_weights

        return load_weights(self, filepath, skip_mismatch, **kwargs)

    @scopes.on_own_device
    def quantize(self, mode=None, config=None, filters=None, type_check=True, **kwargs):
        """Quantizes the layers that can be: Dense, EinsumDense, Embedding and ReversibleEmbedding.

        Args:
            mode: "int8", "int4", "float8", "gptq" or "awq"; None, that of config.
            config: QuantizationConfig of `fastnn.quantizers`. GPTQ and AWQ need one: with its data set, they quantize
                the Dense and EinsumDense layers inside of the blocks that its `quantization_layer_structure` names, or
                else `get_quantization_layer_structure`.
            filters: regular expression, or a list of them, for names of layers, or a function of the layer: only these
                layers are quantized.
            type_check: bool; leave subclasses alone.

        Raises:
            ValueError: the model is not built, or an argument is wrong.
        """
        if kwargs:
            raise ValueError(f"[{type(self).__name__}.quantize] Unrecognized keyword arguments. Received: {kwargs}")
        if filters is not None and not isinstance(filters, (str, list, tuple)) and not callable(filters):
            raise ValueError("[quantize] The `filters` argument must be a regex string, a list of regex strings, or a "
                             f"callable. Received: {type(filters)}")
        from ..quantizers.configs import validate_and_resolve_config
        from ..quantizers.filters import should_quantize_layer

        resolved = validate_and_resolve_config(mode, config)
        if resolved.mode in ("gptq", "awq"):
            self._calibrate(resolved, filters, type_check)
        else:
            for layer in self._flatten_layers():
                if layer._layers or not should_quantize_layer(layer, filters):
                    continue
                try:
                    layer.quantize(mode, config=config, type_check=type_check)
                except NotImplementedError as error:
                    warn(str(error))
        self.train_function = self.test_function = self.predict_function = None
        LayerState._structure_changed()

    def _calibrate(self, config, filters, type_check):
        from ..quantizers import awq, calibration, gptq

        structure = config.quantization_layer_structure
        if structure is None:
            structure = self.get_quantization_layer_structure(config.mode)
        if structure is None:
            raise ValueError(
                f"[quantize] For mode={config.mode!r}, a valid quantization structure must be provided either via "
                "`config.quantization_layer_structure` or by overriding `model.get_quantization_layer_structure(mode)`. The "
                "structure should be a dictionary with keys 'pre_block_layers' and 'sequential_blocks'.")
        kind = {"gptq": gptq.GPTQ, "awq": awq.AWQ}[config.mode]
        calibration.calibrate(kind, config, structure, filters, type_check)

    def get_quantization_layer_structure(self, mode=None):
        """Tells `quantize` through which layers a sample goes; a model that can be calibrated overrides it.

        Args:
            mode: "gptq" or "awq".

        Returns:
            Dict of "pre_block_layers", a list of layers, such as an embedding, that come before the first block, and
            "sequential_blocks", a list of layers; or None, here.
        """
        return None

    @scopes.on_own_device
    def get_state_tree(self, value_format="backend_tensor"):
        """The values of all variables, as nested dicts by group and the parts of their paths.

        Args:
            value_format: "backend_tensor" for Tensors, "numpy_array" for NumPy arrays.

        Returns:
            Dict with trainable_variables, non_trainable_variables, optimizer_variables (if compiled) and
            metrics_variables.

        Raises:
            ValueError: two variables share a path.
        """
        from .state_tree import get_state_tree

        return get_state_tree(self, value_format)

    @scopes.on_own_device
    def set_state_tree(self, state_tree):
        """Sets the variables named in what `get_state_tree` returned.

        Raises:
            ValueError: a path or shape does not fit; then nothing is changed.
        """
        from .state_tree import set_state_tree

        set_state_tree(self, state_tree)

    def to_json(self, **kwargs):
        """The architecture as a JSON string, for `model_from_json`; `kwargs` go to `json.dumps`."""
        from ..saving import serialize_keras_object

        return json.dumps(serialize_keras_object(self), **kwargs)

    def __reduce__(self):
        function, parts = Layer.__reduce__(self)
        return function, (*parts, self.get_compile_config())

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a model from what `get_config` returned.

        Args:
            config: dict; also one of Keras 2.
            custom_objects: dict from name to class or function, for what is not of this library.
        """
        from ..saving import custom_object_scope
        from ..saving.serialization import migrated, sound_config
        from .functional import Functional, from_functional_config

        with custom_object_scope(custom_objects or {}), sound_config("from_config"):
            keys = ("layers", "input_layers", "output_layers")
            if all(key in config for key in keys):
                return from_functional_config(Functional if cls is Model else cls, migrated("Functional", config))
            return super().from_config(config)


def _is_functional_call(args, kwargs):
    if "inputs" in kwargs or "outputs" in kwargs:
        return True
    return len(args) >= 2


def model_from_json(json_string, custom_objects=None):
    """Makes a model from the string that `Model.to_json` returned; the weights are new.

    Args:
        json_string: string; also one of Keras 2.
        custom_objects: dict from name to class or function, for what is not of this library.

    Raises:
        ValueError: it names an unknown class, or is not the config of a model.
        TypeError: a layer does not take an argument that it has for it.
    """
    from ..saving.serialization import deserialize_keras_object, sound_config

    with sound_config("model_from_json"):
        config = json.loads(json_string)
        if isinstance(config, dict) and "module" not in config:
            from ..saving.legacy import migrate

            config = migrate(config)
        return deserialize_keras_object(config, custom_objects=custom_objects)
