"""Lambda: a function as a layer."""
import base64
import inspect
import itertools
import marshal
import uuid
import weakref

from .. import tree
from ..saving.serialization import deserialize_keras_object, in_safe_mode, serialize_keras_object
from .layer import Layer

# Anonymous functions whose config was asked for: the config finds them again in this process. Code that
# comes from elsewhere is never run.
_known = weakref.WeakValueDictionary()
_process = uuid.uuid4().hex
_numbers = itertools.count(1)


class Lambda(Layer):
    """function(inputs, **arguments).

    Args:
        function: called with the inputs, and with `mask` and `training` where it has such parameters.
        output_shape: shape without the batch, or a function from the input's shape to the output's; found by a
            trial run by default.
        mask: the mask of the output, or a function of (inputs, mask).
        arguments: dict of further arguments of the function.

    Saving: a named function is saved by its name and must be registered (`saving.register_keras_serializable`) where
    it is loaded. The code of an anonymous one is written for Keras, and never run by fastnn: its config gives the
    layer back only in the process that made it, with safe_mode=False; saving such a model warns.
    """

    def __init__(self, function, output_shape=None, mask=None, arguments=None, **kwargs):
        if not callable(function):
            raise TypeError(f"[Lambda] function must be callable. Received: function={function!r}")
        super().__init__(**kwargs)
        self.function = function
        self.arguments = dict(arguments or {})
        self.supports_masking = mask is not None
        self.mask = mask
        self._output_shape = output_shape
        names = inspect.signature(function).parameters
        self._gives = [name for name in ("mask", "training") if name in names]

    @property
    def _is_anonymous(self):
        """Whether no name leads back to one of its functions."""
        return any(getattr(f, "__name__", "") == "<lambda>" for f in (self.function, self.mask, self._output_shape))

    def call(self, inputs, mask=None, training=None):
        given = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{name: given[name] for name in self._gives})

    def compute_mask(self, inputs, mask=None):
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def compute_output_shape(self, input_shape):
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        batch = tree.flatten(input_shape)[0]
        return tree.map_shape_structure(lambda shape: (batch, *shape), self._output_shape)

    def compute_output_spec(self, inputs, mask=None, training=None):
        from ..symbolic import infer

        if self._output_shape is None:
            kwargs = {"mask": mask} if mask is not None else {}
            return infer(self.call, (inputs,), {**kwargs, "training": training})
        return super().compute_output_spec(inputs)

    def get_config(self):
        config = {**super().get_config(), "function": _dump(self.function)}
        if self._output_shape is not None:
            config["output_shape"] = _dump(self._output_shape) if callable(self._output_shape) else self._output_shape
        if self.mask is not None:
            config["mask"] = _dump(self.mask) if callable(self.mask) else serialize_keras_object(self.mask)
        return {**config, "arguments": serialize_keras_object(self.arguments)}

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        config = dict(config)
        safe_mode = in_safe_mode() if safe_mode is None else safe_mode
        for name in ("function", "output_shape", "mask"):
            if name in config:
                value = _load(config[name], custom_objects, safe_mode is not False)
                config[name] = tuple(value) if name == "output_shape" and isinstance(value, list) and all(
                    n is None or isinstance(n, int) for n in value) else value
        if "arguments" in config:
            config["arguments"] = deserialize_keras_object(config["arguments"], custom_objects=custom_objects)
        return super().from_config(config)


def _dump(function):
    if getattr(function, "__name__", None) != "<lambda>":
        return serialize_keras_object(function)
    name = f"{_process}-{next(_numbers)}"
    _known[name] = function
    code = base64.b64encode(marshal.dumps(function.__code__)).decode("ascii")
    closure = [c.cell_contents for c in function.__closure__] if function.__closure__ else None
    plain = (str, int, float, bool, type(None))
    if any(not isinstance(v, plain) for v in (*(closure or ()), *(function.__defaults__ or ()))):
        closure = None  # Keras could not read it; here the function is found by its name
    defaults = list(function.__defaults__) if function.__defaults__ and closure is not None else None
    return {"class_name": "__lambda__",
            "config": {"code": code, "defaults": defaults, "closure": closure, "process_function": name}}


def _load(value, custom_objects, safe_mode):
    if not (isinstance(value, dict) and value.get("class_name") == "__lambda__"):
        return deserialize_keras_object(value, custom_objects=custom_objects) if isinstance(value, dict) else value
    function = None if safe_mode else _known.get(value.get("config", {}).get("process_function"))
    if function is None:
        raise ValueError("[Lambda] Requested the deserialization of a `Lambda` layer whose `function` is a Python lambda, "
                         "which in Keras could mean arbitrary code execution. fastnn runs no code from files: build the model "
                         "by its code and load its weights, use a named function, registered by "
                         "saving.register_keras_serializable(), or, in the process that saved it, pass safe_mode=False.")
    return function
