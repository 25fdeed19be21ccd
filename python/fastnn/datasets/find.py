"""Looks for the file of a data set, and says what would supply it."""

import importlib.util
import io
import math
import os
import pathlib
import zipfile

import numpy as np

from ..saving.archive import open_regular
from ..saving.files import ModelFormatError

_LARGEST_RATIO, _SMALL = 100, 64 << 20  # of the bytes of arrays and of their file; images of digits reach 10


def folders():
    """Where .npz files are looked for, in order."""
    found = [os.environ["FASTNN_DATASETS"]] if os.environ.get("FASTNN_DATASETS") else []
    home = pathlib.Path.home()
    return [pathlib.Path(f) for f in found] + [home / ".fastnn" / "datasets", home / ".keras" / "datasets"]


def package_file(package, *parts):
    """The path of a file inside an installed package, or None. The package is not imported."""
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = pathlib.Path(root, *parts)
        if path.is_file():
            return path
    return None


def load_npz(name, path=None):
    """((x_train, y_train), (x_test, y_test)) of ``path`` or of ``name``.npz in one of ``folders``, or None.

    Raises:
        FileNotFoundError: ``path`` is given and does not exist.
        ModelFormatError: a ValueError; the file is damaged, lacks one of the four arrays, or holds Python objects, which
            are not loaded.
    """
    file = find_file(name, path)
    if file is None:
        return None
    x_train, y_train, x_test, y_test = read_npz(name, file, ("x_train", "y_train", "x_test", "y_test"))
    return (x_train, y_train), (x_test, y_test)


def load_table(name, path, rows, test_split, seed):
    """As `load_npz`; of a file that holds x and y, as Keras keeps them, the first ``rows`` in Keras's order, split in two."""
    if not 0 <= test_split < 1:
        raise ValueError(f"[datasets.{name}] test_split must be in [0, 1). Received: test_split={test_split}")
    file = find_file(name, path)
    try:
        x, y = (a[:rows] for a in read_npz(name, file, ("x", "y"))) if file else (None, None)
    except ModelFormatError:
        return load_npz(name, path)
    if x is None:
        return None
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    n = int(len(x) * (1 - test_split))
    return (x[order[:n]], y[order[:n]]), (x[order[n:]], y[order[n:]])


def find_file(name, path=None):
    """``path``, or a file of this name (by default ``name``.npz) in one of ``folders``; None if there is none.

    Raises:
        FileNotFoundError: ``path`` is absolute and no file.
    """
    absolute = path and os.path.isabs(os.path.expanduser(path))
    candidates = [pathlib.Path(path)] if absolute else [f / (path or f"{name}.npz") for f in folders()]
    for candidate in candidates:
        candidate = candidate.expanduser()
        if candidate.is_file():
            return candidate
    if absolute:
        raise FileNotFoundError(f"[datasets.{name}] path must be a file. Received: path={path!r}")
    return None


def read_npz(name, path, keys, read_objects=None):
    """The arrays of a file, each as large as its header says before it is made.

    Args:
        name: of the data set, for messages.
        path: of the file.
        keys: of the arrays.
        read_objects: function (file object, shape) -> array for arrays of Python objects, or None to refuse them.

    Raises:
        ModelFormatError: it is damaged, lacks an array, or holds Python objects.
    """
    try:
        with open_regular(path) as (file, size), zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            missing = [key for key in keys if f"{key}.npy" not in members]
            if missing:
                raise ModelFormatError(f"[datasets.{name}] the file must hold {', '.join(keys)}. "
                                       f"Received: {path} without {', '.join(missing)}")
            infos = [members[f"{key}.npy"] for key in keys]
            if sum(info.file_size for info in infos) > max(_LARGEST_RATIO * size, _SMALL):
                raise ModelFormatError(f"[datasets.{name}] the arrays must not be more than {_LARGEST_RATIO} times as large as "
                                       f"their file. Received: {path}")
            return [_read_npy(archive, info, read_objects) for info in infos]
    except ModelFormatError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise what they like on damaged files
        raise ModelFormatError(f"[datasets.{name}] must be a sound .npz file of numbers. Received: {path}: "
                               f"{error}") from None


def _read_npy(archive, info, read_objects):
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read_header(stream)
    start = stream.tell()
    if dtype.hasobject and read_objects is not None:
        return read_objects(stream, shape)
    if dtype.hasobject:
        raise ValueError(f"{info.filename!r} holds a pickle")
    if any(n < 0 for n in shape) or start + math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{info.filename!r} does not hold an array of shape {shape} and dtype {dtype}")
    array = np.frombuffer(data, dtype, offset=start)
    return array.reshape(shape[::-1]).T.copy() if fortran else array.reshape(shape).copy()


def not_found(name, package=None):
    """The error that says what would supply the data set."""
    where = ", ".join(str(f) for f in folders())
    hint = f"`pip install {package}` supplies it, or put" if package else "Put"
    return FileNotFoundError(f"[datasets.{name}] the data were not found and fastnn downloads nothing. "
                             f"{hint} {name}.npz with x_train, y_train, x_test and y_test into one of: {where}")


def split_rows(x, y, test, seed):
    """Rows in an order drawn from ``seed``, the last ``test`` of them held out."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))
    x, y = x[order], y[order]
    return (x[:-test], y[:-test]), (x[-test:], y[-test:])
