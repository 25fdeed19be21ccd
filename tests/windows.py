"""float64 references of ops with sliding windows, as loops over the formula; images are (n, ih, iw, c)."""
import numpy as np


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def same_pads(size, k, s, d=1):
    """TensorFlow's rule: ceil(size / s) outputs, the odd cell of padding at the end."""
    total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
    return total // 2, total - total // 2


def geometry(x, k, strides, padding, dilation=1):
    """Per spatial axis (size, output size, taps, stride, first pad, dilation)."""
    axes = []
    for size, kk, s, d in zip(x.shape[1:3], pair(k), pair(strides), pair(dilation)):
        before, after = same_pads(size, kk, s, d) if padding == "same" else (0, 0)
        axes.append((size, (size + before + after - (kk - 1) * d - 1) // s + 1, kk, s, before, d))
    return axes


def cells(axes):
    """((i, j), list of (tap row, tap column, input row, input column)) for every output."""
    (ih, oh, kh, sh, ph, dh), (iw, ow, kw, sw, pw, dw) = axes
    for i in range(oh):
        for j in range(ow):
            yield (i, j), [(u, v, i * sh - ph + u * dh, j * sw - pw + v * dw) for u in range(kh) for v in range(kw)
                           if 0 <= i * sh - ph + u * dh < ih and 0 <= j * sw - pw + v * dw < iw]


def output(x, axes, channels):
    return np.zeros((x.shape[0], axes[0][1], axes[1][1], channels))


def depthwise(x, w, strides=1, padding="valid", dilation_rate=1):
    axes = geometry(x, w.shape[:2], strides, padding, dilation_rate)
    y = output(x, axes, w.shape[2] * w.shape[3])
    for (i, j), taps in cells(axes):
        for u, v, a, b in taps:
            y[:, i, j] += (x[:, a, b, :, None] * w[u, v]).reshape(len(x), -1)
    return y


def max_pool(x, pool_size, strides=None, padding="valid"):
    axes = geometry(x, pool_size, strides or pool_size, padding)
    y = output(x, axes, x.shape[-1])
    for (i, j), taps in cells(axes):
        y[:, i, j] = np.stack([x[:, a, b] for _, _, a, b in taps]).max(0)
    return y


def average_pool(x, pool_size, strides=None, padding="valid"):
    axes = geometry(x, pool_size, strides or pool_size, padding)
    y = output(x, axes, x.shape[-1])
    for (i, j), taps in cells(axes):
        y[:, i, j] = np.stack([x[:, a, b] for _, _, a, b in taps]).mean(0)
    return y
