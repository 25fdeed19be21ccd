"""Layers that apply an activation function: values, weights, configs, errors."""
import numpy as np
import pytest

from fastnn import GradientTape, Input, Sequential, layers, ops

from check import tensor, values

X = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32) * 2


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("layer,reference", [
    (lambda: layers.Activation("relu"), lambda x: np.maximum(x, 0)),
    (lambda: layers.Activation(ops.tanh), np.tanh),
    (lambda: layers.Activation(None), lambda x: x),
    (lambda: layers.ReLU(), lambda x: np.maximum(x, 0)),
    (lambda: layers.ReLU(1.0, 0.1, 0.5), lambda x: np.where(x >= 1, 1, np.where(x >= 0.5, x, 0.1 * (x - 0.5)))),
    (lambda: layers.ReLU(max_value=6), lambda x: np.clip(x, 0, 6)),
    (lambda: layers.LeakyReLU(), lambda x: np.where(x > 0, x, 0.3 * x)),
    (lambda: layers.LeakyReLU(0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    (lambda: layers.ELU(1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    (lambda: layers.PReLU("Ones"), lambda x: x),
    (lambda: layers.PReLU(), lambda x: np.maximum(x, 0)),
    (lambda: layers.Softmax(), softmax),
    (lambda: layers.Softmax(1), lambda x: softmax(x, 1)),
    (lambda: layers.Softmax((1, 2)), lambda x: softmax(x, (1, 2))),
], ids=range(14))
def test_values_and_configs(layer, reference):
    layer = layer()
    np.testing.assert_allclose(values(layer(tensor(X))), reference(X.astype(float)), rtol=1e-5, atol=1e-6)
    again = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(np.asarray(again(tensor(X))), np.asarray(layer(tensor(X))))
    assert layer.compute_output_shape((None, 3, 5)) == (None, 3, 5) and layer.supports_masking
    model = Sequential([Input((3, 5)), type(layer).from_config(layer.get_config())])
    assert model.output_shape == (None, 3, 5)


def test_prelu_shares_axes_and_learns():
    layer = layers.PReLU("Ones", shared_axes=[1])
    with GradientTape() as tape:
        y = ops.sum(layer(tensor(X)))
    assert layer.alpha.shape == (1, 5)
    g = tape.gradient(y, layer.alpha)
    np.testing.assert_allclose(np.asarray(g), np.minimum(X, 0).sum((0, 1))[None], rtol=1e-5)
    with pytest.raises(ValueError, match=r"\[PReLU\] shared_axes must be from 1 to 2"):
        layers.PReLU(shared_axes=[3])(tensor(X))
    with pytest.raises(ValueError, match=r"\[PReLU\] sizes of inputs must be known"):
        layers.PReLU()(Input((None, 5)))
    assert layers.PReLU(shared_axes=1)(Input((None, 5))).shape == (None, None, 5)


def test_softmax_leaves_out_what_is_masked():
    mask = np.array([[True, True, False, True, False]])
    y = values(layers.Softmax()(tensor(X[0, :1]), mask=mask))
    assert y[0, 2] == 0 and y[0, 4] == 0
    np.testing.assert_allclose(y[mask], softmax(X[0, :1][mask].astype(float)), rtol=1e-5)
    assert not values(layers.Softmax()(tensor(X[0, :1]), mask=np.zeros((1, 5), bool))).any()


@pytest.mark.parametrize("make", [
    lambda: layers.ReLU(max_value=-1), lambda: layers.ReLU(negative_slope=-0.1), lambda: layers.ReLU(threshold=-1),
    lambda: layers.LeakyReLU(negative_slope=-0.1), lambda: layers.LeakyReLU(negative_slope=None),
    lambda: layers.ELU(alpha="a"), lambda: layers.Activation("rellu"),
])
def test_wrong_arguments(make):
    with pytest.raises(ValueError, match="Received"):
        make()
