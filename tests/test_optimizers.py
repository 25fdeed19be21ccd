"""Optimizers against float64 references of their papers' formulas, and everything around the update."""
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import optimizers
from fastnn.optimizers.base import Optimizer

SHAPES = [(3, 4), (5,), (), (2, 3, 5), (40, 70)]
STEPS = 8


# References: functions of (w, g, state, t, learning rate) that return the new w; state is a dictionary.


def sgd(momentum=0.0, nesterov=False):
    def step(w, g, s, t, lr):
        if not momentum:
            return w - lr * g
        s["m"] = momentum * s.get("m", 0) - lr * g
        return w + momentum * s["m"] - lr * g if nesterov else w + s["m"]

    return step


def rmsprop(rho=0.9, momentum=0.0, centered=False, eps=1e-7):
    def step(w, g, s, t, lr):
        s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
        s["u"] = rho * s.get("u", 0) + (1 - rho) * g
        d = lr * g / np.sqrt(s["v"] - (s["u"] ** 2 if centered else 0) + eps)
        s["m"] = momentum * s.get("m", 0) + d
        return w - s["m"]

    return step


def adam(b1=0.9, b2=0.999, eps=1e-7, amsgrad=False):
    def step(w, g, s, t, lr):
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
        s["h"] = np.maximum(s.get("h", 0), s["v"]) if amsgrad else s["v"]
        return w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(s["h"]) + eps)

    return step


def decayed(step, rate):
    return lambda w, g, s, t, lr: step(w - rate * lr * w, g, s, t, lr)


def adadelta(rho=0.95, eps=1e-7):
    def step(w, g, s, t, lr):
        s["g"] = rho * s.get("g", 0) + (1 - rho) * g**2
        d = np.sqrt(s.get("d", 0) + eps) / np.sqrt(s["g"] + eps) * g
        s["d"] = rho * s.get("d", 0) + (1 - rho) * d**2
        return w - lr * d

    return step


def adagrad(w, g, s, t, lr):
    s["a"] = s.get("a", 0.1) + g**2
    return w - lr * g / np.sqrt(s["a"] + 1e-7)


def adamax(w, g, s, t, lr):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["u"] = np.maximum(0.999 * s.get("u", 0), np.abs(g))
    return w - lr / (1 - 0.9**t) * s["m"] / (s["u"] + 1e-7)


def nadam(w, g, s, t, lr):
    def u(k):
        return 0.9 * (1 - 0.5 * 0.96**k)

    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    product = np.prod([u(k) for k in range(1, t + 1)])
    m = u(t + 1) * s["m"] / (1 - product * u(t + 1)) + (1 - u(t)) * g / (1 - product)
    return w - lr * m / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-7)


def ftrl(power=-0.5, l1=0.0, l2=0.0, shrink=0.0, beta=0.0):
    def step(w, g, s, t, lr):
        n = s.get("n", 0.1)
        new = n + g**2
        sigma = (new**-power - n**-power) / lr
        s["z"] = s.get("z", 0) + g + 2 * shrink * w - sigma * w
        s["n"] = new
        quadratic = new**-power / lr + 2 * (l2 + beta / (2 * lr))
        return (np.clip(s["z"], -l1, l1) - s["z"]) / quadratic

    return step


def lion(w, g, s, t, lr):
    m = s.get("m", 0)
    s["m"] = 0.99 * m + 0.01 * g
    return w - lr * np.sign(0.9 * m + 0.1 * g)


def lamb(w, g, s, t, lr):
    step = -adam_direction(g, s, t)
    ratio = np.linalg.norm(w) / np.linalg.norm(step) if np.any(w) and np.any(step) else 1.0
    return w + lr * ratio * step


def adam_direction(g, s, t, b1=0.9, b2=0.999):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
    return s["m"] / (1 - b1**t) / (np.sqrt(s["v"] / (1 - b2**t)) + 1e-7)


def adafactor(w, g, s, t, lr):
    def rms(x):
        return np.sqrt(np.mean(x**2))

    beta, square = 1 - t**-0.8, g**2 + 1e-30
    if w.ndim >= 2:
        s["r"] = beta * s.get("r", 0) + (1 - beta) * square.mean(-1)
        s["c"] = beta * s.get("c", 0) + (1 - beta) * square.mean(-2)
        v = (s["r"] / s["r"].mean(-1, keepdims=True))[..., None] * s["c"][..., None, :]
    else:
        v = s["v"] = beta * s.get("v", 0) + (1 - beta) * square
    u = g / np.sqrt(v)
    return w - max(1e-3, rms(w)) * min(lr, 1 / np.sqrt(t)) * u / max(1, rms(u))


def muon(w, g, s, t, lr):
    if w.ndim != 2:
        return adam()(w * (1 - 0.004 * lr), g, s, t, lr)
    w = w * (1 - 0.004 * lr)
    s["m"] = 0.95 * s.get("m", 0) + g
    x = g + 0.95 * s["m"]
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    x = x.T if w.shape[0] > w.shape[1] else x
    return w - lr * x * np.sqrt(max(w.shape)) * 0.2


def schedule_free(b1=0.9, b2=0.999, warmup=0):
    def step(w, g, s, t, lr):
        s.setdefault("z", w), s.setdefault("x", w)
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
        rate = lr * min(t / warmup, 1) if warmup else lr
        s["z"] = s["z"] - rate * g / (np.sqrt(s["v"] / (1 - b2**t)) + 1e-8)
        s["x"] = (1 - 1 / t) * s["x"] + s["z"] / t
        return (1 - b1) * s["z"] + b1 * s["x"]

    return step


CASES = [
    ("SGD", {}, sgd()),
    ("SGD", {"momentum": 0.9}, sgd(0.9)),
    ("SGD", {"momentum": 0.9, "nesterov": True}, sgd(0.9, True)),
    ("SGD", {"weight_decay": 0.1}, decayed(sgd(), 0.1)),
    ("RMSprop", {}, rmsprop()),
    ("RMSprop", {"rho": 0.8, "momentum": 0.5, "centered": True}, rmsprop(0.8, 0.5, True)),
    ("Adam", {}, adam()),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True}, adam(0.8, 0.95, 1e-3, True)),
    ("AdamW", {}, decayed(adam(), 0.004)),
    ("Adadelta", {}, adadelta()),
    ("Adagrad", {}, adagrad),
    ("Adamax", {}, adamax),
    ("Nadam", {}, nadam),
    ("Ftrl", {}, ftrl()),
    (
        "Ftrl",
        {"learning_rate_power": -0.3, "l1_regularization_strength": 0.05, "l2_regularization_strength": 0.1,
         "l2_shrinkage_regularization_strength": 0.01, "beta": 0.2},
        ftrl(-0.3, 0.05, 0.1, 0.01, 0.2),
    ),
    ("Lion", {}, lion),
    ("Lamb", {}, lamb),
    ("Adafactor", {}, adafactor),
    ("Muon", {}, muon),
    ("ScheduleFreeAdamW", {}, schedule_free()),
    ("ScheduleFreeAdamW", {"beta_1": 0.8, "warmup_steps": 4}, schedule_free(0.8, 0.999, 4)),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def start():
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("f4") for shape in SHAPES]


def gradients(step):
    rng = np.random.default_rng(100 + step)
    return [rng.normal(size=shape).astype("f4") for shape in SHAPES]


def train(optimizer, steps=STEPS):
    variables = [fastnn.Variable(w, name=f"w{i}") for i, w in enumerate(start())]
    for step in range(steps):
        optimizer.apply(gradients(step), variables)
    return variables


def reference(update, lr, steps=STEPS, change=lambda grads: grads):
    weights, states = [w.astype("f8") for w in start()], [{} for _ in SHAPES]
    for step in range(steps):
        grads = change([g.astype("f8") for g in gradients(step)])
        weights = [update(w, g, s, step + 1, lr) for w, g, s in zip(weights, grads, states)]
    return weights


def close(variables, expected, rtol=2e-5, atol=2e-5):
    for variable, value in zip(variables, expected):
        np.testing.assert_allclose(np.asarray(variable), value, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name, kwargs, update", CASES, ids=IDS)
def test_steps(name, kwargs, update):
    lr = np.float32(0.05)
    variables = train(getattr(optimizers, name)(learning_rate=0.05, **kwargs))
    # Newton-Schulz amplifies differences; the others are a few roundings per step.
    tolerance = 2e-3 if name == "Muon" else 2e-5
    close(variables, reference(update, float(lr)), tolerance, tolerance)


@pytest.mark.parametrize("name, kwargs, update", CASES, ids=IDS)
def test_config(name, kwargs, update):
    optimizer = getattr(optimizers, name)(learning_rate=0.02, name="mine", **kwargs)
    config = optimizers.serialize(optimizer)
    assert config["module"] == "keras.optimizers" and config["class_name"] == name
    again = optimizers.deserialize(config)
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
    for key, value in kwargs.items():
        assert config["config"][key] == value
    assert type(optimizers.get(name.lower())) is type(optimizer)


@pytest.mark.parametrize("kwargs", [
    {}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.3}, {"weight_decay": 0.1},
])  # fmt: skip
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam"])
def test_kernel_and_step_by_step_agree(name, kwargs):
    cls = getattr(optimizers, name)

    class StepByStep(cls):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate)

    fused, plain = cls(0.05, **kwargs), StepByStep(0.05, **kwargs)
    a, b = train(fused), train(plain)
    assert fused._one_call and not plain._one_call
    close(a, [np.asarray(v) for v in b], 1e-5, 1e-6)
    for x, y in zip(fused.variables, plain.variables):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_same_bits_for_any_number_of_threads(threads):
    before = fastnn.num_threads()
    try:
        fastnn.set_num_threads(1)
        expected = [v.numpy() for v in train(optimizers.Adam(global_clipnorm=1.0))]
        fastnn.set_num_threads(threads)
        for got, value in zip(train(optimizers.Adam(global_clipnorm=1.0)), expected):
            np.testing.assert_array_equal(np.asarray(got), value)
    finally:
        fastnn.set_num_threads(before)


def by_norm(grads):
    return [g * min(1, 0.5 / np.linalg.norm(g)) for g in grads]


def by_global_norm(grads):
    norm = np.sqrt(sum((g**2).sum() for g in grads))
    return [g * min(1, 0.5 / norm) for g in grads]


@pytest.mark.parametrize("kwargs, change", [
    ({"clipnorm": 0.5}, by_norm),
    ({"global_clipnorm": 0.5}, by_global_norm),
    ({"clipvalue": 0.5}, lambda grads: [np.clip(g, -0.5, 0.5) for g in grads]),
    ({"loss_scale_factor": 4.0}, lambda grads: [g / 4 for g in grads]),
])  # fmt: skip
@pytest.mark.parametrize("name, update", [("SGD", sgd()), ("Adagrad", adagrad)])
def test_gradients_are_changed_first(name, update, kwargs, change):
    variables = train(getattr(optimizers, name)(0.05, **kwargs))
    close(variables, reference(update, 0.05, change=change))


def test_weight_decay_can_leave_out_variables():
    for exclude in ({"var_names": ["w0", "w3"]}, {"var_list": True}):
        optimizer = optimizers.SGD(0.1, weight_decay=0.5)
        variables = [fastnn.Variable(w, name=f"w{i}") for i, w in enumerate(start())]
        if "var_list" in exclude:
            exclude = {"var_list": [variables[0], variables[3]]}
        optimizer.exclude_from_weight_decay(**exclude)
        optimizer.apply([np.zeros(s, "f4") for s in SHAPES], variables)
        for i, (variable, w) in enumerate(zip(variables, start())):
            np.testing.assert_allclose(np.asarray(variable), w * (1.0 if i in (0, 3) else 0.95), rtol=1e-6)
        with pytest.raises(ValueError, match="before the optimizer is built"):
            optimizer.exclude_from_weight_decay(var_names=["w1"])


def test_gradient_accumulation_takes_the_mean():
    optimizer = optimizers.Adam(0.05, gradient_accumulation_steps=3)
    variables = train(optimizer, 9)
    weights, states = [w.astype("f8") for w in start()], [{} for _ in SHAPES]
    for t in range(3):
        mean = [sum(g) / 3 for g in zip(*(gradients(3 * t + k) for k in range(3)))]
        weights = [adam()(w, g.astype("f8"), s, t + 1, 0.05) for w, g, s in zip(weights, mean, states)]
    close(variables, weights)
    assert int(optimizer.iterations) == 3 and int(optimizer._iterations) == 9


def test_moving_average():
    optimizer = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8)
    variables = train(optimizer)
    weights, average = [w.astype("f8") for w in start()], None
    for step in range(STEPS):
        weights = [w - 0.1 * g for w, g in zip(weights, gradients(step))]
        average = weights if average is None else [0.8 * a + 0.2 * w for a, w in zip(average, weights)]
    close(variables, weights)
    optimizer.finalize_variable_values(variables)
    close(variables, average)


def test_moving_average_overwrites():
    variables = train(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2), 2)
    first = [w - 0.1 * g for w, g in zip(start(), gradients(0))]
    second = [w - 0.1 * g for w, g in zip(first, gradients(1))]
    close(variables, [(a + b) / 2 for a, b in zip(first, second)])


def test_learning_rate():
    optimizer = optimizers.SGD(0.25)
    variable = fastnn.Variable(np.float32(0.0))
    optimizer.apply([np.float32(1.0)], [variable])
    optimizer.learning_rate = 0.5
    optimizer.apply_gradients([(np.float32(1.0), variable)])
    assert float(variable) == -0.75 and float(optimizer.learning_rate) == 0.5
    assert int(optimizer.iterations) == 2
    called = optimizers.SGD(lambda: 0.125)
    called.apply([np.float32(1.0)], [variable])
    assert float(variable) == -0.875
    with pytest.warns(UserWarning, match="`lr` is the old name"):
        assert float(optimizers.RMSprop(lr=0.5).learning_rate) == 0.5
    assert float(optimizers.SGD(1).learning_rate) == 1.0
    assert float(optimizers.SGD(np.float32(0.5)).learning_rate) == 0.5


def test_values_read_before_a_step_do_not_change():
    variables = [fastnn.Variable(w) for w in start()]
    held = [v.value for v in variables]
    optimizers.Adam().apply(gradients(0), variables)
    close(held, start(), 0, 0)
    assert all((np.asarray(v) != w).any() for v, w in zip(variables, start()))


def test_constraints_are_applied():
    variable = fastnn.Variable(np.array([1.0, -1.0], "f4"))
    variable.constraint = fastnn.constraints.NonNeg()
    optimizers.SGD(1.0).apply([np.array([3.0, -3.0], "f4")], [variable])
    np.testing.assert_array_equal(np.asarray(variable), [0.0, 2.0])


def test_missing_gradients():
    variables = [fastnn.Variable(w, name=f"w{i}") for i, w in enumerate(start())]
    grads = gradients(0)
    grads[1] = None
    optimizer = optimizers.Adam()
    with pytest.warns(UserWarning, match="w1"):
        optimizer.apply(grads, variables)
    np.testing.assert_array_equal(np.asarray(variables[1]), start()[1])
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([None] * len(SHAPES), variables)
    optimizer.apply([], [])
    assert int(optimizer.iterations) == 1


def test_sparse_gradients_are_applied_as_dense_ones():
    table = np.random.default_rng(0).normal(size=(6, 3)).astype("f4")
    ids = np.array([[1, 4], [1, 0]])
    results = []
    for name, kwargs in [("SGD", {}), ("SGD", {"momentum": 0.9}), ("RMSprop", {"global_clipnorm": 0.5}), ("Adam", {}),
                         ("Adam", {"clipnorm": 0.5, "loss_scale_factor": 2.0}), ("Adagrad", {}),
                         ("AdamW", {"gradient_accumulation_steps": 2})]:  # fmt: skip
        for dense in (False, True):
            optimizer, variable = getattr(optimizers, name)(0.1, **kwargs), fastnn.Variable(table)
            for _ in range(3):
                with fastnn.GradientTape() as tape:
                    loss = fastnn.ops.sum(fastnn.ops.square(fastnn.ops.embedding_lookup(variable, ids)))
                gradient = tape.gradient(loss, variable)
                assert gradient.is_indexed_slices
                if dense:
                    gradient = np.array(fastnn.convert_to_tensor(gradient))
                optimizer.apply([gradient], [variable])
            results.append(np.asarray(variable))
        np.testing.assert_allclose(results[-1], results[-2], rtol=1e-6)


def test_float16_variables_are_updated():
    variable = fastnn.Variable(np.ones(4, "float16"))
    optimizer = optimizers.Adam(0.125)
    optimizer.apply([np.ones(4, "float16")], [variable])
    assert variable.dtype == "float16"
    np.testing.assert_allclose(np.asarray(variable, "f4"), 0.875, atol=2e-3)


def test_own_optimizer():
    class Signed(Optimizer):
        def __init__(self, learning_rate=0.1, scale=2.0, **kwargs):
            super().__init__(learning_rate, **kwargs)
            self.scale = scale

        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.counts = self.add_optimizer_variables(variables, "count", "ones")
            self.total = fastnn.Variable(0.0, trainable=False, name="total")

        def update_step(self, gradient, variable, learning_rate):
            count = self.counts[self._get_variable_index(variable)]
            self.assign_add(count, fastnn.ops.ones(count.shape))
            self.assign_sub(variable, self.scale * learning_rate * fastnn.ops.sign(gradient))

        def get_config(self):
            return {**super().get_config(), "scale": self.scale}

    optimizer = Signed(name="signed")
    variables = train(optimizer, 1)
    close(variables, [w - 0.2 * np.sign(g) for w, g in zip(start(), gradients(0))])
    names = [v.name for v in optimizer.variables]
    assert names[:2] == ["iteration", "learning_rate"] and "total" in names and "w0_count" in names
    assert len(names) == 2 + len(SHAPES) + 1
    with fastnn.saving.custom_object_scope({"Signed": Signed}):
        again = optimizers.get(optimizers.serialize(optimizer))
    assert isinstance(again, Signed) and again.scale == 2.0


def test_state_can_be_moved():
    first, second = optimizers.Adam(0.05), optimizers.Adam(0.01)
    variables = train(first, 3)
    twins = [fastnn.Variable(v.numpy()) for v in variables]
    second.build(twins)
    second.set_weights([v.numpy() for v in first.variables])
    store = {}
    first.save_own_variables(store)
    third = optimizers.Adam(0.01)
    third_twins = [fastnn.Variable(v.numpy()) for v in variables]
    third.build(third_twins)
    third.load_own_variables(store)
    for optimizer, weights in ((first, variables), (second, twins), (third, third_twins)):
        optimizer.apply(gradients(3), weights)
    close(twins, [np.asarray(v) for v in variables], 0, 0)
    close(third_twins, [np.asarray(v) for v in variables], 0, 0)
    with pytest.raises(ValueError, match="shapes"):
        second.set_weights([np.zeros(3)] * len(second.variables))


def test_stateless_apply_changes_nothing():
    optimizer = optimizers.Adam(0.05)
    variables = train(optimizer, 2)
    before = [v.numpy() for v in variables + optimizer.variables]
    weights, state = optimizer.stateless_apply(
        [v.value for v in optimizer.variables], gradients(2), [v.value for v in variables]
    )
    for variable, value in zip(variables + optimizer.variables, before):
        np.testing.assert_array_equal(np.asarray(variable), value)
    optimizer.apply(gradients(2), variables)
    close(weights, [np.asarray(v) for v in variables], 0, 0)
    close(state, [np.asarray(v) for v in optimizer.variables], 0, 0)


def test_loss_scale():
    inner = optimizers.SGD(0.1)
    optimizer = optimizers.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=2)
    variable = fastnn.Variable(np.ones(3, "f4"))
    optimizer.build([variable])
    assert float(optimizer.scale_loss(fastnn.convert_to_tensor(2.0))) == 16.0
    assert float(optimizer.scale_loss(2.0)) == 16.0
    seen = []
    for g in (1, 2, np.inf, 3, 4, np.nan, 5):
        optimizer.apply([np.full(3, g * 8, "f4")], [variable])
        seen.append((round(float(np.asarray(variable)[0]), 4), float(optimizer.dynamic_scale)))
    assert seen == [(0.9, 8), (0.7, 16), (0.7, 8), (0.4, 8), (0.0, 16), (0.0, 8), (-0.5, 8)]
    assert int(optimizer.iterations) == 5 and optimizer.learning_rate is inner.learning_rate
    config = optimizers.serialize(optimizer)
    again = optimizers.deserialize(config)
    assert isinstance(again.inner_optimizer, optimizers.SGD) and again.dynamic_growth_steps == 2
    with pytest.raises(ValueError, match="`clipnorm` is not supported"):
        optimizers.LossScaleOptimizer(inner, clipnorm=1.0)


@pytest.mark.parametrize("make, match", [
    (lambda: optimizers.SGD(learning_rates=0.1), "Did you mean 'learning_rate'"),
    (lambda: optimizers.SGD(learning_rate="fast"), "learning_rate='fast'"),
    (lambda: optimizers.SGD(learning_rate=float("nan")), "learning_rate=nan"),
    (lambda: optimizers.SGD(learning_rate=None), "learning_rate=None"),
    (lambda: optimizers.SGD(momentum=1.5), "momentum=1.5"),
    (lambda: optimizers.Adam(clipnorm=1.0, clipvalue=1.0), "Only one of"),
    (lambda: optimizers.Adam(gradient_accumulation_steps=1), "gradient_accumulation_steps=1"),
    (lambda: optimizers.Adam(use_ema=True, ema_momentum=1.5), "ema_momentum=1.5"),
    (lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=0.5), "ema_overwrite_frequency=0.5"),
    (lambda: optimizers.AdamW(weight_decay=None), "weight_decay"),
    (lambda: optimizers.Lion(beta_1=0), "beta_1=0"),
    (lambda: optimizers.Ftrl(learning_rate_power=1.0), "learning_rate_power=1.0"),
    (lambda: optimizers.Ftrl(l1_regularization_strength=-1.0), "l1_regularization_strength=-1.0"),
    (lambda: optimizers.get("adamm"), "Did you mean 'adam'"),
    (lambda: optimizers.get(3), "identifier=3"),
    (lambda: optimizers.SGD().apply([np.ones(3)]), "must already be built"),
])  # fmt: skip
def test_wrong_arguments(make, match):
    with pytest.raises(ValueError, match=match), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make()


def test_a_wrong_call_changes_nothing():
    variables = [fastnn.Variable(w) for w in start()]
    optimizer = optimizers.Adam()
    optimizer.build(variables)
    grads = gradients(0)
    grads[-1] = grads[-1][:-1]
    other = fastnn.Variable(np.ones(2, "f4"), name="other")
    for call, match in [
        (lambda: optimizer.apply(grads, variables), "must have the shape of its variable"),
        (lambda: optimizer.apply(grads[:2], variables), "2 gradients, 5 variables"),
        (lambda: optimizer.apply([np.ones(2, "f4")], [other]), "Unknown variable.*other"),
        (lambda: optimizer.apply(grads[:3]), "3 gradients, 5 variables"),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
    close(variables, start(), 0, 0)
    assert int(optimizer.iterations) == 0 and not np.asarray(optimizer.variables[2]).any()


@pytest.mark.parametrize("steps, expected", [(None, [3, 1, 2, 5]), (2, [0, 3, 3, 5])])
def test_variables_that_take_their_gradient(steps, expected):
    variable, other = fastnn.Variable(np.zeros(2, "f4")), fastnn.Variable(np.zeros(2, "f4"))
    variable.overwrite_with_gradient = True
    optimizer = optimizers.Adam(gradient_accumulation_steps=steps)
    seen = []
    for value in (3, 1, 2, 5):
        optimizer.apply([np.full(2, value, "f4"), np.ones(2, "f4")], [variable, other])
        seen.append(float(np.asarray(variable)[0]))
    assert seen == expected and optimizer._momentums[0] is None


def test_forgotten_super():
    class Bad(Optimizer):
        def __init__(self):
            self.rate = 1

    with pytest.raises(RuntimeError, match="super"):
        Bad()
