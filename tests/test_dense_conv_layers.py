"""Dense and the convolution layers: weights, shapes, configs, fused activations, wrong arguments."""
import numpy as np
import pytest

from fastnn import GradientTape, activations, layers, ops
from fastnn.tensor import to_numpy

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype("float32")


# layer, input shape, kernel shape, output shape
ROWS = [
    (lambda **k: layers.Dense(5, **k), (2, 3), (3, 5), (2, 5)),
    (lambda **k: layers.Dense(5, **k), (2, 4, 6, 3), (3, 5), (2, 4, 6, 5)),
    (lambda **k: layers.Conv1D(4, 3, **k), (2, 9, 6), (3, 6, 4), (2, 7, 4)),
    (lambda **k: layers.Conv1D(4, 3, strides=2, padding="causal", **k), (2, 9, 6), (3, 6, 4), (2, 5, 4)),
    (lambda **k: layers.Conv1D(4, 3, dilation_rate=2, padding="same", groups=2, **k), (2, 9, 6), (3, 3, 4), (2, 9, 4)),
    (lambda **k: layers.Conv2D(4, (3, 2), **k), (2, 9, 8, 6), (3, 2, 6, 4), (2, 7, 7, 4)),
    (lambda **k: layers.Conv2D(4, 3, strides=(2, 1), padding="same", **k), (2, 9, 8, 1), (3, 3, 1, 4), (2, 5, 8, 4)),
    (lambda **k: layers.Conv2D(4, 3, data_format="channels_first", **k), (2, 6, 9, 8), (3, 3, 6, 4), (2, 4, 7, 6)),
    (lambda **k: layers.Conv3D(4, 2, **k), (2, 5, 4, 3, 6), (2, 2, 2, 6, 4), (2, 4, 3, 2, 4)),
    (lambda **k: layers.Conv1DTranspose(4, 3, strides=2, **k), (2, 9, 6), (3, 4, 6), (2, 19, 4)),
    (lambda **k: layers.Conv2DTranspose(4, 3, strides=2, padding="same", **k), (2, 9, 8, 6), (3, 3, 4, 6), (2, 18, 16, 4)),
    (lambda **k: layers.Conv2DTranspose(4, 3, strides=2, output_padding=1, **k), (2, 4, 4, 6), (3, 3, 4, 6), (2, 10, 10, 4)),
    (lambda **k: layers.Conv2DTranspose(4, 3, data_format="channels_first", **k), (2, 6, 4, 4), (3, 3, 4, 6), (2, 4, 6, 6)),
    (lambda **k: layers.Conv3DTranspose(4, 2, **k), (2, 3, 4, 3, 6), (2, 2, 2, 4, 6), (2, 4, 5, 4, 4)),
]


@pytest.mark.parametrize("make, shape, kernel, output", ROWS)
def test_shapes_and_weights(make, shape, kernel, output):
    layer = make(activation="relu", name="l")
    y = layer(normal(*shape))
    assert y.shape == output and y.dtype == "float32" and (to_numpy(y) >= 0).all()
    assert [(w.path, w.shape) for w in layer.weights] == [("l/kernel", kernel), ("l/bias", (4 if len(kernel) > 2 else 5,))]
    assert tuple(layer.compute_output_shape((None, *shape[1:]))) == (None, *output[1:])
    assert make(use_bias=False)(normal(*shape)).shape == output
    symbolic = make()(layers.Input(shape[1:]))
    assert symbolic.shape == (None, *output[1:])


@pytest.mark.parametrize("make, shape, kernel, output", ROWS)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_layer_is_its_op_bias_and_activation(make, shape, kernel, output, activation):
    layer = make(activation=activation, bias_initializer="ones")
    plain = make()
    x = normal(*shape)
    y = to_numpy(layer(x))
    plain(x)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(y, to_numpy(activations.get(activation)(plain(x))), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make, shape, kernel, output", ROWS)
def test_config(make, shape, kernel, output):
    layer = make(activation="tanh", kernel_regularizer="l2", bias_constraint="non_neg", name="l")
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    x = normal(*shape)
    y = to_numpy(layer(x))
    again(x)
    again.set_weights(layer.get_weights())
    assert np.array_equal(to_numpy(again(x)), y)
    assert len(layer.losses) == 1


@pytest.mark.parametrize("make, shape, kernel, output", ROWS)
def test_gradients_reach_all_weights(make, shape, kernel, output):
    layer = make(activation="tanh")
    x = normal(*shape)
    layer(x)
    with GradientTape() as tape:
        loss = ops.sum(layer(x))
    gradients = tape.gradient(loss, layer.trainable_variables)
    for v, g in zip(layer.trainable_variables, gradients):
        assert g.shape == v.shape and np.abs(to_numpy(g)).max() > 0


def test_glorot_sizes_of_kernels():
    """The limit of glorot_uniform is sqrt(6 / (fan in + fan out)) with the taps counted in."""
    layer = layers.Conv2D(32, 3)
    layer.build((None, 8, 8, 16))
    limit = np.sqrt(6 / (9 * 16 + 9 * 32))
    k = layer.get_weights()[0]
    assert np.abs(k).max() <= limit and np.abs(k).max() > 0.99 * limit


def test_unknown_sizes():
    x = layers.Input((None, None, 3))
    assert layers.Conv2D(4, 3, padding="same", strides=2)(x).shape == (None, None, None, 4)
    assert layers.Conv2DTranspose(4, 3, strides=2)(x).shape == (None, None, None, 4)
    assert layers.Dense(7)(x).shape == (None, None, None, 7)


def test_integers_are_cast_once():
    layer = layers.Dense(3, kernel_initializer="ones")
    y = layer(np.ones((2, 4), "int64"))
    assert y.dtype == "float32" and (to_numpy(y) == 4).all()


def test_keras_aliases():
    assert layers.Convolution2D is layers.Conv2D and layers.Convolution2DTranspose is layers.Conv2DTranspose


X = np.ones((2, 6, 6, 4), "f4")


@pytest.mark.parametrize("call, text", [
    (lambda: layers.Dense(0), "units must be a positive"),
    (lambda: layers.Dense(-1), "units must be a positive"),
    (lambda: layers.Dense(2.5), "units must be a positive"),
    (lambda: layers.Dense(None), "units must be a positive"),
    (lambda: layers.Dense(3)(np.ones(3, "f4")), "min_ndim=2"),
    (lambda: layers.Conv2D(0, 3), "`filters`. Expected a strictly positive"),
    (lambda: layers.Conv2D(4, 0), "kernel_size must be a positive"),
    (lambda: layers.Conv2D(4, (3, -1)), "kernel_size` argument must be a tuple"),
    (lambda: layers.Conv2D(4, (3, 3, 3)), "kernel_size must be an integer or 2"),
    (lambda: layers.Conv2D(4, 3, strides=0), "strides must be a positive"),
    (lambda: layers.Conv2D(4, 3, dilation_rate=0), "dilation_rate must be a positive"),
    (lambda: layers.Conv2D(4, 3, groups=0), "groups must be a positive"),
    (lambda: layers.Conv2D(4, 3, groups=3), "groups must divide filters"),
    (lambda: layers.Conv2D(6, 3, groups=3)(X), "groups must divide the channels"),
    (lambda: layers.Conv2D(4, 3, padding="causal"), "padding must be one of"),
    (lambda: layers.Conv2D(4, 3, data_format="nhwc"), "data_format must be"),
    (lambda: layers.Conv2D(4, 7)(X), "window must fit"),
    (lambda: layers.Conv2D(4, 3)(X[0]), "ndim=4"),
    (lambda: layers.Conv2D(4, 3)(X[..., :0]), "at least 1"),
    (lambda: layers.Conv2DTranspose(4, 3, strides=2, output_padding=2), "`output_padding` must be"),
    (lambda: layers.Dense(3, activation="no_such"), "no_such"),
])
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_impossible_sizes():
    with pytest.raises(MemoryError):
        layers.Dense(2**40)(np.ones((2, 3), "f4"))
    with pytest.raises((ValueError, OverflowError)):
        layers.Dense(2**62)(np.ones((2, 3), "f4"))
