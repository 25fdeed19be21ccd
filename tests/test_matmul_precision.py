"""Tensor cores: products of rounded operands, exact where rounding changes nothing."""
import numpy as np
import pytest

import fastnn
from fastnn import GradientTape, _core, config, ops
from fastnn.scopes import library_path
from fastnn.tensor import convert_to_tensor, to_numpy

emulated = pytest.mark.skipif(not library_path("cuda-emu").exists(), reason="needs the device cuda-emu: -DFASTNN_CUDA_EMU=ON")
BITS = {"tf32": 11, "bf16": 8}


@pytest.fixture(params=["tf32", "bf16"])
def precision(request):
    """On the emulated device, with one of the precisions below float32."""
    config.set_matmul_precision(request.param)
    try:
        with fastnn.device("cuda-emu"):
            yield request.param
    finally:
        config.set_matmul_precision("float32")


def rounded(x, precision):
    """x with that many bits of precision: ties away from zero for tf32, to even for bf16."""
    mantissa, exponent = np.frexp(x.astype("f8"))
    scaled = mantissa * 2 ** BITS[precision]
    whole = np.rint(scaled) if precision == "bf16" else np.trunc(scaled + np.copysign(0.5, scaled))
    return np.ldexp(whole, exponent - BITS[precision])


def test_setting():
    assert config.matmul_precision() == "float32"
    with pytest.raises(ValueError, match="precision must be"):
        config.set_matmul_precision("float16")
    with pytest.raises(ValueError, match="from 0 to 2"):
        _core.set_matmul_precision(3)


SHAPES = [(64, 64, 64), (12, 16, 4), (100, 68, 36), (9, 9, 8), (33, 50, 21), (20, 24, 1600), (1284, 1032, 12)]


@emulated
@pytest.mark.parametrize("m, n, k", SHAPES)
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
def test_products_of_integers_are_exact(precision, m, n, k, trans_a, trans_b):
    rng = np.random.default_rng(0)
    a, b, bias = (rng.integers(-4, 5, s).astype("f4") for s in ((m, k), (k, n), (n,)))
    y = _core.matmul(convert_to_tensor(a.T.copy() if trans_a else a), convert_to_tensor(b.T.copy() if trans_b else b),
                     convert_to_tensor(bias), trans_a, trans_b, 1)
    assert np.array_equal(to_numpy(y), np.maximum(a @ b + bias, 0))


@emulated
def test_operands_are_rounded(precision):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 20, 40)).astype("f4"), rng.standard_normal((40, 12)).astype("f4")
    y = to_numpy(ops.matmul(a, b)).astype("f8")
    ra, rb = rounded(a, precision), rounded(b, precision)
    assert (abs(y - ra @ rb) <= 1e-5 * (abs(ra) @ abs(rb))).all()
    assert abs(y - a.astype("f8") @ b).max() > 1e-4  # and not more precise than that


@emulated
def test_batches_repeat_operands(precision):
    rng = np.random.default_rng(2)
    a, b = rng.integers(-3, 4, (3, 1, 10, 12)).astype("f4"), rng.integers(-3, 4, (1, 2, 12, 20)).astype("f4")
    assert np.array_equal(to_numpy(ops.matmul(a, b)), a @ b)


@emulated
@pytest.mark.parametrize("image, channels, kernel, filters, strides, dilation", [
    ((9, 10), 8, (3, 3), 16, 1, 1), ((9, 11), 12, (3, 2), 20, (2, 3), 1), ((8, 8), 6, (3, 3), 10, 2, 1),
    ((12, 9), 16, (2, 3), 8, 1, 2), ((7, 7), 24, (1, 1), 12, 2, 1), ((6, 5), 8, (3, 3), 9, 1, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_of_integers_are_exact(precision, image, channels, kernel, filters, strides, dilation, groups):
    rng = np.random.default_rng(3)
    filters *= groups
    x = rng.integers(-3, 4, (2, *image, channels)).astype("f4")
    w = rng.integers(-3, 4, (*kernel, channels // groups, filters)).astype("f4")

    def three():
        tx, tw = convert_to_tensor(x), convert_to_tensor(w)
        with GradientTape() as tape:
            tape.watch([tx, tw])
            y = ops.conv(tx, tw, strides, "same", dilation_rate=dilation)
        g = (np.arange(y.size) % 7 - 3).reshape(y.shape).astype("f4")
        return [to_numpy(t) for t in (y, *tape.gradient(y, [tx, tw], output_gradients=convert_to_tensor(g)))]

    found = three()
    with fastnn.device("cpu"):
        expected = three()
    for a, b in zip(found, expected):
        assert np.array_equal(a, b)
