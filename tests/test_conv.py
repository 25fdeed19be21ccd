"""Convolution and transposed convolution: values, gradients of all orders, threads, wrong use."""
import numpy as np
import pytest

from check import THREADS, fit
from fastnn import GradientTape, _core, ops
from fastnn.ops.conv2d import conv_padding, per_axis
from fastnn.tensor import convert_to_tensor, to_numpy

EPS = np.finfo(np.float32).eps


def integers(rng, *shape):
    return rng.integers(-3, 4, shape).astype("float32")


def reference(x, w, strides, dilations, pads, groups):
    """The definition, in float64: x (n, h, w, c), w (kh, kw, c / groups, oc), pads ((top, bottom), (left, right))."""
    x = np.pad(x.astype("f8"), ((0, 0), *pads, (0, 0)))
    (sh, sw), (dh, dw), (kh, kw, icg, oc) = strides, dilations, w.shape
    oh, ow = (x.shape[1] - (kh - 1) * dh - 1) // sh + 1, (x.shape[2] - (kw - 1) * dw - 1) // sw + 1
    ocg = oc // groups
    y = np.zeros((x.shape[0], oh, ow, oc))
    for u in range(kh):
        for v in range(kw):
            part = x[:, u * dh : u * dh + (oh - 1) * sh + 1 : sh, v * dw : v * dw + (ow - 1) * sw + 1 : sw]
            for g in range(groups):
                y[..., g * ocg : (g + 1) * ocg] += part[..., g * icg : (g + 1) * icg] @ w[u, v, :, g * ocg : (g + 1) * ocg]
    return y


def in_threads(f):
    """f() is bitwise the same for 1, 2, 3 and 7 threads; its result."""
    old = _core.num_threads()
    try:
        results = []
        for n in THREADS:
            _core.set_num_threads(n)
            results.append(f())
    finally:
        _core.set_num_threads(old)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert to_numpy(a).tobytes() == to_numpy(b).tobytes()
    return results[0]


def fit_images(x_shape, w_shape):
    """x_shape with as many images as the device has time for, to go forward and back."""
    return (fit(x_shape[0], 6 * np.prod(x_shape[1:-1]) * np.prod(w_shape)), *x_shape[1:])


def three(x, w, g, options):
    """y = conv(x, w), and its gradients for the gradient g of y."""
    tx, tw = convert_to_tensor(x), convert_to_tensor(w)
    with GradientTape() as tape:
        tape.watch([tx, tw])
        y = ops.fused_conv(tx, tw, None, *options)
    return [y, *tape.gradient(y, [tx, tw], output_gradients=convert_to_tensor(g))]


def check(x_shape, w_shape, strides, padding, dilations, groups, rng):
    """Exact on integers: the values, and both gradients by linearity along random integer directions."""
    x_shape = fit_images(x_shape, w_shape)
    x, w = integers(rng, *x_shape), integers(rng, *w_shape)
    if padding in ("same", "valid"):
        names = [padding] * 2
    else:
        names = padding
    pads = [conv_padding(p, n, (k - 1) * d + 1, s)
            for p, n, k, d, s in zip(names, x.shape[1:], w.shape, dilations, strides)]
    y = reference(x, w, strides, dilations, pads, groups)
    g = integers(rng, *y.shape)
    found, gx, gw = (to_numpy(t) for t in three(x, w, g, (strides, padding, dilations, groups)))
    assert found.shape == y.shape and np.array_equal(found, y)
    assert gx.shape == x.shape and gw.shape == w.shape
    for _ in range(2):
        v, u = integers(rng, *x_shape), integers(rng, *w_shape)
        assert (gx * v).sum() == (reference(v, w, strides, dilations, pads, groups) * g).sum()
        assert (gw * u).sum() == (reference(x, u, strides, dilations, pads, groups) * g).sum()


def test_exact_random():
    rng = np.random.default_rng(0)

    def pick(*values):
        return values[rng.integers(len(values))]

    done = 0
    while done < 150:
        groups, kh, kw = pick(1, 1, 1, 2, 3), pick(1, 2, 3, 5), pick(1, 2, 3, 4)
        strides, dilations = (pick(1, 1, 2, 3), pick(1, 1, 2, 3)), (pick(1, 1, 2), pick(1, 1, 2, 3))
        h, w = pick(1, 3, 5, 8, 13), pick(1, 2, 5, 7, 12, 17)
        padding = pick("same", "valid", tuple((pick(0, 0, 1, 3), pick(0, 1, 2)) for _ in range(2)))
        pads = ((0, 0), (0, 0)) if padding == "valid" else padding
        if padding != "same" and ((kh - 1) * dilations[0] + 1 > h + sum(pads[0]) or (kw - 1) * dilations[1] + 1 > w + sum(pads[1])):
            continue
        icg, ocg = pick(1, 2, 3, 4, 7, 8, 16, 17, 33), pick(1, 2, 3, 8, 15, 16, 17, 32, 65)
        check((pick(1, 2, 3), h, w, icg * groups), (kh, kw, icg, ocg * groups), strides, padding, dilations, groups, rng)
        done += 1


@pytest.mark.parametrize("x, w, strides, padding, dilations, groups", [
    ((2, 28, 28, 1), (3, 3, 1, 32), (1, 1), "valid", (1, 1), 1),
    ((2, 32, 32, 3), (7, 7, 3, 64), (2, 2), "same", (1, 1), 1),
    ((1, 14, 14, 64), (1, 1, 64, 130), (1, 1), "same", (1, 1), 1),
    ((1, 15, 15, 64), (1, 1, 64, 130), (2, 2), "same", (1, 1), 1),
    ((2, 64, 67, 13), (1, 1, 13, 37), (2, 2), "valid", (1, 1), 1),  # strides over many pixels
    ((3, 17, 17, 36), (1, 7, 36, 50), (1, 1), "same", (1, 1), 1),  # chunks of patches that share a copy of the kernel
    ((1, 9, 9, 131), (3, 3, 131, 67), (1, 1), "same", (1, 1), 1),
    ((1, 13, 11, 16), (3, 3, 2, 24), (2, 1), "same", (1, 1), 8),
    ((1, 5, 5, 300), (3, 3, 300, 10), (1, 1), "valid", (2, 2), 1),
    ((3, 40, 1, 5), (4, 1, 5, 7), (3, 1), "same", (1, 1), 1),
    ((1, 4, 4, 2), (2, 2, 2, 3), (5, 5), "same", (1, 1), 1),
    ((1, 7, 7, 2), (1, 1, 2, 3), (3, 2), "valid", (1, 1), 1),
    ((1, 3, 3, 2), (3, 3, 2, 3), (1, 1), ((40, 2), (0, 35)), (1, 1), 1),
    # Minimal filtering: odd sizes, tails of channels and filters, many and few tiles, uneven padding, groups.
    ((2, 13, 15, 33), (3, 3, 33, 70), (1, 1), "same", (1, 1), 1),
    ((3, 16, 17, 48), (3, 3, 48, 48), (1, 1), "valid", (1, 1), 1),
    ((2, 12, 11, 150), (3, 3, 150, 140), (1, 1), "same", (1, 1), 1),
    ((5, 14, 14, 64), (3, 3, 64, 160), (1, 1), "same", (1, 1), 1),
    ((2, 14, 13, 36), (3, 3, 36, 52), (1, 1), ((2, 0), (0, 2)), (1, 1), 1),
    ((3, 20, 19, 80), (3, 3, 40, 72), (1, 1), "same", (1, 1), 2),
    ((14, 14, 14, 260), (3, 3, 260, 136), (1, 1), "same", (1, 1), 1),
    ((3, 33, 31, 33), (3, 3, 33, 150), (1, 1), "same", (1, 1), 1),
    ((4, 21, 23, 64), (3, 3, 64, 36), (1, 1), ((0, 2), (2, 1)), (1, 1), 1),
    # Windows with strides and dilation, large windows, tails of channels and filters, groups.
    ((4, 17, 16, 64), (3, 3, 64, 72), (2, 2), "same", (1, 1), 1),
    ((2, 21, 23, 70), (5, 5, 70, 100), (1, 1), "valid", (1, 1), 1),
    ((1, 30, 31, 96), (7, 7, 96, 64), (3, 2), "same", (1, 1), 1),
    ((2, 19, 20, 128), (3, 3, 128, 260), (1, 1), "same", (2, 2), 1),
    ((3, 20, 19, 128), (3, 3, 64, 160), (2, 2), "same", (1, 1), 2),
    ((5, 21, 22, 96), (1, 1, 96, 130), (2, 2), "same", (1, 1), 1),
    ((1, 66, 70, 64), (2, 2, 64, 64), (2, 2), "valid", (1, 1), 1),
    # Few pixels on the tile unit: taps down, across and both, strides, dilation, odd channels and filters, several images, bands.
    ((1, 17, 17, 64), (1, 7, 64, 96), (1, 1), "same", (1, 1), 1),
    ((2, 17, 16, 80), (7, 1, 80, 72), (1, 1), "same", (1, 1), 1),
    ((1, 17, 17, 96), (3, 3, 96, 160), (2, 2), "valid", (1, 1), 1),
    ((2, 9, 8, 104), (3, 3, 104, 132), (1, 1), "same", (1, 1), 1),
    ((1, 35, 35, 48), (5, 5, 48, 64), (1, 1), "same", (1, 1), 1),
    ((1, 20, 21, 36), (4, 5, 36, 75), (3, 2), ((1, 3), (0, 2)), (1, 1), 1),
    ((1, 18, 19, 66), (4, 3, 66, 90), (1, 1), "valid", (3, 2), 1),
    ((1, 7, 7, 260), (3, 3, 260, 250), (1, 1), "same", (1, 1), 1),
    # The same along one axis: tiles that hang over the border by 1, 2 and 3 outputs, rows and columns.
    ((4, 3, 50, 40), (1, 5, 40, 72), (1, 1), "same", (1, 1), 1),
    ((40, 1, 19, 70), (1, 5, 70, 33), (1, 1), ((0, 0), (1, 4)), (1, 1), 1),
    ((2, 45, 9, 33), (5, 1, 33, 50), (1, 1), "valid", (1, 1), 1),
    ((14, 14, 7, 150), (5, 1, 150, 140), (1, 1), "same", (1, 1), 1),
    ((2, 5, 103, 32), (1, 3, 32, 48), (1, 1), "same", (1, 1), 1),
    ((3, 21, 17, 80), (3, 1, 40, 32), (1, 1), "same", (1, 1), 2),
    # Thin images: windows that overlap, that do not, and that hang over both borders.
    ((2, 41, 40, 3), (3, 3, 3, 20), (2, 2), "same", (1, 1), 1),
    ((3, 20, 23, 2), (5, 4, 2, 9), (2, 3), "valid", (2, 1), 1),
    ((2, 9, 4, 4), (2, 7, 4, 17), (1, 1), "same", (1, 1), 1),
    ((2, 9, 9, 1), (2, 2, 1, 8), (3, 3), "valid", (1, 1), 1),
    ((1, 90, 35, 1), (3, 3, 1, 32), (1, 1), "valid", (1, 1), 1),
    # Windows at equal steps: several panels of filters, tails of them and of patches, rows of taps apart, chunks of several images.
    ((2, 33, 29, 3), (5, 5, 3, 150), (1, 1), "same", (1, 1), 1),
    ((3, 31, 37, 13), (3, 3, 13, 29), (2, 2), "valid", (1, 1), 1),
    ((2, 30, 101, 3), (7, 7, 3, 64), (2, 2), "valid", (1, 1), 1),
    ((9, 7, 5, 4), (3, 2, 4, 48), (1, 1), "same", (2, 1), 1),
    ((1, 2, 300, 12), (1, 9, 12, 33), (1, 3), ((0, 0), (5, 2)), (1, 1), 1),
    # Few filters: pieces of whole rows of taps and of single taps, tails of vectors and of patches.
    ((3, 21, 23, 40), (3, 3, 40, 1), (1, 1), "same", (1, 1), 1),
    ((2, 20, 19, 33), (3, 2, 33, 3), (2, 1), "same", (1, 1), 1),
    ((2, 17, 22, 64), (3, 3, 64, 2), (1, 1), "same", (2, 2), 1),
    ((2, 9, 150, 16), (1, 5, 16, 4), (1, 1), "valid", (1, 1), 1),
    ((1, 40, 30, 500), (2, 2, 500, 1), (2, 2), "same", (1, 1), 1),
    # Pixels a power of two apart, and one tap with strides.
    ((2, 16, 16, 256), (1, 1, 256, 40), (1, 1), "same", (1, 1), 1),
    ((2, 15, 16, 256), (1, 1, 256, 33), (2, 2), "same", (1, 1), 1),
    ((2, 17, 15, 128), (3, 1, 128, 40), (2, 2), "same", (1, 1), 1),
    ((1, 33, 40, 512), (1, 1, 512, 97), (1, 1), "same", (1, 1), 1),
    # Gradients of kernels as sums of a few samples each.
    ((32, 16, 32, 48), (1, 1, 48, 40), (1, 1), "same", (1, 1), 1),
    ((64, 8, 16, 34), (1, 1, 34, 65), (1, 1), "same", (1, 1), 1),
    # Gradients of one-pixel windows with more channels than filters, over many pixels.
    ((3, 41, 17, 67), (1, 1, 67, 24), (1, 1), "same", (1, 1), 1),
])
def test_exact(x, w, strides, padding, dilations, groups):
    check(x, w, strides, padding, dilations, groups, np.random.default_rng(1))


@pytest.mark.parametrize("x_shape, w_shape, options", [
    ((4, 28, 28, 32), (3, 3, 32, 64), ((1, 1), "same", (1, 1), 1)),
    ((2, 33, 35, 3), (7, 7, 3, 64), ((2, 2), "same", (1, 1), 1)),
    ((8, 64, 64, 4), (3, 3, 4, 16), ((1, 1), "valid", (1, 1), 1)),
    ((2, 14, 14, 512), (1, 1, 512, 96), ((1, 1), "same", (1, 1), 1)),
    ((2, 20, 20, 24), (3, 3, 8, 36), ((2, 2), "same", (2, 1), 3)),
    ((16, 100, 64), (5, 64, 48), (1, "causal", 2, 1)),
    ((2, 14, 14, 200), (3, 3, 200, 136), ((1, 1), "same", (1, 1), 1)),
    ((3, 32, 33, 64), (3, 3, 64, 136), ((1, 1), "same", (1, 1), 1)),
    ((3, 42, 41, 64), (3, 3, 64, 136), ((2, 2), "same", (1, 1), 1)),
    ((3, 57, 58, 64), (1, 1, 64, 72), ((2, 2), "same", (1, 1), 1)),
    ((1, 17, 17, 128), (1, 7, 128, 136), ((1, 1), "same", (1, 1), 1)),
    ((8, 101, 200), (5, 200, 136), (1, "same", 1, 1)),
    ((9, 35, 64), (3, 64, 72), (1, "valid", 1, 1)),
    ((2, 40, 21, 64), (5, 1, 64, 48), ((1, 1), "same", (1, 1), 1)),
    ((1, 40, 41, 64), (3, 3, 64, 72), ((1, 1), "valid", (1, 1), 1)),
    ((2, 90, 60, 1), (3, 3, 1, 32), ((1, 1), "same", (1, 1), 1)),
    ((4, 30, 30, 256), (1, 1, 256, 72), ((1, 1), "same", (1, 1), 1)),
    ((17, 32, 32, 64), (1, 1, 64, 128), ((1, 1), "same", (1, 1), 1)),
    ((1, 17, 17, 128), (1, 7, 128, 96), ((1, 1), "same", (1, 1), 1)),
    ((1, 17, 17, 96), (3, 3, 96, 164), ((2, 2), "valid", (1, 1), 1)),
    ((1, 35, 35, 48), (5, 5, 48, 64), ((1, 1), "same", (1, 1), 1)),
])
def test_close_and_the_same_for_all_threads(x_shape, w_shape, options):
    rng = np.random.default_rng(2)
    x_shape = fit_images(x_shape, w_shape)
    x, w = rng.standard_normal(x_shape).astype("f4"), rng.standard_normal(w_shape).astype("f4")
    tx, tw = convert_to_tensor(x), convert_to_tensor(w)
    shape = ops.fused_conv(tx, tw, None, *options).shape
    g = rng.standard_normal(shape).astype("f4")
    y, gx, gw = in_threads(lambda: three(x, w, g, options))
    if x.ndim == 3:
        strides, dilations, names = (1, options[0]), (1, options[2]), ("valid", options[1])
        x, w, g, y, gx, gw = x[:, None], w[None], g[:, None], to_numpy(y)[:, None], to_numpy(gx)[:, None], to_numpy(gw)[None]
    else:
        strides, dilations, names = options[0], options[2], (options[1],) * 2
    pads = [conv_padding(p, n, (k - 1) * d + 1, s)
            for p, n, k, d, s in zip(names, x.shape[1:], w.shape, dilations, strides)]
    groups = options[3]
    bound = reference(abs(x), abs(w), strides, dilations, pads, groups)
    assert (abs(to_numpy(y) - reference(x, w, strides, dilations, pads, groups)) <= 16 * EPS * bound).all()
    for gradient, direction in ((gx, x), (gw, w)):
        v = rng.standard_normal(direction.shape)
        a, b = (v, w.astype("f8")) if direction is x else (x.astype("f8"), v)
        expected = (reference(a, b, strides, dilations, pads, groups) * g).sum()
        scale = (reference(abs(a), abs(b), strides, dilations, pads, groups) * abs(g)).sum()
        assert abs((to_numpy(gradient) * v).sum() - expected) <= 16 * EPS * scale


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("stride, dilation, groups", [(1, 1, 1), (2, 1, 1), (1, 2, 1), (3, 1, 2), (1, 3, 2)])
def test_conv1d(padding, stride, dilation, groups):
    rng = np.random.default_rng(3)
    x, w = integers(rng, 2, 19, 6), integers(rng, 4, 6 // groups, 8)
    pads = [(0, 0), conv_padding(padding, 19, 3 * dilation + 1, stride)]
    y = reference(x[:, None], w[None], (1, stride), (1, dilation), pads, groups)[:, 0]
    g = integers(rng, *y.shape)
    found, gx, gw = (to_numpy(t) for t in three(x, w, g, (stride, padding, dilation, groups)))
    assert np.array_equal(found, y)
    v, u = integers(rng, *x.shape), integers(rng, *w.shape)
    for a, b, c in ((gx * v, v, w), (gw * u, x, u)):
        assert a.sum() == (reference(b[:, None], c[None], (1, stride), (1, dilation), pads, groups)[:, 0] * g).sum()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides, dilation, groups", [(1, 1, 1), (2, 1, 1), ((1, 2, 1), 1, 2), (1, (2, 1, 1), 1)])
def test_conv3d(padding, strides, dilation, groups):
    rng = np.random.default_rng(4)
    x, w, b = integers(rng, 2, 5, 6, 4, 4), integers(rng, 3, 2, 3, 4 // groups, 6), integers(rng, 6)
    s3, d3 = per_axis("strides", strides, 3), per_axis("dilation_rate", dilation, 3)
    pads = [conv_padding(padding, n, (k - 1) * d + 1, s) for n, k, d, s in zip(x.shape[1:], w.shape, d3, s3)]

    def volume(x, w):
        depth = np.pad(x, ((0, 0), pads[0], (0, 0), (0, 0), (0, 0)))
        out = (depth.shape[1] - (w.shape[0] - 1) * d3[0] - 1) // s3[0] + 1
        return np.stack([sum(reference(depth[:, i * s3[0] + u * d3[0]], w[u], s3[1:], d3[1:], pads[1:], groups)
                             for u in range(w.shape[0])) for i in range(out)], 1)

    y = to_numpy(ops.fused_conv(x, w, b, strides, padding, dilation, groups, "relu"))
    assert np.array_equal(y, np.maximum(volume(x, w) + b, 0))
    g = integers(rng, *y.shape)
    _, gx, gw = (to_numpy(t) for t in three(x, w, g, (strides, padding, dilation, groups)))
    v, u = integers(rng, *x.shape), integers(rng, *w.shape)
    assert (gx * v).sum() == (volume(v, w) * g).sum() and (gw * u).sum() == (volume(x, u) * g).sum()


def activate(z, activation):
    return {None: lambda: z, "relu": lambda: np.maximum(z, 0), "tanh": lambda: np.tanh(z),
            "sigmoid": lambda: 1 / (1 + np.exp(-z))}[activation]()


@pytest.mark.parametrize("h, channels, filters, stride", [(9, 5, 19, 1), (25, 40, 72, 1), (65, 64, 100, 1), (65, 64, 100, 2), (25, 40, 3, 1)])
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
def test_bias_and_activation(activation, h, channels, filters, stride):
    rng = np.random.default_rng(5)
    pads = [conv_padding("same", n, 3, stride) for n in (h, 8)]
    x, w, b = (rng.standard_normal(s).astype("f4") for s in ((2, h, 8, channels), (3, 3, channels, filters), (filters,)))
    w /= channels**0.5
    ts = [convert_to_tensor(v) for v in (x, w, b)]
    g = rng.standard_normal((2, -(-h // stride), -(-8 // stride), filters)).astype("f4")

    def run():
        with GradientTape() as tape:
            tape.watch(ts)
            y = ops.fused_conv(*ts, stride, "same", 1, 1, activation)
        return [y, *tape.gradient(y, ts, output_gradients=convert_to_tensor(g))]

    y, *gradients = in_threads(run)

    def f(x, w, b):
        return activate(reference(x, w, (stride, stride), (1, 1), pads, 1) + b, activation)

    args = [v.astype("f8") for v in (x, w, b)]
    np.testing.assert_allclose(to_numpy(y), f(*args), rtol=1e-4, atol=2e-5)
    for i, gradient in enumerate(gradients):
        v = rng.standard_normal(args[i].shape)
        plus, minus = list(args), list(args)
        plus[i], minus[i] = args[i] + 1e-6 * v, args[i] - 1e-6 * v
        expected = ((f(*plus) - f(*minus)) * g).sum() / 2e-6
        assert abs((to_numpy(gradient) * v).sum() - expected) <= 1e-4 * (abs(to_numpy(gradient)) * abs(v)).sum()


@pytest.mark.parametrize("bias", [False, True])
def test_large_results_have_the_bits_of_small_ones(bias):
    """Results of 64 MB and more are stored around the caches."""
    rng = np.random.default_rng(11)
    x, w, b = (convert_to_tensor(rng.standard_normal(s).astype("f4")) for s in ((5, 232, 235, 3), (3, 3, 3, 64), (64,)))
    options = (b, 1, "same", 1, 1, "relu") if bias else (None, 1, "same")
    y = to_numpy(ops.fused_conv(x, w, *options))
    assert y.nbytes >= 64 << 20
    for i in range(5):
        assert np.array_equal(to_numpy(ops.fused_conv(x[i : i + 1], w, *options)), y[i : i + 1])


def test_second_order():
    """conv is bilinear: the gradient of <gx, v> with respect to w is the gradient of <conv(v, w), g>."""
    rng = np.random.default_rng(6)
    x, w, g = (convert_to_tensor(integers(rng, *s)) for s in ((2, 7, 6, 3), (3, 2, 3, 5), (2, 4, 3, 5)))
    v, u = convert_to_tensor(integers(rng, *x.shape)), convert_to_tensor(integers(rng, *w.shape))
    options = (2, "same")
    with GradientTape(persistent=True) as outer:
        outer.watch([x, w, g])
        with GradientTape(persistent=True) as inner:
            inner.watch([x, w])
            y = ops.fused_conv(x, w, None, *options)
        gx, gw = inner.gradient(y, [x, w], output_gradients=g)
    for first, direction, with_x, with_w in ((gx, v, v, w), (gw, u, x, u)):
        with GradientTape() as tape:
            tape.watch([x, w, g])
            y = ops.fused_conv(with_x, with_w, None, *options)
        expected = tape.gradient(y, [x, w], output_gradients=g)
        found = outer.gradient(first, [x, w], output_gradients=direction)
        for a, b in zip(found, expected):
            assert (a is None) == (b is None)
            assert a is None or np.array_equal(to_numpy(a), to_numpy(b))
        assert np.array_equal(to_numpy(outer.gradient(first, g, output_gradients=direction)), to_numpy(y))


def transposed_reference(x, w, strides, dilations, before, size):
    """Each input pixel adds its kernel-weighted copy to the output, in float64."""
    full = np.zeros((x.shape[0], *(s + b + 64 for s, b in zip(size, before)), w.shape[2]))
    for u in range(w.shape[0]):
        for v in range(w.shape[1]):
            rows = slice(u * dilations[0], u * dilations[0] + (x.shape[1] - 1) * strides[0] + 1, strides[0])
            cols = slice(v * dilations[1], v * dilations[1] + (x.shape[2] - 1) * strides[1] + 1, strides[1])
            full[:, rows, cols] += x.astype("f8") @ w[u, v].T
    return full[:, before[0] : before[0] + size[0], before[1] : before[1] + size[1]]


# Keras 3's sizes; `before`: how many leading cells of the full result are cut off.
@pytest.mark.parametrize("size, taps, stride, dilation, padding, extra, output, before", [
    (5, 3, 1, 1, "valid", None, 7, 0), (5, 3, 2, 1, "valid", None, 11, 0), (5, 2, 3, 1, "valid", None, 15, 0),
    (5, 3, 2, 1, "same", None, 10, 0), (5, 4, 2, 1, "same", None, 10, 1), (5, 3, 1, 1, "same", None, 5, 1),
    (5, 3, 2, 1, "valid", 1, 12, 0), (5, 3, 2, 1, "same", 1, 10, 0), (5, 3, 2, 1, "same", 0, 9, 1),
    (5, 3, 1, 2, "same", None, 5, 2), (5, 1, 3, 1, "same", None, 15, 0), (4, 5, 3, 1, "same", None, 12, 1),
    (4, 5, 3, 2, "valid", 2, 20, 0), (1, 1, 1, 1, "same", None, 1, 0),
])
def test_transpose_sizes(size, taps, stride, dilation, padding, extra, output, before):
    rng = np.random.default_rng(7)
    x, w, b = integers(rng, 2, size, 3, 5), integers(rng, taps, 2, 4, 5), integers(rng, 4)
    y = ops.fused_conv_transpose(x, w, b, (stride, 1), padding, None if extra is None else (extra, 0), (dilation, 1), 1, "relu")
    assert y.shape[1] == output
    expected = transposed_reference(x, w, (stride, 1), (dilation, 1), (before, int(padding == "same" and extra is not None)), (output, y.shape[2]))
    assert np.array_equal(to_numpy(y), np.maximum(expected + b, 0))


def test_transpose_gradients():
    rng = np.random.default_rng(8)
    x, w = integers(rng, 2, 4, 5, 6), integers(rng, 3, 2, 7, 6)
    ts = [convert_to_tensor(x), convert_to_tensor(w)]
    with GradientTape() as tape:
        tape.watch(ts)
        y = ops.conv_transpose(*ts, strides=2, padding="same")
    assert y.shape == (2, 8, 10, 7)
    g = integers(rng, *y.shape)
    gx, gw = tape.gradient(y, ts, output_gradients=convert_to_tensor(g))
    v, u = integers(rng, *x.shape), integers(rng, *w.shape)

    def f(x, w):
        return to_numpy(ops.conv_transpose(x, w, strides=2, padding="same"))

    assert (to_numpy(gx) * v).sum() == (f(v, w) * g).sum()
    assert (to_numpy(gw) * u).sum() == (f(x, u) * g).sum()


@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_transpose_bias_and_activation(channels, activation):
    """An image decoder's last layer, and a wide one: the epilogue of each way to compute the gradient of the input."""
    rng = np.random.default_rng(10)
    x, w, b = integers(rng, 2, 12, 13, 48), integers(rng, 3, 3, channels, 48), integers(rng, channels)
    y = to_numpy(ops.fused_conv_transpose(x, w, b, 1, "same", activation=activation))
    z = transposed_reference(x, w, (1, 1), (1, 1), (1, 1), (12, 13)) + b
    if activation == "tanh":
        np.testing.assert_allclose(y, np.tanh(z), rtol=1e-6)
    else:
        assert np.array_equal(y, np.maximum(z, 0) if activation == "relu" else z)


def test_minimal_filtering_is_close_by_tile():
    """Its rounding follows the norm of a tile, not each element: an output is as exact as its neighbours allow."""
    rng = np.random.default_rng(11)
    x = (rng.standard_normal((2, 24, 24, 64)) * 10.0 ** rng.uniform(-3, 3, (2, 24, 24, 1))).astype("f4")
    w = rng.standard_normal((3, 3, 64, 64)).astype("f4")
    one, same = (1, 1), ((1, 1), (1, 1))
    y = to_numpy(ops.conv(x, w, 1, "same"))
    bound = reference(abs(x), abs(w), one, one, same, 1)
    error = abs(y - reference(x, w, one, one, same, 1))
    tiles = bound.reshape(2, 12, 2, 12, 2, 64).max((2, 4))
    assert (error.reshape(2, 12, 2, 12, 2, 64).max((2, 4)) <= 16 * EPS * tiles).all()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
def test_products_near_the_ends_of_the_range(scale, stride):
    """Powers of two change no bit of a mantissa, also where operands leave the range of the tile unit's parts."""
    rng = np.random.default_rng(12)
    size, options = 24 // stride, ((stride, stride), "same", (1, 1), 1)
    x, w, g = (rng.standard_normal(s).astype("f4") for s in ((3, 24, 24, 64), (3, 3, 64, 64), (3, size, size, 64)))
    expected = [to_numpy(t) for t in three(x, w, g, options)]
    found = three(x * np.float32(scale), w * np.float32(1 / scale), g, options)
    for a, b, factor in zip(found, expected, (1, 1 / scale, scale)):
        assert abs(to_numpy(a) / factor - b).max() <= 1e-5 * abs(b).max()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("where", ["image", "kernel"])
def test_minimal_filtering_of_what_has_no_parts(value, where):
    """NaN and infinity reach what IEEE says, and the tiles beside it; no other image, no other filter."""
    rng = np.random.default_rng(13)
    x, w = rng.standard_normal((4, 24, 24, 64)).astype("f4"), rng.standard_normal((3, 3, 64, 64)).astype("f4")
    y = to_numpy(ops.conv(x, w, 1, "same"))
    (x if where == "image" else w)[(2, 11, 12, 50) if where == "image" else (1, 1, 20, 50)] = value
    bad = to_numpy(ops.conv(x, w, 1, "same"))
    others = (slice(None), slice(None), slice(None), np.arange(64) != 50) if where == "kernel" else (np.arange(4) != 2,)
    np.testing.assert_allclose(bad[others], y[others], rtol=1e-4, atol=1e-4)
    inside = bad[2, 10:13, 11:14] if where == "image" else bad[..., 50]
    assert not np.isfinite(inside).any() if value != 3e38 else (abs(inside[np.isfinite(inside)]) > 1e30).any()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2, (2, 1, 3)])
def test_conv3d_transpose(padding, strides):
    """<conv_transpose(x), z> = <x, conv(z)>: they are transposes of each other."""
    rng = np.random.default_rng(9)
    x, w = integers(rng, 1, 3, 4, 2, 5), integers(rng, 3, 2, 3, 4, 5)
    y = to_numpy(ops.conv_transpose(x, w, strides, padding))
    z = integers(rng, *y.shape)
    if padding == "same":
        back = ops.conv(z, w, strides, padding)
    else:
        back = ops.conv(z, w, strides, padding)[:, : x.shape[1], : x.shape[2], : x.shape[3]]
    assert (y * z).sum() == (x * to_numpy(back)).sum()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channels_first(rank):
    rng = np.random.default_rng(10)
    x, w = integers(rng, 2, 6, 7, 5, 4)[(slice(None),) + (0,) * (3 - rank)], integers(rng, 3, 2, 2, 4, 3)[(0,) * (3 - rank)]
    first = np.moveaxis(x, -1, 1)
    y = to_numpy(ops.conv(x, w, padding="same"))
    assert np.array_equal(np.moveaxis(y, -1, 1), to_numpy(ops.conv(first, w, padding="same", data_format="channels_first")))
    w = np.swapaxes(w, -1, -2)
    y = to_numpy(ops.conv_transpose(x, w, strides=2))
    assert np.array_equal(np.moveaxis(y, -1, 1), to_numpy(ops.conv_transpose(first, w, 2, data_format="channels_first")))


def test_groups_follow_from_the_kernel():
    rng = np.random.default_rng(11)
    x, w = integers(rng, 1, 5, 5, 6), integers(rng, 3, 3, 2, 9)
    assert np.array_equal(to_numpy(ops.conv(x, w)), reference(x, w, (1, 1), (1, 1), ((0, 0), (0, 0)), 3))


def test_empty_batch():
    x, w = np.zeros((0, 5, 5, 3), "f4"), np.ones((3, 3, 3, 4), "f4")
    y, gx, gw = three(x, w, np.zeros((0, 3, 3, 4), "f4"), (1, "valid"))
    assert y.shape == (0, 3, 3, 4) and gx.shape == x.shape and (to_numpy(gw) == 0).all()


def test_nan_and_padding():
    """A NaN reaches exactly the windows that contain it; padding is not multiplied in."""
    x, w = np.ones((1, 5, 5, 1), "f4"), np.full((3, 3, 1, 17), np.inf, "f4")
    assert (to_numpy(ops.conv(x, w, padding="valid")) == np.inf).all()
    x[0, 0, 0, 0] = np.nan
    y = to_numpy(ops.conv(x, np.ones((3, 3, 1, 17), "f4"), padding="same"))
    nan = np.isnan(y)
    assert nan[0, :2, :2].all() and nan.sum() == 4 * 17


@pytest.mark.parametrize("dtype, result", [("int32", "float32"), ("float16", "float32"), ("bool", "float32"), ("float64", "float64")])
def test_dtypes(dtype, result):
    x = np.ones((1, 4, 4, 2)).astype(dtype)
    y = ops.conv(x, np.ones((3, 3, 2, 3), "f4"))
    assert y.dtype == result and (to_numpy(y) == 18).all()


@pytest.mark.parametrize("strides, padding, dilation, groups, extra", [
    (1, "valid", 1, 1, None), ((2, 1), "same", 1, 2, None), (1, "same", 2, 1, None), ((3, 2), "valid", 1, 1, (2, 1)),
    ((4, 5), "same", 1, 1, None), (2, "same", 1, 1, 0),
])
def test_float64_is_computed_in_float64(strides, padding, dilation, groups, extra):
    rng = np.random.default_rng(12)
    x, w, b = integers(rng, 2, 5, 6, 4), integers(rng, 3, 2, 4 // groups, 6), integers(rng, 6)
    tiny = 2.0**-40  # lost in float32
    y = ops.fused_conv(x.astype("f8") + tiny, w.astype("f8"), b, strides, padding, dilation, groups, "relu")
    expected = to_numpy(ops.fused_conv(x, w, b, strides, padding, dilation, groups)).astype("f8")
    expected += tiny * to_numpy(ops.fused_conv(np.ones_like(x), w, None, strides, padding, dilation, groups))
    assert y.dtype == "float64" and np.array_equal(to_numpy(y), np.maximum(expected, 0))

    w = integers(rng, 3, 2, 6 // groups, 4)
    y = ops.fused_conv_transpose(x.astype("f8") + tiny, w.astype("f8"), b, strides, padding, extra, dilation, groups)
    expected = to_numpy(ops.fused_conv_transpose(x, w, b, strides, padding, extra, dilation, groups)).astype("f8")
    expected += tiny * to_numpy(ops.fused_conv_transpose(np.ones_like(x), w, None, strides, padding, extra, dilation, groups))
    assert y.dtype == "float64" and np.array_equal(to_numpy(y), expected)


X, W = np.ones((2, 6, 6, 4), "f4"), np.ones((3, 3, 4, 8), "f4")
OPTIONS = _core.Conv2dOptions((1, 1), (1, 1), (0, 0, 0, 0), 1)


@pytest.mark.parametrize("call, text", [
    (lambda: ops.conv(X, W, strides=0), "strides must be at least 1"),
    (lambda: ops.conv(X, W, strides=(1, -1)), "strides must be at least 1"),
    (lambda: ops.conv(X, W, strides=(1, 1, 1)), "strides must be an integer or 2"),
    (lambda: ops.conv(X, W, strides=1.5), "strides must be an integer"),
    (lambda: ops.conv(X, W, dilation_rate=0), "dilation_rate must be at least 1"),
    (lambda: ops.conv(X, W, padding="full"), "padding must be one of"),
    (lambda: ops.conv(X, W, data_format="nchw"), "data_format must be"),
    (lambda: ops.conv(X, np.ones((3, 3, 3, 8), "f4")), "must divide those of inputs"),
    (lambda: ops.conv(X, np.ones((3, 3, 0, 8), "f4")), "channels of kernel"),
    (lambda: ops.conv(X, np.ones((0, 3, 4, 8), "f4")), "must not be empty"),
    (lambda: ops.conv(X, np.ones((3, 3, 4, 0), "f4")), "must not be empty"),
    (lambda: ops.conv(np.ones((2, 6, 6, 0), "f4"), W), "must not be empty"),
    (lambda: ops.conv(X, np.ones((7, 3, 4, 8), "f4")), "window must fit"),
    (lambda: ops.conv(X, W, dilation_rate=3), "window must fit"),
    (lambda: ops.conv(np.float32(1), W), "inputs must have 3, 4 or 5 axes"),
    (lambda: ops.conv(X, W[0]), "as many axes"),
    (lambda: ops.conv(X, np.ones((3, 3, 2, 7), "f4")), "groups must divide the output channels"),
    (lambda: ops.fused_conv(X, W, groups=0), "groups must be at least 1"),
    (lambda: ops.fused_conv(X, W, groups=3), "input channels / groups"),
    (lambda: ops.fused_conv(X, W, np.ones(7, "f4")), "bias must have shape"),
    (lambda: ops.fused_conv(X, W, padding=((-1, 0), (0, 0))), "padding must be from 0"),
    (lambda: ops.fused_conv(X, W, padding=((0, 0), (0, 2**31))), "padding must be from 0"),
    (lambda: ops.fused_conv(X, W, dilation_rate=2**31 - 1, padding=((2**31 - 1,) * 2,) * 2), "16 times larger|too large|fit"),
    (lambda: ops.fused_conv(X, W, padding=((0, 0),)), "padding must be a name"),
    (lambda: ops.fused_conv(X, W, activation="gelu"), "activation must be one of"),
    (lambda: ops.conv_transpose(X, W), "input channels / groups|must have shape|inputs must"),
    (lambda: ops.conv_transpose(X, np.ones((3, 3, 8, 4), "f4"), strides=0), "strides must be at least 1"),
    (lambda: ops.conv_transpose(X, np.ones((3, 3, 8, 4), "f4"), strides=2, output_padding=2), "output_padding must be"),
    (lambda: ops.conv_transpose(X, np.ones((3, 3, 8, 4), "f4"), padding="causal"), "padding must be one of"),
    (lambda: _core.conv2d_backward_weights(convert_to_tensor(X), convert_to_tensor(X), (3, 3), OPTIONS), "gy must have shape"),
    (lambda: _core.conv2d_backward_weights(convert_to_tensor(X), convert_to_tensor(X), (0, 3), OPTIONS), "at least one tap"),
    (lambda: _core.conv2d_backward_input(convert_to_tensor(X), convert_to_tensor(W), None, (6, 6), OPTIONS, 0), "must have shape"),
    (lambda: _core.conv2d_backward_input(convert_to_tensor(X), convert_to_tensor(W), None, (0, 6), OPTIONS, 0), "at least one pixel"),
    (lambda: _core.conv2d_forward(convert_to_tensor(X), convert_to_tensor(W), None,
                                  _core.Conv2dOptions((1, 1), (2**31, 1), (0, 0, 0, 0), 1), 0), "dilation_rate"),
])
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_kernels_take_float32_only():
    with pytest.raises(TypeError, match="float32"):
        _core.conv2d_forward(convert_to_tensor(X.astype("f8")), convert_to_tensor(W), None, OPTIONS, 0)
