"""Automatic names: dense, dense_1, dense_2 ... as Keras gives them."""

import re
import threading

_counts = {}


def to_snake_case(name):
    """``"SeparableConv2D"`` -> ``"separable_conv2d"``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix):
    """The next unused name: prefix, prefix_1, prefix_2 ..."""
    n = _counts.get(prefix, 0)
    _counts[prefix] = n + 1
    return f"{prefix}_{n}" if n else prefix


def uniquify(name):
    """``auto_name`` under Keras's name."""
    return auto_name(name)


def get_uid(prefix=""):
    """The next number of a prefix, from 1."""
    _counts[prefix] = _counts.get(prefix, 0) + 1
    return _counts[prefix]


def reset_names():
    """Start counting again."""
    _counts.clear()


reset_uids = reset_names  # Keras's name


def get_object_name(obj):
    """The name of an object: its `name`, or in snake case that of a function or of its class."""
    return getattr(obj, "name", None) or to_snake_case(getattr(obj, "__name__", type(obj).__name__))


_VALID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def check_name(name, owner):
    """``name`` if it is a string of 1 to 128 letters, digits and ``_ . -``; "/" separates names in paths.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(name, str) or not _VALID.fullmatch(name):
        raise ValueError(
            f"[{owner}] name must be a string of 1 to 128 letters, digits and '_.-'. Received: name={name!r}")
    return name


class _Scopes(threading.local):
    def __init__(self):
        self.names = []


_scopes = _Scopes()


class name_scope:
    """A context in which the paths of new variables start with ``name/``.

    Args:
        name: string; the scope.
        caller: an object; its scope directly inside its own scope is entered once.
    """

    __slots__ = ("_entered", "caller", "name")

    def __init__(self, name, caller=None, **kwargs):
        if not isinstance(name, str):
            raise TypeError(f"[name_scope] name must be a string. Received: name={name!r}")
        self.name = name
        self.caller = caller

    def __enter__(self):
        names = _scopes.names
        self._entered = self.caller is None or not names or names[-1][1] is not self.caller
        if self._entered:
            names.append((self.name, self.caller))
        return self

    def __exit__(self, *exc):
        if self._entered:
            _scopes.names.pop()


def current_path():
    """The open scopes joined by ``/``; empty outside any scope."""
    return "/".join([name for name, _ in _scopes.names])
