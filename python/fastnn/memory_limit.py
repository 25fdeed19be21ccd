"""A limit on the variables that may be made while a file is read, so that a small file cannot ask for a large model."""
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
