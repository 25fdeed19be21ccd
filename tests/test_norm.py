"""Normalization against its formulas in float64."""
import warnings

import numpy as np
import pytest

import fastnn
from check import check_close, check_gradient, check_threads, tensor, values
from fastnn import GradientTape, layers, ops
from fastnn.ops.normalization import batch_norm_train

EPSILON = 1e-3
# The corners of a chunk: channels around a vector, rows around the four that are summed at once.
SHAPES = [(1, 1), (3, 1), (64, 1), (2, 3), (5, 7), (4, 8), (9, 9), (4, 15), (7, 16), (6, 17), (5, 33), (33, 4, 5, 3),
          (2, 3, 100), (3, 300), (3000, 17)]


def batch_norm(x, gamma=1.0, beta=0.0, epsilon=EPSILON):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + epsilon) * gamma + beta


def layer_norm(x, gamma=1.0, beta=0.0, axis=-1, epsilon=EPSILON):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + epsilon) * gamma + beta


def given(*arrays):
    return [np.asarray(a, "f").astype("float64") for a in arrays]


def train(x, gamma=None, beta=None):
    return batch_norm_train(x, gamma, beta, EPSILON)[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_training(shape):
    rng = np.random.default_rng(0)
    arrays = given(rng.normal(size=shape) * 2 + 1, rng.normal(size=shape[-1]), rng.normal(size=shape[-1]))
    check_close(train, batch_norm, arrays)
    check_close(train, batch_norm, arrays[:1])
    check_gradient(train, batch_norm, arrays, rng)
    check_gradient(train, batch_norm, arrays[:1], rng)
    check_threads(train, arrays, rng.normal(size=shape))
    x = arrays[0]
    axes = tuple(range(x.ndim - 1))
    _, mean, variance = batch_norm_train(tensor(x), None, None, EPSILON)
    np.testing.assert_allclose(values(mean), x.mean(axes), rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(values(variance), x.var(axes), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("c", [1, 3, 16, 17, 64])
def test_batch_norm_of_several_chunks(c):
    rng = np.random.default_rng(0)
    arrays = given(rng.normal(size=(200_000 // c, c)), rng.normal(size=c), rng.normal(size=c))
    check_close(train, batch_norm, arrays)
    check_threads(train, arrays, rng.normal(size=arrays[0].shape))


def test_statistics_of_a_large_mean_do_not_cancel():
    rng = np.random.default_rng(0)
    x, = given(rng.normal(size=(5000, 3)) + [0, 1e3, -1e4])
    _, mean, variance = batch_norm_train(tensor(x), None, None, EPSILON)
    np.testing.assert_allclose(values(mean), x.mean(0), rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(values(variance), x.var(0), rtol=1e-5)


def test_constant_channels():
    y, mean, variance = batch_norm_train(tensor(np.full((100, 5), 0.1)), None, None, EPSILON)
    assert (values(variance) < 1e-12).all() and (np.abs(values(y)) < 1e-5).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_normalization(shape):
    """Gradients also with respect to the statistics."""
    rng = np.random.default_rng(0)
    c = shape[-1]
    arrays = given(rng.normal(size=shape), rng.normal(size=c), rng.uniform(0.5, 2, c), rng.normal(size=c), rng.normal(size=c))

    def reference(x, mean, variance, offset, scale):
        return (x - mean) / np.sqrt(variance + EPSILON) * scale + offset

    def op(x, mean, variance, offset, scale):
        return ops.batch_normalization(x, mean, variance, -1, offset, scale, EPSILON)

    check_close(op, reference, arrays)
    check_gradient(op, reference, arrays, rng)
    check_threads(op, arrays, rng.normal(size=shape))
    check_close(lambda x, m, v: ops.batch_normalization(x, m, v, -1), lambda x, m, v: reference(x, m, v, 0, 1), arrays[:3])
    check_gradient(lambda x, m, v: ops.batch_normalization(x, m, v, -1), lambda x, m, v: reference(x, m, v, 0, 1), arrays[:3],
                   rng)


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_batch_normalization_of_other_axes(axis):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 6)).astype("f")
    c = x.shape[axis]
    m, v = rng.normal(size=c).astype("f"), rng.uniform(0.5, 2, c).astype("f")
    shape = [1, 1, 1]
    shape[axis] = c
    expected = (x - m.reshape(shape)) / np.sqrt(v.reshape(shape) + EPSILON)
    np.testing.assert_allclose(values(ops.batch_normalization(x, m, v, axis)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_normalization(shape):
    rng = np.random.default_rng(0)
    arrays = given(rng.normal(size=shape) * 2 + 1, rng.normal(size=shape[-1]), rng.normal(size=shape[-1]))

    def op(x, gamma=None, beta=None):
        return ops.layer_normalization(x, gamma, beta, epsilon=EPSILON)

    check_close(op, layer_norm, arrays)
    check_close(op, layer_norm, arrays[:1])
    check_gradient(op, layer_norm, arrays, rng)
    check_gradient(op, layer_norm, arrays[:1], rng)
    check_threads(op, arrays, rng.normal(size=shape))


@pytest.mark.parametrize("axis", [1, (1, 2), [2, 3], (1, 3), (-1, 1), (0, 1, 2, 3)])
def test_layer_normalization_of_other_axes(axis):
    rng = np.random.default_rng(0)
    shape, axes = (3, 4, 5, 6), sorted(a % 4 for a in np.atleast_1d(axis))
    sizes = [shape[a] for a in axes]
    arrays = given(rng.normal(size=shape), rng.normal(size=sizes), rng.normal(size=sizes))
    wide = [n if a in axes else 1 for a, n in enumerate(shape)]

    def reference(x, gamma, beta):
        return layer_norm(x, gamma.reshape(wide), beta.reshape(wide), tuple(axes))

    def op(x, gamma, beta):
        return ops.layer_normalization(x, gamma, beta, axis, EPSILON)

    check_close(op, reference, arrays)
    check_gradient(op, reference, arrays, rng)


def test_rms_normalization():
    rng = np.random.default_rng(0)
    arrays = given(rng.normal(size=(3, 4, 9)), rng.normal(size=9))

    def reference(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    check_close(lambda x, s: ops.rms_normalization(x, s, epsilon=1e-6), reference, arrays)
    check_gradient(lambda x, s: ops.rms_normalization(x, s, epsilon=1e-6), reference, arrays, rng)


@pytest.mark.parametrize("axes, keepdims", [(0, False), ([0, 1], False), ((0, 2), True), ([-1], True)])
def test_moments(axes, keepdims):
    x = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("f")
    mean, variance = ops.moments(x, axes, keepdims)
    axes = tuple(np.atleast_1d(axes))
    np.testing.assert_allclose(values(mean), x.mean(axes, keepdims=keepdims), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values(variance), x.var(axes, keepdims=keepdims), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op, reference", [
    (train, batch_norm),
    (lambda x, gamma, beta: ops.layer_normalization(x, gamma, beta, epsilon=EPSILON), layer_norm),
])
def test_second_derivatives(op, reference):
    """The gradient of <gradient, u> against differences of the gradient."""
    rng = np.random.default_rng(0)
    arrays = given(rng.normal(size=(6, 5)), rng.normal(size=5), rng.normal(size=5), rng.normal(size=(6, 5)))
    u = [rng.normal(size=a.shape) for a in arrays[:3]]

    def first(x, gamma, beta, gy):
        """<gradient of sum(reference * gy), u> in float64."""
        eps = 1e-4
        up, down = ([a + s * eps * v for a, v in zip((x, gamma, beta), u)] for s in (1, -1))
        return ((reference(*up) - reference(*down)) * gy).sum() / (2 * eps)

    xs = [tensor(a) for a in arrays]
    with GradientTape() as outer:
        outer.watch(xs)
        with GradientTape() as tape:
            tape.watch(xs[:3])
            y = op(*xs[:3])
        gs = tape.gradient(y, xs[:3], output_gradients=xs[3])
        value = ops.sum(gs[0] * tensor(u[0])) + ops.sum(gs[1] * tensor(u[1])) + ops.sum(gs[2] * tensor(u[2]))
    assert abs(float(value) - first(*arrays)) < 1e-4 * (1 + abs(float(value)))
    for i, g in enumerate(outer.gradient(value, xs)):
        v, eps = rng.normal(size=arrays[i].shape), 1e-3
        moved = [first(*[a + s * eps * v if i == j else a for j, a in enumerate(arrays)]) for s in (1, -1)]
        numeric = (moved[0] - moved[1]) / (2 * eps)
        found = 0.0 if g is None else (values(g) * v).sum()
        assert abs(found - numeric) < 2e-3 * (1 + abs(numeric)), i


def test_not_a_number():
    x = np.ones((4, 17), "f")
    x[1, 16] = np.nan
    y = np.asarray(batch_norm_train(tensor(x), None, None, EPSILON)[0])
    assert np.isnan(y[:, 16]).all() and not np.isnan(y[:, :16]).any()
    y = np.asarray(ops.layer_normalization(x))
    assert np.isnan(y[1]).all() and not np.isnan(y[[0, 2, 3]]).any()


V = np.ones(3, "f")
X = np.ones((2, 3), "f")
ERRORS = [
    (lambda: ops.batch_normalization(X, V[:2], V, -1), r"mean must have shape \(3,\)"),
    (lambda: ops.batch_normalization(X, V, np.ones(4, "f"), -1), "variance must have shape"),
    (lambda: ops.batch_normalization(X, V, V, -1, offset=V[:1]), "offset must have shape"),
    (lambda: ops.batch_normalization(X, V, V, -1, scale=np.ones((1, 3), "f")), "scale must have shape"),
    (lambda: ops.batch_normalization(X, V, V, 2), "axis must be"),
    (lambda: ops.batch_normalization(X, V, V, -1, epsilon=-1), "epsilon must be"),
    (lambda: ops.batch_normalization(X, V, V, -1, epsilon=float("nan")), "epsilon must be"),
    (lambda: ops.layer_normalization(X, axis=2), "axis must be"),
    (lambda: ops.layer_normalization(X, axis=[]), "axis must name"),
    (lambda: ops.layer_normalization(X, np.ones(4, "f")), "broadcast|shape"),
    (lambda: ops.rms_normalization(X, axis=-3), "axis must be"),
    (lambda: layers.BatchNormalization(epsilon=0), "epsilon must be"),
    (lambda: layers.BatchNormalization(epsilon=float("nan")), "epsilon must be"),
    (lambda: layers.BatchNormalization(momentum=1.5), "momentum must be"),
    (lambda: layers.BatchNormalization(momentum=-0.1), "momentum must be"),
    (lambda: layers.BatchNormalization(axis=5)(X), "axis must be"),
    (lambda: layers.BatchNormalization()(X, mask=fastnn.convert_to_tensor(np.ones((2, 3), bool))), "mask must have"),
    (lambda: layers.LayerNormalization(axis=7)(X), "axis must be"),
    (lambda: layers.LayerNormalization(epsilon=-1e-3), "epsilon must be"),
]


@pytest.mark.parametrize("call, match", ERRORS)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_kernels_check_gradients_again():
    core, x, v = fastnn._core, tensor(X), tensor(V)
    with pytest.raises(ValueError, match="gy must have shape"):
        core.batch_norm_backward(x, tensor(np.ones((3, 3))), None, v, v)
    with pytest.raises(ValueError, match="rstd must have shape"):
        core.batch_norm_backward(x, x, None, v, tensor(np.ones(2)))
    with pytest.raises(ValueError, match="at least one value"):
        core.batch_norm_forward(tensor(np.ones((0, 3))), None, None, EPSILON)
    with pytest.raises(ValueError, match="mean must have shape"):
        core.layer_norm_backward(x, x, None, v, v, 1)
    with pytest.raises(ValueError, match="axes"):
        core.layer_norm_forward(x, None, None, 3, EPSILON)


# ---- layers ----

def test_batch_normalization_layer():
    rng = np.random.default_rng(0)
    layer = layers.BatchNormalization(momentum=0.9)
    layer.build((None, 4, 3))
    assert [v.name for v in layer.weights] == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert len(layer.trainable_weights) == 2 and layer.count_params() == 12
    gamma, beta = rng.normal(size=(2, 3)).astype("f")
    layer.set_weights([gamma, beta, np.zeros(3), np.ones(3)])
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(size=(5, 4, 3)).astype("f")
        np.testing.assert_allclose(values(layer(x, training=True)), batch_norm(x, gamma, beta), rtol=1e-4, atol=1e-5)
        mean = mean * 0.9 + x.mean((0, 1)) * 0.1
        variance = variance * 0.9 + x.var((0, 1)) * 0.1
    np.testing.assert_allclose(layer.get_weights()[2], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.get_weights()[3], variance, rtol=1e-5, atol=1e-6)
    expected = (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta
    np.testing.assert_allclose(values(layer(x)), expected, rtol=1e-4, atol=1e-5)
    layer.trainable = False  # frozen: inference, and nothing moves
    before = layer.get_weights()
    np.testing.assert_allclose(values(layer(x, training=True)), expected, rtol=1e-4, atol=1e-5)
    for a, b in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 4


def test_batch_normalization_of_an_empty_batch():
    layer = layers.BatchNormalization()
    layer(X)
    before = layer.get_weights()
    with pytest.raises(ValueError, match="empty"):
        layer(X[:0], training=True)
    for a, b in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert layer(X[:0]).shape == (0, 3)


@pytest.mark.parametrize("axis", [1, 2])
def test_batch_normalization_of_another_axis(axis):
    x = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("f")
    layer = layers.BatchNormalization(axis=axis)
    y = np.moveaxis(values(layer(x, training=True)), axis, -1)
    np.testing.assert_allclose(y, batch_norm(np.moveaxis(x, axis, -1)), rtol=1e-4, atol=1e-5)


def test_batch_normalization_with_a_mask():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 3)).astype("f")
    mask = rng.random((4, 5)) < 0.6
    layer = layers.BatchNormalization(momentum=0.0)
    y = values(layer(x, training=True, mask=fastnn.convert_to_tensor(mask)))
    mean, variance = x[mask].mean(0), x[mask].var(0)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + EPSILON), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.get_weights()[2], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.get_weights()[3], variance, rtol=1e-4, atol=1e-5)
    x[~mask] = np.inf
    assert np.isfinite(values(layer(x, training=True, mask=fastnn.convert_to_tensor(mask)))[mask]).all()


@pytest.mark.parametrize("limits", [None, {"rmax": 1.2, "rmin": 0.9, "dmax": 0.1}])
def test_batch_renormalization(limits):
    """Ioffe 2017, over three steps."""
    rng = np.random.default_rng(0)
    layer = layers.BatchNormalization(momentum=0.9, renorm=True, renorm_clipping=limits, renorm_momentum=0.8)
    layer.build((None, 3))
    assert [v.name for v in layer.weights] == ["gamma", "beta", "moving_mean", "moving_variance", "moving_stddev",
                                               "renorm_mean", "renorm_stddev"]
    moving_mean, moving_stddev, mean, stddev = np.zeros(3), np.ones(3), np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(size=(8, 3)).astype("f") * 2 + 1
        m, s = x.mean(0), np.sqrt(x.var(0) + EPSILON)
        r, d = s / stddev, (m - mean) / stddev
        if limits:
            r, d = np.clip(r, limits["rmin"], limits["rmax"]), np.clip(d, -limits["dmax"], limits["dmax"])
        np.testing.assert_allclose(values(layer(x, training=True)), (x - m) / s * r + d, rtol=1e-4, atol=1e-5)
        mean, stddev = mean * 0.8 + m * 0.2, stddev * 0.8 + s * 0.2
        moving_mean, moving_stddev = moving_mean * 0.9 + m * 0.1, moving_stddev * 0.9 + s * 0.1
    weights = layer.get_weights()[2:]
    for found, expected in zip(weights, [moving_mean, moving_stddev**2 - EPSILON, moving_stddev, mean, stddev]):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="renorm_clipping"):
        layers.BatchNormalization(renorm=True, renorm_clipping={"rmin": 2, "rmax": 1})


def test_gradients_of_the_layer():
    rng = np.random.default_rng(0)
    x, gy = given(rng.normal(size=(6, 3)), rng.normal(size=(6, 3)))
    layer = layers.BatchNormalization()
    layer.build((None, 3))
    t = tensor(x)
    for training in (True, False):
        with GradientTape() as tape:
            tape.watch(t)
            y = layer(t, training=training)
        gx, ggamma, gbeta = tape.gradient(y, [t, *layer.trainable_variables], output_gradients=tensor(gy))
        n = batch_norm(x) if training else x / np.sqrt(1 + EPSILON)
        if training:
            np.testing.assert_allclose(values(ggamma), (gy * n).sum(0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(values(gx).sum(0), 0, atol=1e-5)
        else:
            np.testing.assert_allclose(values(gx), gy / np.sqrt(values(layer.moving_variance) + EPSILON), rtol=1e-5)
        np.testing.assert_allclose(values(gbeta), gy.sum(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options, names", [({}, ["gamma", "beta"]), ({"scale": False}, ["beta"]), ({"center": False}, ["gamma"]),
                                            ({"center": False, "scale": False}, [])])
def test_layers_without_scale_or_center(options, names):
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("f")
    layer = layers.BatchNormalization(**options)
    np.testing.assert_allclose(values(layer(x, training=True)), batch_norm(x), rtol=1e-4, atol=1e-5)
    assert [v.name for v in layer.trainable_weights] == names
    layer = layers.LayerNormalization(**options)
    np.testing.assert_allclose(values(layer(x)), layer_norm(x), rtol=1e-4, atol=1e-5)
    assert [v.name for v in layer.weights] == names
    for one in (layer, layers.BatchNormalization(**options)):
        again = type(one).from_config(one.get_config())
        assert again.get_config() == one.get_config()


def test_layer_normalization_layers():
    x = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("f")
    layer = layers.LayerNormalization(axis=(1, 2))
    np.testing.assert_allclose(values(layer(x)), layer_norm(x, axis=(1, 2)), rtol=1e-4, atol=1e-5)
    assert tuple(layer.gamma.shape) == (4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = layers.LayerNormalization(rms_scaling=True)
    np.testing.assert_allclose(values(layer(x)), x / np.sqrt(x.var(-1, keepdims=True) + EPSILON), rtol=1e-4, atol=1e-5)
    # Keras sorts -1 before 1 and reshapes the weights, which its files hold so.
    layer = layers.LayerNormalization(axis=(1, -1))
    layer.build(x.shape)
    assert layer.axis == [-1, 1] and tuple(layer.gamma.shape) == tuple(layer.beta.shape) == (3, 4)
    gamma = np.arange(12, dtype="f")
    layer.gamma.assign(gamma.reshape(3, 4))
    np.testing.assert_allclose(values(layer(x)), layer_norm(x, axis=(1, 2)) * gamma.reshape(4, 3), rtol=1e-4, atol=1e-5)
    layer = layers.RMSNormalization(axis=1)
    np.testing.assert_allclose(values(layer(x)), x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6), rtol=1e-4, atol=1e-5)


def test_symbolic():
    x = fastnn.KerasTensor((None, 7, 3))
    assert layers.BatchNormalization()(x).shape == (None, 7, 3)
    assert layers.LayerNormalization(axis=[1, 2])(x).shape == (None, 7, 3)
    assert ops.batch_normalization(x, V, V, -1).shape == (None, 7, 3)
    assert ops.layer_normalization(x).shape == (None, 7, 3)
