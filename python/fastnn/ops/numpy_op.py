"""The long tail: functions that are not worth a kernel are computed by NumPy."""

import sys
import types

import numpy as np

from .. import _core, dtypes
from .._core import Tensor
from ..tensor import as_tensor, from_dlpack, from_numpy, to_numpy

_WEAK = (bool, int, float)


def named(f, name, doc, returns, **arguments):
    """Give a function that a factory has made its name, the module that called the factory, and its docstring."""
    f.__name__ = f.__qualname__ = name
    f.__module__ = sys._getframe(2).f_globals["__name__"]
    lines = "".join(f"\n        {key}: {text}" for key, text in arguments.items())
    f.__doc__ = f"{doc}\n\n    Args:{lines}\n\n    Returns:\n        {returns}\n    "
    return f


def numpy_op(f, *args, dtype=None, **kwargs):
    """``f(*args, **kwargs)`` with tensors given to ``f`` as NumPy arrays and its arrays made tensors.

    Of meta tensors ``f`` is given zeros, and only the shapes and dtypes of its results are kept.

    Args:
        f: a function of NumPy arrays that gives an array, or a tuple or list of them.
        dtype: the dtype of the results; that of NumPy's by default.
    """
    meta = any(type(a) is Tensor and a.device == "meta" for a in args)
    if not meta and _core.current_device() == "cuda":
        return on_gpu(f, args, kwargs, dtype)
    if not meta and _core.recording_calls():
        recorded = _recorded(f, args, kwargs, dtype)
        if recorded is not None:
            return recorded
    return by_numpy(f, args, kwargs, dtype, meta)


def by_numpy(f, args, kwargs, dtype, meta=False):
    """``f`` of arrays of the host, or of zeros in place of meta tensors."""
    arrays = [_array(a, meta) if type(a) is Tensor else a for a in args]
    with np.errstate(all="ignore"):
        result = f(*arrays, **kwargs)

    def wrap(array):
        array = np.asarray(array)
        if dtype is not None:
            with np.errstate(all="ignore"):
                array = array.astype(dtypes.numpy_dtype(dtype), copy=False)
        return _core.meta(array.shape, array.dtype.name) if meta else from_numpy(array)

    return type(result)(wrap(r) for r in result) if isinstance(result, (tuple, list)) else wrap(result)


def _array(x, meta):
    if meta:  # without memory of its own: an unknown size is tried with a large number
        return np.broadcast_to(np.zeros((), dtypes.numpy_dtype(x.dtype)), x.shape)
    return to_numpy(x)


def elementwise_numpy(f, dtype, *args):
    """``f`` of tensors and Python numbers that broadcast, as a tensor of ``dtype``. Of meta tensors
    only the broadcast shape is worked out."""
    if any(type(a) is Tensor and a.device == "meta" for a in args):
        shapes = [a.shape for a in args if type(a) is Tensor]
        try:
            return _core.meta(np.broadcast_shapes(*shapes), dtype)
        except ValueError:
            raise ValueError(f"[broadcast] the shapes must broadcast. Received: shapes {shapes}") from None
    if _core.current_device() == "cuda":
        return on_gpu(f, args, {}, dtype)
    if _core.recording_calls():
        recorded = _recorded(f, args, {}, dtype)
        if recorded is not None:
            return recorded
    arrays = [to_numpy(a) if type(a) is Tensor else a for a in args]
    try:
        with np.errstate(all="ignore"):
            y = np.asarray(f(*arrays)).astype(dtypes.numpy_dtype(dtype), copy=False)
    except ValueError as e:
        raise ValueError(f"[broadcast] {e}. Received: shapes {[np.shape(a) for a in arrays]}") from None
    return from_numpy(y)


def on_gpu(f, args, kwargs, dtype):
    """``f`` of tensors in GPU memory, by CuPy, to which NumPy's functions hand over; by NumPy what CuPy does not have, and
    everything where there is no CuPy."""
    try:
        import cupy
    except ImportError:
        return by_numpy(f, args, kwargs, dtype)

    def tensor(y):
        if dtype is not None:
            y = y.astype(dtypes.numpy_dtype(dtype), copy=False)
        return from_dlpack(cupy.ascontiguousarray(y)) if isinstance(y, cupy.ndarray) else from_numpy(np.asarray(y))

    with np.errstate(all="ignore"):
        try:
            result = f(*[cupy.asarray(a) if type(a) is Tensor and a.dtype != "bfloat16" else a for a in args], **kwargs)
        except (TypeError, AttributeError, NotImplementedError):
            result = f(*[to_numpy(a) if type(a) is Tensor else a for a in args], **kwargs)
    if isinstance(result, (tuple, list)):
        return type(result)(tensor(y) for y in result)
    return tensor(result if isinstance(result, cupy.ndarray) else np.asarray(result))


# ---- NumPy's part of a recorded step: computed again at each replay ----

_MAX_STEPS = 10000  # a function with another array in each call would fill the table
_steps, _numbers = [], {}  # what each step computes; the number of a step by its description


class _NotPlain(Exception):
    """A function depends on more than numbers and names: two recordings of it cannot be compared."""


_PLAIN = (int, float, bool, str, bytes, complex, type(None))
_NAMED = (np.ufunc, np.dtype, type, types.BuiltinFunctionType, _core.Op)


def _described(x):
    """A hashable description that is equal for what computes the same."""
    if isinstance(x, _PLAIN):
        return type(x), repr(x)  # 0.0 is not -0.0
    if type(x) is Tensor:
        return Tensor
    if isinstance(x, (tuple, list)):
        return (type(x), *[_described(v) for v in x])
    if isinstance(x, dict):
        return (dict, *[(k, _described(v)) for k, v in x.items()])
    if isinstance(x, slice):
        return slice, _described(x.start), _described(x.stop), _described(x.step)
    if isinstance(x, _NAMED) or getattr(x, "__module__", None) in ("numpy", "numpy.linalg", "numpy.fft"):
        return x
    if isinstance(x, (np.ndarray, np.generic)) and x.nbytes <= 4096:
        return np.ndarray, x.dtype.str, x.shape, x.tobytes()
    if isinstance(x, types.FunctionType) and Tensor not in map(type, x.__defaults__ or ()):
        cells = [cell.cell_contents for cell in x.__closure__ or ()]
        if not any(type(c) is Tensor for c in cells):
            return x.__code__, _described(x.__defaults__), _described(x.__kwdefaults__), _described(cells)
    raise _NotPlain


def _frozen(x):
    """x with copies of its arrays, those in the closure of a function, too: a step must not see them change."""
    if isinstance(x, np.ndarray):
        return x.copy()
    if isinstance(x, list) or type(x) is tuple:
        return type(x)(_frozen(v) for v in x)
    if isinstance(x, dict):
        return {k: _frozen(v) for k, v in x.items()}
    if isinstance(x, types.FunctionType) and x.__closure__:
        cells = tuple(types.CellType(_frozen(cell.cell_contents)) for cell in x.__closure__)
        f = types.FunctionType(x.__code__, x.__globals__, x.__name__, x.__defaults__, cells)
        f.__kwdefaults__ = x.__kwdefaults__
        return f
    return x


def _step(f, args, kwargs, dtype):
    """The function from the tensors among ``args`` to (type of the result, list of arrays)."""
    f, kwargs = _frozen(f), _frozen(kwargs)
    holes = [type(a) is Tensor for a in args]
    static = [None if hole else _frozen(a) for hole, a in zip(holes, args)]  # a step must not keep tensors

    def compute(tensors):
        given = iter(tensors)
        arrays = [to_numpy(next(given)) if hole else a for hole, a in zip(holes, static)]
        with np.errstate(all="ignore"):
            result = f(*arrays, **kwargs)
            several = isinstance(result, (tuple, list))
            parts = [np.asarray(r) for r in (result if several else [result])]
            if dtype is not None:
                parts = [r.astype(dtypes.numpy_dtype(dtype), copy=False) for r in parts]
        return type(result) if several else None, [np.ascontiguousarray(r).reshape(r.shape) for r in parts]

    return compute


def _recorded(f, args, kwargs, dtype):
    """The result of ``f`` as a step of the recording; None if it cannot be one, or an array is of a rare kind."""
    try:
        description = (_described(f), _described(args), _described(kwargs), dtype)
    except _NotPlain:
        return None
    number = _numbers.get(description)
    if number is None and len(_steps) >= _MAX_STEPS:
        return None
    if number is None:
        number = _numbers[description] = len(_steps)
        _steps.append(_step(f, args, kwargs, dtype))
    tensors = [a for a in args if type(a) is Tensor]
    _core.pause_recording(True)
    try:
        kind, arrays = _steps[number](tensors)
    except Exception:
        return None  # told again, in the words of the op
    finally:
        _core.pause_recording(False)
    names = [a.dtype.name for a in arrays]
    if "bfloat16" in names or any(name not in dtypes.ALLOWED_DTYPES for name in names):
        return None
    results = _core.record_python(number, tensors, arrays, names)
    return results[0] if kind is None else kind(results)


def _run_again(number, tensors):
    return _steps[number](tensors)[1]


_core.set_python_runner(_run_again)


def operands(*xs):
    """The arguments as tensors, Python numbers left as they are, and the dtype of their result."""
    xs = [x if type(x) in _WEAK else as_tensor(x) for x in xs]
    if len(xs) == 2 and type(xs[0]) is Tensor and type(xs[1]) is Tensor and xs[0].dtype == xs[1].dtype:
        return xs, xs[0].dtype
    return xs, dtypes.result_type(*[type(x) if type(x) in _WEAK else x.dtype for x in xs])


def float_dtype(dtype):
    """``dtype`` if it is a float type, else the float type that it is computed in."""
    return dtype if dtype in dtypes.FLOAT_DTYPES else dtypes.result_type(dtype, float)
