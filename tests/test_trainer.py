"""fit, evaluate and predict: structures, order of events, errors on the way."""
import threading

import numpy as np
import pytest
from small_model import assert_equal, data, small, weights

import fastnn as keras
from fastnn import callbacks, layers, ops


class Recorder(callbacks.Callback):
    """Notes the name of every hook that is called."""

    def __init__(self):
        super().__init__()
        self.events = []


HOOKS = [f"on_{e}_{w}" for e in ("train", "test", "epoch", "train_batch", "test_batch") for w in ("begin", "end")]
for hook in HOOKS:
    setattr(Recorder, hook, lambda self, *args, hook=hook, **kwargs: self.events.append(hook))


def test_set_random_seed_repeats_everything():
    x, y = data()
    results = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(8), layers.Dropout(0.5), layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=4, epochs=2, verbose=0)
        results.append(weights(model))
    assert_equal(*results)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_training_has_the_same_bits_for_any_number_of_threads(threads):
    before = keras.num_threads()
    results = []
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 12, 12, 3)).astype("f"), rng.integers(0, 4, 32)
    try:
        for n in (1, threads):
            keras.set_num_threads(n)
            keras.utils.set_random_seed(1)
            model = keras.Sequential([
                keras.Input((12, 12, 3)), layers.SeparableConv2D(16, 3), layers.BatchNormalization(), layers.ReLU(),
                layers.Conv2D(16, 3, strides=2), layers.MaxPooling2D(2), layers.Reshape((4, 16)), layers.GRU(8),
                layers.Dropout(0.3), layers.Dense(4, activation="softmax")])
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x, y, batch_size=8, epochs=2, verbose=0)
            results.append(weights(model))
    finally:
        keras.set_num_threads(before)
    assert_equal(*results)


def test_order_of_events():
    x, y = data(8)
    recorder = Recorder()
    small().fit(x, y, batch_size=4, epochs=1, validation_split=0.5, verbose=0, callbacks=[recorder])
    assert recorder.events == ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_test_begin",
                      "on_test_batch_begin", "on_test_batch_end", "on_test_end", "on_epoch_end", "on_train_end"]


def test_history_epochs_and_validation_freq():
    x, y = data()
    h = small(metrics=["mae"]).fit(x, y, epochs=5, initial_epoch=2, validation_data=(x, y), validation_freq=2, verbose=0)
    assert h.epoch == [2, 3, 4] and set(h.history) == {"loss", "mae", "val_loss", "val_mae"}
    assert len(h.history["loss"]) == 3 and len(h.history["val_loss"]) == 1
    h = small().fit(x, y, epochs=3, validation_data=(x, y), validation_freq=[1, 3], verbose=0)
    assert len(h.history["val_loss"]) == 2
    assert h.history["loss"][-1] < h.history["loss"][0]


def test_stop_training_and_errors_leave_the_model_usable():
    x, y = data()

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.stop_training = True

    class Break(callbacks.Callback):
        ended = False

        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

        def on_train_end(self, logs=None):
            self.ended = True

    model = small()
    h = model.fit(x, y, batch_size=4, epochs=9, verbose=0, callbacks=[Stop()])
    assert len(h.epoch) == 1
    b = Break()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, verbose=0, callbacks=[b])
    assert b.ended and keras._core.recording() == 0
    model.fit(x, y, verbose=0)


def test_an_error_inside_the_step_stops_the_tape():
    model = small()
    with pytest.raises(ValueError):
        model.fit(np.ones((4, 5), "f"), np.ones((4, 1), "f"), verbose=0)
    assert keras._core.recording() == 0
    model.fit(*data(), verbose=0)


def test_single_batches_of_several_threads_take_turns():
    x, y = data()
    weights = []
    for threads in (1, 4):
        keras.utils.set_random_seed(0)
        model = small()

        def go(steps=120 // threads, model=model):
            for _ in range(steps):
                model.train_on_batch(x, y)

        workers = [threading.Thread(target=go) for _ in range(threads)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        assert int(model.optimizer.iterations.numpy()) == 120
        weights.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights))


def test_fit_in_two_threads_is_refused():
    model, started, go = small(), threading.Event(), threading.Event()

    class Wait(callbacks.Callback):
        def on_train_begin(self, logs=None):
            started.set()
            go.wait(30)

    thread = threading.Thread(target=lambda: model.fit(*data(), verbose=0, callbacks=[Wait()]))
    thread.start()
    started.wait(30)
    with pytest.raises(RuntimeError, match="already training"):
        model.fit(*data(), verbose=0)
    go.set()
    thread.join(30)
    model.fit(*data(), verbose=0)


def test_class_weight_is_sample_weight():
    x, _ = data(12)
    y = np.arange(12) % 3
    table = {0: 1.0, 1: 2.0, 2: 0.5}
    results = []
    for labels, loss, kwargs in [
        (y, "sparse_categorical_crossentropy", {"class_weight": table}),
        (y, "sparse_categorical_crossentropy", {"sample_weight": np.vectorize(table.get)(y).astype("f")}),
        (np.eye(3, dtype="f")[y], "categorical_crossentropy", {"class_weight": table}),
    ]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation="softmax")])
        model.compile("sgd", loss)
        model.fit(x, labels, shuffle=False, batch_size=5, verbose=0, **kwargs)
        results.append(weights(model))
    assert_equal(results[0], results[1])
    for a, b in zip(results[0], results[2]):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def two_heads():
    keras.utils.set_random_seed(0)
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    x = layers.concatenate([a, b])
    return keras.Model({"a": a, "b": b}, [layers.Dense(2, name="p")(x), layers.Dense(1, name="q")(x)])


def test_inputs_and_outputs_by_name_and_by_position():
    rng = np.random.default_rng(0)
    a, b, p, q = (rng.standard_normal((6, n)).astype("f") for n in (3, 2, 2, 1))
    results = []
    for y, loss, weight in [
        ([p, q], ["mse", "mae"], [0.5, 2.0]),
        ({"q": q, "p": p}, {"p": "mse", "q": "mae"}, {"q": 2.0, "p": 0.5}),
        ((p, q), {"q": "mae", "p": keras.losses.MeanSquaredError()}, {"p": 0.5, "q": 2.0}),
    ]:
        model = two_heads()
        model.compile("sgd", loss, loss_weights=weight, metrics={"q": ["mae"]})
        h = model.fit({"b": b, "a": a}, y, epochs=2, shuffle=False, verbose=0)
        assert set(h.history) == {"loss", "p_loss", "q_loss", "q_mae"}
        np.testing.assert_allclose(h.history["loss"][0], 0.5 * h.history["p_loss"][0] + 2 * h.history["q_loss"][0], rtol=1e-5)
        results.append(weights(model))
    assert_equal(results[0], results[1])
    assert_equal(results[0], results[2])


def test_an_output_without_a_loss():
    rng = np.random.default_rng(0)
    a, b, p = (rng.standard_normal((6, n)).astype("f") for n in (3, 2, 2))
    model = two_heads()
    model.compile("sgd", {"p": "mse"})
    before = weights(model)
    with pytest.warns(UserWarning, match="q/kernel"):
        model.fit({"a": a, "b": b}, {"p": p}, verbose=0)
    after = weights(model)
    assert not np.array_equal(before[0], after[0]) and np.array_equal(before[2], after[2])


def test_nested_outputs():
    x = keras.Input((3,))
    model = keras.Model(x, {"u": layers.Dense(1, name="one")(x), "v": {"w": layers.Dense(2, name="two")(x)}})
    rows = np.ones((4, 3), "f")
    y = {"u": np.ones((4, 1), "f"), "v": {"w": np.ones((4, 2), "f")}}
    model.compile("sgd", {"u": "mse", "v": {"w": "mae"}})
    h = model.fit(rows, y, verbose=0)
    assert set(h.history) == {"loss", "u_loss", "v/w_loss"}
    model.compile("sgd", "mse")
    model.fit(rows, y, verbose=0)
    out = model.predict(rows, batch_size=3, verbose=0)
    assert out["u"].shape == (4, 1) and out["v"]["w"].shape == (4, 2)


def test_overridden_steps():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)
            self.tracker = keras.metrics.Mean(name="mine")

        def call(self, x, training=False):
            return self.dense(x)

        def train_step(self, batch):
            x, y = batch
            with keras.GradientTape() as tape:
                loss = ops.mean(ops.square(self(x, training=True) - y))
            self.optimizer.apply_gradients(zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables))
            self.tracker.update_state(loss)
            return {"mine": self.tracker.result()}

        def test_step(self, batch):
            return {"checked": 1.0}

        def predict_step(self, batch):
            return self(batch) * 0.0

        @property
        def metrics(self):
            return [self.tracker]

    x, y = data()
    model = Mine()
    model.compile("sgd")
    h = model.fit(x, y, epochs=3, validation_data=(x, y), verbose=0)
    assert h.history["mine"][2] < h.history["mine"][0] and h.history["val_checked"] == [1.0] * 3
    assert not model.predict(x, verbose=0).any()


def test_compute_loss_and_add_loss():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(3.0 * ops.mean(ops.square(x)))
            return x

    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return 2.0 * super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)

    x, y = np.ones((4, 3), "f"), np.zeros((4, 3), "f")
    inputs = keras.Input((3,))
    model = Own(inputs, Penalty()(inputs))
    model.compile("sgd", "mse")
    assert abs(model.evaluate(x, y, verbose=0) - 8.0) < 1e-5


def test_a_layer_with_the_trainer_mixed_in_counts_its_metrics_once():
    from fastnn.trainer import Trainer

    class Net(Trainer, layers.Dense):
        def __init__(self, units):
            layers.Dense.__init__(self, units)
            Trainer.__init__(self)

    net = Net(3)
    for metric in ("mse", "mae"):
        net.compile("sgd", "mse", metrics=[metric])
        assert set(net.fit(np.ones((4, 2), "f"), np.ones((4, 3), "f"), verbose=0).history) == {"loss", metric}
    assert len(net.metrics) == 2


def test_losses_and_metrics_in_the_structure_of_nested_outputs():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return {"a": {"c": self.dense(x), "d": self.dense(x) * 2}, "b": self.dense(x)}

    x, target = np.ones((4, 3), "f"), np.zeros((4, 2), "f")
    y = {"a": {"c": target, "d": target}, "b": target}
    net = Net()
    net.compile("sgd", {"a": {"c": "mse", "d": "mae"}}, metrics={"a": {"d": ["mse"]}})
    logs = net.evaluate(x, y, verbose=0, return_dict=True)
    out = net.predict(x, verbose=0)
    c, d = np.mean(out["a"]["c"] ** 2), np.mean(np.abs(out["a"]["d"]))
    np.testing.assert_allclose([logs["a/c_loss"], logs["a/d_loss"], logs["loss"]], [c, d, c + d], rtol=1e-5)
    np.testing.assert_allclose(logs["mse"], np.mean(out["a"]["d"] ** 2), rtol=1e-5)
    net.compile("sgd", {"a": {"e": "mse"}})
    with pytest.raises(KeyError, match="can't be found in the model's output"):
        net.evaluate(x, y, verbose=0)
    net.compile("sgd", {"a": {"c": "mse", "d": "mae"}}, loss_weights=[1.0])
    with pytest.raises(ValueError, match="must match the number of losses"):
        net.evaluate(x, y, verbose=0)


def test_on_batch_functions():
    x, y = data(6)
    model = small(metrics=["mae"])
    first = model.train_on_batch(x, y)
    assert len(first) == 2 and isinstance(first[0], float)
    assert set(model.test_on_batch(x, y, return_dict=True)) == {"loss", "mae"}
    out = model.predict_on_batch(x)
    assert isinstance(out, np.ndarray) and out.flags.writeable
    np.testing.assert_array_equal(out, model.predict(x, verbose=0))


def test_a_kept_prediction_does_not_change():
    x, y = data(6)
    model = small()
    kept = model(x)
    copy = np.array(kept)
    model.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(kept, copy)


def test_trainable_after_compile():
    x, y = data()
    model = small()
    before = weights(model)
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="trainable"):
        model.fit(x, y, verbose=0)
    after = weights(model)
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[2], after[2])


@pytest.mark.parametrize("verbose,lines", [(0, 0), (2, 3)])
def test_output_in_a_pipe(verbose, lines, capsys):
    small().fit(*data(), epochs=3, verbose=verbose)
    printed = capsys.readouterr().out.splitlines()
    assert printed[::2] == [f"Epoch {i + 1}/3" for i in range(lines)] and len(printed) == 2 * lines
    assert all(line.startswith("1/1 - ") and "loss: " in line for line in printed[1::2])


def test_on_batch_functions_report_their_batch_alone():
    x, y = data(8)
    model = small(metrics=["mae"])
    model.fit(x, y, verbose=0)
    model.test_on_batch(x[:4], y[:4])
    assert model.test_on_batch(x[4:], y[4:]) == model.evaluate(x[4:], y[4:], verbose=0)
    a = model.test_on_batch(x[:4], y[:4])[1]
    assert model.train_on_batch(x[:4], y[:4])[1] == pytest.approx(a, rel=1e-6)


def test_the_instance_may_have_any_name():
    class Plain(layers.Layer):
        def build(me, shape):
            me.w = me.add_weight(shape=(shape[-1], 3))

        def call(me, x, training=False):
            return ops.matmul(x, me.w)

    assert Plain()(np.ones((2, 4), "f")).shape == (2, 3)


@pytest.mark.parametrize("eagerly", [False, True])
def test_an_overridden_compute_loss_is_evaluated(eagerly):
    class Squares(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean((y - y_pred) ** 2)

    x, y = np.ones((8, 3), "f"), np.full((8, 1), 5, "f")
    model = Squares()
    model.compile("sgd", run_eagerly=eagerly)
    history = model.fit(x, y, epochs=12, validation_data=(x, y), verbose=0).history
    expected = float(np.mean((y - model.predict(x, verbose=0)) ** 2))
    assert abs(history["val_loss"][-1] - expected) < 1e-5 and history["val_loss"][0] > 0
    assert abs(model.test_on_batch(x, y) - expected) < 1e-5


def test_predict_prints_the_line_that_is_asked_for(capsys):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    for verbose in ("auto", 0):
        model.predict(np.ones((8, 4)), batch_size=4, verbose=verbose)
    assert capsys.readouterr().out == ""
    model.predict(np.ones((8, 4)), batch_size=4, verbose=2)
    assert capsys.readouterr().out.startswith("2/2 - ")
