"""Objects to JSON-ready configs and back, in the format of Keras 3.

An object is {"module", "class_name", "config", "registered_name"}. The module is written as Keras writes it
("keras.layers"), so that both libraries read each other's configs. Loading never imports or evaluates what a
config names: classes come from the fixed table `_MODULES` and from the caller's custom objects.
"""
import contextlib
import difflib
import importlib
import inspect
import types
from contextvars import ContextVar

import numpy as np

from ..memory_limit import reading_config
from ..symbolic import is_function
from .registration import CustomObjectScope, get_custom_objects, get_registered_name, get_registered_object

# What "keras.<key>" of a config may refer to: the submodule of fastnn that holds it.
_MODULES = {
    "layers": "layers",
    "losses": "losses",
    "metrics": "metrics",
    "optimizers": "optimizers",
    "optimizers.schedules": "optimizers.schedules",
    "initializers": "initializers",
    "regularizers": "regularizers",
    "constraints": "constraints",
    "activations": "activations",
    "random": "random",
    "models": "models",
    "dtype_policies": "dtype_policies",
    "quantizers": "quantizers",
    "convnext": "applications.convnext",
    "inception_resnet_v2": "applications.inception_resnet_v2",
}
_FUNCTION_MODULES = ("losses", "metrics", "activations")
_safe_mode = ContextVar("safe_mode", default=None)


class SafeModeScope:
    """Context of a loading: with safe_mode=False a `Lambda` may find its function in this process. No code of a file is
    run in either."""

    def __init__(self, safe_mode=True):
        self.safe_mode = safe_mode

    def __enter__(self):
        self._token = _safe_mode.set(self.safe_mode)
        return self

    def __exit__(self, *error):
        _safe_mode.reset(self._token)


_shared = ContextVar("shared_objects", default=None)


class ObjectSharingScope:
    """Context in which objects that a config holds several times get a number, and are one object again when read."""

    def __enter__(self):
        self._token = _shared.set({"configs": {}, "objects": {}})
        return self

    def __exit__(self, *error):
        _shared.reset(self._token)


def in_safe_mode():
    """The safe_mode of the innermost SafeModeScope; None outside of one."""
    return _safe_mode.get()
_PACKAGE = __name__.split(".")[0]


def public_module(obj):
    """Return the module name that a config gives to a class of this library ("keras.layers")."""
    parts = obj.__module__.split(".")
    if parts[0] != _PACKAGE:
        return obj.__module__
    if obj.__name__ == "FeatureSpace":
        return "keras.utils"
    if parts[1] == "models":
        return "keras.src.models.functional" if obj.__name__ == "Functional" else "keras"
    if parts[1] == "applications":
        return ".".join(["keras.src", *parts[1:]])
    name = ".".join(parts[1:3])
    return "keras." + (name if name in _MODULES else parts[1])


def serialize_keras_object(obj):
    """Return the config of `obj`: plain values stay, containers are walked, objects become dictionaries.

    Args:
        obj: number, string, container, class, function, or an object with `get_config`.

    Raises:
        TypeError: an object inside has no `get_config` method.
    """
    if obj is None or isinstance(obj, (str, int, float, bool)):
        return obj
    if isinstance(obj, (list, tuple)):
        items = [serialize_keras_object(item) for item in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, dict):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, np.ndarray):
        return _plain("__numpy__", value=obj.tolist(), dtype=obj.dtype.name)
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, slice):
        return _plain("__slice__", start=serialize_keras_object(obj.start), stop=serialize_keras_object(obj.stop),
                      step=serialize_keras_object(obj.step))
    if obj is Ellipsis:
        return _plain("__ellipsis__")
    if isinstance(obj, bytes):
        return _plain("__bytes__", value=obj.decode("utf-8"))
    if is_function(obj):
        name = get_registered_name(obj)
        return {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
    if hasattr(obj, "get_config"):
        return _serialize_instance(obj)
    if hasattr(obj, "__array__"):
        return _plain("__tensor__", value=np.asarray(obj).tolist(), dtype=str(obj.dtype))
    if hasattr(obj, "__name__"):
        return {
            "module": "builtins",
            "class_name": type(obj).__name__,
            "config": get_registered_name(obj),
            "registered_name": None,
        }
    raise TypeError(f"[serialize_keras_object] the object must have a get_config() method. Received: {obj!r}")


def _plain(class_name, **config):
    return {"class_name": class_name, "config": config}


# Keras shows, and reads, this class by another name than its own.
_SHOWN_AS = {"GroupedQueryAttention": "GroupQueryAttention"}


def _serialize_instance(obj):
    config = obj.get_config()
    if not isinstance(config, dict):
        raise TypeError(f"[{type(obj).__name__}] get_config() must return a dict. Received: {config!r}")
    cls = type(obj)
    module = public_module(cls)
    own = cls.__module__.split(".")[0] == _PACKAGE
    serialized = {
        "module": None if module == "__main__" else module,
        "class_name": _SHOWN_AS.get(cls.__name__, cls.__name__) if own else cls.__name__,
        "config": serialize_keras_object(config),
        "registered_name": None if own else get_registered_name(cls),
    }
    for key in ("build_config", "compile_config"):
        extra = getattr(obj, f"get_{key}", lambda: None)()
        if extra is not None:
            serialized[key] = serialize_keras_object(extra)
    scope = _shared.get()
    if scope is not None:
        _, first = scope["configs"].setdefault(id(obj), (obj, serialized))
        if first is not serialized:
            first["shared_object_id"] = serialized["shared_object_id"] = id(obj)
    return serialized


def deserialize_keras_object(config, custom_objects=None, safe_mode=True, module_objects=None):
    """Return the object that `config` describes.

    Args:
        config: what `serialize_keras_object` returned, or the same from Keras.
        custom_objects: {name: class or function} that the config may name.
        safe_mode: bool; loading never runs code from a config, whatever it says. False lets a `Lambda` that this process
            made find its function; a `SafeModeScope` around it decides instead.
        module_objects: {name: class or function}, searched before this library's modules.

    Raises:
        TypeError: the config is malformed.
        ValueError: it names something unknown, or contains Python code.
    """
    if isinstance(config, (list, tuple)):
        return [deserialize_keras_object(item, custom_objects, safe_mode) for item in config]
    if isinstance(config, str) and module_objects is not None:
        return resolve(config, "object", module_objects, custom_objects)
    if config is None or isinstance(config, (str, int, float, bool)):
        return config
    if not isinstance(config, dict):
        raise TypeError(f"[deserialize_keras_object] config must be a dict. Received: config={config!r}")
    if "class_name" not in config or "config" not in config:
        return {k: deserialize_keras_object(v, custom_objects, safe_mode) for k, v in config.items()}
    name, inner = config["class_name"], config["config"]
    _check_text("class_name", name)
    if name.startswith("__"):
        return _deserialize_plain(name, inner)
    if name == "function":
        return _find_function(inner, config, custom_objects, module_objects)
    outer = in_safe_mode()
    with SafeModeScope(safe_mode if outer is None else outer):
        return _deserialize_instance(config, custom_objects, module_objects)


def _check_text(key, value):
    """TypeError where a config has something else for a name."""
    if not isinstance(value, str):
        raise TypeError(f"[deserialize_keras_object] {key} must be a string. Received: {key}={value!r}")


@contextlib.contextmanager
def sound_config(op):
    """What goes wrong with parts of a config that are missing or of another kind is an error of the config."""
    try:
        yield
    except (KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"[{op}] the config is not one of a model: {type(error).__name__}: {error}") from error


def _deserialize_plain(name, config):
    if name == "__numpy__":
        from ..dtypes import numpy_dtype, standardize_dtype

        return np.array(config["value"], dtype=numpy_dtype(standardize_dtype(config["dtype"])))
    if name == "__tensor__":
        from ..tensor import convert_to_tensor

        return convert_to_tensor(config["value"], dtype=config["dtype"])
    if name == "__slice__":
        return slice(*(deserialize_keras_object(config[key]) for key in ("start", "stop", "step")))
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__typespec__" and not isinstance(config, (list, tuple)):
        raise TypeError(f"[deserialize_keras_object] Expected 'config' to be a list or a tuple. Received: config={config!r}")
    if name == "__bytes__":
        return config["value"].encode("utf-8")
    raise ValueError(
        "[deserialize_keras_object] Python code in a config is never run: pass the function in custom_objects. "
        f"Received: class_name={name!r}"
    )


def _deserialize_instance(config, custom_objects, module_objects):
    scope, number = _shared.get(), config.get("shared_object_id")
    if scope is not None and isinstance(number, int) and number in scope["objects"]:
        return scope["objects"][number]
    if not isinstance(config["config"], (dict, type(None))):
        raise TypeError(f"[deserialize_keras_object] Expected 'config' to be a dict. Received: config={config!r}")
    cls = _find_class(config, custom_objects, module_objects)
    if is_function(cls):
        return cls
    inner = dict(config["config"] or {})
    with CustomObjectScope(custom_objects), reading_config():
        obj = cls.from_config(inner)
        if config.get("build_config") and not obj.built and hasattr(obj, "build_from_config"):
            obj.build_from_config(config["build_config"])
        if config.get("compile_config") and hasattr(obj, "compile_from_config"):
            obj.compile_from_config(config["compile_config"])
    if scope is not None and isinstance(number, int):
        scope["objects"][number] = obj
    return obj


def _check_registered_name(config, *names):
    """ValueError where a config gives an object of this library a name as if it had been registered."""
    registered_name = config.get("registered_name")
    if registered_name and registered_name not in names:
        raise ValueError(f"[deserialize_keras_object] registered_name={registered_name!r} must not be given: {names[0]!r} resolved "
                         "to a Keras built-in, and the name is not registered")


def _find_class(config, custom_objects, module_objects):
    name, registered_name = config["class_name"], config.get("registered_name")
    for key in (registered_name, name):
        obj = get_registered_object(key, custom_objects, module_objects) if key else None
        if obj is not None:
            return _checked_class(obj, name)
    module = config.get("module") or ""
    _check_text("module", module)
    candidates = []
    if module == "keras" or module.startswith("keras.src.models"):
        candidates = ["models"]
    elif module.startswith("keras.src."):  # where Keras keeps what it does not show: a backend's optimizers
        candidates = [_MODULES[part] for part in module.split(".") if part in _MODULES]
    elif module.startswith("keras.") and module[6:] in _MODULES:
        candidates = [_MODULES[module[6:]]]
    elif (module, name) == ("keras.utils", "FeatureSpace"):  # the rest of that module is nothing for files
        candidates = ["layers.feature_space"]
    for submodule in candidates:
        obj = _public_objects(submodule).get(name)
        if obj is not None:
            _check_registered_name(config, name)
            return _checked_class(obj, name)
    raise ValueError(
        f"[deserialize_keras_object] class {name!r} must be known: register it with "
        "`@saving.register_keras_serializable()` or pass it in custom_objects. "
        f"Received: module={config.get('module')!r}, registered_name={registered_name!r}"
    )


def _checked_class(obj, name):
    if is_function(obj) or (inspect.isclass(obj) and hasattr(obj, "from_config")):
        return obj
    raise TypeError(f"[deserialize_keras_object] {name!r} must have a from_config() method. Received: {obj!r}")


def _find_function(name, config, custom_objects, module_objects):
    if not isinstance(name, str):
        raise TypeError("[deserialize_keras_object] Expected 'config' to be a non-null str, the name of the function. "
                        f"Received: config={config!r}")
    obj = get_registered_object(name, custom_objects, module_objects)
    for submodule in _FUNCTION_MODULES:
        if obj is None:
            obj = _public_objects(submodule).get(name)
            if obj is not None:
                _check_registered_name(config, name, "function")
    if obj is None and ">" not in name:  # Keras 3.6 and before wrote the name without its package
        obj = next((value for key, value in get_custom_objects().items() if key.endswith(f">{name}")), None)
    if not callable(obj):
        raise ValueError(
            f"[deserialize_keras_object] function {name!r} must be known: register it with "
            "`@saving.register_keras_serializable()` or pass it in custom_objects. "
            f"Received: module={config.get('module')!r}"
        )
    return obj


def _public_objects(submodule):
    """Return the classes and functions of this library that fastnn.<submodule> shows."""
    module = importlib.import_module(f"{_PACKAGE}.{submodule}")  # a name of the table, never of a config
    own = {}
    for name, obj in vars(module).items():
        if (inspect.isclass(obj) or is_function(obj)) and obj.__module__.startswith(_PACKAGE + "."):
            own[name] = obj
    return own


def resolve(identifier, kind, objects, custom_objects=None):
    """Return the object behind an identifier: the body of every `get` function.

    Args:
        identifier: None, a name, a config dictionary, a class (instantiated), or an object (returned).
        kind: "loss", "optimizer" ...: the word for error messages.
        objects: {name: class or function}.
        custom_objects: dict from names to classes or functions, or None.

    Raises:
        ValueError: a name is unknown (the message proposes near ones), or the object is not usable.
    """
    if identifier is None:
        return None
    obj = identifier
    if isinstance(identifier, str):
        obj = get_registered_object(identifier, custom_objects, objects)
        if obj is None:
            raise ValueError(_unknown(identifier, kind, objects))
    elif isinstance(identifier, dict):
        if "class_name" not in identifier:
            raise ValueError(
                f"[{kind}] a config must have class_name and config. Received: identifier={identifier}"
            )
        config = {"config": {}, **identifier}
        name = config["class_name"]
        _check_text("class_name", name)
        if name.startswith("__"):
            return _deserialize_plain(name, config["config"])
        if config.get("module") in (None, "builtins") and name not in objects and name != "function":
            if get_registered_object(config.get("registered_name") or name, custom_objects) is None:
                raise ValueError(_unknown(name, kind, objects))
        obj = deserialize_keras_object(config, custom_objects, module_objects=objects)
    if not callable(obj) and isinstance(identifier, (str, dict)):
        return obj
    if not callable(obj):
        raise ValueError(
            f"[{kind}] Could not interpret {kind} identifier: it must be a name, a config, a class or a callable. "
            f"Received: identifier={identifier!r}"
        )
    return obj() if inspect.isclass(obj) else obj


def _unknown(name, kind, objects):
    near = difflib.get_close_matches(name, objects, n=3, cutoff=0.5)
    near += [known for known in objects if known.lower() == name.lower() and known not in near]
    hint = " Did you mean " + " or ".join(repr(n) for n in near) + "?" if near else ""
    known = ", ".join(sorted(key for key in objects if key.islower()) or sorted(objects))
    return (
        f"[{kind}] Could not interpret {kind} identifier: unknown name.{hint} Known names: {known}. "
        f"Received: identifier={name!r}"
    )


def migrated(class_name, config):
    """The config of a model as Keras 3 writes it: that of Keras 2 does not say in which modules the layers are."""
    layers = config.get("layers")
    if isinstance(layers, list) and any(isinstance(one, dict) and isinstance(one.get("config"), dict) and "module" not in one
                                        for one in layers):
        from .legacy import migrate

        return migrate({"class_name": class_name, "config": config})["config"]
    return config
