"""What a profile tells of eager and of replayed steps."""
import json

import numpy as np
import pytest

import fastnn
from fastnn import layers, ops


def model():
    m = fastnn.Sequential([fastnn.Input((6,)), layers.Dense(5, activation="relu", name="hidden"), layers.Dense(3, name="out")])
    m.compile("adam", "mse")
    return m


X, Y = np.ones((8, 6), "f"), np.ones((8, 3), "f")


@pytest.mark.parametrize("eager", [True, False])
def test_a_step_by_kernel_and_by_layer(eager):
    m = model()
    m.run_eagerly = eager
    for _ in range(5):
        m.train_on_batch(X, Y)
    with fastnn.profile() as p:
        for _ in range(4):
            m.train_on_batch(X, Y)
    assert m.captured == {} if eager else m.captured["train_step"].replayed >= 4
    kernels = {row["name"]: row for row in p.by_kernel()}
    assert kernels["adam_update"]["calls"] == 4
    assert kernels["matmul"]["calls"] == 4 * 5  # no gradient of the input
    by_layer = {row["name"]: row for row in p.by_layer()}
    assert {"hidden", "out", "hidden backward", "out backward", "loss", "optimizer"} <= set(by_layer)
    assert abs(sum(row["share"] for row in p.by_layer()) - 1) < 1e-9
    assert "matmul" in str(p) and "hidden backward" in str(p)


def test_operations_and_bytes_are_counted():
    a, b = np.ones((64, 32), "f"), np.ones((32, 16), "f")
    with fastnn.profile() as p:
        ops.matmul(a, b)
    (event,) = [e for e in p.events if e[0] == "matmul"]
    assert event[4] == 2 * 64 * 32 * 16
    assert event[5] == 4 * (64 * 32 + 32 * 16 + 64 * 16)


def test_the_trace_is_json(tmp_path):
    with fastnn.profile() as p:
        ops.exp(X)
    p.save_trace(tmp_path / "trace.json")
    (event,) = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert event["name"] == "unary" and event["ph"] == "X" and event["dur"] > 0


def test_profiles_do_not_nest():
    with fastnn.profile() as p:
        with pytest.raises(RuntimeError, match="already"):
            with fastnn.profile():
                pass
    ops.exp(X)
    assert p.events == []


def test_results_are_the_same_under_a_profile():
    m = model()
    for _ in range(5):
        m.predict_on_batch(X)
    with fastnn.profile():
        profiled = m.predict_on_batch(X)
    np.testing.assert_array_equal(profiled, m.predict_on_batch(X))
