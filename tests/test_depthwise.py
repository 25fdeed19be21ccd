"""depthwise_conv and separable_conv against loops over the formula."""
import numpy as np
import pytest

import fastnn
from check import check_op, gradients, tensor, values
from fastnn import GradientTape, ops
from windows import depthwise, pair

CHANNELS = [1, 7, 8, 9, 15, 16, 17, 33]


@pytest.mark.parametrize("c", CHANNELS)
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_3x3(c, strides, padding):
    check_op(ops.depthwise_conv, depthwise, [(2, 12, 13, c), (3, 3, c, 1)], bound=depthwise, strides=strides,
             padding=padding)


ROWS = [
    # image, window, channels, multiplier, strides, padding, dilation
    ((1, 1), (1, 1), 1, 1, 1, "valid", 1),
    ((1, 1), (3, 3), 5, 1, 1, "same", 1),
    ((2, 2), (5, 5), 17, 1, 1, "same", 1),
    ((9, 4), (5, 5), 9, 1, 2, "same", 1),
    ((19, 21), (5, 5), 8, 1, 1, "valid", 1),
    ((7, 8), (2, 3), 16, 1, 1, "same", 1),
    ((7, 8), (4, 4), 3, 1, 2, "same", 1),
    ((8, 7), (4, 2), 3, 1, (3, 1), "valid", 1),
    ((8, 7), (1, 3), 33, 1, (1, 2), "same", 1),
    ((9, 9), (3, 1), 7, 1, 3, "same", 1),
    ((9, 10), (3, 3), 17, 1, 1, "same", 2),
    ((9, 10), (3, 2), 4, 1, 1, "valid", (1, 3)),
    ((11, 12), (3, 3), 6, 1, 2, "same", 2),
    ((6, 6), (3, 3), 1, 4, 1, "same", 1),
    ((6, 5), (3, 3), 7, 3, 2, "same", 1),
    ((5, 6), (3, 3), 17, 2, 1, "valid", 1),
    ((4, 4), (2, 2), 300, 1, 1, "valid", 1),
]


@pytest.mark.parametrize("image, window, c, m, strides, padding, dilation", ROWS)
def test_options(image, window, c, m, strides, padding, dilation):
    check_op(ops.depthwise_conv, depthwise, [(2, *image, c), (*window, c, m)], bound=depthwise, strides=strides,
             padding=padding, dilation_rate=dilation)


def test_large_enough_for_threads():
    check_op(ops.depthwise_conv, depthwise, [(3, 40, 41, 33), (3, 3, 33, 1)], bound=depthwise, padding="same")


@pytest.mark.parametrize("n, image, window, strides, padding, dilation", [
    (7, (5, 11), 3, 1, "same", 1),  # an odd number of rows
    (40, (3, 9), 5, 1, "same", 1),  # windows that reach over both borders
    (40, (2, 10), 3, 2, "same", 1),
    (2, (37, 19), 5, 2, "valid", 1),
    (34, (1, 6), (1, 3), (3, 1), "same", 1),  # rows that no window reads
    (3, (40, 6), (3, 5), 1, "valid", (3, 1)),
])
@pytest.mark.parametrize("c", [5, 37])
def test_pairs_of_rows(n, image, window, strides, padding, dilation, c):
    check_op(ops.depthwise_conv, depthwise, [(n, *image, c), (*pair(window), c, 1)], bound=depthwise, strides=strides,
             padding=padding, dilation_rate=dilation)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pairs_of_rows_that_read_nothing(stride):
    rng = np.random.default_rng(0)
    x, w = rng.integers(-3, 4, (8, 4, 9, 17)).astype("f"), rng.integers(-3, 4, (2, 3, 17, 1)).astype("f")
    wide = np.pad(x, ((0, 0), (5, 6), (1, 1), (0, 0)))
    for columns in (1, 2):
        np.testing.assert_array_equal(values(ops.depthwise_conv(x, w, (stride, columns), ((5, 6), (1, 1)))),
                                      depthwise(wide.astype("d"), w, (stride, columns)))


@pytest.mark.parametrize("shape", [(17, 23, 24, 9), (32, 16, 17, 16)])
def test_gradients_of_the_kernel_as_sums_of_a_few_samples_each(shape):
    check_op(ops.depthwise_conv, depthwise, [shape, (3, 3, shape[-1], 1)], bound=depthwise, padding="same")


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (1, 3)])
def test_one_dimension(padding, strides, dilation):
    def reference(x, w):
        return depthwise(x[:, None], w[None], (1, strides), padding, (1, dilation))[:, 0]

    check_op(lambda x, w: ops.depthwise_conv(x, w, strides, padding, dilation_rate=dilation), reference,
             [(3, 14, 5), (3, 5, 2)], bound=reference)


def test_channels_first_and_explicit_padding():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-3, 4, (2, 7, 8, 5)).astype("f"), rng.integers(-3, 4, (3, 3, 5, 2)).astype("f")
    last = ops.depthwise_conv(x, w, 2, "same")
    first = ops.depthwise_conv(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), w, 2, "same", "channels_first")
    np.testing.assert_array_equal(values(last).transpose(0, 3, 1, 2), values(first))
    padded = np.pad(x, ((0, 0), (2, 1), (0, 3), (0, 0)))
    np.testing.assert_array_equal(values(ops.depthwise_conv(x, w, 1, ((2, 1), (0, 3)))),
                                  values(ops.depthwise_conv(padded, w)))


def test_wide_padding_is_cut_again_by_the_gradient():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-3, 4, (1, 3, 3, 2)).astype("f"), rng.integers(-3, 4, (2, 2, 2, 1)).astype("f")
    y, (gx, gw) = gradients(lambda x, w: ops.depthwise_conv(x, w, 1, ((4, 3), (2, 5))), (x, w), np.ones((1, 9, 9, 2)))
    np.testing.assert_array_equal(values(gx), np.broadcast_to(w.sum((0, 1))[:, 0], x.shape))
    np.testing.assert_array_equal(values(gw)[:, :, :, 0], np.broadcast_to(x.sum((0, 1, 2)), (2, 2, 2)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_zero_weights_do_not_hide_values(value):
    x = np.ones((1, 5, 5, 17), "f")
    x[0, 2, 2, 16] = value
    y = np.asarray(ops.depthwise_conv(x, np.zeros((3, 3, 17, 1), "f"), 1, "same"))
    hit = np.isnan(y)
    assert hit[0, 1:4, 1:4, 16].all() and hit.sum() == 9


def test_empty_batch():
    y, (gx, gw) = gradients(ops.depthwise_conv, (np.zeros((0, 5, 5, 3)), np.ones((3, 3, 3, 2))), np.zeros((0, 3, 3, 6)))
    assert y.shape == (0, 3, 3, 6) and gx.shape == (0, 5, 5, 3)
    np.testing.assert_array_equal(values(gw), 0)


def test_second_derivatives():
    """The gradients are linear in each of x, w and gy, so on integers differences of them are exact."""
    rng = np.random.default_rng(0)
    shapes = [(2, 6, 7, 3), (3, 3, 3, 2), (2, 3, 4, 6)]
    x, w, gy = [rng.integers(-3, 4, s).astype("f") for s in shapes]
    u, t = rng.integers(-3, 4, x.shape).astype("f"), rng.integers(-3, 4, w.shape).astype("f")

    def inner(x, w, gy):
        with GradientTape() as tape:
            tape.watch([x, w])
            y = ops.depthwise_conv(x, w, 2, "same")
        gx, gw = tape.gradient(y, [x, w], output_gradients=gy)
        return ops.add(ops.sum(ops.multiply(gx, tensor(u))), ops.sum(ops.multiply(gw, tensor(t))))

    at = [tensor(a) for a in (x, w, gy)]
    with GradientTape() as tape:
        tape.watch(at)
        value = inner(*at)
    for i, g in enumerate(tape.gradient(value, at)):
        v = rng.integers(-3, 4, shapes[i]).astype("f")
        moved = [tensor(a + v) if i == j else tensor(a) for j, a in enumerate((x, w, gy))]
        assert float(inner(*moved)) - float(value) == (values(g) * v).sum()


@pytest.mark.parametrize("m", [1, 2])
def test_separable(m):
    def reference(x, d, p):
        return depthwise(x, d, 2, "same") @ p[0, 0]

    check_op(lambda x, d, p: ops.separable_conv(x, d, p, 2, "same"), reference, [(2, 7, 8, 5), (3, 3, 5, m), (1, 1, 5 * m, 4)],
             bound=reference)


X, W = np.ones((2, 8, 8, 3), "f"), np.ones((3, 3, 3, 2), "f")
ERRORS = [
    (lambda: ops.depthwise_conv(X, W, 0), "strides must be"),
    (lambda: ops.depthwise_conv(X, W, -1), "strides must be"),
    (lambda: ops.depthwise_conv(X, W, (1, 2, 3)), "strides must be"),
    (lambda: ops.depthwise_conv(X, W, 1.5), "strides must be"),
    (lambda: ops.depthwise_conv(X, W, dilation_rate=0), "dilation_rate must be"),
    (lambda: ops.depthwise_conv(X, W, padding="causal"), "padding must be"),
    (lambda: ops.depthwise_conv(X, W, padding=((-1, 0), (0, 0))), "padding must be"),
    (lambda: ops.depthwise_conv(X, W, padding=((2**33, 0), (0, 0))), "padding must be"),
    (lambda: ops.depthwise_conv(X, W, data_format="NHWC"), "data_format must be"),
    (lambda: ops.depthwise_conv(X, W[:, :, :2]), r"as many input channels.*kernel.shape=\(3, 3, 2, 2\)"),
    (lambda: ops.depthwise_conv(X, np.ones((9, 9, 3, 1), "f")), "window must not be larger"),
    (lambda: ops.depthwise_conv(X, W, dilation_rate=4), "window must not be larger"),
    (lambda: ops.depthwise_conv(X, np.ones((3, 0, 3, 1), "f")), "at least 1"),
    (lambda: ops.depthwise_conv(X[..., :0], W[:, :, :0]), "at least 1"),
    (lambda: ops.depthwise_conv(X, W[0]), "kernel must have"),
    (lambda: ops.depthwise_conv(X[0, 0], W), "inputs must have"),
    (lambda: ops.separable_conv(X, W, np.ones((3, 3, 6, 4), "f")), "single cell"),
]


@pytest.mark.parametrize("call, match", ERRORS)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_kernels_check_gradients_again():
    core, x, w = fastnn._core, tensor(X), tensor(W)
    options = ((1, 1), (0, 0, 0, 0), (1, 1))
    for bad in [(2, 6, 6, 3), (2, 5, 6, 6), (1, 6, 6, 6), (2, 6, 6)]:
        gy = tensor(np.ones(bad))
        with pytest.raises(ValueError, match="gy must have shape"):
            core.depthwise_conv2d_backward_input(gy, w, X.shape, *options)
        with pytest.raises(ValueError, match="gy must have shape"):
            core.depthwise_conv2d_backward_weights(x, gy, W.shape, *options)
    with pytest.raises(TypeError, match="float32"):
        core.depthwise_conv2d_forward(fastnn.convert_to_tensor(X.astype("float64")), w, *options)


@pytest.mark.parametrize("rank", [1, 2])
def test_layers(rank):
    from fastnn import layers

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *(9, 8)[:rank], 3)).astype("f")
    for first in (False, True):
        data_format = "channels_first" if first else "channels_last"
        given = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if first else x
        layer = getattr(layers, f"DepthwiseConv{rank}D")(3, 2, "same", depth_multiplier=2, activation="relu",
                                                         bias_initializer="ones", data_format=data_format)
        y = values(layer(given))
        assert [tuple(v.shape) for v in layer.weights] == [(3,) * rank + (3, 2), (6,)]
        expected = np.maximum(values(ops.depthwise_conv(x, layer.kernel, 2, "same")) + 1, 0)
        np.testing.assert_allclose(np.moveaxis(y, 1, -1) if first else y, expected, atol=1e-6)
        assert tuple(layer.compute_output_shape(given.shape)) == y.shape
        separable = getattr(layers, f"SeparableConv{rank}D")(4, 3, padding="same", data_format=data_format)
        y = values(separable(given))
        assert [tuple(v.shape) for v in separable.weights] == [(3,) * rank + (3, 1), (1,) * rank + (3, 4), (4,)]
        expected = values(ops.separable_conv(x, separable.depthwise_kernel, separable.pointwise_kernel, 1, "same"))
        np.testing.assert_allclose(np.moveaxis(y, 1, -1) if first else y, expected, atol=1e-6)
        for one in (layer, separable):
            again = type(one).from_config(one.get_config())
            assert again.get_config() == one.get_config()
    assert pair(layer.kernel_size[0]) == (3, 3)


def test_layers_of_unknown_sizes():
    from fastnn import layers

    assert layers.DepthwiseConv2D(3).compute_output_shape((None, None, 20, 4)) == (None, None, 18, 4)
    x = fastnn.KerasTensor((None, None, 20, 4))
    assert layers.SeparableConv2D(7, 3, strides=2, padding="same")(x).shape == (None, None, 10, 7)


def test_layer_errors():
    from fastnn import layers

    for arguments in [{"kernel_size": 0}, {"kernel_size": 3, "strides": 0}, {"kernel_size": 3, "depth_multiplier": 0},
                      {"kernel_size": 3, "padding": "causal"}, {"kernel_size": 3, "dilation_rate": -1}]:
        with pytest.raises(ValueError, match=r"\[DepthwiseConv2D\]"):
            layers.DepthwiseConv2D(**arguments)
    with pytest.raises(ValueError, match="filters"):
        layers.SeparableConv2D(0, 3)
    with pytest.raises(ValueError, match="window"):
        layers.DepthwiseConv2D(9)(X)
