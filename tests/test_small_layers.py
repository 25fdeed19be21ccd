"""Identity, ActivityRegularization, Rescaling, Normalization and DropConnectDense."""
import numpy as np
import pytest

import fastnn as keras
from fastnn import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, (6, 4, 3)).astype("float32")


def restored(layer):
    """The layer, through its config."""
    return type(layer).from_config(layer.get_config())


@pytest.mark.parametrize("layer", [
    layers.Identity(), layers.ActivityRegularization(l1=0.1), layers.Rescaling(2.0, 1), layers.Rescaling([1.0, 2.0, 3.0]),
    layers.Normalization(), layers.Normalization(mean=[1.0, 2.0, 3.0], variance=np.ones(3)), layers.DropConnectDense(5, 0.2),
])
def test_config_shape_and_weights(layer, tmp_path):
    again = restored(layer)
    assert again.get_config() == layer.get_config()
    model = keras.Sequential([keras.Input((4, 3)), again])
    assert model.output_shape == (None, 4, 5 if isinstance(layer, layers.DropConnectDense) else 3)
    model.save_weights(tmp_path / "m.safetensors")
    loaded = keras.Sequential.from_config(model.get_config())
    loaded.load_weights(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_identity():
    np.testing.assert_array_equal(layers.Identity()(X), X)
    assert layers.Identity().compute_output_shape((None, 3)) == (None, 3)


def test_activity_regularization():
    layer = layers.ActivityRegularization(l1=0.5, l2=0.25)
    np.testing.assert_array_equal(layer(X), X)
    wanted = (0.5 * np.abs(X).sum() + 0.25 * np.square(X).sum()) / len(X)  # the mean over the batch, as in Keras
    np.testing.assert_allclose(layer.losses[0], wanted, rtol=1e-5)
    with pytest.raises(ValueError, match="expected a non-negative float for `l1`"):
        layers.ActivityRegularization(l1=-1)


def test_rescaling():
    np.testing.assert_allclose(layers.Rescaling(1 / 127.5, offset=-1)(np.array([[0, 255]], "uint8")), [[-1, 1]], atol=1e-6)
    np.testing.assert_allclose(layers.Rescaling([1, 2, 3], [0, 0, 1])(X), X * [1, 2, 3] + [0, 0, 1], rtol=1e-6)
    with pytest.raises(ValueError, match="scale must be a number"):
        layers.Rescaling("1")


@pytest.mark.parametrize("axis, kept", [(-1, (2,)), (1, (1,)), ((1, 2), (1, 2)), ((-1, 1), (1, 2)), (None, ())])
@pytest.mark.parametrize("batches", [False, True])
def test_normalization_adapts(axis, kept, batches):
    layer = layers.Normalization(axis=axis)
    layer.adapt([X[:1], (X[1:5], None), X[5:]] if batches else X)
    reduced = tuple(a for a in range(3) if a not in kept)
    mean, variance = X.mean(reduced, "float64", keepdims=True), X.var(reduced, "float64", keepdims=True)
    np.testing.assert_allclose(layer(X), (X - mean) / np.sqrt(variance), atol=1e-5)
    assert [w.name for w in layer.weights] == ["mean", "variance", "count"] and not layer.trainable_weights
    inverse = layers.Normalization(axis=axis, invert=True)
    inverse.adapt(X)
    np.testing.assert_allclose(inverse(layer(X)), X, atol=1e-4)


def test_normalization_of_a_dataset_and_a_generator():
    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return X[2 * i:2 * i + 2], np.zeros(2)

    for data in (Data(), (X[i:i + 2] for i in (0, 2, 4)), ops.convert_to_tensor(X)):
        layer = layers.Normalization()
        layer.adapt(data)
        np.testing.assert_allclose(layer.weights[0], X.mean((0, 1)), rtol=1e-5)


def test_normalization_with_given_statistics():
    np.testing.assert_allclose(layers.Normalization(mean=3.0, variance=2.0)(np.array([[1.0], [3.0]])),
                               [[-np.sqrt(2)], [0]], rtol=1e-6)
    layer = layers.Normalization(axis=(1, 2), mean=[1.0, 2, 3], variance=[1.0, 4, 9])
    np.testing.assert_allclose(layer(X), (X - [1, 2, 3]) / [1, 2, 3], rtol=1e-5, atol=1e-6)
    assert layer.weights == []


def test_normalization_of_a_constant_is_zero():
    layer = layers.Normalization()
    layer.adapt(np.full((4, 2), 7.0))
    np.testing.assert_array_equal(layer(np.full((4, 2), 7.0)), np.zeros((4, 2)))


def test_normalization_in_float16():
    layer = layers.Normalization(dtype="mixed_float16")
    layer.adapt(X)
    assert layer(X).dtype == "float16"


def test_normalization_errors():
    with pytest.raises(ValueError, match="both `mean` and `variance` must be set"):
        layers.Normalization(mean=1.0)
    with pytest.raises(ValueError, match="the same shape"):
        layers.Normalization(mean=[1.0], variance=1.0)
    with pytest.raises(ValueError, match="at most as many dimensions"):
        layers.Normalization(mean=[[1.0]], variance=[[1.0]])
    with pytest.raises(ValueError, match="All `axis` values must be in"):
        layers.Normalization(axis=3)(X)
    with pytest.raises(ValueError, match="must have a known size"):
        layers.Normalization()(keras.Input((None,)))
    with pytest.raises(ValueError, match="must broadcast"):
        layers.Normalization(mean=[1.0, 2], variance=[1.0, 2])(X)
    layer = layers.Normalization()
    with pytest.raises(ValueError, match="at least one row"):
        layer.adapt([])
    layer.adapt(X)
    with pytest.raises(ValueError, match=r"incompatible shape"):
        layer.adapt(X[..., :2])


def test_drop_connect():
    layer = layers.DropConnectDense(200, rate=0.25, use_bias=False, kernel_initializer="ones", seed=1)
    x = np.eye(300, dtype="float32")  # gives the kernel that was used
    np.testing.assert_array_equal(layer(x), np.ones((300, 200)))
    used, other = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    np.testing.assert_allclose(np.unique(used), [0, 4 / 3], rtol=1e-6)
    assert abs((used == 0).mean() - 0.25) < 0.01 and (used != other).any()
    again = layers.DropConnectDense(200, rate=0.25, use_bias=False, kernel_initializer="ones", seed=1)
    np.testing.assert_array_equal(again(x, training=True), used)


def test_drop_connect_gives_gradients_to_kept_entries():
    layer = layers.DropConnectDense(4, rate=0.5, activation="relu", kernel_initializer="ones", seed=1)
    x = np.ones((2, 8), "float32")
    with keras.GradientTape() as tape:
        y = ops.sum(layer(x, training=True))
    kernel, bias = tape.gradient(y, layer.trainable_weights)
    assert set(np.unique(kernel)) == {0.0, 4.0}
    np.testing.assert_array_equal(bias, np.full(4, 2.0))


def test_drop_connect_trains():
    model = keras.Sequential([layers.DropConnectDense(16, 0.1, activation="relu", seed=0), layers.Dense(1)])
    model.compile("adam", "mse")
    x = RNG.normal(size=(128, 4)).astype("float32")
    losses = model.fit(x, x.sum(1, keepdims=True), epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("rate", [1, -0.1, "0.5", True])
def test_drop_connect_rate(rate):
    with pytest.raises(ValueError, match="rate"):
        layers.DropConnectDense(3, rate=rate)
