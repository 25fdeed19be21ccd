"""The inference problems on onnxruntime: a model of one node each, images as (n, c, h, w)."""
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

NAME = "onnxruntime"
_threads = 1


def set_threads(n):
    global _threads
    _threads = n


def describe():
    return f"onnxruntime {onnxruntime.__version__}"


def _session(node, inputs, weights=None, **attributes):
    """A call that runs one node on inputs; weights are constants of the model."""
    weights = weights or {}
    names = [k for k in (*inputs, *weights) if k]
    graph = helper.make_graph(
        [helper.make_node(node, names, ["y"], **attributes)], "g",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT if v.dtype == np.float32 else TensorProto.INT64, v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor(k, TensorProto.FLOAT, v.shape, v.tobytes(), raw=True) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads
    options.log_severity_level = 3
    run = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run
    return lambda: run(None, inputs)[0]


def _image(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def matmul(arrays, m, k, n, batch=(), ta=False, tb=False):
    return None if ta or tb else _session("MatMul", {"a": arrays["a"]}, {"b": arrays["b"]})


def conv2d(arrays, n, h, w, ic, oc, kh, kw, s, padding, direction, d=1, g=1):
    if direction != "forward":
        return None
    p, q = ((kh - 1) * d // 2, (kw - 1) * d // 2) if padding == "same" else (0, 0)
    kernel = np.ascontiguousarray(arrays["w"].transpose(3, 2, 0, 1))
    return _session("Conv", {"x": _image(arrays["x"])}, {"w": kernel}, strides=[s, s], pads=[p, q, p, q], dilations=[d, d], group=g)


def depthwise(arrays, n, size, c, k, s, padding, direction):
    if direction != "forward":
        return None
    p = k // 2 if padding == "same" else 0
    kernel = np.ascontiguousarray(arrays["w"].transpose(2, 3, 0, 1))
    return _session("Conv", {"x": _image(arrays["x"])}, {"w": kernel}, strides=[s, s], pads=[p, p, p, p], group=c)


def pool(arrays, n, size, c, k, s, kind, direction):
    if direction != "forward":
        return None
    return _session("MaxPool" if kind == "max" else "AveragePool", {"x": _image(arrays["x"])}, kernel_shape=[k, k], strides=[s, s])


def layer_norm(arrays, rows, c, direction):
    if direction != "forward":
        return None
    return _session("LayerNormalization", {"x": arrays["x"]}, {k: arrays[k] for k in ("gamma", "beta")}, axis=-1, epsilon=1e-3)


def elementwise(arrays, name, size):
    node = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "exp": "Exp", "erf": "Erf", "add": "Add", "multiply": "Mul"}.get(name)
    return node and _session(node, arrays)


def softmax(arrays, rows, cols, name):
    return _session("Softmax", {"x": arrays["x"]}, axis=-1) if name == "softmax" else None


def rnn(arrays, kind, n, t, i, u, direction):
    if direction != "inference":
        return None
    # Gates: Keras i f c o and z r h; ONNX i o f c and z r h.
    order = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "simple_rnn": (0,)}[kind]

    def gates(v):
        return np.concatenate([np.split(v, len(order), -1)[g] for g in order], -1)

    b = arrays["b"]
    bias = np.concatenate([gates(b[0]), gates(b[1])]) if kind == "gru" else np.concatenate([gates(b), np.zeros_like(b)])
    weights = {"w": gates(arrays["w"]).T[None], "r": gates(arrays["r"]).T[None], "b": bias[None]}
    weights = {k: np.ascontiguousarray(v) for k, v in weights.items()}
    extra = {"linear_before_reset": 1} if kind == "gru" else {}
    call = _session({"lstm": "LSTM", "gru": "GRU", "simple_rnn": "RNN"}[kind],
                    {"x": np.ascontiguousarray(arrays["x"].transpose(1, 0, 2))}, weights, hidden_size=u, **extra)
    return call
