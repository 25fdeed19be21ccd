"""lstm, gru and simple_rnn against float64 loops over their formulas."""

import numpy as np
import pytest

import fastnn
from check import sized
from fastnn import GradientTape, ops

EPS = np.finfo(np.float32).eps


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(z_x, states, recurrent, bias, **_):
    h, c = states
    i, f, g, o = np.split(z_x + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def gru_step(z_x, states, recurrent, bias, reset_after=True):
    h, u = states[0], len(recurrent)
    input_bias, recurrent_bias = bias if reset_after else (bias, np.zeros(3 * u))
    xz, xr, xh = np.split(z_x + input_bias, 3, axis=-1)
    hz, hr, hh = np.split(h @ recurrent + recurrent_bias, 3, axis=-1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    g = np.tanh(xh + (r * hh if reset_after else (r * h) @ recurrent[:, 2 * u:]))
    return [z * h + (1 - z) * g]


def simple_rnn_step(z_x, states, recurrent, bias, activation="tanh"):
    f = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0), "linear": lambda v: v}[activation]
    return [f(z_x + states[0] @ recurrent + bias)]


def reference(step, x, kernel, recurrent, bias, states, mask=None, return_sequences=False, go_backwards=False,
              zero_output_for_mask=False, **options):
    """(y, *last states) in float64."""
    states, ys = list(states), []
    for t in range(x.shape[1])[:: -1 if go_backwards else 1]:
        new = step(x[:, t] @ kernel, states, recurrent, bias, **options)
        on = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        states = [np.where(on, n, s) for n, s in zip(new, states)]
        ys.append(np.where(on, states[0], 0) if zero_output_for_mask else states[0])
    return [np.stack(ys, 1) if return_sequences else states[0], *states]


class Case:
    """An op with random arrays of one problem."""

    def __init__(self, name, batch, time, features, units, seed=0, scale=1.0, integers=False, **options):
        self.name, self.options = name, options
        self.op = getattr(ops, name)
        self.step = {"lstm": lstm_step, "gru": gru_step, "simple_rnn": simple_rnn_step}[name]
        self.gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[name]
        self.states = 2 if name == "lstm" else 1
        g = self.gates * units
        bias = (2, g) if name == "gru" and options.get("reset_after", True) else (g,)
        shapes = [(batch, time, features), (features, g), (units, g), bias] + self.states * [(batch, units)]
        rng = np.random.default_rng(seed)
        if integers:
            arrays = [rng.integers(-2, 3, s).astype("float64") for s in shapes]
        else:
            arrays = [rng.normal(size=s) * scale for s in shapes]
            for i in (1, 2):
                arrays[i] /= np.sqrt(features + units)
        self.arrays = [a.astype("float32").astype("float64") for a in arrays]
        self.rng = rng

    def run(self, arrays=None):
        x, kernel, recurrent, bias, *states = [
            a if isinstance(a, fastnn.Tensor) else fastnn.convert_to_tensor(a, "float32") for a in arrays or self.arrays]
        return self.op(x, kernel, recurrent, bias, states, **self.options)

    def expected(self, arrays=None):
        x, kernel, recurrent, bias, *states = arrays or self.arrays
        return reference(self.step, x, kernel, recurrent, bias, states, **self.options)

    def gradients(self, weights):
        xs = [fastnn.convert_to_tensor(a, "float32") for a in self.arrays]
        with GradientTape() as tape:
            tape.watch(xs)
            outputs = self.run(xs)
        return tape.gradient(outputs, xs, output_gradients=[fastnn.convert_to_tensor(w, "float32") for w in weights])

    def check(self):
        outputs, expected = self.run(), self.expected()
        assert len(outputs) == len(expected)
        for y, e in zip(outputs, expected):
            assert y.shape == e.shape
            np.testing.assert_allclose(y.numpy(), e, rtol=2e-5, atol=2e-5)
        self.check_gradients([self.rng.normal(size=e.shape) for e in expected])

    def check_gradients(self, weights):
        gs = self.gradients(weights)
        loss = lambda arrays: sum((y * w).sum() for y, w in zip(self.expected(arrays), weights))  # noqa: E731
        for i, g in enumerate(gs):
            a, v, eps = self.arrays[i], self.rng.normal(size=self.arrays[i].shape), 1e-6
            assert g.shape == a.shape
            shifted = [[b + s * eps * v if j == i else b for j, b in enumerate(self.arrays)] for s in (1, -1)]
            numeric = (loss(shifted[0]) - loss(shifted[1])) / (2 * eps)
            norm = np.linalg.norm(g.numpy().astype("float64")) * np.linalg.norm(v)
            assert abs((g.numpy().astype("float64") * v).sum() - numeric) <= 3e-5 * norm + 1e-6, i


OPS = [("lstm", {}), ("gru", {"reset_after": True}), ("gru", {"reset_after": False}),
       ("simple_rnn", {"activation": "tanh"}), ("simple_rnn", {"activation": "relu"}), ("simple_rnn", {"activation": "linear"})]
ids = [n + "".join(f"-{k}-{v}" for k, v in o.items()) for n, o in OPS]


@pytest.mark.parametrize("name, options", OPS, ids=ids)
@pytest.mark.parametrize("units", [1, 7, 16, 17, 33])
@pytest.mark.parametrize("batch, time", [(1, 1), (2, 2), (5, 9), (17, 2)])
def test_numbers(name, options, batch, time, units):
    Case(name, batch, time, 5, units, **options).check()
    Case(name, batch, time, 5, units, return_sequences=True, go_backwards=units == 7, **options).check()


@pytest.mark.parametrize("name, options", OPS, ids=ids)
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("zero_output_for_mask", [False, True])
def test_mask(name, options, return_sequences, go_backwards, zero_output_for_mask):
    mask = np.random.default_rng(1).random((6, 7)) < 0.6
    mask[0] = False
    mask[1] = True
    mask[2, :3] = False
    mask[3, 4:] = False
    case = Case(name, 6, 7, 3, 18, mask=mask, return_sequences=return_sequences, go_backwards=go_backwards,
                zero_output_for_mask=zero_output_for_mask, **options)
    case.check()
    for state, initial in zip(case.run()[1:], case.arrays[4:]):
        assert np.array_equal(state.numpy()[0], initial[0].astype("float32"))


@pytest.mark.parametrize("name, options", OPS, ids=ids)
def test_masked_steps_are_not_read(name, options):
    mask = np.array([[True, False, True], [True, True, False]])
    case = Case(name, 2, 3, 4, 5, mask=mask, return_sequences=True, **options)
    expected = case.run()
    case.arrays[0][~mask] = np.nan
    for y, e in zip(case.run(), expected):
        assert np.array_equal(y.numpy(), e.numpy())


# Batches and lengths from which lstm and gru compute on the tile unit, where there is one: whole and broken tiles of rows, units and features,
# chunks of one and two tiles, several chunks in a task; tests below show that all of it is independent of threads.
TILED = [("lstm", *sizes) for sizes in [(16, 16, 33, 16), (37, 8, 5, 20), (64, 5, 64, 33), (70, 4, 1, 48), (97, 3, 40, 17), (64, 9, 28, 128)]]
TILED += [("gru", *sizes) for sizes in [(16, 16, 100, 16), (37, 8, 99, 20), (70, 4, 1, 112), (97, 3, 97, 17), (64, 9, 28, 128)]]


@pytest.mark.parametrize("name, batch, time, features, units", TILED)
@pytest.mark.parametrize("return_sequences, go_backwards", [(False, False), (True, False), (True, True)])
def test_tiles(name, batch, time, features, units, return_sequences, go_backwards):
    options = dict(return_sequences=return_sequences, go_backwards=go_backwards)
    Case(name, batch, time, features, units, **options).check()
    mask = np.random.default_rng(3).random((batch, time)) < 0.7
    mask[0], mask[1] = False, True
    Case(name, batch, time, features, units, mask=mask, zero_output_for_mask=units % 2 == 1, **options).check()


@pytest.mark.parametrize("scale", [2.0**110, 2.0**-110])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_products_near_the_ends_of_the_range(name, scale):
    """Powers of two change no bit of a mantissa, also where operands leave the range of the tile unit's parts."""
    case = Case(name, 64, 16, 100, 20, return_sequences=True)
    weights = [case.rng.normal(size=t.shape) for t in case.expected()]
    expected = [t.numpy() for t in (case.run()[0], *case.gradients(weights)[:3])]
    case.arrays[0], case.arrays[1] = case.arrays[0] * scale, case.arrays[1] / scale
    found = [t.numpy() for t in (case.run()[0], *case.gradients(weights)[:3])]
    for a, b, factor in zip(found, expected, (1, 1 / scale, scale, 1)):
        assert abs(a / factor - b).max() <= 1e-5 * abs(b).max()


# What has no parts of bfloat16 takes another way: rows that are finite keep their numbers, the others give IEEE's.
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38])
@pytest.mark.parametrize("where", ["x", "kernel", "state"])
@pytest.mark.parametrize("name, features", [("lstm", 6), ("gru", 100)])
def test_tiles_without_parts(name, features, value, where):
    case = Case(name, 33, 16, features, 20, return_sequences=True)
    expected = case.run()[0].numpy()
    if where == "kernel":
        case.arrays[1][2, 3] = value
    else:
        case.arrays[0 if where == "x" else 4][(5, 0, 1)[:3 if where == "x" else 2]] = value
    with np.errstate(all="ignore"):
        reference = case.expected()[0]
    y = case.run()[0].numpy()
    np.testing.assert_allclose(y, reference, rtol=2e-5, atol=2e-5)
    if where != "kernel":
        np.testing.assert_allclose(np.delete(y, 5, 0), np.delete(expected, 5, 0), rtol=2e-5, atol=2e-5)
    gs = case.gradients([np.ones(t.shape) for t in case.expected()])
    if where == "x" and not np.isnan(value):
        assert np.isfinite(np.delete(gs[1].numpy(), 1, 0)).all()


# Large gradients vanish over many steps: parts of what is left are above the smallest normal number.
def test_tiles_of_large_and_small_gradients():
    case = Case("lstm", 32, 40, 8, 32, scale=0.3)
    weights = [case.rng.normal(size=e.shape) * 1e-8 for e in case.expected()]
    small = case.gradients(weights)
    large = case.gradients([w * 2.0**60 for w in weights])
    for a, b in zip(small, large):
        np.testing.assert_allclose(a.numpy() * 2.0**60, b.numpy(), rtol=1e-5, atol=1e-6 * np.abs(b.numpy()).max())


# simple_rnn without tanh is a sum of products: exact on integers.
@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("batch, time, features, units", [(1, 1, 1, 1), (7, 3, 5, 16), (17, 3, 17, 33), (13, 2, 3, 70)])
def test_exact(activation, batch, time, features, units):
    case = Case("simple_rnn", batch, time, features, units, integers=True, activation=activation, return_sequences=True)
    for y, e in zip(case.run(), case.expected()):
        assert np.array_equal(y.numpy(), e)


# Weights above the size that is walked through at every step: the input's part is computed ahead.
@pytest.mark.parametrize("name, options", OPS[:4], ids=ids[:4])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_large_weights(name, options, go_backwards):
    features = {"lstm": 1000, "gru": 1400, "simple_rnn": 4000}[name]
    Case(name, 7, 14, features, 65, return_sequences=True, go_backwards=go_backwards, **options).check()


# Recurrent weights that threads share by units, few rows and many; simple_rnn has one gate only.
@pytest.mark.parametrize("name, options", OPS[:4], ids=ids[:4])
@pytest.mark.parametrize("batch, units", [(1, 150), (3, 150), (26, 330)])
def test_shared_by_units(name, options, batch, units):
    units *= 2 if name == "simple_rnn" else 1
    mask = np.random.default_rng(2).random((batch, 5)) < 0.7
    Case(name, batch, 5, 9, units, return_sequences=True, **options).check()
    Case(name, batch, 5, 9, units, return_sequences=True, go_backwards=True, mask=mask, **options).check()


@pytest.mark.parametrize("name, options", OPS, ids=ids)
def test_without_bias_and_state(name, options):
    case = Case(name, 3, 4, 5, 6, **options)
    x, kernel, recurrent, *rest = case.arrays
    zeros = [np.zeros_like(a) for a in rest]
    y = case.op(x.astype("f4"), kernel.astype("f4"), recurrent.astype("f4"), **options)
    for a, b in zip(y, reference(case.step, x, kernel, recurrent, zeros[0], zeros[1:], **options)):
        np.testing.assert_allclose(a.numpy(), b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name, options", OPS[:4], ids=ids[:4])
@pytest.mark.parametrize("batch, time, features, units", [(37, 30, 20, 24), (64, 5, 300, 260), (1, 2000, 8, 8), (1, 9, 7, 150),
                                                          (5, 9, 7, 150), (70, 4, 100, 40), (20, 3, 30, 330), (130, 5, 30, 50), (600, 3, 9, 17)])
def test_threads(name, options, batch, time, features, units):
    batch, time = sized((batch, time), (min(batch, 8), min(time, 40)))
    case = Case(name, batch, time, features, units, return_sequences=True, **options)
    weights = [case.rng.normal(size=s) for s in [(batch, time, units)] + case.states * [(batch, units)]]
    before, results = fastnn.num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            fastnn.set_num_threads(threads)
            results.append([t.numpy().tobytes() for t in (*case.run(), *case.gradients(weights))])
    finally:
        fastnn.set_num_threads(before)
    assert all(r == results[0] for r in results[1:])


@pytest.mark.parametrize("name, options", OPS, ids=ids)
@pytest.mark.parametrize("units", [20, 150])
def test_rows_do_not_depend_on_each_other(name, options, units):
    case = Case(name, 13, 6, 9, units, return_sequences=True, **options)
    whole = [y.numpy() for y in case.run()]
    for row, count in ((0, 2), (5, 3), (11, 2), (0, 1), (12, 1)):
        arrays = [a if i in (1, 2, 3) else a[row:row + count] for i, a in enumerate(case.arrays)]
        for y, w in zip(case.run(arrays), whole):
            # A single row adds up in another order, and so do products on a GPU where there are few.
            np.testing.assert_allclose(y.numpy(), w[row:row + count], rtol=0, atol=sized(0, 1e-5) if count > 1 else 1e-5)


@pytest.mark.parametrize("name, options", OPS, ids=ids)
def test_empty_batch(name, options):
    case = Case(name, 0, 3, 4, 5, return_sequences=True, **options)
    y, *states = case.run()
    assert y.shape == (0, 3, 5) and all(s.shape == (0, 5) for s in states)
    gx, *gs = case.gradients([np.zeros(t.shape) for t in (y, *states)])
    assert gx.shape == (0, 3, 4)
    assert all(not g.numpy().any() for g in gs)


@pytest.mark.parametrize("name, options", OPS, ids=ids)
def test_long_sequence(name, options):
    case = Case(name, 1, sized(100_000, 2_000), 2, 3, scale=0.5, **options)
    y = case.run()[0].numpy()
    assert y.shape == (1, 3) and np.isfinite(y).all()
    gs = case.gradients([np.ones((1, 3))] * (1 + case.states))
    assert all(np.isfinite(g.numpy()).all() for g in gs)


@pytest.mark.parametrize("name, options", OPS[:4], ids=ids[:4])
def test_extreme_arguments(name, options):
    case = Case(name, 3, 2, 4, 5, **options)
    case.arrays[0][0] = 1e30
    case.arrays[0][1] = -1e30
    case.arrays[0][2, 0, 0] = np.nan
    y = case.run()[0].numpy()
    assert np.isfinite(y[:2]).all()
    assert np.isnan(y[2]).all()


BAD = [
    (lambda a: a.update(x=np.zeros((2, 0, 4), "f4")), ValueError, "at least one timestep"),
    (lambda a: a.update(x=np.zeros((2, 4), "f4")), ValueError, "x must have rank 3|x must have 3"),
    (lambda a: a.update(x=np.zeros((2, 3, 5), "f4")), ValueError, "kernel"),
    (lambda a: a.update(kernel=np.zeros((4, 7), "f4")), ValueError, "kernel"),
    (lambda a: a.update(recurrent_kernel=np.zeros((0, 0), "f4")), ValueError, "units"),
    (lambda a: a.update(recurrent_kernel=np.zeros((6, 5), "f4")), ValueError, "kernel"),
    (lambda a: a.update(bias=np.zeros((3,), "f4")), ValueError, "bias"),
    (lambda a: a.update(initial_state=[np.zeros((2, 6), "f4")] * 3), ValueError, "initial_state must have"),
    (lambda a: a.update(initial_state=[np.zeros((2, 7), "f4")] * len(a["initial_state"])), ValueError, "initial_state"),
    (lambda a: a.update(initial_state=["a"] * len(a["initial_state"])), TypeError, "str"),
    (lambda a: a.update(mask=np.ones((2, 2), bool)), ValueError, "mask"),
    (lambda a: a.update(mask=np.ones((2, 3, 1), bool)), ValueError, "mask"),
    (lambda a: a.update(mask=np.ones((2, 3), "f4")), TypeError, "mask must be bool"),
]


@pytest.mark.parametrize("name, options", OPS[:4], ids=ids[:4])
@pytest.mark.parametrize("change, error, match", BAD)
def test_errors(name, options, change, error, match):
    case = Case(name, 2, 3, 4, 6, **options)
    x, kernel, recurrent, bias, *states = [a.astype("float32") for a in case.arrays]
    arguments = dict(x=x, kernel=kernel, recurrent_kernel=recurrent, bias=bias, initial_state=states)
    change(arguments)
    with pytest.raises(error, match=match):
        case.op(**arguments, **options)


def test_unknown_activation():
    with pytest.raises(ValueError, match="activation must be one of"):
        ops.simple_rnn(np.zeros((1, 1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), activation="gelu")


# u^T H v against the float64 reference: along v by a complex step, along u by a difference.
@pytest.mark.parametrize("name, options", OPS[:4], ids=ids[:4])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("zero_output_for_mask", [False, True])
def test_second_order(name, options, return_sequences, zero_output_for_mask):
    mask = np.array([[True, False, True, True], [True, True, True, False], [True] * 4])
    case = Case(name, 3, 4, 2, 5, mask=mask, go_backwards=zero_output_for_mask, return_sequences=return_sequences,
                zero_output_for_mask=zero_output_for_mask, **options)
    weights = [case.rng.normal(size=e.shape) for e in case.expected()]
    u, v = ([case.rng.normal(size=a.shape) for a in case.arrays] for _ in range(2))

    def slope(delta, eps=1e-20):
        arrays = [a + delta * d + 1j * eps * w for a, d, w in zip(case.arrays, u, v)]
        return sum((y * w).sum() for y, w in zip(case.expected(arrays), weights)).imag / eps

    xs = [fastnn.convert_to_tensor(a, "float32") for a in case.arrays]
    ws = [fastnn.convert_to_tensor(w, "float32") for w in weights]
    with GradientTape() as outer:
        outer.watch(xs + ws)
        with GradientTape() as inner:
            inner.watch(xs)
            outputs = case.run(xs)
        g = inner.gradient(outputs, xs, output_gradients=ws)
        total = sum(ops.sum(a * d.astype("float32")) for a, d in zip(g, u))
    *h, gw = outer.gradient(total, xs + ws[:1])
    product = sum((a.numpy().astype("float64") * d).sum() for a, d in zip(h, v))
    numeric = (slope(1e-5) - slope(-1e-5)) / 2e-5
    norms = [np.sqrt(sum((a.astype("float64") ** 2).sum() for a in t)) for t in ([a.numpy() for a in h], v)]
    assert abs(product - numeric) <= 3e-5 * norms[0] * norms[1]
    ahead, behind = (case.expected([a + s * 1e-6 * d for a, d in zip(case.arrays, u)])[0] for s in (1, -1))
    np.testing.assert_allclose(gw.numpy(), (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-4)
