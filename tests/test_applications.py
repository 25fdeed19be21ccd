"""Applications: layers, weights, counts and predictions of Keras 3.15.1, arguments, weights from files."""
import inspect
import json
import lzma
import math
import os
from pathlib import Path

import numpy as np
import pytest
from fixtures.application_cases import PREDICTIONS, STRUCTURES, picture, values

import fastnn as keras
from fastnn import applications
from fastnn.utils.naming import reset_names

DATA = json.loads(lzma.decompress((Path(__file__).parent / "fixtures" / "applications.json.xz").read_bytes()))
# Half a gigabyte of weights each, and the same code as their smaller variants.
BIG = ("VGG19", "EfficientNetB7")


@pytest.fixture(autouse=True)
def fresh_names():
    reset_names()


@pytest.mark.parametrize("case", [case for case in STRUCTURES if case not in BIG])
def test_structure(case):
    name, arguments = STRUCTURES[case]
    expected = DATA["structures"][case]
    model = getattr(applications, name)(weights=None, **arguments)
    assert model.name == expected["name"]
    assert model.count_params() == expected["parameters"]
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == expected["trainable"]
    assert list(model.output_shape) == expected["output"]
    assert [layer["name"] for layer in model.get_config()["layers"]] == expected["operations"]
    assert [[w.path, list(w.shape)] for w in model.weights] == expected["weights"]


@pytest.mark.parametrize("name", PREDICTIONS)
def test_prediction(name):
    side = PREDICTIONS[name]
    model = getattr(applications, name)(weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3))
    model.set_weights(values(model.weights))
    y = model.predict(picture(side) / 127.5 - 1, verbose=0)[0]
    expected = np.array(DATA["predictions"][name])
    y = y[:: max(1, len(y) // 32)]
    # A hundred layers deep; the scale is that of the largest feature.
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())


def test_seed_counts():
    """What the seeds' programs print in Keras."""
    base = applications.Xception(weights=None, include_top=False, pooling="avg")
    assert len(base.layers) == 133 and base.input_shape == (None, None, None, 3)
    base.trainable = False
    model = keras.Sequential([base, keras.layers.Dense(1000)])
    assert model.count_params() == 22_910_480
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == 2_049_000
    assert keras.applications.inception_v3.InceptionV3 is applications.InceptionV3


def test_input_tensor():
    """A model that starts from another model's tensor has that model's inputs."""
    image = keras.Input((40, 40, 3))
    scaled = keras.layers.Rescaling(2.0)(image)
    model = applications.MobileNet(weights=None, include_top=False, input_tensor=scaled)
    assert model.inputs[0] is image and any(layer.name == "rescaling" for layer in model.layers)
    with pytest.raises(ValueError, match="must be a KerasTensor"):
        applications.VGG16(weights=None, input_tensor=np.zeros((1, 32, 32, 3)))


@pytest.mark.parametrize("arguments, message", [
    ({"weights": "no such file"}, "argument should be either"),
    ({"weights": "imagenet", "classes": 10}, "should be 1000"),
    ({"weights": "imagenet", "classifier_activation": "relu"}, "Only `None` and `softmax`"),
    ({"weights": None, "input_shape": (70, 71, 3)}, "at least 71x71"),
    ({"weights": None, "input_shape": (100, 100)}, "three integers"),
    ({"weights": None, "input_shape": (None, None, 3)}, "static `input_shape`"),
    ({"weights": "imagenet", "input_shape": (100, 100, 3)}, "should be"),
    ({"weights": "imagenet", "include_top": False, "input_shape": (100, 100, 1)}, "3 channels"),
])
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        applications.Xception(**arguments)


@pytest.mark.parametrize("name, arguments, message", [
    ("MobileNet", {"alpha": 0.3}, "alpha must be one of"),
    ("MobileNet", {"depth_multiplier": 2}, "depth multiplier must be 1"),
    ("MobileNetV2", {"alpha": 0.3}, "alpha must be one of"),
    ("MobileNetV3Small", {"alpha": 0.5}, "alpha must be one of"),
    ("MobileNetV3Small", {"weights": None, "input_shape": (16, 16, 3)}, "at least 32x32"),
])
def test_wrong_arguments_of_mobilenet(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(applications, name)(**arguments)


def test_imagenet_weights_come_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "models" / "xception_weights_tf_dim_ordering_tf_kernels.h5")):
        applications.Xception()


def test_weights_from_a_file(tmp_path):
    path = tmp_path / "m.safetensors"
    arguments = {"include_top": False, "input_shape": (32, 32, 3), "alpha": 0.25}
    first = applications.MobileNet(weights=None, **arguments)
    first.save_weights(path)
    reset_names()
    second = applications.MobileNet(weights=os.fspath(path), **arguments)
    for a, b in zip(first.get_weights(), second.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name, side, last", [("ConvNeXtTiny", 32, 40), ("InceptionResNetV2", 75, 50)])
def test_their_own_layers_have_configs(name, side, last):
    model = getattr(applications, name)(weights=None, include_top=False, input_shape=(side, side, 3))
    part = keras.Model(model.inputs, model.layers[last].output)
    again = keras.Model.from_config(part.get_config())
    again.set_weights(part.get_weights())
    x = picture(side)
    np.testing.assert_array_equal(again(x), part(x))


@pytest.mark.parametrize("mode, expected", [
    ("tf", lambda x: x / 127.5 - 1),
    ("torch", lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    ("caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
])
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (4, 5, 3)])
def test_preprocess_input(mode, expected, shape):
    preprocess = applications.imagenet_utils.preprocess_input
    x = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    y = expected(x.astype("float64"))
    close = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(preprocess(x, mode=mode), y, **close)
    np.testing.assert_allclose(preprocess(x.astype("float32"), mode=mode), y, **close)
    np.testing.assert_allclose(preprocess(keras.ops.cast(x, "float32"), mode=mode), y, **close)
    first = np.moveaxis(x, -1, -3)
    np.testing.assert_allclose(preprocess(first, "channels_first", mode), np.moveaxis(y, -1, -3), **close)
    tensor = keras.ops.cast(first, "float32")
    np.testing.assert_allclose(preprocess(tensor, "channels_first", mode), np.moveaxis(y, -1, -3), **close)
    if len(shape) == 4:
        symbolic = keras.Input(shape[1:])
        model = keras.Model(symbolic, preprocess(symbolic, mode=mode))
        np.testing.assert_allclose(model(x.astype("float32")), y, **close)


def test_preprocess_input_refuses():
    with pytest.raises(ValueError, match="Expected mode"):
        applications.imagenet_utils.preprocess_input(np.zeros((2, 2, 3)), mode="theano")
    with pytest.raises(ValueError, match="Expected data_format"):
        applications.imagenet_utils.preprocess_input(np.zeros((2, 2, 3)), data_format="nhwc")
    x = np.zeros((1, 2, 2, 3), "float32")
    x.flags.writeable = False
    assert applications.xception.preprocess_input(x).min() == -1 and x.max() == 0


def test_preprocess_input_of_the_modules():
    x = np.full((1, 2, 2, 3), 255.0, "float32")
    for name, first in (("xception", 1.0), ("resnet", 255 - 103.939), ("resnet50", 255 - 103.939), ("resnet_v2", 1.0),
                        ("densenet", (1 - 0.485) / 0.229), ("efficientnet", 255.0), ("mobilenet_v3", 255.0)):
        y = getattr(applications, name).preprocess_input(x.copy())
        np.testing.assert_allclose(y[0, 0, 0, 0], first, rtol=1e-5)


def test_decode_predictions(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(applications.imagenet_utils, "_class_index", None)
    p = np.zeros((2, 1000), "float32")
    p[0, 7], p[0, 3], p[1, 999] = 0.6, 0.4, 1.0
    with pytest.raises(FileNotFoundError, match="imagenet_class_index.json"):
        applications.xception.decode_predictions(p)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "imagenet_class_index.json").write_text(
        json.dumps({str(i): [f"n{i:08d}", f"class {i}"] for i in range(1000)}))
    best = applications.xception.decode_predictions(p, top=2)
    assert best[0] == [("n00000007", "class 7", np.float32(0.6)), ("n00000003", "class 3", np.float32(0.4))]
    assert best[1][0][:2] == ("n00000999", "class 999")
    with pytest.raises(ValueError, match="expects a batch"):
        applications.xception.decode_predictions(p[:, :10])


def test_arguments_are_documented():
    for name in applications.__all__:
        if name[0].isupper():
            function = getattr(applications, name)
            assert "classifier_activation:" in inspect.getdoc(function), name
            assert inspect.signature(function).parameters["weights"].default == "imagenet"
