"""Files that do not fit: what is missing is named, and what is no news is left out. Models whose layers no call builds."""
import json
import warnings

import numpy as np
import pytest

import fastnn as keras
from fastnn import saving
from fastnn.saving import ModelFormatError


def same(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_errors_name_what_the_model_lacks(tmp_path):
    def model(units):
        m = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
        m.compile("adam", "mse")
        m.train_on_batch(np.zeros((2, 3)), np.zeros((2, units)))
        return m

    path = tmp_path / "a.weights.h5"
    model(2).save_weights(path)
    deeper = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    with pytest.raises(ModelFormatError, match="is not in the file") as raised:
        deeper.load_weights(path)
    assert "optimizer" not in str(raised.value)
    with warnings.catch_warnings():  # of the optimizer, which is no news where the weights do not fit
        warnings.simplefilter("error")
        with pytest.raises(ModelFormatError, match="in the model"):
            model(4).load_weights(path)
    with pytest.raises(saving.ModelFileNotFoundError) as raised:
        saving.load_model("nothing.keras")
    assert isinstance(raised.value, ValueError) and isinstance(raised.value, FileNotFoundError)
    assert str(raised.value).count("nothing.keras") == 1


class WithoutCall(keras.Model):
    def __init__(self, inner=None, **options):
        super().__init__(**options)
        self.inner = inner or keras.layers.Dense(2)

    def train_step(self, data):
        return {"size": keras.ops.sum(self.inner(data[0]))}

    def get_config(self):
        return {}


class BuildsItself(WithoutCall):
    def __init__(self):
        super().__init__(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))


def test_a_model_without_call(tmp_path):
    x, path = np.ones((4, 3), "f"), tmp_path / "m.keras"
    one = BuildsItself()
    one.compile("adam")
    one.fit(x, x, verbose=0)
    with pytest.warns(UserWarning, match="never called"):
        one.save(path)
    same(saving.load_model(path, custom_objects={"BuildsItself": BuildsItself}), one)
    one.save_weights(tmp_path / "m.weights.h5")
    again = BuildsItself()
    again.load_weights(tmp_path / "m.weights.h5")
    same(again, one)
    one = WithoutCall()
    one.compile("adam")
    one.fit(x, x, verbose=0)
    with pytest.warns(UserWarning, match="`__init__` or `from_config` build"):
        one.save(path)
    with pytest.raises(ModelFormatError, match="is not built"):
        saving.load_model(path, custom_objects={"WithoutCall": WithoutCall})


DENSE = {"name": "dense", "trainable": True, "dtype": "float32", "units": 2, "activation": "linear", "use_bias": True,
         "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}, "kernel_regularizer": None}
INPUT = {"batch_input_shape": [None, 3], "dtype": "float32", "sparse": False, "ragged": False, "name": "input_1"}


def keras2_functional(refers_to):
    return {"name": "model", "trainable": True, "input_layers": [["input_1", 0, 0]], "output_layers": [["dense", 0, 0]], "layers": [
        {"class_name": "InputLayer", "config": INPUT, "name": "input_1", "inbound_nodes": []},
        {"class_name": "Dense", "config": DENSE, "name": "dense", "inbound_nodes": [[[refers_to, 0, 0, {}]]]}]}


def test_configs_of_keras_2():
    sequential = {"name": "sequential", "layers": [{"class_name": "InputLayer", "config": INPUT}, {"class_name": "Dense", "config": DENSE}]}
    functional = keras2_functional("input_1")
    for cls, config in ((keras.Sequential, sequential), (keras.Model, functional)):
        name = "Functional" if cls is keras.Model else cls.__name__
        text = json.dumps({"class_name": name, "config": config, "keras_version": "2.11.0", "backend": "tensorflow"})
        for model in (cls.from_config(config), keras.models.model_from_json(text)):
            assert model.name == config["name"] and model.layers[-1].name == "dense" and model.count_params() == 8
            assert model(np.ones((4, 3), "f")).shape == (4, 2)
    with pytest.raises(ValueError, match="Missing node: nothing"):
        keras.Model.from_config(keras2_functional("nothing"))
    with pytest.raises(ValueError, match="loop"):
        keras.Model.from_config(keras2_functional("dense"))
