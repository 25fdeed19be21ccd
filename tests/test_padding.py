"""Layers that change the spatial sizes, against NumPy."""
import numpy as np
import pytest

import fastnn
from check import values
from fastnn import layers


def test_padding_layers():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("f")
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    y = values(layers.ZeroPadding2D(((1, 2), (0, 3)))(x))
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0))))
    y = values(layers.ZeroPadding2D((1, 2), data_format="channels_first")(first))
    np.testing.assert_array_equal(y, np.pad(first, ((0, 0), (0, 0), (1, 1), (2, 2))))
    np.testing.assert_array_equal(values(layers.ZeroPadding1D((2, 1))(x[0])), np.pad(x[0], ((0, 0), (2, 1), (0, 0))))
    np.testing.assert_array_equal(values(layers.Cropping2D(((1, 2), (0, 3)))(x)), x[:, 1:3, :3])
    np.testing.assert_array_equal(values(layers.Cropping2D(1, data_format="channels_first")(first)), first[:, :, 1:-1, 1:-1])
    np.testing.assert_array_equal(values(layers.Cropping1D(1)(x[0])), x[0][:, 1:-1])
    np.testing.assert_array_equal(values(layers.UpSampling1D(3)(x[0])), x[0].repeat(3, 1))
    np.testing.assert_array_equal(values(layers.UpSampling2D((2, 3))(x)), x.repeat(2, 1).repeat(3, 2))
    np.testing.assert_array_equal(values(layers.UpSampling2D((2, 3), data_format="channels_first")(first)),
                                  first.repeat(2, 2).repeat(3, 3))
    y = values(layers.UpSampling2D(2, interpolation="bilinear")(x))
    np.testing.assert_allclose(y[:, 1, 1], 0.75 * (0.75 * x[:, 0, 0] + 0.25 * x[:, 0, 1])
                               + 0.25 * (0.75 * x[:, 1, 0] + 0.25 * x[:, 1, 1]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y[:, 0, 0], x[:, 0, 0], rtol=1e-6)
    unknown = fastnn.KerasTensor((None, None, 6, 3))
    assert layers.ZeroPadding2D(2)(unknown).shape == (None, None, 10, 3)
    assert layers.Cropping2D(2)(unknown).shape == (None, None, 2, 3)
    assert layers.UpSampling2D()(unknown).shape == (None, None, 12, 3)
    for layer in (layers.ZeroPadding2D(((1, 2), (0, 3))), layers.Cropping2D(1), layers.UpSampling2D(2), layers.UpSampling1D(),
                  layers.ZeroPadding1D(), layers.Cropping1D()):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("call", [
    lambda: layers.ZeroPadding2D(-1), lambda: layers.ZeroPadding2D((1, 2, 3)), lambda: layers.ZeroPadding1D(1.5),
    lambda: layers.Cropping2D(((1, 2), (3,))), lambda: layers.Cropping1D(2)(np.ones((1, 4, 2), "f")),
    lambda: layers.UpSampling2D(0), lambda: layers.UpSampling2D(2, interpolation="cubic"), lambda: layers.UpSampling1D(0),
])
def test_padding_errors(call):
    with pytest.raises(ValueError):
        call()
