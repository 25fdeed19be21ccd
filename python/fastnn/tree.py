"""Nests of lists, tuples and dicts, as Keras's ``tree`` treats them: dicts are walked in sorted key order."""


def is_nested(structure):
    """Whether ``structure`` is a list, tuple or dict."""
    return isinstance(structure, (list, tuple, dict))


def _keys(d):
    try:
        return sorted(d)
    except TypeError:
        return list(d)


def flatten(structure):
    """The leaves of a nest in order."""
    if not isinstance(structure, (list, tuple, dict)):
        return [structure]
    leaves, stack = [], [structure]
    while stack:
        s = stack.pop()
        if isinstance(s, dict):
            stack.extend(s[k] for k in reversed(_keys(s)))
        elif isinstance(s, (list, tuple)):
            stack.extend(reversed(s))
        else:
            leaves.append(s)
    return leaves


def _pack(structure, leaves):
    if isinstance(structure, dict):
        packed = {k: _pack(structure[k], leaves) for k in _keys(structure)}
        return type(structure)((k, packed[k]) for k in structure) if type(structure) is not dict else {
            k: packed[k] for k in structure}
    if isinstance(structure, (list, tuple)):
        parts = [_pack(s, leaves) for s in structure]
        return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)
    return next(leaves)


def pack_sequence_as(structure, flat_sequence):
    """A nest in the form of ``structure`` with the given leaves.

    Raises:
        ValueError: the number of leaves differs.
    """
    leaves = list(flat_sequence)
    n = len(flatten(structure))
    if n != len(leaves):
        raise ValueError(f"[pack_sequence_as] flat_sequence must have as many leaves as structure ({n}). "
                         f"Received: {len(leaves)}")
    return _pack(structure, iter(leaves))


def assert_same_structure(a, b, check_types=True):
    """ValueError unless both nests have the same form."""
    nested = is_nested(a), is_nested(b)
    if nested[0] != nested[1]:
        raise ValueError(f"[assert_same_structure] the nests must have one structure. Received: {a!r} and {b!r}")
    if not nested[0]:
        return
    if isinstance(a, dict) != isinstance(b, dict) or len(a) != len(b) or (
            isinstance(a, dict) and set(a) != set(b)) or (check_types and type(a) is not type(b)):
        raise ValueError(f"[assert_same_structure] the nests must have one structure. Received: {a!r} and {b!r}")
    for k in (a if isinstance(a, dict) else range(len(a))):
        assert_same_structure(a[k], b[k], check_types)


def map_structure(func, *structures, none_is_leaf=True):
    """``func`` applied leaf by leaf to nests of one structure."""
    first = structures[0]
    for other in structures[1:]:
        assert_same_structure(first, other, check_types=False)
    leaves = zip(*(flatten(s) for s in structures))
    return pack_sequence_as(first, [func(*vs) for vs in leaves])


def map_structure_up_to(shallow, func, *structures):
    """``func`` applied to what stands in ``structures`` at each leaf of ``shallow``."""
    if not is_nested(shallow):
        return func(*structures)
    if isinstance(shallow, dict):
        return {k: map_structure_up_to(shallow[k], func, *(s[k] for s in structures)) for k in shallow}
    parts = [map_structure_up_to(s, func, *(t[i] for t in structures)) for i, s in enumerate(shallow)]
    return type(shallow)(*parts) if hasattr(shallow, "_fields") else type(shallow)(parts)


def traverse(func, structure, top_down=True):
    """Replace every subnest by what ``func`` returns for it, unless that is None."""
    if top_down:
        new = func(structure)
        if new is not None:
            return new
    if isinstance(structure, dict):
        structure = {k: traverse(func, v, top_down) for k, v in structure.items()}
    elif isinstance(structure, (list, tuple)):
        parts = [traverse(func, v, top_down) for v in structure]
        structure = type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)
    if not top_down:
        new = func(structure)
        if new is not None:
            return new
    return structure


def lists_to_tuples(structure):
    """The nest with every list made a tuple."""
    if isinstance(structure, (list, tuple)):
        return tuple(lists_to_tuples(v) for v in structure)
    if isinstance(structure, dict):
        return {k: lists_to_tuples(v) for k, v in structure.items()}
    return structure
