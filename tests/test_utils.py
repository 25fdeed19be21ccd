"""to_categorical, normalize, pad_sequences, seeds, names, config."""
import random

import numpy as np
import pytest

import fastnn
from fastnn import utils
from fastnn.utils.naming import check_name, current_path, name_scope, to_snake_case


@pytest.mark.parametrize("x, classes, shape", [
    ([0, 2, 1], None, (3, 3)), ([[0], [3]], 5, (2, 5)), (np.array(2), None, (3,)), ([[0, 1], [1, 0]], None, (2, 2, 2)),
    ([0.0, 1.0], None, (2, 2)), (np.zeros((2, 0), int), 3, (2, 0, 3))])
def test_to_categorical(x, classes, shape):
    y = utils.to_categorical(x, classes)
    assert y.shape == shape and y.dtype == np.float32
    assert y.size == 0 or (y.argmax(-1).reshape(-1) == np.asarray(x).reshape(-1)).all()


@pytest.mark.parametrize("x, classes, message", [
    ([0, 3], 3, r"between 0 and num_classes - 1 = 2. Received: x\[1\]=3"), ([-1], None, r"x\[0\]=-1"),
    ([0.5], None, "whole numbers"), ([np.nan], None, "whole numbers"), ([], None, "num_classes must be given")])
def test_to_categorical_errors(x, classes, message):
    with pytest.raises(ValueError, match=message):
        utils.to_categorical(x, classes)


def test_to_categorical_of_a_tensor():
    assert fastnn.is_tensor(utils.to_categorical(fastnn.convert_to_tensor([1, 0])))


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(utils.normalize(x, order=1), [[3 / 7, 4 / 7], [0, 0]])
    np.testing.assert_allclose(utils.normalize([3, 4], axis=0), [0.6, 0.8], rtol=1e-6)
    with pytest.raises(ValueError, match="order must be at least 1"):
        utils.normalize(x, order=0)


@pytest.mark.parametrize("options, expected", [
    ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6]]), ({"padding": "post", "value": 9}, [[1, 9, 9], [2, 3, 9], [4, 5, 6]]),
    ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6]]), ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5]]),
    ({"maxlen": 0}, np.zeros((3, 0)))])
def test_pad_sequences(options, expected):
    np.testing.assert_array_equal(utils.pad_sequences([[1], [2, 3], [4, 5, 6]], **options), expected)


def test_pad_sequences_of_vectors_and_strings():
    assert utils.pad_sequences([np.ones((1, 2)), np.ones((3, 2))]).shape == (2, 3, 2)
    assert utils.pad_sequences([["a"], ["b", "c"]], dtype=object, value="-").tolist() == [["-", "a"], ["b", "c"]]


@pytest.mark.parametrize("arguments, message", [
    (([1, 2],), "every element must be a sequence"), (([[1]], None, "int32", "left"), "padding must be 'pre' or 'post'"),
    ((3,), "sequences must be a list"), (([[1]], None, "int32", "pre", "pre", "x"), "use dtype=object"),
    (([np.ones((1, 2)), np.ones((1, 3))],), "elements of shape")])
def test_pad_sequences_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        utils.pad_sequences(*arguments)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "1"])
def test_random_seed_errors(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        utils.set_random_seed(seed)


def test_random_seed():
    def draw():
        utils.set_random_seed(7)
        return random.random(), np.random.rand(), np.asarray(fastnn.random.normal((3,))).tolist()

    assert draw() == draw()


@pytest.mark.parametrize("name, snake", [
    ("Dense", "dense"), ("Conv2DTranspose", "conv2d_transpose"), ("LSTM", "lstm"), ("ReLU", "re_lu"),
    ("MaxPooling2D", "max_pooling2d"), ("BatchNormalization", "batch_normalization")])
def test_snake_case(name, snake):
    assert to_snake_case(name) == snake


def test_names_and_scopes():
    assert check_name("a-b.c_1", "x") == "a-b.c_1"
    with pytest.raises(ValueError, match=r"\[x\] name must be a string"):
        check_name("a b", "x")
    caller = object()
    with name_scope("a"), name_scope("b", caller=caller), name_scope("b", caller=caller):
        assert current_path() == "a/b"
    assert current_path() == ""


def test_config():
    config = fastnn.config
    assert (config.floatx(), config.epsilon(), config.image_data_format(), config.backend()) == (
        "float32", 1e-7, "channels_last", "fastnn")
    for function, value in ((config.set_floatx, "int32"), (config.set_epsilon, 0), (config.set_image_data_format, "NCHW")):
        with pytest.raises(ValueError):
            function(value)
    config.set_image_data_format("channels_first")
    assert config.image_data_format() == "channels_first"
    config.set_image_data_format("channels_last")


def test_global_dtype_policy():
    policy = fastnn.config.dtype_policy()
    assert policy.name == "float32" and policy == fastnn.DTypePolicy("float32")
    fastnn.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert fastnn.layers.Layer().compute_dtype == "bfloat16"
    finally:
        fastnn.config.set_dtype_policy(None)
    assert fastnn.layers.Layer().compute_dtype == "float32"
