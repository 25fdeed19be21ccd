"""Parameter counts and output shapes that Keras gives for the models of the example programs."""

import math
import re

import pytest

import fastnn as keras
from fastnn import Input, Model, layers


def sequential_on_pixels():
    model = keras.Sequential(name="my_seq_model")
    model.add(keras.Input(shape=(250, 250, 3)))
    model.add(layers.Dense(32, activation="relu", name="layer-1"))
    model.add(layers.Dense(32, activation="relu", name="layer-2"))
    model.add(layers.Dense(1, activation="sigmoid", name="layer-3"))
    return model


def sequential_frozen():
    model = sequential_on_pixels()
    for layer in model.layers[:-1]:
        layer.trainable = False
    return model


def functional_on_pixels():
    inputs = keras.Input(shape=(256, 25, 3))
    x = layers.Dense(32, activation="relu", name="G-x")(inputs)
    x = layers.Dense(32, activation="relu", name="G-q")(x)
    return keras.Model(inputs=inputs, outputs=layers.Dense(10, name="G-k")(x), name="my_func_model")


def digits():
    return keras.Sequential(
        [
            layers.Dense(128, activation="relu", input_shape=(784,)),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def text_and_numbers():
    text = Input(shape=(100,), name="text_input")
    x1 = layers.LSTM(128)(layers.Embedding(input_dim=10000, output_dim=64)(text))
    numbers = Input(shape=(10,), name="numerical_input")
    combined = layers.concatenate([x1, layers.Dense(64, activation="relu")(numbers)])
    output1 = layers.Dense(10, activation="softmax", name="output1")(combined)
    return Model(inputs=[text, numbers], outputs=[output1, layers.Dense(1, name="output2")(combined)])


def question_answering():
    text = Input(shape=(None,), dtype="int32", name="text")
    encoded_text = layers.LSTM(32)(layers.Embedding(10000, 64)(text))
    question = Input(shape=(None,), dtype="int32", name="question")
    encoded_question = layers.LSTM(16)(layers.Embedding(10000, 32)(question))
    merged = layers.concatenate([encoded_text, encoded_question], axis=-1)
    return Model([text, question], layers.Dense(500, activation="softmax")(merged))


def posts():
    posts_input = Input(shape=(None,), dtype="int32", name="posts")
    x = layers.Embedding(256, 50000)(posts_input)
    x = layers.Conv1D(128, 5, activation="relu")(x)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(128, activation="relu")(x)
    age = layers.Dense(1, name="age")(x)
    income = layers.Dense(10, activation="softmax", name="income")(x)
    return Model(posts_input, [age, income, layers.Dense(1, activation="sigmoid", name="gender")(x)])


def siamese():
    lstm = layers.LSTM(32)
    left, right = Input(shape=(None, 128)), Input(shape=(None, 128))
    merged = layers.concatenate([lstm(left), lstm(right)], axis=-1)
    return Model([left, right], layers.Dense(1, activation="sigmoid")(merged))


def two_dense():
    model = keras.models.Sequential()
    model.add(layers.Dense(32, input_shape=(784,)))
    model.add(layers.Dense(32))
    return model


def batch_norm():
    return keras.Sequential([Input(shape=(4,)), layers.BatchNormalization()])


ROWS = [
    (sequential_on_pixels, 1217, 1217, (None, 250, 250, 1)),
    (sequential_frozen, 1217, 33, (None, 250, 250, 1)),
    (functional_on_pixels, 1514, 1514, (None, 256, 25, 10)),
    (digits, 101_770, 101_770, (None, 10)),
    (text_and_numbers, 741_643, 741_643, [(None, 10), (None, 1)]),
    (question_answering, 1_000_052, 1_000_052, (None, 500)),
    (posts, 45_982_476, 45_982_476, [(None, 1), (None, 10), (None, 1)]),
    (siamese, 20_673, 20_673, (None, 1)),
    (two_dense, 26_176, 26_176, (None, 32)),
    # gamma and beta are trained, the moving mean and variance are not
    (batch_norm, 16, 8, (None, 4)),
]


def summary_counts(model):
    """{"Total": n, "Trainable": n, "Non-trainable": n} as summary() prints them."""
    lines = []
    model.summary(print_fn=lambda text, *args, **kwargs: lines.append(text))
    found = re.findall(r"(Total|Non-trainable|Trainable) params: ([\d,]+)", "\n".join(lines))
    return {kind: int(count.replace(",", "")) for kind, count in found}


@pytest.mark.parametrize("build, total, trainable, shape", ROWS, ids=[r[0].__name__ for r in ROWS])
@pytest.mark.filterwarnings("ignore:.*input_shape.*")
def test_parameter_counts(build, total, trainable, shape):
    model = build()
    assert model.count_params() == total
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == trainable
    assert sum(math.prod(w.shape) for w in model.non_trainable_weights) == total - trainable
    shapes = model.output_shape
    assert (list(map(tuple, shapes)) if isinstance(shape, list) else tuple(shapes)) == shape
    assert summary_counts(model) == {
        "Total": total,
        "Trainable": trainable,
        "Non-trainable": total - trainable,
    }


def test_layer_counts_follow_the_formulas():
    """(kh * kw * channels + 1) * filters for a convolution, 4 * channels for batch norm, ..."""
    rows = [
        (layers.Conv2D(8, (3, 5)), (None, 10, 10, 3), (3 * 5 * 3 + 1) * 8),
        (layers.Conv2D(8, 3, groups=2, use_bias=False), (None, 10, 10, 4), 3 * 3 * 2 * 8),
        (layers.Conv1D(8, 5), (None, 10, 3), (5 * 3 + 1) * 8),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (None, 10, 10, 3), (3 * 3 + 1) * 3 * 2),
        (layers.SeparableConv2D(8, 3), (None, 10, 10, 3), 3 * 3 * 3 + (3 + 1) * 8),
        (layers.Conv2DTranspose(8, 3), (None, 10, 10, 3), (3 * 3 * 3 + 1) * 8),
        (layers.BatchNormalization(), (None, 10, 10, 3), 4 * 3),
        (layers.LayerNormalization(), (None, 7), 2 * 7),
        (layers.LSTM(5), (None, None, 3), 4 * 5 * (3 + 5 + 1)),
        (layers.GRU(5), (None, None, 3), 3 * 5 * (3 + 5 + 2)),
        (layers.GRU(5, reset_after=False), (None, None, 3), 3 * 5 * (3 + 5 + 1)),
        (layers.SimpleRNN(5), (None, None, 3), 5 * (3 + 5 + 1)),
        (layers.Bidirectional(layers.LSTM(5)), (None, None, 3), 2 * 4 * 5 * (3 + 5 + 1)),
        (layers.Embedding(20, 6), (None, 4), 20 * 6),
    ]
    for layer, shape, count in rows:
        layer.build(shape)
        assert layer.count_params() == count, layer.name


def test_frozen_batch_norm_counts():
    model = batch_norm()
    model.layers[0].trainable = False
    assert summary_counts(model) == {"Total": 16, "Trainable": 0, "Non-trainable": 16}
    assert len(model.layers[0].weights) == 4 and model.layers[0].trainable_weights == []
