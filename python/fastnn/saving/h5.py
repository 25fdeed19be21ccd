"""HDF5 files: written in memory, and read without following anything that leads out of the file.

Everything in a file is looked at before anything is used: hard links, groups and plain numeric datasets
only. The values of a dataset are read after its shape and dtype were found to be the expected ones.
"""
import hashlib
import io
import math
from contextlib import contextmanager

import numpy as np

from .. import dtypes
from .files import ModelFormatError

_BLOCK = 512  # bytes before the HDF5 part of a file of ours: a checksum of all that follows
_PREFIX = b"fastnn sha256 "
_MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_OBJECTS = 200_000
_MAX_DEPTH = 200
_FILTERS = (1, 2, 3)  # deflate, shuffle, checksum: others would be looked for among the plugins of the machine


def write_h5(groups, checksum=False):
    """The bytes of a file.

    Args:
        groups: iterable of (path, attributes, {name: array}); a path is "" or "a/b".
        checksum: put a block with a checksum before the HDF5 part, which readers skip.

    Returns:
        memoryview.
    """
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=_BLOCK if checksum else 0) as file:
        for path, attributes, datasets in groups:
            if not attributes and not datasets:
                continue
            group = file.require_group(path) if path else file
            for name, value in attributes.items():
                group.attrs[name] = value
            for name, array in datasets.items():
                array = np.asarray(array)
                dataset = group.create_dataset(name, data=array)
                if array.dtype.name == "bfloat16":  # HDF5 knows it as two bytes
                    dataset.attrs["dtype"] = "bfloat16"
    view = buffer.getbuffer()
    if checksum:
        view[:_BLOCK] = _block(hashlib.sha256(view[_BLOCK:]).hexdigest().encode())
    return view


def _block(digest):
    return (_PREFIX + digest + b"\n").ljust(_BLOCK, b"\0")


# What the library raises on damaged files.
_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, AttributeError)


@contextmanager
def _damage(what):
    """Errors of the library are errors of the file."""
    try:
        yield
    except ModelFormatError:
        raise
    except _ERRORS as error:
        raise ModelFormatError(f"[load] the file is damaged: {what} cannot be read: {error}") from None


class Dataset:
    """Values in a file: `shape`, `dtype` (a name of ours, or HDF5's if there is none) and `read()`."""

    def __init__(self, h5, dtype):
        self._h5 = h5
        self.shape = tuple(h5.shape)
        self.dtype = dtype

    @property
    def nbytes(self):
        return math.prod(self.shape) * self._h5.dtype.itemsize

    @property
    def stored(self):
        """Bytes that the values take in the file: fewer than `nbytes` where they are packed, or were never written."""
        with _damage("values"):
            return self._h5.id.get_storage_size()

    def read(self):
        """The values as a NumPy array; ModelFormatError if they are damaged."""
        array = np.empty(self.shape, self._h5.dtype)
        if array.size:
            with _damage("values"):
                self._h5.read_direct(array)
        if self.dtype == "bfloat16":
            return array.view(dtypes.numpy_dtype("bfloat16"))
        return array.astype(dtypes.numpy_dtype(self.dtype), copy=False)


class Group:
    """A group of a file: `attributes`, read when asked for, and `members` from name to Group or Dataset."""

    def __init__(self, h5):
        self._h5 = h5
        self.members = {}

    def attribute(self, name, default=None):
        """A value of plain numbers or strings, of at most 16 MiB; ModelFormatError for anything else."""
        with _damage(f"the attribute {name!r}"):
            if name not in self._h5.attrs:
                return default
            identifier = self._h5.attrs.get_id(name)
            if math.prod(identifier.shape) * max(identifier.dtype.itemsize, 1) > 16 << 20:
                raise ModelFormatError(f"[load] an attribute must be small. Received: {name!r} of shape {identifier.shape}")
            if identifier.dtype.kind not in "iufbSO":
                raise ModelFormatError(f"[load] an attribute must hold numbers or strings. Received: {name!r}")
            return self._h5.attrs[name]

    def attributes(self):
        with _damage("attributes"):
            return list(self._h5.attrs)

    def find(self, path):
        """The member at `path` ("a/b"), or None."""
        found = self
        for name in path.split("/") if path else ():
            found = found.members.get(name) if isinstance(found, Group) else None
        return found

    def datasets(self):
        """{path: Dataset} of everything below, in order."""
        result, stack = {}, [("", self)]
        while stack:
            path, item = stack.pop()
            if isinstance(item, Dataset):
                result[path] = item
            else:
                stack.extend((f"{path}/{name}" if path else name, x) for name, x in reversed(item.members.items()))
        return result


@contextmanager
def open_h5(file, path):
    """The root Group of a file that was found sound; values can be read until the context ends.

    Args:
        file: seekable binary file object; bytes that change later are not noticed.
        path: for error messages.

    Raises:
        ModelFormatError: it is not HDF5, is damaged, or holds what leads out of the file or is not numbers.
    """
    import h5py

    _check_block(file, path)
    try:
        h5 = h5py.File(file, "r")
    except Exception as error:  # the library raises what it likes on damaged files
        raise ModelFormatError(f"[load] must be a sound HDF5 file. Received: {path!r}: {error}") from None
    try:
        try:
            root = _scan(h5)
        except _ERRORS as error:
            raise ModelFormatError(f"[load] must be a sound HDF5 file. Received: {path!r}: {error}") from None
        yield root
    finally:
        h5.close()


def _check_block(file, path):
    file.seek(0)
    first = file.read(_BLOCK)
    if first.startswith(_MAGIC):
        file.seek(0)
        return
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    if first != _block(digest.hexdigest().encode()):
        raise ModelFormatError(f"[load] the file is not HDF5, or damaged: it must have its checksum. Received: {path!r}")
    file.seek(0)


def _scan(h5):
    """The tree of the file, each object looked at."""
    import h5py

    root = Group(h5)
    seen, count = {_address(h5)}, 0
    stack = [(h5, root, 0)]
    while stack:
        h5_group, group, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise ValueError("the groups are nested too deep")
        for name in h5_group:
            count += 1
            if count > _MAX_OBJECTS:
                raise ValueError(f"there are more than {_MAX_OBJECTS} objects")
            link = h5_group.get(name, getclass=True, getlink=True)
            if link is not h5py.HardLink:
                raise ValueError(f"{name!r} is a link to elsewhere ({link.__name__}), which is not followed")
            kind = h5_group.get(name, getclass=True)
            if kind is h5py.Group:
                item = h5_group[name]
                if _address(item) in seen:
                    raise ValueError(f"{name!r} is in the file twice")
                seen.add(_address(item))
                group.members[name] = Group(item)
                stack.append((item, group.members[name], depth + 1))
            elif kind is h5py.Dataset:
                group.members[name] = _dataset(h5_group[name], name)
            else:
                raise ValueError(f"{name!r} is neither a group nor a dataset")
    return root


def _address(item):
    import h5py

    return h5py.h5o.get_info(item.id).addr


def _dataset(h5, name):
    if h5.external:
        raise ValueError(f"{name!r} has its values in another file, which is not opened")
    if h5.is_virtual:
        raise ValueError(f"{name!r} is a virtual dataset, which may lead to other files")
    plist = h5.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if any(f not in _FILTERS for f in filters):
        raise ValueError(f"{name!r} is packed in an unknown way: filters {filters}")
    if h5.shape is None:
        raise ValueError(f"{name!r} has no values")
    return Dataset(h5, _dtype(h5))


def _dtype(h5):
    dtype = h5.dtype
    if dtype.kind == "V" and dtype.itemsize == 2 and "dtype" in h5.attrs:
        identifier = h5.attrs.get_id("dtype")
        if identifier.shape == () and identifier.dtype.itemsize <= 64 and h5.attrs["dtype"] == "bfloat16":
            return "bfloat16"
    return dtype.name if dtype.kind in "iufb" and dtype.names is None and dtype.subdtype is None else str(dtype)
