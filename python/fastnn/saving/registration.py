"""Names for custom classes and functions, so that configs can refer to them.

Custom objects are looked up in the innermost `custom_object_scope` first, then among those registered
for the whole process. Nothing is ever imported by a name found in a config.
"""
import inspect
from contextvars import ContextVar

_registered = {}  # registered name ("Custom>MyLayer") -> class or function
_names = {}  # class or function -> registered name
_scope = ContextVar("custom_objects", default={})


class CustomObjectScope:
    """Context in which `custom_objects` ({name: class or function}) can be named in strings and configs.

    Scopes nest; the inner one wins.

    Args:
        custom_objects: dict from names to classes or functions.
    """

    def __init__(self, custom_objects):
        self.custom_objects = dict(custom_objects or {})

    def __enter__(self):
        self._token = _scope.set({**_scope.get(), **self.custom_objects})
        return self

    def __exit__(self, *error):
        _scope.reset(self._token)


custom_object_scope = CustomObjectScope


def get_custom_objects():
    """Return the dictionary of objects known to the whole process; it can be changed in place."""
    return _registered


def register_keras_serializable(package="Custom", name=None):
    """Decorator: register a class or function under "package>name", for saving and loading.

    Args:
        package: string.
        name: string; by default that of the class or function.

    Raises:
        ValueError: a class has no `get_config` method.
    """

    def register(obj):
        if inspect.isclass(obj) and not hasattr(obj, "get_config"):
            raise ValueError(
                "[register_keras_serializable] Cannot register a class that does not have a get_config() method. "
                f"Received: {obj}"
            )
        registered_name = f"{package}>{name or obj.__name__}"
        _registered[registered_name] = obj
        _names[obj] = registered_name
        return obj

    return register


def get_registered_name(obj):
    """Return the name `obj` was registered under, or its own name.

    Args:
        obj: class or function.
    """
    try:
        return _names.get(obj, obj.__name__)
    except TypeError:  # not hashable
        return obj.__name__


def get_registered_object(name, custom_objects=None, module_objects=None):
    """Return the class or function called `name`, or None when there is none.

    Args:
        name: string.
        custom_objects: dict from names to classes or functions of one's own, or None.
        module_objects: dict that is looked at last, or None.
    """
    for objects in (_scope.get(), _registered, custom_objects, module_objects):
        if objects and name in objects:
            return objects[name]
    return None
