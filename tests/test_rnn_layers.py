"""Recurrent layers, their cells and wrappers: the kernel against the loop over cells, states, masks, configs."""

import numpy as np
import pytest

from fastnn import GradientTape, Input, Model, Sequential, convert_to_tensor, layers, ops

RNG = np.random.default_rng(0)
LAYERS = [
    (layers.LSTM, layers.LSTMCell, {}),
    (layers.GRU, layers.GRUCell, {}),
    (layers.GRU, layers.GRUCell, {"reset_after": False}),
    (layers.GRU, layers.GRUCell, {"use_bias": False}),
    (layers.SimpleRNN, layers.SimpleRNNCell, {}),
    (layers.SimpleRNN, layers.SimpleRNNCell, {"activation": "relu"}),
]
ids = [f"{layer.__name__}{'-'.join(f'{k}={v}' for k, v in o.items())}" for layer, _, o in LAYERS]


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def randomize(layer):
    layer.set_weights([normal(*w.shape) * 0.5 for w in layer.get_weights()])


def same(a, b, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


# ---- the kernel and the loop give the same numbers and gradients ----


@pytest.mark.parametrize("layer, cell, options", LAYERS, ids=ids)
@pytest.mark.parametrize("run", [
    {}, {"return_sequences": True}, {"go_backwards": True, "return_sequences": True}, {"return_state": True},
    {"return_sequences": True, "return_state": True, "zero_output_for_mask": True}])
@pytest.mark.parametrize("masked", [False, True])
def test_layer_is_loop_over_cell(layer, cell, options, run, masked):
    x = normal(4, 6, 3)
    mask = None
    if masked:
        mask = RNG.random((4, 6)) < 0.6
        mask[0] = False
    fused, loop = layer(5, **options, **run), layers.RNN(cell(5, **options), **run)
    fused.build(x.shape), loop.build(x.shape)
    randomize(fused)
    loop.set_weights(fused.get_weights())
    states = [normal(4, 5) for _ in fused.state_size]
    results = []
    for one in (fused, loop):
        tx = convert_to_tensor(x)
        with GradientTape() as tape:
            tape.watch(tx)
            outputs = one(tx, initial_state=states, mask=mask)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = sum(ops.sum(ops.square(y) * (i + 1)) for i, y in enumerate(outputs))
        results.append((outputs, tape.gradient(loss, [tx, *one.trainable_variables])))
    for a, b in zip(*results):
        assert len(a) == len(b)
        for p, q in zip(a, b):
            assert p.shape == q.shape
            p, q = np.asarray(p), np.asarray(q)
            size = max(1.0, np.abs(q).max())  # of the largest: gradients are sums that may cancel
            same(p / size, q / size, 2e-5)


@pytest.mark.parametrize("layer, options", [
    (layers.LSTM, {"activation": "relu"}), (layers.LSTM, {"recurrent_activation": "hard_sigmoid"}),
    (layers.GRU, {"activation": None}), (layers.SimpleRNN, {"activation": "sigmoid"}),
    (layers.LSTM, {"dtype": "float64"})])
def test_other_arguments_run_the_loop(layer, options):
    x = normal(2, 3, 4)
    one = layer(5, return_sequences=True, **options)
    assert one(x).shape == (2, 3, 5)
    assert one._kernel() is None or options.get("dtype") == "float64"


def test_loop_numbers():
    one = layers.SimpleRNN(3, activation="sigmoid")
    x = normal(2, 4, 5)
    one.build(x.shape)
    randomize(one)
    kernel, recurrent, bias = (w.astype("float64") for w in one.get_weights())
    h = np.zeros((2, 3))
    for t in range(4):
        h = 1 / (1 + np.exp(-(x[:, t] @ kernel + h @ recurrent + bias)))
    same(one(x), h)


# ---- weights ----


@pytest.mark.parametrize("make, options, shapes", [
    (layers.LSTM, {}, [(3, 16), (4, 16), (16,)]), (layers.GRU, {}, [(3, 12), (4, 12), (2, 12)]),
    (layers.GRU, {"reset_after": False}, [(3, 12), (4, 12), (12,)]), (layers.SimpleRNN, {}, [(3, 4), (4, 4), (4,)]),
    (layers.LSTM, {"use_bias": False}, [(3, 16), (4, 16)])])
def test_weights(make, options, shapes):
    layer = make(4, **options)
    layer.build((None, None, 3))
    assert [w.shape for w in layer.weights] == shapes
    assert [w.name for w in layer.weights] == ["kernel", "recurrent_kernel", "bias"][: len(shapes)]
    recurrent = layer.get_weights()[1].astype("float64")
    same(recurrent @ recurrent.T, np.eye(4))
    if layer.use_bias and isinstance(layer, layers.LSTM):
        assert layer.get_weights()[2].tolist() == [0] * 4 + [1] * 4 + [0] * 8


def test_forget_bias():
    layer = layers.LSTM(2, unit_forget_bias=False, bias_initializer="ones")
    layer.build((None, None, 1))
    assert layer.get_weights()[2].tolist() == [1] * 8


def test_regularizers_and_constraints_reach_the_weights():
    layer = layers.GRU(2, kernel_regularizer="l2", recurrent_constraint="unit_norm", activity_regularizer="l1")
    layer(normal(2, 3, 4))
    assert layer.weights[0].regularizer is not None and layer.weights[1].constraint is not None
    assert len(layer.losses) == 2


# ---- states ----


def test_initial_state_is_used_and_returned():
    layer = layers.LSTM(4, return_state=True)
    x, h, c = normal(2, 3, 5), normal(2, 4), normal(2, 4)
    y, h1, c1 = layer(x, initial_state=[h, c])
    assert np.array_equal(y, h1)
    half_h, half_c = layer(x[:, :2], initial_state=[h, c])[1:]
    y2, h2, c2 = layer(x[:, 2:], initial_state=[half_h, half_c])
    same(h1, h2, 1e-6)
    same(c1, c2, 1e-6)


@pytest.mark.parametrize("make", [lambda **o: layers.GRU(4, **o), lambda **o: layers.LSTM(4, **o),
                                  lambda **o: layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)], **o)])
def test_stateful(make):
    layer, x = make(stateful=True), normal(2, 6, 3)
    layer.build((2, 3, 3))
    plain = make()
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    layer(x[:, :3])
    same(layer(x[:, 3:]), plain(x))
    layer.reset_state()
    same(layer(x), plain(x))
    assert len(layer.weights) == len(plain.weights)
    with pytest.raises(ValueError, match="batches of the size"):
        layer(x[:1])


def test_stateful_needs_a_batch_size():
    with pytest.raises(ValueError, match="must know the batch size"):
        layers.LSTM(3, stateful=True)(Input((4, 5)))


def test_get_initial_state():
    assert [s.shape for s in layers.LSTM(3).get_initial_state(2)] == [(2, 3), (2, 3)]
    assert [s.shape for s in layers.GRUCell(3).get_initial_state(2)] == [(2, 3)]


def test_encoder_decoder():
    source, target = Input((None, 3)), Input((None, 2))
    _, h, c = layers.LSTM(4, return_state=True)(source)
    y = layers.LSTM(4, return_sequences=True)(target, initial_state=[h, c])
    model = Model([source, target], y)
    assert y.shape == (None, None, 4)
    a, b = normal(2, 5, 3), normal(2, 7, 2)
    encoder, decoder = (layer for layer in model.layers if isinstance(layer, layers.LSTM))
    encoded = encoder(a)[1:]
    same(model([a, b]), decoder(b, initial_state=list(encoded)))


# ---- masks ----


def test_masking():
    x = normal(3, 5, 2)
    x[0, 3:] = 0
    x[1, 0] = 0
    x[2] = 0
    model = Sequential([layers.Masking(), layers.LSTM(4, return_sequences=True), layers.GRU(3)])
    mask = (x != 0).any(-1)
    y = model(x)
    lstm, gru = model.layers[1:]
    sequence = lstm(x, mask=mask)
    same(y, gru(sequence, mask=mask))
    assert np.array_equal(sequence.numpy()[0, 3:], np.repeat(sequence.numpy()[0, 2:3], 2, 0))
    assert not y.numpy()[2].any()
    assert np.array_equal(layers.Masking(mask_value=7.0).compute_mask(np.full((1, 2, 3), 7.0)), [[False, False]])


def test_mask_of_outputs():
    mask = convert_to_tensor(np.array([[True, False]]))
    assert layers.LSTM(2).compute_mask(None, mask) is None
    assert layers.LSTM(2, return_sequences=True).compute_mask(None, mask) is mask
    assert layers.LSTM(2, return_sequences=True, return_state=True).compute_mask(None, mask) == [mask, None, None]
    assert layers.Bidirectional(layers.LSTM(2, return_sequences=True)).compute_mask(None, mask) is mask


# ---- dropout ----


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"dropout": 0.3, "recurrent_dropout": 0.3}])
def test_dropout(layer, options):
    x = normal(4, 5, 6)
    one = layer(8, seed=1, **options)
    plain = layer(8)
    inference = one(x)
    plain.build(x.shape)
    plain.set_weights(one.get_weights())
    assert np.array_equal(inference, plain(x))
    first, second = one(x, training=True), one(x, training=True)
    assert not np.array_equal(first, inference) and not np.array_equal(first, second)
    again = layer(8, seed=1, **options)
    again.build(x.shape)
    again.set_weights(one.get_weights())
    assert np.array_equal(again(x, training=True), first)


def test_dropout_drops_the_same_inputs_at_every_step():
    layer = layers.SimpleRNN(6, activation="linear", dropout=0.5, seed=3, return_sequences=True)
    layer.build((None, None, 6))
    layer.set_weights([np.eye(6), np.zeros((6, 6)), np.zeros(6)])
    y = layer(np.ones((3, 4, 6), "f4"), training=True).numpy()
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1]).all()


# ---- RNN over any cell ----


class Doubling:
    """A cell that is no layer, with an output unlike its state."""

    state_size = 2
    output_size = 3

    def __call__(self, inputs, states):
        h = states[0] + inputs
        return ops.concatenate([h, h[:, :1]], axis=-1), [h]

    call = __call__


def test_rnn_of_any_cell():
    x = normal(2, 4, 2)
    y, h = layers.RNN(Doubling(), return_state=True)(x)
    same(h, x.sum(1))
    same(y, np.concatenate([x.sum(1), x.sum(1)[:, :1]], -1))
    mask = np.array([[False, True, True, False], [False, False, True, True]])
    y = layers.RNN(Doubling(), return_sequences=True)(x, mask=mask).numpy()
    assert not y[0, 0].any()
    assert np.array_equal(y[0, 3], y[0, 2])


def test_stacked_cells():
    x = normal(3, 4, 5)
    stack = layers.RNN([layers.LSTMCell(6), layers.GRUCell(7), layers.SimpleRNNCell(8)], return_sequences=True, return_state=True)
    y, lstm_state, gru_state, rnn_state = stack(x)
    assert y.shape == (3, 4, 8) and [s.shape for s in lstm_state] == [(3, 6), (3, 6)]
    one, two, three = (layer(n, return_sequences=True) for layer, n in ((layers.LSTM, 6), (layers.GRU, 7), (layers.SimpleRNN, 8)))
    for layer, shape in ((one, x.shape), (two, (3, 4, 6)), (three, (3, 4, 7))):
        layer.build(shape)
    weights = stack.get_weights()
    one.set_weights(weights[:3]), two.set_weights(weights[3:6]), three.set_weights(weights[6:])
    same(y, three(two(one(x))))


def test_cell_in_a_model():
    x, h, c = Input((3,)), Input((4,)), Input((4,))
    y, states = layers.LSTMCell(4)(x, [h, c])
    model = Model([x, h, c], [y, *states])
    assert [tuple(t.shape) for t in model([normal(2, 3), normal(2, 4), normal(2, 4)])] == [(2, 4)] * 3


# ---- Bidirectional ----


@pytest.mark.parametrize("layer, options", [(layers.LSTM, {}), (layers.GRU, {}), (layers.SimpleRNN, {})])
@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_bidirectional(layer, options, mode, return_sequences):
    x = normal(3, 5, 4)
    both = layers.Bidirectional(layer(6, return_sequences=return_sequences), merge_mode=mode)
    y = both(x)
    forward, backward = (layer(6, return_sequences=return_sequences) for _ in range(2))
    forward.build(x.shape), backward.build(x.shape)
    weights = both.get_weights()
    forward.set_weights(weights[: len(weights) // 2]), backward.set_weights(weights[len(weights) // 2:])
    a, b = forward(x).numpy(), backward(x[:, ::-1]).numpy()
    if return_sequences:
        b = b[:, ::-1]
    expected = {"concat": lambda: np.concatenate([a, b], -1), "sum": lambda: a + b, "mul": lambda: a * b,
                "ave": lambda: (a + b) / 2, None: lambda: (a, b)}[mode]()
    symbolic = both(Input((5, 4)))
    if mode is None:
        same(y[0], expected[0]), same(y[1], expected[1])
        assert [s.shape[1:] for s in symbolic] == [v.shape[1:] for v in expected]
    else:
        same(y, expected)
        assert symbolic.shape[1:] == expected.shape[1:]


def test_bidirectional_states_and_mask():
    x, mask = normal(2, 4, 3), np.array([[True, True, False, False], [True, True, True, True]])
    both = layers.Bidirectional(layers.LSTM(5, return_sequences=True, return_state=True))
    y, h, c, bh, bc = both(x, mask=mask)
    assert not y.numpy()[0, 2:].any()  # masked steps are 0
    short = both(x[:1, :2])
    same(y[:1, :2], short[0])
    same(h[:1], short[1])
    same(bh[:1], short[3])
    again = both(x, initial_state=[h, c, bh, bc])
    assert again[0].shape == (2, 4, 10)
    assert both(Input((4, 3)))[4].shape == (None, 5)


def test_bidirectional_errors():
    with pytest.raises(ValueError, match="different directions"):
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2))
    with pytest.raises(ValueError, match="the same return_sequences"):
        layers.Bidirectional(layers.LSTM(2), backward_layer=layers.LSTM(2, go_backwards=True, return_sequences=True))
    with pytest.raises(ValueError, match="merge_mode"):
        layers.Bidirectional(layers.LSTM(2), merge_mode="max")
    with pytest.raises(ValueError, match="must be a Layer"):
        layers.Bidirectional("lstm")


# ---- TimeDistributed ----


def test_time_distributed():
    x = normal(2, 5, 3, 4)
    dense = layers.TimeDistributed(layers.Dense(6))
    same(dense(x), dense.layer(x))
    lstm = layers.TimeDistributed(layers.LSTM(6))
    y = lstm(x).numpy()
    for t in range(5):
        same(y[:, t], lstm.layer(x[:, t]))
    assert lstm(Input((None, 3, 4))).shape == (None, None, 6)
    with pytest.raises(ValueError, match="at least 3 axes"):
        dense(normal(2, 3))


def test_time_distributed_batch_normalization_sees_each_step():
    layer, x = layers.TimeDistributed(layers.BatchNormalization(momentum=0.5)), normal(8, 3, 4)
    y = layer(x, training=True).numpy()
    same(y.mean(0), np.zeros((3, 4)))
    mean = np.zeros(4)
    for t in range(3):
        mean = 0.5 * mean + 0.5 * x[:, t].mean(0)
    same(layer.layer.moving_mean, mean)


# ---- configs ----


@pytest.mark.parametrize("make", [
    lambda: layers.LSTM(3, activation="relu", dropout=0.2, seed=5, return_sequences=True, kernel_regularizer="l2", name="a"),
    lambda: layers.GRU(3, reset_after=False, go_backwards=True, recurrent_dropout=0.1),
    lambda: layers.SimpleRNN(2, activation="linear", unroll=True),
    lambda: layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], return_state=True),
    lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"),
    lambda: layers.TimeDistributed(layers.Dense(3)), lambda: layers.Masking(mask_value=2.0)])
def test_config(make):
    layer = make()
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    x = normal(2, 4, 3)
    layer(x), again(x)
    again.set_weights(layer.get_weights())
    for a, b in zip(_flat(layer(x)), _flat(again(x))):
        assert np.array_equal(a, b)


def _flat(x):
    return [y for part in x for y in _flat(part)] if isinstance(x, (list, tuple)) else [x]


# ---- training ----


def test_training():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (256, 8, 1)).astype("float32")
    y = (x.sum((1, 2)) > 4).astype("float32")
    model = Sequential([
        layers.Bidirectional(layers.GRU(16, return_sequences=True)), layers.LSTM(16, return_sequences=True), layers.GRU(1)])
    model.compile("adam", "mse")
    history = model.fit(x, y, epochs=15, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


# ---- errors ----


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3"])
def test_units(layer, units):
    with pytest.raises(ValueError, match="units must be a positive integer"):
        layer(units)


BAD = [
    (lambda layer: layer(np.zeros((2, 0, 3), "f4")), ValueError, "at least one timestep"),
    (lambda layer: layer(np.zeros((2, 3), "f4")), ValueError, "ndim=3"),
    (lambda layer: layer(np.zeros((2, 4, 9), "f4")), ValueError, "axis|features"),
    (lambda layer: layer(np.zeros((2, 4, 3), "f4"), initial_state=[np.zeros((2, 5), "f4")] * 3), ValueError, "initial_state must have"),
    (lambda layer: layer(np.zeros((2, 4, 3), "f4"), initial_state=[np.zeros((2, 6), "f4")] * len(layer.state_size)), ValueError,
     "initial_state must have shape"),
    (lambda layer: layer(np.zeros((2, 4, 3), "f4"), mask=np.ones((2, 5), bool)), ValueError, "mask"),
    (lambda layer: layer(np.zeros((2, 4, 3), "f4"), mask=np.ones((2, 4), "f4")), TypeError, "mask must be bool"),
]


@pytest.mark.parametrize("make", [lambda: layers.LSTM(5), lambda: layers.GRU(5), lambda: layers.SimpleRNN(5), lambda: layers.LSTM(5, activation="relu")])
@pytest.mark.parametrize("call, error, match", BAD)
def test_bad_calls(make, call, error, match):
    layer = make()
    layer.build((None, None, 3))
    before = layer.get_weights()
    with pytest.raises(error, match=match):
        call(layer)
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights()))
    assert layer(np.zeros((0, 4, 3), "f4")).shape == (0, 5)


def test_bad_arguments():
    for options in ({"dropout": 1.5}, {"dropout": -0.1}, {"recurrent_dropout": float("nan")}, {"use_cudnn": "yes"}, {"unit": 3}):
        with pytest.raises(ValueError):
            layers.LSTM(3, **options)
    with pytest.raises(ValueError, match="state_size"):
        layers.RNN(layers.Flatten())
    with pytest.raises(ValueError, match="must not be empty"):
        layers.StackedRNNCells([])
    with pytest.raises(ValueError, match="known number of timesteps"):
        layers.LSTM(3, unroll=True)(Input((None, 2)))
