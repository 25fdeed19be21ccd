"""The problems on torch, the way its users write them, in the memory format that is faster.

The same functions in float64 are the reference of the error column.
"""
import numpy as np
import torch
import torch.nn.functional as F

NAME = "torch"
FORMATS = {"conv2d": 2, "depthwise": 2, "separable": 2, "pool": 2, "batch_norm": 2}  # both layouts are tried
dtype = torch.float32
layout = torch.channels_last
device = "cpu"


def set_threads(n):
    torch.set_num_threads(n)


def describe():
    return f"torch {torch.__version__}"


def set_variant(i):
    global layout
    layout = torch.channels_last if i == 0 else torch.contiguous_format


def set_float64():
    global dtype
    dtype = torch.float64


def _tensors(arrays):
    return {k: torch.from_numpy(v).to(device, dtype if v.dtype == np.float32 else None) for k, v in arrays.items()}


def _image(x):
    """(n, h, w, c) as torch has it: (n, c, h, w)."""
    return x.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _kernel(w):
    return w.permute(3, 2, 0, 1).contiguous(memory_format=layout)


def gradient(f, sources, gy):
    for s in sources:
        s.requires_grad_()
    y = f()
    return lambda: torch.autograd.grad(y, sources, gy, retain_graph=True)


def _either(f, sources, gy, direction):
    return f if direction == "forward" else gradient(f, sources, gy)


def matmul(arrays, m, k, n, batch=(), ta=False, tb=False):
    t = _tensors(arrays)
    a, b = t["a"].mT if ta else t["a"], t["b"].mT if tb else t["b"]
    return lambda: torch.matmul(a, b)


def dense(arrays, m, k, n, direction):
    t = _tensors(arrays)
    # nn.Linear keeps its kernel as (n, k), which MKL likes as well.
    x, w, b = t["x"], t["w"].mT.contiguous(), t["b"]
    return _either(lambda: F.relu(F.linear(x, w, b)), [x, w, b], t.get("gy"), direction)


def conv2d(arrays, n, h, w, ic, oc, kh, kw, s, padding, direction, d=1, g=1):
    t = _tensors(arrays)
    x, k = _image(t["x"]), _kernel(t["w"])
    pad = ((kh - 1) * d // 2, (kw - 1) * d // 2) if padding == "same" else 0
    gy = _image(t["gy"]) if "gy" in t else None
    return _either(lambda: F.conv2d(x, k, None, s, pad, d, g), [k] if direction == "gw" else [x], gy, direction)


def depthwise(arrays, n, size, c, k, s, padding, direction):
    t = _tensors(arrays)
    x, w = _image(t["x"]), t["w"].permute(2, 3, 0, 1).contiguous(memory_format=layout)
    gy = _image(t["gy"]) if "gy" in t else None
    return _either(lambda: F.conv2d(x, w, None, s, k // 2 if padding == "same" else 0, 1, c), [x, w], gy, direction)


def separable(arrays, n, size, c, k, s, padding, direction, oc):
    t = _tensors(arrays)
    x, w, p = _image(t["x"]), t["w"].permute(2, 3, 0, 1).contiguous(memory_format=layout), _kernel(t["p"])
    gy = _image(t["gy"]) if "gy" in t else None
    return _either(lambda: F.conv2d(F.conv2d(x, w, None, s, k // 2, 1, c), p), [x, w, p], gy, direction)


def pool(arrays, n, size, c, k, s, kind, direction):
    t = _tensors(arrays)
    x, f = _image(t["x"]), F.max_pool2d if kind == "max" else F.avg_pool2d
    return _either(lambda: f(x, k, s), [x], _image(t["gy"]) if "gy" in t else None, direction)


def batch_norm(arrays, rows, c, direction):
    t = _tensors(arrays)
    def image(x):  # rows of channels as a picture one pixel wide
        return _image(x.reshape(1, rows, 1, c))
    x, gamma, beta = image(t["x"]), t["gamma"], t["beta"]
    if direction == "inference":
        return lambda: F.batch_norm(x, t["mean"], t["variance"], gamma, beta, False, 0.0, 1e-3)
    def train():
        return F.batch_norm(x, None, None, gamma, beta, True, 0.0, 1e-3)
    return train if direction == "training" else gradient(train, [x, gamma, beta], image(t["gy"]))


def layer_norm(arrays, rows, c, direction):
    t = _tensors(arrays)
    x, gamma, beta = t["x"], t["gamma"], t["beta"]
    return _either(lambda: F.layer_norm(x, (c,), gamma, beta, 1e-3), [x, gamma, beta], t.get("gy"), direction)


def elementwise(arrays, name, size):
    t = _tensors(arrays)
    x, z = t["x"], t.get("z")
    return {
        "add": lambda: x + z, "add bias": lambda: x + z, "multiply": lambda: x * z, "scale rows": lambda: x * z,
        "maximum": lambda: torch.maximum(x, z), "divide": lambda: x / z, "greater": lambda: x > z, "power": lambda: x ** z,
        "relu": lambda: torch.relu(x), "exp": lambda: torch.exp(x), "log": lambda: torch.log(x), "tanh": lambda: torch.tanh(x),
        "sigmoid": lambda: torch.sigmoid(x), "gelu": lambda: F.gelu(x), "erf": lambda: torch.erf(x), "sin": lambda: torch.sin(x),
        "sqrt": lambda: torch.sqrt(x), "silu": lambda: F.silu(x), "transpose": lambda: x.mT.contiguous(),
        "concatenate": lambda: torch.cat([x, x], 1), "dropout": lambda: F.dropout(x, 0.5),
    }[name]


def reduction(arrays, name, shape, axis):
    x = _tensors(arrays)["x"]
    f = {"sum": torch.sum, "max": torch.amax, "mean": torch.mean, "argmax": torch.argmax,
         "variance": lambda x, axis: torch.var(x, axis, correction=0)}[name]
    return (lambda: f(x)) if axis is None else (lambda: f(x, axis))


def softmax(arrays, rows, cols, name):
    t = _tensors(arrays)
    x, label = t["x"], t["label"]

    def loss():
        return F.cross_entropy(x, label, reduction="none")

    return {"softmax": lambda: (lambda: torch.softmax(x, 1)),
            "softmax backward": lambda: gradient(lambda: torch.softmax(x, 1), [x], t["gy"]),
            "cross entropy": lambda: loss, "cross entropy backward": lambda: gradient(loss, [x], t["gl"])}[name]()


def embedding(arrays, rows, cols, n, direction):
    t = _tensors(arrays)
    table, index = t["table"], t["index"]
    return _either(lambda: F.embedding(index, table), [table], t.get("gy"), direction)


def optimizer(arrays, name, sizes):
    weights = [torch.nn.Parameter(torch.from_numpy(arrays[f"w{i}"]).clone().to(device)) for i in range(len(sizes))]
    for i, w in enumerate(weights):
        w.grad = torch.from_numpy(arrays[f"g{i}"]).to(device)
    o = {"adam": lambda: torch.optim.Adam(weights, 1e-3, fused=True), "rmsprop": lambda: torch.optim.RMSprop(weights, 1e-3, foreach=True),
         "sgd momentum": lambda: torch.optim.SGD(weights, 1e-3, momentum=0.9, fused=True)}[name]()
    return o.step


def rnn(arrays, kind, n, t, i, u, direction):
    p = _tensors(arrays)
    kinds = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "simple_rnn": torch.nn.RNN}
    m = kinds[kind](i, u, batch_first=True).to(device, dtype)
    w, r, b = p["w"], p["r"], p["b"]
    if kind == "gru":  # Keras orders z r h, torch r z n
        def swap(v):
            z, g, h = v.split(u, -1)
            return torch.cat([g, z, h], -1)
        w, r, b = swap(w), swap(r), swap(b)
    with torch.no_grad():
        m.weight_ih_l0.copy_(w.mT)
        m.weight_hh_l0.copy_(r.mT)
        m.bias_ih_l0.copy_(b[0] if kind == "gru" else b)
        m.bias_hh_l0.copy_(b[1] if kind == "gru" else torch.zeros_like(b))
    x = p["x"]
    if direction == "inference":
        m.eval()

        def call():
            with torch.inference_mode():
                return m(x)[0]
        return call
    x.requires_grad_()
    sources, gy = [x, *m.parameters()], p["gy"]
    return lambda: torch.autograd.grad(m(x)[0], sources, gy)


def outputs(result, problem):
    """The arrays of a result in the layout of Keras. Of recurrent gradients, the input's alone."""
    found = []
    for i, v in enumerate(result if isinstance(result, (list, tuple)) else [result]):
        if problem.op == "rnn" and i:
            break
        if v.dim() == 4:
            if i == 0 and problem.args.get("direction") != "gw":
                v = v.permute(0, 2, 3, 1)  # an image
            elif problem.op in ("depthwise", "separable") and i == 1:
                v = v.permute(2, 3, 0, 1)
            else:
                v = v.permute(2, 3, 1, 0)
        elif problem.op == "dense" and i == 1:
            v = v.mT
        found.append(v.detach().numpy())
    return found
