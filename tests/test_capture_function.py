"""capture(fn): replayed functions of one's own."""
import numpy as np
import pytest

import fastnn
from fastnn import ops
from test_capture import LABELS, STEPS, VECTOR, mlp


def test_tensorflows_name():
    v = fastnn.Variable(0.0)

    @fastnn.function
    def add(x):
        v.assign_add(ops.sum(x))
        return v.value

    @fastnn.function(jit_compile=True, input_signature=None)
    def twice(x):
        return x * 2

    x = ops.ones((3,))
    assert [float(add(x)) for _ in range(6)] == [3.0 * (i + 1) for i in range(6)]
    assert add.capture.replayed >= 2 and float(ops.sum(twice(x))) == 6


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
