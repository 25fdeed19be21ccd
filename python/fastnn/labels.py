"""Which layer a kernel call belongs to: kept up only while a profile is taken or a step is recorded."""
from . import _core

listeners = 0  # who wants labels, in any thread


class on:
    """A context in which layers, losses and optimizers name the calls they make."""

    def __enter__(self):
        global listeners
        listeners += 1

    def __exit__(self, *_):
        global listeners
        listeners -= 1
        if not listeners:
            _core.set_label("")


def backward():
    """The label of the gradients of what runs now."""
    before = _core.set_label("")
    _core.set_label(before)
    return f"{before} backward" if before else "gradients"


class named:
    """A context whose calls belong to ``name``."""

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        self._before = _core.set_label(self._name) if listeners else None

    def __exit__(self, *_):
        if self._before is not None:
            _core.set_label(self._before)
