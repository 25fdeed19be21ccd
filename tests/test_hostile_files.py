"""Hostile model files: each is refused with ModelFormatError, quickly, without running, opening or importing anything."""
import importlib
import io
import json
import os
import random
import struct
import sys
import time
import zipfile

import h5py
import numpy as np
import pytest

import fastnn as keras
from fastnn import saving
from fastnn.saving import ModelFormatError


def make():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="d"), keras.layers.BatchNormalization(name="b")])
    model.compile("sgd", "mse")
    return model


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The members of a sound file, as Keras would write it."""
    path = tmp_path_factory.mktemp("good") / "m.keras"
    make().save(path)
    saving.load_model(path)  # whatever is imported when first used is imported now
    importlib.import_module("fastnn.saving.legacy")
    "".encode("ascii"), importlib.import_module("encodings.ascii")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["metadata.json"] = b"{}"
    return members


def write(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return path


class Watch:
    """What happens while a file is read, by the events of the interpreter."""

    def __init__(self):
        self.on, self.events = False, []
        sys.addaudithook(self)

    def __call__(self, event, args):
        if self.on and (event in ("open", "socket.connect", "subprocess.Popen", "os.system", "exec", "import", "os.mkdir",
                                  "os.rename", "os.remove", "ctypes.dlopen") or event.startswith("socket")):
            if not (event == "open" and isinstance(args[0], int)):  # a file object for what is open
                self.events.append((event, str(args[0]) if args else ""))


watch = Watch()


def refused(path, match=None, load=None):
    """Loads the file, which must be refused within a second, having opened nothing else."""
    load = load or saving.load_model
    before = set(os.listdir(os.path.dirname(path)))
    start, watch.events, watch.on = time.process_time(), [], True
    try:
        with pytest.raises(ModelFormatError, match=match):
            load(path)
    finally:
        watch.on = False
    assert time.process_time() - start < 2
    assert [e for e in watch.events if e[0] != "import" and e != ("open", str(path))] == []
    assert set(os.listdir(os.path.dirname(path))) == before


def with_config(good, change):
    config = json.loads(good["config.json"])
    change(config)
    return {**good, "config.json": json.dumps(config).encode()}


def layer(class_name, config, module="keras.layers", **more):
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None, **more}


def test_a_sound_file_opens_once_and_nothing_else(good, tmp_path):
    path = write(tmp_path / "m.keras", good)
    watch.events, watch.on = [], True
    try:
        saving.load_model(path)
    finally:
        watch.on = False
    assert [e for e in watch.events if e[0] != "import"] == [("open", str(path))]


# ---- configs -------------------------------------------------------------------------------------------

GADGETS = {
    "os.system": layer("system", {"command": "touch owned"}, "os"),
    "builtins.exec": layer("exec", {"source": "1"}, "builtins"),
    "function": layer("function", "os.system", "os"),
    "subprocess": layer("Popen", {"args": ["id"]}, "subprocess"),
    "dunder": layer("__init__", {}, "fastnn.layers"),
    "dotted": layer("layer.Layer", {}, "keras.layers"),
    "import": layer("Layer", {}, "antigravity"),
    "get_file": layer("get_file", {"origin": "http://127.0.0.1:9/x", "extract": True}, "keras.utils"),
    "unsafe switch": layer("enable_unsafe_deserialization", {}, "keras.config"),
    "python code": layer("Lambda", {"name": "l", "function": {
        "class_name": "__lambda__", "config": {"code": "4wEAAA==", "defaults": None, "closure": None}}}),
    "lambda by function": layer("Lambda", {"name": "l", "function": {
        "module": "os", "class_name": "function", "config": "system", "registered_name": "function"}}),
    "not a layer": layer("Adam", {}, "keras.optimizers"),
    "vocabulary file": layer("StringLookup", {"name": "s", "vocabulary": "/etc/passwd"}),
    "vocabulary url": layer("StringLookup", {"name": "s", "vocabulary": "http://127.0.0.1:9/v"}),
    "module list": layer("Dense", {"units": 3}, ["keras.layers"]),
    "class name number": {"module": "keras.layers", "class_name": 5, "config": {}},
    "object array": layer("Normalization", {"name": "n", "mean": {
        "class_name": "__numpy__", "config": {"value": [1.0], "dtype": "S1000000000"}}, "variance": [1.0]}),
    "html name": layer("Dense", {"units": 3, "name": "<script>"}),
    "path name": layer("Dense", {"units": 3, "name": "../../x"}),
    "units": layer("Dense", {"units": 2**40, "name": "x"}),
    "units that overflow": layer("Dense", {"units": 2**62, "name": "x"}),
    "large embedding": layer("Embedding", {"input_dim": 10**8, "output_dim": 100, "name": "x"}),
}


@pytest.mark.parametrize("gadget", GADGETS)
def test_gadgets_in_a_config(gadget, good, tmp_path):
    members = with_config(good, lambda c: c["config"]["layers"].insert(1, GADGETS[gadget]))
    refused(write(tmp_path / "m.keras", members))
    assert not os.path.exists("owned")


@pytest.mark.parametrize("gadget", ["os.system", "function", "get_file", "unsafe switch", "python code"])
def test_gadgets_in_place_of_the_model_and_in_compile(gadget, good, tmp_path):
    refused(write(tmp_path / "a.keras", {**good, "config.json": json.dumps(GADGETS[gadget]).encode()}))
    members = with_config(good, lambda c: c["compile_config"].update(loss=GADGETS[gadget]))
    refused(write(tmp_path / "b.keras", members))
    members = with_config(good, lambda c: c["config"]["layers"][1]["config"].update(activation=GADGETS[gadget]))
    refused(write(tmp_path / "c.keras", members))


@pytest.mark.parametrize("text", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"!!python/object:os.system",
    b'{"module": "keras", "class_name": "Sequential", "config": {}}',
    b'{"module": "keras", "class_name": "Sequential", "config": {"layers": [1, 2]}}',
    b'{"module": "keras", "class_name": "Functional", "config": {"layers": [], "input_layers": [], "output_layers": []}}'])
def test_configs_that_are_none(text, good, tmp_path):
    refused(write(tmp_path / "m.keras", {**good, "config.json": text}))


def test_a_graph_with_a_loop(good, tmp_path):
    def call(name):
        return [{"args": [{"class_name": "__keras_tensor__", "config": {
            "shape": [None, 3], "dtype": "float32", "keras_history": [name, 0, 0]}}], "kwargs": {}}]

    layers = [layer("InputLayer", {"batch_shape": [None, 3], "name": "i"}, name="i", inbound_nodes=[]),
              layer("Dense", {"units": 3, "name": "a"}, name="a", inbound_nodes=call("b")),
              layer("Dense", {"units": 3, "name": "b"}, name="b", inbound_nodes=call("a"))]
    config = layer("Functional", {"name": "m", "layers": layers, "input_layers": [["i", 0, 0]], "output_layers": [["b", 0, 0]]},
                   "keras.src.models.functional")
    refused(write(tmp_path / "m.keras", {**good, "config.json": json.dumps(config).encode()}), "loop")


def test_too_many_layers(good, tmp_path):
    one = layer("Dense", {"units": 1, "name": "a"}, name="a", inbound_nodes=[])
    config = layer("Functional", {"layers": [one] * 10_001}, "keras.src.models.functional")
    refused(write(tmp_path / "m.keras", {**good, "config.json": json.dumps(config).encode()}), "layers")


def test_weights_that_the_file_does_not_hold_are_not_allocated(good, tmp_path):
    """A model of two gigabytes in a file of a few kilobytes."""
    wide = [layer("Dense", {"units": 16_384, "name": f"w{i}"}) for i in range(3)]
    members = with_config(good, lambda c: c["config"]["layers"].extend(wide))
    refused(write(tmp_path / "m.keras", members), "must fit into the weights")


# ---- the zip -------------------------------------------------------------------------------------------


def test_members(good, tmp_path):
    refused(write(tmp_path / "a.keras", {**good, "../../owned": b"x"}), "must consist of")
    refused(write(tmp_path / "b.keras", {**good, "assets/../../owned": b"x"}), "must consist of")
    refused(write(tmp_path / "c.keras", {**good, "extra.bin": b"x"}), "must consist of")
    refused(write(tmp_path / "d.keras", {k: v for k, v in good.items() if k != "config.json"}), "must have a config")
    refused(write(tmp_path / "e.keras", {k: v for k, v in good.items() if k != "model.weights.h5"}), "must hold model.weights")
    with pytest.warns(UserWarning, match="Duplicate"):
        write(tmp_path / "f.keras", [*good.items(), ("config.json", b"{}")])
    refused(tmp_path / "f.keras", "once")
    refused(write(tmp_path / "g.keras", good, compression=zipfile.ZIP_BZIP2), "stored or deflated")
    saving.load_model(write(tmp_path / "h.keras", good, compression=zipfile.ZIP_DEFLATED))


def test_zip_bombs(good, tmp_path):
    zeros = {**good, "config.json": b" " * (17 << 20)}
    refused(write(tmp_path / "a.keras", zeros, compression=zipfile.ZIP_DEFLATED), "at most")
    zeros = {**good, "model.weights.h5": bytes(65 << 20)}
    refused(write(tmp_path / "b.keras", zeros, compression=zipfile.ZIP_DEFLATED), "at most")
    many = [*good.items(), *((f"assets/{i}", b"") for i in range(20_000))]
    refused(write(tmp_path / "c.keras", many), "few members")


def patched(good, path, change):
    """A file whose last central directory entry (of the weights) is changed."""
    data = bytearray(write(path, good).read_bytes())
    change(data, data.rfind(b"PK\1\2"))
    path.write_bytes(data)
    return path


def test_directories_that_lie(good, tmp_path):
    refused(patched(good, tmp_path / "a.keras", lambda d, at: struct.pack_into("<II", d, at + 20, 1 << 30, 1 << 30)))
    refused(patched(good, tmp_path / "b.keras", lambda d, at: struct.pack_into("<H", d, at + 8, 1)), "encrypted")
    refused(patched(good, tmp_path / "c.keras", lambda d, at: struct.pack_into("<I", d, at + 42, 0)))
    refused(patched(good, tmp_path / "d.keras", lambda d, at: struct.pack_into("<I", d, at + 24, 5)))


def test_not_zips(tmp_path, good):
    for i, data in enumerate((b"", b"PK", b"PK\5\6" + b"\0" * 17, b"PK\3\4" + b"\0" * 100, b"\x89HDF\r\n\x1a\n", b"<html>", b"x" * 1000)):
        path = tmp_path / f"{i}.keras"
        path.write_bytes(data)
        refused(path)
    os.mkfifo(tmp_path / "fifo.keras")
    refused(tmp_path / "fifo.keras", "regular file")


# ---- the weights ---------------------------------------------------------------------------------------


def h5_bytes(good, change):
    buffer = io.BytesIO(good["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def replaced(name, **options):
    def change(file):
        del file[name]
        file.create_dataset(name, **options)

    return change


def linked(link):
    def change(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = link

    return change


def external(folder):
    secret = folder / "secret"
    secret.write_bytes(np.arange(12, dtype="float32").tobytes())
    return replaced("layers/dense/vars/0", shape=(3, 4), dtype="f4", external=[(str(secret), 0, 48)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (3, 4))
    del file["layers/dense/vars/0"]
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def looped(file):
    file["layers/dense/again"] = file["layers"]


def committed(file):
    file["layers/dense/type"] = np.dtype("f4")


W = "layers/dense/vars/0"
WEIGHTS = {
    "external link": linked(h5py.ExternalLink("/etc/passwd", "/x")),
    "soft link": linked(h5py.SoftLink("/layers/dense/vars/1")),
    "external storage": external,
    "virtual dataset": virtual,
    "loop of groups": looped,
    "named type": committed,
    "shape bomb": replaced(W, shape=(1 << 40, 4), dtype="f4", chunks=(1024, 4), compression="gzip"),
    "another shape": replaced(W, data=np.zeros((4, 3), "f4")),
    "another dtype": replaced(W, data=np.zeros((3, 4), "i8")),
    "strings": replaced(W, data=np.array([[b"x"] * 4] * 3)),
    "objects": replaced(W, shape=(3, 4), dtype=h5py.string_dtype()),
    "compound": replaced(W, shape=(3, 4), dtype=[("a", "f4")]),
    "unknown filter": lambda file: replaced(W, shape=(3, 4), dtype="f4", chunks=(3, 4), compression="lzf")(file),
    "no values": replaced(W, data=h5py.Empty("f4")),
    "missing": lambda file: file.__delitem__(W),
    "group in its place": lambda file: (file.__delitem__(W), file.create_group(W)),
    "negative variance": replaced("layers/batch_normalization/vars/3", data=np.full(4, -1, "f4")),
    "NaN variance": replaced("layers/batch_normalization/vars/3", data=np.full(4, np.nan, "f4")),
}


@pytest.mark.parametrize("attack", WEIGHTS)
def test_weights(attack, good, tmp_path):
    change = WEIGHTS[attack]
    data = h5_bytes(good, external(tmp_path) if change is external else change)
    refused(write(tmp_path / "m.keras", {**good, "model.weights.h5": data}))
    path = tmp_path / "m.weights.h5"
    path.write_bytes(data)
    model = make()
    before = model.get_weights()
    refused(path, load=model.load_weights)
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)


def test_a_counter_out_of_range(good, tmp_path):
    data = h5_bytes(good, replaced("optimizer/vars/0", data=np.int64(1 << 40)))
    refused(write(tmp_path / "m.keras", {**good, "model.weights.h5": data}), "must fit into int32")


def test_damaged_weights(good, tmp_path):
    data = good["model.weights.h5"]
    for i, cut in enumerate((0, 4, 100, 600, len(data) // 2)):
        refused(write(tmp_path / f"{i}.keras", {**good, "model.weights.h5": data[:cut]}))
    members = {**good, "metadata.json": json.dumps({"sha256": {"config.json": "0" * 64}}).encode()}
    refused(write(tmp_path / "digest.keras", members), "checksum")


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_every_truncation_and_flipped_bit_of_our_files(name, tmp_path):
    model, path = make(), tmp_path / name
    model.save(path) if name.endswith(".keras") else model.save_weights(path)
    load = saving.load_model if name.endswith(".keras") else model.load_weights
    load(path)
    data = path.read_bytes()
    for i in range(64):
        path.write_bytes(data[:len(data) * i // 64])
        with pytest.raises(ModelFormatError):
            load(path)
    rng = np.random.default_rng(0)
    for bit in rng.integers(0, 8 * len(data), 1000):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        with pytest.raises(ModelFormatError):
            load(path)


# ---- files of Keras 2 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gadget", GADGETS)
def test_gadgets_in_files_of_keras_2(gadget, tmp_path):
    path = tmp_path / "m.h5"
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "name": "i"}}, GADGETS[gadget]]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.create_group("model_weights").attrs["layer_names"] = []
    refused(path)


def test_calls_of_tensorflow_in_files_of_keras_2(tmp_path):
    path = tmp_path / "m.h5"
    config = {"class_name": "Functional", "config": {"name": "m", "layers": [
        {"class_name": "TFOpLambda", "name": "f", "config": {"name": "f", "function": "io.read_file"}, "inbound_nodes": []}],
        "input_layers": [], "output_layers": []}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.create_group("model_weights").attrs["layer_names"] = []
    refused(path, "TensorFlow functions")


def test_names_that_lead_elsewhere_in_files_of_keras_2(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["../../x"]
    refused(path, load=make().load_weights)


# ---- what comes in other ways --------------------------------------------------------------------------


def test_configs_that_are_damaged():
    """ValueError or TypeError, whatever is missing or of another kind."""
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.Conv1D(4, 3), keras.layers.LSTM(3)])
    graph = keras.Model(model.inputs, keras.layers.Dense(2)(keras.layers.Concatenate()([model.outputs[0], model.outputs[0]])))
    wrongs = [None, True, -1, 2**40, 1.5, "", "x", [], {}, [[1]], {"class_name": {}, "config": []}, DELETED]
    rng = random.Random(0)
    for source in (model, graph):
        text = source.to_json()
        config = json.loads(text)
        places, stack = [], [config]
        while stack:
            value = stack.pop()
            if isinstance(value, (dict, list)):
                keys = list(value) if isinstance(value, dict) else list(range(len(value)))
                places += [(value, key) for key in keys]
                stack += [value[key] for key in keys]
        for holder, key in places:
            before = holder[key]
            for wrong in rng.sample(wrongs, 2):
                if wrong is DELETED and isinstance(holder, dict):
                    del holder[key]
                else:
                    holder[key] = wrong if wrong is not DELETED else 0
                try:
                    keras.models.model_from_json(json.dumps(config))
                except (ValueError, TypeError, MemoryError):
                    pass
                holder[key] = before
        assert json.loads(text).keys() == config.keys()
    with pytest.raises(ValueError):
        keras.models.model_from_json("[" * 100_000)


DELETED = object()


def test_damage_to_files_without_digests(tmp_path):
    """Files of Keras and of Keras 2 have none: what is damaged is noticed, or is a number."""
    model = make()
    model.save(tmp_path / "good.h5")
    good = bytearray((tmp_path / "good.h5").read_bytes())
    rng, path = np.random.default_rng(0), tmp_path / "m.h5"
    for _ in range(150):
        data = bytearray(good)
        for at in rng.integers(0, len(data), rng.integers(1, 20)):
            data[at] = rng.choice([0, 1, 127, 128, 255])
        path.write_bytes(data)
        for load in (saving.load_model, model.load_weights):
            try:
                load(path)
            except ModelFormatError:
                pass


def test_values_that_an_editor_would_have_to_make_up(tmp_path):
    path = tmp_path / "m.weights.h5"
    for i, options in enumerate(({"chunks": (1024,)}, {"chunks": (1024,), "compression": "gzip"}, {})):
        with h5py.File(path, "w") as file:
            file.create_dataset("layers/dense/vars/0", shape=(1 << 40,), dtype="f4", **options)
        refused(path, "must be in the file", saving.KerasFileEditor)
    data = np.zeros((256, 1024), "f4")  # what is packed but small is fine
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=data, compression="gzip")
    assert saving.KerasFileEditor(path).weights_dict["layers"]["dense"]["0"].shape == data.shape


def npy(shape, dtype="|u1", data=b"", descr=None):
    header = repr({"descr": descr or dtype, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


NPZ = {
    "shape bomb": npy((1 << 40,)),
    "shape that overflows": npy((1 << 33, 1 << 33), "<f8"),
    "negative shape": npy((-1,)),
    "too few bytes": npy((100,), data=b"x" * 99),
    "too many bytes": npy((100,), data=b"x" * 101),
    "pickle": npy((1,), "|O", b"cos\nsystem\n(S'touch owned'\ntR."),
    "structure with objects": npy((1,), data=b"x" * 16, descr=[("a", "|O"), ("b", "<f8")]),
    "no magic": b"x" * 200,
    "version": b"\x93NUMPY\7\0" + b"x" * 100,
    "header that is code": b"\x93NUMPY\1\0" + struct.pack("<H", 64) + b"__import__('os').system('touch owned')".ljust(63) + b"\n",
    "empty": b"",
    "bomb": bytes(30 << 20),
}


@pytest.mark.parametrize("name", NPZ)
def test_data_sets(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTNN_DATASETS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for module, keys in (("mnist", ("x_train", "y_train", "x_test", "y_test")), ("reuters", ("x", "y"))):
        load = getattr(keras.datasets, module).load_data
        write(tmp_path / f"{module}.npz", {f"{key}.npy": npy((1 << 40,)) for key in keys})
        with pytest.raises(ModelFormatError):  # imports what is imported when first used
            load()
        path = write(tmp_path / f"{module}.npz", {f"{key}.npy": NPZ[name] for key in keys}, compression=zipfile.ZIP_DEFLATED)
        refused(path, load=lambda _, load=load: load())
    assert not os.path.exists("owned")


def test_data_sets_that_are_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTNN_DATASETS", str(tmp_path))
    texts = np.empty(3, object)
    texts[:] = [[1, 2], [3], [4, 5, 600]]
    np.savez(tmp_path / "reuters.npz", x=texts, y=np.arange(3))
    np.savez_compressed(tmp_path / "cifar10.npz", **{key: np.arange(24.0) for key in ("x_train", "y_train", "x_test", "y_test")})
    rng = np.random.default_rng(0)
    for name in ("reuters", "cifar10"):
        path, load = tmp_path / f"{name}.npz", getattr(keras.datasets, name).load_data
        good = path.read_bytes()
        load()
        for _ in range(300):
            data = bytearray(good)
            for at in rng.integers(0, len(data), rng.integers(1, 9)):
                data[at] = rng.integers(0, 256)
            path.write_bytes(data[:rng.integers(1, len(data)) if rng.random() < 0.3 else None])
            try:
                load()
            except ModelFormatError:
                pass
