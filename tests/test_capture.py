"""A replayed step gives the numbers of the step as it was written, bit by bit."""
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
    if fastnn._core.current_device() != "cpu":  # a third run with the same addresses is of graphs; few runs may not have one
        for program in (p for c in captured.captured.values() for p in c.programs()):
            assert (program["graph_launches"] > 0) == (program["graph_runs"] > 0)
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


@pytest.mark.parametrize("name", ROWS)
def test_every_layer_replayed_is_bitwise_the_layer(name):
    make_layer, x = ROWS[name]

    def make():
        model = fastnn.Sequential([fastnn.Input(x.shape[1:], dtype=x.dtype.name), make_layer(), layers.Flatten(),
                                   layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    check(make, x, LABELS, replays=5)


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
    check(lambda: mlp(fastnn.optimizers.LossScaleOptimizer(fastnn.optimizers.SGD(0.1, momentum=0.9))), VECTOR, LABELS)


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


class Scaling(layers.Layer):
    """Multiplies by what it holds in containers."""

    def __init__(self):
        super().__init__()
        self.factors, self.parts = np.ones(6, "f"), [2.0, 0.5]

    def call(self, x):
        return x * self.factors * self.parts[0]


@pytest.mark.parametrize("change", ["array", "reverse", "sort"])
def test_containers_of_layers_changed_in_place(change):
    def make():
        model = fastnn.Sequential([fastnn.Input((6,)), Scaling(), layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    def step(model, k):
        scaling = model.layers[0]
        if k == 6 and change == "array":
            scaling.factors *= 3
        elif k == 6:
            getattr(scaling.parts, change)()
        model.train_on_batch(VECTOR, LABELS)

    hazard(step, make)


def test_an_array_counted_up_in_the_step_is_counted_up():
    class Counting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.calls = np.zeros(1, "f")

        def call(self, x):
            self.calls += 1
            return x

    model = fastnn.Sequential([fastnn.Input((6,)), Counting(), layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.layers[0].calls[0]
    for _ in range(12):
        model.train_on_batch(VECTOR, LABELS)
    assert model.layers[0].calls[0] - before == 12


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 6])
def test_a_step_that_raises_changes_nothing(steps, eager):
    model = fastnn.Sequential([fastnn.Input((6,)), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3)])
    model.compile("adam", fastnn.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=eager)
    model.optimizer.build(model.trainable_variables)  # or else fit does it before the first step
    for _ in range(steps):
        model.train_on_batch(VECTOR, LABELS)
    before = [v.numpy() for v in model.variables + model.optimizer.variables]
    with pytest.raises(ValueError, match="classes"):
        model.train_on_batch(VECTOR, LABELS + 1)
    with pytest.raises(ValueError, match="classes"):
        model.fit(VECTOR, LABELS + 1, verbose=0)
    for value, v in zip(before, model.variables + model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(v.numpy(), value)


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


def test_the_third_step_of_fit_is_replayed():
    # What a first step would make (the state of the optimizer, metrics) is made before it is recorded.
    x, y = np.random.rand(24, 6).astype("float32"), np.random.randint(0, 3, 24)
    one = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(3, activation="softmax")])
    one.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    i = fastnn.Input((6,))
    two = fastnn.Model(i, {"a": layers.Dense(1, name="a")(i), "b": layers.Dense(3, activation="softmax", name="b")(i)})
    two.compile("rmsprop", {"a": "mse", "b": "sparse_categorical_crossentropy"}, metrics={"b": ["accuracy"]})
    for model, targets in ((one, y), (two, {"a": x[:, :1], "b": y})):
        model.fit(x, targets, batch_size=4, verbose=0)
        train = model.captured["train"]
        assert (train.recorded, train.replayed) == (2, 4)
