"""Configs of layers that do not write their own `get_config`."""
import inspect

from ..dtype_policies import DTypePolicy
from ..dtype_policies import get as get_policy
from ..saving.serialization import SafeModeScope, deserialize_keras_object, serialize_keras_object

_PLAIN = (str, int, float, bool, type(None))


def constructor_config(layer):
    """The arguments that `layer` was made with, as a dict that JSON can hold.

    Raises:
        NotImplementedError: one is neither a plain value nor an object with a config.
    """
    args, kwargs = layer._init_arguments
    try:
        bound = inspect.signature(type(layer).__init__).bind(layer, *args, **kwargs)
    except TypeError:
        return {}
    config = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            config.update(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            config[name] = value
    config = {name: value for name, value in config.items() if name not in ("name", "trainable", "dtype")}
    try:
        return {name: serialize_keras_object(value) for name, value in config.items()}
    except TypeError as error:
        raise NotImplementedError(
            f"[{type(layer).__name__}] needs a get_config() of its own, because an argument of its constructor "
            f"has no config. Received: {config}") from error


def layer_from_config(cls, config):
    """An instance of `cls` from a dict of constructor arguments.

    Raises:
        TypeError: the constructor does not take them.
    """
    config = {name: _restore(value) for name, value in config.items()} if _writes_no_config(cls) else dict(config)
    dtype = config.get("dtype")
    if isinstance(dtype, dict):  # constructors take names, but those of quantized policies do not tell all
        policy = get_policy(dtype)
        plain = type(policy) is DTypePolicy
        config["dtype"] = policy.name if plain else policy
    signature = inspect.signature(cls.__init__).parameters
    known = {name for base in cls.__mro__ if "__init__" in vars(base) for name in inspect.signature(base.__init__).parameters}
    if "kwargs" in signature:
        # An option that is None, and that only other versions have, is not in use.
        config = {name: value for name, value in config.items() if value is not None or name in known}
    try:
        return cls(**config)
    except Exception as error:
        raise TypeError(f"[{cls.__name__}.from_config] the constructor must take the config's entries. "
                        f"Received: config={config}. {error}") from error


def pickled_class(layer):
    """The class under whose name a pickle finds the class of `layer` again."""
    cls = type(layer)
    return cls.__mro__[1] if cls.__dict__.get("_made_functional") else cls


def restore_layer(cls, config, build_config, weights, compile_config=None):
    """A copy of a layer from its parts."""
    with SafeModeScope(False):  # functions of this process, not of a file
        layer = cls.from_config(config)
    if not layer.built and build_config is not None:
        layer.build_from_config(build_config)
    if layer.built:
        layer.set_weights(weights)
    if compile_config is not None:
        layer.compile_from_config(compile_config)
    return layer


def _writes_no_config(cls):
    return getattr(cls.get_config, "by_constructor", False)


def _restore(value):
    if isinstance(value, dict) and "class_name" in value:
        return deserialize_keras_object(value) if value["class_name"] != "DTypePolicy" else value
    if isinstance(value, (list, tuple)):
        return type(value)(_restore(x) for x in value)
    return value
