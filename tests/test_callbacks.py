"""Callbacks, driven by hand with a small stand-in for a model, and once by fit."""
import csv
import os

import numpy as np
import pytest

import fastnn as keras
from fastnn import callbacks, metrics, optimizers


def small_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
    model.compile("sgd", "mse")
    return model


class FakeModel:
    """What callbacks use of a model: weights that change with every epoch."""

    def __init__(self, optimizer=None):
        self.weights = [np.zeros(2)]
        self.stop_training = False
        self.optimizer = optimizer or optimizers.SGD(0.5)
        self.metrics = [metrics.Mean(name="loss"), metrics.BinaryAccuracy(name="acc"), metrics.MeanSquaredError(name="mse")]
        self.saved = []

    def get_weights(self):
        return [w.copy() for w in self.weights]

    def set_weights(self, weights):
        self.weights = [w.copy() for w in weights]

    def save(self, path, overwrite=True):
        self.saved.append(os.path.basename(path))
        open(path, "w").close()

    def save_weights(self, path, overwrite=True):
        self.saved.append("weights " + os.path.basename(path))
        open(path, "w").close()


def run(callback, values, name="val_loss", model=None, batches=0):
    """Play epochs whose logs have these values; returns (model, number of epochs that ran)."""
    model = model or FakeModel()
    group = callbacks.CallbackList(callback, model=model, epochs=len(values), steps=batches, verbose=0)
    group.on_train_begin()
    epoch = -1
    for epoch, value in enumerate(values):
        group.on_epoch_begin(epoch)
        for step in range(batches):
            group.on_train_batch_begin(step)
            group.on_train_batch_end(step, {"loss": value})
        model.weights = [np.full(2, float(epoch + 1))]
        group.on_epoch_end(epoch, {"loss": 1.0, name: value})
        if model.stop_training:
            break
    group.on_train_end()
    return model, epoch + 1


@pytest.mark.parametrize("kwargs, values, epochs", [
    ({"patience": 2}, [5, 4, 4, 4, 4, 4], 4),
    ({"patience": 0}, [5, 4, 3, 4, 2], 4),
    ({"patience": 1, "min_delta": 0.5}, [5, 4.8, 4.7, 4.6], 2),
    ({"patience": 2, "mode": "max"}, [1, 2, 3, 2, 2, 4], 5),
    ({"patience": 2, "baseline": 3.0}, [5, 4.5, 4, 3.5, 2], 5),
    ({"patience": 3, "baseline": 3.0}, [5, 5, 5, 5, 2], 3),
    ({"patience": 1, "start_from_epoch": 3}, [1, 2, 3, 3, 4, 5], 5),
    ({"patience": 9}, [1, 2, 3], 3),
])  # fmt: skip
def test_early_stopping(kwargs, values, epochs):
    assert run(callbacks.EarlyStopping(**kwargs), values)[1] == epochs


def test_early_stopping_restores_the_best(capsys):
    stopping = callbacks.EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    model, epochs = run(stopping, [5, 3, 4, 4, 1])
    assert epochs == 4 and model.weights[0][0] == 2.0 and stopping.best_epoch == 1
    printed = capsys.readouterr().out
    assert "Epoch 4: early stopping" in printed and "best epoch: 2" in printed
    assert run(stopping, [5, 4])[1] == 2  # starts afresh
    with pytest.warns(UserWarning, match="`val_loss` which is not available. Available metrics are: loss,other"):
        run(callbacks.EarlyStopping(), [1.0], name="other")


@pytest.mark.parametrize("monitor, values, epochs", [
    ("val_acc", [0.1, 0.2, 0.1], 3),
    ("acc", [0.1, 0.2, 0.1, 0.9], 3),
    ("val_mse", [2.0, 1.0, 1.5, 0.1], 3),
    ("val_out_mse", [2.0, 1.0, 1.5, 0.1], 3),
    ("out_loss", [2.0, 1.0, 1.5, 0.1], 3),
])  # fmt: skip
def test_auto_mode_asks_the_metric(monitor, values, epochs):
    assert run(callbacks.EarlyStopping(monitor), values, name=monitor)[1] == epochs


def test_auto_mode_that_cannot_know():
    with pytest.raises(ValueError, match="mode='max' or mode='min'"):
        run(callbacks.EarlyStopping("val_size"), [1.0], name="val_size")
    with pytest.warns(UserWarning, match="unknown, fallback to auto"):
        callbacks.EarlyStopping(mode="best")


@pytest.mark.parametrize("kwargs, values, saved", [
    ({}, [5, 4], ["m-1.keras", "m-2.keras"]),
    ({"save_best_only": True}, [5, 4, 6, 3], ["m-1.keras", "m-2.keras", "m-4.keras"]),
    ({"save_best_only": True, "mode": "max"}, [5, 4, 6], ["m-1.keras", "m-3.keras"]),
    ({"save_best_only": True, "initial_value_threshold": 4.5}, [5, 4, 6], ["m-2.keras"]),
])  # fmt: skip
def test_model_checkpoint(tmp_path, kwargs, values, saved):
    path = tmp_path / "new" / "m-{epoch}.keras"
    assert run(callbacks.ModelCheckpoint(path, **kwargs), values)[0].saved == saved


def test_model_checkpoint_paths(tmp_path, capsys):
    path = str(tmp_path / "{epoch:02d}-{val_loss:.2f}.weights.h5")
    model, _ = run(callbacks.ModelCheckpoint(path, save_weights_only=True, verbose=1), [0.5])
    assert model.saved == ["weights 01-0.50.weights.h5"]
    assert "Epoch 1: finished saving model to" in capsys.readouterr().out
    model, _ = run(callbacks.ModelCheckpoint(tmp_path / "w.safetensors", save_weights_only=True), [0.5])
    assert model.saved == ["weights w.safetensors"]
    with pytest.raises(KeyError, match="Failed to format"):
        run(callbacks.ModelCheckpoint(tmp_path / "{nothing}.keras"), [0.5])
    os.mkdir(tmp_path / "folder.keras")
    with pytest.raises(OSError, match="non-directory"):
        run(callbacks.ModelCheckpoint(tmp_path / "folder.keras"), [0.5])


def test_model_checkpoint_by_batches(tmp_path):
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}.keras", save_freq=3)
    assert checkpoint.wants_batches("train") and not checkpoint.wants_batches("test")
    model, _ = run(checkpoint, [1.0, 1.0], batches=5)
    assert model.saved == ["1-3.keras", "2-1.keras", "2-4.keras"]
    assert not callbacks.ModelCheckpoint("a.keras").wants_batches("train")


@pytest.mark.parametrize("kwargs, match", [
    ({"filepath": "model.txt"}, "`.keras`"),
    ({"filepath": "model.keras", "save_weights_only": True}, "`.weights.h5` or `.safetensors`"),
    ({"filepath": "model.keras", "save_freq": "batch"}, "save_freq='batch'"),
])  # fmt: skip
def test_model_checkpoint_errors(kwargs, match):
    with pytest.raises(ValueError, match=match):
        callbacks.ModelCheckpoint(**kwargs)


def test_history():
    history = callbacks.History()
    model, _ = run(history, [3.0, 2.0])
    assert history.history == {"loss": [1.0, 1.0], "val_loss": [3.0, 2.0]}
    assert history.epoch == [0, 1] and model.history is history
    run(history, [1.0])  # another fit goes on
    assert history.history["val_loss"] == [3.0, 2.0, 1.0] and history.epoch == [0]


@pytest.mark.parametrize("schedule, rates", [
    (lambda epoch: 0.5 / 2**epoch, [0.5, 0.25, 0.125]),
    (lambda epoch, rate: rate * 0.5, [0.25, 0.125, 0.0625]),
    (lambda epoch, rate=7.0: rate * 0.5, [0.25, 0.125, 0.0625]),
    (lambda epoch: np.float32(0.25), [0.25] * 3),
    (optimizers.schedules.ExponentialDecay(0.5, 1, 0.5), [0.5, 0.25, 0.125]),
])  # fmt: skip
def test_learning_rate_scheduler(schedule, rates, capsys):
    history = callbacks.History()
    run([callbacks.LearningRateScheduler(schedule, verbose=1), history], [1.0] * 3)
    assert history.history["learning_rate"] == rates
    assert "LearningRateScheduler setting learning rate to 0." in capsys.readouterr().out


def test_learning_rate_scheduler_errors():
    with pytest.raises(ValueError, match="should be a float"):
        run(callbacks.LearningRateScheduler(lambda epoch: [0.1]), [1.0])
    with pytest.raises(ValueError, match='"learning_rate" attribute'):
        run(callbacks.LearningRateScheduler(lambda epoch: 0.1), [1.0], model=FakeModel(optimizer=object()))


@pytest.mark.parametrize("kwargs, values, rates", [
    ({"patience": 2, "factor": 0.5}, [1, 1, 1, 1, 1], [0.5, 0.5, 0.5, 0.25, 0.25]),
    ({"patience": 1, "factor": 0.5, "cooldown": 2}, [1, 1, 1, 1, 1, 1], [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
    ({"patience": 1, "factor": 0.5, "min_lr": 0.25}, [1, 1, 1, 1], [0.5, 0.5, 0.25, 0.25]),
    ({"patience": 1, "factor": 0.5, "min_delta": 0.5}, [1, 0.9, 0.3, 0.3], [0.5, 0.5, 0.25, 0.25]),
    ({"patience": 1, "factor": 0.5, "mode": "max"}, [1, 2, 3, 3, 3], [0.5, 0.5, 0.5, 0.5, 0.25]),
])  # fmt: skip
def test_reduce_lr_on_plateau(kwargs, values, rates):
    history = callbacks.History()
    run([callbacks.ReduceLROnPlateau(**kwargs), history], values)
    assert history.history["learning_rate"] == rates


def test_reduce_lr_on_plateau_errors():
    with pytest.raises(ValueError, match="factor=1.5"):
        callbacks.ReduceLROnPlateau(factor=1.5)
    with pytest.warns(UserWarning, match="not available"):
        run(callbacks.ReduceLROnPlateau("val_x", mode="min"), [1.0])


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    run(callbacks.CSVLogger(path), [3.0, 2.0])
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "0", "loss": "1.0", "val_loss": "3.0"}, {"epoch": "1", "loss": "1.0", "val_loss": "2.0"}
    ]  # fmt: skip
    run(callbacks.CSVLogger(path, append=True), [1.0])
    lines = path.read_text().splitlines()
    assert len(lines) == 4 and lines[3] == "0,1.0,1.0"
    run(callbacks.CSVLogger(path, separator=";"), [1.0], name="extra")
    assert path.read_text().splitlines() == ["epoch;extra;loss;val_extra;val_loss", "0;1.0;1.0;NA;NA"]


def test_lambda_callback():
    calls = []
    run(
        callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: calls.append(("begin", epoch)),
            on_train_batch_end=lambda batch, logs: calls.append(("batch", batch, logs["loss"])),
            on_train_end=lambda logs: calls.append("end"),
        ),
        [4.0],
        batches=2,
    )
    assert calls == [("begin", 0), ("batch", 0, 4.0), ("batch", 1, 4.0), "end"]
    assert callbacks.LambdaCallback(on_test_batch_end=print).wants_batches("test")
    assert not callbacks.LambdaCallback(on_epoch_end=print).wants_batches("train")
    assert callbacks.LambdaCallback(note="kept").note == "kept"
    with pytest.raises(ValueError, match="Did you mean 'on_epoch_end'"):
        callbacks.LambdaCallback(on_epoch_ends=print)


def test_terminate_on_nan(capsys):
    assert run(callbacks.TerminateOnNaN(), [1.0, float("nan"), 1.0], batches=2)[1] == 2
    assert run(callbacks.TerminateOnNaN(), [1.0, float("inf"), 1.0], batches=2)[1] == 2
    assert "Batch 0: Invalid loss, terminating training" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        run(callbacks.TerminateOnNaN(raise_error=True), [float("nan")], batches=1)


def test_all_hooks_in_order():
    seen = []

    class Recorder(callbacks.Callback):
        pass

    hooks = [name for name in dir(callbacks.Callback) if name.startswith("on_")]
    for name in hooks:
        setattr(Recorder, name, lambda self, *args, name=name, **kwargs: seen.append(name))
    group = callbacks.CallbackList(Recorder(), model=FakeModel(), verbose=0)
    assert len(hooks) == 16
    for name in hooks:
        hook = getattr(group, name)
        hook() if name in ("on_train_begin", "on_train_end", "on_test_begin", "on_test_end", "on_predict_begin",
                           "on_predict_end") else hook(0)  # fmt: skip
    assert seen == hooks


def test_batch_hooks_have_two_names():
    seen = []

    class Old(callbacks.Callback):
        def on_batch_begin(self, batch, logs=None):
            seen.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            seen.append(("end", batch))

    run(Old(), [1.0], batches=1)
    assert seen == [("begin", 0), ("end", 0)] and Old().wants_batches("train")


def test_callback_list():
    model = FakeModel()
    group = callbacks.CallbackList(None, add_history=True, add_progbar=True, model=model, verbose=2, epochs=1, steps=3)
    kinds = [type(c) for c in group.callbacks]
    assert kinds == [callbacks.History, callbacks.ProgbarLogger] and model.history is group.callbacks[0]
    assert group.callbacks[0].params == {"verbose": 2, "epochs": 1, "steps": 3}
    assert not group.wants_batches("train") and not group.wants_batches("test")
    history = callbacks.History()
    assert callbacks.CallbackList([history], add_history=True).callbacks == [history]
    logs = []
    probe = callbacks.LambdaCallback(on_epoch_end=lambda epoch, l: logs.append(l))
    callbacks.CallbackList([probe]).on_epoch_end(0, {"loss": metrics.Mean()(2.0), "acc": np.float32(0.5)})
    assert logs == [{"loss": 2.0, "acc": 0.5}] and type(logs[0]["loss"]) is float
    for wrong in (callbacks.History, "history", 3):
        with pytest.raises(TypeError, match="must be a Callback object"):
            callbacks.CallbackList([wrong])


def test_progress_lines(capsys):
    logger = callbacks.ProgbarLogger()
    group = callbacks.CallbackList([logger], model=FakeModel(), verbose=2, epochs=2, steps=3)
    group.on_train_begin()
    for epoch in range(2):
        group.on_epoch_begin(epoch)
        for step in range(3):
            group.on_train_batch_end(step, {"loss": 3.0 - step})
        group.on_epoch_end(epoch, {"loss": 0.25, "val_loss": 0.5})
    group.on_train_end()
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == ["Epoch 1/2", "Epoch 2/2"] and len(lines) == 4
    assert all(line.startswith("3/3 - ") for line in lines[1::2])
    assert "loss: 0.2500 - val_loss: 0.5000" in lines[1]


def test_swap_ema_weights():
    import fastnn

    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    variable = fastnn.Variable(np.zeros(2, "f4"))
    for _ in range(2):
        optimizer.apply([np.ones(2, "f4")], [variable])
    swap = callbacks.SwapEMAWeights()
    group = callbacks.CallbackList([swap], model=FakeModel(optimizer))
    group.on_test_begin()
    assert np.asarray(variable)[0] == -1.5
    group.on_test_end()
    assert np.asarray(variable)[0] == -2.0
    with pytest.raises(ValueError, match="use_ema"):
        callbacks.CallbackList([callbacks.SwapEMAWeights()], model=FakeModel()).on_test_begin()


def model_and_data():
    from fastnn import layers, models

    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype("f4")
    model = models.Sequential([layers.Input((3,)), layers.Dense(1)])
    return model, x, (x @ np.array([[1.0], [-2.0], [0.5]])).astype("f4")


def test_in_fit(tmp_path, capsys):
    model, x, y = model_and_data()
    model.compile(optimizers.SGD(0.1), "mse", metrics=["mae"])
    best = callbacks.ModelCheckpoint(tmp_path / "best.safetensors", save_weights_only=True, save_best_only=True)
    seen = []
    extra = [
        best,
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.ReduceLROnPlateau("val_mae", patience=3, factor=0.5),
        callbacks.EarlyStopping("val_loss", min_delta=1e-4, patience=2, restore_best_weights=True),
        callbacks.TerminateOnNaN(),
        callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])),
    ]
    history = model.fit(x, y, epochs=200, batch_size=16, validation_split=0.25, callbacks=extra, verbose=2)
    epochs = len(history.epoch)
    assert 3 < epochs < 200 and len(seen) == 3 * epochs
    assert set(history.history) == {"loss", "mae", "val_loss", "val_mae", "learning_rate"}
    assert history.history["loss"][-1] < 1e-2
    assert len((tmp_path / "log.csv").read_text().splitlines()) == epochs + 1
    assert f"Epoch {epochs}/200" in capsys.readouterr().out
    weights = model.get_weights()
    model.load_weights(tmp_path / "best.safetensors")
    assert best.best == min(history.history["val_loss"])
    np.testing.assert_allclose(weights[0], model.get_weights()[0], atol=0.05)


def test_a_diverging_fit_ends(capsys):
    model, x, y = model_and_data()
    model.compile(optimizers.SGD(1e20), "mse")
    history = model.fit(x, y, epochs=9, batch_size=16, callbacks=[callbacks.TerminateOnNaN()], verbose=0)
    assert history.epoch == [0] and "Invalid loss" in capsys.readouterr().out


def test_terminate_on_nan_sees_labels_that_are_not_finite():
    x, y = np.ones((4, 2), "f"), np.full((4, 1), np.inf, "f")
    model = small_model()
    with pytest.raises(ValueError, match="must be finite"):
        model.fit(x, y, verbose=0)
    history = model.fit(x, y, batch_size=1, epochs=3, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history.history["loss"]) == 1


def test_backup_keeps_the_state_before_the_last(tmp_path):
    x, y = np.ones((4, 2), "f"), np.zeros((4, 1), "f")

    class Stop(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError

    model = small_model()
    backup = callbacks.BackupAndRestore(tmp_path / "b", double_checkpoint=True)
    with pytest.raises(RuntimeError):
        model.fit(x, y, epochs=5, verbose=0, callbacks=[backup, Stop()])
    (tmp_path / "b" / "latest.weights.h5").write_bytes(b"0")
    assert model.fit(x, y, epochs=5, verbose=0, callbacks=[backup]).epoch == [2, 3, 4]
    assert not (tmp_path / "b").exists()


def test_learning_rate_callbacks_with_several_optimizers():
    parts = [keras.optimizers.SGD(0.1, name="one"), keras.optimizers.SGD(0.01, name="two", use_ema=True)]
    model = small_model()
    model.compile(keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(parts[1], {".*kernel": parts[0]})), "mse")
    x, y = np.ones((4, 2), "f"), np.zeros((4, 1), "f")
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=[callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2),
                                                             callbacks.SwapEMAWeights()])
    np.testing.assert_allclose(history.history["learning_rate_one"], [0.05, 0.025])
    np.testing.assert_allclose(history.history["learning_rate_two"], [0.005, 0.0025])
    model.fit(x, y, epochs=3, verbose=0, callbacks=[callbacks.ReduceLROnPlateau("loss", 0.1, 1, min_delta=1e9)])
    assert all(float(part.learning_rate) < 0.001 for part in parts[1:])


def test_messages_are_logged_where_interactive_logging_is_off(caplog):
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", "fastnn"):
            small_model().fit(np.ones((4, 2), "f"), np.zeros((4, 1), "f"), verbose=0,
                              callbacks=[callbacks.LearningRateScheduler(lambda epoch: 0.5, verbose=1)])
    finally:
        keras.config.enable_interactive_logging()
    assert "LearningRateScheduler setting learning rate to 0.5" in caplog.text


def test_gradient_norms_of_each_layer():
    """Those of the loss, by the tape; they come into the history, and change nothing."""
    def make():
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(8, "sigmoid", name="a"),
                            keras.layers.Dropout(0.5), keras.layers.Dense(1, name="b", kernel_regularizer="l2")], name="m")  # fmt: skip
        model.compile("sgd", "mse")
        return model

    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    plain = make()
    plain.fit(x, x[:, :1], epochs=3, verbose=0)
    model = make()
    watch = keras.callbacks.GradientNorms(x, x[:, :1])
    history = model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[watch]).history
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), plain.get_weights()))
    assert sorted(history) == ["gradient_norm/m/a", "gradient_norm/m/b", "gradient_norm/m/norm", "loss"]
    with keras.GradientTape() as tape:
        loss = keras.ops.mean(keras.ops.square(model(x) - x[:, :1])) + sum(model.losses)
    kernel, bias = tape.gradient(loss, model.get_layer("b").trainable_weights)
    np.testing.assert_allclose(history["gradient_norm/m/b"][-1] ** 2, np.sum(np.square(kernel)) + np.sum(np.square(bias)), rtol=1e-5)


def test_gradient_norms_of_an_embedding():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(5, 2), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.array([[0, 1, 1], [4, 4, 4]])
    watch = keras.callbacks.GradientNorms(x, np.ones((2, 1)))
    watch.set_model(model)
    with keras.GradientTape() as tape:
        loss = keras.ops.mean(keras.ops.square(model(x) - 1.0))
    table = model.layers[0].embeddings
    expected = np.linalg.norm(np.asarray(keras.ops.convert_to_tensor(tape.gradient(loss, table))))
    np.testing.assert_allclose(watch.norms()[table.path.rpartition("/")[0]], expected, rtol=1e-5)
