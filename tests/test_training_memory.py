"""What a training step asks of the system after its first runs: nothing."""
import gc
import os
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import layers


def cnn():
    model = fastnn.Sequential([
        fastnn.Input((12, 12, 1)), layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Activation("relu"),
        layers.MaxPooling2D(2), layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, np.ones((8, 12, 12, 1), "f"), np.arange(8)


def lstm():
    text, numbers = fastnn.Input((6,), name="text"), fastnn.Input((3,), name="numbers")
    x = layers.LSTM(5)(layers.Embedding(20, 4)(text))
    x = layers.concatenate([x, layers.Dense(4, activation="relu")(numbers)])
    model = fastnn.Model([text, numbers], [layers.Dense(3, activation="softmax", name="a")(x), layers.Dense(1, name="b")(x)])
    model.compile("rmsprop", {"a": "sparse_categorical_crossentropy", "b": "mse"}, metrics={"b": ["mae"]})
    rng = np.random.default_rng(0)
    return model, [rng.integers(0, 20, (8, 6)), np.ones((8, 3), "f")], [rng.integers(0, 3, 8), np.ones((8, 1), "f")]


@pytest.mark.parametrize("make", [cnn, lstm])
def test_steps_make_no_cycles_and_no_system_calls(make):
    model, x, y = make()
    threads = fastnn.num_threads()
    # How many scratch blocks are needed at once depends on who is awake: one thread makes it exact.
    fastnn.set_num_threads(1)
    try:
        for _ in range(4):
            model.train_on_batch(x, y)
            model.predict_on_batch(x)
        gc.collect()
        gc.disable()
        before = fastnn.memory_stats()
        for _ in range(10):
            model.train_on_batch(x, y)
            model.predict_on_batch(x)
        after = fastnn.memory_stats()
        assert gc.collect() == 0, "a step left objects in reference cycles"
    finally:
        gc.enable()
        fastnn.set_num_threads(threads)
    assert after["system_calls"] == before["system_calls"]
    assert after["in_use"] == before["in_use"]
    assert after["allocations"] > before["allocations"]


def test_fit_takes_no_memory_either():
    model, x, y = cnn()
    x, y, threads = np.tile(x, (8, 1, 1, 1)), np.tile(y, 8), fastnn.num_threads()
    fastnn.set_num_threads(1)
    try:
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        gc.collect()  # what other tests left would be freed in the middle
        before = fastnn.memory_stats()["system_calls"]
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        assert fastnn.memory_stats()["system_calls"] == before
    finally:
        fastnn.set_num_threads(threads)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's memory where Linux shows it")
@pytest.mark.skipif("FASTNN_DEVICE" in os.environ, reason="20,000 steps are hours on an emulated device")
@pytest.mark.parametrize("what", ["fit", "predict", "train_on_batch"])
def test_20_000_runs_grow_the_process_by_less_than_a_megabyte(what):
    model = fastnn.Sequential([
        fastnn.Input((16,)), layers.Dense(16, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2),
        layers.Dense(4, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = np.ones((2000, 16), "f"), np.arange(2000) % 4

    def run(times):
        if what == "fit":
            model.fit(x, y, batch_size=2, epochs=times // 1000, verbose=0)
            return
        for _ in range(times):
            model.predict(x[:1], verbose=0) if what == "predict" else model.train_on_batch(x[:2], y[:2])

    def resident():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def growth(times):
        before = resident()
        run(times)
        return resident() - before

    run(2000)
    # The system may put a huge page in the place of a small one meanwhile, 2 MB more; what is lost in each run is lost again.
    assert min(growth(20_000), growth(20_000)) < 1_000_000
