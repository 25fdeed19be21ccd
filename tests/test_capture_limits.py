"""Steps that cannot be replayed, and what a replay must not hide."""
import gc
import logging

import numpy as np
import pytest

import fastnn
from fastnn import layers, ops
from test_capture import LABELS, STEPS, VECTOR, WORDS, check, mlp, state


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
        assert "test_capture_limits.py" in lines[0]


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


def test_an_error_behind_an_assignment_is_seen_by_folded_weights():
    fastnn.utils.set_random_seed(0)
    model = fastnn.Sequential([fastnn.Input((8, 8, 4)), layers.Conv2D(8, 3, use_bias=False), layers.BatchNormalization()])
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype("f")
    kernel, table = model.weights[0], fastnn.Variable(np.zeros((5, 2), "f"))

    @fastnn.capture
    def step(a):
        kernel.assign(kernel * 2.0)
        index = ops.cast(ops.sum(kernel) * 0 + a, "int32")  # it depends on the new value: its check comes after the assignment
        return ops.take(table, index, axis=0)

    for _ in range(4):
        step(np.ones(2, "f"))
        model.predict(x, verbose=0)
    assert step.capture.replayed > 0
    before = kernel.numpy().copy()
    with pytest.raises(IndexError, match="77"):
        step(np.full(2, 77, "f"))
    np.testing.assert_array_equal(kernel.numpy(), before * 2)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x, training=False), rtol=1e-4, atol=1e-4)


def test_memory_stays():
    import resource

    model = mlp(metrics=["accuracy"])
    one = VECTOR[:1]
    for _ in range(300):
        model.train_on_batch(VECTOR, LABELS)
        model.predict(one, verbose=0)
    gc.collect()  # what other tests left would be freed in the middle
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


def test_other_threads_lose_no_update_while_a_step_is_recorded():
    """Recording looks at every variable of the process; those that another thread is writing must stay where they are."""
    import threading

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8)).astype("f"), rng.normal(size=(16, 4)).astype("f")

    def make():
        model = fastnn.Sequential([fastnn.Input((8,)), fastnn.layers.Dense(16, activation="relu"), fastnn.layers.Dense(4)])
        model.compile(fastnn.optimizers.Adam(1e-2), "mse")
        model.set_weights([np.full(w.shape, 0.1 + 0.01 * i, "f") for i, w in enumerate(model.get_weights())])
        return model

    def train(model):
        for _ in range(60):
            model.train_on_batch(x, y)

    alone = make()
    train(alone)
    for _ in range(4):
        models = [make() for _ in range(3)]
        threads = [threading.Thread(target=train, args=(m,)) for m in models]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for m in models:
            assert int(m.optimizer.iterations) == 60
            for a, b in zip(m.get_weights(), alone.get_weights()):
                np.testing.assert_array_equal(a, b)
