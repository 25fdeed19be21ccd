"""Every public name has a docstring of its own that describes every argument; public methods have one, too."""

import inspect
import operator
import re

import pytest

import fastnn

MODULES = (
    "activations", "applications", "backend", "callbacks", "config", "constraints", "dtype_policies", "initializers",
    "layers", "losses", "metrics", "mixed_precision", "models", "ops", "ops.image", "ops.linalg", "optimizers",
    "optimizers.schedules", "preprocessing.image", "preprocessing.sequence", "quantizers", "random", "regularizers", "saving",
    "tree", "utils", "wrappers",
)  # fmt: skip
# Said once, by the base class or the module.
COMMON = {"self", "name", "dtype", "kwargs", "args"}


def public(module):
    """{name: class or function} of fastnn's own that a module shows; "" is fastnn itself."""
    found = operator.attrgetter(module)(fastnn) if module else fastnn
    shown = vars(found).get("__all__")
    names = {}
    for name in dir(found):
        x = getattr(found, name)
        own = getattr(x, "__module__", None) or ""
        if name.startswith("_") or shown is not None and name not in shown or inspect.ismodule(x) or not callable(x):
            continue
        if own.startswith("fastnn") and not own.startswith("fastnn._core"):
            names[name] = x
    return names


def described(doc):
    """The words of a docstring, and whether it points to another one for arguments that it does not name."""
    elsewhere = re.search(r"[Aa]rguments (are |as |of |that )|\.\.\. \w+: see |others, |: as for `|see `?[A-Z]\w+`?, as all", doc)
    return set(re.findall(r"\w+", doc)), bool(elsewhere)


def arguments(x):
    try:
        parameters = inspect.signature(x).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.name not in COMMON and not p.name.startswith("_")]


@pytest.mark.parametrize("module", ["", *MODULES])
def test_every_name_has_a_docstring(module):
    names = public(module)
    assert names, module
    for name, x in names.items():
        doc = vars(x).get("__doc__") if inspect.isclass(x) else x.__doc__
        assert doc and doc.strip(), f"{module}.{name}"


@pytest.mark.parametrize("module", ["", *MODULES])
def test_every_argument_is_described(module):
    missing = {}
    for name, x in public(module).items():
        found, elsewhere = described(x.__doc__)
        left = [a for a in arguments(x) if a not in found]
        if left and not elsewhere and not (inspect.isclass(x) and issubclass(x, BaseException)):
            missing[name] = left
    assert not missing, module


# What every object of its kind has, described by the base class or known from Keras.
KNOWN = {"get_config", "from_config", "call", "build", "compute_output_shape", "compute_mask", "update_state", "result", "reset_state"}


@pytest.mark.parametrize("module", ["", *MODULES])
def test_every_method_has_a_docstring(module):
    missing = []
    for name, x in public(module).items():
        for method, f in vars(x).items() if inspect.isclass(x) else ():
            f = f.__func__ if isinstance(f, (classmethod, staticmethod)) else f.fget if isinstance(f, property) else f
            if method.startswith("_") or method in KNOWN or not inspect.isfunction(f):
                continue
            if not any(getattr(vars(base).get(method), "__doc__", None) for base in x.__mro__):
                missing.append(f"{name}.{method}")
    assert not missing, module
