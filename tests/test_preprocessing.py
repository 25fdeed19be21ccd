"""Preprocessing layers of categories and texts: Keras's numbers, vocabularies, configs, errors."""

import numpy as np
import pytest

import fastnn as keras
from fastnn import layers
from fastnn.utils.fingerprint import fingerprint64, siphash64
from fixtures import Fixtures, preprocessing_cases

CASES = Fixtures("preprocessing")


@pytest.mark.parametrize("name", CASES.names())
def test_numbers_of_keras(name):
    row, expected = CASES.spec(name), CASES.arrays(name)["y"]
    layer, y = preprocessing_cases.run(layers, row)
    y = np.asarray(y)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert y.dtype.kind == expected.dtype.kind and y.shape == expected.shape
    if "vocabulary" in row:
        assert layer.get_vocabulary() == row["vocabulary"]
    again = type(layer).from_config(layer.get_config())
    if hasattr(layer, "get_vocabulary") and row["adapt"] is not None:
        return  # the vocabulary is in the assets
    _, twice = preprocessing_cases.run(layers, {**row, "adapt": None}) if row["adapt"] is None else (0, again(row["inputs"]))
    np.testing.assert_array_equal(np.asarray(twice), y)


@pytest.mark.parametrize("config", [{}, {"output_mode": "tf_idf"}, {"output_mode": "count"}])
def test_assets(tmp_path, config):
    layer = layers.TextVectorization(**config)
    layer.adapt(preprocessing_cases.TEXTS)
    layer.save_assets(tmp_path)
    store = {}
    layer.save_own_variables(store)
    again = layers.TextVectorization.from_config(layer.get_config())
    again.load_own_variables(store)
    again.load_assets(tmp_path)
    assert again.get_vocabulary() == layer.get_vocabulary()
    texts = ["the cat", "mat mat dog"]
    np.testing.assert_array_equal(np.asarray(again(texts)), np.asarray(layer(texts)))


def test_vocabulary_of_a_file(tmp_path):
    (tmp_path / "words").write_text("x\ny\n")
    assert layers.StringLookup(vocabulary=str(tmp_path / "words")).get_vocabulary() == ["[UNK]", "x", "y"]
    assert layers.StringLookup(vocabulary=["[UNK]", "x", "y"]).get_vocabulary(False) == ["x", "y"]


def test_back_to_strings():
    words = layers.StringLookup(vocabulary=["a", "b"], invert=True)(np.array([[1, 2], [0, 9]]))
    assert words.tolist() == [["a", "b"], ["[UNK]", "[UNK]"]]


def test_functions_and_bytes():
    layer = layers.TextVectorization(standardize=lambda x: np.char.replace(x, "-", " "), split=lambda x: [t.split() for t in x])
    layer.adapt(np.array([b"a-b c", b"a"]))
    assert layer.get_vocabulary() == ["", "[UNK]", "a", "c", "b"]
    assert np.asarray(layer("a-c-z")).tolist() == [2, 3, 1]


def test_batches():
    """Batches are counted together."""
    layer = layers.TextVectorization()
    layer.adapt(iter([["a b"], ["b c"], ["d"]]), steps=2)
    assert layer.get_vocabulary(False) == ["b", "c", "a"]
    layer = layers.Discretization(num_bins=2)
    layer.adapt(iter([np.arange(5.0), np.arange(5.0, 10.0)]))
    assert len(layer.bin_boundaries) == 1 and 3 < layer.bin_boundaries[0] < 6


def test_in_a_model():
    """On numbers these layers are parts of functional models."""
    x = keras.Input((3,), dtype="int64")
    y = layers.Dense(1)(layers.CategoryEncoding(6)(layers.IntegerLookup(vocabulary=[9, 1, 5])(x)))
    model = keras.Model(x, y)
    assert model.predict(np.array(preprocessing_cases.NUMBERS), verbose=0).shape == (3, 1)


@pytest.mark.parametrize("make, word", [
    (lambda: layers.CategoryEncoding(), "num_tokens"),
    (lambda: layers.CategoryEncoding(3, output_mode="int"), "output_mode"),
    (lambda: layers.CategoryEncoding(3)([1], count_weights=[1.0]), "count_weights"),
    (lambda: layers.Discretization(), "num_bins"),
    (lambda: layers.Discretization(num_bins=3)([1.0]), "adapt"),
    (lambda: layers.Discretization([1.0]).adapt([1.0]), "bin_boundaries"),
    (lambda: layers.Hashing(0), "num_bins"),
    (lambda: layers.Hashing(3, salt="x"), "salt"),
    (lambda: layers.HashedCrossing(3)(["a"]), "at least two|list or tuple"),
    (lambda: layers.HashedCrossing(3)([np.array([1.5]), np.array([2.5])]), "integer or string"),
    (lambda: layers.StringLookup(max_tokens=1), "max_tokens"),
    (lambda: layers.StringLookup(vocabulary=["a", "a"]), "repeated"),
    (lambda: layers.StringLookup(vocabulary=["a", ""], mask_token=""), "mask token"),
    (lambda: layers.StringLookup(vocabulary=["a", "b"], max_tokens=2), "larger"),
    (lambda: layers.StringLookup(vocabulary=["a"], num_oov_indices=0)(["b"]), "found OOV"),
    (lambda: layers.StringLookup(vocabulary=["a"]).adapt(["b"]), "Cannot adapt"),
    (lambda: layers.StringLookup(vocabulary=["a"], output_mode="tf_idf"), "idf_weights"),
    (lambda: layers.IntegerLookup(salt=3), "salt"),
    (lambda: layers.TextVectorization(split="sentences"), "split"),
    (lambda: layers.TextVectorization(output_mode="count", output_sequence_length=3), "output_sequence_length"),
    (lambda: layers.TextVectorization()(np.array([["a", "b"]])), "last shape dimension"),
])  # fmt: skip
def test_wrong_use(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_vocabulary_must_be_known():
    with pytest.raises(RuntimeError, match="vocabulary"):
        layers.StringLookup(output_mode="count")(["a"])


@pytest.mark.parametrize("text, farm, sip", [
    ("", 0x9AE16A3B2F90404F, None), ("a", None, None), ("x" * 200, None, None)])
def test_hashes(text, farm, sip):
    """Of every length they stay in 64 bits; the empty text has a known FarmHash."""
    value = fingerprint64(text.encode())
    assert 0 <= value < 2**64 and farm in (None, value)
    assert 0 <= siphash64(text.encode(), (1, 2)) < 2**64


def test_siphash_of_its_paper():
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    assert siphash64(bytes(range(15)), key) == 0xA129CA6149BE45E5
