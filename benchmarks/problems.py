"""The named problems of the benchmark: what is computed, on which shapes, and what it costs at least.

A Problem is plain data that every implementation understands. Images are (n, h, w, c); a convolution
with a stride has padding "valid" on an input that is already padded, so that all libraries do the
same work. Flops count a multiplication and an addition as two and convolutions as direct ones; bytes
are what must move: each input once, each output once.
"""
import dataclasses
import zlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    name: str
    family: str  # a row of the summary
    op: str  # the function of the implementations that runs it
    args: dict
    flops: float = 0.0
    bytes: float = 0.0

    def arrays(self):
        """name -> float32 or int64 array: the same in every process."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return ARRAYS[self.op](rng, **self.args)


def normal(rng, *shape, scale=1.0):
    """Random numbers; a large array repeats a block of four million, which is quick to make."""
    size = int(np.prod(shape))
    block = rng.standard_normal(min(size, 1 << 22), dtype=np.float32)
    if scale != 1.0:
        block *= np.float32(scale)
    return np.resize(block, shape) if size > block.size else block.reshape(shape)


# ---- matmul ----

def _matmul_arrays(rng, m, k, n, batch=(), ta=False, tb=False, **_):
    return {"a": normal(rng, *batch, *((k, m) if ta else (m, k))), "b": normal(rng, *batch, *((n, k) if tb else (k, n)))}


def _dense_arrays(rng, m, k, n, direction):
    x = {"x": normal(rng, m, k), "w": normal(rng, k, n, scale=k ** -0.5), "b": normal(rng, n)}
    return x if direction == "forward" else {**x, "gy": normal(rng, m, n)}


def matmuls():
    def row(name, m, k, n, **options):
        count = int(np.prod(options.get("batch", ())))
        return Problem(f"matmul {name}", "matmul", "matmul", {"m": m, "k": k, "n": n, **options},
                       2.0 * count * m * k * n, 4.0 * count * (m * k + k * n + m * n))

    for n in (16, 32, 64, 128, 256, 512, 1024, 2048):
        yield row(f"{n}^3", n, n, n)
    for m, k, n in ((32, 784, 128), (32, 128, 10), (128, 1600, 10), (64, 2048, 512), (256, 2048, 512), (1, 784, 128),
                    (8192, 64, 64), (50000, 32, 16), (64, 64, 8192), (16, 16, 50000), (37, 101, 67), (509, 251, 127),
                    (1, 4096, 4096), (4096, 4096, 1), (1, 512, 512), (512, 512, 1), (4096, 8, 4096), (128, 16384, 128)):
        yield row(f"{m}x{k}x{n}", m, k, n)
    for n in (64, 256, 1024):
        for ta, tb in ((True, False), (False, True), (True, True)):
            yield row(f"{'T' if ta else 'N'}{'T' if tb else 'N'} {n}^3", n, n, n, ta=ta, tb=tb)
    yield row("TN 784x32x128", 784, 32, 128, ta=True)
    yield row("NT 32x128x784", 32, 128, 784, tb=True)
    yield row("TN 2048x256x512", 2048, 256, 512, ta=True)
    for batch, m, k, n in ((512, 16, 16, 16), (64, 64, 64, 64), (96, 128, 64, 128), (96, 128, 128, 64), (8, 512, 512, 512)):
        yield row(f"batch {batch} of {m}x{k}x{n}", m, k, n, batch=(batch,))
    for m, k, n in ((32, 784, 128), (128, 1600, 10), (64, 2048, 512), (512, 768, 3072)):
        for direction, times in (("forward", 2.0), ("gradients", 4.0)):
            yield Problem(f"dense {m}x{k}x{n} {direction}", "matmul", "dense", {"m": m, "k": k, "n": n, "direction": direction},
                          times * m * k * n, times * 2.0 * (m * k + k * n + m * n))


# ---- convolution: (name, size, input channels, filters, window, stride, padding) ----

RESNET50 = [
    ("conv1", 230, 3, 64, 7, 2, "valid"), ("conv2.1a", 56, 64, 64, 1, 1, "same"), ("conv2.2", 56, 64, 64, 3, 1, "same"),
    ("conv2.3", 56, 64, 256, 1, 1, "same"), ("conv2.1b", 56, 256, 64, 1, 1, "same"), ("conv3.1", 56, 256, 128, 1, 2, "valid"),
    ("conv3.2", 28, 128, 128, 3, 1, "same"), ("conv3.3", 28, 128, 512, 1, 1, "same"), ("conv3.0", 56, 256, 512, 1, 2, "valid"),
    ("conv3.1b", 28, 512, 128, 1, 1, "same"), ("conv4.1", 28, 512, 256, 1, 2, "valid"), ("conv4.2", 14, 256, 256, 3, 1, "same"),
    ("conv4.3", 14, 256, 1024, 1, 1, "same"), ("conv4.0", 28, 512, 1024, 1, 2, "valid"), ("conv4.1b", 14, 1024, 256, 1, 1, "same"),
    ("conv5.1", 14, 1024, 512, 1, 2, "valid"), ("conv5.2", 7, 512, 512, 3, 1, "same"), ("conv5.3", 7, 512, 2048, 1, 1, "same"),
    ("conv5.0", 14, 1024, 2048, 1, 2, "valid"), ("conv5.1b", 7, 2048, 512, 1, 1, "same"),
]
MOBILENETV2 = [("stem", 225, 3, 32, 3, 2, "valid")] + [
    (f"{size}.{ic}-{oc}", size, ic, oc, 1, 1, "same") for size, ic, oc in (
        (112, 32, 16), (112, 16, 96), (56, 96, 24), (56, 24, 144), (56, 144, 24), (28, 144, 32), (28, 32, 192), (28, 192, 32),
        (14, 192, 64), (14, 64, 384), (14, 384, 64), (14, 384, 96), (14, 96, 576), (14, 576, 96), (7, 576, 160), (7, 160, 960),
        (7, 960, 160), (7, 960, 320), (7, 320, 1280))]
XCEPTION = [
    ("stem1", 299, 3, 32, 3, 2, "valid"), ("stem2", 149, 32, 64, 3, 1, "valid"), ("147.128-128", 147, 128, 128, 1, 1, "same"),
    ("74.256-256", 74, 256, 256, 1, 1, "same"), ("37.728-728", 37, 728, 728, 1, 1, "same"), ("19.728-728", 19, 728, 728, 1, 1, "same"),
    ("10.1536-2048", 10, 1536, 2048, 1, 1, "same"), ("shortcut2", 147, 64, 128, 1, 2, "valid"),
    ("shortcut3", 74, 128, 256, 1, 2, "valid"), ("shortcut4", 37, 256, 728, 1, 2, "valid"), ("shortcut13", 19, 728, 1024, 1, 2, "valid"),
]
INCEPTIONV3 = [
    ("stem1", 299, 3, 32, 3, 2, "valid"), ("stem2", 149, 32, 32, 3, 1, "valid"), ("stem3", 147, 32, 64, 3, 1, "same"),
    ("stem4", 73, 64, 80, 1, 1, "valid"), ("stem5", 73, 80, 192, 3, 1, "valid"), ("0.1x1", 35, 192, 64, 1, 1, "same"),
    ("0.48", 35, 192, 48, 1, 1, "same"), ("0.5x5", 35, 48, 64, 5, 1, "same"), ("0.3x3", 35, 64, 96, 3, 1, "same"),
    ("0.3x3b", 35, 96, 96, 3, 1, "same"), ("2.1x1", 35, 288, 64, 1, 1, "same"), ("3.3x3", 35, 288, 384, 3, 2, "valid"),
    ("3.3x3b", 35, 96, 96, 3, 2, "valid"), ("4.1x1", 17, 768, 192, 1, 1, "same"), ("4.128", 17, 768, 128, 1, 1, "same"),
    ("4.1x7", 17, 128, 128, (1, 7), 1, "same"), ("4.7x1", 17, 128, 192, (7, 1), 1, "same"), ("5.160", 17, 768, 160, 1, 1, "same"),
    ("5.1x7", 17, 160, 160, (1, 7), 1, "same"), ("5.7x1", 17, 160, 192, (7, 1), 1, "same"), ("7.1x7", 17, 192, 192, (1, 7), 1, "same"),
    ("7.7x1", 17, 192, 192, (7, 1), 1, "same"), ("8.3x3", 17, 192, 320, 3, 2, "valid"), ("8.3x3b", 17, 192, 192, 3, 2, "valid"),
    ("9.1x1", 8, 1280, 320, 1, 1, "same"), ("9.384", 8, 1280, 384, 1, 1, "same"), ("9.1x3", 8, 384, 384, (1, 3), 1, "same"),
    ("9.3x1", 8, 384, 384, (3, 1), 1, "same"), ("9.448", 8, 1280, 448, 1, 1, "same"), ("9.3x3", 8, 448, 384, 3, 1, "same"),
    ("10.1x1", 8, 2048, 320, 1, 1, "same"), ("10.192", 8, 2048, 192, 1, 1, "same"),
]
VGG16 = [("block1.1", 224, 3, 64, 3, 1, "same"), ("block1.2", 224, 64, 64, 3, 1, "same")]
MNIST = [("conv1", 28, 1, 32, 3, 1, "valid"), ("conv2", 13, 32, 64, 3, 1, "valid")]


def _pair(v):
    return v if isinstance(v, tuple) else (v, v)


def _conv_arrays(rng, n, h, w, ic, oc, kh, kw, s, padding, direction, d=1, g=1):
    oh, ow = _output(h, kh, s, padding, d), _output(w, kw, s, padding, d)
    arrays = {"x": normal(rng, n, h, w, ic), "w": normal(rng, kh, kw, ic // g, oc, scale=(kh * kw * ic // g) ** -0.5)}
    if direction != "forward":
        arrays["gy"] = normal(rng, n, oh, ow, oc)
    return arrays


def _output(size, k, s, padding, d=1):
    return -(-size // s) if padding == "same" else (size - (k - 1) * d - 1) // s + 1


def _conv(net, name, n, size, ic, oc, k, s, padding, d=1, g=1):
    (h, w), (kh, kw) = _pair(size), _pair(k)
    oh, ow = _output(h, kh, s, padding, d), _output(w, kw, s, padding, d)
    flops = 2.0 * n * oh * ow * oc * kh * kw * ic / g
    moved = 4.0 * (n * h * w * ic + kh * kw * ic * oc / g + n * oh * ow * oc)
    args = {"n": n, "h": h, "w": w, "ic": ic, "oc": oc, "kh": kh, "kw": kw, "s": s, "padding": padding}
    args.update({"d": d} if d > 1 else {}, **({"g": g} if g > 1 else {}))
    winograd = (kh, kw, s, d, g) == (3, 3, 1, 1, 1) and ic > 4
    for direction in ("forward", "gx", "gw"):
        if direction == "forward":
            family = "conv 3x3 stride 1, forward" if winograd else "conv, forward"
        else:
            family = "conv of 1 or 3 channels, gradients" if ic in (1, 3) else "conv, gradients"
        yield Problem(f"{net}.{name} n{n} {direction}", family, "conv2d", {**args, "direction": direction}, flops, moved)


def convolutions():
    # "spatial size reduced only where memory forces it": none of these does, on 24 GiB.
    for n in (1, 8, 32):
        for net, layers in (("mnist", MNIST), ("resnet50", RESNET50), ("vgg16", VGG16), ("mobilenetv2", MOBILENETV2),
                            ("xception", XCEPTION), ("inceptionv3", INCEPTIONV3)):
            for layer in layers:
                yield from _conv(net, layer[0], n, *layer[1:])
    yield from _conv("mnist", "conv1", 128, 28, 1, 32, 3, 1, "valid")
    yield from _conv("mnist", "conv2", 128, 13, 32, 64, 3, 1, "valid")
    for name, n, size, ic, oc, k, s, padding, d, g in (
            ("prime sizes", 3, (31, 37), 13, 29, 3, 1, "valid", 1, 1), ("prime sizes stride 2", 3, (31, 37), 13, 29, 3, 2, "valid", 1, 1),
            ("7x7 window", 4, 38, 48, 48, 7, 1, "same", 1, 1), ("dilation 2", 8, 32, 64, 64, 3, 1, "same", 2, 1),
            ("groups 4", 8, 28, 128, 128, 3, 1, "same", 1, 4), ("one filter", 8, 64, 64, 1, 3, 1, "same", 1, 1),
            ("conv1d 500x256-128", 64, (1, 500), 256, 128, (1, 5), 1, "valid", 1, 1)):
        yield from _conv("awkward", name, n, size, ic, oc, k, s, padding, d, g)


# ---- depthwise and separable ----

def _depthwise_arrays(rng, n, size, c, k, s, padding, direction, oc=0):
    o = _output(size, k, s, padding)
    arrays = {"x": normal(rng, n, size, size, c), "w": normal(rng, k, k, c, 1, scale=1 / k)}
    if oc:
        arrays["p"] = normal(rng, 1, 1, c, oc, scale=c ** -0.5)
    if direction != "forward":
        arrays["gy"] = normal(rng, n, o, o, oc or c)
    return arrays


def depthwise():
    shapes = [(8, 74, 128, 3, 1, "same"), (8, 37, 728, 3, 1, "same"), (8, 19, 728, 3, 1, "same"), (8, 147, 64, 3, 1, "same"),
              (1, 112, 32, 3, 1, "same"), (8, 112, 32, 3, 1, "same"), (8, 113, 96, 3, 2, "valid"), (8, 56, 144, 3, 1, "same"),
              (8, 57, 144, 3, 2, "valid"), (8, 28, 192, 3, 1, "same"), (8, 14, 576, 3, 1, "same"), (8, 15, 576, 3, 2, "valid"),
              (32, 7, 960, 3, 1, "same"), (8, 28, 240, 5, 1, "same"), (8, 59, 72, 5, 2, "valid"), (1, 14, 672, 5, 1, "same"),
              (4, 31, 37, 3, 1, "same")]
    for n, size, c, k, s, padding in shapes:
        o = _output(size, k, s, padding)
        moved = 4.0 * n * c * (size * size + o * o)
        for direction, times in (("forward", 1), ("backward", 2)):
            args = {"n": n, "size": size, "c": c, "k": k, "s": s, "padding": padding, "direction": direction}
            yield Problem(f"depthwise {k}x{k}/{s} {n}x{size}x{size}x{c} {direction}", f"depthwise, {direction}", "depthwise",
                          args, times * 2.0 * n * o * o * c * k * k, moved if times == 1 else moved + 4.0 * n * c * size * size)
    for n, size, c, oc in ((32, 32, 32, 64), (32, 32, 64, 128), (32, 16, 128, 128), (8, 37, 256, 256), (8, 19, 728, 728), (1, 74, 128, 128)):
        for direction, times in (("forward", 1), ("backward", 2)):
            args = {"n": n, "size": size, "c": c, "k": 3, "s": 1, "padding": "same", "direction": direction, "oc": oc}
            yield Problem(f"separable 3x3 {n}x{size}x{size} {c}-{oc} {direction}", f"separable, {direction}", "separable", args,
                          times * 2.0 * n * size * size * c * (9 + oc), times * 4.0 * n * size * size * (c + oc))


# ---- what streams through memory ----

def _pool_arrays(rng, n, size, c, k, s, kind, direction):
    o = _output(size, k, s, "valid")
    return {"x": normal(rng, n, size, size, c), **({"gy": normal(rng, n, o, o, c)} if direction != "forward" else {})}


def pools():
    for kind, n, size, c, k, s in (("max", 8, 112, 64, 3, 2), ("max", 128, 26, 32, 2, 2), ("max", 8, 37, 256, 3, 2), ("max", 1, 147, 64, 3, 2),
                                   ("average", 8, 56, 128, 2, 2), ("average", 8, 35, 192, 3, 1), ("average", 8, 112, 64, 3, 2)):
        o = _output(size, k, s, "valid")
        for direction in ("forward", "backward"):
            yield Problem(f"{kind} pool {k}x{k}/{s} {n}x{size}x{size}x{c} {direction}", "pooling", "pool",
                          {"n": n, "size": size, "c": c, "k": k, "s": s, "kind": kind, "direction": direction},
                          0.0, 4.0 * n * c * (size * size + o * o))


def _norm_arrays(rng, rows, c, direction, **_):
    arrays = {"x": normal(rng, rows, c), "gamma": normal(rng, c), "beta": normal(rng, c), "mean": normal(rng, c),
              "variance": np.abs(normal(rng, c)) + np.float32(0.1)}
    return {**arrays, "gy": normal(rng, rows, c)} if direction == "backward" else arrays


def norms():
    for rows, c in ((8 * 112 * 112, 64), (8 * 56 * 56, 64), (8 * 28 * 28, 512), (8 * 7 * 7, 2048), (32 * 32 * 32, 16), (128, 128)):
        for direction, times in (("training", 2), ("backward", 3), ("inference", 2)):
            yield Problem(f"batch norm {rows}x{c} {direction}", "batch norm", "batch_norm", {"rows": rows, "c": c, "direction": direction},
                          0.0, 4.0 * times * rows * c)
    for rows, c in ((4096, 768), (50000, 64), (512, 128), (65536, 16), (256, 4096)):
        for direction, times in (("forward", 2), ("backward", 3)):
            yield Problem(f"layer norm {rows}x{c} {direction}", "layer norm", "layer_norm", {"rows": rows, "c": c, "direction": direction},
                          0.0, 4.0 * times * rows * c)


def _elementwise_arrays(rng, name, size, **_):
    arrays = {"x": normal(rng, *_shape(size))}
    if name in ("add", "multiply", "maximum", "divide", "greater", "power"):
        arrays["z"] = normal(rng, *_shape(size))
    if name == "power":
        arrays["x"] = np.abs(arrays["x"])
    if name in ("log", "sqrt"):
        arrays["x"] = np.abs(arrays["x"]) + np.float32(0.01)
    if name in ("add bias", "scale rows"):
        rows, cols = _shape(size)
        arrays["z"] = normal(rng, cols) if name == "add bias" else normal(rng, rows, 1)
    return arrays


def _shape(size):
    return tuple(size) if isinstance(size, (tuple, list)) else (size,)


def elementwise():
    # In the first-level cache, in the second, in the third, and beyond any: the last one is 256 MB.
    for name in ("add", "multiply", "maximum", "divide", "greater", "power", "relu", "exp", "log", "tanh", "sigmoid", "gelu", "erf",
                 "sin", "sqrt", "silu"):
        reads = 2 if name in ("add", "multiply", "maximum", "divide", "greater", "power") else 1
        for size in (1, 4096, 1 << 20) + ((1 << 26,) if name in ("add", "relu", "exp", "tanh") else ()):
            written = 1 if name == "greater" else 4
            yield Problem(f"{name} {size}", "elementwise", "elementwise", {"name": name, "size": size}, 0.0, size * (4.0 * reads + written))
    for name, size in (("add bias", (4096, 1024)), ("scale rows", (4096, 1024)), ("transpose", (8192, 1024)), ("transpose", (1000, 1000)),
                       ("concatenate", (4096, 512)), ("dropout", (1 << 20,))):
        n = float(np.prod(size))
        yield Problem(f"{name} {'x'.join(map(str, size))}", "elementwise", "elementwise", {"name": name, "size": size}, 0.0,
                      (16.0 if name == "concatenate" else 8.0) * n)


def _reduction_arrays(rng, shape, **_):
    return {"x": normal(rng, *shape)}


def reductions():
    for name, shape, axis in (("sum", (1 << 20,), None), ("sum", (1 << 26,), None), ("sum", (1024, 1024), 0), ("sum", (1024, 1024), 1),
                              ("sum", (100000, 10), 0), ("sum", (100000, 10), 1), ("max", (1024, 1024), 0), ("max", (1024, 1024), 1),
                              ("mean", (32, 56, 56, 64), (1, 2)), ("argmax", (4096, 1000), 1), ("argmax", (128, 10), 1),
                              ("variance", (1024, 1024), 1), ("sum", (64,), None)):
        n = float(np.prod(shape))
        yield Problem(f"{name} {'x'.join(map(str, shape))} axis {axis}", "reductions", "reduction",
                      {"name": name, "shape": shape, "axis": axis}, 0.0, 4.0 * n)


def _softmax_arrays(rng, rows, cols, **_):
    return {"x": normal(rng, rows, cols), "gy": normal(rng, rows, cols), "label": rng.integers(0, cols, rows), "gl": normal(rng, rows)}


def softmaxes():
    for rows, cols in ((32, 10), (128, 500), (4096, 1000), (64, 30000), (8192, 128)):
        for name, times in (("softmax", 2), ("softmax backward", 3), ("cross entropy", 1), ("cross entropy backward", 2)):
            yield Problem(f"{name} {rows}x{cols}", "softmax and losses", "softmax", {"rows": rows, "cols": cols, "name": name}, 0.0,
                          4.0 * times * rows * cols)


def _embedding_arrays(rng, rows, cols, n, direction):
    arrays = {"table": normal(rng, rows, cols), "index": rng.integers(0, rows, n)}
    return {**arrays, "gy": normal(rng, *n, cols)} if direction == "backward" else arrays


def embeddings():
    for rows, cols, n in ((10000, 64, (128, 100)), (20000, 256, (64, 500)), (10000, 32, (1, 100)), (1000000, 64, (64, 100))):
        for direction in ("forward", "backward"):
            count = float(np.prod(n)) * cols
            yield Problem(f"embedding {rows}x{cols} of {n[0]}x{n[1]} {direction}", "embedding", "embedding",
                          {"rows": rows, "cols": cols, "n": n, "direction": direction}, 0.0,
                          8.0 * count + (4.0 * rows * cols if direction == "backward" else 0))


def _optimizer_arrays(rng, name, sizes):
    return {f"{kind}{i}": normal(rng, *_shape(s), scale=0.1) for i, s in enumerate(sizes) for kind in "wg"}


def optimizers():
    small, large = [(3, 3, 8, 8), (8,)] * 40, [(1024, 1024)] * 4
    for label, sizes in (("80 small", small), ("4 of 1M", large), ("1 of 10M", [(10000000,)]), ("mlp", [(784, 128), (128,), (128, 10), (10,)])):
        n = float(sum(np.prod(s) for s in sizes))
        for name, times in (("adam", 7), ("sgd momentum", 5), ("rmsprop", 5)):
            yield Problem(f"{name} {label}", "optimizers", "optimizer", {"name": name, "sizes": sizes}, 0.0, 4.0 * times * n)


# ---- recurrent layers ----

GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}


def _rnn_arrays(rng, kind, n, t, i, u, direction):
    g = GATES[kind]
    arrays = {"x": normal(rng, n, t, i), "w": normal(rng, i, g * u, scale=i ** -0.5), "r": normal(rng, u, g * u, scale=u ** -0.5),
              "b": normal(rng, *((2, g * u) if kind == "gru" else (g * u,)), scale=0.1)}
    return {**arrays, "gy": normal(rng, n, t, u)} if direction != "inference" else arrays


def recurrent():
    shapes = ((1, 100, 32, 32), (1, 100, 64, 128), (1, 50, 512, 512), (8, 50, 64, 64), (32, 28, 28, 128), (64, 100, 64, 128),
              (128, 100, 64, 32), (64, 50, 128, 32), (64, 20, 256, 256), (64, 50, 512, 512))
    for kind, gates in GATES.items():
        for n, t, i, u in shapes:
            for direction, times in (("inference", 1), ("training", 3)):
                yield Problem(f"{kind} {n}x{t}x{i}-{u} {direction}", {"lstm": "LSTM", "gru": "GRU", "simple_rnn": "simple RNN"}[kind],
                              "rnn", {"kind": kind, "n": n, "t": t, "i": i, "u": u, "direction": direction},
                              times * 2.0 * n * t * gates * u * (i + u), times * 4.0 * n * t * (i + u))


ARRAYS = {"matmul": _matmul_arrays, "dense": _dense_arrays, "conv2d": _conv_arrays, "depthwise": _depthwise_arrays,
          "separable": _depthwise_arrays, "pool": _pool_arrays, "batch_norm": _norm_arrays, "layer_norm": _norm_arrays,
          "elementwise": _elementwise_arrays, "reduction": _reduction_arrays, "softmax": _softmax_arrays,
          "embedding": _embedding_arrays, "optimizer": _optimizer_arrays, "rnn": _rnn_arrays}


def problems():
    """All of them, in the order of the table."""
    makers = (matmuls, convolutions, depthwise, pools, norms, elementwise, reductions, softmaxes, embeddings, optimizers, recurrent)
    return {p.name: p for make in makers for p in make()}


# What a family must reach, as time of the best peer / time of fastnn: (every row, geometric mean).
GOALS = {
    "matmul": (1.0, 1.2), "conv, forward": (0.97, 1.0), "conv 3x3 stride 1, forward": (0.97, 1.25), "conv, gradients": (0.97, 1.25),
    "conv of 1 or 3 channels, gradients": (0.97, 2.5), "depthwise, forward": (1.2, 2.0), "depthwise, backward": (1.2, 2.0),
    "separable, forward": (1.2, 2.0), "separable, backward": (1.2, 2.0), "pooling": (1.0, 1.7), "batch norm": (1.0, 1.7),
    "layer norm": (1.0, 1.7), "elementwise": (1.0, 1.7), "reductions": (1.0, 1.7), "softmax and losses": (1.0, 1.5),
    "embedding": (1.0, 1.5), "optimizers": (1.0, 1.5), "LSTM": (1.0, 1.3), "GRU": (1.0, 3.0), "simple RNN": (1.0, 3.0),
}
