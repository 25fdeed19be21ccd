"""Convolutional LSTMs against a float64 loop over their formulas, and against LSTM where a window is one pixel."""

import itertools

import numpy as np
import pytest

from fastnn import GradientTape, Input, convert_to_tensor, layers, ops

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def conv(x, kernel, strides, same):
    """Cross-correlation of x (n, ..., c) with kernel (..., c, o), tap by tap."""
    space, taps = x.shape[1:-1], kernel.shape[:-2]
    pads = [max((-(-n // s) - 1) * s + k - n, 0) if same else 0 for n, k, s in zip(space, taps, strides)]
    x = np.pad(x, [(0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)])
    sizes = [(n + p - k) // s + 1 for n, p, k, s in zip(space, pads, taps, strides)]
    y = 0
    for tap in itertools.product(*map(range, taps)):
        window = tuple(slice(t, t + (n - 1) * s + 1, s) for t, n, s in zip(tap, sizes, strides))
        y = y + x[(slice(None), *window)] @ kernel[tap]
    return y


def reference(x, kernel, recurrent, bias, strides, same):
    h = c = None
    ys = []
    for t in range(x.shape[1]):
        z = conv(x[:, t], kernel, strides, same) + bias
        if h is None:
            h = c = np.zeros((*z.shape[:-1], z.shape[-1] // 4))
        z = z + conv(h, recurrent, [1] * len(strides), True)
        i, f, g, o = np.split(z, 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        ys.append(h)
    return np.stack(ys, 1)


@pytest.mark.parametrize("layer, space, kernel_size, strides, padding", [
    (layers.ConvLSTM1D, (9,), 3, 2, "same"), (layers.ConvLSTM1D, (5,), 5, 1, "valid"),
    (layers.ConvLSTM2D, (7, 6), (3, 2), 1, "valid"), (layers.ConvLSTM2D, (5, 4), 3, (2, 1), "same"),
    (layers.ConvLSTM3D, (4, 3, 2), 2, 1, "same")])
def test_numbers(layer, space, kernel_size, strides, padding):
    x = normal(2, 3, *space, 3)
    one = layer(5, kernel_size, strides=strides, padding=padding, return_sequences=True)
    one.build(x.shape)
    one.set_weights([normal(*w.shape) * 0.3 for w in one.get_weights()])
    weights = [w.astype("float64") for w in one.get_weights()]
    expected = reference(x.astype("float64"), *weights, one.cell.strides, padding == "same")
    y = one(x)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert one.compute_output_shape(x.shape) == expected.shape
    assert one(Input((None, *space, 3))).shape == (None, None, *expected.shape[2:])


def test_one_pixel_is_an_lstm():
    x = normal(2, 4, 3, 2, 5)
    images = layers.ConvLSTM2D(6, 1, return_sequences=True, return_state=True)
    pixels = layers.LSTM(6, return_sequences=True, return_state=True)
    images.build(x.shape), pixels.build((None, None, 5))
    images.set_weights([w if w.ndim == 1 else w[None, None] for w in pixels.get_weights()])
    mask = np.array([[True, True, False, True], [False, True, True, False]])
    flat = np.moveaxis(x, 1, 3).reshape(12, 4, 5)

    def run(layer, x, mask):
        x = convert_to_tensor(x)
        with GradientTape() as tape:
            tape.watch(x)
            y, h, c = layer(x, mask=mask)
            loss = ops.sum(ops.square(y)) + ops.sum(h * c)
        return y, h, c, tape.gradient(loss, [x, *layer.trainable_variables])

    y, h, c, (gx, *gs) = run(images, x, mask)
    py, ph, pc, (pgx, *pgs) = run(pixels, flat, np.repeat(mask, 6, 0))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)  # noqa: E731
    close(y.numpy(), np.moveaxis(py.numpy().reshape(2, 3, 2, 4, 6), 3, 1))
    close(h.numpy(), ph.numpy().reshape(2, 3, 2, 6))
    close(c.numpy(), pc.numpy().reshape(2, 3, 2, 6))
    close(gx.numpy(), np.moveaxis(pgx.numpy().reshape(2, 3, 2, 4, 5), 3, 1))
    for a, b in zip(gs, pgs):
        close(a.numpy().reshape(b.shape), b.numpy())


def test_channels_first():
    x = normal(2, 3, 5, 6, 4)
    last = layers.ConvLSTM2D(3, 3, strides=2)
    y = last(x)
    first = layers.ConvLSTM2D(3, 3, strides=2, data_format="channels_first")
    moved = np.moveaxis(x, -1, 2)
    first.build(moved.shape)
    first.set_weights(last.get_weights())
    np.testing.assert_allclose(np.moveaxis(first(moved).numpy(), 1, -1), y.numpy(), rtol=1e-5, atol=1e-6)


def test_states_and_dropout():
    x = normal(2, 6, 4, 4, 1)
    layer = layers.ConvLSTM2D(2, 3, padding="same", stateful=True)
    whole = layers.ConvLSTM2D(2, 3, padding="same")
    layer(x[:, :2])
    whole.build(x.shape)
    whole.set_weights(layer.get_weights())
    y = layer(x[:, 2:])
    np.testing.assert_allclose(y.numpy(), whole(x).numpy(), rtol=1e-5, atol=1e-6)
    layer.reset_state()
    np.testing.assert_allclose(layer(x).numpy(), whole(x).numpy(), rtol=1e-5, atol=1e-6)
    dropping = layers.ConvLSTM2D(2, 3, dropout=0.5, recurrent_dropout=0.5, seed=1)
    assert not np.array_equal(dropping(x, training=True), dropping(x))


def test_bidirectional():
    x = normal(2, 3, 5, 5, 2)
    layer = layers.Bidirectional(layers.ConvLSTM2D(3, 3, return_sequences=True))
    assert layer(x).shape == (2, 3, 3, 3, 6)


@pytest.mark.parametrize("layer", [layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D])
def test_config(layer):
    one = layer(3, 2, padding="same", activation="relu", dropout=0.1, return_sequences=True)
    config = one.get_config()
    assert config["filters"] == 3 and "units" not in config and "cell" not in config
    assert layer.from_config(config).get_config() == config


def test_errors():
    with pytest.raises(ValueError, match="filters must be a positive integer"):
        layers.ConvLSTM2D(0, 3)
    with pytest.raises(ValueError, match="`strides > 1` is not compatible"):
        layers.ConvLSTM2D(2, 3, strides=2, dilation_rate=2)
    with pytest.raises(ValueError, match="padding must be"):
        layers.ConvLSTM2D(2, 3, padding="causal")
    with pytest.raises(ValueError, match="must be known"):
        layers.ConvLSTM2D(2, 3)(Input((None, None, 8, 3)))
    with pytest.raises(ValueError, match="ndim=5"):
        layers.ConvLSTM2D(2, 3)(normal(2, 3, 4, 4))
    with pytest.raises(ValueError, match="initial_state must have shape"):
        layers.ConvLSTM2D(2, 3)(normal(2, 3, 4, 4, 1), initial_state=[normal(2, 4, 4, 2)] * 2)
