"""Tensor (the native type), Variable, and how other objects become tensors.

A tensor is an immutable value. A variable holds one and may replace it; the storage is overwritten
in place only while nobody else holds it, so a tensor read earlier never changes.
"""

import sys
import threading
import weakref

import numpy as np

from . import _core, dtypes, scopes
from ._core import Tensor
from .autograd import Node
from .memory_limit import take
from .symbolic import KerasTensor, SymbolicArgument

_PYTHON = {bool: "bool", int: "int32", float: None}


class ComplexArgument(SymbolicArgument):
    """Raised by ``as_tensor`` on complex numbers. Ops that have complex results catch it, see ops/complex_numbers.py."""

    def __init__(self, message=None):
        super().__init__(message or "[tensor] values must be real: complex numbers can be given to some functions of "
                         "fastnn.ops only. Received: complex numbers")


def from_numpy(array, borrow=False):
    """A tensor of the values of a NumPy array; ``borrow`` uses its memory in place where it can."""
    dtype = array.dtype
    name = _NAME_OF.get(dtype) or dtype.name
    if name not in _NUMPY_NAMES:
        if dtype.kind == "c":
            raise ComplexArgument
        raise TypeError(f"[tensor] dtype must be one of {', '.join(dtypes.ALLOWED_DTYPES)}. Received: dtype={dtype}")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("[tensor] a masked array would lose its mask: pass array.filled(value) and the mask apart. "
                        "Received: numpy.ma.MaskedArray")
    if not (array.flags.c_contiguous and array.flags.aligned and dtype.isnative):
        shape = array.shape
        array = np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)
        if not array.flags.aligned:
            array = array.copy()
        borrow = borrow and array.size > 0
    if name == "bfloat16":
        array = array.view(np.uint16)
    return _core.from_buffer(array, name, borrow)


_NUMPY_NAMES = frozenset(dtypes.ALLOWED_DTYPES)
# dtype.name is worked out anew each time it is asked for, in microseconds.
_NAME_OF = {np.dtype(name): name for name in dtypes.ALLOWED_DTYPES if name != "bfloat16"}


def as_tensor(x, dtype=None):
    """``x`` as a Tensor for an op to read: the door of every op.

    A NumPy array is used in place where that is safe (it is contiguous, and no tape would keep it);
    the op must have finished with it when it returns. Python scalars and lists of floats are floatx.

    Raises:
        TypeError: ``x`` cannot be a tensor (strings, objects, None ...).
    """
    t = x if type(x) is Tensor else _convert(x, dtype)
    if dtype is not None and t.dtype != dtype:
        from .ops import cast

        return cast(t, dtype)
    return t


def _convert(x, dtype=None, borrow=True):
    if isinstance(x, KerasTensor):
        raise SymbolicArgument
    if isinstance(x, Variable):
        return x.value
    if isinstance(x, np.ndarray):
        return from_numpy(x, borrow and not _core.recording())
    kind = type(x)
    if kind in _PYTHON:
        name = dtype or _PYTHON[kind] or dtypes.floatx()
        if kind is int and dtype is None and not -(2**31) <= x < 2**31:
            name = "int64"
        return _core.full((), x, name)
    if getattr(x, "is_indexed_slices", False):
        return x.to_dense()
    if kind is complex or getattr(x, "is_complex_pair", False):
        raise ComplexArgument
    if isinstance(x, (np.generic,)):
        return from_numpy(np.asarray(x))
    if hasattr(x, "__dlpack__") and not isinstance(x, np.ndarray):
        try:
            return from_dlpack(x)
        except (TypeError, ValueError, BufferError, RuntimeError):
            if hasattr(x, "__cuda_array_interface__"):
                return _from_gpu(x)
            # e.g. a torch tensor that requires a gradient: __array__ will explain
    elif hasattr(x, "__cuda_array_interface__"):
        return _from_gpu(x)
    if isinstance(x, (list, tuple)):
        return _convert_sequence(x, dtype)
    if x is None or isinstance(x, (str, bytes, dict, set)):
        raise TypeError(f"[tensor] a value must be a number or an array. Received: {type(x).__name__}")
    if hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        return from_numpy(np.asarray(x))
    raise TypeError(f"[tensor] a value must be a number or an array. Received: {type(x).__name__}")


def _from_gpu(x):
    """An array in GPU memory that is strided, or that the device in use cannot share."""
    try:
        import cupy
    except ImportError:
        raise TypeError("[tensor] an array in GPU memory needs CuPy (pip install fastnn[cuda]), unless it is contiguous and "
                        f"used within fastnn.device('cuda'). Received: {type(x).__name__}") from None
    if _core.current_device() == "cuda":
        return from_dlpack(cupy.ascontiguousarray(cupy.asarray(x)))
    return from_numpy(cupy.asnumpy(cupy.asarray(x)))


def _convert_sequence(x, dtype):
    """Lists take their dtype from their leaves: arrays keep theirs, Python floats are floatx."""
    from .tree import flatten

    leaves = flatten(list(x))
    if any(isinstance(v, KerasTensor) for v in leaves):
        raise SymbolicArgument
    if any(type(v) is Tensor or isinstance(v, Variable) for v in leaves):
        if all(not isinstance(v, (list, tuple)) for v in x):
            from .ops import stack

            return stack([as_tensor(v) for v in x])
        return as_tensor([_convert_sequence(v, dtype) if isinstance(v, (list, tuple)) else as_tensor(v) for v in x])
    try:
        array = np.asarray(x)
    except ValueError as e:
        raise ValueError(f"[tensor] a nested list must be rectangular. {e}") from None
    if array.dtype == object or array.dtype.kind in "USMm":
        raise TypeError(f"[tensor] a list must hold numbers of one shape. Received: dtype={array.dtype}")
    if dtype is None and all(type(v) in (bool, int, float) for v in leaves):
        if array.dtype.kind == "f" or array.size == 0:
            dtype = dtypes.floatx()
        elif array.dtype == np.int64 and (abs(array) < 2**31).all():
            dtype = "int32"
    if dtype is not None:
        array = array.astype(dtypes.numpy_dtype(dtype))
    return from_numpy(array)


def convert_to_tensor(x, dtype=None, sparse=None, ragged=None):
    """``x`` as a tensor of its own values: NumPy arrays are copied.

    Args:
        x: tensor, variable, NumPy array, number, nested list, or object with ``__dlpack__`` or ``__array__``.
        dtype: the dtype of the result; that of ``x`` by default.
        sparse, ragged: accepted for Keras's sake; tensors are dense.
    """
    if dtype is not None:
        dtype = dtypes.standardize_dtype(dtype)
    if isinstance(x, KerasTensor):
        if dtype is None or dtype == x.dtype:
            return x
        from .ops import cast

        return cast(x, dtype)
    if type(x) is not Tensor:
        try:
            x = _convert(x, dtype, borrow=False)
        except ComplexArgument:
            from .ops.complex_numbers import to_complex

            return to_complex(x)
        if x.borrowed:
            x = _core.clone(x)
    return as_tensor(x, dtype)


def convert_to_numpy(x):
    """``x`` as a NumPy array; of a tensor, a copy, where ``numpy.asarray`` gives a read-only view.

    Args:
        x: tensor, variable, array or number.
    """
    if isinstance(x, Variable):
        return x.numpy()
    if isinstance(x, KerasTensor):
        raise ValueError("[convert_to_numpy] a symbolic tensor has no values")
    if type(x) is Tensor:
        return np.array(to_numpy(x))
    if isinstance(x, np.ndarray):
        return x
    if getattr(x, "is_complex_pair", False):
        return x.numpy()
    return np.array(to_numpy(_convert(x)))


def to_numpy(x):
    """A read-only NumPy view of a tensor's values."""
    if x.dtype != "bfloat16":
        return np.asarray(x)
    return np.asarray(bfloat16_bits(x)).view(dtypes.numpy_dtype("bfloat16"))


def bfloat16_bits(x):
    """A bfloat16 tensor's memory as uint16."""
    return _core.bitcast(x, "uint16")


def from_dlpack(x):
    """A tensor sharing the memory of ``x``, any object with ``__dlpack__`` in the memory of the device in use.

    That is the CPU's, also for the device "cuda-emu", which copies it; or the GPU's, for "cuda".

    Args:
        x: tensor, or any object with ``__dlpack__``.
    """
    if type(x) is Tensor:
        return x.alias()
    if not hasattr(x, "__dlpack__"):
        return _core.from_dlpack(x)
    on_gpu = _core.current_device() == "cuda"
    if hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] not in ((2, 13) if on_gpu else (1,)):
        raise BufferError(f"[from_dlpack] the tensor must be in {'GPU' if on_gpu else 'CPU'} memory. "
                          f"Received: __dlpack_device__()={tuple(x.__dlpack_device__())}")
    # The producer makes what it has under way visible to our stream; 1 is CUDA's default one.
    stream = {"stream": scopes.stream_address() or 1} if on_gpu else {}
    try:
        capsule = x.__dlpack__(max_version=(1, 0), **stream)
    except TypeError:
        capsule = x.__dlpack__(**stream)
    return _core.from_dlpack(capsule)


def is_tensor(x):
    """Whether ``x`` is a tensor of fastnn, symbolic ones included.

    Args:
        x: anything.
    """
    return type(x) is Tensor or isinstance(x, KerasTensor) or getattr(x, "is_complex_pair", False)


def _array(self, dtype=None, copy=None):
    if self.device == "meta":
        raise TypeError("[tensor] a symbolic tensor has a shape and no values; Python code that reads values "
                        "cannot run while a model is being built")
    if copy is False and dtype is not None and np.dtype(dtype).name != self.dtype:
        raise ValueError(f"[tensor] dtype={dtype} needs a copy of a {self.dtype} tensor. Received: copy=False")
    array = to_numpy(self)
    if dtype is not None and array.dtype != dtype:
        return array.astype(dtype)
    return array.copy() if copy else array


def _repr(self):
    if self.device == "meta":
        return f"<Tensor shape={self.shape} dtype={self.dtype} device=meta>"
    if self.ndim == 0:
        return f"<Tensor shape=() dtype={self.dtype}, value={self.item()}>"
    values = np.array2string(to_numpy(self), separator=", ", threshold=100)
    return f"<Tensor shape={self.shape} dtype={self.dtype}, values=\n{values}>"


def _to(self, device):
    """The same values on a device, "cpu", "cuda" or "cuda-emu"; gradients do not pass."""
    return _core.to_device(self, scopes.device(device).name)


def _iterate(self):
    if self.ndim == 0:
        raise TypeError("[tensor] a tensor with no dimensions cannot be iterated over")
    return (self[i] for i in range(self.shape[0]))


Tensor.__array__ = _array
Tensor.__array_priority__ = 100.0
Tensor.__repr__ = _repr
Tensor.__iter__ = _iterate
Tensor.__hash__ = object.__hash__
Tensor.numpy = lambda self: to_numpy(self)
Tensor.to = _to
Tensor.cpu = lambda self: _core.to_device(self, "cpu")
Tensor.tolist = lambda self: to_numpy(self).tolist()
Tensor.__format__ = lambda self, spec: format(self.item() if self.ndim == 0 else str(self), spec)
Tensor.__copy__ = lambda self: self.alias()
Tensor.__deepcopy__ = lambda self, memo: self.alias()
Tensor.__reduce__ = lambda self: (convert_to_tensor, (np.array(to_numpy(self)),))


class AutocastScope:
    """Within it, floating variables that allow it are read in another dtype; None ends that of an outer scope.

    Args:
        dtype: a floating dtype, or None.
    """

    _state = threading.local()
    _open = 0  # scopes of all threads: while there are none, reading a variable costs nothing more

    def __init__(self, dtype):
        self.dtype = None if dtype is None else dtypes.standardize_dtype(dtype)

    def __enter__(self):
        self._outer = AutocastScope.current()
        AutocastScope._state.dtype = self.dtype
        AutocastScope._open += 1
        return self

    def __exit__(self, *error):
        AutocastScope._state.dtype = self._outer
        AutocastScope._open -= 1

    @staticmethod
    def current():
        """The dtype of the innermost scope of this thread, or None."""
        return getattr(AutocastScope._state, "dtype", None)


class Variable:
    """A value that layers and optimizers may change.

    Args:
        initializer: the first value, or a function ``(shape, dtype) -> value``, or the name of an
            initializer, together with ``shape``.
        shape: sizes; needed with a function, otherwise checked.
        dtype: floatx by default for functions and Python numbers, else that of the value.
        trainable: whether gradient tapes watch it by themselves.
        autocast: whether layers of a mixed policy read it in their compute dtype.
        aggregation: accepted for Keras's sake.
        name: unique within its owner; must not contain "/".
        synchronization: accepted for Keras's sake.

    Raises:
        ValueError: the value does not have ``shape``, or ``name`` contains "/".
    """

    _all = weakref.WeakSet()  # a recorded step must know whose memory is whose
    _count = 0  # variables made so far

    def __init__(self, initializer, shape=None, dtype=None, trainable=True, autocast=True, aggregation="none",
                 synchronization="auto", name=None):
        from .utils.naming import auto_name, current_path

        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(f"[Variable] name must be a string without '/'. Received: name={name!r}")
        self.name = name or auto_name("variable")
        scope = current_path()
        self.path = f"{scope}/{self.name}" if scope else self.name
        self._trainable = bool(trainable)
        self._leaf = None
        self._watched = False  # by name, on a tape, though it is not trainable
        self.autocast = autocast
        self.aggregation = aggregation
        self.synchronization = synchronization
        self._regularizer = None
        self._constraint = None
        self.overwrite_with_gradient = False
        self.version = 0
        if dtype is not None:
            dtype = dtypes.standardize_dtype(dtype)
        if isinstance(initializer, str):
            from . import initializers

            initializer = initializers.get(initializer)
        if callable(initializer) and not isinstance(initializer, (np.ndarray, Tensor)):
            if shape is None:
                raise ValueError("[Variable] shape must be given with an initializer function. Received: shape=None")
            shape = standardize_shape(shape, "Variable")
            take(shape, dtypes.numpy_dtype(dtype or dtypes.floatx()).itemsize)
            value = initializer(shape, dtype=dtype or dtypes.floatx())
        else:
            value = initializer.value if isinstance(initializer, Variable) else initializer
        if isinstance(value, KerasTensor):
            raise ValueError("[Variable] initializer must give values. Received: a symbolic tensor")
        value = convert_to_tensor(value, dtype)
        if shape is not None and tuple(value.shape) != tuple(shape):
            raise ValueError(f"[Variable] the initial value must have shape {tuple(shape)}. Received: {value.shape}")
        # A copy, unless nobody else holds the value: `value` and the argument of getrefcount are the only references.
        own = sys.getrefcount(value) == 2 and _core.unique(value) and not value.borrowed and value.node is None
        self._value = value if own else _core.clone(value)
        Variable._all.add(self)
        Variable._count += 1

    @staticmethod
    def existing():
        """The variables of this process. Another thread may make some meanwhile, so the set is copied at once."""
        return [v for reference in Variable._all.data.copy() if (v := reference()) is not None]

    @property
    def value(self):
        """The current value, a Tensor that later assignments do not change."""
        t = self._value.alias()
        if self._trainable or self._watched:
            t.node = self._leaf or self.leaf()
        if AutocastScope._open and (dtype := self.dtype) != t.dtype:
            from .ops import cast

            return cast(t, dtype)
        return t

    def leaf(self, create=True):
        """The node that gradients with respect to this variable arrive at."""
        if self._leaf is None and create:
            self._leaf = Node((), None, owner=self)
        return self._leaf

    @property
    def trainable(self):
        """Whether training changes the variable."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        if self._trainable != bool(value):
            _core.changed()
        self._trainable = bool(value)

    @property
    def regularizer(self):
        """The Regularizer, or None."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, value):
        self._regularizer = value
        _core.changed()

    @property
    def constraint(self):
        """The Constraint, or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, value):
        self._constraint = value
        _core.changed()

    @property
    def shape(self):
        """The sizes, a tuple."""
        return self._value.shape

    @property
    def dtype(self):
        """dtype name of the value; while a layer autocasts, that of its computations."""
        own = self._value.dtype
        if AutocastScope._open and self.autocast and dtypes.is_float(own):
            return AutocastScope.current() or own
        return own

    @property
    def ndim(self):
        """The number of axes."""
        return self._value.ndim

    @property
    def size(self):
        """The number of elements."""
        return self._value.size

    def mutable(self):
        """The storage for a kernel to overwrite: copied first if anybody else holds it."""
        if not _core.unique(self._value):
            self._value = _core.clone(self._value)
        self.version += 1
        return self._value

    def assign(self, value):
        """Replace the value by one of the same shape, cast to the variable's dtype. Returns the new value.

        Arrays and numbers become tensors of the variable's device; a tensor must be there already.
        """
        if scopes.in_use and self._value.device != _core.current_device():
            with scopes.device(self._value.device):
                return self.assign(value)
        value = as_tensor(value, self._value.dtype)
        if value.shape != self.shape:
            raise ValueError(f"[Variable.assign] value must have the shape of variable {self.path}: {self.shape}. "
                             f"Received: value.shape={value.shape}")
        if value.device == "meta":
            return value  # shapes are being inferred: nothing is assigned
        if _core.unique(self._value):
            self.version += 1
            _core.copy_into(self._value, value)
        else:
            self._value = _core.clone(value)
            self.version += 1
        return self.value

    def assign_add(self, value):
        """Add ``value`` to the variable."""
        from .ops import add

        return self.assign(add(self.value, value))

    def assign_sub(self, value):
        """Subtract ``value`` from the variable."""
        from .ops import subtract

        return self.assign(subtract(self.value, value))

    def numpy(self):
        """A copy of the value as a NumPy array."""
        return np.array(to_numpy(self._value))

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __dlpack__(self, **kwargs):
        return self._value.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._value.__dlpack_device__()

    def __len__(self):
        return len(self._value)

    def __iter__(self):
        return iter(self.value)

    def __float__(self):
        return float(self._value)

    def __int__(self):
        return int(self._value)

    def __index__(self):
        return self._value.__index__()

    def __bool__(self):
        return bool(self._value)

    def __repr__(self):
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, value={to_numpy(self._value)}>"

    __hash__ = object.__hash__
    __array_priority__ = 100.0


def standardize_shape(shape, op="shape", allow_none=False):
    """``shape`` as a tuple of non-negative ints (and None where allowed).

    Raises:
        ValueError, TypeError: a size is negative, a float, a bool or None in the wrong place.
    """
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        shape = (shape,)
    if not isinstance(shape, (list, tuple)):
        raise TypeError(f"[{op}] shape must be a tuple of integers. Received: shape={shape!r}")
    result = []
    for size in shape:
        if size is None and allow_none:
            result.append(None)
            continue
        if isinstance(size, (bool, float)) or not hasattr(size, "__index__"):
            raise ValueError(f"[{op}] every size of shape must be an integer. Received: shape={tuple(shape)!r}")
        size = size.__index__()
        if size < 0:
            raise ValueError(f"[{op}] sizes must not be negative. Received: shape={tuple(shape)!r}")
        result.append(size)
    return tuple(result)
