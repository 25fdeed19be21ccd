"""A replayed step gives the numbers of the step as it was written, bit by bit."""
import logging

import numpy as np
import pytest

import fastnn
from fastnn import layers, ops

STEPS = 10


def trained(make, x, y, eager, steps=STEPS, each=None, **fit):
    """The model after some steps on batches of its own, and how many of them were replayed."""
    fastnn.utils.set_random_seed(7)
    model = make()
    model.run_eagerly = eager
    for k in range(steps):
        if each is not None:
            each(model, k)
        roll = [np.roll(v, k, axis=0) for v in x] if isinstance(x, list) else np.roll(x, k, axis=0)
        model.train_on_batch(roll, np.roll(y, k, axis=0), **fit)
    return model, sum(c.replayed for c in model.captured.values())


def state(model):
    values = model.get_weights() + [v.numpy() for v in model.optimizer.variables]
    return values + [v.numpy() for v in model.variables] + [v.numpy() for m in model.metrics for v in m.variables]


def assert_same(a, b):
    for x, y in zip(state(a), state(b), strict=True):
        np.testing.assert_array_equal(x, y)
    assert [v.version for v in a.variables] == [v.version for v in b.variables]


def check(make, x, y, replays=5, each=None, **fit):
    eager, none = trained(make, x, y, True, each=each, **fit)
    captured, some = trained(make, x, y, False, each=each, **fit)
    assert none == 0
    assert some >= replays, [(c.name, c.reason) for c in captured.captured.values()]
    assert_same(eager, captured)
    return captured


def images(*shape):
    return np.random.default_rng(0).standard_normal((8, *shape)).astype("f")


LABELS = np.arange(8) % 3
VECTOR, SERIES, IMAGE, VOLUME = images(6), images(7, 4), images(8, 8, 3), images(6, 6, 6, 2)
WORDS = np.random.default_rng(1).integers(0, 9, (8, 5))

ROWS = {
    "dense": (lambda: layers.Dense(5, activation="relu", kernel_regularizer="l2", bias_constraint="non_neg"), VECTOR),
    "dropout": (lambda: layers.Dropout(0.5), VECTOR),
    "noise": (lambda: layers.GaussianNoise(0.1), VECTOR),
    "gaussian_dropout": (lambda: layers.GaussianDropout(0.3), VECTOR),
    "alpha_dropout": (lambda: layers.AlphaDropout(0.3), VECTOR),
    "spatial_dropout": (lambda: layers.SpatialDropout1D(0.3), SERIES),
    "activity": (lambda: layers.ActivityRegularization(l1=0.01, l2=0.01), VECTOR),
    "batch_norm": (lambda: layers.BatchNormalization(), IMAGE),
    "layer_norm": (lambda: layers.LayerNormalization(), SERIES),
    "group_norm": (lambda: layers.GroupNormalization(3), IMAGE),
    "unit_norm": (lambda: layers.UnitNormalization(), VECTOR),
    "rms_norm": (lambda: layers.RMSNormalization(), VECTOR),
    "spectral_norm": (lambda: layers.SpectralNormalization(layers.Dense(4)), VECTOR),
    "conv1d": (lambda: layers.Conv1D(5, 3, activation="relu"), SERIES),
    "conv2d": (lambda: layers.Conv2D(5, 3, padding="same", activation="tanh"), IMAGE),
    "conv2d_stride": (lambda: layers.Conv2D(5, 3, strides=2), IMAGE),
    "conv3d": (lambda: layers.Conv3D(4, 2), VOLUME),
    "conv2d_transpose": (lambda: layers.Conv2DTranspose(4, 3, strides=2), IMAGE),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), IMAGE),
    "separable": (lambda: layers.SeparableConv2D(5, 3, padding="same"), IMAGE),
    "max_pool": (lambda: layers.MaxPooling2D(2), IMAGE),
    "average_pool": (lambda: layers.AveragePooling2D(3, 2, padding="same"), IMAGE),
    "global_max": (lambda: layers.GlobalMaxPooling1D(), SERIES),
    "global_average": (lambda: layers.GlobalAveragePooling2D(), IMAGE),
    "padding": (lambda: layers.ZeroPadding2D(2), IMAGE),
    "cropping": (lambda: layers.Cropping2D(1), IMAGE),
    "upsampling": (lambda: layers.UpSampling2D(2), IMAGE),
    "permute": (lambda: layers.Permute((2, 1)), SERIES),
    "repeat": (lambda: layers.RepeatVector(3), VECTOR),
    "embedding": (lambda: layers.Embedding(9, 4), WORDS),
    "masked_lstm": (lambda: fastnn.Sequential([layers.Embedding(9, 4, mask_zero=True), layers.LSTM(4)]), WORDS),
    "lstm": (lambda: layers.LSTM(4, return_sequences=True, dropout=0.2), SERIES),
    "lstm_recurrent_dropout": (lambda: layers.LSTM(4, recurrent_dropout=0.2), SERIES),
    "gru": (lambda: layers.GRU(4), SERIES),
    "simple_rnn": (lambda: layers.SimpleRNN(4), SERIES),
    "rnn_cells": (lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)]), SERIES),
    "bidirectional": (lambda: layers.Bidirectional(layers.LSTM(3)), SERIES),
    "conv_lstm": (lambda: layers.ConvLSTM1D(3, 2), images(3, 6, 2)),
    "time_distributed": (lambda: layers.TimeDistributed(layers.Dense(3)), SERIES),
    "prelu": (lambda: layers.PReLU(), VECTOR),
    "leaky": (lambda: layers.LeakyReLU(), VECTOR),
    "softmax": (lambda: layers.Softmax(), VECTOR),
    "elu": (lambda: layers.ELU(), VECTOR),
}


STAY_EAGER = ("spectral_norm",)  # it looks whether its kernel is all zeros


@pytest.mark.parametrize("name", ROWS)
def test_every_layer_replayed_is_bitwise_the_layer(name):
    make_layer, x = ROWS[name]

    def make():
        model = fastnn.Sequential([fastnn.Input(x.shape[1:], dtype=x.dtype.name), make_layer(), layers.Flatten(),
                                   layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    check(make, x, LABELS, replays=0 if name in STAY_EAGER else 5)


OPTIMIZERS = {
    name: getattr(fastnn.optimizers, name)
    for name in ("SGD", "RMSprop", "Adam", "AdamW", "Adamax", "Nadam", "Adagrad", "Adadelta", "Adafactor", "Ftrl", "Lion",
                 "Lamb", "Muon", "ScheduleFreeAdamW")
}


def mlp(optimizer="adam", **compiled):
    model = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(5, activation="relu"), layers.Dropout(0.3),
                               layers.Dense(3, activation="softmax")])
    model.compile(optimizer, compiled.pop("loss", "sparse_categorical_crossentropy"), **compiled)
    return model


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_replayed_is_bitwise_the_optimizer(name):
    check(lambda: mlp(OPTIMIZERS[name]()), VECTOR, LABELS)


@pytest.mark.parametrize("options", [
    {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"clipnorm": 0.1}, {"clipvalue": 0.01}, {"global_clipnorm": 0.1},
    {"weight_decay": 0.01}, {"use_ema": True}, {"loss_scale_factor": 8.0},
    {"use_ema": True, "ema_overwrite_frequency": 3}, {"gradient_accumulation_steps": 2},
    {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2},
], ids=str)  # fmt: skip
def test_options_of_optimizers(options):
    # A step of each phase is recorded twice.
    phases = ("ema_overwrite_frequency" in options) + ("gradient_accumulation_steps" in options)
    check(lambda: mlp(fastnn.optimizers.SGD(0.1, **options)), VECTOR, LABELS, replays=(5, 3, 1)[phases])


def test_a_schedule():
    rate = fastnn.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    check(lambda: mlp(fastnn.optimizers.SGD(rate)), VECTOR, LABELS)


def test_loss_scale_optimizer():
    check(lambda: mlp(fastnn.optimizers.LossScaleOptimizer(fastnn.optimizers.SGD(0.1))), VECTOR, LABELS, replays=0)


def test_weights_and_several_outputs():
    def make():
        i = fastnn.Input((6,))
        h = layers.Dense(4, activation="relu")(i)
        model = fastnn.Model(i, [layers.Dense(3, activation="softmax", name="a")(h), layers.Dense(3, name="b")(h)])
        model.compile("adam", {"a": "sparse_categorical_crossentropy", "b": "sparse_categorical_crossentropy"}, metrics={"a": "accuracy"})
        return model

    eager, captured = make_pair(make, lambda m, k: m.train_on_batch(
        np.roll(VECTOR, k, 0), [np.roll(LABELS, k), LABELS], sample_weight=[np.arange(8.0) + k, np.ones(8)]))
    assert_same(eager, captured)
    check(lambda: mlp(), VECTOR, LABELS, class_weight={0: 1.0, 1: 2.0, 2: 0.5})


def make_pair(make, step, steps=STEPS, replays=5):
    """Two models after the same steps, one of them replayed."""
    models = []
    for eager in (True, False):
        fastnn.utils.set_random_seed(7)
        np.random.seed(7)
        model = make()
        model.run_eagerly = eager
        for k in range(steps):
            step(model, k)
        models.append(model)
    assert sum(c.replayed for c in models[1].captured.values()) >= replays, [
        (c.name, c.reason) for c in models[1].captured.values()]
    return models


# ---- what may change between two steps ----

def hazard(step, make=mlp, replays=1, steps=12):
    eager, captured = make_pair(make, step, steps, replays)
    assert_same(eager, captured)
    return captured


def test_learning_rate_set_between_steps():
    def step(model, k):
        model.optimizer.learning_rate = 0.1 / (k + 1)
        model.train_on_batch(VECTOR, LABELS)

    captured = hazard(step, replays=8)
    assert captured.captured["train_step"].recorded <= 3


def test_weights_assigned_between_steps():
    def step(model, k):
        if k % 3 == 2:
            model.layers[0].kernel.assign(model.layers[0].kernel * 0.5)
        if k == 7:
            model.set_weights([w * 0.9 for w in model.get_weights()])
        model.train_on_batch(VECTOR, LABELS)

    hazard(step, replays=8)


def test_kept_values_never_change():
    model = mlp()
    kept, copies, predictions, read = [], [], [], []
    for _ in range(8):
        model.train_on_batch(VECTOR, LABELS)
        kept.append(model.layers[0].kernel.value)
        copies.append(model.layers[0].kernel.numpy())
        predictions.append(model(VECTOR))
        read.append(np.array(predictions[-1]))
    for a, b in zip(kept + predictions, copies + read):
        np.testing.assert_array_equal(a, b)
    assert model.captured["train_step"].replayed >= 4


def test_trainable_changes_between_steps():
    def step(model, k):
        if k in (4, 9):
            model.layers[0].trainable = k == 9
        model.train_on_batch(VECTOR, LABELS)

    hazard(step)


@pytest.mark.filterwarnings("ignore")
def test_compile_and_optimizer_changes():
    def step(model, k):
        if k == 5:
            model.compile("rmsprop", "sparse_categorical_crossentropy", run_eagerly=model.run_eagerly)
        model.train_on_batch(VECTOR, LABELS)

    hazard(step)


@pytest.mark.parametrize("name, value", [("momentum", 0.5), ("weight_decay", 0.01), ("clipvalue", 0.001)])
def test_attributes_of_the_optimizer(name, value):
    def step(model, k):
        if k == 6:
            setattr(model.optimizer, name, value)
        model.train_on_batch(VECTOR, LABELS)

    hazard(step, lambda: mlp(fastnn.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1, clipvalue=1.0)))


def test_attributes_of_layers_and_losses():
    loss = fastnn.losses.BinaryCrossentropy()

    def make():
        loss.from_logits = False
        return mlp(loss="mse")

    def step(model, k):
        if k == 4:
            model.layers[1].rate = 0.7
        if k == 8:
            model.layers[0].activation = ops.tanh
        model.train_on_batch(VECTOR, np.eye(3, dtype="f")[LABELS])

    hazard(step, make)


def test_attributes_of_regularizers_and_constraints():
    def make():
        model = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(5, kernel_regularizer=fastnn.regularizers.L2(0.1)),
                                   layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    def step(model, k):
        if k == 4:
            model.layers[0].kernel_regularizer.l2 = 0.5
        if k == 8:
            model.layers[0].kernel.constraint = fastnn.constraints.MaxNorm(0.5)
        model.train_on_batch(VECTOR, LABELS)

    hazard(step, make)


def test_steps_in_a_child_process():
    import os

    model = mlp()
    for _ in range(6):
        model.train_on_batch(VECTOR, LABELS)
    expected = model.predict_on_batch(VECTOR)
    child = os.fork()
    if child == 0:
        ok = np.array_equal(model.predict_on_batch(VECTOR), expected) and np.isfinite(model.train_on_batch(VECTOR, LABELS))
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_calls_of_a_model_are_replayed_with_their_masks():
    model = fastnn.Sequential([fastnn.Input((5,), dtype="int32"), layers.Embedding(9, 4, mask_zero=True), layers.LayerNormalization()])
    eager = model._call_eagerly(WORDS)
    for _ in range(5):
        y = model(WORDS)
        np.testing.assert_array_equal(y, eager)
        np.testing.assert_array_equal(y._keras_mask, WORDS != 0)
    assert model.captured["call"].replayed == 3


def test_layers_of_the_user_run_at_each_call():
    calls = []

    class Mine(layers.Layer):
        def call(self, x):
            calls.append(1)
            return x * 2

    model = fastnn.Sequential([fastnn.Input((6,)), Mine()])
    before = len(calls)
    for _ in range(5):
        model(VECTOR)
    assert len(calls) == before + 5


def test_input_arrays_changed_in_place():
    def step(model, k, x=VECTOR.copy(), y=LABELS.copy()):
        x[:] = np.roll(VECTOR, k, 0)
        y[:] = np.roll(LABELS, k)
        model.train_on_batch(x, y)

    hazard(step, replays=8)


def test_the_same_array_as_input_and_target():
    def make():
        model = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(6)])
        model.compile("sgd", "mse")
        return model

    def step(model, k):
        x = np.roll(VECTOR, k, 0)
        model.train_on_batch(x, x if k % 2 else np.roll(x, 1, 0))

    hazard(step, make, replays=6)


def test_other_shapes_take_turns():
    def step(model, k):
        n = (8, 5, 3)[k % 3]
        model.train_on_batch(VECTOR[:n], LABELS[:n])
        if k % 2:
            model.train_on_batch(VECTOR[:n], LABELS[:n], sample_weight=np.arange(n) * 0.5)

    hazard(step, steps=30, replays=12)


def test_lengths_without_bound_stay_eager():
    def make():
        model = fastnn.Sequential([layers.GRU(3), layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    def step(model, k):
        model.train_on_batch(images(1 + k % 40, 2), LABELS)

    eager, captured = make_pair(make, step, 120, 1)
    assert_same(eager, captured)
    assert len(captured.captured["train_step"].programs()) <= 32


def test_models_take_turns():
    results = []
    for eager in (True, False):
        fastnn.utils.set_random_seed(1)
        a, b = mlp(), mlp("sgd")
        shared = a.layers[0]
        c = fastnn.Sequential([fastnn.Input((6,)), shared, layers.Dense(3, activation="softmax")])
        c.compile("rmsprop", "sparse_categorical_crossentropy")
        for m in (a, b, c):
            m.run_eagerly = eager
        for _ in range(8):
            for m in (a, b, c):
                m.train_on_batch(VECTOR, LABELS)
        results.append([w for m in (a, b, c) for w in state(m)])
        if not eager:
            assert all(m.captured["train_step"].replayed >= 3 for m in (a, b, c))
    for x, y in zip(*results):
        np.testing.assert_array_equal(x, y)


def test_global_settings():
    def step(model, k):
        if k == 6:
            fastnn.config.set_epsilon(1e-3)
        model.train_on_batch(VECTOR, np.eye(3, dtype="f")[LABELS])

    try:
        for eager in (True, False):
            fastnn.config.set_epsilon(1e-7)
            fastnn.utils.set_random_seed(1)
            model = mlp(loss="kl_divergence")
            model.run_eagerly = eager
            for k in range(12):
                step(model, k)
            if eager:
                expected = state(model)
        for a, b in zip(expected, state(model)):
            np.testing.assert_array_equal(a, b)
        assert model.captured["train_step"].replayed >= 3
    finally:
        fastnn.config.set_epsilon(1e-7)


# ---- steps that cannot be replayed ----

class Scaled(layers.Layer):
    """Multiplies by what `f` gives."""

    def __init__(self, f, **kwargs):
        super().__init__(**kwargs)
        self.f = f

    def call(self, x):
        return self.f(self, x)

    def compute_output_spec(self, x):
        return fastnn.KerasTensor(x.shape, x.dtype)


def scaled(f):
    def make():
        model = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(4), Scaled(f), layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    return make


def counted(self, x):
    self.count = getattr(self, "count", 0) + 1
    return x * self.count


def slow_counter(self, x):
    self.count = getattr(self, "count", 0) + 1
    return x * (1 + self.count // 5)


CLOSED = {"n": 0}


def closed_counter(self, x):
    CLOSED["n"] += 1
    return x * CLOSED["n"]


def keep(self, x):
    self.seen = ops.mean(x)
    return x * 2


UNREPLAYABLE = {
    "tensor kept": lambda self, x: keep(self, x),
    "numpy draw": lambda self, x: x * np.random.rand(),
    "numpy array": lambda self, x: x + np.random.standard_normal((1, 4)).astype("f"),
    "counter": counted,
    "slow counter": slow_counter,
    "closure": closed_counter,
    "float": lambda self, x: x * (1 + float(ops.mean(x)) * 0.1),
    "bool": lambda self, x: x * 2 if ops.mean(x) > 0 else x,
    "numpy": lambda self, x: x + ops.convert_to_tensor(np.tanh(np.asarray(ops.stop_gradient(x)))),
    "item": lambda self, x: x * ops.max(x).item(),
    "int": lambda self, x: x * int(ops.argmax(x[0]) + 1),
    "dlpack": lambda self, x: x + np.from_dlpack(ops.stop_gradient(x)),
    "buffer": lambda self, x: x + float(memoryview(ops.stop_gradient(x))[0, 0]),
    "iterate": lambda self, x: x * [v.item() for v in ops.mean(x, axis=0)][0],
}


@pytest.mark.parametrize("name", UNREPLAYABLE)
def test_a_step_that_depends_on_python_stays_eager(name, caplog):
    weights = []
    for eager in (True, False):
        fastnn.utils.set_random_seed(3)
        CLOSED["n"] = 0
        model = scaled(UNREPLAYABLE[name])()
        model.run_eagerly = eager
        CLOSED["n"] = 0
        model.layers[1].count = 0
        with caplog.at_level(logging.WARNING, "fastnn"):
            for _ in range(STEPS):
                model.train_on_batch(VECTOR, LABELS)
        weights.append(state(model))
    for a, b in zip(*weights):
        np.testing.assert_array_equal(a, b)
    train = model.captured["train_step"]
    assert train.replayed == 0 and train.reason
    lines = [r.getMessage() for r in caplog.records if r.name == "fastnn"]
    assert len(lines) == 1 and "train_step" in lines[0]
    if name in ("float", "bool", "numpy", "item", "int", "dlpack", "buffer", "iterate"):
        assert "test_capture.py" in lines[0]


def test_run_eagerly_never_captures():
    model = mlp(run_eagerly=True)
    for _ in range(5):
        model.train_on_batch(VECTOR, LABELS)
    model.fit(VECTOR, LABELS, verbose=0)
    assert model.captured == {}


# ---- state and errors ----

def test_variables_assigned_in_the_step():
    class Averaged(layers.Layer):
        def build(self, shape):
            self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False)
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x, training=None):
            before = self.mean.value
            if training:
                self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(x, axis=0))
                self.calls.assign_add(1.0)
            return x - before + self.mean.value * self.calls

    def make():
        model = fastnn.Sequential([fastnn.Input((6,)), Averaged(), layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    check(make, VECTOR, LABELS)


def test_errors_in_a_replayed_step():
    messages = []
    for eager in (True, False):
        fastnn.utils.set_random_seed(1)
        model = fastnn.Sequential([fastnn.Input((5,), dtype="int32"), layers.Embedding(9, 4), layers.Flatten(),
                                   layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.run_eagerly = eager
        for _ in range(5):
            model.train_on_batch(WORDS, LABELS)
        found = []
        for x, y in ((WORDS, LABELS + 1), (WORDS + 5, LABELS), (WORDS, LABELS + 0.5), (WORDS - 3, LABELS)):
            kind = IndexError if x is not WORDS else ValueError
            y = y.astype("f") if y.dtype.kind == "f" else y
            for _ in range(4):
                try:
                    model.train_on_batch(x, y)
                    raise AssertionError("no error")
                except kind as e:
                    found.append(str(e))
        model.train_on_batch(WORDS, LABELS)
        messages.append((found, [w.tolist() for w in state(model)]))
    assert messages[0] == messages[1]


def test_memory_stays():
    import resource

    model = mlp(metrics=["accuracy"])
    one = VECTOR[:1]
    for _ in range(300):
        model.train_on_batch(VECTOR, LABELS)
        model.predict(one, verbose=0)
    before, tensors = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, fastnn.memory_stats()["in_use"]
    for _ in range(3000):
        model.train_on_batch(VECTOR, LABELS)
        model.predict(one, verbose=0)
    assert fastnn.memory_stats()["in_use"] == tensors
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024  # kilobytes


def test_threads_predict_with_one_model():
    from concurrent.futures import ThreadPoolExecutor

    model = mlp()
    xs = [np.roll(VECTOR, k, 0) + k for k in range(8)]
    expected = [model.predict_on_batch(x) for x in xs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for a, b in zip(expected, pool.map(model.predict_on_batch, xs)):
                np.testing.assert_array_equal(a, b)


# ---- capture(fn) ----

def test_a_loop_of_ones_own():
    results = []
    for wrap in (lambda f: f, fastnn.capture):
        fastnn.utils.set_random_seed(2)
        model = mlp()
        loss_fn, optimizer = fastnn.losses.SparseCategoricalCrossentropy(), fastnn.optimizers.Adam(0.01)

        @wrap
        def step(x, y):
            with fastnn.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
            return {"loss": loss, "n": 3}

        losses = [float(step(np.roll(VECTOR, k, 0), np.roll(LABELS, k))["loss"]) for k in range(STEPS)]
        results.append((losses, [w.tolist() for w in model.get_weights()]))
    assert results[0] == results[1]
    assert step.capture.replayed >= 5


def test_arguments_and_results_of_capture():
    calls = []

    @fastnn.capture
    def f(x, scale, flag=False):
        calls.append(1)
        return (x * scale, {"same": x, "half": x * 0.5 if flag else x}, None)

    x = np.arange(6, dtype="f")
    for k in range(6):
        y, more, nothing = f(x + k, 2.0)
        np.testing.assert_array_equal(y, 2 * (x + k))
        np.testing.assert_array_equal(more["same"], x + k)
        assert nothing is None
    assert f.capture.replayed == 4 and len(calls) == 2
    np.testing.assert_array_equal(f(x, 3.0)[0], 3 * x)
    np.testing.assert_array_equal(f(x, 2.0, flag=True)[1]["half"], x / 2)
    assert len(calls) == 4


def test_results_are_fresh():
    f = fastnn.capture(lambda x: ops.exp(x))
    x = np.arange(4, dtype="f")
    kept = [f(x + k) for k in range(6)]
    for k, y in enumerate(kept):
        np.testing.assert_array_equal(y, np.asarray(ops.exp(x + k)))


def test_an_error_in_a_recorded_call_leaves_the_function_usable():
    @fastnn.capture
    def f(x, fail):
        y = x + 1
        if fail:
            raise RuntimeError("mine")
        return y

    x = np.ones(3, "f")
    for k in range(6):
        with pytest.raises(RuntimeError, match="mine"):
            f(x, True)
        np.testing.assert_array_equal(f(x, False), x + 1)
    assert f.capture.replayed >= 3


# ---- what a replay must not hide ----

def test_a_tape_around_a_captured_function_gets_its_gradient():
    w = fastnn.Variable(np.ones(8, "float32"))
    f = fastnn.capture(lambda x: ops.sum(x * w * w))
    x = np.ones((4, 8), "float32")
    for _ in range(4):
        f(x)
    assert f.capture.replayed
    with fastnn.GradientTape() as tape:
        y = f(x)
    np.testing.assert_array_equal(tape.gradient(y, [w])[0], np.full(8, 8.0))


def _both_ways(make, change):
    """The weights after training, a change and more training: replayed, and eagerly."""
    found = []
    for eagerly in (False, True):
        fastnn.utils.set_random_seed(1)
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((16, 8)).astype("f4"), rng.standard_normal((16, 1)).astype("f4")
        model, handle = make(eagerly)
        for _ in range(4):
            model.train_on_batch(x, y)
        change(handle)
        for _ in range(4):
            model.train_on_batch(x, y)
        found.append([np.asarray(w) for w in model.weights])
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)


def test_attributes_of_a_schedule_may_change():
    def make(eagerly):
        schedule = fastnn.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        model = fastnn.Sequential([layers.Input((8,)), layers.Dense(1)])
        model.compile(fastnn.optimizers.SGD(schedule), "mse", run_eagerly=eagerly)
        return model, schedule

    _both_ways(make, lambda schedule: setattr(schedule, "initial_learning_rate", 0.01))


class _Counts(layers.Layer):
    def __init__(self, start):
        super().__init__()
        self.count = start

    def call(self, x):
        self.count = self.count + type(self.count)(1)
        return x * 2.0 if self.count > 6 else x


class _Keeps(layers.Layer):
    def __init__(self, kept):
        super().__init__()
        self.kept = kept
        self.made = ()

    def call(self, x):
        self.made = self.kept(x * 2.0)
        return x


@pytest.mark.parametrize("start", [0, np.int64(0), np.float32(0)], ids=["int", "int64", "float32"])
def test_a_counter_keeps_a_layer_eager(start):
    model = fastnn.Sequential([layers.Input((3,)), _Counts(start)])
    model.compile()
    x = np.ones((1, 3), "float32")
    found = [float(model.predict(x, verbose=0)[0, 0]) for _ in range(12)]
    assert found[0] == 1 and found[-1] == 2


@pytest.mark.parametrize("kept", [lambda y: (y,), lambda y: [y], lambda y: {"y": y}], ids=["tuple", "list", "dict"])
def test_tensors_kept_in_an_attribute_are_those_of_the_last_call(kept):
    layer = _Keeps(kept)
    model = fastnn.Sequential([layers.Input((2,)), layer])
    model.compile()
    for k in range(6):
        model.predict(np.full((1, 2), k, "float32"), verbose=0)
    leaf = fastnn.tree.flatten(layer.made)[0]
    assert float(np.asarray(leaf)[0, 0]) == 10


def test_an_array_that_numpy_computes_with_may_change():
    edges = np.array([0.0, 0.5, 1.0, 2.0], "float32")
    x = np.array([0.2, 0.7, 1.5, 5.0], "float32")
    f = fastnn.capture(lambda x: ops.digitize(x, edges))
    for _ in range(4):
        f(x)
    before = edges.copy()
    edges *= 3
    g = fastnn.capture(lambda x: ops.digitize(x, before))
    for _ in range(4):
        np.testing.assert_array_equal(g(x), np.digitize(x, before))


def test_numbers_that_are_equal_and_not_the_same():
    f = fastnn.capture(lambda x, n: x * n)
    x = np.ones((2, 3), "float32")
    for _ in range(4):
        f(x, 0.0)
    assert np.signbit(np.asarray(f(x, -0.0))).all() and not np.signbit(np.asarray(f(x, 0.0))).any()


def test_a_model_with_an_activation_of_the_user_is_called():
    class Scale:
        k = 1.0

        def __call__(self, x):
            return x * self.k

    scale = Scale()
    model = fastnn.Sequential([layers.Input((8,)), layers.Dense(2, activation=scale)])
    x = np.ones((2, 8), "float32")
    for _ in range(4):
        y = np.asarray(model(x))
    scale.k = 5.0
    np.testing.assert_allclose(model(x), 5 * y, rtol=1e-6)


def test_losses_of_a_recorded_call_do_not_outlive_it():
    model = fastnn.Sequential([layers.Input((4,)), layers.Dense(1, activity_regularizer="l2")])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 4), "float32"), np.ones((4, 1), "float32")
    for _ in range(6):
        model.train_on_batch(x, y)
    assert next(iter(model.captured.values())).replayed and model.losses == []
    model(x)
    assert len(model.losses) == 1
