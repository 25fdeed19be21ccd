"""The problems that NumPy has a function for. Its matrix product is OpenBLAS's.

The same functions in float64 are the reference of the error column where torch is not installed.
"""
import numpy as np

NAME = "numpy"
dtype = np.float32


def set_threads(n):
    pass  # OPENBLAS_NUM_THREADS is set when the process starts


def describe():
    return f"NumPy {np.__version__}"


def set_float64():
    global dtype
    dtype = np.float64


def _cast(arrays):
    return {k: v.astype(dtype, copy=False) if v.dtype == np.float32 else v for k, v in arrays.items()}


def matmul(arrays, m, k, n, batch=(), ta=False, tb=False):
    arrays = _cast(arrays)
    a, b = (np.swapaxes(arrays[x], -1, -2) if t else arrays[x] for x, t in (("a", ta), ("b", tb)))
    return lambda: a @ b


def elementwise(arrays, name, size):
    arrays = _cast(arrays)
    x, z = arrays["x"], arrays.get("z")
    calls = {"add": lambda: x + z, "add bias": lambda: x + z, "multiply": lambda: x * z, "scale rows": lambda: x * z,
             "maximum": lambda: np.maximum(x, z), "divide": lambda: x / z, "greater": lambda: x > z, "power": lambda: x ** z,
             "exp": lambda: np.exp(x), "log": lambda: np.log(x), "tanh": lambda: np.tanh(x), "sin": lambda: np.sin(x),
             "sqrt": lambda: np.sqrt(x), "transpose": lambda: np.ascontiguousarray(x.T), "concatenate": lambda: np.concatenate([x, x], 1)}
    return calls.get(name)


def reduction(arrays, name, shape, axis):
    x = _cast(arrays)["x"]
    axis = tuple(axis) if isinstance(axis, list) else axis
    f = {"sum": np.sum, "max": np.max, "mean": np.mean, "argmax": np.argmax, "variance": np.var}[name]
    return lambda: f(x, axis)


def embedding(arrays, rows, cols, n, direction):
    arrays = _cast(arrays)
    return (lambda: arrays["table"][arrays["index"]]) if direction == "forward" else None


def outputs(result, problem):
    """The arrays of a result."""
    return [result]
