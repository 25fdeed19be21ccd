"""Small things that Keras's own tests ask for (tests/keras_suite), each of which was different here."""
import numpy as np
import pytest

import fastnn
from fastnn import KerasTensor, activations, layers, models, ops


def test_relu_is_zero_at_its_threshold():
    x = np.array([-1, 0, 4, 5, 6], "float32")
    np.testing.assert_array_equal(activations.relu(x, threshold=5.0), [0, 0, 0, 0, 6])
    np.testing.assert_array_equal(activations.relu(x, threshold=5.0, negative_slope=0.5, max_value=5.5), [-3, -2.5, -0.5, 0, 5.5])


@pytest.mark.parametrize("f, total", [(ops.softmax, np.exp), (ops.log_softmax, np.asarray)])
def test_softmax_over_all_axes(f, total):
    x = np.array([[1, 2, 3], [1, 2, 3]], "float32")
    logs = x - np.log(np.exp(x).sum())
    np.testing.assert_allclose(f(x, axis=None), np.exp(logs) if total is np.exp else logs, rtol=1e-6)


def test_padded_convolution_in_three_dimensions_and_float64():
    rng = np.random.default_rng(0)
    x, w = rng.integers(-3, 4, (2, 5, 4, 3, 2)), rng.integers(-3, 4, (3, 3, 3, 2, 4))
    y = ops.conv(x.astype("float64"), w.astype("float64"), 2, padding="same")
    assert y.dtype == "float64"
    np.testing.assert_array_equal(y, ops.conv(x.astype("float32"), w.astype("float32"), 2, padding="same"))


def test_moments_of_half_floats_stop_at_the_largest():
    mean, variance = ops.moments(np.array([-741, 353, 1099, -1807], "float16"), [0])
    assert mean.dtype == variance.dtype == "float16" and float(mean) == -274 and float(variance) == 65504


def test_attention_answers_in_the_common_dtype():
    q, k = np.ones((1, 2, 1, 4), "float16"), np.ones((1, 2, 1, 4), "float32")
    assert ops.dot_product_attention(q, k, k).dtype == "float32"


def test_an_unknown_size_meets_a_known_one():
    a, b = KerasTensor((None, 3)), KerasTensor((2, None))
    assert ops.add(a, b).shape == (2, 3) and ops.add(a, a).shape == (None, 3)
    with pytest.raises(ValueError, match="must broadcast"):
        ops.add(a, KerasTensor((2, 4)))


def test_activation_taken_out_after_the_build():
    layer = layers.Dense(2, activation="relu", use_bias=False)
    layer.build((None, 2))
    layer.set_weights([np.array([[1, -2], [3, -4]], "float32")])
    layer.activation = None
    np.testing.assert_array_equal(layer(np.array([[-1, 2]], "float32")), [[5, -6]])


def test_dense_writes_an_activity_regularizer_only_if_it_has_one():
    assert "activity_regularizer" not in layers.Dense(2).get_config()
    config = layers.Dense(2, activity_regularizer="l2").get_config()
    assert type(layers.Dense.from_config(config).activity_regularizer).__name__ == "L2"


def test_variables_added_after_the_build_lie_below_the_model():
    class Outer(models.Model):
        def __init__(self):
            super().__init__(name="outer")
            self.dense = layers.Dense(4, name="dense")

        def build(self, input_shape):
            self.dense.build(input_shape)

        def call(self, x):
            return self.dense(x)

    model = Outer()
    model.build((None, 8))
    model.dense.enable_lora(2)
    assert model.dense.lora_kernel_a.path == "outer/dense/lora_kernel_a"


def test_input_layers_of_tensors():
    x = KerasTensor((2, 3))
    for name, value in [("batch_size", 5), ("sparse", True), ("shape", (2, 4)), ("dtype", "float16")]:
        with pytest.raises(ValueError, match=f"cannot provide an incompatible `{name}`"):
            layers.InputLayer(input_tensor=x, **{name: value})
    assert layers.InputLayer(input_tensor=x, shape=(3,), batch_size=2, sparse=False).output.shape == (2, 3)
    with pytest.warns(UserWarning, match="`input_shape` is deprecated"):
        assert layers.InputLayer(input_shape=(3,)).batch_shape == (None, 3)


@pytest.mark.parametrize("make, match", [
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "Expected a strictly positive value"),
    (lambda: layers.Conv2D(0, 3), "Invalid value for argument `filters`"),
    (lambda: layers.GroupNormalization(groups=5)(np.ones((2, 2, 2, 4), "float32")), "cannot be more than the number of channels"),
    (lambda: layers.DepthwiseConv1D(11)(np.ones((1, 4, 3), "float32")), "zero or negative"),
    (lambda: fastnn.regularizers.L2(-1), "expected a non-negative float"),
    (lambda: ops.pad(np.ones(3), 1, "reflect", constant_values=0), "can only be provided when `mode == 'constant'`"),
])
def test_words_of_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("wrap", [lambda a, b: [a, b], lambda a, b: {"a": a, "b": b}, lambda a, b: {"a": [a, b]}])
def test_metrics_know_what_containers_of_theirs_hold(wrap):
    metric = fastnn.metrics.Mean()
    own = len(metric.variables)
    metric.more = wrap(fastnn.Variable(0.0), fastnn.Variable(1.0))
    assert len(metric.variables) == own + 2
    metric.inner = wrap(fastnn.metrics.Mean(), fastnn.metrics.Mean())
    assert len(metric.variables) == own + 2 + 2 * own


def test_a_variable_made_in_a_scope_has_its_path():
    with fastnn.name_scope("dense"):
        assert fastnn.Variable([1.0], name="kernel").path == "dense/kernel"
    assert fastnn.Variable([1.0], name="kernel").path == "kernel"


@pytest.mark.parametrize("layer", [
    layers.Embedding(3, 2), layers.LSTM(2), layers.GRU(2), layers.SimpleRNN(2), layers.SeparableConv2D(2, 3), layers.DepthwiseConv1D(3),
    layers.ConvLSTM2D(2, 3),
], ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_configs_name_the_activity_regularizer(layer):
    assert layer.get_config()["activity_regularizer"] is None
    made = type(layer).from_config({**layer.get_config(), "activity_regularizer": "l2"})
    assert made.activity_regularizer is not None and type(made).from_config(made.get_config()).activity_regularizer is not None


def test_configs_that_keras_opens():
    """Keras knows this class by the name that it shows, and that layer without a seed."""
    made = fastnn.saving.serialize_keras_object(layers.GroupQueryAttention(4, 4, 2))
    assert made["class_name"] == "GroupQueryAttention"
    for name in ("GroupQueryAttention", "GroupedQueryAttention"):
        assert type(fastnn.saving.deserialize_keras_object({**made, "class_name": name})) is layers.GroupQueryAttention
    equal, x = layers.Equalization(), np.random.default_rng(0).integers(0, 99, (1, 8, 8, 3)).astype("float32")
    assert "seed" not in equal.get_config() and not equal.variables
    assert np.array_equal(equal(x, training=False), x) and not np.array_equal(equal(x, training=True), x)
