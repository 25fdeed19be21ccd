"""Functional models: structures, sharing, nesting, ops in the graph, configs, cloning."""
import json

import numpy as np
import pytest

import fastnn
from fastnn import Input, Model, Sequential, ops
from fastnn.layers import Layer
from fastnn.models import Functional, clone_model, model_from_json


@fastnn.saving.register_keras_serializable("test_functional")
class Shift(Layer):
    """y = x + b"""

    def __init__(self, amount=1.0, **kwargs):
        super().__init__(**kwargs)
        self.amount = amount

    def build(self, input_shape):
        self.b = self.add_weight((input_shape[-1],), initializer="zeros", name="b")
        self.b.assign(np.full(input_shape[-1], self.amount))

    def call(self, x):
        return ops.add(x, self.b)


@fastnn.saving.register_keras_serializable("test_functional")
class Plus(Layer):
    """The sum of a list of tensors."""

    def call(self, xs):
        y = xs[0]
        for x in xs[1:]:
            y = ops.add(y, x)
        return y


@fastnn.saving.register_keras_serializable("test_functional")
class Flag(Layer):
    def call(self, x, training=None):
        self.seen = training
        return x


A, B = np.full((2, 3), 10, "float32"), np.full((2, 3), 20, "float32")


def diamond():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    shared = Shift(name="shared")
    left, right = shared(a), shared(b)
    both = Plus(name="plus")([left, right])
    return Model([a, b], [Shift(2.0, name="first")(both), Shift(3.0, name="second")(left)], name="diamond")


def test_a_mask_tiled_by_a_computed_number():
    """The batch size goes into the repeats of `tile`, as a tensor: nobody knows it, and it meets what is known."""

    class Causal(Layer):
        def build(self, shape):
            self.attention = fastnn.layers.MultiHeadAttention(2, 4)
            self.attention.build(shape, shape)

        def call(self, x):
            batch, n = ops.shape(x)[0], ops.shape(x)[1]
            mask = ops.reshape(ops.arange(n)[:, None] >= ops.arange(n), [1, n, n])
            repeats = ops.concatenate([ops.expand_dims(batch, -1), ops.convert_to_tensor([1, 1])], 0)
            return self.attention(x, x, attention_mask=ops.tile(mask, repeats))

    x = Input((5, 6))
    model = Model(x, Causal()(x))
    assert model.output_shape == (None, 5, 6)
    values = np.random.default_rng(0).normal(size=(3, 5, 6)).astype("float32")
    once, again = np.asarray(model(values)), np.asarray(model(np.concatenate([values[:, :3], 0 * values[:, 3:]], 1)))
    np.testing.assert_allclose(once[:, :3], again[:, :3], rtol=1e-5, atol=1e-6)


def test_layers_come_in_order_and_a_shared_layer_once():
    model = diamond()
    assert isinstance(model, Functional) and isinstance(model, Model)
    assert [layer.name for layer in model.layers] == ["a", "b", "shared", "plus", "first", "second"]
    assert len(model.weights) == 3 and model.built and model.count_params() == 9
    assert model.input_names == ["a", "b"] and model.output_names == ["first", "second"]
    assert model.input_shape == [(None, 3), (None, 3)] and model.output_shape == [(None, 3), (None, 3)]
    assert model.get_layer("plus") is model.layers[3] and model.get_layer(index=-1).name == "second"


@pytest.mark.parametrize("inputs", [
    [A, B], (A, B), {"a": A, "b": B}, {"b": B, "a": A}, [A.astype("float64"), B.astype("int32")]])
def test_inputs_in_every_structure(inputs):
    first, second = diamond()(inputs)
    np.testing.assert_array_equal(first, A + B + 4)
    np.testing.assert_array_equal(second, A + 4)


@pytest.mark.parametrize("inputs, message", [
    ([A], r"expects 2 input\(s\): \['a', 'b'\]. Received: 1"),
    ({"a": A}, r"must be a dict with the keys \['a', 'b'\]. Received: \['a'\]"),
    ([A, B[:, :2]], r"input 'b' is incompatible with the layer: expected shape=\(None, 3\), found shape=\(2, 2\)"),
    ([A, np.zeros((2, 3, 4))], "input 'b' is incompatible"),
    ([A, None], "'b' is not optional"),
])
def test_wrong_inputs(inputs, message):
    with pytest.raises(ValueError, match=message):
        diamond()(inputs)


def test_unused_keys_are_warned_about():
    with pytest.warns(UserWarning, match=r"keys that the model does not use: \['c'\]"):
        diamond()({"a": A, "b": B, "c": A})


def test_dicts_and_nests_of_inputs_and_outputs():
    x = {"p": Input((3,), name="one"), "q": [Input((3,), name="two"), Input((3,), name="three")]}
    y = Plus()([x["p"], *x["q"]])
    model = Model(x, {"sum": y, "parts": (ops.add(x["p"], y), [x["q"][0]])})
    out = model({"p": A, "q": [A, B]})
    np.testing.assert_array_equal(out["sum"], 2 * A + B)
    assert isinstance(out["parts"], tuple)
    np.testing.assert_array_equal(out["parts"][0], 3 * A + B)
    np.testing.assert_array_equal(out["parts"][1][0], A)
    flat = Model({"z": x["p"], "c": x["q"][0]}, {"y": ops.add(x["p"], x["q"][0])})
    assert flat.output_names == ["y"]
    np.testing.assert_array_equal(flat({"z": A, "c": B})["y"], A + B)
    with pytest.raises(ValueError, match=r"inputs must be a dict with the keys \['z', 'c'\]"):
        flat({"z": A})


def test_a_last_axis_of_one_is_added_or_dropped():
    x = Input((1,))
    model = Model(x, Shift()(x))
    assert model(np.zeros(4)).shape == (4, 1)
    x = Input((3,))
    assert Model(x, Shift()(x))(np.zeros((4, 3, 1))).shape == (4, 3)


def test_ops_are_nodes():
    x = Input((3,), name="x")
    y = ops.multiply(ops.add(x, 1.0), x)
    model = Model(x, y)
    assert [op.class_name for op in model.operations[1:]] == ["Add", "Multiply"]
    assert [layer.name for layer in model.layers] == ["x"]
    np.testing.assert_array_equal(model(A), (A + 1) * A)


def test_operators_are_nodes():
    x = Input((3,), name="x")
    y = (x + 1.0) * 2.0 - x
    model = Model(x, [y, y[:, 1:], -x])
    out = model(A)
    np.testing.assert_array_equal(out[0], (A + 1) * 2 - A)
    np.testing.assert_array_equal(out[1], ((A + 1) * 2 - A)[:, 1:])
    assert model.output_shape == [(None, 3), (None, 2), (None, 3)]


def test_models_are_layers():
    inner = diamond()
    a, b = Input((3,), name="in_a"), Input((3,), name="in_b")
    first, second = inner([a, b])
    model = Model([a, b], ops.add(first, second))
    assert model.get_layer("diamond") is inner and len(model.weights) == 3
    np.testing.assert_array_equal(model([A, B]), 2 * A + B + 8)
    assert inner.compute_output_shape([(5, 3), (5, 3)]) == [(5, 3), (5, 3)]
    inner.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 3


def test_the_same_model_twice():
    encoder = Sequential([Input((3,)), Shift()], name="encoder")
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], Plus()([encoder(a), encoder(b)]))
    assert len(model.weights) == 1
    np.testing.assert_array_equal(model([A, B]), A + B + 2)


def test_part_of_a_model():
    model = diamond()
    part = Model(model.inputs, model.get_layer("plus").output)
    np.testing.assert_array_equal(part([A, B]), A + B + 2)
    # From an intermediate tensor on: the model gets an Input of its own.
    tail = Model(model.get_layer("plus").output, model.get_layer("first").output)
    assert [layer.name for layer in tail.layers] == ["plus_input", "first"]
    np.testing.assert_array_equal(tail(A), A + 2)
    with pytest.raises(ValueError, match=r"\[cut\] graph disconnected. Output with path `.*` is not connected to `inputs`: it depends on the input 'b'"):
        Model(model.inputs[0], model.outputs[0], name="cut")


@pytest.mark.parametrize("inputs, outputs, message", [
    (np.zeros((2, 3)), None, "`inputs` values must be KerasTensors that come from Input"),
    (None, np.zeros((2, 3)), "`outputs` values must be KerasTensors that come from Input"),
    ([], None, "inputs must not be empty"),
])
def test_only_symbolic_tensors_make_a_model(inputs, outputs, message):
    x = Input((3,))
    with pytest.raises(ValueError, match=message):
        Model(x if inputs is None else inputs, Shift()(x) if outputs is None else outputs)


def test_names_must_differ():
    x = Input((3,))
    with pytest.raises(ValueError, match=r"should have unique names. Received twice: \['s'\]"):
        Model(x, Shift(name="s")(Shift(name="s")(x)))


def test_an_input_twice_and_an_unused_input():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    with pytest.raises(ValueError, match="an input must not be given twice"):
        Model([a, a], Shift()(a))
    model = Model([a, b], Shift()(a))
    np.testing.assert_array_equal(model([A, B]), A + 1)


@pytest.mark.parametrize("arguments, error", [
    ({}, "needs a shape"), ({"shape": (3,), "batch_shape": (1, 3)}, "cannot pass both `shape` and"), ({"shape": (-1,)}, "negative"),
    ({"shape": (2.5,)}, "integer"), ({"shape": (True,)}, "integer"), ({"shape": (3,), "sparse": True}, "dense")])
def test_wrong_inputs_of_input(arguments, error):
    with pytest.raises((ValueError, TypeError), match=error):
        Input(**arguments)


def test_input_arguments():
    assert Input((np.int64(3), None), batch_size=2).shape == (2, 3, None)
    assert Input(batch_shape=(2, 3), dtype="int32").dtype == "int32"
    assert Input(()).shape == (None,) and Input(shape=5).shape == (None, 5)
    x = Input((3,), name="x")
    assert x.name == "x" and Input(tensor=x).shape == (None, 3)


def test_optional_input():
    class Maybe(Layer):
        def call(self, xs):
            return xs[0] if xs[1] is None else ops.add(xs[0], xs[1])

    a, b = Input((3,)), Input((3,), optional=True)
    model = Model([a, b], Maybe()([a, b]))
    np.testing.assert_array_equal(model([A, None]), A)
    np.testing.assert_array_equal(model([A, B]), A + B)


def test_training_flag():
    flag, fixed = Flag(), Flag()
    x = Input((3,))
    model = Model(x, fixed(flag(x), training=False))
    outer = Model(x, model(x))
    outer(A, training=True)
    assert flag.seen is True and fixed.seen is False
    outer(A)
    assert flag.seen is None and fixed.seen is False


def test_non_tensor_arguments_are_kept():
    class Times(Layer):
        def call(self, x, factor=1.0, others=None):
            y = ops.multiply(x, factor)
            return y if others is None else ops.add(y, others["o"][0])

    x, z = Input((3,)), Input((3,))
    model = Model([x, z], Times()(x, factor=3.0, others={"o": [z]}))
    np.testing.assert_array_equal(model([A, B]), 3 * A + B)


def test_deep_graphs_do_not_recurse():
    x = Input((1,))
    y = x
    layer = Flag()
    for _ in range(1500):
        y = layer(y)
    model = Model(x, y)
    np.testing.assert_array_equal(model(np.ones((1, 1))), np.ones((1, 1)))


def test_values_are_released_after_their_last_use():
    alive = []

    class Weak(Layer):
        def call(self, x):
            import weakref

            y = ops.add(x, 1.0)
            alive.append(weakref.ref(y))
            self.peak = sum(ref() is not None for ref in alive)
            return y

    x = Input((3,))
    y, layers = x, [Weak() for _ in range(6)]
    for layer in layers:
        y = layer(y)
    model = Model(x, y)
    alive.clear()
    model(A)
    assert max(layer.peak for layer in layers) <= 2


def test_config_round_trip():
    model = diamond()
    config = json.loads(json.dumps(model.get_config()))
    assert config["input_layers"] == [["a", 0, 0], ["b", 0, 0]]
    assert config["output_layers"] == [["first", 0, 0], ["second", 0, 0]]
    shared = config["layers"][2]
    assert shared["class_name"] == "Shift" and len(shared["inbound_nodes"]) == 2
    assert shared["inbound_nodes"][1]["args"][0]["config"]["keras_history"] == ["b", 0, 0]
    copy = Model.from_config(config)
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    copy.set_weights(model.get_weights())
    for x, y in zip(copy([A, B]), model([A, B])):
        np.testing.assert_array_equal(x, y)
    assert copy.get_config() == model.get_config()


def test_config_with_ops_nested_models_and_arguments():
    inner = diamond()
    a, b = Input((3,), name="in_a"), Input((3,), name="in_b")
    first, second = inner([a, b])
    model = Model({"a": a, "b": b}, ops.add(ops.multiply(first, 2.0), second), name="outer")
    copy = model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy({"a": A, "b": B}), model({"a": A, "b": B}))
    assert [op.name for op in copy.operations] == [op.name for op in model.operations]


@pytest.mark.parametrize("change, message", [
    (lambda c: c["layers"].pop(2), "does not exist"),
    (lambda c: c["layers"][2].update(class_name="system", module="os", registered_name=None), "must be known"),
    (lambda c: c["layers"][2]["inbound_nodes"][0]["args"][0]["config"].update(keras_history=["first", 0, 0]),
     "loop or refer to missing calls"),
    (lambda c: c["output_layers"].append(["first", 7, 0]), "missing call"),
    (lambda c: c["layers"].append({"module": "keras.src.ops.numpy", "class_name": "__import__", "name": "x",
                                   "inbound_nodes": [], "config": {"name": "x"}}), "must be a function of fastnn.ops"),
    (lambda c: c["layers"].append({"module": "keras.src.ops.numpy", "class_name": "Os.system", "name": "x",
                                   "inbound_nodes": [], "config": {"name": "x"}}), "must be a function of fastnn.ops"),
])
def test_hostile_configs(change, message):
    config = json.loads(json.dumps(diamond().get_config()))
    change(config)
    with pytest.raises((ValueError, TypeError), match=message):
        Model.from_config(config)


def test_clone_has_new_weights():
    model = diamond()
    copy = clone_model(model)
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    assert not {id(v) for v in copy.weights} & {id(v) for v in model.weights}
    model.weights[0].assign(np.zeros(3))
    np.testing.assert_array_equal(copy([A, B])[1], A + 4)


def test_clone_with_functions_and_inputs():
    model = diamond()
    copy = clone_model(model, clone_function=lambda layer: Shift(7.0, name=layer.name) if isinstance(
        layer, Shift) else type(layer).from_config(layer.get_config()))
    np.testing.assert_array_equal(copy([A, B])[1], A + 14)
    a, b = Input((3,), name="new_a"), Input((3,), name="new_b")
    copy = clone_model(model, input_tensors=[a, b])
    assert copy.input_names == ["new_a", "new_b"]
    called = []
    clone_model(model, call_function=lambda layer, *args, **kwargs: called.append(layer.name) or layer(*args, **kwargs))
    assert sorted(called) == ["first", "plus", "second", "shared", "shared"]
    with pytest.raises(ValueError, match="must have the same structure as model.input"):
        clone_model(model, input_tensors=[a])


def test_clone_sequential_and_nested():
    inner = Sequential([Input((3,)), Shift(2.0, name="deep")], name="inner")
    model = Sequential([Input((3,)), inner, Shift()], name="m")
    copy = clone_model(model, clone_function=lambda layer: Shift(5.0, name=layer.name), recursive=True)
    np.testing.assert_array_equal(copy(A), A + 10)
    assert copy.name == "m" and copy.layers[0].name == "inner"
    assert clone_model(Sequential([Shift()])).built is False


def test_a_subclass_may_be_functional():
    class Net(Model):
        def __init__(self, amount):
            self.shift = Shift(amount)
            x = Input((3,), name="x")
            super().__init__(inputs=x, outputs=self.shift(x), name="net")
            self.extra = "kept"

        def train_step(self, data):
            return {}

    model = Net(4.0)
    assert isinstance(model, Net) and isinstance(model, Functional) and type(model).__name__ == "Net"
    np.testing.assert_array_equal(model(A), A + 4)
    assert [layer.name for layer in model.layers] == ["x", model.shift.name] and model.extra == "kept"


def test_masks_travel_through_a_model():
    class Masker(Layer):
        def call(self, x):
            return ops.add(x, 0.0)

        def compute_mask(self, inputs, previous_mask):
            return ops.cast(inputs, "bool")

    class Reader(Layer):
        def call(self, x, mask=None):
            self.seen = mask
            return x

    x = Input((3,))
    reader = Reader()
    reader.supports_masking = True
    model = Model(x, reader(Masker()(x)))
    y = model(np.array([[1, 0, 2]], "float32"))
    assert np.asarray(reader.seen).tolist() == [[True, False, True]]
    assert np.asarray(y._keras_mask).tolist() == [[True, False, True]]


def test_an_overridden_compute_output_spec_decides():
    class Canary(Layer):
        def call(self, x, training=False):
            assert training
            return x

        def compute_output_spec(self, x, training=False):
            return fastnn.KerasTensor(x.shape, dtype=x.dtype)

    x = Input((3,))
    model = Model(x, Canary()(x))
    model(A, training=True)
    assert Sequential([Input((3,)), model, Shift()]).output_shape == (None, 3)


def test_tuples_survive_a_config():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    copy = Model.from_config(Model([a, b], (Shift(name="s")(a), b)).get_config())
    assert isinstance(copy([A, B]), tuple)


def test_copies_and_pickles():
    import copy
    import pickle

    model = diamond()
    model.weights[0].assign(np.full(3, 5.0))
    model.compile("sgd", "mse")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin([A, B])[1], A + 8)
        assert twin.compiled and twin.weights[0] is not model.weights[0]


def test_an_input_spec_may_be_set():
    x = Input((None, 3))
    model = Model(x, Flag()(x))
    model.input_spec = fastnn.InputSpec(shape=(None, 4, 3))
    with pytest.raises(ValueError, match=r"expected shape=\(None, 4, 3\)"):
        model(np.zeros((2, 3, 3)))
    model(np.zeros((2, 4, 3)))


def test_ops_are_written_as_keras_writes_them():
    x = Input((3,), name="x")
    model = Model(x, ops.mean((x + 1.0)[:, 1:], 1, keepdims=True))
    layers = {one["name"]: one for one in json.loads(json.dumps(model.get_config()))["layers"]}
    add, mean = (layers[op.name] for op in (model.operations[1], model.operations[-1]))
    assert (add["module"], add["class_name"]) == ("keras.src.ops.numpy", "Add")
    assert add["inbound_nodes"][0]["args"][1] == 1.0 and add["config"] == {"name": add["name"]}
    assert mean["config"] == {"name": mean["name"], "axis": 1, "keepdims": True}
    assert len(mean["inbound_nodes"][0]["args"]) == 1
    copy = model_from_json(model.to_json())
    np.testing.assert_array_equal(copy(A), model(A))


def test_results_whose_size_only_values_tell():
    """Their sizes are None in the graph; the graph runs all the same."""
    x = fastnn.Input(batch_shape=(2, 4), dtype="int32")
    values, index, inverse = ops.unique(x, return_index=True, return_inverse=True)
    assert (values.shape, index.shape, inverse.shape) == ((None,), (None,), (2, 4))
    assert [y.shape for y in ops.nonzero(x)] == [y.shape for y in ops.where(x)] == [(None,), (None,)]
    assert ops.unique(fastnn.KerasTensor((None, 3)), axis=0).shape == (None, 3)
    sums = ops.segment_sum(x, fastnn.KerasTensor((2,), "int32"))
    assert sums.shape == (None, 4)
    assert ops.segment_max(fastnn.KerasTensor((None, 4)), fastnn.KerasTensor((10,), "int32")).shape == (None, 4)
    assert ops.segment_max(fastnn.KerasTensor((None, 4)), fastnn.KerasTensor((10,), "int32"), num_segments=5).shape == (5, 4)
    assert [y.shape for y in ops.unstack(fastnn.KerasTensor((None, 4)), 3)] == [(4,)] * 3
    model = fastnn.Model(x, [values, inverse, ops.sum(values)])
    a = np.array([[3, 1, 3, 0], [0, 1, 2, 2]])
    got = model(a)
    for y, expected in zip(got, (*np.unique(a, return_inverse=True), 6)):
        np.testing.assert_array_equal(y, expected)


def test_convert_to_numpy_gives_an_array_of_ones_own():
    t = ops.ones((3,))
    a = ops.convert_to_numpy(t)
    a[0] = 5
    np.testing.assert_array_equal(t, [1, 1, 1])


def test_errors_tell_the_path():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    with pytest.raises(ValueError, match="Output with path `second` is not connected"):
        Model(a, {"first": a * 2, "second": b * 2})
    model = Model([{"x": a}, b], a + b)
    with pytest.raises(ValueError, match="name 'a' at path '0.x'"):
        model([{"x": np.zeros((2, 3, 4))}, np.zeros((2, 3))])
