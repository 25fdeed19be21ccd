"""A small model, data that it can learn, and its weights."""
import numpy as np

import fastnn as keras
from fastnn import layers


def small(loss="mse", **kwargs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), loss, **kwargs)
    return model


def data(n=20, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3)).astype("f")
    return x, x.sum(axis=1, keepdims=True)


def weights(model):
    return [w.copy() for w in model.get_weights()]


def assert_equal(a, b):
    for u, v in zip(a, b):
        np.testing.assert_array_equal(u, v)
