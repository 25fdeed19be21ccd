"""GPTQ and AWQ: the integers that Keras 3.15.1 finds, and whole models."""
import numpy as np
import pytest

import fastnn as keras
from fastnn import layers, ops
from fastnn.quantizers import AWQConfig, GPTQConfig
from fastnn.quantizers.awq import AWQ
from fastnn.quantizers.calibration import calibration_samples
from fastnn.quantizers.gptq import GPTQ, stable_permutation


def weights_and_inputs():
    i, j = np.arange(60).reshape(12, 5), np.arange(480).reshape(40, 12)
    return np.sin(i * 1.7 + 0.3).astype("float32"), (np.cos(j * 0.9) + (j % 12 == 3) * 2 * np.sin(j)).astype("float32")


# Mode, options, kernel (5, 12) and the first two results, all of Keras on JAX.
ROWS = [
    ("gptq", {"group_size": 4}, [
        [12, 14, 0, 15, 10, 0, 15, 7, 0, 14, 2, 2],
        [15, 0, 8, 13, 0, 15, 14, 0, 13, 7, 0, 15],
        [2, 4, 15, 0, 8, 15, 0, 11, 14, 0, 15, 11],
        [0, 15, 4, 3, 15, 0, 5, 14, 1, 11, 15, 0],
        [13, 8, 0, 15, 4, 0, 15, 1, 4, 15, 0, 7],
    ], [1.0572, 0.3523, -1.1484, -0.1137, 1.1006, 0.9627, 0.1055, -1.0276, 0.1217, 1.0306]),
    ("gptq", {"group_size": -1, "symmetric": True, "weight_bits": 3}, [
        [5, 6, 1, 6, 5, 1, 7, 4, 1, 7, 2, 3],
        [7, 1, 5, 6, 1, 6, 5, 1, 7, 4, 1, 7],
        [2, 3, 7, 1, 4, 7, 0, 5, 6, 0, 6, 5],
        [1, 7, 3, 2, 7, 2, 3, 7, 1, 5, 6, 0],
        [7, 4, 1, 7, 3, 2, 7, 2, 3, 7, 1, 4],
    ], [0.9931, 0.4134, -1.1752, 0.0279, 1.2664, 0.5347, 0.0763, -1.1784, 0.121, 0.7154]),
    ("gptq", {"group_size": -1, "weight_bits": 8, "per_channel": False}, [
        [165, 202, 0, 206, 160, 9, 237, 113, 34, 253, 68, 72],
        [243, 15, 146, 216, 1, 190, 177, 3, 226, 132, 22, 248],
        [59, 81, 250, 25, 127, 229, 4, 173, 194, 0, 212, 151],
        [28, 251, 76, 64, 253, 38, 108, 239, 11, 155, 210, 0],
        [220, 141, 17, 245, 94, 48, 254, 52, 89, 247, 20, 136],
    ], [1.0261, 0.3236, -1.1118, -0.0435, 1.1161, 0.8986, 0.168, -0.9425, 0.0754, 0.9197]),
    ("awq", {"group_size": -1}, [
        [10, 12, 0, 14, 10, 1, 14, 7, 3, 15, 5, 5],
        [15, 1, 9, 15, 0, 12, 11, 0, 14, 8, 2, 15],
        [4, 5, 15, 0, 8, 14, 1, 11, 12, 1, 13, 9],
        [2, 15, 5, 3, 15, 3, 7, 15, 1, 10, 13, 0],
        [11, 7, 0, 15, 4, 2, 13, 2, 4, 13, 0, 6],
    ], [0.881, 0.2956, -1.0468, 0.0425, 1.1756, 0.8333, 0.1, -0.9624, 0.0661, 1.03]),
    ("awq", {"group_size": 4}, [
        [9, 11, 0, 15, 10, 0, 15, 7, 0, 15, 2, 2],
        [12, 0, 7, 15, 0, 15, 14, 0, 14, 7, 0, 15],
        [6, 7, 15, 0, 8, 15, 0, 11, 14, 0, 15, 11],
        [1, 15, 4, 0, 15, 0, 5, 14, 1, 11, 15, 0],
        [9, 6, 0, 15, 4, 0, 15, 1, 5, 15, 0, 8],
    ], [1.044, 0.3211, -1.0682, 0.0053, 1.1016, 1.0104, 0.1734, -0.9233, 0.118, 1.0312]),
]


def dense(kernel, config=None):
    layer = layers.Dense(kernel.shape[1], use_bias=False)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel])
    if config is not None:
        layer.quantize(config=config)
    return layer


def calibrated(mode, options, kernel, inputs):
    config = {"gptq": GPTQConfig, "awq": AWQConfig}[mode](None, None, **options)
    layer = dense(kernel, config)
    one = {"gptq": GPTQ, "awq": AWQ}[mode](layer, config)
    one.check()
    for part in np.array_split(inputs, [30]):
        one.update(part)
    one.quantize()
    return layer


@pytest.mark.parametrize("mode, options, kernel, results", ROWS)
def test_integers_of_keras(mode, options, kernel, results):
    w, x = weights_and_inputs()
    layer = calibrated(mode, options, w, x)
    np.testing.assert_array_equal(layer.kernel, kernel)
    np.testing.assert_allclose(np.ravel(layer(x[:2])), results, atol=2e-4)
    assert layer.quantized_kernel.shape == ((3 if options.get("weight_bits", 4) == 4 else 5), 12)


@pytest.mark.parametrize("mode", ["gptq", "awq"])
@pytest.mark.parametrize("group_size", [-1, 8])
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_close_to_the_floats(mode, group_size, shift):
    """Also where all weights have one sign, whose zero would not fit into 8 bits."""
    rng = np.random.default_rng(0)
    w = (rng.standard_normal((40, 6)) + shift).astype("float32")
    x = rng.standard_normal((200, 40)).astype("float32")
    y = x @ w
    step = np.ptp(np.concatenate([w, np.zeros((1, 6))]), axis=0).max() / 15
    layer = calibrated(mode, {"group_size": group_size}, w, x)
    error = np.sqrt(np.mean((np.asarray(layer(x)) - y) ** 2))
    assert error < step * np.sqrt(40 / 12) * 1.1  # of independent rounding errors, uniform over a step


@pytest.mark.parametrize("options", [{}, {"group_size": 8}, {"activation_order": True}])
def test_gptq_errs_less_than_rounding(options):
    rng = np.random.default_rng(1)
    w = rng.standard_normal((200, 16)).astype("float32")  # more inputs than a block of columns
    x = (rng.standard_normal((400, 20)) @ rng.standard_normal((20, 200)) + 0.1 * rng.standard_normal((400, 200))).astype("float32")
    options = {"group_size": -1, **options}
    layer = calibrated("gptq", options, w, x)
    plain = dense(w, GPTQConfig(None, None, **options))
    one = GPTQ(plain, GPTQConfig(None, None, **options))
    one.hessian = np.eye(200, dtype="float32")  # no input tells of another: plain rounding
    one.quantize()
    errors = [np.mean((np.asarray(one(x)) - x @ w) ** 2) for one in (layer, plain)]
    assert errors[0] < 0.5 * errors[1]


def test_stable_permutation():
    np.testing.assert_array_equal(stable_permutation([1.0, 3.0, 1.0, 3.0]), [1, 3, 0, 2])


class Tokenizer:
    def tokenize(self, text):
        return [ord(c) % 50 for c in text]


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 8)
        self.inner = layers.Dense(32, activation="relu")
        self.outer = layers.Dense(16)

    def call(self, x):
        x = x + self.attention(x, x)
        return x + self.outer(self.inner(x))


@keras.saving.register_keras_serializable("calibration")
class Classifier(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(50, 16)
        self.blocks = [Block(), Block()]
        self.pool = layers.GlobalAveragePooling1D()
        self.head = layers.Dense(4)

    def call(self, x):
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))

    def get_quantization_layer_structure(self, mode=None):
        return {"pre_block_layers": [self.embedding], "sequential_blocks": self.blocks}


TEXTS = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"]


@pytest.mark.parametrize("config", [
    lambda **k: GPTQConfig(TEXTS, Tokenizer(), num_samples=8, sequence_length=12, group_size=8, **k),
    lambda **k: AWQConfig(TEXTS, Tokenizer().tokenize, num_samples=8, sequence_length=12, group_size=-1, num_grid_points=5, **k),
])
def test_model(config, tmp_path):
    keras.utils.set_random_seed(0)
    model = Classifier()
    x = np.random.default_rng(0).integers(0, 50, (16, 12))
    y = model.predict(x, verbose=0)
    head = np.asarray(model.head.kernel)
    mode = config().mode
    model.quantize(mode, config=config(), filters=lambda layer: layer is not model.blocks[1].inner)
    quantized = [layer for layer in model._flatten_layers() if layer.quantization_mode == mode]
    assert [layer.name for layer in quantized] and len(quantized) == 2 * 4 + 3
    assert all(getattr(layer, f"is_{mode}_calibrated") for layer in quantized)
    assert model.blocks[1].inner.quantization_mode is None
    np.testing.assert_array_equal(model.head.kernel, head)  # outside of the blocks: a file would lose it
    got = model.predict(x, verbose=0)
    assert 0 < np.sqrt(np.mean((got - y) ** 2)) < 0.2 * y.std()
    model.save_weights(tmp_path / "model.weights.h5")
    again = Classifier()
    again(x)
    with pytest.raises(ValueError):
        again.load_weights(tmp_path / "model.weights.h5")  # of other shapes
    other = Classifier()
    other(x)
    other.quantize(config=config(), filters=lambda layer: layer is not other.blocks[1].inner)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other.predict(x, verbose=0), got)


def test_samples():
    ids = [np.arange(10), np.arange(10, 21)[None]]
    for strategy in ("strided", "linspace", "random"):
        samples = calibration_samples(None, 4, ids, 6, strategy=strategy)
        assert samples.shape == (6, 1, 4) and samples.dtype == "int32"
        np.testing.assert_array_equal(np.diff(samples, axis=-1) % 21, 1)  # pieces of the joined, repeated texts
        np.testing.assert_array_equal(samples, calibration_samples(None, 4, iter(ids), 6, strategy=strategy))
    assert calibration_samples(None, 3, ids, 2, strategy="linspace")[:, 0, 0].tolist() == [0, 18]
    assert (calibration_samples(Tokenizer(), 3, ["ab", "cd"], 4, strategy="linspace", eos_id=99) == 99).any()


def test_errors():
    with pytest.raises(TypeError, match="must be an iterable.*Got type: str"):
        calibration_samples(Tokenizer(), 3, "wikitext2")
    with pytest.raises(ValueError, match="dataset is empty"):
        calibration_samples(Tokenizer(), 3, [])
    with pytest.raises(ValueError, match="at least one token"):
        calibration_samples(Tokenizer(), 3, [""])
    with pytest.raises(ValueError, match="Unknown strategy"):
        calibration_samples(Tokenizer(), 3, ["abcd"], strategy="best")
    w, _ = weights_and_inputs()
    for kind, name in ((GPTQ, "GPTQ"), (AWQ, "AWQ")):
        with pytest.raises(TypeError, match=f"Unsupported layer type for {name}"):
            kind(layers.Dropout(0.5))
        one = kind(dense(w))
        with pytest.raises(ValueError, match="cannot be None"):
            one.update(None)
        with pytest.raises(ValueError, match="cannot be empty"):
            one.update(np.zeros((0, 12)))
        with pytest.raises(ValueError, match="rank >= 2"):
            one.update(np.zeros(12))
        with pytest.raises(ValueError, match="features"):
            one.update(np.zeros((3, 11)))
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="valid quantization structure"):
        model.quantize(config=GPTQConfig(TEXTS, Tokenizer()))
    structure = {"pre_block_layers": [], "sequential_blocks": []}
    with pytest.raises(ValueError, match="No sequential blocks"):
        model.quantize(config=GPTQConfig(TEXTS, Tokenizer(), quantization_layer_structure=structure))
    structure["sequential_blocks"] = model.layers
    with pytest.raises(ValueError, match="requires a dataset and a tokenizer"):
        model.quantize(config=AWQConfig(None, None, quantization_layer_structure=structure))
    assert model.layers[0].quantization_mode is None


def test_kernel_whose_matrix_keras_guesses_wrongly():
    """The largest axis is not the model's: refused before anything has changed."""
    inputs = layers.Input((4,))
    layer = layers.EinsumDense("ab,bcd->acd", (3, 16))
    model = keras.Model(inputs, layer(inputs))
    structure = {"pre_block_layers": [layers.Embedding(50, 4), layers.Reshape((4,))], "sequential_blocks": [layer]}
    with pytest.raises(ValueError, match="largest axis"):
        model.quantize(config=GPTQConfig(TEXTS, Tokenizer(), num_samples=2, sequence_length=1,
                                         quantization_layer_structure=structure))
    assert layer.quantization_mode is None and ops.shape(layer.kernel) == (4, 3, 16)
