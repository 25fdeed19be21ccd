"""Weights in several files, as Keras shards them: `name.weights.json` tells which `name_00000.weights.h5` holds what."""
import contextlib
import itertools
import json
import os
import re

from .archive import open_regular
from .files import ModelFormatError, atomic_write, read_regular_file
from .h5 import Group, open_h5, write_h5

_MAX_INDEX = 16 << 20
_MAX_SHARDS = 10_000


def write_shards(groups, path, max_shard_size):
    """Writes groups (path, attributes, {name: array}) to shards of at most `max_shard_size` GB, and the index last.

    One group is never cut: one that is larger has a shard of its own. Shards that an index names are not overwritten:
    new ones get other numbers, and the old ones go after the new index has come. Whoever reads finds one or the other.
    """
    old = _named_by(path)
    base = path[: -len(".weights.json")]
    limit, shards, size, total, weight_map = max_shard_size * 1024 ** 3, [[]], 0, 0, {}
    for place, attributes, values in groups:
        own = sum(value.nbytes for value in values.values())
        if size and own and size + own > limit:
            shards.append([])
            size = 0
        shards[-1].append((place, attributes, values))
        size, total = size + own, total + own
        if values:
            weight_map[f"/{place}"] = len(shards) - 1
    free = (name for name in (f"{base}_{n:05}.weights.h5" for n in itertools.count()) if os.path.basename(name) not in old)
    names = [next(free) for _ in shards]
    for name, shard in zip(names, shards):
        atomic_write(name, [write_h5(shard, checksum=True)])
    index = {"metadata": {"total_size": total},
             "weight_map": {place: os.path.basename(names[n]) for place, n in weight_map.items()}}
    atomic_write(path, [json.dumps(index, indent=4).encode()])
    for name in old:
        if re.fullmatch(re.escape(os.path.basename(base)) + r"_\d{5}\.weights\.h5", name):  # an index may name others' files
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(os.path.dirname(path), name))


def _named_by(path):
    """The files that the index at `path` names; none where there is no sound index."""
    try:
        return _names(path)
    except (OSError, ModelFormatError):
        return set()


def _names(path):
    """The files that an index names; ModelFormatError for one that is not sound, or names files that are not beside it."""
    try:
        names = json.loads(read_regular_file(path, _MAX_INDEX))["weight_map"].values()
        names = {name for value in names for name in ([value] if isinstance(value, str) else value)}
        sound = len(names) <= _MAX_SHARDS and all(
            isinstance(name, str) and name.endswith(".h5") and os.path.basename(name) == name and "\\" not in name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise ModelFormatError(f"[load_weights] the index must name `.h5` files beside it. Received: {path!r}")
    return names


@contextlib.contextmanager
def open_shards(path):
    """The root Group of all shards of an index.

    Raises:
        ModelFormatError: the index is not sound, or names a file that does not lie beside it.
    """
    names = _names(path)
    root = None
    with contextlib.ExitStack() as stack:
        for name in sorted(names):
            shard = os.path.join(os.path.dirname(path), name)
            file, _ = stack.enter_context(open_regular(shard))
            group = stack.enter_context(open_h5(file, shard))
            root = group if root is None else _merged(root, group)
        if root is None:
            raise ModelFormatError(f"[load_weights] the index must name at least one file. Received: {path!r}")
        yield root


def _merged(first, second):
    """`first` with the members of `second`."""
    for name, item in second.members.items():
        mine = first.members.get(name)
        if isinstance(mine, Group) and isinstance(item, Group):
            _merged(mine, item)
        elif mine is None:
            first.members[name] = item
    return first
