"""Learning rate schedules against their formulas in plain Python."""
import math

import numpy as np
import pytest

import fastnn
from fastnn.optimizers import SGD, schedules

STEPS = [0, 1, 2, 3, 4, 6, 7, 9, 10, 11, 13, 18, 23, 31, 57]


def polynomial(step, start, steps, end, power, cycle):
    if cycle:
        steps *= max(1, math.ceil(step / steps))
    step = min(step, steps)
    return (start - end) * (1 - step / steps) ** power + end


def cosine(step, start, steps, alpha):
    part = 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
    return start * ((1 - alpha) * part + alpha)


def warm_cosine(step, start, steps, alpha, target, warm):
    if step < warm:
        return start + (target - start) * step / warm
    return cosine(step - warm, target, steps, alpha)


def restarts(step, start, steps, t_mul, m_mul, alpha):
    count = 0
    while step >= steps:
        step, steps, count = step - steps, steps * t_mul, count + 1
    part = 0.5 * m_mul**count * (1 + math.cos(math.pi * step / steps))
    return start * ((1 - alpha) * part + alpha)


def triangle(step, low, high, size, mode, gamma):
    cycle = math.floor(1 + step / (2 * size))
    x = abs(step / size - 2 * cycle + 1)
    scale = {"triangular": 1, "triangular2": 0.5 ** (cycle - 1), "exp_range": gamma**step}[mode]
    return low + (high - low) * max(0, 1 - x) * scale


def one_cycle(step, high, total, warm=0.3):
    first, last, up = high / 25, high / 25 / 1e4, warm * total
    if step < up:
        return high + (first - high) * 0.5 * (1 + math.cos(math.pi * step / up))
    part = min(1, (step - up) / (total - up))
    return last + (high - last) * 0.5 * (1 + math.cos(math.pi * part))


CASES = [
    ("ExponentialDecay", (0.1, 7, 0.9), lambda s: 0.1 * 0.9 ** (s / 7)),
    ("ExponentialDecay", (0.1, 7, 0.9, True), lambda s: 0.1 * 0.9 ** (s // 7)),
    ("InverseTimeDecay", (0.1, 7, 0.5), lambda s: 0.1 / (1 + 0.5 * s / 7)),
    ("InverseTimeDecay", (0.1, 7, 0.5, True), lambda s: 0.1 / (1 + 0.5 * (s // 7))),
    ("PiecewiseConstantDecay", ([3, 10], [1.0, 0.5, 0.1]), lambda s: 1.0 if s <= 3 else 0.5 if s <= 10 else 0.1),
    ("PolynomialDecay", (0.1, 10, 0.01, 2.0), lambda s: polynomial(s, 0.1, 10, 0.01, 2, False)),
    ("PolynomialDecay", (0.1, 10, 0.01, 1.0, True), lambda s: polynomial(s, 0.1, 10, 0.01, 1, True)),
    ("CosineDecay", (0.1, 10, 0.2), lambda s: cosine(s, 0.1, 10, 0.2)),
    ("CosineDecay", (0.01, 10, 0.1, "c", 0.2, 5), lambda s: warm_cosine(s, 0.01, 10, 0.1, 0.2, 5)),
    ("CosineDecayRestarts", (0.1, 6, 1.0, 0.8, 0.1), lambda s: restarts(s, 0.1, 6, 1, 0.8, 0.1)),
    ("CosineDecayRestarts", (0.1, 5, 1.5, 0.8), lambda s: restarts(s, 0.1, 5, 1.5, 0.8, 0)),
    ("CyclicalLearningRate", (0.1, 0.5, 4), lambda s: triangle(s, 0.1, 0.5, 4, "triangular", 1)),
    ("CyclicalLearningRate", (0.1, 0.5, 4, "triangular2"), lambda s: triangle(s, 0.1, 0.5, 4, "triangular2", 1)),
    ("CyclicalLearningRate", (0.1, 0.5, 4, "exp_range", 0.9), lambda s: triangle(s, 0.1, 0.5, 4, "exp_range", 0.9)),
    ("OneCycle", (0.5, 40), lambda s: one_cycle(s, 0.5, 40)),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


@pytest.mark.parametrize("name, args, reference", CASES, ids=IDS)
def test_values(name, args, reference):
    schedule = getattr(schedules, name)(*args)
    counter = fastnn.Variable(0, dtype="int32", trainable=False)
    for step in STEPS:
        counter.assign(step)
        np.testing.assert_allclose(float(schedule(step)), reference(step), rtol=2e-5, atol=1e-7)
        assert float(schedule(counter)) == float(schedule(step))


@pytest.mark.parametrize("name, args, reference", CASES, ids=IDS)
def test_config(name, args, reference):
    schedule = getattr(schedules, name)(*args)
    config = schedules.serialize(schedule)
    assert config["module"] == "keras.optimizers.schedules"
    assert schedules.deserialize(config).get_config() == schedule.get_config()
    optimizer = SGD.from_config(SGD(schedule).get_config())
    assert optimizer._learning_rate.get_config() == schedule.get_config()


def test_optimizer_follows_its_schedule():
    optimizer = SGD(schedules.ExponentialDecay(0.5, 1, 0.5))
    variable = fastnn.Variable(np.float32(1.0))
    for expected in (0.5, 0.25, 0.125):
        before = float(variable)
        optimizer.apply([np.float32(1.0)], [variable])
        assert before - float(variable) == expected
    with pytest.raises(TypeError, match="not settable"):
        optimizer.learning_rate = 0.1
    assert float(optimizer.learning_rate) == 0.0625


def test_own_schedule():
    class Linear(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 * (fastnn.ops.cast(step, "float32") + 1.0)

    optimizer = SGD(Linear())
    variable = fastnn.Variable(np.float32(0.0))
    for _ in range(3):
        optimizer.apply([np.float32(1.0)], [variable])
    np.testing.assert_allclose(float(variable), -0.6, rtol=1e-6)


@pytest.mark.parametrize("name, args, match", [
    ("ExponentialDecay", (0.1, 0, 0.9), "`decay_steps` must be > 0"),
    ("CosineDecay", (0.1, -1), "decay_steps=-1"),
    ("PolynomialDecay", (0.1, 0), "decay_steps=0"),
    ("InverseTimeDecay", (0.1, 0, 0.9), "decay_steps=0"),
    ("CosineDecayRestarts", (0.1, 0), "first_decay_steps=0"),
    ("PiecewiseConstantDecay", ([1, 2], [0.1, 0.2]), "1 less"),
    ("CyclicalLearningRate", (0.1, 0.2, 5, "square"), "mode='square'"),
    ("OneCycle", (0.1, 10, 1.0), "warmup_fraction=1.0"),
])  # fmt: skip
def test_errors(name, args, match):
    with pytest.raises(ValueError, match=match):
        getattr(schedules, name)(*args)
