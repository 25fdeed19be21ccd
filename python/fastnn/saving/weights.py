"""Weights in `.safetensors` files: an 8-byte length, a JSON header, then the values.

A variable is called after the classes of the layers that hold it, numbered within their parent
(`dense.kernel`, `sequential_1.conv2d.bias`), so that a second model from the same code fits.
"""
import hashlib
import json
import math
import os
import struct

import numpy as np

from .. import dtypes
from ..tensor import bfloat16_bits, from_numpy, to_numpy
from ..utils.naming import to_snake_case
from .files import ModelFormatError, atomic_write, read_regular_file
from .state import WeightsReport

_NAMES = {"bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16",
          "uint32": "U32", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}
_DTYPES = {value: key for key, value in _NAMES.items()}
_MAX_HEADER = 64 << 20


def named_variables(model):
    """A dict from name to variable: all variables of a model, without those of optimizer and metrics."""
    found, seen = {}, set()

    def add(name, variable):
        if id(variable) in seen:
            return
        seen.add(id(variable))
        unique, n = name, 0
        while unique in found:
            n += 1
            unique = f"{name}_{n}"
        found[unique] = variable

    stack = [(model, "")]
    visited = set()
    while stack:
        layer, prefix = stack.pop()
        if id(layer) in visited:
            continue
        visited.add(id(layer))
        own = [*layer._trainable_variables, *layer._non_trainable_variables, *(g.state for g in layer._seed_generators)]
        for variable in own:
            add(prefix + variable.name, variable)
        counts, children = {}, []
        for child in layer._layers:
            kind = to_snake_case(type(child).__name__)
            n = counts[kind] = counts.get(kind, -1) + 1
            children.append((child, f"{prefix}{kind}_{n}." if n else f"{prefix}{kind}."))
        stack.extend(reversed(children))
    return found


def save_weights(model, filepath, overwrite=True):
    """Writes the variables of `model`; see `Model.save_weights`."""
    path = _checked_path(filepath, "save_weights")
    if not model.built:
        raise ValueError(f"[save_weights] the model must be built: call it on data first. Received: {model.name!r}")
    if not overwrite and os.path.exists(path):
        raise FileExistsError(17, "[save_weights] the file exists and overwrite=False", path)
    variables = named_variables(model)
    arrays = {name: _bits(v.value) for name, v in variables.items()}
    digest, offset, header = hashlib.sha256(), 0, {}
    for name, variable in variables.items():
        array = arrays[name]
        header[name] = {"dtype": _NAMES[variable.dtype], "shape": list(variable.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
        digest.update(_bytes_of(array))
    header = {"__metadata__": {"sha256": digest.hexdigest()}, **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    atomic_write(path, [struct.pack("<Q", len(text)), text, *(_bytes_of(array) for array in arrays.values())])


def load_weights(model, filepath, skip_mismatch=False):
    """Reads variables into `model`; see `Model.load_weights`."""
    path = _checked_path(filepath, "load_weights")
    if not model.built:
        raise ValueError(f"[load_weights] the model must be built: call it on data first. Received: {model.name!r}")
    variables = named_variables(model)
    expected = sum(_nbytes(v) for v in variables.values())
    header, data = _read(path, None if skip_mismatch else expected + _MAX_HEADER)
    values, missing, mismatched = {}, [], []
    unexpected = sorted(set(header) - set(variables))
    problems = [f"{name} is not in the model" for name in unexpected]
    for name, variable in variables.items():
        entry = header.get(name)
        if entry is None:
            problems.append(f"{name} is not in the file")
            missing.append(name)
        elif tuple(entry["shape"]) != tuple(variable.shape) or _DTYPES.get(entry["dtype"]) != variable.dtype:
            theirs = _DTYPES.get(entry["dtype"], entry["dtype"])
            problems.append(f"{name} has shape {tuple(variable.shape)} and dtype {variable.dtype} in the model, "
                            f"{tuple(entry['shape'])} and {theirs} in the file")
            mismatched.append((name, f"{variable.dtype}{tuple(variable.shape)}", f"{theirs}{tuple(entry['shape'])}"))
        else:
            values[name] = entry
    if problems and not skip_mismatch:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ModelFormatError(f"[load_weights] the file must hold the variables of the model. Received: {path!r}: {shown}")
    # Everything is checked: from here on nothing fails half-way.
    for name, entry in values.items():
        begin, end = entry["data_offsets"]
        variable = variables[name]
        variable.assign(_tensor(data[begin:end], variable.dtype, variable.shape))
    return WeightsReport(list(values), missing, unexpected, mismatched)


def _checked_path(filepath, op):
    path = os.fspath(filepath)
    if not isinstance(path, str) or not path.endswith(".safetensors"):
        raise ValueError(f"[{op}] filepath must end with .safetensors. Received: filepath={filepath!r}")
    return path


def _nbytes(variable):
    return math.prod(variable.shape) * dtypes.numpy_dtype(variable.dtype).itemsize


def _bits(tensor):
    """The values as a contiguous NumPy array, bfloat16 as uint16."""
    return np.ascontiguousarray(np.asarray(bfloat16_bits(tensor)) if tensor.dtype == "bfloat16" else to_numpy(tensor))


def _bytes_of(array):
    return memoryview(array.reshape(-1)).cast("B") if array.size else b""


def _tensor(data, dtype, shape):
    array = np.frombuffer(data, dtype=dtypes.numpy_dtype(dtype)).reshape(shape)
    return from_numpy(array.copy())


def _read(path, limit):
    """The header (name -> dtype, shape, data_offsets) and the data section of a file that was found sound."""
    from safetensors import SafetensorError, deserialize

    raw = read_regular_file(path, limit)
    try:
        deserialize(raw)  # checks lengths, offsets, overlaps and shapes
        size = struct.unpack_from("<Q", raw)[0]
        header = json.loads(raw[8:8 + size])
    except (SafetensorError, ValueError, struct.error, RecursionError, MemoryError, OverflowError) as error:
        raise ModelFormatError(f"[load_weights] must be a sound safetensors file. Received: {path!r}: {error}") from None
    metadata = header.pop("__metadata__", None) or {}
    data = memoryview(raw)[8 + size:]
    digest = metadata.get("sha256")
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise ModelFormatError(f"[load_weights] the file is damaged: its values do not have their checksum. Received: {path!r}")
    return header, data
