"""Quantization: integers and 8-bit floats in place of weights, in layers, models and files."""
import math

import ml_dtypes
import numpy as np
import pytest

import fastnn as keras
from fastnn import dtype_policies, layers, ops, quantizers


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def built(make, shape):
    layer = make()
    layer.build(shape)
    return layer


LAYERS = [
    (lambda: layers.Dense(7, activation="relu"), (None, 5)),
    (lambda: layers.EinsumDense("btd,ndh->btnh", (None, 2, 8), bias_axes="nh"), (None, 3, 4)),
    (lambda: layers.EinsumDense("...x,xy->...y", (6,)), (None, 3, 4)),
    (lambda: layers.EinsumDense("abcde,afce->acdbf", (2, 4, 8, 5)), (1, 8, 2, 4, 6)),
]


# ---- functions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 0, (0, 1)])
@pytest.mark.parametrize("to_numpy", [False, True])
def test_abs_max_quantize(axis, to_numpy):
    x = numbers(5, 4)
    integers, scale = quantizers.abs_max_quantize(x, axis, to_numpy=to_numpy)
    expected = 127 / (np.abs(x).max(axis=axis, keepdims=True) + 1e-7)
    np.testing.assert_allclose(scale, expected, rtol=1e-6)
    assert integers.dtype == "int8" and np.abs(np.asarray(integers, "float64") - x * expected).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("to_numpy", [False, True])
@pytest.mark.parametrize("block_size", [1, 3, 4, 9])
def test_groups_with_zero_point(block_size, to_numpy):
    x = numbers(9, 4) + 0.5
    integers, scale, zero = quantizers.abs_max_quantize_grouped_with_zero_point(x, block_size, to_numpy=to_numpy)
    assert scale.shape == zero.shape == (math.ceil(9 / block_size), 4) and zero.dtype == "int8"
    group = np.arange(9) // block_size
    back = (np.asarray(integers, "float32") - np.asarray(zero)[group]) * np.asarray(scale)[group]
    if block_size > 1:  # a group on one side of 0 clips its zero
        inside = np.stack([(x[group == g].min(0) <= 0) & (x[group == g].max(0) >= 0) for g in range(group[-1] + 1)])[group]
        assert (np.abs(back - x) <= np.asarray(scale)[group] * 1.01)[inside].all()


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype, low, high", [("int8", -8, 8), ("uint8", 0, 16)])
def test_pack_int4(axis, dtype, low, high):
    x = np.random.default_rng(0).integers(low, high, (5, 3, 4)).astype(dtype)
    packed, shape, length = quantizers.pack_int4(x, axis, dtype)
    assert packed.shape == shape and shape[axis] == (x.shape[axis] + 1) // 2 and length == x.shape[axis]
    np.testing.assert_array_equal(quantizers.unpack_int4(packed, length, axis, dtype), x)
    first = np.take(np.asarray(packed), 0, axis).view("uint8")
    np.testing.assert_array_equal(first & 15, np.take(x, 0, axis).view("uint8") & 15)


def test_packing_errors():
    with pytest.raises(ValueError, match="int8"):
        quantizers.pack_int4(np.zeros((2, 2), "int8"), dtype="int16")
    with pytest.raises(TypeError, match="int8 tensor"):
        quantizers.pack_int4(np.zeros((2, 2), "float32"))
    with pytest.raises(TypeError, match="int8 or uint8"):
        quantizers.unpack_int4(np.zeros((2, 2), "float32"), 4)


def test_float8():
    x = numbers(16, 16)
    for dtype in ("float8_e4m3fn", "float8_e5m2"):
        expected = (x / np.float32(0.1)).astype(getattr(ml_dtypes, dtype)).astype("float32") * np.float32(0.1)
        np.testing.assert_array_equal(quantizers.quantize_and_dequantize(x, 0.1, dtype, "float32"), expected)
    assert float(quantizers.compute_float8_scale(2.0, 1.0, 448.0)) == pytest.approx(2 / 448)
    assert float(quantizers.compute_float8_scale(0.0, 3.0, 448.0)) == pytest.approx(3)
    assert float(quantizers.compute_float8_scale(np.inf, 3.0, 448.0)) == pytest.approx(3)
    history = quantizers.compute_float8_amax_history(np.array([1.0, -5.0], "float32"), np.array([3.0, 1.0, 2.0], "float32"))
    np.testing.assert_array_equal(history, [5, 2, 3])


@pytest.mark.parametrize("axis", [None, 1])
def test_fake_quant(axis):
    """Levels hold 0; the gradients of values outside of the range go to its ends."""
    x = 2 * numbers(6, 3)
    low, high = (np.float32(-1), np.float32(1.5)) if axis is None else (np.array([-1, -0.5, -2], "float32"), np.array([1, 1, 1], "float32"))
    tensors = [ops.convert_to_tensor(v) for v in (x, low, high)]
    with keras.GradientTape() as tape:
        for t in tensors:
            tape.watch(t)
        y = quantizers.fake_quant_with_min_max_vars(*tensors, num_bits=4, axis=axis)
    step = (high - low) / 15
    levels = np.asarray(y) / step
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    assert np.abs(np.asarray(y) - np.clip(x, low - step, high + step)).max() <= (step * 1.01).max()
    gx, glow, ghigh = tape.gradient(y, tensors)
    np.testing.assert_allclose(np.asarray(gx).sum() + np.asarray(glow).sum() + np.asarray(ghigh).sum(), x.size)
    assert glow.shape == np.shape(low)


def test_policies():
    for name in ("int8_from_mixed_bfloat16", "int4_from_float32", "int4/64_from_float32", "float8_from_float32",
                 "gptq/4/128_from_float32", "awq/4/-1_from_float32"):
        policy = dtype_policies.get(name)
        assert policy.name == name and policy == dtype_policies.get(dtype_policies.serialize(policy))
        assert policy.quantization_mode == name.split("_from_")[0].split("/")[0]
    assert dtype_policies.get("int8_from_mixed_bfloat16").compute_dtype == "bfloat16"
    assert dtype_policies.get("int8") == dtype_policies.DTypePolicy("int8")
    for name, message in (("int8_from_float16", "float16"), ("gptq/5/128_from_float32", "weight_bits"),
                          ("gptq/4_from_float32", "format"), ("awq/8/128_from_float32", "4-bit"),
                          ("int4/0_from_float32", "block_size"), ("int4/x_from_float32", "integers")):
        with pytest.raises(ValueError, match=message):
            dtype_policies.get(name)


# ---- layers --------------------------------------------------------------------------------------------


def float_kernel(layer):
    return np.asarray(layer._float_kernel())


@pytest.mark.parametrize("make, shape", LAYERS)
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_kernels(make, shape, mode):
    layer = built(make, shape)
    x = numbers(*[2 if n is None else n for n in shape])
    before, floats = np.asarray(layer(x)), np.asarray(layer.kernel)
    layer.quantize(mode)
    after = np.asarray(layer(x))
    error = np.sqrt(((after - before) ** 2).mean() / (before ** 2).mean())
    assert 0 < error < {"int8": 0.02, "int4": 0.2, "float8": 0.1}[mode]
    if mode != "float8":
        step = np.abs(floats).max() / (127 if mode == "int8" else 7)
        assert np.abs(float_kernel(layer) - floats).max() <= step * 1.1
        assert layer._kernel.dtype == "int8" and not layer._kernel.trainable
        with pytest.raises(ValueError, match="already quantized"):
            layer.quantize(mode)
    again = type(layer).from_config(layer.get_config())
    again.build(shape)
    store = {}
    layer.save_own_variables(store)
    again.load_own_variables(store)
    np.testing.assert_array_equal(again(x), after)


def test_int8_product_is_exact():
    """Integers of inputs and kernel, multiplied without rounding."""
    layer = built(lambda: layers.Dense(6, use_bias=False), (None, 500))
    layer.quantize("int8")
    x = numbers(3, 500)
    integers, scale = quantizers.abs_max_quantize(x, -1)
    product = np.asarray(integers, "int64") @ np.asarray(layer._kernel, "int64")
    expected = product / (np.asarray(scale, "float64") * np.asarray(layer.kernel_scale, "float64"))
    np.testing.assert_allclose(layer(x), expected, rtol=3e-7)


@pytest.mark.parametrize("make, shape", LAYERS)
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_gradient_of_inputs(make, shape, mode):
    """That of the floats that the kernel stands for."""
    layer = built(make, shape)
    layer.quantize(mode)
    layer.activation = None
    x = ops.convert_to_tensor(numbers(*[2 if n is None else n for n in shape]))
    kernel = layer._float_kernel()
    with keras.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y, plain = layer(x), layer._product(x, kernel)
    gy = numbers(*y.shape, seed=1)
    np.testing.assert_allclose(tape.gradient(y, x, output_gradients=gy), tape.gradient(plain, x, output_gradients=gy),
                               rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("make, shape", LAYERS[:2])
def test_lora_on_integers(make, shape, mode, tmp_path):
    layer = built(make, shape)
    layer.quantize(mode)
    layer.enable_lora(2)
    model = keras.Sequential([keras.Input(shape[1:]), layer])
    model.compile("sgd", "mse")
    x = numbers(16, *[2 if n is None else n for n in shape[1:]])
    y = numbers(16, *layer.compute_output_shape(shape)[1:], seed=2)
    before = layer._kernel.numpy()
    model.fit(x, y, epochs=3, verbose=0)
    np.testing.assert_array_equal(layer._kernel.numpy(), before)
    assert np.abs(layer.lora_kernel_b.numpy()).max() > 0
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    span = np.abs(model.predict(x, verbose=0)).max()
    assert np.abs(again.predict(x, verbose=0) - model.predict(x, verbose=0)).max() < span * (0.05 if mode == "int8" else 0.4)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("block_size", [None, 2])
@pytest.mark.parametrize("tied", [None, True, False])
def test_embeddings(mode, block_size, tied, tmp_path):
    if mode == "int8" and block_size:
        return
    layer = built(lambda: layers.Embedding(9, 5) if tied is None else layers.ReversibleEmbedding(9, 5, tie_weights=tied), None)
    table = layer.embeddings.numpy()
    ids = np.array([[0, 8, 3]])
    config = quantizers.Int4QuantizationConfig(block_size=block_size) if mode == "int4" else None
    back = None if tied is None else np.asarray(layer(table, reverse=True))
    layer.quantize(mode, config=config)
    step = np.abs(table).max() / (127 if mode == "int8" else 7)
    if block_size is None:  # a block on one side of 0 has a clipped zero
        assert np.abs(np.asarray(layer(ids)) - table[ids]).max() <= step * 1.1
    if back is not None and block_size is None:
        assert np.abs(np.asarray(layer(table, reverse=True)) - back).max() < 4 * step * np.abs(table).max() * 5
    model = keras.Sequential([layer])
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(ids), model(ids))
    other = keras.Sequential([type(layer).from_config(layer.get_config())])
    other.layers[0].build()
    other.built = True
    model.save_weights(tmp_path / "m.weights.h5")
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other(ids), model(ids))


def test_float8_training():
    """Scales follow the largest values of the steps before, and the weights learn."""
    model = keras.Sequential([keras.Input((8,)), layers.Dense(16, activation="tanh"), layers.Dense(1)])
    model.quantize("float8")
    layer = model.layers[0]
    assert len(layer.trainable_weights) == 8
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = numbers(64, 8)
    y = x[:, :1] * 0.5
    losses = model.fit(x, y, batch_size=64, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 3
    assert layer.inputs_amax_history.numpy()[0] == pytest.approx(np.abs(x).max())
    assert layer.inputs_scale.numpy() == pytest.approx(np.abs(x).max() / 448)
    assert 0 < layer.outputs_grad_scale.numpy() < 1


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_models(mode, tmp_path):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3, name="last")(layers.Dropout(0.5)(layers.Dense(4, name="first")(inputs))))
    x = numbers(5, 6)
    floats = model.predict(x, verbose=0)
    model.quantize(mode, filters="first")
    assert model.get_layer("first").quantization_mode == mode and model.get_layer("last").quantization_mode is None
    with pytest.warns(UserWarning, match="quantize"):
        model.quantize(mode, filters=lambda layer: layer.name != "first")
    assert model.get_layer("last").quantization_mode == mode
    after = model.predict(x, verbose=0)
    assert 0 < np.abs(after - floats).max() < np.abs(floats).max()
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras").predict(x, verbose=0), after)


def test_built_from_a_policy():
    layer = layers.Dense(4, dtype="int8_from_mixed_bfloat16")
    y = layer(numbers(2, 3))
    assert y.dtype == "bfloat16" and layer._kernel.dtype == "int8" and layer.bias.dtype == "float32"
    layer = built(lambda: layers.Dense(4), (None, 3))
    layer.dtype_policy = "int4_from_float32"
    assert layer.quantization_mode == "int4" and layer._kernel.shape == (3, 2)


class Halves(quantizers.Quantizer):
    """A quantizer of a user's."""

    def __call__(self, x, axis=None, to_numpy=False):
        return ops.cast(ops.round(ops.multiply(x, 2.0)), "int8"), ops.full((1, 1), 2.0)

    def get_config(self):
        return {}


def test_custom_quantizers():
    config = quantizers.Int8QuantizationConfig(quantizers.AbsMaxQuantizer(axis=0, value_range=(-3, 3)), Halves())
    layer = built(lambda: layers.Dense(4, use_bias=False), (None, 3))
    layer.quantize(config=config)
    assert np.abs(layer._kernel.numpy()).max() == 3
    x = numbers(2, 3)
    expected = np.round(2 * x) / 2 @ float_kernel(layer)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    again = quantizers.deserialize(quantizers.serialize(config), custom_objects={"Halves": Halves})
    assert again.weight_quantizer.value_range == (-3, 3) and isinstance(again.activation_quantizer, Halves)


def test_errors():
    with pytest.raises(ValueError, match="isn't yet built"):
        layers.Dense(2).quantize("int8")
    layer = built(lambda: layers.Dense(2), (None, 2))
    with pytest.raises(ValueError, match="Invalid quantization mode"):
        layer.quantize("int7")
    with pytest.raises(ValueError, match="either `mode` or `config`"):
        layer.quantize()
    with pytest.raises(ValueError, match="Contradictory"):
        layer.quantize("int8", config=quantizers.Int4QuantizationConfig())
    with pytest.raises(ValueError, match="GPTQConfig"):
        layer.quantize("gptq")
    with pytest.raises(NotImplementedError, match="`quantize` method"):
        built(lambda: layers.LayerNormalization(), (None, 2)).quantize("int8")
    with pytest.raises(ValueError, match="float16"):
        built(lambda: layers.Dense(2, dtype="float16"), (None, 2)).quantize("int8")
    with pytest.raises(ValueError, match="Implicitly enabling GPTQ"):
        layer.dtype_policy = "gptq/4/-1_from_float32"
    assert layer.quantization_mode is None
    with pytest.raises(ValueError, match="block_size"):
        quantizers.Int4QuantizationConfig(block_size=0)
    with pytest.raises(ValueError, match="custom quantizers"):
        quantizers.Int4QuantizationConfig(quantizers.AbsMaxQuantizer(value_range=(-8, 7)), block_size=64)
    with pytest.raises(ValueError, match="value_range"):
        quantizers.AbsMaxQuantizer(value_range=(-200, 7))
    with pytest.raises(ValueError, match="Could not interpret"):
        quantizers.get("no_such")


def test_failed_quantization_changes_nothing():
    class Refuses(quantizers.Quantizer):
        def __call__(self, x, axis=None, to_numpy=False):
            raise RuntimeError("no")

    layer = built(lambda: layers.Dense(2), (None, 2))
    x = numbers(2, 2)
    before = np.asarray(layer(x))
    with pytest.raises(RuntimeError):
        layer.quantize(config=quantizers.Int8QuantizationConfig(Refuses()))
    assert layer.quantization_mode is None
    np.testing.assert_array_equal(layer(x), before)
    layer.quantize("int8")
