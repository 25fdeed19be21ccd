"""What a file or config that is being read may ask for: so many bytes of variables, and no other files."""
import contextlib
from contextvars import ContextVar

_left = ContextVar("bytes_left", default=None)


@contextlib.contextmanager
def memory_limit(nbytes):
    """A context in which new variables may have `nbytes` bytes together; a limit inside a limit has no effect."""
    if _left.get() is not None:
        yield
        return
    token = _left.set([nbytes])
    try:
        yield
    finally:
        _left.reset(token)


def take(shape, itemsize):
    """Counts a variable that is about to be made.

    Args:
        shape: tuple of ints.
        itemsize: bytes of an element.

    Raises:
        ModelFormatError: it does not fit into the limit.
    """
    left = _left.get()
    if left is None:
        return
    nbytes = itemsize
    for n in shape:
        nbytes *= n
    left[0] -= nbytes
    if left[0] < 0:
        from .saving.files import ModelFormatError

        raise ModelFormatError(f"[load] a variable of the model must fit into the weights of its file. Received: shape={shape}")


_reading = ContextVar("reading_a_config", default=False)


@contextlib.contextmanager
def reading_config():
    """A context in which objects are made from a config, which must not make them open files."""
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def check_may_open(what, path):
    """Raises ValueError for a file that a config asks for."""
    if _reading.get():
        raise ValueError(f"[{what}] a config must hold its values, and not the path of a file, which is not opened. "
                         f"Received: {path!r}")
