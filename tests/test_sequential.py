"""Sequential: adding, popping, deferred building, the single-input rule."""
import json

import numpy as np
import pytest

import fastnn
from fastnn import Input, Model, Sequential, ops
from fastnn.layers import InputLayer, Layer


class Shift(Layer):
    """y = x + b, and a widening of the last axis by `extra` zeros."""

    def __init__(self, amount=1.0, **kwargs):
        super().__init__(**kwargs)
        self.amount = amount

    def build(self, input_shape):
        self.b = self.add_weight((input_shape[-1],), initializer="zeros", name="b")
        self.b.assign(np.full(input_shape[-1], self.amount))

    def call(self, x):
        return ops.add(x, self.b)


class TwoInputs(Layer):
    def call(self, a, b):
        return a


fastnn.saving.register_keras_serializable("test_sequential")(Shift)
ZEROS = np.zeros((2, 3), "float32")


@pytest.mark.parametrize("make", [
    lambda: Sequential([Input((3,)), Shift(), Shift(2.0)]),
    lambda: Sequential([Shift(input_shape=(3,)), Shift(2.0)]),
    lambda: Sequential([Shift(input_dim=3), Shift(2.0)]),
    lambda: Sequential([InputLayer(shape=(3,)), Shift(), Shift(2.0)]),
])
def test_built_from_the_start(make):
    model = make()
    assert model.built and len(model.layers) == 2 and len(model.weights) == 2
    assert model.input_shape == (None, 3) and model.output_shape == (None, 3)
    assert model.count_params() == 6
    np.testing.assert_array_equal(model(ZEROS), ZEROS + 3)


def test_deferred_build_takes_any_batch_size():
    model = Sequential([Shift(), Shift()], name="m")
    assert not model.built and model.weights == []
    with pytest.raises(AttributeError, match=r"\[m\] has no `outputs` yet"):
        model.outputs
    model(ZEROS)
    assert model.built and model.input_shape == (None, 3)
    assert model(np.zeros((7, 3))).shape == (7, 3)
    assert [v.path for v in model.weights] == ["m/" + layer.name + "/b" for layer in model.layers]


def test_add_one_by_one_and_pop():
    model = Sequential(name="m")
    model.add(Input((3,)))
    model.add(Shift(name="a"))
    model.add(Shift(name="b"))
    assert model.built and [layer.name for layer in model.layers] == ["a", "b"]
    np.testing.assert_array_equal(model(ZEROS), ZEROS + 2)
    assert model.pop().name == "b"
    assert model.built and len(model.weights) == 1
    np.testing.assert_array_equal(model(ZEROS), ZEROS + 1)
    model.add(Shift(10.0, name="c"))
    np.testing.assert_array_equal(model(ZEROS), ZEROS + 11)
    assert model.outputs[0] is model.layers[-1]._inbound_nodes[-1].output


def test_pop_of_nothing():
    with pytest.raises(ValueError, match="has no layers"):
        Sequential().pop()


def test_explicit_build():
    model = Sequential([Shift()])
    model.build((None, 5))
    assert model.built and model.weights[0].shape == (5,)
    with pytest.raises(ValueError, match=r"configured to use input shape \(None, 5\). Received: input_shape=\(None, 4\)"):
        model.build((None, 4))
    with pytest.raises(ValueError, match="has no layers"):
        Sequential().build((None, 4))


def test_a_layer_with_two_inputs_is_refused():
    model = Sequential([Input((3,)), Shift()], name="m")
    with pytest.raises(ValueError, match=r"\[m\] a layer of a Sequential model must have one input.*'two'"):
        model.add(TwoInputs(name="two"))
    a, b = Input((3,), name="a"), Input((3,), name="b")
    with pytest.raises(ValueError, match=r"must have one input. Received: 'twice' with the inputs \['a', 'b'\]"):
        model.add(Model([a, b], ops.add(a, b), name="twice"))
    assert len(model.layers) == 1 and model.built


def test_a_layer_with_two_outputs_must_be_last():
    class Twice(Layer):
        def call(self, x):
            return x, x

    model = Sequential([Input((3,)), Twice()])
    assert len(model.outputs) == 2
    with pytest.raises(ValueError):
        Sequential([Input((3,)), Twice(), Shift()])


def test_a_layer_that_does_not_fit_changes_nothing():
    class Fails(Layer):
        def build(self, input_shape):
            raise ValueError("does not fit")

        def call(self, x):
            return x

    model = Sequential([Input((3,)), Shift()])
    with pytest.raises(ValueError, match="does not fit"):
        model.add(Fails())
    assert len(model.layers) == 1
    np.testing.assert_array_equal(model(ZEROS), ZEROS + 1)


@pytest.mark.parametrize("thing", [3, "dense", ops.add, Shift])
def test_only_layers_can_be_added(thing):
    with pytest.raises(ValueError, match="Only instances of Layer can be added"):
        Sequential().add(thing)


def test_names_must_differ_and_input_comes_first():
    model = Sequential([Input((3,)), Shift(name="a")])
    with pytest.raises(ValueError, match="should have unique names. Received twice: name='a'"):
        model.add(Shift(name="a"))
    with pytest.raises(ValueError, match="an Input must come first"):
        model.add(Input((3,)))
    with pytest.raises(AttributeError, match="Use `add"):
        model.layers = []


def test_wrong_input_shape():
    model = Sequential([Input((3,), name="in"), Shift()], name="m")
    with pytest.raises(ValueError, match=r"\[m\] input 'in' is incompatible with the layer: expected shape=\(None, 3\), "
                                         r"found shape=\(2, 4\)"):
        model(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="expects 1 input"):
        model([ZEROS, ZEROS])


def test_inputs_are_cast_to_the_dtype_of_the_input():
    assert Sequential([Input((3,)), Shift()])(np.zeros((2, 3), "int32")).dtype == "float32"
    seen = []

    class Look(Layer):
        def call(self, x):
            seen.append(x.dtype)
            return x

    Sequential([Input((3,), dtype="int32"), Look()])(np.zeros((2, 3)))
    assert seen[-1] == "int32"


def test_sequential_inside_sequential():
    inner = Sequential([Shift(), Shift()], name="inner")
    model = Sequential([Input((3,)), inner, Shift()])
    np.testing.assert_array_equal(model(ZEROS), ZEROS + 3)
    assert len(model.weights) == 3 and model.layers[0] is inner and inner.built


def test_first_layer_may_be_a_functional_model():
    x = Input((3,))
    base = Model(x, Shift()(x))
    model = Sequential([base, Shift()])
    assert model.built and model.input_shape == (None, 3)
    base.trainable = False
    assert len(model.trainable_weights) == 1 and len(model.non_trainable_weights) == 1


def test_training_flag_reaches_the_layers():
    seen = []

    class Look(Layer):
        def call(self, x, training=False):
            seen.append(training)
            return x

    model = Sequential([Input((3,)), Look()])
    seen.clear()
    model(ZEROS, training=True)
    model(ZEROS)
    assert seen == [True, False]


def test_config_round_trip():
    model = Sequential([Input((3,)), Shift(2.0, name="a"), Shift(name="b")], name="m")
    config = json.loads(json.dumps(model.get_config()))
    copy = Sequential.from_config(config)
    assert copy.name == "m" and copy.built and [layer.name for layer in copy.layers] == ["a", "b"]
    np.testing.assert_array_equal(copy(ZEROS), model(ZEROS))
    assert copy.get_config() == model.get_config()
    deferred = Sequential([Shift()])
    assert not Sequential.from_config(deferred.get_config()).built
    deferred(ZEROS)
    assert Sequential.from_config(deferred.get_config()).built
    with pytest.raises(ValueError, match="'name' and 'layers' keys"):
        Sequential.from_config({"name": "m"})


def test_feature_extraction():
    model = Sequential([Input((3,)), Shift(), Shift(), Shift()])
    part = Model(model.inputs, [layer.output for layer in model.layers])
    for i, y in enumerate(part(ZEROS)):
        np.testing.assert_array_equal(y, ZEROS + i + 1)


def test_a_deferred_model_leaves_sizes_to_its_layers():
    class Same(Layer):
        def call(self, x):
            return x

    model = Sequential([Same()])
    assert model(np.zeros((2, 3, 4))).shape == (2, 3, 4) and model(np.zeros((2, 5, 6))).shape == (2, 5, 6)
    with pytest.raises(ValueError, match="is incompatible with the layer"):
        model(np.zeros((2, 3)))


def test_a_layer_that_cannot_tell_its_shape_waits_for_data():
    class Dynamic(Layer):
        def call(self, x):
            return x

        def compute_output_spec(self, *args, **kwargs):
            raise NotImplementedError

    model = Sequential([Input((3,)), Dynamic(), Shift()])
    np.testing.assert_array_equal(model(ZEROS), ZEROS + 1)


def test_a_layer_that_needs_more_than_its_input():
    class Two(Layer):
        def call(self, x, training):
            return x

    with pytest.raises(ValueError, match=r"can only have a single positional argument.*\['x', 'training'\]"):
        Sequential([Input((3,)), Two()])
