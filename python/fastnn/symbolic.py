"""Symbolic tensors: a shape and a dtype that layers and ops are applied to while a model is described.

An op applied to a symbolic tensor runs on meta tensors, which have no values, through the very
checks that the computation will go through; there is no second set of shape functions. A size of
None is tried with two different numbers: what differs between the results is None again.
"""

import functools
import itertools
import types

from . import _core, dtypes
from ._core import Tensor

# Both divisible by many numbers, so that reshaping and pooling of unknown sizes work out.
_SIZES = (720, 1440)
_MOST_HOLES = 4  # unknown sizes for which known ones are tried: 5 ^ 4 calls at most with four known sizes


_trial = [_SIZES[0], False]  # the number that stands for None now, and whether a result has a size that only values tell


def unknown_size():
    """A size of a result that only values tell, while shapes are inferred; it becomes None."""
    _trial[1] = True
    return _trial[0]


class SymbolicArgument(TypeError):
    """Raised by ``as_tensor`` on a symbolic tensor, and caught by ``op``. What is no op lets it through."""

    def __init__(self, message=None):
        super().__init__(message or "[KerasTensor] a symbolic tensor has a shape and no values: it can be given to layers and to "
                         "functions of fastnn.ops only")


class KerasTensor:
    """A symbolic tensor: what ``Input`` returns and layers of a functional model exchange.

    Args:
        sparse, ragged, record_history: accepted for Keras's sake.

    Attributes:
        shape: tuple of int or None.
        dtype: the name of a dtype, or "string": such a tensor can only go into layers that take strings.
        name: of the layer or op that made it.
        history: (operation, node index, tensor index) of the operation that made it, or None.
    """

    def __init__(self, shape, dtype="float32", sparse=False, ragged=False, record_history=True, name=None):
        from .tensor import standardize_shape
        from .utils.naming import auto_name

        self.shape = standardize_shape(shape, "KerasTensor", allow_none=True)
        self.dtype = "string" if dtype in ("string", str) else dtypes.standardize_dtype(dtype)
        self.sparse = bool(sparse)
        self.ragged = bool(ragged)
        self.name = name or auto_name("keras_tensor")
        self.record_history = record_history
        self.history = None

    @property
    def _keras_history(self):
        return self.history

    @property
    def ndim(self):
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self):
        """The number of elements; None if a size is unknown."""
        n = 1
        for s in self.shape:
            if s is None:
                return None
            n *= s
        return n

    def _refuse(self, what):
        raise TypeError(f"[KerasTensor] a symbolic tensor has a shape and no values, so it cannot be {what}. "
                        "Use fastnn.ops or a layer, which work on symbolic tensors. "
                        f"Received: {self!r}")

    def __array__(self, *_, **__):
        self._refuse("made a NumPy array")

    def __bool__(self):
        self._refuse("used as a condition")

    def __float__(self):
        self._refuse("made a Python number")

    __int__ = __float__

    def __iter__(self):
        if not self.shape or self.shape[0] is None:
            self._refuse("iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __len__(self):
        if not self.shape or self.shape[0] is None:
            self._refuse("asked for its length")
        return self.shape[0]

    def __repr__(self):
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, sparse={self.sparse}, name={self.name}>"

    __hash__ = object.__hash__
    __array_priority__ = 200.0


def without_batch(tensor):
    """The shape of a tensor as a layer's `build` should see it: while shapes are inferred, with the trial
    batch size replaced by None.
    """
    shape = tuple(tensor.shape)
    if type(tensor) is Tensor and tensor.device == "meta" and shape and shape[0] in _SIZES:
        return (None, *shape[1:])
    return shape


def is_keras_tensor(x):
    """Whether ``x`` is a symbolic tensor.

    Args:
        x: anything.
    """
    return isinstance(x, KerasTensor)


def any_symbolic(nest):
    """Whether a nest of arguments holds a symbolic tensor."""
    if isinstance(nest, KerasTensor):
        return True
    if isinstance(nest, (list, tuple)):
        return any(any_symbolic(v) for v in nest)
    if isinstance(nest, dict):
        return any(any_symbolic(v) for v in nest.values())
    return False


def map_nest(f, nest):
    """Apply f to every leaf of lists, tuples and dicts."""
    if isinstance(nest, (list, tuple)):
        mapped = [map_nest(f, v) for v in nest]
        return type(nest)(*mapped) if hasattr(nest, "_fields") else type(nest)(mapped)
    if isinstance(nest, dict):
        return {k: map_nest(f, v) for k, v in nest.items()}
    return f(nest)


def _meta(size, chosen=None):
    """What makes tensors without values: unknown sizes are ``size``, or what ``chosen``, {(id, axis): size}, says."""
    def one(x):
        if isinstance(x, KerasTensor):
            shape = [size if s is None else s for s in x.shape]
            for (owner, axis), s in (chosen or {}).items():
                if owner == id(x):
                    shape[axis] = s
            return _core.meta(tuple(shape), "int64" if x.dtype == "string" else x.dtype)
        if type(x) is Tensor:
            return _core.meta(x.shape, x.dtype)
        from .tensor import Variable

        if isinstance(x, Variable):
            return _core.meta(x.shape, x.dtype)
        return x

    return one


def _has_unknown(nest):
    if isinstance(nest, KerasTensor):
        return None in nest.shape
    if isinstance(nest, (list, tuple)):
        return any(_has_unknown(v) for v in nest)
    if isinstance(nest, dict):
        return any(_has_unknown(v) for v in nest.values())
    return False


def _symbolic_leaves(nest):
    if isinstance(nest, KerasTensor):
        return [nest]
    values = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, (list, tuple)) else ()
    return [x for value in values for x in _symbolic_leaves(value)]


def _numbers(nest):
    """The sizes that an argument may mean: those of a shape, and how long a list of numbers is."""
    if isinstance(nest, (list, tuple)) and nest and all(type(n) is int for n in nest):
        return {len(nest), *(n for n in nest if n > 0)}
    return set()


def _unknown_as_known(fn, args, kwargs, error):
    """The results where unknown sizes meet known ones of other tensors: as few of them as possible take these. Else the error."""
    leaves = {id(x): x for x in _symbolic_leaves([args, kwargs])}
    holes = [(key, axis) for key, x in leaves.items() for axis, s in enumerate(x.shape) if s is None]
    numbers = set().union(*map(_numbers, (*args, *kwargs.values())))  # such as those of a new shape
    known = {key: sorted(numbers | {s for other, y in leaves.items() if other != key for s in y.shape if s is not None})
             for key in leaves}
    for count in range(1, len(holes) + 1 if len(holes) <= _MOST_HOLES else 1):
        for places in itertools.combinations(holes, count):
            for values in itertools.product(*(known[key] for key, _ in places)):
                chosen = dict(zip(places, values))
                try:
                    results = []
                    for size in _SIZES:
                        _trial[0], one = size, _meta(size, chosen)
                        results.append(fn(*map_nest(one, args), **map_nest(one, kwargs)))
                    return results
                except ValueError:
                    continue
    raise error


def infer(fn, args, kwargs, search=False):
    """The result of ``fn(*args, **kwargs)`` with symbolic tensors in it, as KerasTensors without history.

    ``search``: where ``fn`` refuses unknown sizes, try the known ones in their place.

    ``fn`` must run on meta tensors: everything that is built from ops does.
    """
    sizes = _SIZES if _has_unknown(args) or _has_unknown(kwargs) else _SIZES[:1]
    results = []
    old = _core.set_recording(0), _core.set_inferring(True)
    outer = tuple(_trial)
    try:
        try:
            _trial[:] = sizes[0], False
            for size in sizes:
                _trial[0], one = size, _meta(size)
                results.append(fn(*map_nest(one, args), **map_nest(one, kwargs)))
            if _trial[1] and len(sizes) == 1:
                _trial[0] = _SIZES[1]
                results.append(fn(*map_nest(one, args), **map_nest(one, kwargs)))
        except ValueError as error:
            if len(sizes) == 1 or "broadcast" not in str(error) and not search:
                raise
            results = []
            if "broadcast" in str(error):
                # An unknown size meets a known one: 1 fits it, and the known one is the result.
                _trial[0], one = 1, _meta(1)
                try:
                    results = [fn(*map_nest(one, args), **map_nest(one, kwargs))]
                    sizes = (1,)
                except ValueError:
                    if not search:
                        raise error from None
            if not results:
                results = _unknown_as_known(fn, args, kwargs, error)
    finally:
        _core.set_recording(old[0])
        _core.set_inferring(old[1])
        _trial[:] = outer[0], outer[1] or _trial[1]

    def merge(*tensors):
        if type(tensors[0]) is not Tensor:
            return tensors[0]
        shape = [s[0] if all(v == s[0] for v in s) else None for s in zip(*(t.shape for t in tensors))]
        if sizes == (1,):
            shape = [None if s == 1 else s for s in shape]
        return KerasTensor(tuple(shape), tensors[0].dtype)

    return _merge_nests(merge, results)


def _merge_nests(f, nests):
    first = nests[0]
    if isinstance(first, (list, tuple)):
        parts = [_merge_nests(f, [n[i] for n in nests]) for i in range(len(first))]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if isinstance(first, dict):
        return {k: _merge_nests(f, [n[k] for n in nests]) for k in first}
    return f(*nests)


def apply_symbolic(fn, args, kwargs):
    """``fn`` applied to symbolic tensors, noted in the graph so that a functional model can run it."""
    if any(x.dtype == "string" for x in _symbolic_leaves([args, kwargs])):
        raise TypeError(f"[{fn.__name__}] tensors must hold numbers; strings can only go into layers that take them, such as "
                        "StringLookup, Hashing and TextVectorization. Received: a KerasTensor with dtype='string'")
    outputs = infer(fn, args, kwargs, search=True)
    from .layers.operation import record_operation

    return record_operation(fn, args, kwargs, outputs)


def op(fn=None, kernel=None, before=(), least=0, after=()):
    """Make a function of tensors an op: it also takes symbolic tensors, and gives symbolic results.

    Args:
        fn: the function.
        kernel: a function of ``_core`` that gives what ``fn`` would where no tape watches an argument, or None for
            what it does not serve. It is called as ``kernel(*before, *args, *after)`` for ``least`` arguments
            or more, by position or in the order of the parameters; each further one takes the place of one of ``after``.
    """
    if fn is None:
        return lambda fn: op(fn, kernel, before, least, after)
    return functools.update_wrapper(_core.Op(fn, kernel, before, least, after), fn)


_complex = [None]  # of ops.complex_numbers: the result of a named op for complex numbers


def set_complex(call):
    """What gives the results of ops for complex numbers: ``call(name, args, kwargs)``."""
    _complex[0] = call


def _call_symbolic(call, args, kwargs):
    """The result of an op that a symbolic or complex argument stopped; NotImplemented if none of its own did."""
    if _complex[0] is not None:
        y = _complex[0](getattr(call, "__name__", "op"), args, kwargs)
        if y is not NotImplemented:
            return y
    if not any_symbolic(args) and not any_symbolic(kwargs):
        return NotImplemented
    return apply_symbolic(call, args, kwargs)


def is_function(x):
    """Whether ``x`` is a function: one of Python's, or an op."""
    return isinstance(x, (types.FunctionType, _core.Op))


def owned(y):
    """``y`` with values of its own where they still belong to an array of the user's, who may change it."""
    if type(y) is Tensor:
        # A tensor with a node is one that the user shares and watches.
        return _core.clone(y) if y.borrowed and y.node is None else y
    if isinstance(y, (list, tuple, dict)):
        return map_nest(owned, y)
    return y


_core.set_symbolic(SymbolicArgument, _call_symbolic, owned)
