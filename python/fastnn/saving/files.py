"""Files that are whole or not there: written beside the target, flushed, then renamed onto it."""
import os
import secrets
import stat
import time

_SUFFIX = ".fastnn-tmp"
_STALE_SECONDS = 3600


class ModelFormatError(ValueError):
    """A model or weights file that is damaged, not of its format, or does not belong to the model."""


class ModelFileNotFoundError(FileNotFoundError, ModelFormatError):
    """There is no such file. A ValueError as in Keras, and an OSError with errno and filename."""


def atomic_write(path, chunks):
    """Writes a file at once or not at all: after a crash `path` holds the old bytes or the new ones.

    Args:
        path: of the file; a symbolic link is followed.
        chunks: iterable of bytes-like objects.

    Raises:
        OSError: with errno and path; the old file is unchanged and nothing is left behind.
    """
    path = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f"{name}.{secrets.token_hex(6)}{_SUFFIX}")
    created = False
    try:
        _remove_stale(folder, name)
        # O_EXCL as mkstemp does it, but 0666 so that the umask decides who may read the result.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        created = True
        try:
            for chunk in chunks:
                view = memoryview(chunk).cast("B")
                while len(view):  # a write may be short
                    view = view[os.write(fd, view):]
            if os.path.exists(path) and hasattr(os, "fchmod"):  # who might read the old file may read the new one
                os.fchmod(fd, stat.S_IMODE(os.stat(path).st_mode))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        created = False
        _sync_folder(folder)
    except OSError as error:
        raise type(error)(error.errno, f"cannot write {path!r}: {error.strerror or error}", path) from error
    finally:
        if created:
            try:
                os.unlink(temporary)
            except OSError:
                pass  # the error of the write is the one to report


def _sync_folder(folder):
    """Makes the rename survive a loss of power."""
    try:
        fd = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except PermissionError:
        return  # a folder that may be written but not read
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_stale(folder, name):
    """Removes what killed writers of the same file left behind more than an hour ago."""
    for entry in os.listdir(folder):
        if entry.startswith(name + ".") and entry.endswith(_SUFFIX):
            stale = os.path.join(folder, entry)
            try:
                if time.time() - os.stat(stale).st_mtime > _STALE_SECONDS:
                    os.unlink(stale)
            except OSError:
                pass  # another writer was faster


def read_regular_file(path, limit):
    """The bytes of a file.

    Args:
        path: of a regular file; opened once.
        limit: largest size to accept, in bytes, or None.

    Raises:
        OSError: it cannot be opened.
        ModelFormatError: it is not a regular file, or larger than `limit`.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise ModelFormatError(f"[load] must be a regular file. Received: {os.fspath(path)!r}")
        if limit is not None and info.st_size > limit:
            raise ModelFormatError(
                f"[load] the file must have at most {limit} bytes for this model. Received: {info.st_size} bytes in "
                f"{os.fspath(path)!r}")
        data = file.read(info.st_size + 1)
    if len(data) != info.st_size:
        raise ModelFormatError(f"[load] the file changed while it was read. Received: {os.fspath(path)!r}")
    return data
