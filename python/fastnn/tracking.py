"""Containers that tell their layer what was put into them.

`layer.blocks = []` stores a TrackedList; `layer.blocks.append(Dense(3))` then adds the Dense to the
layers of `layer`, in the order of the appends. Removing an element ends the tracking.
"""
import collections

from . import _core


def wrap(value, owner):
    """The tracked twin of a plain list, tuple, dict, OrderedDict or set; other values are only told to `owner`.

    Args:
        value: anything.
        owner: has `_track(x)` and `_untrack(x)` for single objects.
    """
    kind = type(value)
    if kind is list:
        return TrackedList(value, owner)
    if kind is dict:
        return TrackedDict(value, owner)
    if kind is collections.OrderedDict:
        return TrackedOrderedDict(value, owner)
    if kind is set:
        return TrackedSet(value, owner)
    if isinstance(value, tuple):
        parts = [wrap(x, owner) for x in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    owner._track(value)
    return value


def unwrap(value, owner):
    """Ends the tracking of `value`, and of what it contains if it is a container."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        for x in value:
            unwrap(x, owner)
    else:
        owner._untrack(value)


class TrackedList(list):
    def __init__(self, values=(), owner=None):
        self._owner = owner
        super().__init__(self._wrap(x) for x in values)

    def _wrap(self, x):
        return x if self._owner is None else wrap(x, self._owner)

    def _unwrap(self, x):
        if self._owner is not None:
            unwrap(x, self._owner)

    def append(self, x):
        super().append(self._wrap(x))

    def insert(self, index, x):
        super().insert(index, self._wrap(x))

    def extend(self, values):
        for x in list(values):
            self.append(x)

    def __iadd__(self, values):
        self.extend(values)
        return self

    def __setitem__(self, index, x):
        old = self[index]
        for one in (old if isinstance(index, slice) else [old]):
            self._unwrap(one)
        super().__setitem__(index, [self._wrap(v) for v in x] if isinstance(index, slice) else self._wrap(x))

    def __delitem__(self, index):
        old = self[index]
        for one in (old if isinstance(index, slice) else [old]):
            self._unwrap(one)
        super().__delitem__(index)

    def pop(self, index=-1):
        x = super().pop(index)
        self._unwrap(x)
        return x

    def remove(self, x):
        del self[self.index(x)]

    def clear(self):
        del self[:]

    def reverse(self):
        super().reverse()
        _core.changed()

    def sort(self, **kwargs):
        super().sort(**kwargs)
        _core.changed()

    def __imul__(self, count):
        self[:] = list(self) * count
        return self

    def __reduce__(self):  # copies and pickles are plain lists
        return list, (list(self),)


class TrackedDict(dict):
    def __init__(self, values=(), owner=None):
        self._owner = owner
        super().__init__()
        self.update(values)

    def _unwrap(self, x):
        if self._owner is not None:
            unwrap(x, self._owner)

    def __setitem__(self, key, x):
        if key in self:
            self._unwrap(self[key])
        super().__setitem__(key, x if self._owner is None else wrap(x, self._owner))

    def __delitem__(self, key):
        self._unwrap(self[key])
        super().__delitem__(key)

    def update(self, *args, **kwargs):
        for key, x in dict(*args, **kwargs).items():
            self[key] = x

    def __ior__(self, other):
        self.update(other)
        return self

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key, *default):
        if key in self:
            self._unwrap(self[key])
        return super().pop(key, *default)

    def popitem(self):
        key, x = super().popitem()
        self._unwrap(x)
        return key, x

    def clear(self):
        for key in list(self):
            del self[key]

    def __reduce__(self):
        return dict, (dict(self),)


class TrackedOrderedDict(TrackedDict, collections.OrderedDict):
    def __reduce__(self):
        return collections.OrderedDict, (list(self.items()),)


class TrackedSet(set):
    def __init__(self, values=(), owner=None):
        self._owner = owner
        super().__init__()
        self.update(values)

    def _unwrap(self, x):
        if self._owner is not None:
            unwrap(x, self._owner)

    def add(self, x):
        super().add(x if self._owner is None else wrap(x, self._owner))

    def update(self, *others):
        for values in others:
            for x in values:
                self.add(x)

    def remove(self, x):
        super().remove(x)
        self._unwrap(x)

    def discard(self, x):
        if x in self:
            self.remove(x)

    def pop(self):
        x = super().pop()
        self._unwrap(x)
        return x

    def clear(self):
        for x in list(self):
            self.remove(x)

    def __reduce__(self):
        return set, (set(self),)
