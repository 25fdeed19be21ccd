"""Model files: files of Keras 3 and Keras 2 are read, ours are read again, and training goes on where it stopped."""
import io
import json
import errno
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from exchange_cases import CASES

import fastnn as keras
from fastnn import saving
from fastnn.saving import ModelFormatError, WeightsReport

FIXTURES = Path(__file__).parent / "fixtures"
STORED = ("dense", "residual", "several_inputs_and_outputs", "nested", "bidirectional", "custom_layer", "attention",
          "operations", "cells", "preprocessing")


def unpack(name, folder):
    with tarfile.open(FIXTURES / name) as tar:
        for member in tar.getmembers():
            (folder / member.name).write_bytes(tar.extractfile(member).read())
    return folder


@pytest.fixture(scope="module")
def keras3(tmp_path_factory):
    return unpack("keras_files.tar.xz", tmp_path_factory.mktemp("keras3"))


@pytest.fixture(scope="module")
def keras2(tmp_path_factory):
    return unpack("keras2_files.tar.xz", tmp_path_factory.mktemp("keras2"))


def flat(y):
    if isinstance(y, dict):
        return [np.asarray(y[key]) for key in sorted(y)]
    return [np.asarray(v) for v in (y if isinstance(y, (list, tuple)) else [y])]


def close(a, b, tolerance):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def state(model):
    return [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]


def same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x, y)


def train(model, x, y, steps):
    for _ in range(steps):
        model.train_on_batch(x, y)


# ---- files of Keras ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STORED)
def test_a_model_of_keras_predicts_and_resumes(name, keras3):
    _, x, y, objects = CASES[name](keras)
    model = saving.load_model(keras3 / f"{name}.keras", custom_objects=objects)
    expected = np.load(keras3 / f"{name}.npz")
    close(flat(model.predict(x, verbose=0)), [expected[f"y{i}"] for i in range(len(expected.files)) if f"y{i}" in expected], 1e-5)
    train(model, x, y, 3)
    close(model.get_weights(), [expected[f"w{i}"] for i in range(len(expected.files)) if f"w{i}" in expected], 1e-4)


def test_weights_of_keras_fit_a_model_from_the_code(keras3):
    model, x, y, _ = CASES["several_inputs_and_outputs"](keras)
    report = model.load_weights(keras3 / "several_inputs_and_outputs.weights.h5")
    assert isinstance(report, WeightsReport) and not report.missing and not report.mismatched and not report.unexpected
    expected = np.load(keras3 / "several_inputs_and_outputs.npz")
    close(flat(model.predict(x, verbose=0)), [expected["y0"], expected["y1"]], 1e-5)
    train(model, x, y, 3)
    close(model.get_weights(), [expected[f"w{i}"] for i in range(8)], 1e-4)


def test_an_unknown_class_is_told(keras3):
    with pytest.raises(ModelFormatError, match="class 'Block' must be known"):
        saving.load_model(keras3 / "custom_layer.keras")


@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_a_model_of_keras_2(name, keras2):
    arrays = np.load(keras2 / f"{name}.npz")
    x = [arrays[f"x{i}"] for i in range(2) if f"x{i}" in arrays]
    y = [arrays[f"y{i}"] for i in range(2) if f"y{i}" in arrays]
    model = keras.models.load_model(keras2 / f"{name}.h5")
    close(flat(model.predict(x if len(x) > 1 else x[0], verbose=0)), y, 1e-5)
    assert model.compiled and model.optimizer.name in ("adam", "sgd", "Adam", "SGD")
    again = keras.models.load_model(keras2 / f"{name}.h5", compile=False)
    assert not again.compiled
    for w in again.weights:
        w.assign(np.zeros(w.shape))
    report = again.load_weights(keras2 / f"{name}.weights-only.h5")
    assert len(report.loaded) == len(model.weights)
    close(flat(again.predict(x if len(x) > 1 else x[0], verbose=0)), y, 1e-5)


def test_weights_of_keras_2_by_name(keras2):
    path = keras2 / "sequential.weights-only.h5"
    names = list(h5py.File(path).attrs["layer_names"])
    model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3, name=names[0]), keras.layers.Flatten(),
                              keras.layers.Dense(7, name="another")])
    report = model.load_weights(path, by_name=True)
    assert len(report.loaded) == 2 and len(report.missing) == 2 and report.unexpected
    with pytest.raises(ModelFormatError, match="as many layers"):
        model.load_weights(path)
    wrong = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(5, 3, name=names[0])])
    with pytest.raises(ModelFormatError, match="in the model"):
        wrong.load_weights(path, by_name=True)
    with pytest.warns(UserWarning, match="left alone"):
        report = wrong.load_weights(path, by_name=True, skip_mismatch=True)
    assert len(report.mismatched) == 2


# ---- our own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if name != "xception"])
def test_round_trip(name, tmp_path):
    model, x, y, objects = CASES[name](keras)
    train(model, x, y, 2)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    loaded = saving.load_model(tmp_path / "m.keras", custom_objects=objects)
    other = CASES[name](keras)[0]
    report = other.load_weights(tmp_path / "m.weights.h5")
    assert not report.missing and not report.mismatched and not report.unexpected
    for copy in (loaded, other):
        same(state(copy), state(model))
        same(flat(copy.predict(x, verbose=0)), flat(model.predict(x, verbose=0)))
    train(model, x, y, 2)
    for copy in (loaded, other):
        train(copy, x, y, 2)
        same(state(copy), state(model))
    other.load_weights(tmp_path / "m.keras")


def test_what_a_file_consists_of(tmp_path):
    model = CASES["dense"](keras)[0]
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        metadata = json.loads(archive.read("metadata.json"))
        assert set(metadata["sha256"]) == {"config.json", "model.weights.h5"}
        assert json.loads(archive.read("config.json"))["class_name"] == "Sequential"
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
            assert weights["layers/dense/vars/0"].shape == (6, 8) and weights["optimizer/vars/0"].dtype == "int32"
            assert weights["layers/dense/vars"].attrs["name"] == model.layers[0].name
    with h5py.File(tmp_path / "m.weights.h5", "w"):
        pass
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as weights:  # other readers skip the block in front
        assert weights.userblock_size == 512 and weights["layers/dense_1/vars/1"].shape == (3,)


def test_random_generators_go_on(tmp_path):
    def make():
        m = keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.5, seed=3), keras.layers.Dense(2, kernel_initializer="ones")])
        m.compile("sgd", "mse")
        return m

    model, x = make(), np.ones((4, 8), "float32")
    model(x, training=True)
    model.save(tmp_path / "m.keras")
    expected = np.asarray(model(x, training=True))
    np.testing.assert_array_equal(saving.load_model(tmp_path / "m.keras")(x, training=True), expected)
    assert (np.asarray(make()(x, training=True)) != expected).any()


def test_bfloat16_and_integers(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16"), keras.layers.Normalization()])
    model.save(tmp_path / "m.keras")
    loaded = saving.load_model(tmp_path / "m.keras")
    assert loaded.weights[0].dtype == "bfloat16" and loaded.weights[-1].dtype == "int32"
    same([w.astype("float32") for w in loaded.get_weights()], [w.astype("float32") for w in model.get_weights()])


def test_a_frozen_model_and_lora(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    model.layers[0].trainable = False
    model.layers[1].enable_lora(2)
    model.layers[1].lora_kernel_b.assign(np.ones((2, 2)))
    x = np.ones((2, 3), "float32")
    model.save(tmp_path / "m.keras")
    loaded = saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)
    assert not loaded.layers[0].trainable


def test_frozen_layers_of_a_trained_model_stay_frozen(tmp_path):
    """Also with the state of the optimizer, which only the trained ones have."""
    i = keras.Input((3,))
    base = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    base.trainable = False
    model = keras.Model(i, keras.layers.Dense(1)(keras.layers.Dense(4, trainable=False)(base(i))))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    model.train_on_batch(x, y)
    model.save(tmp_path / "m.keras")
    loaded = saving.load_model(tmp_path / "m.keras")
    for copy in (loaded, keras.models.clone_model(model), keras.Model.from_config(model.get_config())):
        assert [layer.trainable for layer in copy.layers] == [True, False, False, True]
    np.testing.assert_array_equal(loaded.optimizer.variables[2], model.optimizer.variables[2])
    for m in (model, loaded):
        m.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_vocabularies_are_in_the_file(tmp_path):
    model = keras.Sequential([keras.Input((1,), dtype="int64"), keras.layers.IntegerLookup(vocabulary=[5, 9])])
    layer = keras.layers.IntegerLookup()
    layer.adapt(np.array([7, 7, 3]))
    adapted = keras.Sequential([keras.Input((1,), dtype="int64"), layer])
    for one, x in ((model, [[9], [4]]), (adapted, [[7], [3]])):
        one.save(tmp_path / "m.keras")
        loaded = saving.load_model(tmp_path / "m.keras")
        np.testing.assert_array_equal(loaded(np.array(x)), one(np.array(x)))


def test_load_weights_reports(tmp_path):
    a = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    b = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
    a.save_weights(tmp_path / "a.weights.h5")
    before = b.get_weights()
    with pytest.raises(ModelFormatError, match="is not in the file"):
        b.load_weights(tmp_path / "a.weights.h5")
    same(b.get_weights(), before)
    with pytest.warns(UserWarning, match="left alone"):
        report = b.load_weights(tmp_path / "a.weights.h5", skip_mismatch=True)
    assert report.loaded == [] and len(report.missing) == 4
    assert [m[1:] for m in report.mismatched] == [("float32(3, 4)", "float32(3, 2)"), ("float32(4,)", "float32(2,)")]
    assert report.unexpected == ["layers/dense_1/vars/0", "layers/dense_1/vars/1"]
    a.save_weights(tmp_path / "a.safetensors")
    assert len(a.load_weights(tmp_path / "a.safetensors").loaded) == 4


def test_arguments(tmp_path):
    model = CASES["dense"](keras)[0]
    model.save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "m.keras", overwrite=False)
    with pytest.raises(ValueError, match="must end with .keras"):
        model.save(tmp_path / "m.json")
    with pytest.raises(ValueError, match="must end with"):
        model.load_weights(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="must be built"):
        keras.Sequential([keras.layers.Dense(1)]).save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(FileNotFoundError):
        saving.load_model(tmp_path / "nothing.keras")
    with pytest.raises(ValueError, match="Invalid keyword arguments"):
        model.load_weights(tmp_path / "m.keras", by_nam=True)
    assert not saving.load_model(tmp_path / "m.keras", compile=False).compiled
    assert saving.load_model(tmp_path / "m.keras", safe_mode=False).compiled


def test_equal_models_give_equal_weights_files(tmp_path):
    model = CASES["dense"](keras)[0]
    model.save_weights(tmp_path / "a.weights.h5")
    model.save_weights(tmp_path / "b.weights.h5")
    a, b = ((tmp_path / f"{n}.weights.h5").read_bytes() for n in "ab")
    assert len(a) == len(b)


# ---- callbacks and interruptions -----------------------------------------------------------------------


def trained(epochs, *callbacks, seed=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.3),
                              keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = np.random.default_rng(0).standard_normal((2, 24, 6)).astype("float32")
    model.fit(x, y[:, :1], batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_interrupted_training_goes_on_bitwise(tmp_path):
    backup = tmp_path / "backup"
    expected = state(trained(6))
    with pytest.raises(KeyboardInterrupt):
        trained(6, keras.callbacks.BackupAndRestore(backup), Interrupt(4))
    assert backup.exists()
    resumed = trained(6, keras.callbacks.BackupAndRestore(backup), seed=99)  # another seed: the state comes from the file
    same(state(resumed), expected)
    assert not backup.exists()


def test_backup_by_batches(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(6, keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=2), Interrupt(3))
    resumed = trained(6, keras.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False))
    assert resumed.optimizer.iterations >= 18 and (tmp_path / "b").exists()
    with pytest.raises(ValueError, match="save_freq"):
        keras.callbacks.BackupAndRestore(tmp_path, save_freq=0)
    with pytest.raises(ValueError, match="backup_dir"):
        keras.callbacks.BackupAndRestore("")


@pytest.mark.parametrize("name, weights_only", [("m{epoch}.keras", False), ("m{epoch}.weights.h5", True)])
def test_model_checkpoint(name, weights_only, tmp_path):
    model = trained(2, keras.callbacks.ModelCheckpoint(tmp_path / name, save_weights_only=weights_only))
    last = tmp_path / name.format(epoch=2)
    if weights_only:
        other = trained(1)
        other.load_weights(last)
    else:
        other = saving.load_model(last)
    same(state(other), state(model))
    assert (tmp_path / name.format(epoch=1)).exists()


_SAVER = """
import sys, fastnn as keras
model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(1024), keras.layers.Dense(64)])
print("ready", flush=True)
while True:
    model.{save}(sys.argv[1])
    print("saved", flush=True)
"""


@pytest.mark.parametrize("name, save", [("m.keras", "save"), ("m.weights.h5", "save_weights")])
def test_sigkill_leaves_a_whole_file(name, save, tmp_path):
    path = tmp_path / name
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(1024), keras.layers.Dense(64)])
    for _ in range(int(os.environ.get("FASTNN_TEST_KILLS", 1))):
        process = subprocess.Popen([sys.executable, "-c", _SAVER.replace("{save}", save), path], stdout=subprocess.PIPE)
        while process.stdout.readline().strip() != b"saved":
            pass
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        process.stdout.close()
        if save == "save":
            assert len(saving.load_model(path).weights) == 4
        else:
            model.load_weights(path)
    assert len(list(tmp_path.iterdir())) <= 5


_FULL = """
import resource, signal, sys, fastnn as keras
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(1024)])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for save, path in ((model.save, sys.argv[1]), (model.save_weights, sys.argv[2])):
    try:
        save(path)
    except OSError as error:
        assert error.errno and error.filename == path, error
    else:
        raise SystemExit("no error")
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    paths = [tmp_path / "m.keras", tmp_path / "m.weights.h5"]
    model.save(paths[0])
    model.save_weights(paths[1])
    before = [p.read_bytes() for p in paths]
    subprocess.run([sys.executable, "-c", _FULL, *map(str, paths)], check=True)
    assert [p.read_bytes() for p in paths] == before and sorted(tmp_path.iterdir()) == sorted(paths)


# ---- more kinds of files -------------------------------------------------------------------------------


def mlp(units=4, dtype=None, seed=1):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu", dtype=dtype, name="a"),
                             keras.layers.Dense(units, dtype=dtype, name="b")])


@pytest.mark.parametrize("source", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("target", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_other_precision(source, target, ending, tmp_path):
    """Floats of a file are rounded to those of the model."""
    model, other = mlp(dtype=source), mlp(dtype=target, seed=2)
    (model.save if ending == ".keras" else model.save_weights)(tmp_path / f"m{ending}")
    other.load_weights(tmp_path / f"m{ending}")
    for a, b in zip(model.get_weights(), other.get_weights()):
        assert b.dtype.name == target
        np.testing.assert_array_equal(a.astype(b.dtype), b)


def test_legacy_h5_is_written(tmp_path):
    model = mlp()
    model.compile("adam", "mse", metrics=["mae"])
    x, y = np.random.rand(16, 3), np.random.rand(16, 4)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m.h5")
    again = saving.load_model(tmp_path / "m.h5")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.compiled and type(again.optimizer).__name__ == "Adam"
    other = mlp(seed=5)
    other.load_weights(tmp_path / "m.h5", by_name=True)
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "m.h5", overwrite=False)


@pytest.mark.parametrize("fails", range(5))
def test_shards_written_again_are_the_old_or_the_new_ones(fails, tmp_path, monkeypatch):
    """Whatever write is the last that succeeds; the shards before are removed only after that."""
    from fastnn.saving import shards

    old, new = dense_model(1), dense_model(2)
    path = tmp_path / "m.weights.json"
    old.save_weights(path, max_shard_size=1e-8)
    before = set(os.listdir(tmp_path))
    assert len(before) == 3
    written = iter(range(fails))

    def failing(*args):
        if next(written, None) is None:
            raise OSError(errno.ENOSPC, "no space left")
        atomic_write(*args)

    atomic_write = shards.atomic_write
    monkeypatch.setattr(shards, "atomic_write", failing)
    if fails < 3:
        with pytest.raises(OSError, match="no space"):
            new.save_weights(path, max_shard_size=1e-8)
    else:
        new.save_weights(path, max_shard_size=1e-8)
        assert len(os.listdir(tmp_path)) == 3 and set(os.listdir(tmp_path)) != before
    model = dense_model(3)
    model.load_weights(path)
    for a, b in zip(model.get_weights(), (old if fails < 3 else new).get_weights()):
        np.testing.assert_array_equal(a, b)


def dense_model(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])


def test_shards(tmp_path):
    model = mlp()
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=1e-7)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.weights.json", "m_00000.weights.h5", "m_00001.weights.h5"]
    other = mlp(seed=2)
    other.load_weights(tmp_path / "m.weights.json")
    for a, b in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(a, b)
    index = json.loads((tmp_path / "m.weights.json").read_text())
    for name in ("../m_00000.weights.h5", "/etc/passwd", 3, ["a\\b.h5"]):
        index["weight_map"]["/layers/dense/vars"] = name
        (tmp_path / "bad.weights.json").write_text(json.dumps(index))
        with pytest.raises(saving.ModelFormatError, match="beside it"):
            other.load_weights(tmp_path / "bad.weights.json")
    with pytest.raises(ValueError, match="weights.json"):
        model.save_weights(tmp_path / "m.weights.h5", max_shard_size=1)


def test_objects_to_skip(tmp_path):
    model, other = mlp(), mlp(seed=2)
    before = other.layers[0].get_weights()
    model.save_weights(tmp_path / "m.weights.h5", objects_to_skip=[model.layers[0]])
    other.load_weights(tmp_path / "m.weights.h5", objects_to_skip=[other.layers[0]])
    np.testing.assert_array_equal(other.layers[0].get_weights()[0], before[0])
    np.testing.assert_array_equal(other.layers[1].get_weights()[0], model.layers[1].get_weights()[0])


def test_file_objects():
    import io

    model, buffer = mlp(), io.BytesIO()
    model.save(buffer)
    buffer.seek(0)
    again = saving.load_model(buffer)
    for a, b in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_file_editor(tmp_path, capsys):
    model = mlp()
    model.save_weights(tmp_path / "m.weights.h5")
    editor = saving.KerasFileEditor(tmp_path / "m.weights.h5")
    assert editor.compare(model) == {"status": "success", "match_count": 4}
    assert editor.weights_dict["layers"]["dense"]["0"].shape == (3, 8)
    wider = mlp(units=5)
    assert editor.compare(wider)["error_count"] == 2
    editor.rename_object("dense_1", "dense_2")
    assert editor.compare(model) == {"status": "error", "error_count": 2, "match_count": 2}
    editor.delete_object("layers/dense_2")
    editor.add_object("layers/dense_1", {"0": np.ones((8, 4), "float32")})
    editor.add_weights("dense_1", {"1": np.zeros(4, "float32")})
    editor.save(tmp_path / "new.weights.h5")
    model.load_weights(tmp_path / "new.weights.h5")
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], np.ones((8, 4)))
    editor.delete_weight("dense_1", "1")
    with pytest.raises(saving.ModelFormatError):
        editor.save(tmp_path / "short.weights.h5")
        model.load_weights(tmp_path / "short.weights.h5")
    editor.summary()
    assert "layers/dense_1" in capsys.readouterr().out
    with pytest.raises(ValueError, match="must name one object"):
        editor.delete_object("nothing")


def test_lambdas_are_told_of(tmp_path):
    """A function without a name is found in this process only, and only when asked for."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    with pytest.warns(UserWarning, match="have no name"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="arbitrary code execution"):
        saving.load_model(tmp_path / "m.keras")
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(saving.load_model(tmp_path / "m.keras", safe_mode=False)(x), 2 * x)
    np.testing.assert_array_equal(keras.models.clone_model(model)(x), 2 * x)


@saving.register_keras_serializable("shared")
class Around(keras.layers.Layer):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, x):
        return self.layer(x)

    def get_config(self):
        return {**super().get_config(), "layer": saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "layer": saving.deserialize_keras_object(config["layer"])})


def test_shared_layers_stay_shared(tmp_path):
    inner, x = keras.layers.Dense(2), keras.Input((3,))
    model = keras.Model(x, [inner(x), Around(inner)(x)])
    model.save(tmp_path / "m.keras")
    again = saving.load_model(tmp_path / "m.keras")
    assert again.layers[1] is again.layers[2].layer and len(again.weights) == 2


def test_augmentation_of_a_file_of_keras_rests_in_inference(tmp_path):
    """Keras writes `training: True`, the default of these layers, into the calls of a functional model; the model decides."""
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.RandomInvert((1.0, 1.0))(inputs))
    config = model.get_config()
    config["layers"][1]["inbound_nodes"][0]["kwargs"]["training"] = True
    again, x = keras.Model.from_config(config), np.ones((2, 8, 8, 3), "float32")
    assert np.array_equal(again.predict(x, verbose=0), x)
    assert not np.array_equal(np.asarray(again(x, training=True)), x)


def test_augmentation_that_the_user_wants_in_inference_survives_a_file(tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.RandomInvert((1.0, 1.0))(inputs, training=True))
    model.save(tmp_path / "m.keras")
    x = np.ones((2, 8, 8, 3), "float32")
    for one in (model, saving.load_model(tmp_path / "m.keras"), keras.models.clone_model(model)):
        assert np.array_equal(one.predict(x, verbose=0), 255 - x)
