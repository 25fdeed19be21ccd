"""CUDA: whether it can be used, its memory and streams.

A process that was forked from one that has used the GPU cannot use it: start it with multiprocessing's "spawn". The device
"cuda-emu" has no such rule.

The kernels are compiled by nvcc and run on the CPU in the tests (the device "cuda-emu"); they have never been
timed on a GPU.
"""

import contextlib

from . import _core, scopes


def is_available():
    """Whether `fastnn.device("cuda")` works here; `unavailable_reason` says why not."""
    return unavailable_reason() is None


def unavailable_reason():
    """Why `fastnn.device("cuda")` does not work here, or None if it does."""
    try:
        scopes.load("cuda")
    except ValueError as e:
        return str(e)
    return None


def device_count():
    """How many GPUs this process uses: one, or none."""
    return int(is_available())


def _name(device):
    name = scopes.device(device).name
    if name == "cpu":
        raise ValueError(f"[cuda] device must be cuda or cuda-emu. Received: device={device!r}")
    return name


def synchronize(device="cuda"):
    """Wait until everything that was asked of the device has happened."""
    _core.device_synchronize(_name(device))


def memory_stats(device="cuda"):
    """Bytes `in_use`, at `peak` and `cached`, and the counts of `allocations` and `system_calls`, as a dict."""
    return _core.device_memory_stats(_name(device))


def reset_peak_memory(device="cuda"):
    """Count the peak of memory in use from now on."""
    _core.device_reset_peak(_name(device))


def empty_cache(device="cuda"):
    """Give memory that is kept for reuse back to the device."""
    _core.device_empty_cache(_name(device))


@contextlib.contextmanager
def stream(stream):
    """A `with` block whose kernels and copies run on a stream of CuPy's or torch's.

    They follow what this thread has asked of its stream before, and what it asks after the block follows them: arrays made
    outside may be used within, and those made within outside.

    Args:
        stream: an object with `ptr` (CuPy) or `cuda_stream` (torch), or the stream's address.
    """
    address = getattr(stream, "ptr", None)
    if address is None:
        address = getattr(stream, "cuda_stream", stream)
    _name("cuda")
    outer = scopes.set_stream(int(address))
    try:
        yield stream
    finally:
        scopes.set_stream(outer)


def current_stream():
    """The address of the stream that kernels of this thread run on, for CuPy's `ExternalStream`; 0 is the default one."""
    return scopes.stream_address()
