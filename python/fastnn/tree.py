"""Nested structures: lists, tuples, named tuples and dicts of anything.

Everything else, None included, is a leaf. Dict entries are visited in sorted key order
(OrderedDict: its own order), so that equal dicts flatten equally however they were written.
"""
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from ._core import Tensor

_MAX_DEPTH = 300  # deeper structures are cycles or mistakes: an error instead of a stack overflow
_LEAVES = frozenset((type(None), bool, int, float, str, np.ndarray, Tensor))  # told at once: asking for a Mapping takes ten times longer


def _keys(x):
    if isinstance(x, OrderedDict):
        return list(x)
    try:
        return sorted(x)
    except TypeError:  # keys of several types cannot be ordered
        return list(x)


def _children(x):
    """The (key, child) pairs of a structure, or None for a leaf."""
    if type(x) in _LEAVES:
        return None
    if isinstance(x, (list, tuple)):
        return list(enumerate(x))
    if isinstance(x, Mapping):
        return [(key, x[key]) for key in _keys(x)]
    return None


def _rebuild(like, keys, values):
    """A structure of the type of `like` that holds `values` under `keys`."""
    if isinstance(like, Mapping):
        # Insertion order stays that of `like`, whatever the order of the visit.
        built = dict(zip(keys, values))
        ordered = [(key, built[key]) for key in like]
        if isinstance(like, OrderedDict):
            return OrderedDict(ordered)
        return dict(ordered)
    if isinstance(like, tuple):
        if hasattr(like, "_fields"):  # named tuple
            return type(like)(*values)
        return tuple(values)
    return list(values)


def is_nested(structure):
    """True if `structure` is a list, tuple or dict.

    Args:
        structure: anything.
    """
    return type(structure) not in _LEAVES and isinstance(structure, (list, tuple, Mapping))


def flatten(structure):
    """The leaves of a structure, as a list, depth first.

    Args:
        structure: nest of lists, tuples and dicts.
    """
    if not is_nested(structure):
        return [structure]
    leaves = []
    _flatten_into(structure, leaves, 0)
    return leaves


def _flatten_into(x, leaves, depth):
    if depth > _MAX_DEPTH:
        raise ValueError(f"[tree] a structure must be nested at most {_MAX_DEPTH} deep")
    if isinstance(x, (list, tuple)):
        for child in x:
            _flatten_into(child, leaves, depth + 1)
    elif type(x) not in _LEAVES and isinstance(x, Mapping):
        for key in _keys(x):
            _flatten_into(x[key], leaves, depth + 1)
    else:
        leaves.append(x)


def flatten_with_path(structure):
    """A list of (path, leaf); a path is the tuple of indices and keys that leads to the leaf.

    Args:
        structure: nest of lists, tuples and dicts.
    """
    found = []
    _find_paths(structure, (), found)
    return found


# The recursions of this file are functions of the module: a local function that calls itself is a
# reference cycle, which would keep the tensors of a training step until the collector runs.
def _find_paths(x, path, found):
    if len(path) > _MAX_DEPTH:
        raise ValueError(f"[tree] a structure must be nested at most {_MAX_DEPTH} deep")
    children = _children(x)
    if children is None:
        found.append((path, x))
        return
    for key, child in children:
        _find_paths(child, path + (key,), found)


def map_structure(func, *structures, none_is_leaf=True):
    """`func` of corresponding leaves, in a structure like the first one.

    Args:
        func: called with one leaf of every structure.
        structures: one or more structures of the same shape.
        none_is_leaf: False keeps None as it is, without a call.

    Raises:
        TypeError: `func` is not callable.
        ValueError: the structures differ, or there is none.
    """
    if not callable(func):
        raise TypeError(f"[tree.map_structure] func must be callable. Received: func={func}")
    if not structures:
        raise ValueError("[tree.map_structure] needs at least one structure")
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    return _map(func, structures, none_is_leaf, 0)


def _map(func, structures, none_is_leaf, depth):
    first = structures[0]
    if depth > _MAX_DEPTH:
        raise ValueError(f"[tree] a structure must be nested at most {_MAX_DEPTH} deep")
    if isinstance(first, (list, tuple)):
        values = [_map(func, xs, none_is_leaf, depth + 1) for xs in zip(*structures)]
        return _rebuild(first, None, values)
    if isinstance(first, Mapping):
        keys = _keys(first)
        values = [_map(func, [x[k] for x in structures], none_is_leaf, depth + 1) for k in keys]
        return _rebuild(first, keys, values)
    if first is None and not none_is_leaf:
        return None
    return func(*structures)


def map_structure_up_to(shallow_structure, func, *structures):
    """Like `map_structure`, but goes only as deep as `shallow_structure`.

    Args:
        shallow_structure: nest.
        func: function of what stands at a leaf of `shallow_structure`, one argument per structure.
        structures: nests, at least as deep.
    """
    if not structures:
        raise ValueError("[tree.map_structure_up_to] needs at least one structure")
    return _map_up_to(shallow_structure, func, structures)


def _map_up_to(shallow, func, xs):
    children = _children(shallow)
    if children is None:
        return func(*xs)
    for x in xs:
        _check_level(shallow, x)
    values = [_map_up_to(child, func, [x[key] for x in xs]) for key, child in children]
    return _rebuild(shallow, [key for key, _ in children], values)


def _check_level(a, b):
    if isinstance(a, Mapping):
        same = isinstance(b, Mapping) and set(a) == set(b)
    elif isinstance(a, (list, tuple)):
        same = isinstance(b, (list, tuple)) and isinstance(a, list) == isinstance(b, list) and len(a) == len(b)
    else:
        same = not is_nested(b)
    if not same:
        raise ValueError(f"[tree] two structures must have the same nesting: expected {_kind(a)}. "
                         f"Received: {_brief(a)} and {_brief(b)}")


def _kind(x):
    return f"a {type(x).__name__} of {len(x)}" if is_nested(x) else "no list, tuple or dict"


def _brief(x):
    text = repr(x)
    return text if len(text) <= 200 else text[:200] + "..."


def assert_same_structure(a, b, check_types=None):
    """Raises ValueError unless `a` and `b` nest lists, tuples and dicts in the same way.

    Args:
        a: structure.
        b: structure.
        check_types: taken for Keras's sake.
    """
    _check_level(a, b)
    children = _children(a)
    if children is not None:
        for key, child in children:
            assert_same_structure(child, b[key])


def assert_same_paths(a, b):
    """Raises ValueError unless the leaves of `a` and `b` have the same paths.

    Args:
        a: structure.
        b: structure.
    """
    a_paths = [path for path, _ in flatten_with_path(a)]
    b_paths = [path for path, _ in flatten_with_path(b)]
    if a_paths != b_paths:
        raise ValueError(
            f"[tree] two structures must have the same paths. Received: {a_paths} and {b_paths}")


def pack_sequence_as(structure, flat_sequence, sequence_fn=None):
    """The leaves of `flat_sequence` arranged like `structure`.

    Args:
        structure: a structure, or a leaf (then `flat_sequence` holds one value).
        flat_sequence: as many values as `structure` has leaves, in `flatten` order.
        sequence_fn: `sequence_fn(like, values)` builds each level; None keeps the types.

    Raises:
        TypeError: `flat_sequence` is not a list or tuple.
        ValueError: the counts differ.
    """
    if not isinstance(flat_sequence, (list, tuple)):
        raise TypeError(
            f"[tree.pack_sequence_as] flat_sequence must be a list or tuple. Received: {_brief(flat_sequence)}")
    count = len(flatten(structure))
    if count != len(flat_sequence):
        raise ValueError(
            f"[tree.pack_sequence_as] the structure has {count} leaves and flat_sequence {len(flat_sequence)}. "
            f"Received: structure={_brief(structure)}")
    return _pack(structure, iter(flat_sequence), sequence_fn)


def _pack(x, values, sequence_fn):
    children = _children(x)
    if children is None:
        return next(values)
    packed = [_pack(child, values, sequence_fn) for _, child in children]
    if sequence_fn is not None:
        return sequence_fn(x, packed)
    return _rebuild(x, [key for key, _ in children], packed)


def lists_to_tuples(structure):
    """The structure with every list turned into a tuple.

    Args:
        structure: nest of lists, tuples and dicts.
    """
    children = _children(structure)
    if children is None:
        return structure
    values = [lists_to_tuples(child) for _, child in children]
    if isinstance(structure, list):
        return tuple(values)
    return _rebuild(structure, [key for key, _ in children], values)


def map_shape_structure(func, structure):
    """`func` of every shape (a list or tuple of ints and None) of a structure of shapes.

    Args:
        func: function of a shape.
        structure: nest of shapes.
    """
    if isinstance(structure, (list, tuple)) and all(e is None or isinstance(e, int) for e in structure):
        return func(tuple(structure))
    children = _children(structure)
    if children is None:
        return func(structure)
    values = [map_shape_structure(func, child) for _, child in children]
    return _rebuild(structure, [key for key, _ in children], values)


def traverse(func, structure, top_down=True):
    """Replaces parts of a structure by `func(part)`; None from `func` keeps the part, MAP_TO_NONE puts
    None there.

    With `top_down`, a replaced part is not entered.

    Args:
        func: function of a part.
        structure: nest of lists, tuples and dicts.
        top_down: bool; a part is seen before what is inside it.
    """
    children = _children(structure)
    if top_down:
        replaced = func(structure)
        if replaced is not None:
            return None if replaced is MAP_TO_NONE else replaced
        if children is None:
            return structure
        return _rebuild(structure, [key for key, _ in children],
                        [traverse(func, child, True) for _, child in children])
    if children is not None:
        structure = _rebuild(structure, [key for key, _ in children],
                             [traverse(func, child, False) for _, child in children])
    replaced = func(structure)
    return structure if replaced is None else None if replaced is MAP_TO_NONE else replaced


class MAP_TO_NONE:
    """What the function of `traverse` returns to put None in a place."""
