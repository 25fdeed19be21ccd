"""Layers, activations, losses, metrics and optimizers against the stored numbers of Keras 3.

A case of tests/fixtures/*.npz is one test: build it from its description, set the weights, compare.
Outputs agree within 1e-5 and gradients within 1e-4. Nothing here needs Keras.
"""

import operator

import numpy as np
import pytest

import fastnn as keras
from fixtures import Fixtures, make, make_optimizer, number_cases, several, step_cases

FORWARD, GRADIENT = 1e-5, 1e-5
# Gradients that float32 does not give to 1e-5: of the first, four times the distance of torch's float32 from its float64
# (7.6e-6); of the second, what the backends of Keras differ by.
ROUNDING = {
    "Circle-sparse": 3e-5,
    "MelSpectrogram-fft_length=32-sequence_stride=16-sampling_rate=800-num_mel_bins=6-min_freq=10.0": 5e-5,
}


def cases(fixtures):
    return pytest.mark.parametrize("name", fixtures.names())


def close(actual, desired, tolerance, what):
    actual = keras.ops.convert_to_numpy(actual)
    assert actual.shape == desired.shape, what
    np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance, err_msg=what)


def as_tensors(arrays):
    return [keras.ops.convert_to_tensor(a) for a in arrays]


LAYERS = Fixtures("layers")


@cases(LAYERS)
def test_layer(name):
    spec, a = LAYERS.spec(name), LAYERS.arrays(name)
    layer = make(keras.layers, spec)
    xs, states = as_tensors(several(a, "x")), as_tensors(several(a, "s"))
    call = {k: v for k, v in spec["call"].items() if k not in ("mask", "state", "spread")}
    if "mask" in a:
        call["mask"] = a["mask"]
    x = xs if len(xs) > 1 else xs[0]
    arguments = xs if "spread" in spec["call"] else [x]
    layer(*arguments, **call)
    assert [w.name for w in layer.weights] == spec["weights"]
    layer.set_weights(several(a, "w"))
    if states:
        call["initial_state"] = states

    floating = [i for i in range(len(xs)) if f"gx{i}" in a]
    with keras.GradientTape() as tape:
        tape.watch([*(xs[i] for i in floating), *states])
        y = layer(*arguments, **call)
        ys = list(y) if isinstance(y, (list, tuple)) else [y]
        total = sum(keras.ops.sum(y * v) for y, v in zip(ys, several(a, "v")))
    sources = [*layer.trainable_variables, *(xs[i] for i in floating), *states]
    expected = several(a, "gw") + [a[f"gx{i}"] for i in floating] + several(a, "gs")
    assert len(ys) == len(several(a, "y"))
    for i, y in enumerate(several(a, "y")):
        close(ys[i], y, FORWARD, f"output {i}")
    for w, n in zip(layer.non_trainable_weights, several(a, "n")):
        close(w, n, FORWARD, f"{w.name} after the call")
    assert len(sources) == len(expected)
    for i, (g, e) in enumerate(zip(tape.gradient(total, sources), expected)):
        close(np.zeros_like(e) if g is None else g, e, ROUNDING.get(name, GRADIENT), f"gradient {i} of {len(expected)}")
    if "out_mask" in a:
        np.testing.assert_array_equal(np.asarray(layer.compute_mask(x, None)), a["out_mask"])


@cases(LAYERS)
def test_layer_shape_without_data(name):
    """Symbolic call and compute_output_shape give the shapes that the call gives."""
    spec, a = LAYERS.spec(name), LAYERS.arrays(name)
    layer = make(keras.layers, spec)
    xs = [keras.Input(shape=x.shape[1:], dtype=str(x.dtype)) for x in several(a, "x")]
    x = xs if len(xs) > 1 else xs[0]
    spread = "spread" in spec["call"]
    scores = {"return_attention_scores": True} if "return_attention_scores" in spec["call"] else {}
    reverse = {"reverse": True} if "reverse" in spec["call"] else {}
    y = layer(*(xs if spread else [x]), **scores, **reverse)
    ys = list(y) if isinstance(y, (list, tuple)) else [y]
    shapes = [(None, *v.shape[1:]) for v in several(a, "y")]
    assert [tuple(v.shape) for v in ys] == shapes
    if reverse:  # compute_output_shape is about the lookup
        return
    inputs = [v.shape for v in xs]
    computed = layer.compute_output_shape(*(inputs if spread else [inputs if len(xs) > 1 else inputs[0]]))
    if scores:  # compute_output_shape is about the result alone
        ys, shapes = ys[:1], shapes[:1]
    computed = list(computed) if len(ys) > 1 else [computed]
    assert [tuple(s) for s in computed] == shapes


OPS = Fixtures("ops")


@cases(OPS)
def test_op(name):
    spec, a = OPS.spec(name), OPS.arrays(name)
    xs = as_tensors(several(a, "x"))
    moving = [i for i in range(len(xs)) if f"g{i}" in a]
    args, used = list(spec["args"]), 0
    for place, count in spec["places"]:
        args[place] = xs[used] if count == 1 else tuple(xs[used : used + count])
        used += count
    with keras.GradientTape() as tape:
        tape.watch([xs[i] for i in moving])
        y = operator.attrgetter(spec["function"])(keras.ops)(*args, **spec["kwargs"])
        ys = list(y) if isinstance(y, (list, tuple)) else [y]
        total = sum(keras.ops.sum(v * c) for v, c in zip(ys, several(a, "v")))
    assert len(ys) == len(several(a, "y"))
    for i, y in enumerate(several(a, "y")):
        close(ys[i], y, 3 * FORWARD, f"result {i}")
    for i, g in zip(moving, tape.gradient(total, [xs[i] for i in moving]) if moving else []):
        close(np.zeros_like(a[f"g{i}"]) if g is None else g, a[f"g{i}"], GRADIENT, f"gradient {i}")


ACTIVATIONS = Fixtures("activations")


@cases(ACTIVATIONS)
def test_activation(name):
    spec, a = ACTIVATIONS.spec(name), ACTIVATIONS.arrays(name)
    x = keras.ops.convert_to_tensor(a["x"])
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = getattr(keras.activations, spec["class"])(x, **spec["config"])
        total = keras.ops.sum(y * a["v"])
    close(y, a["y"], FORWARD, "value")
    close(tape.gradient(total, x), a["g"], GRADIENT, "gradient")
    if not spec["config"] and spec["class"] != "threshold":
        assert keras.activations.get(spec["class"]) is getattr(keras.activations, spec["class"])


LOSSES = Fixtures("losses")


@cases(LOSSES)
def test_loss(name):
    spec, a = LOSSES.spec(name), LOSSES.arrays(name)
    for reduction in ("sum_over_batch_size", "sum", "none", "mean", "mean_with_sample_weight"):
        for key, weights in ((reduction, None), (f"{reduction}:weighted", a["weights"])):
            if key not in a:
                continue
            loss = make(keras.losses, {**spec, "config": {**spec["config"], "reduction": reduction}})
            y_pred = keras.ops.convert_to_tensor(a["y_pred"])
            with keras.GradientTape() as tape:
                tape.watch(y_pred)
                y = loss(a["y_true"], y_pred, sample_weight=weights)
                total = keras.ops.sum(y * a[f"{key}:v"])
            close(y, a[key], FORWARD, key)
            close(tape.gradient(total, y_pred), a[f"{key}:g"], ROUNDING.get(name, GRADIENT), f"gradient, {key}")


FUNCTIONS = Fixtures("functions")


@cases(FUNCTIONS)
def test_function(name):
    spec, a = FUNCTIONS.spec(name), FUNCTIONS.arrays(name)
    args = as_tensors((a["y_true"], a["y_pred"]))
    args = [args] if spec["module"] == "layers" else args
    y = getattr(getattr(keras, spec["module"]), spec["function"])(*args, **spec["config"])
    close(y, a["y"], FORWARD, "value")


METRICS = Fixtures("metrics")


@cases(METRICS)
@pytest.mark.filterwarnings("ignore:You are passing weight as `float`")
def test_metric(name):
    spec, a = METRICS.spec(name), METRICS.arrays(name)
    metric = make(keras.metrics, spec)
    for again in range(2):
        for i in range(2):
            weights = {"sample_weight": a[f"weights{i}"]} if f"weights{i}" in a else {}
            metric.update_state(*several(a, f"args{i}:"), **weights)
            close(metric.result(), a[f"y{i}"], FORWARD, f"after update {i}, round {again}")
        metric.reset_state()


OPTIMIZERS = Fixtures("optimizers")


@cases(OPTIMIZERS)
def test_optimizer(name):
    spec, a = OPTIMIZERS.spec(name), OPTIMIZERS.arrays(name)
    optimizer = make_optimizer(keras, spec)
    variables = [keras.Variable(w) for w in several(a, "w")]
    optimizer.build(variables)
    for t in range(len(a["g0"])):
        optimizer.apply(as_tensors(g[t] for g in several(a, "g")), variables)
        for i, w in enumerate(several(a, "path")):
            close(variables[i], w[t], FORWARD, f"weight {i} after step {t + 1}")
    optimizer.finalize_variable_values(variables)
    for i, w in enumerate(several(a, "path")):
        close(variables[i], w[-1], FORWARD, f"weight {i} in the end")


SCHEDULES = Fixtures("schedules")


@cases(SCHEDULES)
def test_schedule(name):
    schedule = make(keras.optimizers.schedules, SCHEDULES.spec(name))
    y = [float(schedule(step)) for step in number_cases.SCHEDULE_STEPS]
    np.testing.assert_allclose(y, SCHEDULES.arrays(name)["y"], rtol=1e-5, atol=1e-8)
    again = type(schedule).from_config(schedule.get_config())
    assert [float(again(step)) for step in number_cases.SCHEDULE_STEPS] == y


REGULARIZERS = Fixtures("regularizers")


@cases(REGULARIZERS)
def test_regularizer(name):
    a = REGULARIZERS.arrays(name)
    regularizer = make(keras.regularizers, REGULARIZERS.spec(name))
    x = keras.ops.convert_to_tensor(a["x"])
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = regularizer(x)
    close(y, a["y"], FORWARD, "value")
    close(tape.gradient(y, x), a["g"], GRADIENT, "gradient")


CONSTRAINTS = Fixtures("constraints")


@cases(CONSTRAINTS)
def test_constraint(name):
    a = CONSTRAINTS.arrays(name)
    constraint = make(keras.constraints, CONSTRAINTS.spec(name))
    close(constraint(keras.ops.convert_to_tensor(a["x"])), a["y"], FORWARD, "value")


INITIALIZERS = Fixtures("initializers")


@cases(INITIALIZERS)
def test_initializer(name):
    """Random values differ between libraries; their mean, spread and bounds do not."""
    spec, a = INITIALIZERS.spec(name), INITIALIZERS.arrays(name)
    x = np.asarray(make(keras.initializers, spec)(tuple(spec["shape"])))
    assert x.shape == tuple(spec["shape"]) and x.dtype == np.float32
    if "exact" in a:
        np.testing.assert_allclose(x, a["exact"], atol=5e-6)
        return
    if "gram" in a:
        flat = x.reshape(-1, x.shape[-1])
        flat = flat if flat.shape[0] >= flat.shape[1] else flat.T
        np.testing.assert_allclose(flat.T @ flat, a["gram"], atol=1e-4)
        return
    mean, spread = a["moments"]
    # Five standard errors of the mean of x.size draws, on both sides.
    np.testing.assert_allclose(x.mean(dtype="float64"), mean, atol=1e-7 + 10 * spread / x.size**0.5)
    np.testing.assert_allclose(x.astype("float64").std(), spread, rtol=0.03)
    if "bounds" in a:
        np.testing.assert_allclose([x.min(), x.max()], a["bounds"], rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("rate, noise_shape", [(0.5, None), (0.2, None), (0.5, (None, 1, 64)), (0.0, None)])
def test_dropout_keeps_the_scale(rate, noise_shape):
    """Kept values are divided by 1 - rate; every call draws a new mask; inference is the identity."""
    layer = keras.layers.Dropout(rate, noise_shape=noise_shape, seed=7)
    x = np.ones((32, 16, 64), "float32")
    first, second = (np.asarray(layer(x, training=True)) for _ in range(2))
    np.testing.assert_allclose(np.unique(first), [0, 1 / (1 - rate)] if rate else [1], rtol=1e-6)
    draws = 32 * 64 if noise_shape else x.size
    np.testing.assert_allclose((first == 0).mean(), rate, atol=5 / draws**0.5)
    assert rate == 0 or (first != second).any()
    if noise_shape:
        np.testing.assert_array_equal(first, np.broadcast_to(first[:, :1], x.shape))
    np.testing.assert_array_equal(np.asarray(layer(x, training=False)), x)
    np.testing.assert_array_equal(np.asarray(layer(x)), x)


def test_first_weights_of_layers():
    """What the default initializers of a layer give, weight by weight."""

    def weights(layer, shape):
        layer.build(shape)
        return [np.asarray(w) for w in layer.weights]

    kernel, bias = weights(keras.layers.Dense(50), (None, 70))
    limit = (6 / (70 + 50)) ** 0.5  # glorot uniform
    assert 0.97 * limit < np.abs(kernel).max() <= limit and not bias.any()
    kernel, recurrent, bias = weights(keras.layers.LSTM(20), (None, 5, 30))
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(20), atol=1e-5)
    assert np.abs(kernel).max() <= (6 / (30 + 80)) ** 0.5
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 20))  # the forget gate starts open
    assert not weights(keras.layers.LSTM(4, unit_forget_bias=False), (None, 5, 3))[2].any()
    (embeddings,) = weights(keras.layers.Embedding(100, 30), (None, 4))
    assert 0.049 < np.abs(embeddings).max() <= 0.05
    for w, value in zip(weights(keras.layers.BatchNormalization(), (None, 8)), (1, 0, 0, 1)):
        np.testing.assert_array_equal(w, np.full(8, value))


STEP = Fixtures("steps")
# Rounding grows with the steps; these agree as far as two backends of Keras do.


@cases(STEP)
def test_ten_steps(name):
    """A small model around a layer or under a loss: the loss of every step, the weights after one and after ten."""
    a = STEP.arrays(name)
    found = step_cases.run(keras, name, STEP.spec(name))
    assert list(found) == list(a)
    for key, value in a.items():
        close(found[key], value, 1e-5 if key.startswith("after1:") else 1e-4, key)
