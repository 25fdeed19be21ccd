"""Subclassed models and what all models share."""
import json

import numpy as np
import pytest

import fastnn
import fastnn as keras
from fastnn import Input, Model, ops
from fastnn.layers import Layer
from fastnn.models import clone_model, model_from_json


class Shift(Layer):
    def build(self, input_shape):
        self.b = self.add_weight((input_shape[-1],), initializer="ones", name="b")

    def call(self, x):
        return ops.add(x, self.b)


@fastnn.saving.register_keras_serializable("test_models")
class Stack(Model):
    def __init__(self, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.shifts = [Shift() for _ in range(depth)]
        self.seen = None

    def call(self, x, training=False):
        self.seen = training
        for shift in self.shifts:
            x = shift(x)
        return x


X = np.zeros((2, 3), "float32")


def test_subclass_builds_with_its_first_call():
    model = Stack(name="m")
    assert not model.built and model.weights == []
    np.testing.assert_array_equal(model(X), X + 2)
    assert model.built and [v.path for v in model.weights] == [f"m/{layer.name}/b" for layer in model.layers]
    assert len(model.layers) == 2 and model.count_params() == 6


def test_subclass_builds_from_a_shape():
    model = Stack()
    model.build((None, 3))
    assert model.built and len(model.weights) == 2 and model.weights[0].shape == (3,)
    with pytest.raises(ValueError, match="input_shape must be a shape"):
        Stack().build()


def test_subclass_on_symbolic_tensors():
    model = Stack()
    x = Input((3,))
    outer = Model(x, model(x))
    np.testing.assert_array_equal(outer(X), X + 2)
    assert outer.layers[1] is model and len(outer.weights) == 2


def test_training_flag():
    model = Stack()
    model(X, training=True)
    assert model.seen is True
    model(X)
    assert model.seen is False


def test_get_layer_errors():
    model = Stack()
    for arguments in ({}, {"name": "a", "index": 0}):
        with pytest.raises(ValueError, match="needs a name or an index"):
            model.get_layer(**arguments)
    with pytest.raises(ValueError, match="index must be an integer below the number of layers, 2"):
        model.get_layer(index=2)
    with pytest.raises(ValueError, match="there is no layer of that name. Received: name='x'"):
        model.get_layer("x")
    with pytest.raises(AttributeError, match="`Model.layers` attribute is reserved"):
        model.layers = []


def test_model_without_call():
    with pytest.raises(NotImplementedError, match=r"\[Model\] does not have a `call` method implemented"):
        Model()(X)


def test_config_of_a_subclass():
    model = Stack(depth=3, name="m")
    copy = model_from_json(model.to_json())
    assert isinstance(copy, Stack) and copy.name == "m" and len(copy.layers) == 3
    assert json.loads(model.to_json())["registered_name"] == "test_models>Stack"
    assert len(clone_model(model).layers) == 3
    with pytest.raises(ValueError, match="clone_function, call_function and input_tensors need"):
        clone_model(model, clone_function=lambda layer: layer)
    with pytest.raises(ValueError, match="model must be a Model"):
        clone_model(3)


def test_unknown_class_in_json():
    with pytest.raises(ValueError, match="class 'Popen' must be known"):
        model_from_json('{"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}}')


def test_entry_points():
    assert fastnn.Model is fastnn.models.Model is fastnn.keras.Model is fastnn.keras.models.Model
    assert fastnn.layers.Input is fastnn.Input and fastnn.Sequential is fastnn.models.Sequential
    from fastnn.keras.layers import Layer as aliased
    from fastnn.keras.models import Sequential

    assert aliased is Layer and Sequential is fastnn.Sequential
    assert fastnn.keras.__version__ == fastnn.__version__ == fastnn.version()


def test_what_the_trainer_keeps_is_not_state():
    model = Stack()
    model(X)
    model._compile_metrics = [Shift()]
    assert len(model.layers) == 2


def test_a_call_that_reads_values_builds_eagerly():
    class Reads(Model):
        def __init__(self):
            super().__init__(name="reads")
            self.shift = Shift()

        def call(self, x):
            return self.shift(x) if float(np.asarray(x).sum()) == 0 else x

    model = Reads()
    np.testing.assert_array_equal(model(X), X + 1)
    assert model.built and model.get_build_config() == {"input_shape": (2, 3)}
    assert [v.path for v in model.weights] == [f"reads/{model.shift.name}/b"]
    with pytest.raises(TypeError, match="has a shape and no values"):
        Reads()(Input((3,)))


def test_several_call_arguments():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.shift = Shift()

        def call(self, a, b=None, training=None):
            return self.shift(a) if b is None else ops.add(self.shift(a), b)

    model = Two()
    a, b = Input((3,)), Input((3,))
    outer = Model([a, b], model(a, b=b))
    np.testing.assert_array_equal(outer([X, X + 5]), X + 6)
    assert model.get_build_config() == {"shapes_dict": {"a_shape": (None, 3), "b_shape": (None, 3)}}


def test_state_tree():
    model = Stack(name="m")
    model(X)
    first, second = (layer.name for layer in model.layers)
    tree = model.get_state_tree("numpy_array")
    assert list(tree) == ["trainable_variables", "non_trainable_variables", "metrics_variables"]
    assert tree["trainable_variables"]["m"][first]["b"].tolist() == [1, 1, 1]
    tree["trainable_variables"]["m"][second]["b"] += 1
    model.set_state_tree(tree)
    np.testing.assert_array_equal(model(X), X + 3)
    with pytest.raises(ValueError, match="there is no variable 'm/x'"):
        model.set_state_tree({"trainable_variables": {"m": {"x": np.ones(3)}}})
    with pytest.raises(ValueError, match="unknown group"):
        model.set_state_tree({"weights": {}})
    with pytest.raises(ValueError, match="value_format must be"):
        model.get_state_tree("list")


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_losses_of_structures(kind):
    """A list of another type than the outputs holds losses of all of them: one that gets them whole, and one for each."""
    x = keras.Input((3,))
    first, second = keras.layers.Dense(1, name="y1")(x), keras.layers.Dense(1, name="y2")(x)
    model = keras.Model(x, {"y1": first, "y2": second} if kind is dict else kind([first, second]))
    rng = np.random.default_rng(0)
    data, targets = rng.random((8, 3)), [rng.random((8, 1)), rng.random((8, 1))]
    y = dict(zip(("y1", "y2"), targets)) if kind is dict else kind(targets)

    def together(y_true, y_pred):
        assert type(y_true) is type(y_pred) and len(y_true) == 2
        a, b = (tuple(v.values()) if isinstance(v, dict) else v for v in (y_true, y_pred))
        return sum(keras.ops.mean(keras.ops.abs(p - q), axis=-1) for p, q in zip(a, b))

    each = {"y1": "mse", "y2": "mae"} if kind is dict else kind(["mse", "mae"])
    outer = tuple if kind is list else list
    weights = outer([2.0, {"y1": 1.0, "y2": 0.5} if kind is dict else kind([1.0, 0.5])])
    model.compile("sgd", outer([together, each]), loss_weights=weights)
    p = [np.asarray(v) for v in keras.tree.flatten(model.predict(data, verbose=0))]
    mae = [np.abs(a - b).mean() for a, b in zip(targets, p)]
    expected = 2 * sum(mae) + ((targets[0] - p[0]) ** 2).mean() + 0.5 * mae[1]
    logs = model.evaluate(data, y, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "y1_loss", "y2_loss", "y1_y2_loss"}
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["y1_y2_loss"], sum(mae), rtol=1e-5)
    history = model.fit(data, y, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
