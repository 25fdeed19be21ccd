"""Strings into models: Input(dtype="string"), layers that take them, and data for fit, evaluate and predict."""
import numpy as np
import pytest

import fastnn as keras
from fastnn import layers

TEXTS = np.array(["a good film", "a bad film", "good good", "bad bad film", "so good", "so bad"])
LABELS = np.array([1, 0, 1, 0, 1, 0], "float32")
COLOURS = np.array([["red"], ["blue"], ["red"], ["green"], ["blue"], ["red"]])


def vectorization():
    layer = layers.TextVectorization(output_sequence_length=4)
    layer.adapt(TEXTS)
    return layer


def tail(x):
    x = layers.Embedding(20, 4, mask_zero=True)(x)
    return layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling1D()(x))


def functional():
    inputs = keras.Input((), dtype="string", name="text")
    assert inputs.dtype == "string" and inputs.shape == (None,)
    return keras.Model(inputs, tail(vectorization()(inputs)))


def sequential():
    return keras.Sequential([keras.Input((1,), dtype=str), vectorization(), layers.Embedding(20, 4, mask_zero=True),
                             layers.GlobalAveragePooling1D(), layers.Dense(1, activation="sigmoid")])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.words = vectorization()
        self.rest = keras.Sequential([layers.Embedding(20, 4, mask_zero=True), layers.GlobalAveragePooling1D(),
                                      layers.Dense(1, activation="sigmoid")])

    def call(self, x):
        return self.rest(self.words(x))


@pytest.mark.parametrize("make", [functional, sequential, Subclassed])
def test_a_model_of_texts_trains_as_one_of_numbers(make, tmp_path):
    keras.utils.set_random_seed(0)
    model = make()
    texts = TEXTS[:, None] if make is sequential else TEXTS
    model(texts)
    inputs = keras.Input((4,), dtype="int64")
    numbers = keras.Model(inputs, tail(inputs))
    numbers.set_weights(model.get_weights())
    ids = np.asarray(vectorization()(TEXTS))
    for m, x in ((model, texts), (numbers, ids)):
        m.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        keras.utils.set_random_seed(1)
        m.fit(x, LABELS, batch_size=4, epochs=3, verbose=0, validation_data=(x[:2], LABELS[:2]))
    for a, b in zip(model.get_weights(), numbers.get_weights()):
        np.testing.assert_array_equal(a, b)
    expected = numbers.predict(ids, verbose=0)
    for x in (texts, texts.astype(object), np.char.encode(texts)):
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(model.predict_on_batch(texts), expected)
    np.testing.assert_allclose(model(texts), expected, atol=1e-6)
    np.testing.assert_array_equal(model.predict((texts[i:i + 3] for i in (0, 3)), verbose=0), expected)
    assert model.evaluate(texts, LABELS, verbose=0) == numbers.evaluate(ids, LABELS, verbose=0)
    assert np.isfinite(model.train_on_batch(texts, LABELS)).all() and np.isfinite(model.test_on_batch(texts, LABELS)).all()
    if make is not Subclassed:
        expected = model.predict(texts, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        assert again.inputs[0].dtype == "string"
        np.testing.assert_array_equal(again.predict(texts, verbose=0), expected)
        np.testing.assert_array_equal(keras.models.clone_model(model).predict(texts, verbose=0).shape, expected.shape)


def test_several_inputs():
    text = keras.Input((), dtype="string", name="text")
    colour = keras.Input((1,), dtype="string", name="colour")
    size = keras.Input((1,), name="size")
    lookup = layers.StringLookup(vocabulary=["red", "green", "blue"], output_mode="one_hot")
    x = layers.Concatenate()([tail(vectorization()(text)), lookup(colour), layers.Hashing(5, output_mode="one_hot")(colour), size])
    model = keras.Model({"text": text, "colour": colour, "size": size}, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    data = {"text": TEXTS, "colour": COLOURS, "size": np.arange(6.0)}
    model.fit(data, LABELS, epochs=2, verbose=0, validation_split=0.3)
    y = model.predict(data, verbose=0)
    assert y.shape == (6, 1)
    np.testing.assert_allclose(model(data), y, atol=1e-6)
    np.testing.assert_allclose(model.predict({**data, "colour": COLOURS[:, 0]}, verbose=0), y, atol=1e-6)  # (n,) for (n, 1)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_symbolic_results(dtype):
    inputs = keras.Input((3,), dtype="string")
    y = layers.Hashing(4, dtype=dtype)(inputs)
    assert (y.shape, y.dtype) == ((None, 3), dtype)
    y = layers.StringLookup(vocabulary=["a"])(inputs)
    assert (y.shape, y.dtype) == ((None, 3), "int64")


def test_a_layer_of_ones_own_around_a_lookup():
    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.lookup = layers.StringLookup(vocabulary=["red", "green", "blue"])
            self.embedding = layers.Embedding(4, 2)

        def call(self, x):
            return self.embedding(self.lookup(x))

    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, Own()(inputs))
    assert model.output_shape == (None, 1, 2)
    y = model.predict(COLOURS, verbose=0)
    assert (y[0] == y[2]).all() and (y[0] != y[1]).any()


def test_errors():
    inputs = keras.Input((3,), dtype="string")
    with pytest.raises(TypeError, match="must hold numbers; strings can only"):
        inputs + 1
    model = functional()
    with pytest.raises(TypeError, match="'text' must hold strings"):
        model.predict(np.arange(4), verbose=0)
    numbers = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    numbers.compile("sgd", "mse")
    for call in (lambda: numbers.predict(COLOURS, verbose=0), lambda: numbers.fit(COLOURS, LABELS, verbose=0), lambda: numbers(COLOURS)):
        with pytest.raises(TypeError, match="must hold numbers"):
            call()
    with pytest.raises(TypeError, match="must hold numbers"):
        numbers.fit(np.ones((6, 1)), COLOURS, verbose=0)
    with pytest.raises(TypeError, match="a Dense cannot take strings"):
        layers.Dense(1)(inputs)
