"""The variables of a model under the paths that Keras gives them in its files, and back.

A path follows the attributes that hold layers ("layers/dense", "layers/my_block/convs/conv2d_1"); members of
lists are called after their class. A file also holds the optimizer, and under "fastnn" what Keras has no
place for: the states of random generators and of the training.
"""
from typing import NamedTuple

import numpy as np

from .. import dtypes
from ..tensor import Variable, to_numpy
from ..utils.naming import to_snake_case
from ..utils.warning import warn
from .files import ModelFormatError

_OWN = "fastnn"
_SEED = "seed_generators"


class WeightsReport(NamedTuple):
    """What `load_weights` found, by name.

    Attributes:
        loaded: variables that were set.
        missing: variables that are not in the file.
        unexpected: values in the file that have no variable.
        mismatched: (name, what the model has, what the file has) where shape or dtype differ.
    """

    loaded: list
    missing: list
    unexpected: list
    mismatched: list


# ---- the walk ------------------------------------------------------------------------------------------


def walk(model, aliases=None):
    """Yields (path, object) of the model and everything in it that has variables, each object once, in Keras's order.

    Args:
        aliases: dict that gets the further paths of objects, a list by their id.
    """
    seen = set()

    def visit(obj, path):
        if id(obj) in seen:
            if aliases is not None:
                aliases.setdefault(id(obj), []).append(path)
            return
        seen.add(id(obj))
        yield path, obj
        for name, child in _children(obj):
            inner = f"{path}/{name}" if path else name
            if _is_saveable(child):
                yield from visit(child, inner)
            elif isinstance(child, (list, tuple, dict)):
                yield from visit_container(child, inner, set())

    def visit_container(container, path, containers):
        if id(container) in containers:
            return
        containers.add(id(container))
        used = {}
        for item in container.values() if isinstance(container, dict) else container:
            if _is_saveable(item):
                yield from visit(item, f"{path}/{_unique(to_snake_case(type(item).__name__), used)}")
            elif isinstance(item, (list, tuple, dict)):
                yield from visit_container(item, f"{path}/{_unique('container', used)}", containers)

    yield from visit(model, "")


def _is_saveable(x):
    return hasattr(type(x), "save_own_variables")


def _unique(name, used):
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name


def _children(obj):
    """(name, value) of the attributes that may hold layers: public ones first, by name."""
    from ..layers.layer import Layer
    from ..models import Functional, Model, Sequential

    names = set(vars(obj)) | _user_properties(type(obj))
    if isinstance(obj, Layer):
        names -= _base_attributes(Model if isinstance(obj, Model) else Layer)
    if isinstance(obj, (Functional, Sequential)):
        yield "layers", obj.layers
    elif isinstance(obj, Model):
        names.add("layers")
    if isinstance(obj, Model):
        names.add("optimizer")
    renamed = getattr(type(obj), "_saved_names", {})  # where an attribute is not called as in Keras
    for name in sorted(names, key=lambda n: "~" + renamed.get(n, n) if renamed.get(n, n)[:1] == "_" else renamed.get(n, n)):
        if name.startswith("__"):
            continue
        try:
            value = getattr(obj, name)
        except Exception:  # a property that does not work now
            continue
        yield renamed.get(name, name), value


def _user_properties(cls):
    """Names of properties that classes outside of this library define: Keras looks through them, too."""
    package = __name__.split(".")[0] + "."
    return {name for base in cls.__mro__ if not base.__module__.startswith(package) and base is not object
            for name, value in vars(base).items() if isinstance(value, property)}


_attributes = {}
_CACHES = {"_flat", "_flat_weights", "_captures", "_signature_cache", "_initial_epoch"}


def _base_attributes(cls):
    """What every instance of Layer or Model has."""
    if cls not in _attributes:
        _attributes[cls] = frozenset({*dir(cls(name="base")), *_CACHES} - {"optimizer"})
    return _attributes[cls]


def own_variables(obj):
    """What `obj` saves itself: {key: Variable or array}."""
    store = {}
    obj.save_own_variables(store)
    return store


def seed_generators(model):
    """{name in files: SeedGenerator} of a model, after the paths of the layers."""
    return {f"{path}/{i}" if path else str(i): generator for path, obj in walk(model)
            for i, generator in enumerate(getattr(obj, "_seed_generators", ()))}


def _array(value):
    return value.numpy() if isinstance(value, Variable) else np.asarray(value) if hasattr(value, "__array__") else to_numpy(value)


def groups_of(model, extra=None, skip=None):
    """The groups of a weights file, for `write_h5`.

    Args:
        extra: attributes to store with what is only ours.
        skip: objects that are left out.
    """
    skipped = {id(obj) for obj in skip or ()}
    for path, obj in walk(model):
        if id(obj) in skipped:
            continue
        name = getattr(obj, "name", None)
        attributes = {"name": name} if isinstance(name, str) else {}
        values = {key: _array(value) for key, value in own_variables(obj).items()}
        yield (f"{path}/vars" if path else "vars"), attributes, values
    seeds = {f"{_SEED}/{name}": generator.state.numpy() for name, generator in seed_generators(model).items()}
    yield _OWN, dict(extra or {}), seeds


# ---- loading -------------------------------------------------------------------------------------------


def load_state(model, root, path, skip_mismatch=False, op="load_weights", skip=None):
    """Sets the variables of `model` from a file.

    Args:
        root: Group of `open_h5`.
        path: of the file, for messages.
        skip_mismatch: leave alone what is missing or does not fit, with a warning.
        skip: objects that are left alone.

    Returns:
        WeightsReport.

    Raises:
        ModelFormatError: variables are missing or do not fit; then none has changed.
    """
    from ..optimizers import Optimizer

    report, plan, used = WeightsReport([], [], [], []), [], set()
    unbuilt, afresh = [], False
    skipped, aliases = {id(obj) for obj in skip or ()}, {}
    for place, obj in list(walk(model, aliases)):
        if id(obj) in skipped:
            continue
        group = _vars_group(root, place)
        if group is None:  # saved by a model that calls it otherwise
            place, group = next(((p, g) for p in aliases.get(id(obj), ()) if (g := _vars_group(root, p)) is not None),
                                (place, None))
        entries = dict(group.members) if group is not None else {}
        optional = isinstance(obj, Optimizer)
        if optional and entries and not obj.built:
            obj.build(model.trainable_variables)
        expected = own_variables(obj)
        found = _compare(place, expected, entries, report, used)
        if entries and not expected and getattr(obj, "built", True) is False:
            unbuilt.append(obj.name)
        if optional and set(entries) == {"0", "1"} and len(found) == 2:  # saved before the first step
            plan.append((obj, {key: expected[key] for key in found}, found, entries))
            report.missing[:] = [name for name in report.missing if not name.startswith(f"{place}/")]
            continue
        if optional and len(found) < len(expected):
            afresh = bool(entries) or root.find("optimizer") is not None
            continue
        plan.append((obj, expected, found, entries))
    for name in root.datasets():
        if name not in used and not name.startswith(f"{_OWN}/"):
            report.unexpected.append(name)
    missing = [m for m in report.missing if not m.startswith("optimizer/")]
    mismatched = [m for m in report.mismatched if not m[0].startswith("optimizer/")]
    report.missing.extend(unbuilt)
    if missing or mismatched or unbuilt:
        text = _problems(missing, mismatched, [u for u in report.unexpected if not u.startswith("optimizer/")], unbuilt)
        if not skip_mismatch:
            raise ModelFormatError(f"[{op}] the file must hold the variables of the model, and shapes must match. "
                                   f"Received: {path!r}: {text}")
        warn(f"[{op}] left alone, as skip_mismatch is set: {text}")
    if afresh:
        warn(f"[{op}] the file does not hold the state of this optimizer: it starts afresh. Received: {path!r}")
    # Everything is read before anything is set.
    ready = [(obj, expected, {key: dataset.read() for key, dataset in found.items()}) for obj, expected, found, _ in plan]
    for obj, expected, values in ready:
        for key, value in values.items():
            _check_values(expected[key], value, path)
    for obj, expected, values in ready:
        _assign(obj, expected, values, report)
    _load_seeds(model, root)
    return report


def _vars_group(root, place):
    from .h5 import Group

    group = root.find(f"{place}/vars" if place else "vars")
    if group is None and "_layer_checkpoint_dependencies" in root.members:  # Keras 2.13
        group = root.find(f"{place.replace('layers', '_layer_checkpoint_dependencies')}/vars")
    return group if isinstance(group, Group) else None


def _compare(place, expected, entries, report, used):
    """The datasets that fit, by key; the others go into the report."""
    from .h5 import Dataset

    found = {}
    for key, value in expected.items():
        name = _name(place, key, value)
        dataset = entries.get(key)
        if not isinstance(dataset, Dataset):
            report.missing.append(name)
            continue
        used.add(f"{place}/vars/{key}" if place else f"vars/{key}")
        shape, dtype = tuple(value.shape), dtypes.standardize_dtype(value.dtype)
        if dataset.shape != shape or not _fits(dtype, dataset.dtype, shape):
            report.mismatched.append((name, f"{dtype}{shape}", f"{dataset.dtype}{dataset.shape}"))
            continue
        found[key] = dataset
    return found


def _name(place, key, value):
    """The path of a variable, as the model knows it; values of the optimizer as the file knows them."""
    if isinstance(value, Variable) and not place.startswith("optimizer"):
        return value.path
    return f"{place}/vars/{key}" if place else f"vars/{key}"


def _fits(dtype, other, shape):
    # Counters are int32 or int64, depending on the backend that wrote the file. Floats are rounded, as Keras does it:
    # a model of another precision loads the same file.
    return dtype == other or (shape == () and dtype in ("int32", "int64") and other in ("int32", "int64")) or (
        dtype in dtypes.FLOAT_DTYPES and other in dtypes.FLOAT_DTYPES)


def _check_values(expected, value, path):
    name = getattr(expected, "name", "")
    if name == "moving_variance" and not (value >= 0).all():
        raise ModelFormatError(f"[load] a variance must not be negative or NaN. Received: {expected.path} in {path!r}")
    dtype = dtypes.standardize_dtype(expected.dtype)
    if value.dtype.kind in "iu" and value.ndim == 0 and not _in_range(value, dtype):
        raise ModelFormatError(f"[load] a counter must fit into {dtype}. Received: {value} for {name!r} in {path!r}")


def _in_range(value, dtype):
    info = np.iinfo(dtype)
    return info.min <= int(value) <= info.max


def _assign(obj, expected, values, report):
    names = {key: value.path if isinstance(value, Variable) else f"{obj.name}/{key}" for key, value in expected.items()}
    if len(values) == len(own_variables(obj)):
        if values or _loads_itself(obj):
            obj.load_own_variables(values)
    else:  # only a part fits
        for key, value in values.items():
            if isinstance(expected[key], Variable):
                expected[key].assign(value)
    report.loaded.extend(names[key] for key in values)


def _loads_itself(obj):
    package = __name__.split(".")[0] + "."
    return not type(obj).load_own_variables.__module__.startswith(package)


def _problems(missing, mismatched, unexpected, unbuilt):
    lacking = f" (a layer received 0 variables: {missing[0].rpartition('/')[0]})" if missing else ""
    parts = [f"{name} is not built, so that its variables do not exist yet: call the model first, or build the layer in `__init__` or "
             "`build`" for name in unbuilt]
    parts += [f"{name} is not in the file{lacking if name == missing[0] else ''}" for name in missing]
    parts += [f"{name} is {model} in the model, {file} in the file" for name, model, file in mismatched]
    parts += [f"{name} is not in the model" for name in unexpected]
    return "; ".join(parts[:6]) + (f"; and {len(parts) - 6} more" if len(parts) > 6 else "")


def _load_seeds(model, root):
    for name, generator in seed_generators(model).items():
        dataset = root.find(f"{_OWN}/{_SEED}/{name}")
        if dataset is not None and getattr(dataset, "shape", None) == (2,) and dataset.dtype == "uint32":
            generator.state.assign(dataset.read())
