"""Philox against its published vectors; distributions, seeds, dropout, and the layers that add noise."""

import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, KerasTensor, _core, layers, random
from check import THREADS


def key(a, b):
    return fastnn.convert_to_tensor(np.array([a, b], "uint32"))


def philox(counter, k0, k1):
    """Philox4x32-10 as the paper writes it; counter: four words."""
    c, mask = list(counter), 0xFFFFFFFF
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k0, q & mask, (p >> 32) ^ c[3] ^ k1, p & mask]
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c


def test_known_answers():
    # the vectors of Random123's kat_vectors
    assert philox([0] * 4, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = [0xFFFFFFFF] * 4
    assert philox(ones, 0xFFFFFFFF, 0xFFFFFFFF) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0xA4093822, 0x299F31D0) == [
        0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]  # fmt: skip


@pytest.mark.parametrize("k", [(0, 0), (1, 2), (0xFFFFFFFF, 0x80000000)])
def test_words_are_those_of_the_counters(k):
    words = np.asarray(_core.random_words(key(*k), 256)).reshape(4, 4, 16)  # group, word, lane
    for group in range(4):
        for lane in range(16):
            assert words[group, :, lane].tolist() == philox([group * 16 + lane, 0, 0, 0], *k)


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 63, 64, 65, 1000])
def test_a_prefix_is_the_same(n):
    for f in (lambda n: _core.random_words(key(1, 2), n), lambda n: random.normal((n,), seed=5),
              lambda n: random.uniform((n,), seed=5), lambda n: random.truncated_normal((n,), seed=5),
              lambda n: random.randint((n,), 0, 9, seed=5)):
        np.testing.assert_array_equal(np.asarray(f(n)), np.asarray(f(3000))[:n])


def test_threads_draw_the_same():
    before, seen = fastnn.num_threads(), set()
    x = np.random.default_rng(0).normal(size=200_003).astype("float32")
    try:
        for t in THREADS:
            fastnn.set_num_threads(t)
            parts = [random.normal((200_003,), seed=1), random.uniform((200_003,), seed=1), random.dropout(x, 0.3, seed=1)]
            seen.add(b"".join(np.asarray(p).tobytes() for p in parts))
    finally:
        fastnn.set_num_threads(before)
    assert len(seen) == 1


N = 400_000


def moments(x, mean, std):
    """Mean and deviation within five standard errors."""
    x = np.asarray(x, "float64")
    assert abs(x.mean() - mean) < 5 * std / len(x) ** 0.5, x.mean()
    assert abs(x.std() / std - 1) < 5 / len(x) ** 0.5, x.std()


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**40])
def test_distributions(seed):
    u = np.asarray(random.uniform((N,), -2, 3, seed=seed))
    moments(u, 0.5, 5 / 12**0.5)
    assert u.min() >= -2 and u.max() < 3
    z = np.asarray(random.normal((N,), 1.0, 2.0, seed=seed))
    moments(z, 1, 2)
    s = np.sort((z - 1) / 2)
    for x, p in ((-3, 0.0013499), (-1, 0.1586553), (0, 0.5), (2, 0.9772499)):
        assert abs(np.searchsorted(s, x) / N - p) < 5 * (p * (1 - p) / N) ** 0.5
    assert abs(np.corrcoef(z[:-16], z[16:])[0, 1]) < 5 / N**0.5  # the two of a Box-Muller pair
    t = np.asarray(random.truncated_normal((N,), 1.0, 2.0, seed=seed))
    assert abs(t - 1).max() <= 4
    moments(t, 1, 2 * 0.8796257)
    i = np.asarray(random.randint((N,), -3, 4, seed=seed))
    counts = np.bincount(i + 3, minlength=7)
    assert len(counts) == 7 and ((counts - N / 7) ** 2 / (N / 7)).sum() < 35
    moments(random.gamma((N,), 3.0, seed=seed), 3, 3**0.5)
    moments(random.beta((N,), 2.0, 3.0, seed=seed), 0.4, 0.2)
    moments(random.binomial((N,), 10.0, 0.3, seed=seed), 3, 2.1**0.5)
    c = np.asarray(random.categorical(np.log(np.float32([[0.1, 0.2, 0.7], [1, 0, 0]]) + 1e-30), N, seed=seed))
    assert c.shape == (2, N) and (c[1] == 0).all()
    assert abs((c[0] == 2).mean() - 0.7) < 5 * (0.21 / N) ** 0.5


def test_uniform_stays_below_its_end():
    for low, high in ((0, 1), (-1e-3, 0), (1, 1 + 2**-22), (1e8, 1e8 + 16), (-5, -4)):
        u = np.asarray(random.uniform((100_000,), low, high, seed=1))
        assert u.min() >= np.float32(low) and u.max() < np.float32(high)


def test_seeds():
    a, b = random.SeedGenerator(7), random.SeedGenerator(7)
    first = [np.asarray(random.normal((5,), seed=a)) for _ in range(3)]
    again = [np.asarray(random.normal((5,), seed=b)) for _ in range(3)]
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).all() and np.asarray(a.state).tolist() == [7, 3]
    np.testing.assert_array_equal(np.asarray(random.normal((5,), seed=7)), first[0])
    np.testing.assert_array_equal(np.asarray(random.uniform((5,), seed=7)), np.asarray(random.uniform((5,), seed=7)))
    fastnn.utils.set_random_seed(3)
    x, layer = np.asarray(random.normal((5,))), layers.Dropout(0.5)
    y = np.asarray(layer(np.ones((4, 8), "float32"), training=True))
    fastnn.utils.set_random_seed(3)
    np.testing.assert_array_equal(np.asarray(random.normal((5,))), x)
    np.testing.assert_array_equal(np.asarray(layers.Dropout(0.5)(np.ones((4, 8), "float32"), training=True)), y)
    assert random.SeedGenerator.from_config(a.get_config()).get_config() == a.get_config()
    # the state can be saved and set back
    state = a.state.numpy()
    z = np.asarray(random.normal((5,), seed=a))
    a.state.assign(state)
    np.testing.assert_array_equal(np.asarray(random.normal((5,), seed=a)), z)


def test_shuffle():
    x = np.arange(60).reshape(20, 3)
    y = np.asarray(random.shuffle(x, seed=1))
    assert (y != x).any() and sorted(map(tuple, y)) == sorted(map(tuple, x))
    np.testing.assert_array_equal(np.asarray(random.shuffle(x, axis=1, seed=1)).sum(1), x.sum(1))


# ---- dropout ----


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout(rate):
    x = np.random.default_rng(0).normal(size=(401, 250)).astype("float32")
    y = np.asarray(random.dropout(x, rate, seed=3))
    dropped = y == 0
    assert abs(dropped.mean() - rate) < 5 * (0.25 / x.size) ** 0.5
    np.testing.assert_allclose(y, np.where(dropped, 0, x / np.float32(1 - rate)), rtol=3e-7)
    t = fastnn.convert_to_tensor(x)
    with GradientTape() as tape:
        tape.watch(t)
        z = random.dropout(t, rate, seed=3)
    np.testing.assert_array_equal(np.asarray(z), y)
    g = np.asarray(tape.gradient(z, t))  # of the sum: the mask that was used
    np.testing.assert_allclose(g, np.where(dropped, 0, 1 / np.float32(1 - rate)), rtol=3e-7)


def test_dropout_of_everything_and_nothing():
    x = np.full((3, 4), np.nan, "float32")
    np.testing.assert_array_equal(np.asarray(random.dropout(x, 1.0, seed=1)), 0)
    np.testing.assert_array_equal(np.asarray(random.dropout(np.ones((0, 4), "float32"), 0.5, seed=1)).shape, (0, 4))
    assert np.asarray(random.dropout(np.ones((8, 64), "float16"), 0.5, seed=1)).dtype == "float16"


def test_noise_shape():
    y = np.asarray(random.dropout(np.ones((50, 6, 40), "float32"), 0.5, noise_shape=(None, 1, None), seed=1))
    assert (y == y[:, :1]).all() and 0.3 < (y == 0).mean() < 0.7
    for noise_shape in ((3, 1), (50, 6), (50, 2, 40)):
        with pytest.raises(ValueError, match="noise_shape"):
            random.dropout(np.ones((50, 6, 40), "float32"), 0.5, noise_shape=noise_shape, seed=1)


@pytest.mark.parametrize("layer, shape", [
    (layers.Dropout(0.5, seed=1), (40, 6)), (layers.SpatialDropout1D(0.5, seed=1), (4, 6, 8)), (layers.SpatialDropout2D(0.5, seed=1), (4, 6, 8, 3)),
    (layers.SpatialDropout3D(0.5, seed=1), (2, 3, 4, 5, 3)), (layers.GaussianNoise(0.5, seed=1), (40, 6)), (layers.GaussianDropout(0.5, seed=1), (40, 6)),
    (layers.AlphaDropout(0.5, seed=1), (40, 6)), (layers.Dropout(0.5, noise_shape=(None, 1), seed=1), (40, 6)),
])  # fmt: skip
def test_layers(layer, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(np.asarray(layer(x)), x)
    y, z = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    assert y.shape == shape and (y != z).any() and (y != x).any()
    assert layer(KerasTensor((None, *shape[1:]))).shape == (None, *shape[1:])
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert not layer.weights and [v.shape for v in layer.variables] == [(2,)]


def test_spatial_dropout_drops_whole_channels():
    y = np.asarray(layers.SpatialDropout2D(0.5, seed=1)(np.ones((8, 5, 6, 16), "float32"), training=True))
    assert (y == y[:, :1, :1]).all() and 0.2 < (y == 0).mean() < 0.8
    y = np.asarray(layers.SpatialDropout2D(0.5, "channels_first", seed=1)(np.ones((8, 16, 5, 6), "float32"), training=True))
    assert (y == y[:, :, :1, :1]).all()


def test_alpha_dropout_keeps_the_moments():
    x = np.random.default_rng(0).normal(size=(400, 1000)).astype("float32")
    y = np.asarray(layers.AlphaDropout(0.3, seed=1)(x, training=True))
    assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02


@pytest.mark.parametrize("f, match", [
    (lambda: layers.Dropout(1.5), "rate"), (lambda: layers.Dropout(-0.1), "rate"),
    (lambda: layers.Dropout(float("nan")), "rate"), (lambda: layers.Dropout("0.5"), "rate"),
    (lambda: layers.Dropout(0.5, noise_shape=(0, 1)), "noise_shape"), (lambda: layers.GaussianDropout(1.0), "rate"),
    (lambda: layers.GaussianNoise(-1), "stddev"), (lambda: random.SeedGenerator("a"), "seed"),
    (lambda: random.SeedGenerator(-1), "seed"), (lambda: random.normal((2,), seed="x"), "seed"),
    (lambda: random.normal((-2,), seed=1), "negative"), (lambda: random.normal((2,), dtype="int32"), "floating"),
    (lambda: random.randint((2,), 3, 3), "minval"), (lambda: random.randint((2,), 0, 300, dtype="uint8"), "fit"),
    (lambda: random.randint((2,), 0, 3, dtype="float32"), "integer"), (lambda: random.uniform((2**62, 4)), "63 bits"),
    (lambda: random.dropout(np.ones(3, "float32"), 2.0), "rate"), (lambda: random.categorical(np.ones(3), 2), "logits"),
])  # fmt: skip
def test_errors(f, match):
    with pytest.raises(ValueError, match=match):
        f()
