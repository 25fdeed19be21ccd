"""Mixed policies: layers read their variables in the compute dtype."""
import numpy as np
import pytest

import fastnn
from fastnn import layers, ops

X = np.arange(24, dtype="float32").reshape(2, 4, 3)


class Reads(layers.Layer):
    """Notes the dtypes in which its variables are read, those of a float32 layer inside too."""

    def build(self, input_shape):
        self.w = self.add_weight((3, 3), "ones")
        self.full = self.add_weight((3,), "zeros", autocast=False)
        self.count = self.add_weight((), "zeros", dtype="int32", trainable=False)
        self.inner = Inner(dtype="float32")

    def call(self, x):
        self.seen = [self.w.dtype, self.w.value.dtype, ops.matmul(x, self.w).dtype, self.full.dtype, self.count.dtype]
        self.inner(ops.cast(x, "float32"))
        return ops.matmul(x, self.w)


class Inner(layers.Layer):
    def build(self, input_shape):
        self.w = self.add_weight((3,), "ones")

    def call(self, x):
        self.seen = self.w.dtype
        return x


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_a_layer_reads_its_variables_in_the_compute_dtype(half):
    layer = Reads(dtype=f"mixed_{half}")
    with fastnn.GradientTape() as tape:
        y = layer(X)
        loss = ops.sum(ops.cast(y, "float32"))
    assert layer.seen == [half, half, half, "float32", "int32"] and layer.inner.seen == "float32"
    assert y.dtype == half and layer.w.dtype == "float32"  # outside of the call, the variable is what it is
    gradient = tape.gradient(loss, layer.w)
    assert gradient.dtype == "float32"
    np.testing.assert_allclose(gradient, np.tile(X.sum((0, 1))[:, None], 3), rtol=1e-2)


def test_the_layer_of_a_single_policy_or_without_autocast_reads_them_as_they_are():
    for layer in (Reads(), Reads(dtype="float64")):
        layer(X)
        assert layer.seen[0] == layer.compute_dtype
    layer = Inner(dtype="mixed_float16", autocast=False)
    layer(X)
    assert layer.seen == "float32"


@pytest.mark.parametrize("layer", [
    lambda: layers.DepthwiseConv1D(2, depth_multiplier=2, dtype="mixed_float16"),
    lambda: layers.DepthwiseConv1D(2, data_format="channels_first", dtype="mixed_float16"),
    lambda: layers.SeparableConv1D(5, 2, activation="relu", dtype="mixed_float16"),
    lambda: layers.SeparableConv1D(5, 2, data_format="channels_first", dtype="mixed_float16"),
    lambda: layers.SeparableConv1D(5, 2, use_bias=False, activation="gelu", dtype="mixed_float16"),
])
def test_depthwise_and_separable_convolutions_answer_in_the_compute_dtype(layer):
    layer = layer()
    assert layer(X).dtype == "float16"
    assert layer(layers.Input((4, 3))).dtype == "float16"
    assert all(v.dtype == "float32" for v in layer.weights)


def test_a_value_assigned_within_a_call_keeps_the_precision_of_the_variable():
    class Sets(layers.Layer):
        def build(self, input_shape):
            self.big = self.add_weight((), "zeros", trainable=False)

        def call(self, x):
            self.big.assign(70001.0)  # too large for float16
            return x

    layer = Sets(dtype="mixed_float16")
    layer(X)
    assert float(layer.big) == 70001.0


def test_compile_scales_the_loss_of_half_precision():
    def trained(policy, **options):
        fastnn.utils.set_random_seed(3)
        fastnn.config.set_dtype_policy(policy)
        try:
            model = fastnn.Sequential([layers.Input((8,)), layers.Dense(16), layers.Dense(1)])
            before = [w.copy() for w in model.get_weights()]
            model.compile(fastnn.optimizers.SGD(1e7), lambda y, p: ops.mean(ops.cast(p, "float32")) * 1e-7, **options)
            model.fit(np.ones((8, 8), "f4"), np.ones((8, 1), "f4"), batch_size=8, verbose=0)
            return model, max(np.abs(a - b).max() for a, b in zip(before, model.get_weights()))
        finally:
            fastnn.config.set_dtype_policy("float32")

    _, full = trained("float32")
    model, half = trained("mixed_float16")
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert half == pytest.approx(full, rel=0.05)
    plain, _ = trained("mixed_float16", auto_scale_loss=False)
    assert type(plain.optimizer).__name__ == "SGD"


IMAGE, ROWS = (2, 6, 6, 4), (2, 5, 8)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name,options,shape", [
    ("Dense", {"units": 3}, ROWS), ("PReLU", {}, ROWS), ("PReLU", {"shared_axes": [1]}, ROWS),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": (None, 3)}, ROWS), ("LSTM", {"units": 3}, ROWS),
    ("GRU", {"units": 3}, ROWS), ("SimpleRNN", {"units": 3}, ROWS), ("Conv1D", {"filters": 3, "kernel_size": 2}, ROWS),
    ("Conv2D", {"filters": 3, "kernel_size": 2}, IMAGE), ("SeparableConv2D", {"filters": 3, "kernel_size": 2}, IMAGE),
    ("DepthwiseConv2D", {"kernel_size": 2}, IMAGE), ("Conv2DTranspose", {"filters": 3, "kernel_size": 2}, IMAGE),
    ("BatchNormalization", {}, IMAGE), ("LayerNormalization", {}, ROWS), ("RMSNormalization", {}, ROWS),
    ("GroupNormalization", {"groups": 2}, IMAGE), ("Normalization", {"mean": 1.0, "variance": 2.0}, ROWS)])
def test_every_layer_with_weights_gives_the_compute_dtype(policy, name, options, shape):
    layer = getattr(layers, name)(dtype=policy, **options)
    y = layer(np.ones(shape, "f"))
    assert y.dtype == policy.removeprefix("mixed_") == layer(fastnn.Input(shape[1:])).dtype
    assert {w.dtype for w in layer.weights} <= {"float32", "int32"}
