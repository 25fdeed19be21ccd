"""Pooling against loops over the formula."""
import numpy as np
import pytest

import fastnn
from check import check_close, check_gradient, check_op, check_threads, gradients, tensor, values
from fastnn import GradientTape, layers, ops
from windows import average_pool, cells, geometry, max_pool

CHANNELS = [1, 7, 8, 9, 16, 17, 33]
ROWS = [
    # image, window, strides, padding
    ((1, 1), 1, None, "valid"),
    ((1, 1), 3, 1, "same"),
    ((4, 6), 2, None, "valid"),
    ((5, 7), 2, None, "same"),
    ((9, 8), 3, 2, "same"),
    ((9, 8), 3, 2, "valid"),
    ((6, 7), 3, 1, "same"),
    ((7, 6), (3, 2), (1, 3), "same"),
    ((7, 6), (1, 4), (2, 1), "valid"),
    ((8, 9), (5, 3), (3, 4), "same"),
    ((8, 9), 2, 5, "valid"),
    ((6, 5), (6, 5), 1, "valid"),
    ((3, 3), 9, 2, "same"),
    ((18, 17), (18, 17), 1, "valid"),  # more than 256 taps
]


def distinct(rng, shape):
    """Values that differ by at least 1/2: the gradient of the maximum exists."""
    return rng.permutation(np.arange(np.prod(shape))).reshape(shape) / 2 - np.prod(shape) / 4


@pytest.mark.parametrize("c", [1, 17])
@pytest.mark.parametrize("image, window, strides, padding", ROWS)
def test_max(image, window, strides, padding, c):
    rng = np.random.default_rng(0)
    x = distinct(rng, (2, *image, c))
    options = dict(pool_size=window, strides=strides, padding=padding)
    np.testing.assert_array_equal(values(ops.max_pool(x.astype("f"), **options)), max_pool(x, **options))
    check_gradient(ops.max_pool, max_pool, [x], rng, **options)
    check_threads(ops.max_pool, [x], rng.normal(size=max_pool(x, **options).shape), **options)


@pytest.mark.parametrize("c", [1, 17])
@pytest.mark.parametrize("image, window, strides, padding", ROWS)
def test_average(image, window, strides, padding, c):
    check_op(ops.average_pool, average_pool, [(2, *image, c)], exact=False, pool_size=window, strides=strides, padding=padding)


@pytest.mark.parametrize("c", CHANNELS)
@pytest.mark.parametrize("window, strides", [(2, 2), (3, 2), (4, 3)])
def test_channels(window, strides, c):
    rng = np.random.default_rng(0)
    options = dict(pool_size=window, strides=strides, padding="same")
    check_gradient(ops.max_pool, max_pool, [distinct(rng, (1, 7, 9, c))], rng, **options)
    check_op(ops.average_pool, average_pool, [(1, 7, 9, c)], exact=False, **options)


def test_large_enough_for_threads():
    rng = np.random.default_rng(0)
    x = distinct(rng, (2, 63, 64, 24))
    for op, reference in ((ops.max_pool, max_pool), (ops.average_pool, average_pool)):
        options = dict(pool_size=3, strides=2, padding="same")
        check_close(op, reference, [x.astype("f").astype("float64")], **options)
        check_threads(op, [x], rng.normal(size=(2, 32, 32, 24)), **options)


@pytest.mark.parametrize("c", CHANNELS)
@pytest.mark.parametrize("window", [2, 3, 4])
def test_max_of_nan_is_nan_at_every_position(window, c):
    for position in range(window * window):
        for channel in {0, c // 2, c - 1}:
            x = np.full((1, window, window, c), 2, "f")
            x[0, position // window, position % window, channel] = np.nan
            expected = np.full(c, 2, "f")
            expected[channel] = np.nan
            np.testing.assert_array_equal(np.asarray(ops.max_pool(x, window))[0, 0, 0], expected)
            y, (gx,) = gradients(lambda x: ops.max_pool(x, window), [x], np.ones((1, 1, 1, c)))
            np.testing.assert_array_equal(np.asarray(y)[0, 0, 0], expected)
            assert values(gx)[0, position // window, position % window, channel] == 1 and values(gx).sum() == c


def test_gradient_goes_to_the_first_of_equals():
    x = np.zeros((1, 2, 3, 17), "f")
    _, (gx,) = gradients(lambda x: ops.max_pool(x, (2, 3)), [x], np.ones((1, 1, 1, 17)))
    assert (values(gx)[0, 0, 0] == 1).all() and values(gx).sum() == 17
    x[0, 1, 1:] = np.nan  # and to the first NaN
    _, (gx,) = gradients(lambda x: ops.max_pool(x, (2, 3)), [x], np.ones((1, 1, 1, 17)))
    assert (values(gx)[0, 1, 1] == 1).all() and values(gx).sum() == 17


def test_max_of_minus_infinity():
    x = np.full((1, 5, 5, 17), -np.inf, "f")
    for padding in ("valid", "same"):
        y, (gx,) = gradients(lambda x: ops.max_pool(x, 3, 2, padding), [x], np.ones(np.shape(ops.max_pool(x, 3, 2, padding))))
        assert (np.asarray(y) == -np.inf).all() and values(gx).sum() == y.size


def test_average_counts_real_cells_only():
    y = np.asarray(ops.average_pool(np.ones((1, 5, 6, 3), "f"), 3, 2, "same"))
    np.testing.assert_array_equal(y, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_average_of_values_that_are_not_finite(value):
    x = np.ones((1, 4, 4, 9), "f")
    x[0, 1, 1, 8] = value
    y = np.asarray(ops.average_pool(x, 2))
    assert not np.isfinite(y[0, 0, 0, 8]) and np.isfinite(y).sum() == y.size - 1


@pytest.mark.parametrize("op", [ops.max_pool, ops.average_pool])
def test_one_and_three_dimensions(op):
    rng = np.random.default_rng(0)
    reference = max_pool if op is ops.max_pool else average_pool

    def flat(x, size, strides, padding):
        return reference(x[:, None], (1, size), (1, strides), padding)[:, 0]

    def deep(x, size, strides, padding):
        n, d, h, w, c = x.shape
        y = reference(x.reshape(n * d, h, w, c), size, strides, padding)
        y = y.reshape(n, d, -1, c)
        y = reference(y, (size, 1), (strides, 1), padding)
        return y.reshape(n, y.shape[1], *reference(x[:, 0], size, strides, padding).shape[1:3], c)

    for shape, f in (((2, 11, 5), flat), ((2, 5, 6, 7, 3), deep)):
        for size, strides in ((2, 2), (3, 2), (3, 1)):
            for padding in ("valid", "same"):
                x = distinct(rng, shape)
                options = dict(padding=padding)
                check_gradient(lambda x, padding: op(x, size, strides, padding),
                               lambda x, padding: f(x, size, strides, padding), [x], rng, **options)


@pytest.mark.parametrize("op, reference", [(ops.max_pool, max_pool), (ops.average_pool, average_pool)])
def test_channels_first_dtypes_and_pads(op, reference):
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 5)).astype("f")
    y = op(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), 3, 2, "same", "channels_first")
    np.testing.assert_array_equal(values(y).transpose(0, 2, 3, 1), values(op(x, 3, 2, "same")))
    for dtype in ("float16", "float64", "int32"):
        assert op((4 * x).astype(dtype), 2).dtype == dtype
    y = op(x, 3, 2, ((1, 1), (1, 0)))
    assert y.shape == (2, 4, 4, 5)


@pytest.mark.parametrize("op", [ops.max_pool, ops.average_pool])
def test_second_derivatives(op):
    """The gradient is linear in gy, so on integers it is its own difference."""
    rng = np.random.default_rng(0)
    x, gy = distinct(rng, (2, 5, 6, 9)), rng.integers(-3, 4, (2, 3, 3, 9)).astype("f")
    u = 4 * rng.integers(-3, 4, x.shape).astype("f")
    g = tensor(gy)
    with GradientTape() as outer:
        outer.watch(g)
        t = tensor(x)
        with GradientTape() as tape:
            tape.watch(t)
            y = op(t, 2, 2, "same")
        gx = tape.gradient(y, t, output_gradients=g)
        value = ops.sum(ops.multiply(gx, tensor(u)))
    ggy = values(outer.gradient(value, g))
    assert abs((ggy * gy).sum() - float(value)) < 1e-3
    axes = geometry(x, 2, 2, "same")
    for (i, j), taps in cells(axes):
        block = np.stack([x[:, a, b] for _, _, a, b in taps])
        weights = np.stack([u[:, a, b] for _, _, a, b in taps])
        expected = (np.take_along_axis(weights, block.argmax(0)[None], 0)[0] if op is ops.max_pool else weights.mean(0))
        np.testing.assert_allclose(ggy[:, i, j], expected, atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (7, 9), (4, 8)])
def test_adaptive(sizes):
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype("f")
    for op, reduce in ((ops.adaptive_max_pool, np.max), (ops.adaptive_average_pool, np.mean)):
        y = values(op(x, sizes))
        for i in range(sizes[0]):
            for j in range(sizes[1]):
                block = x[:, i * 7 // sizes[0]: -(-(i + 1) * 7 // sizes[0]), j * 9 // sizes[1]: -(-(j + 1) * 9 // sizes[1])]
                np.testing.assert_allclose(y[:, i, j], reduce(block, axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_empty():
    assert ops.max_pool(np.zeros((0, 8, 8, 3), "f"), 2).shape == (0, 4, 4, 3)
    assert ops.average_pool(np.zeros((1, 8, 8, 0), "f"), 2).shape == (1, 4, 4, 0)
    _, (gx,) = gradients(lambda x: ops.max_pool(x, 2), [np.zeros((0, 8, 8, 3))], np.zeros((0, 4, 4, 3)))
    assert gx.shape == (0, 8, 8, 3)


X = np.ones((1, 8, 8, 3), "f")
ERRORS = [
    (dict(pool_size=9), "window must not be larger"),
    (dict(pool_size=(2, 9)), "window must not be larger"),
    (dict(pool_size=0), "pool_size must be"),
    (dict(pool_size=-1), "pool_size must be"),
    (dict(pool_size=2.0), "pool_size must be"),
    (dict(pool_size=(2, 2, 2)), "pool_size must be"),
    (dict(pool_size=2**40), "less than 2\\^31"),
    (dict(pool_size=2, strides=0), "strides must be"),
    (dict(pool_size=2, strides=-1), "strides must be"),
    (dict(pool_size=2, padding="SOME"), "padding must be"),
    (dict(pool_size=2, padding=((2, 0), (0, 0))), "padding must be smaller"),
    (dict(pool_size=2, padding=((-1, 0), (0, 0))), "padding must be"),
    (dict(pool_size=2, data_format="channels"), "data_format must be"),
]


@pytest.mark.parametrize("op", [ops.max_pool, ops.average_pool])
@pytest.mark.parametrize("options, match", ERRORS)
def test_errors(op, options, match):
    with pytest.raises(ValueError, match=match):
        op(X, **options)


def test_kernels_check_gradients_again():
    core, x = fastnn._core, tensor(X)
    options = ((2, 2), (2, 2), (0, 0, 0, 0))
    y, taps = core.max_pool2d_forward_with_taps(x, *options)
    assert taps.dtype == "uint8"
    with pytest.raises(ValueError, match="gy must have shape"):
        core.max_pool2d_backward(tensor(np.ones((1, 5, 4, 3))), taps, X.shape, *options)
    with pytest.raises(ValueError, match="taps must have shape"):
        core.max_pool2d_backward(tensor(np.ones((2, 4, 4, 3))), taps, (2, 8, 8, 3), *options)
    with pytest.raises(TypeError, match="taps must be uint8"):
        core.max_pool2d_backward(y, y, X.shape, *options)
    with pytest.raises(ValueError, match="gy must have shape"):
        core.average_pool2d_backward(y, (1, 9, 10, 3), *options)
    with pytest.raises(ValueError, match="strides must be"):
        core.average_pool2d_backward(y, X.shape, (2, 2), (0, 1), (0, 0, 0, 0))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layers(rank):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *(6, 7, 8)[:rank], 3)).astype("f")
    axes = tuple(range(1, rank + 1))
    for first in (False, True):
        data_format = "channels_first" if first else "channels_last"
        given = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if first else x
        for kind, op, reduce in (("Max", ops.max_pool, np.max), ("Average", ops.average_pool, np.mean)):
            layer = getattr(layers, f"{kind}Pooling{rank}D")(3, 2, "same", data_format=data_format)
            y = values(layer(given))
            np.testing.assert_array_equal(np.moveaxis(y, 1, -1) if first else y, values(op(x, 3, 2, "same")))
            assert tuple(layer.compute_output_shape(given.shape)) == y.shape
            for keepdims in (False, True):
                whole = getattr(layers, f"Global{kind}Pooling{rank}D")(data_format=data_format, keepdims=keepdims)
                y = values(whole(given))
                expected = reduce(given, axis=tuple(a + first for a in axes), keepdims=keepdims)
                np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
                assert tuple(whole.compute_output_shape(given.shape)) == y.shape
            for one in (layer, whole):
                assert type(one).from_config(one.get_config()).get_config() == one.get_config()
    default = getattr(layers, f"MaxPooling{rank}D")()
    assert default.pool_size == default.strides == (2,) * rank


def test_layers_of_unknown_sizes():
    x = fastnn.KerasTensor((None, None, 32, 4))
    assert layers.MaxPooling2D()(x).shape == (None, None, 16, 4)
    assert layers.AveragePooling2D(3, 2, "same")(x).shape == (None, None, 16, 4)
    assert layers.GlobalAveragePooling2D()(x).shape == (None, 4)


def test_global_average_of_masked_steps():
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("f")
    mask = np.array([[1, 1, 0, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
    x[~mask] = np.nan  # what is masked is not read
    expected = np.stack([x[i][mask[i]].mean(0) for i in range(3)])
    y = layers.GlobalAveragePooling1D()(x, mask=fastnn.convert_to_tensor(mask))
    np.testing.assert_allclose(values(y), expected, rtol=1e-5)
    y = layers.GlobalAveragePooling1D(keepdims=True)(x, mask=fastnn.convert_to_tensor(mask))
    assert y.shape == (3, 1, 4)


def test_layer_errors():
    for arguments in [{"pool_size": 0}, {"pool_size": 2, "strides": 0}, {"padding": "causal"}, {"data_format": "x"}]:
        with pytest.raises(ValueError, match=r"\[MaxPooling2D\]"):
            layers.MaxPooling2D(**arguments)
    with pytest.raises(ValueError, match="window"):
        layers.MaxPooling2D(9)(X)
    with pytest.raises(ValueError, match="ndim"):
        layers.MaxPooling2D()(X[0])
    with pytest.raises(ValueError, match="empty"):
        layers.GlobalMaxPooling1D()(np.zeros((2, 0, 3), "f"))
