"""Layer: building, state, masks, the training flag, losses, dtypes, configs."""
import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.layers import Input, InputSpec, Layer
from fastnn.symbolic import KerasTensor


class Scale(Layer):
    """y = x * scale"""

    def __init__(self, start="ones", **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), initializer=self.start, name="scale")
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    def call(self, x):
        return ops.multiply(x, self.scale)


class Flag(Layer):
    """Notes the training flag that reaches it."""

    def call(self, x, training=None):
        self.seen = training
        return x


class Wrapped(Layer):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x)


class Masker(Layer):
    """Attaches the mask x[..., 0] != 0."""

    def call(self, x):
        return ops.multiply(x, 1.0)

    def compute_mask(self, inputs, previous_mask):
        return fastnn.convert_to_tensor(np.asarray(inputs)[..., 0] != 0)


class MaskReader(Layer):
    def call(self, x, mask=None):
        self.seen = mask
        return x


ONES = np.ones((2, 3), "float32")


def test_built_once_by_the_first_call():
    layer = Scale(name="s")
    assert not layer.built and layer.weights == []
    y = layer(np.ones((2, 3)))
    assert y.dtype == "float32" and y.shape == (2, 3) and layer.built
    assert [v.path for v in layer.weights] == ["s/scale"]
    layer(np.ones((5, 3), "float32"))
    assert len(layer.weights) == 1 and layer.count_params() == 3


def test_count_params_before_build_is_an_error():
    with pytest.raises(ValueError, match=r"\[s\] count_params needs a layer that is built"):
        Scale(name="s").count_params()


def test_input_spec_names_layer_expected_and_received():
    layer = Scale(name="s")
    layer(ONES)
    with pytest.raises(ValueError, match=r"\[s\].*incompatible with the layer: expected axis -1 of size 3.*\(2, 4\)"):
        layer(np.ones((2, 4)))
    with pytest.raises(ValueError, match="expected min_ndim=2, found ndim=1"):
        layer(np.ones(3))
    layer(ONES)  # goes on as before


@pytest.mark.parametrize("spec, shape, wrong", [
    (InputSpec(ndim=2), (2, 3, 4), "expected ndim=2, found ndim=3"),
    (InputSpec(max_ndim=2), (2, 3, 4), "expected max_ndim=2, found ndim=3"),
    (InputSpec(shape=(None, 3)), (2, 4), r"expected shape=\(None, 3\)"),
    (InputSpec(axes={1: 5}), (2, 4), "expected axis 1 of size 5"),
    (InputSpec(dtype="int32"), (2, 4), "expected dtype=int32, found dtype=float32"),
])
def test_input_spec_kinds(spec, shape, wrong):
    layer = Flag()
    layer.input_spec = spec
    for _ in range(2):
        with pytest.raises(ValueError, match=wrong):
            layer(np.ones(shape, "float32"))


def test_input_spec_of_several_inputs():
    class Two(Layer):
        def call(self, xs):
            return xs[0]

    layer = Two(name="two")
    layer.input_spec = [InputSpec(ndim=2), InputSpec(ndim=2)]
    layer([ONES, ONES])
    with pytest.raises(ValueError, match=r"\[two\] expects 2 inputs.*Received: 1 inputs"):
        layer([ONES])
    with pytest.raises(TypeError, match="input_spec must hold InputSpec objects"):
        layer.input_spec = 3


def test_automatic_names_count_per_class():
    fastnn.utils.clear_session()
    assert [Scale().name, Scale().name, Flag().name, Scale().name] == ["scale", "scale_1", "flag", "scale_2"]
    fastnn.utils.clear_session()
    assert Scale().name == "scale"


@pytest.mark.parametrize("name", ["", "a b", "<script>", "x" * 129, 3, "a\n", "été"])
def test_names_are_restricted(name):
    with pytest.raises(ValueError, match=r"\[Scale\] name must be a string of 1 to 128"):
        Scale(name=name)


def test_misspelt_arguments_get_a_hint():
    with pytest.raises(ValueError, match="did you mean `trainable` for `trainabel`"):
        Scale(trainabel=False)


@pytest.mark.parametrize("arguments, shape", [
    ({"input_shape": (3,)}, (None, 3)), ({"input_dim": 3}, (None, 3)), ({"batch_input_shape": (4, 3)}, (4, 3)),
    ({"input_shape": (3,), "batch_size": 5}, (5, 3)), ({"input_shape": [3, None]}, (None, 3, None)), ({}, None),
])
def test_input_shape_arguments(arguments, shape):
    assert Scale(**arguments)._batch_shape == shape


def test_weights_come_in_the_order_of_their_creation():
    class Net(Layer):
        def __init__(self):
            super().__init__()
            self.blocks = []
            self.head = Scale(name="head")
            self.named = {"b": Scale(name="b"), "a": Scale(name="a")}
            for i in range(2):
                self.blocks.append(Scale(name=f"block{i}"))
            self.pair = (Scale(name="p"), Scale(name="q"))
            self.own = self.add_weight((1,), name="own")
            self.fixed = self.add_weight((1,), trainable=False, name="fixed")

        def call(self, x):
            for layer in [self.head, *self.named.values(), *self.blocks, *self.pair]:
                x = layer(x)
            return x

    net = Net()
    net(ONES)
    names = [v.path.split("/")[-2:] for v in net.weights]
    assert [a for a, _ in names[2:]] == ["head", "b", "a", "block0", "block1", "p", "q"]
    assert [b for _, b in names[:2]] == ["own", "fixed"]
    assert len(net.trainable_weights) == 8 and len(net.non_trainable_weights) == 1
    assert net.get_weights()[2].tolist() == [1, 1, 1]


def test_containers_stop_tracking_what_is_removed():
    layer = Flag()
    a, b, c = Scale(), Scale(), Scale()
    layer.items = [a, b]
    layer.by_name = {"c": c}
    assert layer._layers == [a, b, c]
    layer.items.remove(a)
    del layer.by_name["c"]
    assert layer._layers == [b]
    layer.items += [c]
    layer.items[0] = a
    assert layer._layers == [c, a]
    layer.items.clear()
    assert layer._layers == []
    layer.one = a
    del layer.one
    assert layer._layers == []


def test_new_state_after_build_is_an_error():
    layer = Scale()
    layer(ONES)
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.more = Scale()
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.add_weight((2,))


def test_a_failed_build_leaves_nothing_behind():
    class Fails(Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1],))
            if input_shape[-1] == 4:
                raise ValueError("four")

        def call(self, x):
            return ops.multiply(x, self.w)

    layer = Fails()
    with pytest.raises(ValueError, match="four"):
        layer(np.ones((1, 4)))
    assert layer.weights == [] and not layer.built
    layer(np.ones((1, 3)))
    assert [v.shape for v in layer.weights] == [(3,)]


def test_trainable_is_recursive():
    outer = Wrapped(Scale())
    outer(ONES)
    outer.trainable = False
    assert outer.trainable_weights == [] and not outer.inner.trainable
    assert len(outer.non_trainable_weights) == 1
    outer.inner.trainable = True
    assert outer.trainable_weights == [] and len(outer.inner.trainable_weights) == 1
    outer.trainable = True
    assert len(outer.trainable_weights) == 1


def test_layer_made_untrainable():
    layer = Scale(trainable=False)
    layer(ONES)
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 1
    layer.trainable = True
    assert len(layer.trainable_weights) == 1 and layer.non_trainable_weights == []
    with pytest.raises(ValueError, match="Expected `trainable` to be a boolean"):
        Scale(trainable="yes")


def test_set_weights_checks_before_it_changes():
    outer = Wrapped(Wrapped(Scale()))
    outer.second = Scale()
    outer(ONES)
    outer.second(ONES)
    before = outer.get_weights()
    with pytest.raises(ValueError, match=r"set_weights must get 2 arrays, of shapes \[\(3,\), \(3,\)\]. Received: 1"):
        outer.set_weights([np.zeros(3)])
    with pytest.raises(ValueError, match=r"has shape \(3,\). Received: shape=\(4,\)"):
        outer.set_weights([np.zeros(3), np.zeros(4)])
    for old, now in zip(before, outer.get_weights()):
        np.testing.assert_array_equal(old, now)
    outer.set_weights([np.arange(3), [5.0, 6.0, 7.0]])
    assert outer.get_weights()[1].tolist() == [5, 6, 7]


@pytest.mark.parametrize("shape, error", [((2, -1), ValueError), ((2.0,), ValueError), ((2**40, 2**40), (
    ValueError, MemoryError, OverflowError)), ("ab", (TypeError, ValueError)), ((None,), ValueError)])
def test_add_weight_refuses_shapes(shape, error):
    with pytest.raises(error):
        Flag().add_weight(shape)


def test_training_flag_explicit_then_enclosing_then_default():
    class Default(Layer):
        def call(self, x, training=False):
            self.seen = training
            return x

    flag, default = Flag(), Default()
    outer = Wrapped(Wrapped(flag))
    flag(ONES)
    assert flag.seen is None
    default(ONES)
    assert default.seen is False
    outer(ONES, training=True)
    assert flag.seen is True
    Wrapped(default)(ONES, training=True)
    assert default.seen is True
    default(ONES)
    assert default.seen is False

    class Explicit(Layer):
        def __init__(self):
            super().__init__()
            self.inner = flag

        def call(self, x, training=None):
            return self.inner(x, training=False)

    Explicit()(ONES, training=True)
    assert flag.seen is False


def test_context_is_restored_after_an_error():
    class Fails(Layer):
        def call(self, x, training=None):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside") as info:
        Wrapped(Fails(name="bad"))(ONES, training=True)
    if hasattr(info.value, "__notes__"):
        assert "In the call of 'bad' (Fails) on x=float32(2, 3)" in info.value.__notes__[0]
    flag = Flag()
    flag(ONES)
    assert flag.seen is None


@pytest.mark.parametrize("x, dtype", [
    (np.ones((1, 2), "float64"), "float32"), (np.ones((1, 2), "float16"), "float32"),
    (np.ones((1, 2), "int64"), "int64"), (np.ones((1, 2), "bool"), "bool")])
def test_floats_are_cast_to_the_compute_dtype(x, dtype):
    assert Flag()(x).dtype == dtype
    assert Flag(autocast=False)(x).dtype == x.dtype.name


def test_dtype_policies():
    layer = Flag(dtype="mixed_bfloat16")
    assert (layer.compute_dtype, layer.variable_dtype, layer.dtype) == ("bfloat16", "float32", "float32")
    assert layer(ONES).dtype == "bfloat16"
    with pytest.raises(ValueError, match="name must be a dtype"):
        Flag(dtype="float12")


def test_only_tensors_by_position():
    with pytest.raises(ValueError, match="Only input tensors may be passed as positional arguments.*Received: 3"):
        Flag()(ONES, 3)


def test_object_arrays_are_refused():
    with pytest.raises(TypeError):
        Flag()(np.array(["a", "b"]))


def test_masks_travel_through_layers():
    x = np.array([[[1.0], [0.0]]], "float32")
    reader = MaskReader()
    reader.supports_masking = True
    y = reader(Masker()(x))
    assert np.asarray(reader.seen).tolist() == [[True, False]]
    assert np.asarray(y._keras_mask).tolist() == [[True, False]]
    reader(x)
    assert reader.seen is None
    with pytest.warns(UserWarning, match="does not support masking"):
        Flag()(Masker()(x))


def test_an_explicit_mask_wins():
    x = np.array([[[1.0], [0.0]]], "float32")
    reader = MaskReader()
    reader.supports_masking = True
    reader(Masker()(x), mask=np.array([[True, True]]))
    assert np.asarray(reader.seen).tolist() == [[True, True]]


def test_masks_of_named_arguments():
    class Attend(Layer):
        def call(self, query, value, query_mask=None, value_mask=None):
            self.seen = query_mask, value_mask
            return query

        def compute_mask(self, inputs, previous_mask):
            return previous_mask

    x = np.array([[[1.0], [0.0]]], "float32")
    layer = Attend()
    layer(x, Masker()(x))
    assert layer.seen[0] is None and np.asarray(layer.seen[1]).tolist() == [[True, False]]


def test_build_gets_shapes_by_name():
    class Two(Layer):
        def build(self, query_shape, value_shape):
            self.shapes = [query_shape, value_shape]

        def call(self, query, value=None):
            return query

    layer = Two()
    layer(ONES, value=np.ones((2, 5)))
    assert layer.shapes == [(2, 3), (2, 5)]
    assert layer.get_build_config() == {"shapes_dict": {"query_shape": (2, 3), "value_shape": (2, 5)}}
    other = Two()
    other.build_from_config({"shapes_dict": {"query_shape": [2, 3], "value_shape": [2, 5]}})
    assert other.built and other.shapes == [(2, 3), (2, 5)]


def test_build_gets_structures_of_shapes():
    class Merge(Layer):
        def build(self, input_shape):
            self.shapes = input_shape

        def call(self, xs):
            return xs["a"]

    layer = Merge()
    layer({"a": ONES, "b": [ONES, ONES]})
    assert layer.shapes == {"a": (2, 3), "b": [(2, 3), (2, 3)]}


def test_losses_are_those_of_the_last_call():
    class Penalty(Layer):
        def call(self, x):
            self.add_loss(ops.sum(x))
            return x

    inner = Penalty()
    outer = Wrapped(inner)
    outer(ONES)
    outer(ONES)
    assert [float(x) for x in outer.losses] == [6]
    inner(2 * ONES)
    assert [float(x) for x in inner.losses] == [12]
    with pytest.raises(ValueError, match="loss must be a tensor"):
        inner.add_loss("much")


def test_regularizers_join_the_losses_unless_frozen():
    class Regular(Layer):
        def build(self, input_shape):
            self.w = self.add_weight((2,), "ones", regularizer=lambda w: ops.sum(ops.multiply(w, 3.0)))

        def call(self, x):
            return x

    layer = Regular(activity_regularizer=lambda y: ops.sum(y))
    layer(ONES)
    assert sorted(float(x) for x in layer.losses) == [3, 6]  # 6 / batch of 2, and 2 * 3
    layer.trainable = False
    assert [float(x) for x in layer.losses] == [3]


def test_symbolic_call_infers_shape_and_adds_a_node():
    layer = Scale()
    x = Input((4,), name="x")
    y = layer(x)
    assert isinstance(y, KerasTensor) and y.shape == (None, 4) and y.dtype == "float32"
    assert layer.built and layer.input is x and layer.output is y
    assert y.history.operation is layer and layer._inbound_nodes[0].parents[0].operation.name == "x"
    again = layer(x)
    assert again.history.node_index == 1 and layer.output is y
    with pytest.raises(AttributeError, match="has no `output` yet"):
        Scale().output


def test_symbolic_call_has_no_side_effects():
    class Counts(Layer):
        def __init__(self):
            super().__init__()
            self.total = self.add_weight((), "zeros", trainable=False)

        def call(self, x):
            self.total.assign(ops.add(self.total, 1.0))
            self.add_loss(ops.sum(x))
            return x

    layer = Counts()
    layer(Input((2,)))
    assert float(layer.total) == 0 and layer.losses == []
    layer(np.ones((1, 2)))
    assert float(layer.total) == 1 and len(layer.losses) == 1


def test_compute_output_shape_decides_and_is_found_by_trial():
    class Wide(Layer):
        def call(self, x):
            return ops.add(x, 1.0)

        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], 7)

    assert Wide()(Input((3,))).shape == (None, 7)
    assert Scale().compute_output_shape((None, 5, 3)) == (None, 5, 3)


def test_several_outputs():
    class Split(Layer):
        def call(self, x):
            return {"a": x, "b": [ops.add(x, x), ops.sum(x, axis=-1)]}

    y = Split()(Input((3,)))
    assert y["a"].shape == (None, 3) and y["b"][1].shape == (None,)
    assert y["b"][1].history.tensor_index == 2


def test_config_round_trip_of_the_base():
    layer = Scale("zeros", name="s", trainable=False, dtype="float64")
    config = layer.get_config()
    assert config == {"name": "s", "trainable": False, "start": "zeros", "dtype": {
        "module": "keras", "class_name": "DTypePolicy", "config": {"name": "float64"}, "registered_name": None}}
    copy = Scale.from_config(config)
    assert copy.get_config() == config and copy.start == "zeros"


def test_config_needs_plain_arguments():
    with pytest.raises(NotImplementedError, match=r"\[Scale\] needs a get_config\(\) of its own"):
        Scale(object()).get_config()


def test_config_with_a_nested_layer():
    @fastnn.saving.register_keras_serializable("test_layer")
    class Holder(Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

    fastnn.saving.register_keras_serializable("test_layer")(Flag)
    copy = Holder.from_config(Holder(Flag(name="f")).get_config())
    assert isinstance(copy.inner, Flag) and copy.inner.name == "f"


def test_forgotten_super_init():
    class Forgets(Layer):
        def __init__(self):
            self.x = 1

        def call(self, x):
            return x

    with pytest.raises(RuntimeError, match=r"\[Forgets\] super\(\).__init__\(\) must be called"):
        Forgets()(ONES)


def test_metrics_and_seed_generators_are_part_of_the_state():
    class Mean:
        def __init__(self):
            self.variables = [fastnn.Variable(0.0, name="total", trainable=False)]

        def update_state(self, x):
            pass

        def reset_state(self):
            pass

    layer = Flag()
    layer.mean = Mean()
    assert layer.metrics == [layer.mean] and layer.metrics_variables == layer.mean.variables
    assert layer.weights == [] and layer.variables == []


def test_stateless_call():
    class Counts(Layer):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight((), "ones")
            self.total = self.add_weight((), "zeros", trainable=False)

        def call(self, x):
            self.total.assign(ops.add(self.total, 1.0))
            return ops.multiply(x, self.w)

    layer = Counts()
    layer(ONES)
    y, (total,) = layer.stateless_call([3.0], [5.0], ONES)
    np.testing.assert_array_equal(y, 3 * ONES)
    assert float(total) == 6 and float(layer.total) == 1 and float(layer.w) == 1
    with pytest.raises(ValueError, match="needs 1 trainable and 1 other values. Received: 2 and 0"):
        layer.stateless_call([3.0, 5.0], [], ONES)


def test_layers_without_variables_are_built_from_the_start():
    assert fastnn.layers.Flatten().built and fastnn.layers.Flatten().count_params() == 0
    assert not fastnn.layers.Dense(3).built and not Flag().built


def test_context_arguments():
    """A registered argument reaches the layers inside that have registered it, and only those."""

    class Inner(Layer):
        def __init__(self, registers):
            super().__init__()
            if registers:
                self._register_call_context_args("loud")

        def call(self, x, loud=None):
            return x + (1 if loud else 0)

    class Outer(Layer):
        def __init__(self, registers=True):
            super().__init__()
            self.inner = Inner(registers)

        def call(self, x):
            return self.inner(x)

    for registers, expected in ((True, 1), (False, 0)):
        outer = Outer(registers)
        outer._register_call_context_args("loud")
        assert int(outer(np.array(0), loud=True)) == expected and int(outer(np.array(0))) == 0
        with pytest.raises(RuntimeError, match="after the layer has been called"):
            outer._register_call_context_args("more")
    model = fastnn.Sequential([fastnn.layers.Identity(), Outer()])
    model._register_call_context_args("loud")
    np.testing.assert_array_equal(model(np.zeros((2, 1)), loud=True), np.ones((2, 1)))
    np.testing.assert_array_equal(model(np.zeros((2, 1))), np.zeros((2, 1)))
