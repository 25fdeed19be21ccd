"""Switches and limits of fastnn.config."""

import numpy as np
import pytest

import fastnn as keras
from fastnn import config


@pytest.mark.parametrize("name, first", [
    ("flash_attention", False), ("interactive_logging", True), ("traceback_filtering", True)])
def test_switches(name, first):
    state = getattr(config, f"is_{name}_enabled")
    assert state() is first
    try:
        getattr(config, f"enable_{name}")()
        assert state()
        getattr(config, f"disable_{name}")()
        assert not state()
    finally:
        getattr(config, f"{'enable' if first else 'disable'}_{name}")()


def test_limits_of_training():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.zeros((12, 2), "float32"), np.zeros((12, 1), "float32")
    try:
        config.set_max_epochs(2)
        config.set_max_steps_per_epoch(3)
        assert len(model.fit(x, y, batch_size=2, epochs=5, verbose=0).history["loss"]) == 2
        assert int(model.optimizer.iterations) == 6
        assert model.predict(x, batch_size=2, verbose=0).shape == (6, 1)
        assert config.max_epochs() == 2 and config.max_steps_per_epoch() == 3
    finally:
        config.set_max_epochs(None)
        config.set_max_steps_per_epoch(None)
    assert model.predict(x, batch_size=2, verbose=0).shape == (12, 1)
    with pytest.raises(ValueError, match="max_epochs"):
        config.set_max_epochs(0)


def test_backend():
    assert config.backend() == "fastnn"
    config.set_backend("fastnn")
    with pytest.raises(ValueError, match="backend"):
        config.set_backend("jax")
