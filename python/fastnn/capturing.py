"""Captured steps: a function of tensors that is recorded as it runs, and then replayed without Python.

The first calls with inputs of some shapes and dtypes run as they are, while the kernels that they call
are noted. When two recordings in a row are equal, constants included, later calls replay the recording in
C++: the inputs are bound to it, and nothing of the function's Python runs. Its prints, counters and
appends do not happen again; its numbers are the same, bit by bit.

What may change from call to call lives in variables: weights, the learning rate, the step count, seeds,
metrics. A function that reads values in Python, or whose recordings differ (a NumPy draw, a Python
counter), is never replayed; one line of the log of "fastnn" says why.

Attributes of layers, losses, metrics, optimizers and regularizers may change, too: each change makes the next
call record again. What nobody can see is a change of other Python objects between two calls (a number in a
closure, an entry of a list): put such numbers into a `Variable`.
"""
import logging
import threading

import numpy as np

from . import _core, labels
from ._core import Tensor
from .tensor import Variable, as_tensor
from .tree import flatten, is_nested, map_structure, pack_sequence_as

_MAX_SIGNATURES = 32
_MAX_ATTEMPTS = 4
_LOG = logging.getLogger("fastnn")
_STATIC = (int, float, bool, str, bytes, type(None))
_NUMBERS = (int, float, np.number, np.bool_)
_CHANGED_IN_PLACE = (np.ndarray, list, dict, set)  # `layer.factors *= 2` sets the same object, with other contents


class _Entry:
    """What is known of one signature."""

    __slots__ = ("program", "generation", "last", "attempts", "results", "replayed")

    def __init__(self):
        self.program = None  # runs when the generation is still the same
        self.generation = -1
        self.last = None  # the recording before this one: (program, results)
        self.attempts = 0
        self.results = None  # (structure of results, static leaves)
        self.replayed = 0


def _no_phase():
    return None


class Capture:
    """The recordings of one function, by signature.

    Args:
        name: of the function, for the log.
        forget: a weak method that drops what recorded calls left behind.
        inference: replays may differ from the function by rounding.
        guard: a weak method (function, arguments) that calls the function where it is not replayed.

    Attributes:
        replayed: calls that were replayed.
        recorded: calls that were recorded.
        reason: why the last signature that gave up stays eager, or None.
    """

    def __init__(self, name="step", forget=None, inference=False, guard=None):
        self.name = name
        self.inference = inference
        self._forget = forget  # a weak method: drops what recorded calls left behind and a replay would not renew
        self._left = False
        self._guard = guard
        self.enabled = True
        self.recorded = 0
        self.reason = None
        self._entries = {}

    def __repr__(self):
        why = f", eager because {self.reason}" if self.reason else ""
        return f"<Capture of {self.name}: {self.recorded} calls recorded, {self.replayed} replayed{why}>"

    @property
    def replayed(self):
        return sum(entry.replayed for entry in self._entries.values())

    def programs(self):
        """Statistics of each program: the shapes of its inputs, calls, runs, bytes."""
        return [{"inputs": ", ".join(str(x[0]) for x in signature[3:]), **entry.program.statistics()}
                for signature, entry in self._entries.items() if entry.program is not None]

    def calls(self):
        """The calls of each program, in order: (kernel, layer)."""
        return [entry.program.calls() for entry in self._entries.values() if entry.program is not None]

    def call(self, fn, key, inputs, args, optimizer=None):
        """``fn(*args)``, replayed if it can be.

        Args:
            fn: the function.
            key: what else the recording depends on, hashable.
            inputs: the tensors in ``args``, in order, a tuple.
            args: the arguments, tensors already.
            optimizer: the one whose phase the recording may rely on.
        """
        if _core.recording():
            return self._run(fn, args)  # a tape wants the ops
        phase = getattr(optimizer, "phase", _no_phase)()
        signature = (key, phase, _core.current_device(), *[(x.shape, x.dtype) for x in inputs])
        entry = self._entries.get(signature)
        if entry is not None and entry.program is not None and entry.generation == _core.generation():
            found = entry.program.run(inputs)
            if found is not None:
                entry.replayed += 1
                if self._left:
                    self._left = False
                    if self._forget is not None and self._forget() is not None:
                        self._forget()()
                return _pack(found, *entry.results)
            return self._run(fn, args)  # another thread runs it
        if not self.enabled or _core.recording_calls():
            return self._run(fn, args)
        if entry is None:
            if len(self._entries) >= _MAX_SIGNATURES:
                return self._run(fn, args)
            entry = self._entries[signature] = _Entry()
        if entry.attempts >= _MAX_ATTEMPTS:
            return self._run(fn, args)
        return self._record(entry, fn, inputs, args, phase and (optimizer, phase))

    def _run(self, fn, args):
        guard = None if self._guard is None else self._guard()
        return fn(*args) if guard is None else guard(fn, args)

    def _record(self, entry, fn, inputs, args, phase):
        copies = _private(inputs)
        if any(a is not b for a, b in zip(copies, inputs)):
            swapped = {id(a): b for a, b in zip(inputs, copies)}
            args = map_structure(lambda leaf: swapped.get(id(leaf), leaf), args)
        made = Variable._count
        recorder = _core.Recorder(list(copies), Variable.existing())
        if not recorder.start():
            return self._run(fn, args)
        self.recorded += 1
        self._left = True
        _watch.recorder, _watch.phase = recorder, phase
        try:
            with labels.on():
                value = self._run(fn, args)
            tensors, structure, static = _unpack(value)
            program = recorder.finish(tensors)
        finally:
            _watch.recorder = _watch.phase = None
            recorder.stop()
        if Variable._count != made:
            return value  # the first call makes variables: it is unlike all others
        self._judge(entry, program, recorder, structure, static)
        return value

    def _judge(self, entry, program, recorder, structure, static):
        why = recorder.why()
        if program is not None:
            if entry.program is not None and not _differs(program, static, entry.program, entry.results[1]):
                entry.generation = _core.generation()  # what has changed was nothing to this step
                return
            if entry.last is None:
                entry.last = (program, static)
                entry.program = None
                return
            why = _differs(program, static, *entry.last)
            if not why:
                program.adopt(entry.last[0], self.inference)
                entry.program, entry.results = program, (structure, static)
                entry.generation = _core.generation()
                entry.last, entry.attempts = None, 0
                return
            why = f"two calls differ in {why}"
        entry.program = None
        entry.last = (program, static) if program is not None else None
        entry.attempts += 1
        if entry.attempts == _MAX_ATTEMPTS:
            entry.last = None
            if self.reason is None:
                _LOG.warning("[%s] runs eagerly, step by step: %s", self.name, why)
            self.reason = why


def _differs(program, static, earlier, earlier_static):
    why = program.difference(earlier)
    if why:
        return why
    if len(static) != len(earlier_static) or any(not _same(a, b) for a, b in zip(static, earlier_static)):
        return "a Python value that the step returns"
    return ""


def exactly(x):
    """A hashable stand-in that is equal for the same number only: 0.0 is not -0.0 nor 0, and NaN is NaN."""
    return (float, x.hex()) if type(x) is float else (type(x), x)


def _same(a, b):
    return a is b or isinstance(a, _STATIC) and isinstance(b, _STATIC) and exactly(a) == exactly(b)


_MASK = object()  # stands for a mask that a result carries


def _unpack(value):
    """The tensors of a nest of results, the nest, and its other leaves with a mark for each tensor."""
    tensors, static = [], []
    for leaf in flatten(value):
        if type(leaf) is Tensor:
            tensors.append(leaf)
            static.append(Tensor)
            mask = getattr(leaf, "_keras_mask", None)
            if mask is not None:
                tensors.append(mask)
                static.append(_MASK)
        else:
            static.append(leaf)
    structure = None if value is None or type(value) is Tensor else map_structure(
        lambda leaf: None if type(leaf) is Tensor else leaf, value)
    return tensors, structure, static


def _pack(tensors, structure, static):
    """A nest of results from the tensors of a replay."""
    if structure is None:
        if len(static) == 1:
            return tensors[0] if static[0] is Tensor else static[0]
        tensors[0]._keras_mask = tensors[1]
        return tensors[0]
    leaves, found = [], iter(tensors)
    for leaf in static:
        if leaf is _MASK:
            leaves[-1]._keras_mask = next(found)
        else:
            leaves.append(next(found) if leaf is Tensor else leaf)
    return pack_sequence_as(structure, leaves)


def _private(inputs):
    """The inputs, copied where they share memory with one another or with a variable."""
    ends, result = [], []
    for x in inputs:
        begin, end = x.address, x.address + x.nbytes
        shared = not x.borrowed and not _core.unique(x)
        if shared or any(begin < e and b < end for b, e in ends):
            x = _core.clone(x)
        ends.append((x.address, x.address + x.nbytes))
        result.append(x)
    return result


class _Watch(threading.local):
    """The recorder of the step that runs, for those who notice that it depends on more than tensors."""

    recorder = None
    phase = None  # (optimizer, its phase) that the recording is kept under


_watch = _Watch()


def recorded_phase(optimizer):
    """The phase under which the step that runs is recorded, or None: then it must be read."""
    phase = _watch.phase
    return phase[1] if phase is not None and phase[0] is optimizer else None


def note_attribute(owner, name, value):
    """An attribute of a layer, metric, loss or optimizer is about to change: recordings may depend on it."""
    old = owner.__dict__.get(name, _watch)
    if old is value and not isinstance(value, _CHANGED_IN_PLACE):
        return
    numbers = isinstance(value, _NUMBERS) and isinstance(old, _NUMBERS)
    if numbers and _same(old, value):
        return
    if _watch.recorder is not None and _core.recording_calls() and (
            numbers or isinstance(value, np.ndarray) and old is value or any(type(leaf) is Tensor for leaf in flatten(value))):
        # A replay would leave the attribute as it is.
        _watch.recorder.fail(f"the step sets the attribute {type(owner).__name__}.{name}, which a variable could hold")
    _core.changed()


class Watched:
    """A class whose attributes recorded steps depend on."""

    def __setattr__(self, name, value):
        note_attribute(self, name, value)
        super().__setattr__(name, value)


def capture(fn):
    """``fn`` recorded at its first calls with arguments of some shapes, then replayed without Python.

    Use it for a training step of your own:

        @fastnn.capture
        def step(x, y):
            with fastnn.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
            return loss

    Tensors and arrays among the arguments may have other values in every call; numbers, strings and other
    Python values are part of the signature. Random numbers come from ``fastnn.random``, and what changes
    from step to step is kept in variables.

    Args:
        fn: a function of tensors and arrays (or nests of them) that returns tensors, or a nest of them.

    Returns:
        A function with the attribute ``capture``, a `Capture`: ``capture.replayed`` counts replays.
    """
    import functools

    recordings = Capture(getattr(fn, "__name__", type(fn).__name__))

    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        args, kwargs = _tensors(args), _tensors(kwargs)
        leaves = flatten((args, kwargs))
        inputs = tuple(leaf for leaf in leaves if type(leaf) is Tensor)
        static = tuple(exactly(leaf) if isinstance(leaf, _STATIC) else Tensor if type(leaf) is Tensor else _Same(leaf)
                       for leaf in leaves)
        if any(getattr(x, "_keras_mask", None) is not None for x in inputs):
            return fn(*args, **kwargs)
        key = (static, tuple(type(leaf) for leaf in leaves), structure_of((args, kwargs)))
        return recordings.call(lambda a, k: fn(*a, **k), key, inputs, (args, kwargs))

    wrapper.capture = recordings
    return wrapper


def function(func=None, **options):
    """`capture` under TensorFlow's name: `@tf.function` in a program that says `import fastnn as tf`.

    Args:
        func: a function; None gives a decorator.
        options: those of TensorFlow (`jit_compile`, `input_signature`, ...); they change nothing.
    """
    return capture if func is None else capture(func)


def _tensors(nest):
    return map_structure(lambda leaf: as_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, nest)


def structure_of(nest):
    """A hashable description of a nest's structure."""
    if isinstance(nest, dict):
        return (type(nest), *[(k, structure_of(v)) for k, v in nest.items()])
    if is_nested(nest):
        return (type(nest), *[structure_of(v) for v in nest])
    return nest is None


class _Same:
    """A leaf that is equal to itself only."""

    def __init__(self, leaf):
        self.leaf = leaf

    def __hash__(self):
        return id(self.leaf)

    def __eq__(self, other):
        return isinstance(other, _Same) and other.leaf is self.leaf

