"""Names of dtypes, the default float type, and Keras's rules of type promotion."""

import numpy as np

from . import _core

ALLOWED_DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64",
)
_ALLOWED = frozenset(ALLOWED_DTYPES)
FLOAT_DTYPES = frozenset(("float16", "bfloat16", "float32", "float64"))
_ALIASES = {"int": "int32", "long": "int64", "uint": "uint32", "float": "float32", "double": "float64",
            "half": "float16", "bool_": "bool", "str": "string"}
_PYTHON_TYPES = {bool: "bool", int: "int32", float: "float32"}

_floatx = "float32"


def floatx():
    """The default float type: the name of a dtype, ``"float32"`` at start."""
    return _floatx


def set_floatx(value):
    """Set the default float type to "float16", "bfloat16", "float32" or "float64".

    Args:
        value: string.
    """
    global _floatx
    if value not in FLOAT_DTYPES:
        raise ValueError(f"[set_floatx] value must be one of {sorted(FLOAT_DTYPES)}. Received: value={value!r}")
    _floatx = str(value)
    _core.changed()


def standardize_dtype(dtype):
    """The canonical name of ``dtype``: a string, a NumPy, ml_dtypes or torch dtype, or a Python type.

    Raises:
        ValueError: no dtype of fastnn has this name.
    """
    if dtype.__class__ is str and dtype in _ALLOWED:
        return dtype
    if dtype is None:
        return _floatx
    if dtype in _PYTHON_TYPES:
        return _PYTHON_TYPES[dtype] if dtype is not float else _floatx
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    if name is None:
        # torch.float32 prints as such; a NumPy scalar type has its name in __name__.
        name = str(dtype).split(".")[-1] if "torch" in str(dtype) else getattr(dtype, "__name__", str(dtype))
    name = _ALIASES.get(name, name)
    if name not in _ALLOWED:
        raise ValueError(f"[dtype] dtype must be one of {', '.join(ALLOWED_DTYPES)}. Received: dtype={dtype!r}")
    return name


def is_float(dtype):
    return dtype in FLOAT_DTYPES


def is_int(dtype):
    return dtype not in FLOAT_DTYPES and dtype != "bool"


def numpy_dtype(name):
    """The NumPy dtype of a name; bfloat16 comes from ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
# Weak types, written with a star, are Python scalars: they take part only by their kind.
_ORDER = {"bool": 0, "int*": 1, "float*": 2}


def _promote(a, b):
    """The type of a result of one value of type a and one of type b."""
    if a == b:
        return a
    if "float*" in (a, b):
        other = b if a == "float*" else a
        return other if other in FLOAT_DTYPES else "float*"
    if "int*" in (a, b):
        other = b if a == "int*" else a
        return "int*" if other == "bool" else other
    if a == "bool":
        return b
    if b == "bool":
        return a
    if a in FLOAT_DTYPES or b in FLOAT_DTYPES:
        if a not in FLOAT_DTYPES:
            return b
        if b not in FLOAT_DTYPES:
            return a
        if {a, b} == {"float16", "bfloat16"}:
            return "float32"
        return max(a, b, key=lambda d: numpy_dtype(d).itemsize)
    if (a in _SIGNED) == (b in _SIGNED):
        return max(a, b, key=lambda d: np.dtype(d).itemsize)
    signed, unsigned = (a, b) if a in _SIGNED else (b, a)
    if unsigned == "uint64":
        return "float*"
    bits = 16 * np.dtype(unsigned).itemsize  # the signed type that holds the unsigned one
    return signed if np.dtype(signed).itemsize * 8 >= bits else f"int{bits}"


_cache = {}


def result_type(*dtypes):
    """The dtype of a result computed from values of these dtypes: Keras's lattice (JAX's, with int64
    kept only when an argument has it). Python's bool, int and float are weak: ``result_type("int8", int)``
    is int8, ``result_type("int32", float)`` is floatx.

    Args:
        dtypes: strings, or Python's bool, int and float.
    """
    key = (_floatx, dtypes)
    found = _cache.get(key)
    if found is None:
        if not dtypes:
            return _floatx
        names = ["int*" if d is int else "float*" if d is float else "bool" if d is bool else standardize_dtype(d)
                 for d in dtypes]
        # Weak types are met last, so that they cannot decide between strong ones.
        names.sort(key=lambda d: d.endswith("*"))
        result = names[0]
        for name in names[1:]:
            result = _promote(result, name)
        found = {"int*": "int32", "float*": _floatx}.get(result, result)
        _cache[key] = found
    return found
