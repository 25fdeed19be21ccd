"""The device that code runs on."""

import functools
import re
import threading
from pathlib import Path

from . import _core

# Whether this process has a device beside the CPU: while not, nobody asks where a tensor is.
in_use = False
_streams = threading.local()
_TYPES = {"cpu": "cpu", "cuda": "cuda", "gpu": "cuda", "cuda-emu": "cuda-emu"}


def library_path(name):
    """Where the library of a device is, which is there only if it was built."""
    return Path(_core.__file__).with_name(f"_{name.replace('-', '_')}.so")


def load(name):
    """Make a device ready; nothing happens if it is.

    Raises:
        ValueError: it was not built, or this machine cannot use it.
    """
    if name == "cpu" or _core.device_loaded(name):
        return
    path = library_path(name)
    if not path.exists():
        raise ValueError(f"[device] this build of fastnn must have the device: -DFASTNN_{name.upper().replace('-', '_')}=ON "
                         f"builds it. Received: device={name!r}")
    _core.load_device(name, str(path))
    global in_use
    in_use = True


def _standardize(device_name):
    text = "cpu" if device_name is None else str(device_name)
    match = re.fullmatch(r"/?(?:device:)?([a-z-]+)(?::(\d+))?", text.lower())
    if not match or match[1] not in _TYPES or (match[1] != "cpu" and match[2] not in (None, "0")):
        raise ValueError("[device] device must be cpu, cuda (or gpu) or cuda-emu, with :0 behind it or nothing. "
                         f"Received: {device_name!r}")
    return _TYPES[match[1]]


def stream_address():
    """The address of the CUDA stream that this thread's kernels run on; 0 is the default one."""
    return getattr(_streams, "address", 0)


def set_stream(address):
    """Run this thread's kernels on a CUDA stream from now on. Returns the address of the one before."""
    outer = stream_address()
    _core.device_set_stream("cuda", address)
    _streams.address = address
    return outer


class device:
    """A `with` block on a device: tensors made in it are there, and its ops take tensors that are there.

    Args:
        device_name: `"cpu"`, `"cuda"` (or `"gpu"`), `"cuda-emu"` (CUDA kernels run by the CPU, in builds for
            tests), each also as `"cuda:0"`; None is the CPU.

    Raises:
        ValueError: there is no such device, or it was not built, or this machine cannot use it.
    """

    def __init__(self, device_name):
        self.name = _standardize(device_name)
        load(self.name)

    def __enter__(self):
        self._outer = _core.set_device(self.name, False)
        return self

    def __exit__(self, *_):
        _core.set_device(self._outer, False)


def set_device(device_name):
    """Like `device`, for the whole process from now on. `FASTNN_DEVICE` in the environment does it at import.

    Args:
        device_name: as for `device`.
    """
    name = _standardize(device_name)
    load(name)
    _core.set_device(name, True)


def device_of(model):
    """The name of the device that the variables of a layer or model are on; None if it has none yet."""
    variables = model.weights or getattr(getattr(model, "_loss_tracker", None), "variables", None)
    return variables[0]._value.device if variables else None


def on_own_device(method):
    """A method of a model that runs on the device of the model's variables, whatever the scope it is called in."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        if in_use:
            name = device_of(self)
            if name not in (None, "meta", _core.current_device()):
                with device(name):
                    return method(self, *args, **kwargs)
        return method(self, *args, **kwargs)

    return run
