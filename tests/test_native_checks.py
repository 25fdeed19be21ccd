"""The native core checks every argument itself, whoever calls it: values used as indices, devices, dtypes, sizes.

Rows are (code, expected) as in test_wrong_use.py and run in a worker process: a crash fails the row.
"""
import pytest

from test_wrong_use import Worker

# What the rows call: T(*shape) ones, M(*shape) the same without data, I(values) int64, S(values) int32.
HELPERS = '''
C = _core
def T(*s): return C.full(s, 1, "float32")
def M(*s, dtype="float32"): return C.meta(s, dtype)
def I(v): return K.convert_to_tensor(np.array(v, "int64"))
def S(v): return K.convert_to_tensor(np.array(v, "int32"))
def sgd(w, g, slots=(), m=(), lr=None, scale=None):
    C.sgd_update(w, g, list(slots), list(m), T() if lr is None else lr, 0.9, False, scale=scale)
def adam(w, g, m, v, vmax=(), slots=(), lr=None, t=None, scale=None):
    C.adam_update(w, g, list(slots), m, v, list(vmax), T() if lr is None else lr, I(1) if t is None else t,
                  0.9, 0.999, 1e-7, scale=scale)
def rms(w, g, v, mean=(), m=(), slots=(), lr=None):
    C.rmsprop_update(w, g, list(slots), v, list(mean), list(m), T() if lr is None else lr, 0.9, 0.0, 1e-7)
def key(): return K.convert_to_tensor(np.array([1, 2], "uint32"))
def options(): return C.Conv2dOptions((1, 1), (1, 1), (0, 0, 0, 0), 1)
'''

DEVICE = "ValueError: one device"

EMPTY_COLUMNS = [
    ("parts = C.coalesce(I([0, 1]), T(2, 0), 5); assert parts[3].shape == (2, 0)\n"
     "assert np.array(parts[0]).tolist() == [0, 1, -1, -1, -1] and int(np.array(parts[2])[0]) == 2", "ok"),
    ("assert C.coalesce(I([]), T(0, 0), 0)[3].shape == (0, 0)", "ok"),
    ("assert C.densify(S([0, -1]), T(1, 0)).shape == (2, 0)", "ok"),
    ("from fastnn.ops.indexed import IndexedSlices\n"
     "assert IndexedSlices(I([1]), T(1, 0), (5, 0)).to_dense().shape == (5, 0)", "ok"),
    ("from fastnn.ops.indexed import IndexedSlices\n"
     "v = K.Variable(np.zeros((5, 0), 'f')); o = K.optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0)\n"
     "o.apply([IndexedSlices(I([1, 3]), T(2, 0), (5, 0))], [v]); assert v.shape == (5, 0)", "ok"),
    ("sgd([T(5, 0)], [T(2, 0)], [S([0, 1, -1, -1, -1])]); C.squared_norms([T(2, 0)], [S([0, 1, -1])])", "ok"),
]

INDICES = [
    ("C.gather(T(3, 2), I([0, 3]), 0)", "IndexError: [gather] & indices[1]=3"),
    ("C.gather(T(3, 2), I([-1]), 0)", "IndexError: indices[0]=-1"),
    ("C.gather(T(3, 2), I([2 ** 62]), 1)", "IndexError"),
    ("C.gather_backward(T(1, 2), I([3]), (3, 2), 0)", "IndexError: [gather_backward]"),
    ("C.gather_backward(T(1, 2), I([-9]), (3, 2), 0)", "IndexError"),
    ("C.gather_elements(T(2, 3), I([[3], [0]]), 1)", "IndexError: [take_along_axis]"),
    ("C.gather_elements_backward(T(2, 1), I([[0], [-1]]), (2, 3), 1)", "IndexError: indices[1]=-1"),
    ("C.coalesce(I([0, 5]), T(2, 2), 5)", "IndexError: [coalesce] & indices[1]=5"),
    ("C.coalesce(I([-2 ** 40]), T(1, 2), 5)", "IndexError"),
    ("C.coalesce(I([0]), T(1, 2), 0)", "IndexError"),
    ("C.densify(S([0, 1]), T(1, 2))", "IndexError: [densify] & row_slot[1]=1"),
    ("C.densify(S([-2]), T(1, 2))", "IndexError"),
    ("sgd([T(2, 2)], [T(1, 2)], [S([0, 1])])", "IndexError: [sgd_update]"),
    ("sgd([T(2, 2)], [T(1, 2)], [S([-5, 0])])", "IndexError"),
    ("adam([T(2, 2)], [T(1, 2)], [T(2, 2)], [T(2, 2)], slots=[S([7, 0])])", "IndexError: [adam_update]"),
    ("rms([T(2, 2)], [T(1, 2)], [T(2, 2)], slots=[S([7, 0])])", "IndexError: [rmsprop_update]"),
    ("C.squared_norms([T(1, 2)], [S([0, 1])])", "IndexError: [squared_norms]"),
    ("w = T(3); sg = T(2, 2)\ntry: sgd([w, sg], [T(3), T(1, 2)], [None, S([0, 9])])\n"
     "except IndexError: assert np.array(w).tolist() == [1, 1, 1]; raise", "IndexError"),
    *((f"C.sparse_categorical_crossentropy_forward(I([0, {bad}]), T(2, 3), {logits})", f"ValueError: label[1]={bad}")
      for bad in (3, -1, 10 ** 9) for logits in (True, False)),
    *((f"C.sparse_categorical_crossentropy_backward(I([0, {bad}]), T(2, 3), {stats}, T(2))", f"ValueError: label[1]={bad}")
      for bad in (3, -1, 10 ** 9) for stats in ("[]", "[T(2, 2)]")),
    *((f"C.ctc_forward(I([[{label}, 9]]), I([{m}]), I([{n}]), T(1, 4, 3), {blank})", f"ValueError: {text}")
      for label, m, n, blank, text in ((3, 1, 4, 0, "target[0, 0]=3"), (-1, 1, 4, 0, "target[0, 0]=-1"), (1, 2, 4, 0, "target[0, 1]=9"),
                                       (1, 3, 4, 0, "target_length[0]=3"), (1, -1, 4, 0, "target_length[0]=-1"),
                                       (1, 1, 5, 0, "output_length[0]=5"), (1, 1, -1, 0, "output_length[0]=-1"),
                                       (1, 1, 4, 3, "mask_index=3"), (1, 1, 4, -1, "mask_index=-1"))),
    ("C.ctc_backward(I([[3]]), I([1]), I([4]), T(1, 4, 3), T(1, 4, 5), T(1), 0)", "ValueError: target[0, 0]=3"),
    ("C.ctc_backward(I([[1]]), I([1]), I([9]), T(1, 4, 3), T(1, 4, 5), T(1), 0)", "ValueError: output_length[0]=9"),
    ("C.ctc_backward(I([[1]]), I([1]), I([4]), T(1, 4, 3), T(1, 4, 4), T(1), 0)", "ValueError: [ctc_loss] alpha"),
    ("C.ctc_backward(I([[1]]), I([1]), I([4]), T(1, 4, 3), T(1, 4, 5), T(2), 0)", "ValueError: [ctc_loss] gy"),
    ("C.ctc_forward(I([[1]]), I([1, 1]), I([4]), T(1, 4, 3), 0)", "ValueError: target_length"),
    ("C.ctc_forward(S([[1]]), I([1]), I([4]), T(1, 4, 3), 0)", "TypeError: int64"),
    ("C.ctc_forward(I([[1]]), I([1]), I([4]), T(4, 3), 0)", "ValueError: output"),
    ("y, alpha = C.ctc_forward(I(np.zeros((0, 2))), I([]), I([]), T(0, 4, 3), 0); assert y.shape == (0,)\n"
     "assert C.ctc_backward(I(np.zeros((0, 2))), I([]), I([]), T(0, 4, 3), alpha, T(0), 0).shape == (0, 4, 3)", "ok"),
    ("y, alpha = C.ctc_forward(I(np.zeros((1, 0))), I([0]), I([0]), T(1, 0, 3), 0); assert float(np.asarray(y)[0]) == 0\n"
     "assert C.ctc_backward(I(np.zeros((1, 0))), I([0]), I([0]), T(1, 0, 3), alpha, T(1), 0).shape == (1, 0, 3)", "ok"),
]

DEVICES = [(code, DEVICE) for code in (
    "C.gather(M(3, 2), I([0]), 0)", "C.gather(T(3, 2), M(1, dtype='int64'), 0)",
    "C.gather_backward(T(1, 2), M(1, dtype='int64'), (3, 2), 0)", "C.gather_backward(M(1, 2), I([0]), (3, 2), 0)",
    "C.gather_elements(T(2, 3), M(2, 1, dtype='int64'), 1)",
    "C.gather_elements_backward(T(2, 1), M(2, 1, dtype='int64'), (2, 3), 1)",
    "C.coalesce(M(2, dtype='int64'), T(2, 2), 5)", "C.coalesce(I([0, 1]), M(2, 2), 5)",
    "C.densify(M(2, dtype='int32'), T(1, 2))", "C.densify(S([0]), M(1, 2))",
    "C.softmax_backward(T(2, 3), M(2, 3))", "C.softmax_backward(M(2, 3), T(2, 3))", "C.log_softmax_backward(T(2, 3), M(2, 3))",
    "C.categorical_crossentropy_forward(M(2, 3), T(2, 3), True)",
    "C.categorical_crossentropy_backward(T(2, 3), T(2, 3), [M(2, 2)], T(2))",
    "C.categorical_crossentropy_backward(T(2, 3), T(2, 3), [], M(2))",
    "C.sparse_categorical_crossentropy_forward(M(2, dtype='int64'), T(2, 3), True)",
    "C.sparse_categorical_crossentropy_backward(M(2, dtype='int64'), T(2, 3), [], T(2))",
    "C.sparse_categorical_crossentropy_backward(I([0, 1]), T(2, 3), [M(2, 2)], T(2))",
    "C.sparse_categorical_crossentropy_backward(I([0, 1]), T(2, 3), [], M(2))",
    "C.ctc_forward(M(1, 1, dtype='int64'), I([1]), I([4]), T(1, 4, 3), 0)", "C.ctc_forward(I([[1]]), I([1]), I([4]), M(1, 4, 3), 0)",
    "C.ctc_backward(I([[1]]), I([1]), I([4]), T(1, 4, 3), M(1, 4, 5), T(1), 0)",
    "C.ctc_backward(I([[1]]), I([1]), I([4]), T(1, 4, 3), T(1, 4, 5), M(1), 0)",
    "C.binary_crossentropy_forward(M(2), T(2), True)", "C.binary_crossentropy_backward(T(2), T(2), M(2), True)",
    "sgd([T(2)], [M(2)])", "sgd([M(2)], [T(2)])", "sgd([T(2)], [T(2)], lr=M())", "sgd([T(2)], [T(2)], m=[M(2)])",
    "sgd([T(2)], [T(2)], scale=M(1))", "sgd([T(2, 2)], [T(1, 2)], [M(2, dtype='int32')])",
    "adam([T(2)], [T(2)], [T(2)], [M(2)])", "adam([T(2)], [T(2)], [T(2)], [T(2)], t=M(dtype='int64'))",
    "adam([T(2)], [T(2)], [T(2)], [T(2)], vmax=[M(2)])", "rms([T(2)], [T(2)], [M(2)])", "rms([T(2)], [T(2)], [T(2)], mean=[M(2)])",
    "C.squared_norms([T(2), M(2)], [])", "C.squared_norms([T(1, 2)], [M(2, dtype='int32')])",
    "C.dropout(M(2, dtype='uint32'), T(3), 0.5)", "C.dropout(key(), M(3), 0.5)",
    "C.pad(T(2), [1], [1], M())", "C.pad(M(2), [1], [1], T())", "C.concatenate([T(2), M(2)], 0)",
    "C.slice_update(T(3), M(2), [0], [1])", "C.matmul(T(2, 2), T(2, 2), M(2), False, False, 0)",
    "C.conv2d_forward(T(1, 3, 3, 1), T(2, 2, 1, 1), M(1), options(), 0)",
    "C.conv2d_backward_input(T(1, 2, 2, 1), T(2, 2, 1, 1), M(1), (3, 3), options(), 0)",
    "C.conv2d_backward_weights(T(1, 3, 3, 1), M(1, 2, 2, 1), (2, 2), options())",
    "C.batch_norm_inference(T(2, 3), T(3), M(3), None, None, 1e-3)", "C.batch_norm_forward(T(2, 3), M(3), None, 1e-3)",
    "C.layer_norm_forward(T(2, 3), M(3), None, 1, 1e-3)", "C.moving_average(T(2), M(2), 0.9)",
    "C.lstm_forward(T(1, 2, 3), T(3, 4), T(1, 4), M(4), None, None, None, C.RnnOptions())",
    "C.max_pool2d_take(T(1, 2, 2, 1), M(1, 1, 1, 1, dtype='uint8'), (2, 2), (2, 2), (0, 0, 0, 0))",
    "C.epilogue_backward(1, T(2, 2), M(2, 2), True)",
)] + [
    ("assert C.squared_norms([M(2), M(3)], []).device == 'meta'; sgd([M(2)], [M(2)], lr=M())", "ok"),
    ("assert C.gather(M(3, 2), M(4, dtype='int64'), 0).shape == (4, 2)", "ok"),
    ("assert C.sparse_categorical_crossentropy_forward(M(2, dtype='int64'), M(2, 3), True)[0].shape == (2,)", "ok"),
    ("x = K.Input((4,), dtype='int32'); y = L.Dense(3)(L.Embedding(5, 2)(x)); assert y.shape == (None, 4, 3)", "ok"),
]

OTHERS = [
    ("C.ceiling_fma(0, 1)", "ValueError: [ceiling_fma] & chunks=0"),
    ("C.ceiling_fma(1, 10 ** 12)", "ValueError: [ceiling_fma] & steps"),
    ("C.ceiling_copy(T(32), 3, 1)", "ValueError: [ceiling] & multiple of 16"),
    ("C.ceiling_copy(T(32), 2, 0)", "ValueError: [ceiling] & repeats=0"),
    ("C.ceiling_triad(T(32), T(16), 2, 1)", "ValueError: [ceiling_triad] z"),
    ("x = C.full((64,), 2, 'float32'); y = C.ceiling_triad(x, x, 2, 3); assert (np.asarray(y) == 8).all()", "ok"),
    ("x = C.full((64,), 2, 'float32'); y = C.ceiling_copy(x, 2, 3); assert (np.asarray(y) == 2).all()", "ok"),
    ("y = np.asarray(C.ceiling_fma(3, 5)); assert y.shape == (3,) and np.isfinite(y).all()", "ok"),
    ("C.categorical_crossentropy_backward(T(2, 3), T(2, 3), [K.convert_to_tensor(np.zeros((2, 2), 'int8'))], T(2))",
     "TypeError: stats must be float32"),
    ("C.sparse_categorical_crossentropy_backward(I([0, 1]), T(2, 3), [K.convert_to_tensor(np.zeros((2, 2), 'int8'))], T(2))",
     "TypeError: stats must be float32"),
    ("x = T(2 ** 62, 0); C.concatenate([x, x, x], 0)", "ValueError: [concatenate] & 63 bits"),
    ("T(2).__dlpack__(dl_device=5)", "TypeError: dl_device"),
    ("T(2).__dlpack__(dl_device=[1, 0])", "TypeError: dl_device"),
    ("T(2).__dlpack__(dl_device=(1,))", "TypeError"),
    ("T(2).__dlpack__(dl_device=(1, 0)); T(2).__dlpack__(dl_device=None)", "ok"),
]


@pytest.fixture(scope="module")
def worker():
    w = Worker()
    yield w
    w.close()


@pytest.mark.parametrize("code,expected", EMPTY_COLUMNS + INDICES + DEVICES + OTHERS,
                         ids=lambda v: v[:90].replace("\n", "; ") if isinstance(v, str) else None)
def test_native_check(worker, code, expected):
    answer = worker.run(HELPERS + code)
    kind, _, words = expected.partition(": ")
    assert answer["type"] == kind, answer.get("trace", "no error was raised")
    for word in words.split(" & ") if words else ():
        assert word in answer["message"], answer["message"]


# Each case: tensors that are valid together, the call, and the tensors whose values are indices with their limits.
MUTATIONS = '''
rng = np.random.default_rng(SEED)
CASES = [
    (lambda: [T(5, 3), I([0, 4, 2])], lambda x, i: C.gather(x, i, 0), {1: (0, 5)}),
    (lambda: [T(2, 5, 3), I([[0, 4], [1, 2]])], lambda x, i: C.gather(x, i, 1), {1: (0, 5)}),
    (lambda: [T(3, 2), I([0, 4, 2])], lambda g, i: C.gather_backward(g, i, (5, 2), 0), {1: (0, 5)}),
    (lambda: [T(2, 5), I([[0, 4], [1, 2]])], lambda x, i: C.gather_elements(x, i, 1), {1: (0, 5)}),
    (lambda: [T(2, 2), I([[0, 4], [1, 2]])], lambda g, i: C.gather_elements_backward(g, i, (2, 5), 1), {1: (0, 5)}),
    (lambda: [I([1, 1, 4]), T(3, 2)], lambda i, v: C.coalesce(i, v, 5), {0: (0, 5)}),
    (lambda: [S([0, -1, 1]), T(2, 4)], lambda s, v: C.densify(s, v), {0: (-1, 2)}),
    (lambda: [T(3, 4), T(2, 4), S([0, -1, 1]), T(3, 4), T(), T(1)],
     lambda w, g, s, m, lr, c: sgd([w], [g], [s], [m], lr, c), {2: (-1, 2)}),
    (lambda: [T(3, 4), T(2, 4), S([0, -1, 1]), T(3, 4), T(3, 4), T(3, 4), T(), I(1), T(1)],
     lambda w, g, s, m, v, x, lr, t, c: adam([w], [g], [m], [v], [x], [s], lr, t, c), {2: (-1, 2)}),
    (lambda: [T(3, 4), T(2, 4), S([0, -1, 1]), T(3, 4), T(3, 4), T(3, 4), T()],
     lambda w, g, s, v, a, m, lr: rms([w], [g], [v], [a], [m], [s], lr), {2: (-1, 2)}),
    (lambda: [T(2, 4), S([0, -1, 1]), T(3, 3), S([-1, 2])],
     lambda g, s, h, r: C.squared_norms([g, h], [s, r]), {1: (-1, 2), 3: (-1, 3)}),
    (lambda: [I([0, 2, 1]), T(3, 3)], lambda l, x: C.sparse_categorical_crossentropy_forward(l, x, True), {0: (0, 3)}),
    (lambda: [I([0, 2, 1]), T(3, 3)], lambda l, x: C.sparse_categorical_crossentropy_forward(l, x, False), {0: (0, 3)}),
    (lambda: [I([0, 2, 1]), T(3, 3), T(3, 2), T(3)],
     lambda l, x, s, g: C.sparse_categorical_crossentropy_backward(l, x, [s], g), {0: (0, 3)}),
    (lambda: [T(3, 3), T(3, 3), T(3, 2), T(3)], lambda t, x, s, g: C.categorical_crossentropy_backward(t, x, [s], g), {}),
    (lambda: [T(4), T(4), T(4)], lambda t, x, g: C.binary_crossentropy_backward(t, x, g, True), {}),
    (lambda: [T(3, 3), T(3, 3)], C.softmax_backward, {}),
    (lambda: [key(), T(9)], lambda k, x: C.dropout(k, x, 0.5), {}),
    (lambda: [T(3, 2), T()], lambda x, v: C.pad(x, [1, 0], [2, 3], v), {}),
    (lambda: [T(1, 3, 3, 1), T(2, 2, 1, 2), T(2)], lambda x, w, b: C.conv2d_forward(x, w, b, options(), 0), {}),
]
for make, call, _ in CASES:
    call(*make())
for _ in range(600):
    make, call, limits = CASES[rng.integers(len(CASES))]
    tensors = make()
    if limits and rng.random() < 0.6:
        k = int(rng.choice(list(limits)))
        low, high = limits[k]
        values = np.array(tensors[k])
        wide = values.dtype == np.int64
        far = int(rng.integers(0, 2 ** (62 if rng.random() < 0.5 else 40) if wide else 2 ** 30))
        near = int(rng.integers(0, 4))
        distance = near if rng.random() < 0.5 else far
        values.flat[rng.integers(values.size)] = low - 1 - distance if rng.random() < 0.5 else high + distance
        tensors[k] = K.convert_to_tensor(values)
        expected = (IndexError, ValueError)
    else:
        chosen = rng.permutation(len(tensors))[:rng.integers(1, len(tensors))]
        for k in chosen:
            tensors[k] = C.meta(tensors[k].shape, tensors[k].dtype)
        expected = ValueError
    try:
        call(*tensors)
    except expected:
        continue
    raise AssertionError(f"accepted: {[(t.device, np.array(t) if t.device == 'cpu' else t.shape) for t in tensors]}")
'''


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_calls_raise(worker, seed):
    answer = worker.run(HELPERS + MUTATIONS.replace("SEED", str(seed)))
    assert answer["type"] == "ok", answer.get("trace")
