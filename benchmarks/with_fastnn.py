"""The problems on fastnn, through its public functions. Each function returns a call without arguments."""
import importlib

import numpy as np

import fastnn
from fastnn import GradientTape, ops

NAME = "fastnn"


def set_threads(n):
    fastnn.set_num_threads(n)


def describe():
    return f"fastnn {fastnn.__version__} ({fastnn.isa()})"


def _tensors(arrays):
    return {k: fastnn.convert_to_tensor(v) for k, v in arrays.items()}


def gradient(f, sources, gy):
    """A call that computes the gradients of f() alone; f ran once, now."""
    tape = GradientTape(persistent=True)
    with tape:
        tape.watch(sources)
        y = f()
    return lambda: tape.gradient(y, sources, output_gradients=gy)


def _either(f, sources, t, direction):
    return f if direction == "forward" else gradient(f, sources, t["gy"])


def matmul(arrays, m, k, n, batch=(), ta=False, tb=False):
    t = _tensors(arrays)
    a, b = t["a"], t["b"]
    if ta or tb:
        from fastnn.ops.matmul import _matmul  # the product that gradients use

        return lambda: _matmul(a, b, ta, tb)
    return lambda: ops.matmul(a, b)


def dense(arrays, m, k, n, direction):
    from fastnn.ops.matmul import dense as fused

    t = _tensors(arrays)
    x, w, b = t["x"], t["w"], t["b"]
    return _either(lambda: fused(x, w, b, "relu"), [x, w, b], t, direction)


def conv2d(arrays, n, h, w, ic, oc, kh, kw, s, padding, direction, d=1, g=1):
    t = _tensors(arrays)
    x, k = t["x"], t["w"]
    return _either(lambda: ops.conv(x, k, s, padding, dilation_rate=d), [k] if direction == "gw" else [x], t, direction)


def depthwise(arrays, n, size, c, k, s, padding, direction):
    t = _tensors(arrays)
    x, w = t["x"], t["w"]
    return _either(lambda: ops.depthwise_conv(x, w, s, padding), [x, w], t, direction)


def separable(arrays, n, size, c, k, s, padding, direction, oc):
    t = _tensors(arrays)
    x, w, p = t["x"], t["w"], t["p"]
    return _either(lambda: ops.separable_conv(x, w, p, s, padding), [x, w, p], t, direction)


def pool(arrays, n, size, c, k, s, kind, direction):
    t = _tensors(arrays)
    x, f = t["x"], ops.max_pool if kind == "max" else ops.average_pool
    return _either(lambda: f(x, k, s), [x], t, direction)


def batch_norm(arrays, rows, c, direction):
    from fastnn.ops.normalization import batch_norm_inference, batch_norm_train

    t = _tensors(arrays)
    x, gamma, beta = t["x"], t["gamma"], t["beta"]
    if direction == "inference":
        return lambda: batch_norm_inference(x, t["mean"], t["variance"], gamma, beta, 1e-3)
    if direction == "training":
        return lambda: batch_norm_train(x, gamma, beta, 1e-3)[0]
    return gradient(lambda: batch_norm_train(x, gamma, beta, 1e-3)[0], [x, gamma, beta], t["gy"])


def layer_norm(arrays, rows, c, direction):
    t = _tensors(arrays)
    x, gamma, beta = t["x"], t["gamma"], t["beta"]
    return _either(lambda: ops.layer_normalization(x, gamma, beta, epsilon=1e-3), [x, gamma, beta], t, direction)


def elementwise(arrays, name, size):
    t = _tensors(arrays)
    x, z = t["x"], t.get("z")
    if name == "dropout":
        seed = fastnn.random.SeedGenerator(1)
        return lambda: fastnn.random.dropout(x, 0.5, seed=seed)
    return {
        "add": lambda: x + z, "add bias": lambda: x + z, "multiply": lambda: x * z, "scale rows": lambda: x * z,
        "maximum": lambda: ops.maximum(x, z), "divide": lambda: x / z, "greater": lambda: x > z, "power": lambda: x ** z,
        "relu": lambda: ops.relu(x), "exp": lambda: ops.exp(x), "log": lambda: ops.log(x), "tanh": lambda: ops.tanh(x),
        "sigmoid": lambda: ops.sigmoid(x), "gelu": lambda: ops.gelu(x, approximate=False), "erf": lambda: ops.erf(x),
        "sin": lambda: ops.sin(x), "sqrt": lambda: ops.sqrt(x), "silu": lambda: ops.silu(x),
        "transpose": lambda: ops.transpose(x), "concatenate": lambda: ops.concatenate([x, x], 1),
    }[name]


def reduction(arrays, name, shape, axis):
    x = fastnn.convert_to_tensor(arrays["x"])
    f = {"sum": ops.sum, "max": ops.max, "mean": ops.mean, "argmax": ops.argmax, "variance": ops.var}[name]
    axis = tuple(axis) if isinstance(axis, list) else axis
    return lambda: f(x, axis)


def softmax(arrays, rows, cols, name):
    t = _tensors(arrays)
    x, label = t["x"], t["label"]

    def loss():
        return ops.sparse_categorical_crossentropy(label, x, from_logits=True)

    return {"softmax": lambda: (lambda: ops.softmax(x)), "softmax backward": lambda: gradient(lambda: ops.softmax(x), [x], t["gy"]),
            "cross entropy": lambda: loss, "cross entropy backward": lambda: gradient(loss, [x], t["gl"])}[name]()


def embedding(arrays, rows, cols, n, direction):
    t = _tensors(arrays)
    table, index = t["table"], t["index"]
    return _either(lambda: ops.take(table, index, axis=0), [table], t, direction)


def optimizer(arrays, name, sizes):
    weights = [fastnn.Variable(arrays[f"w{i}"]) for i in range(len(sizes))]
    gradients = [fastnn.convert_to_tensor(arrays[f"g{i}"]) for i in range(len(sizes))]
    o = {"adam": lambda: fastnn.optimizers.Adam(1e-3), "rmsprop": lambda: fastnn.optimizers.RMSprop(1e-3, rho=0.99),
         "sgd momentum": lambda: fastnn.optimizers.SGD(1e-3, momentum=0.9)}[name]()
    o.build(weights)
    return lambda: o.apply(gradients, weights)


def rnn(arrays, kind, n, t, i, u, direction):
    p = _tensors(arrays)
    x, w, r, b = p["x"], p["w"], p["r"], p["b"]
    f = getattr(importlib.import_module("fastnn.ops.rnn"), kind)
    if direction == "inference":
        return lambda: f(x, w, r, b, return_sequences=True)[0]
    gy, sources = p["gy"], [x, w, r, b]

    def both():
        with GradientTape() as tape:
            tape.watch(sources)
            y = f(x, w, r, b, return_sequences=True)[0]
        return tape.gradient(y, sources, output_gradients=gy)

    return both


def outputs(result, problem):
    """The arrays of a result. Of recurrent gradients, the input's alone."""
    found = [np.asarray(v) for v in (result if isinstance(result, (list, tuple)) else [result]) if v is not None]
    return found[:1] if problem.op == "rnn" else found
