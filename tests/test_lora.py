"""enable_lora: what is trained, what is computed, what is saved."""

import numpy as np
import pytest

import fastnn as keras
from fastnn import layers

ROWS = [
    (lambda **k: layers.Dense(5, **k), (2, 4), (4, 2), (2, 5)),
    (lambda **k: layers.EinsumDense("abc,cde->abde", (None, 3, 5), bias_axes="de", **k), (2, 6, 4), (4, 3, 2), (2, 5)),
    (lambda **k: layers.Conv1D(5, 3, **k), (2, 6, 4), (3, 4, 2), (2, 5)),
    (lambda **k: layers.Conv2D(5, (3, 2), **k), (2, 6, 6, 4), (3, 2, 4, 2), (2, 5)),
    (lambda **k: layers.Conv3D(5, 2, **k), (2, 4, 4, 4, 2), (2, 2, 2, 2, 2), (2, 5)),
]


@pytest.mark.parametrize("make, shape, shape_a, shape_b", ROWS)
def test_product_is_added_and_trained(make, shape, shape_a, shape_b):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("float32")
    layer = make()
    before = np.asarray(layer(x))
    kernel = layer.kernel.numpy()
    layer.enable_lora(2, lora_alpha=3)
    assert [v.name for v in layer.trainable_variables] == ["bias", "lora_kernel_a", "lora_kernel_b"]
    assert layer.lora_kernel_a.shape == shape_a and layer.lora_kernel_b.shape == shape_b
    np.testing.assert_array_equal(np.asarray(layer(x)), before)  # b starts at zero
    b = rng.standard_normal(shape_b).astype("float32")
    layer.lora_kernel_b.assign(b)
    expected = kernel + layer.lora_kernel_a.numpy() @ b * 1.5
    np.testing.assert_allclose(np.asarray(layer.kernel), expected, rtol=1e-5, atol=1e-6)
    with keras.GradientTape() as tape:
        loss = keras.ops.sum(keras.ops.square(layer(x)))
    assert all(g is not None for g in tape.gradient(loss, layer.trainable_variables))

    store = {}
    layer.save_own_variables(store)
    assert sorted(store) == ["0", "1"]
    plain = make()
    plain.build(shape)
    plain.load_own_variables(store)
    np.testing.assert_allclose(np.asarray(plain(x)), np.asarray(layer(x)), rtol=1e-4, atol=1e-5)
    layer.load_own_variables(store)  # into the kernel; the product starts again
    np.testing.assert_allclose(np.asarray(layer(x)), np.asarray(plain(x)), rtol=1e-4, atol=1e-5)


def test_rank_in_the_constructor():
    layer = layers.Dense(3, lora_rank=2, lora_alpha=8)
    layer.build((None, 4))
    assert layer.lora_enabled and not layer._kernel.trainable
    config = layer.get_config()
    assert config["lora_rank"] == 2 and config["lora_alpha"] == 8
    assert type(layer).from_config(config).lora_rank == 2
    assert "lora_rank" not in layers.Dense(3).get_config()


def test_only_the_factors_train_in_a_model():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, use_bias=False)])
    model.layers[0].enable_lora(1)
    kernel = model.layers[0]._kernel.numpy()
    x, y = np.random.default_rng(0).standard_normal((2, 32, 4)).astype("float32")
    model.compile(keras.optimizers.SGD(0.05), "mse")
    loss = model.fit(x, y[:, :3], epochs=5, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    np.testing.assert_array_equal(model.layers[0]._kernel.numpy(), kernel)


def test_when_it_is_refused():
    with pytest.raises(ValueError, match="isn't yet built"):
        layers.Dense(3).enable_lora(2)
    layer = layers.Dense(3, kernel_constraint="non_neg")
    layer.build((None, 2))
    with pytest.raises(ValueError, match="constraint"):
        layer.enable_lora(2)
    layer = layers.Dense(3)
    layer.build((None, 2))
    layer.enable_lora(2)
    with pytest.raises(ValueError, match="already enabled"):
        layer.enable_lora(2)
    with pytest.raises(ValueError, match="rank"):
        layers.Dense(3, lora_rank=0)


def test_enabling_after_training_asks_for_compile():
    """The optimizer has no state for the factors: one error says what to do, without a warning that says otherwise."""
    import warnings

    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.compile("adam", "mse")
    x, y = np.random.rand(8, 4), np.random.rand(8, 3)
    model.fit(x, y, verbose=0)
    model.layers[0].enable_lora(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"call compile\(\) again.*lora_kernel_a"):
            model.fit(x, y, verbose=0)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
