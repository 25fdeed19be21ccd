"""Smaller public parts: aliases, several optimizers, remat, adversarial examples, monitors, folders, pictures."""

import contextlib
import gc
import http.server
import json
import threading
import types
import urllib.parse
import wave

import numpy as np
import pytest

import fastnn as keras
from fastnn import layers, ops, utils


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def small_model(seed=1):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((3,)), layers.Dense(8, "tanh", name="first"), layers.Dense(1, name="last")])


def test_namespaces():
    """ops.nn, ops.numpy, ops.linalg and the old modules show the same functions."""
    assert ops.nn.relu is ops.relu and ops.numpy.sin is ops.sin and ops.linalg.norm is ops.norm
    assert all(callable(getattr(module, n)) for module in (ops.nn, ops.numpy) for n in dir(module))
    assert keras.metrics.mean_squared_error is keras.losses.mean_squared_error
    assert keras.initializers.glorot_uniform is keras.initializers.GlorotUniform
    assert keras.backend.backend() == "fastnn" and keras.backend.floatx() == "float32"
    assert keras.backend.is_int_dtype("uint8") and keras.backend.is_float_dtype("bfloat16")
    assert keras.preprocessing.sequence.pad_sequences is utils.pad_sequences
    assert keras.mixed_precision.LossScaleOptimizer is keras.optimizers.LossScaleOptimizer
    first = keras.backend.get_uid("thing")
    assert keras.backend.get_uid("thing") == first + 1
    layer = layers.deserialize(layers.serialize(layers.Dense(3, name="d")))
    assert layer.units == 3 and layer.name == "d"
    with pytest.raises(AttributeError):
        ops.nn.sin
    with keras.device("cpu:0"):
        pass
    with pytest.raises(ValueError, match="device"):
        keras.device("gpu:0")


def test_optimizers_for_different_variables():
    x, y = numbers(32, 3), numbers(32, 1, seed=1)
    model, expected = small_model(), small_model()
    expected.set_weights(model.get_weights())
    fast, slow = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.01)
    model.compile(keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(slow, {".*first/.*": fast})), "mse")
    model.fit(x, y, batch_size=32, epochs=1, verbose=0)
    with keras.GradientTape() as tape:
        loss = ops.mean(ops.square(expected(x) - y))
    for v, g, rate in zip(expected.trainable_variables, tape.gradient(loss, expected.trainable_variables), (0.1, 0.1, 0.01, 0.01)):
        v.assign_sub(g * rate)
    for a, b in zip(model.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    optimizer = model.optimizer
    assert int(fast.iterations) == int(slow.iterations) == int(optimizer.iterations) == 1
    assert [type(o).__name__ for o in optimizer.optimizers] == ["SGD", "SGD"]
    again = keras.optimizers.MultiOptimizer.from_config(json.loads(json.dumps(optimizer.get_config())))
    assert len(again.optimizers) == 2
    with pytest.raises(AttributeError, match="learning rate"):
        optimizer.learning_rate
    with pytest.raises(ValueError, match="Multiple"):
        keras.optimizers.OptimizerMap(slow, {"a.*": fast, ".*b": fast})["ab"]
    with pytest.raises(ValueError, match="cannot be"):
        keras.optimizers.OptimizerMap(slow, {"a": keras.optimizers.LossScaleOptimizer(fast)})


def test_remat_has_the_gradients():
    model = small_model()
    x = ops.convert_to_tensor(numbers(4, 3))
    factor = keras.Variable(2.0)

    def block(v):
        return model(v) * factor

    results = []
    for f in (block, keras.remat(block)):
        with keras.GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(ops.square(f(ops.sin(x))))
        results.append([y, *tape.gradient(y, [x, factor, *model.trainable_variables])])
    for a, b in zip(*results):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(keras.remat(block)(x)), np.asarray(block(x)))


def rematerialized(scope, **fit):
    """What a model with random numbers and moving statistics becomes in training, its layers made in a scope."""
    keras.utils.set_random_seed(3)
    with scope:
        made = [layers.Conv1D(6, 3, activation="relu", name="conv"), layers.BatchNormalization(), layers.Dropout(0.4),
                layers.LSTM(5, return_sequences=True, dropout=0.2), layers.Flatten(), layers.Dense(2, "softmax")]  # fmt: skip
    model = keras.Sequential([keras.Input((9, 4)), *made])
    model.compile("adam", "sparse_categorical_crossentropy", **fit)
    x, y = numbers(32, 9, 4), np.random.default_rng(1).integers(0, 2, 32)
    losses = model.fit(x, y, batch_size=8, epochs=4, verbose=0).history["loss"]
    return model, losses, [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize("options", [
    {"mode": "full"}, {"mode": "larger_than", "output_size_threshold": 100}, {"mode": "list_of_layers", "layer_names": ["conv"]},
    {"mode": "activations"}, {"mode": None},
])  # fmt: skip
def test_layers_of_a_remat_scope_train_to_the_same_bits(options):
    _, losses, weights = rematerialized(contextlib.nullcontext())
    for eager in (False, True):
        model, again, same = rematerialized(keras.RematScope(**options), run_eagerly=eager)
        assert again == losses and same == weights
        assert eager or model.captured["train"].replayed >= 8
    assert "call" not in vars(layers.Dense(1))  # made outside


class Block(layers.Layer):
    """Narrow results, wide ones within."""

    def build(self, shape):
        self.wide, self.narrow = layers.Dense(256, "tanh"), layers.Dense(shape[-1], "tanh")
        self.wide.build(shape)
        self.narrow.build((*shape[:-1], 256))

    def call(self, x):
        return self.narrow(self.wide(x))


def test_remat_scope_takes_less_memory():
    peaks = []
    for mode in (None, "full"):
        with keras.RematScope(mode):
            blocks = [Block() for _ in range(6)]
        x = ops.convert_to_tensor(numbers(500, 8))
        for _ in range(2):
            gc.collect()
            keras.reset_peak_memory()
            before = keras.memory_stats()["in_use"]
            with keras.GradientTape() as tape:
                y = x
                for block in blocks:
                    y = block(y)
                y = ops.sum(y)
            assert None not in tape.gradient(y, [v for b in blocks for v in b.trainable_variables])
        peaks.append(keras.memory_stats()["peak"] - before)
    assert peaks[1] < 0.6 * peaks[0]


def test_remat_scope_refuses_other_modes():
    with pytest.raises(ValueError, match="mode"):
        keras.RematScope("some")


def test_adversarial_examples_raise_the_loss():
    model = small_model()
    x, y = numbers(8, 3), numbers(8, 1, seed=1)
    loss = keras.losses.mean_squared_error
    before = np.asarray(loss(y, model(x)))
    for norm in ("infinity", "l2"):
        moved = utils.adversarial_examples(model, loss, x, y, 0.05, norm, steps=2)
        distance = np.abs(np.asarray(moved) - x).max() if norm == "infinity" else np.linalg.norm(np.asarray(moved) - x, axis=1).max()
        assert distance <= 0.05 + 1e-6
        assert (np.asarray(loss(y, model(moved))) > before).all()
    with pytest.raises(ValueError, match="norm"):
        utils.adversarial_examples(model, loss, x, y, norm="l1")


def test_adversarial_training():
    model = utils.AdversarialTraining(small_model(), weight=0.5, epsilon=0.1)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = numbers(64, 3)
    history = model.fit(x, x[:, :1] * 2, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert len(model.trainable_variables) == 4


def test_jvp_against_differences():
    f = lambda a, b: ops.sum(ops.tanh(ops.matmul(a, b)), -1)  # noqa: E731
    a, b, da, db = numbers(3, 4), numbers(4, 2, seed=1), numbers(3, 4, seed=2), numbers(4, 2, seed=3)
    value, change = ops.jvp(f, (a, b), (da, db))
    np.testing.assert_allclose(np.asarray(value), np.tanh(a @ b).sum(-1), rtol=1e-5)
    e = 1e-6
    a, b, da, db = (v.astype("float64") for v in (a, b, da, db))
    expected = (np.tanh((a + e * da) @ (b + e * db)) - np.tanh((a - e * da) @ (b - e * db))).sum(-1) / (2 * e)
    np.testing.assert_allclose(np.asarray(change), expected, rtol=1e-4, atol=1e-5)
    assert ops.jvp(lambda v: (v * 2, "note"), [np.ones(2, "float32")], [np.ones(2, "float32")], has_aux=True)[2] == "note"


def test_vectorize_and_folding():
    add = ops.vectorize(lambda a, b: a + b if a > b else a - b)
    np.testing.assert_allclose(np.asarray(add(np.float32([1, 3]), np.float32([2, 2]))), [-1, 5])
    x = numbers(2, 3, 5, 4)
    columns = ops.unfold(x, (2, 1))
    count = ops.fold(ops.ones_like(columns), (5, 4), (2, 1))
    np.testing.assert_allclose(np.asarray(ops.fold(columns, (5, 4), (2, 1)) / count), x, rtol=1e-6)
    assert ops.unfold(keras.Input((3, 5, 4)), 2).shape == (None, 12, 12)
    assert ops.rearrange(keras.Input((4, 6)), "b h (w p) -> b (h p) w", p=2).shape == (None, 8, 3)
    with pytest.raises(ValueError, match="rearrange"):
        ops.rearrange(x, "a b c -> c b a")


def test_signals_come_back():
    x = numbers(2, 64)
    spectrum = ops.stft(x, 16, 8, 16)
    np.testing.assert_allclose(np.asarray(ops.istft(spectrum, 16, 8, 16, length=64)), x, atol=1e-5)
    assert [s.shape for s in ops.stft(keras.Input((64,)), 16, 8, 16)] == [(None, 9, 9)] * 2
    with pytest.raises(ValueError, match="fft_length"):
        ops.stft(x, 16, 8, 8)
    with pytest.raises(ValueError, match="tuple"):
        ops.fft(x)


@pytest.mark.parametrize("as_json", [False, True])
def test_remote_monitor(as_json):
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append(json.loads(body if as_json else urllib.parse.parse_qs(body)["data"][0]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        model = small_model()
        model.compile("sgd", "mse")
        monitor = keras.callbacks.RemoteMonitor(f"http://127.0.0.1:{server.server_port}", send_as_json=as_json)
        model.fit(numbers(8, 3), numbers(8, 1), epochs=2, verbose=0, callbacks=[monitor])
    finally:
        server.shutdown()
        server.server_close()
    assert [r["epoch"] for r in received] == [0, 1] and received[0]["loss"] > 0
    with pytest.warns(UserWarning, match="Could not reach"):
        keras.callbacks.RemoteMonitor("http://127.0.0.1:9").on_epoch_end(0, {"loss": 1.0})


def test_tensorboard(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder):
            self.name = folder.rsplit("/", 1)[-1]

        def __getattr__(self, method):
            return lambda *a, **k: written.append((self.name, method, *a))

    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    model = small_model()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    board = keras.callbacks.TensorBoard(tmp_path, histogram_freq=1, write_images=True, update_freq=2, write_steps_per_second=True)
    x, y = numbers(16, 3), numbers(16, 1)
    history = model.fit(x, y, batch_size=4, epochs=2, validation_data=(x, y), verbose=0, callbacks=[board]).history
    scalars = {(name, tag, step): v for name, _, tag, v, step in (r for r in written if r[1] == "add_scalar")}
    assert scalars["train", "epoch_loss", 1] == pytest.approx(history["loss"][1])
    assert scalars["validation", "epoch_loss", 0] == pytest.approx(history["val_loss"][0])
    assert scalars["train", "epoch_learning_rate", 0] == pytest.approx(0.1)
    assert sorted(step for _, name, step in scalars if name == "batch_loss") == [2, 4, 6, 8]
    assert sum(r[1] == "add_histogram" for r in written) == 8 and sum(r[1] == "add_image" for r in written) == 4
    with pytest.raises(ValueError, match="update_freq"):
        keras.callbacks.TensorBoard(update_freq="often")


def test_pictures_of_models(tmp_path):
    a, b = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="inside")], name="inner")
    both = layers.Add(name="sum")([inner(a), inner(b)])
    model = keras.Model([a, b], layers.Dense(1, name="head", activation="relu")(both))
    path = tmp_path / "model.svg"
    utils.plot_model(model, path, show_shapes=True, show_layer_names=True, expand_nested=True, show_layer_activations=True)
    import xml.dom.minidom

    text = xml.dom.minidom.parse(str(path)).toxml()
    for word in ("left", "right", "inside", "sum", "head", "relu", "(None, 3)"):
        assert word in text
    assert text.count("<line") == 4 and text.count("<rect") == 5
    utils.plot_model(small_model(), tmp_path / "chain.svg", rankdir="LR")
    with pytest.raises(ValueError, match="not yet been built"):
        utils.plot_model(keras.Sequential([layers.Dense(1)]), path)
    assert {t.name for t in utils.get_source_inputs(model.output)} == {"left", "right"}


def test_config_object():
    config = utils.Config(rate=0.1, layers=[1, 2])
    config.rate, config["more"] = 0.2, True
    assert config.rate == 0.2 and "more" in config and json.loads(config.to_json())["layers"] == [1, 2]
    config.freeze()
    with pytest.raises(ValueError, match="frozen"):
        config.rate = 1
    config.unfreeze()
    del config["more"]
    assert list(config) == ["rate", "layers"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for i in range(5):
            utils.save_img(tmp_path / "images" / name / f"{i}.png", rng.random((6, 8, 3)) * 255, scale=False)
            (tmp_path / "texts" / name / f"{i}.txt").write_text(f"{name} number {i}")
            with wave.open(str(tmp_path / "sounds" / name / f"{i}.wav"), "wb") as f:
                f.setparams((1, 2, 8000, 10 + i, "NONE", ""))
                f.writeframes((np.arange(10 + i) * 100).astype("<i2").tobytes())
    return tmp_path


def test_images_of_a_folder(folder):
    data = utils.image_dataset_from_directory(folder / "images", image_size=(4, 5), batch_size=4, shuffle=False, verbose=False)
    assert data.class_names == ["cats", "dogs"] and len(data) == 3
    x, y = data[0]
    assert x.shape == (4, 4, 5, 3) and x.dtype == np.float32 and y.tolist() == [0, 0, 0, 0]
    one = utils.img_to_array(utils.load_img(data.file_paths[0]))
    np.testing.assert_allclose(x[0], np.asarray(ops.image.resize(one, (4, 5))), rtol=1e-6)
    options = dict(image_size=(4, 5), validation_split=0.3, seed=1, label_mode="categorical", verbose=False)
    train, test = utils.image_dataset_from_directory(folder / "images", subset="both", **options)
    assert len(train.file_paths) == 7 and not set(train.file_paths) & set(test.file_paths)
    model = keras.Sequential([keras.Input((4, 5, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2, "softmax")])
    model.compile("sgd", "categorical_crossentropy")
    model.fit(train, validation_data=test, verbose=0)
    with pytest.raises(ValueError, match="seed"):
        utils.image_dataset_from_directory(folder / "images", validation_split=0.2, subset="training")
    with pytest.raises(ValueError, match="exist"):
        utils.image_dataset_from_directory(folder / "nothing")


def test_texts_and_sounds_of_a_folder(folder):
    data = utils.text_dataset_from_directory(folder / "texts", label_mode="binary", shuffle=False, verbose=False)
    x, y = data[0]
    assert x[7] == "dogs number 2" and y.shape == (10, 1)
    words = layers.TextVectorization()
    words.adapt(batch for batch, _ in (data[i] for i in range(len(data))))
    assert "cats" in words.get_vocabulary()
    x, _ = utils.audio_dataset_from_directory(folder / "sounds", shuffle=False, verbose=False)[0]
    assert x.shape == (10, 14, 1) and x[0, 3, 0] == np.float32(300 / 32768) and (x[0, 10:] == 0).all()


def test_array_and_image(tmp_path):
    x = np.arange(48, dtype="float32").reshape(4, 4, 3)
    np.testing.assert_array_equal(utils.img_to_array(utils.array_to_img(x, scale=False)), x)
    utils.save_img(tmp_path / "a.png", x, scale=False)
    assert utils.load_img(tmp_path / "a.png", "grayscale", target_size=(2, 3)).size == (3, 2)
    assert keras.preprocessing.image.smart_resize(x, (2, 6)).shape == (2, 6, 3)
    with pytest.raises(ValueError, match="rank"):
        utils.array_to_img(x[0])


def test_policies_by_path():
    policies = keras.dtype_policies.DTypePolicyMap("float32", {".*half": "mixed_bfloat16"})
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype=policies, name="half"),
                              layers.Dense(3, dtype=policies, name="full")])
    assert [layer.compute_dtype for layer in model.layers] == ["bfloat16", "float32"]
    again = layers.Dense.from_config(json.loads(json.dumps(model.layers[0].get_config())))
    again.build((None, 4))
    assert again.compute_dtype == "bfloat16" and again.kernel.dtype == "float32"
    assert policies["x/half"].name == "mixed_bfloat16" and len(policies) == 1
    with pytest.raises(ValueError, match="one key"):
        keras.dtype_policies.DTypePolicyMap("float32", {"a.*": "float16", ".*b": "float16"})["ab"]


def test_mixed_precision_policy():
    x = keras.Input((6, 4))
    attend = layers.MultiHeadAttention(2, 3, dtype="mixed_bfloat16")
    model = keras.Model(x, layers.Dense(1, dtype="float32")(attend(x, x)))
    assert all(w.dtype == "float32" for w in model.weights) and attend(x, x).dtype == "bfloat16"
    model.compile("adam", "mse")
    assert np.isfinite(model.fit(numbers(8, 6, 4), numbers(8, 6, 1), verbose=0).history["loss"]).all()
