"""Weights in files: what is written, what is refused, and what survives a crash."""
import errno
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from fastnn import Input, Model, Sequential, ops
from fastnn.layers import Layer
from fastnn.saving import ModelFormatError
from fastnn.saving import files
from fastnn.saving.weights import named_variables


class Shift(Layer):
    def build(self, input_shape):
        self.b = self.add_weight((input_shape[-1],), initializer="ones", name="b")
        self.count = self.add_weight((), initializer="zeros", dtype="int32", trainable=False, name="count")

    def call(self, x):
        return ops.add(x, self.b)


def make(size=3):
    return Sequential([Input((size,)), Shift(), Sequential([Shift()]), Shift()])


def fill(model, seed=0):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.integers(0, 100, w.shape) for w in model.get_weights()])
    return model.get_weights()


def same(model, values):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), values))


@pytest.fixture
def saved(tmp_path):
    model = make()
    values = fill(model)
    path = tmp_path / "w.safetensors"
    model.save_weights(path)
    return path, values


def test_round_trip_into_another_model(saved):
    path, values = saved
    other = make()
    other.load_weights(path)
    assert same(other, values)
    assert [w.dtype for w in other.get_weights()] == [w.dtype for w in values]


def test_names_follow_the_classes_and_not_the_automatic_names():
    assert list(named_variables(make())) == ["shift.b", "shift.count", "sequential.shift.b", "sequential.shift.count",
                                             "shift_1.b", "shift_1.count"]


def test_other_readers_agree(saved):
    from safetensors.numpy import load_file

    path, values = saved
    loaded = load_file(path)
    assert sorted(loaded) == sorted(named_variables(make()))
    np.testing.assert_array_equal(loaded["shift.b"], values[0])


def test_shared_layers_are_stored_once(tmp_path):
    a, b = Input((3,)), Input((3,))
    shared = Shift()
    model = Model([a, b], ops.add(shared(a), shared(b)))
    model.save_weights(tmp_path / "w.safetensors")
    assert list(named_variables(model)) == ["shift.b", "shift.count"]


def test_bfloat16(tmp_path):
    class Low(Layer):
        def build(self, input_shape):
            self.w = self.add_weight((3,), initializer="ones", dtype="bfloat16", name="w")

        def call(self, x):
            return x

    model = Sequential([Input((3,)), Low()])
    model.weights[0].assign(np.array([1.5, -2.0, 3.0]))
    model.save_weights(tmp_path / "w.safetensors")
    other = Sequential([Input((3,)), Low()])
    other.load_weights(tmp_path / "w.safetensors")
    assert np.asarray(other.weights[0].numpy(), "float32").tolist() == [1.5, -2.0, 3.0]


@pytest.mark.parametrize("path", ["w.npz", "w", "w.safetensors.txt"])
def test_other_endings_are_refused(path, tmp_path):
    for function in (make().save_weights, make().load_weights):
        with pytest.raises(ValueError, match="filepath must end with"):
            function(tmp_path / path)


def test_unbuilt_models_are_refused(saved):
    model = Sequential([Shift()])
    with pytest.raises(ValueError, match="must be built"):
        model.save_weights(saved[0])
    with pytest.raises(ValueError, match="must be built"):
        model.load_weights(saved[0])


def test_overwrite(saved):
    path, values = saved
    with pytest.raises(FileExistsError):
        make().save_weights(path, overwrite=False)
    other = make()
    other.save_weights(path)
    other.load_weights(path)
    assert not same(other, values)


@pytest.mark.parametrize("other, message", [
    (lambda: make(4), r"shift.b has shape \(4,\) and dtype float32 in the model, \(3,\) and float32 in the file"),
    (lambda: Sequential([Input((3,)), Shift()]), "sequential.shift.b is not in the model"),
    (lambda: Sequential([make(), Shift(), Shift(), Shift()]), "is not in the file"),
])
def test_another_architecture_changes_nothing(saved, other, message):
    model = other()
    before = model.get_weights()
    with pytest.raises(ModelFormatError, match=message):
        model.load_weights(saved[0])
    assert same(model, before)


def test_skip_mismatch_takes_what_fits(saved):
    path, values = saved
    model = Sequential([Input((3,)), Shift()])
    model.load_weights(path, skip_mismatch=True)
    assert same(model, values[:2])
    larger = make(4)
    larger.load_weights(path, skip_mismatch=True)
    assert larger.get_weights()[0].tolist() == [1, 1, 1, 1]


def test_a_dtype_that_differs_is_refused(saved):
    path, _ = saved
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"I32"', b'"U32"'))
    with pytest.raises(ModelFormatError, match="dtype int32 in the model, .* and uint32 in the file"):
        make().load_weights(path)


def test_every_truncation_is_noticed(saved):
    path, _ = saved
    raw = path.read_bytes()
    model = make()
    before = model.get_weights()
    for size in sorted({*range(0, len(raw), max(1, len(raw) // 64)), len(raw) - 1}):
        path.write_bytes(raw[:size])
        with pytest.raises(ModelFormatError):
            model.load_weights(path)
    assert same(model, before)


def test_every_flipped_bit_of_the_values_is_noticed(saved):
    path, _ = saved
    raw = path.read_bytes()
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    for bit in range(8 * (len(raw) - start)):
        damaged = bytearray(raw)
        damaged[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError, match="damaged"):
            make_once().load_weights(path)


_once = []


def make_once():
    if not _once:
        _once.append(make())
    return _once[0]


def header_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("header, data", [
    (b"[]", b""), (b"{", b""), (b'{"a":\xff}', b""), (b'{"a":1}', b""), (b"[" * 100000, b""),
    ({"shift.b": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}, bytes(12)),
    ({"shift.b": {"dtype": "F32", "shape": [3], "data_offsets": [12, 0]}}, bytes(12)),
    ({"shift.b": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(12)),
    ({"shift.b": {"dtype": "F32", "shape": [4194305, 4194305, 211106198978564], "data_offsets": [0, 16]}}, bytes(16)),
    ({"shift.b": {"dtype": "X99", "shape": [3], "data_offsets": [0, 12]}}, bytes(12)),
    ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [4, 16]}}, bytes(16)),
], ids=range(11))
def test_hostile_headers(tmp_path, header, data):
    path = tmp_path / "w.safetensors"
    header_file(path, header, data)
    with pytest.raises(ModelFormatError):
        make_once().load_weights(path)
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ModelFormatError):
        make_once().load_weights(path)


def test_not_a_regular_file(tmp_path):
    fifo = tmp_path / "w.safetensors"
    os.mkfifo(fifo)
    with pytest.raises(ModelFormatError, match="must be a regular file"):
        make_once().load_weights(fifo)
    with pytest.raises(OSError):
        make_once().load_weights(tmp_path / "none.safetensors")


def test_a_file_too_large_for_the_model_is_not_read(tmp_path):
    path = tmp_path / "w.safetensors"
    with open(path, "wb") as file:
        file.truncate(10 << 30)  # sparse
    with pytest.raises(ModelFormatError, match="must have at most"):
        make_once().load_weights(path)


# ---- writing -------------------------------------------------------------------------------------


def test_the_umask_decides_the_mode_of_new_files(saved, tmp_path):
    for mask, mode in ((0o022, 0o644), (0o007, 0o660)):
        old = os.umask(mask)
        try:
            files.atomic_write(tmp_path / f"{mode}", [b"x"])
        finally:
            os.umask(old)
        assert os.stat(tmp_path / f"{mode}").st_mode & 0o777 == mode


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    os.symlink(tmp_path / "real", tmp_path / "link")
    files.atomic_write(tmp_path / "link", [b"new", b"er"])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"newer"


def test_stale_leftovers_are_removed(tmp_path):
    stale, fresh = tmp_path / "f.aaaa.fastnn-tmp", tmp_path / "f.bbbb.fastnn-tmp"
    stale.write_bytes(b"")
    fresh.write_bytes(b"")
    old = time.time() - 7200
    os.utime(stale, (old, old))
    files.atomic_write(tmp_path / "f", [b"x"])
    assert not stale.exists() and fresh.exists()


class Faults:
    """Stands in for `os` and lets the k-th call of the functions that touch the disk fail."""

    def __init__(self, k, error):
        self.left, self.error = k, error

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in ("open", "write", "fsync", "replace"):
            return real

        def call(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                if self.error == "short":
                    return real(args[0], bytes(args[1])[:1]) if name == "write" else real(*args, **kwargs)
                raise OSError(self.error, os.strerror(self.error))
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES, "short"])
def test_a_failure_at_any_point_leaves_the_old_file(saved, tmp_path, monkeypatch, error):
    path, values = saved
    model = make()
    fill(model, seed=1)
    for k in range(1, 40):
        faults = Faults(k, error)
        monkeypatch.setattr(files, "os", faults)
        try:
            model.save_weights(path)
        except OSError as caught:
            assert caught.errno == error and str(path) in str(caught)
        finally:
            monkeypatch.undo()
        assert sorted(os.listdir(tmp_path)) == ["w.safetensors"]
        reader = make()
        reader.load_weights(path)
        assert same(reader, values) or same(reader, model.get_weights())
        if faults.left > 0:
            break  # no call was left to fail
    else:
        raise AssertionError("a save makes fewer calls than this")
    assert same(reader, model.get_weights())


WRITER = """
import sys
import numpy as np
from fastnn.saving.files import atomic_write
n = 0
while True:
    atomic_write(sys.argv[1], [bytes([n % 256]) * 100000] * 20)
    print(n, flush=True)
    n += 1
"""


def test_sigkill_never_leaves_a_broken_file(tmp_path):
    path = tmp_path / "f"
    for trial in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()  # one save is complete
        time.sleep(random.Random(trial).uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        done = int(([0] + process.stdout.read().split())[-1])
        process.wait()
        data = path.read_bytes()
        assert len(data) == 2000000 and len(set(data)) == 1
        assert data[0] in (done % 256, (done + 1) % 256)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_written_again_keeps_its_permissions(tmp_path):
    path = tmp_path / "w.bin"
    files.atomic_write(path, [b"one"])
    os.chmod(path, 0o600)
    files.atomic_write(path, [b"two"])
    assert path.read_bytes() == b"two" and os.stat(path).st_mode & 0o777 == 0o600
