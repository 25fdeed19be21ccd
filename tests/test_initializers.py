"""Initializers, regularizers and constraints against formulas in NumPy."""
import math

import numpy as np
import pytest

import fastnn
from fastnn import constraints, initializers, regularizers

SHAPES = [(30, 50), (3, 3, 16, 32), (100,), (5, 7, 40)]


def fans(shape):
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


# name, scale, fan, distribution
FAMILY = [
    ("GlorotUniform", 1, "avg", "uniform"),
    ("GlorotNormal", 1, "avg", "normal"),
    ("HeUniform", 2, "in", "uniform"),
    ("HeNormal", 2, "in", "normal"),
    ("LecunUniform", 1, "in", "uniform"),
    ("LecunNormal", 1, "in", "normal"),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name, scale, fan, distribution", FAMILY)
def test_variance_scaling_family(name, scale, fan, distribution, shape):
    x = np.asarray(getattr(initializers, name)(seed=1)(shape))
    fan_in, fan_out = fans(shape)
    variance = scale / {"in": fan_in, "avg": (fan_in + fan_out) / 2}[fan]
    assert x.shape == shape and x.dtype == np.float32
    n = x.size
    # The spread of a sample's mean and variance: 5 standard errors, kurtosis at most 3.
    assert abs(x.mean()) < 5 * math.sqrt(variance / n)
    assert abs(x.var() / variance - 1) < 5 * math.sqrt(2 / n)
    limit = math.sqrt(3 * variance) if distribution == "uniform" else 2 * math.sqrt(variance) / 0.87962566
    assert np.abs(x).max() <= limit * 1.00001
    assert np.abs(x).max() > 0.8 * limit


@pytest.mark.parametrize("mode, distribution", [
    ("fan_in", "uniform"), ("fan_out", "normal"), ("fan_avg", "untruncated_normal"),
])  # fmt: skip
def test_variance_scaling(mode, distribution):
    x = np.asarray(initializers.VarianceScaling(3.0, mode, distribution, seed=2)((200, 300)))
    variance = 3.0 / {"fan_in": 200, "fan_out": 300, "fan_avg": 250}[mode]
    assert abs(x.var() / variance - 1) < 0.03
    assert (np.abs(x) > 2.5 * math.sqrt(variance)).any() == (distribution == "untruncated_normal")


def test_compute_fans():
    assert initializers.compute_fans(()) == (1, 1)
    assert initializers.compute_fans((7,)) == (7, 7)
    assert initializers.compute_fans((3, 5, 16, 32)) == (240, 480)
    assert initializers.compute_fans((4, 2, 8), input_axes=(0,), output_axes=(1, 2)) == (4, 16)


def test_plain_distributions():
    x = np.asarray(initializers.RandomNormal(2.0, 0.5, seed=3)((200, 200)))
    assert abs(x.mean() - 2) < 0.02 and abs(x.std() - 0.5) < 0.01
    x = np.asarray(initializers.TruncatedNormal(2.0, 0.5, seed=3)((200, 200)))
    assert np.abs(x - 2).max() <= 1.00001
    x = np.asarray(initializers.RandomUniform(-1, 3, seed=3)((200, 200)))
    assert -1 <= x.min() < -0.99 and 2.99 < x.max() <= 3


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 3, 4, 8), (1, 5)])
def test_orthogonal(shape):
    x = np.asarray(initializers.Orthogonal(gain=2.0, seed=4)(shape), "f8").reshape(-1, shape[-1])
    product = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)


def test_constants():
    np.testing.assert_array_equal(initializers.Zeros()((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.Ones()((2,), dtype="int32"), np.ones(2, "i4"))
    np.testing.assert_array_equal(initializers.Constant(3.5)((2, 2)), np.full((2, 2), 3.5))
    np.testing.assert_array_equal(initializers.Constant([1.0, 2.0])((3, 2)), [[1, 2]] * 3)
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), 2 * np.eye(2, 3))
    assert initializers.Zeros()((2,), dtype="float16").dtype == "float16"


def test_stft_kernel_is_the_fourier_transform():
    signal = np.random.default_rng(0).normal(size=16)
    real = np.asarray(initializers.STFT("real", None)((16, 1, 9)))[:, 0]
    imag = np.asarray(initializers.STFT("imag", None)((16, 1, 9)))[:, 0]
    np.testing.assert_allclose(signal @ real + 1j * (signal @ imag), np.fft.rfft(signal), atol=1e-4)


def test_seeds():
    a = initializers.GlorotUniform(seed=5)
    np.testing.assert_array_equal(a((4, 4)), a((4, 4)))
    np.testing.assert_array_equal(a((4, 4)), initializers.GlorotUniform(seed=5)((4, 4)))
    assert (np.asarray(a((4, 4))) != np.asarray(initializers.GlorotUniform(seed=6)((4, 4)))).any()
    b, c = initializers.GlorotUniform(), initializers.GlorotUniform()
    assert (np.asarray(b((4, 4))) != np.asarray(c((4, 4)))).any()
    np.testing.assert_array_equal(b((4, 4)), b((4, 4)))
    d = initializers.RandomNormal(seed=fastnn.random.SeedGenerator(7))
    assert (np.asarray(d((4, 4))) != np.asarray(d((4, 4)))).any()
    clone = a.clone()
    np.testing.assert_array_equal(a((4, 4)), clone((4, 4)))


NAMES = ["Constant", "Identity", "Ones", "Zeros", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal",
         "LecunUniform", "Orthogonal", "RandomNormal", "RandomUniform", "STFT", "TruncatedNormal",
         "VarianceScaling"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_config_and_names(name):
    one = getattr(initializers, name)()
    config = initializers.serialize(one)
    assert config["module"] == "keras.initializers" and config["class_name"] == name
    again = initializers.get(config)
    assert type(again) is type(one) and again.get_config() == one.get_config()
    assert type(initializers.get(name)) is type(one)
    snake = "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")
    assert type(initializers.get("stft" if name == "STFT" else snake)) is type(one)


def test_get():
    assert initializers.get(None) is None
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(initializers.get(array)((2, 3)), array)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        initializers.get(array)((3, 2))
    with pytest.raises(ValueError, match="Did you mean 'glorot_uniform'"):
        initializers.get("glorot_unifrom")


@pytest.mark.parametrize("make, match", [
    (lambda: initializers.VarianceScaling(scale=0.0), "scale=0.0"),
    (lambda: initializers.VarianceScaling(mode="fan"), "mode='fan'"),
    (lambda: initializers.VarianceScaling(distribution="gamma"), "gamma"),
    (lambda: initializers.RandomNormal(seed="x"), "seed='x'"),
    (lambda: initializers.Orthogonal()((3,)), "rank >= 2"),
    (lambda: initializers.Identity()((3,)), "rank 2"),
    (lambda: initializers.Constant([1, 2, 3])((2, 2)), "broadcast"),
    (lambda: initializers.STFT(window="round"), "window='round'"),
    (lambda: initializers.get(3), "identifier=3"),
])  # fmt: skip
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# Regularizers and constraints

W = np.random.default_rng(0).normal(size=(5, 4)).astype("f4")
V = fastnn.convert_to_tensor(W)


def mean_cosine(w):
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)
    return (cosines.sum() - np.trace(cosines)) / (len(w) * (len(w) - 1))


@pytest.mark.parametrize("make, reference", [
    (lambda: regularizers.L1(0.2), lambda w: 0.2 * np.abs(w).sum()),
    (lambda: regularizers.L2(0.2), lambda w: 0.2 * (w**2).sum()),
    (lambda: regularizers.L1L2(0.1, 0.3), lambda w: 0.1 * np.abs(w).sum() + 0.3 * (w**2).sum()),
    (lambda: regularizers.L1L2(), lambda w: 0.0),
    (lambda: regularizers.get("l2"), lambda w: 0.01 * (w**2).sum()),
    (lambda: regularizers.get("l1_l2"), lambda w: 0.0),
    (lambda: regularizers.OrthogonalRegularizer(0.5), lambda w: 0.5 * mean_cosine(w)),
    (lambda: regularizers.OrthogonalRegularizer(0.5, "columns"), lambda w: 0.5 * mean_cosine(w.T)),
])  # fmt: skip
def test_regularizers(make, reference):
    regularizer = make()
    np.testing.assert_allclose(regularizer(V), reference(W.astype("f8")), rtol=1e-5)
    again = regularizers.get(regularizers.serialize(regularizer))
    np.testing.assert_array_equal(again(V), regularizer(V))
    assert again.get_config() == regularizer.get_config()


def test_regularizer_has_a_gradient():
    with fastnn.GradientTape() as tape:
        tape.watch(V)
        penalty = regularizers.L1L2(0.1, 0.3)(V)
    np.testing.assert_allclose(tape.gradient(penalty, V), 0.1 * np.sign(W) + 0.6 * W, rtol=1e-5)


@pytest.mark.parametrize("value", [-0.1, "x", float("nan"), float("inf"), None])
def test_regularizer_errors(value):
    if value is not None:
        with pytest.raises(ValueError, match="l2"):
            regularizers.L2(value)
    with pytest.raises(ValueError, match="factor"):
        regularizers.OrthogonalRegularizer(value)
    with pytest.raises(ValueError, match="mode"):
        regularizers.OrthogonalRegularizer(mode=value)


def norm(w, axis):
    return np.sqrt((w**2).sum(axis, keepdims=True))


@pytest.mark.parametrize("make, reference", [
    (lambda: constraints.MaxNorm(1.5), lambda w: w * np.minimum(norm(w, 0), 1.5) / norm(w, 0)),
    (lambda: constraints.MaxNorm(1.5, axis=1), lambda w: w * np.minimum(norm(w, 1), 1.5) / norm(w, 1)),
    (lambda: constraints.NonNeg(), lambda w: np.maximum(w, 0)),
    (lambda: constraints.UnitNorm(), lambda w: w / norm(w, 0)),
    (
        lambda: constraints.MinMaxNorm(1.0, 1.5, 0.5),
        lambda w: w * (0.5 * np.clip(norm(w, 0), 1, 1.5) + 0.5 * norm(w, 0)) / norm(w, 0),
    ),
    (lambda: constraints.get("max_norm"), lambda w: w * np.minimum(norm(w, 0), 2) / norm(w, 0)),
])  # fmt: skip
def test_constraints(make, reference):
    constraint = make()
    np.testing.assert_allclose(constraint(V), reference(W.astype("f8")), rtol=1e-5)
    again = constraints.get(constraints.serialize(constraint))
    np.testing.assert_array_equal(again(V), constraint(V))


def test_constraint_over_several_axes():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 2, 4)).astype("f4")
    unit = np.asarray(constraints.UnitNorm([0, 1, 2])(kernel))
    np.testing.assert_allclose((unit**2).sum((0, 1, 2)), 1, rtol=1e-5)
    with pytest.raises(ValueError, match="Did you mean 'non_neg'"):
        constraints.get("non_negg")
