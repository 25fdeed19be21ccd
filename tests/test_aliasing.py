"""Results never share memory with a NumPy array that the user may change later."""
import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, layers, ops

PASSING = {
    "cast": lambda a: ops.cast(a, "float32"),
    "saturate_cast": lambda a: ops.saturate_cast(a, "float32"),
    "stop_gradient": ops.stop_gradient,
    "einsum": lambda a: ops.einsum("ij->ij", a),
    "reshape": lambda a: ops.reshape(a, (3, 2)),
    "squeeze": ops.squeeze,
    "expand_dims": lambda a: ops.expand_dims(a, 0),
    "transpose": lambda a: ops.transpose(a, (0, 1)),
    "roll": lambda a: ops.roll(a, 0, 1),
    "diff": lambda a: ops.diff(a, 0),
    "concatenate": lambda a: ops.concatenate([a]),
    "split": lambda a: ops.split(a, 1)[0],
    "slice": lambda a: fastnn.tensor.as_tensor(a)[:],
    "linear": fastnn.activations.linear,
    "Activation": lambda a: layers.Activation("linear")(a),
    "Dropout": lambda a: layers.Dropout(0.5)(a),
    "GaussianNoise": lambda a: layers.GaussianNoise(0.5)(a),
    "Reshape": lambda a: layers.Reshape((3,))(a),
    "Flatten": lambda a: layers.Flatten()(a),
    "model": lambda a: fastnn.Sequential([fastnn.Input((3,)), layers.Activation("linear")])(a),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_result_does_not_follow_the_array(name):
    a = np.ones((2, 3), "f")
    y = PASSING[name](a)
    a[:] = 9
    assert np.asarray(y).max() == 1


@pytest.mark.parametrize("f", [ops.median, lambda x: ops.quantile(x, 0.5), ops.nanmax, ops.i0], ids=["median", "quantile", "nanmax", "i0"])
def test_a_function_without_gradient_says_so(f):
    v = fastnn.Variable(np.ones((2, 3), "f"))
    with GradientTape() as tape:
        y = ops.sum(f(v * 2.0)) + ops.sum(v)
    with pytest.raises(ValueError, match="has no gradient"):
        tape.gradient(y, v)


def test_symbolic_tensors_where_values_are_needed():
    x = fastnn.Input((3,))
    for use in (lambda: fastnn.losses.MeanSquaredError()(np.ones((4, 3), "f"), x), lambda: fastnn.metrics.Mean()(x),
                lambda: fastnn.Variable(np.ones(3, "f")).assign(x)):
        with pytest.raises((TypeError, ValueError), match="."):
            use()


def test_a_variable_is_an_input():
    v = fastnn.Variable(np.arange(12, dtype="f").reshape(4, 3))
    y = layers.BatchNormalization()(v, training=True)
    assert abs(np.asarray(y).mean()) < 1e-6
    with GradientTape() as tape:
        out = ops.sum(layers.Dense(2)(v))
    assert tape.gradient(out, v).shape == (4, 3)
