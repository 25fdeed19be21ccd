"""Ops on arguments that are rare: values that are all NaN, empty axes, sizes that are unknown, scalars that are symbolic."""
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import KerasTensor, ops

NAN = np.nan


def values(x):
    return np.asarray(x)


def test_arguments_of_the_extremes_without_nan():
    x = np.array([[NAN, 2, 5], [NAN, NAN, NAN], [4, NAN, -np.inf]], "float32")
    assert values(ops.nanargmax(x, axis=1)).tolist() == [2, -1, 0]
    assert values(ops.nanargmin(x, axis=1)).tolist() == [1, -1, 2]
    assert values(ops.nanargmax(x, axis=0, keepdims=True)).tolist() == [[2, 0, 0]]
    assert int(ops.nanargmax(x)) == 2 and int(ops.nanargmin(np.full(3, NAN))) == -1
    assert int(ops.nanargmax(np.array([3, 7, 1]))) == 1


def test_extremes_of_nothing():
    x = np.zeros((2, 0, 3), "float32")
    for f in (ops.max, ops.min):
        for axis in (None, 1, (0, 1)):
            for keepdims in (False, True):
                y = values(f(x, axis=axis, keepdims=keepdims, initial=4))
                expected = np.max(x, axis=axis, keepdims=keepdims, initial=4)
                assert y.shape == expected.shape and (y == expected).all()


def test_unique_elements():
    x = np.array([1, NAN, 2, NAN], "float32")
    y, counts = ops.unique(x, return_counts=True)
    assert np.isnan(values(y)).sum() == 2 and values(counts).tolist() == [1, 1, 1, 1]
    y, index = ops.unique(np.array([3, 1, 2, 1]), size=5, return_index=True)
    assert values(y).tolist() == [1, 2, 3, 0, 0] and values(index).tolist() == [1, 2, 0, 1, 1]


def test_errors():
    rows = [
        (lambda: ops.cumsum(np.ones((2, 3)), axis=()), "axis must be one int"),
        (lambda: ops.extract_sequences(np.float32(1), 1, 1), "rank >= 1"),
        (lambda: ops.image.extract_patches(np.ones((1, 4, 4, 2), "f"), (3, 3, 3, 3)), "tuple of length 2 or 3"),
        (lambda: ops.digitize(np.ones(3), np.ones((2, 2))), "bins must have one axis"),
        (lambda: ops.convert_to_numpy(KerasTensor((2,))), "has no values"),
        (lambda: ops.unstack(KerasTensor((2, None, 3)), axis=1), "Cannot infer argument `num`"),
        (lambda: ops.cond(KerasTensor((), "bool"), lambda: ops.ones(3), lambda: ops.zeros(4)), "the same structure"),
        (lambda: ops.reshape(KerasTensor((None, 3)), (5, 2)), "element count"),
        (lambda: ops.image.rgb_to_hsv(np.ones((2, 2, 4), "f")), "must have 3 channels"),
        (lambda: ops.image.hsv_to_rgb(np.ones((2, 2, 2), "f")), "must have 3 channels"),
        (lambda: ops.inner(np.ones((2, 3)), np.ones((2, 4))), r"\[inner\] the last dimension"),
        (lambda: ops.scan(lambda c, x: (c, x), 0, np.ones(3), unroll=-1), "unroll must be"),
        (lambda: ops.scan(lambda c, x: (c, x), 0), "to scan over"),
        (lambda: ops.associative_scan(ops.add, [np.ones(2), np.ones(3)]), "same first dimension"),
    ]
    for call, text in rows:
        with pytest.raises(ValueError, match=text):
            call()


    for size in ((4, 4), "x", None):
        with pytest.raises(TypeError, match="Expected an int or a tuple of length 3"):
            ops.image.extract_patches_3d(np.ones((1, 4, 4, 4, 2), "f"), size)


def test_unknown_sizes():
    x = KerasTensor((None, 3))
    assert ops.geomspace(x, KerasTensor((1, 3)), 5, axis=1).shape == (None, 5, 3)
    assert ops.view(x, "int16").shape == (None, 6) and ops.view(x, "int16").dtype == "int16"
    assert ops.reshape(x, (3, 2)).shape == (3, 2)  # of two rows
    assert ops.digitize(x, KerasTensor((4,))).shape == (None, 3)
    assert ops.cond(KerasTensor((), "bool"), lambda: x + 1, lambda: x).shape == (None, 3)
    images = KerasTensor((None, None, 3))
    assert ops.image.pad_images(images, 2, 3, target_height=20, target_width=30).shape == (20, 30, 3)
    assert ops.image.pad_images(images, 2, 3, 2, 3).shape == (None, None, 3)


def test_sizes_that_are_tensors():
    x = np.arange(12, dtype="float32").reshape(2, 6)
    assert ops.reshape(x, ops.convert_to_tensor([3, 4])).shape == (3, 4)
    assert ops.reshape(x, (ops.convert_to_tensor(3), -1)).shape == (3, 4)
    assert ops.reshape(x, ops.convert_to_tensor(12)).shape == (12,)
    assert ops.tile(x, ops.convert_to_tensor([2, 1])).shape == (4, 6)
    i, n, sizes = fastnn.Input((6,)), fastnn.Input((), batch_size=None, dtype="int32"), KerasTensor((2,), "int32")
    assert ops.reshape(i, sizes).shape == (None, None) and ops.reshape(x, sizes).shape == (None, None)
    assert ops.tile(i, sizes).shape == (None, None) and ops.tile(i, (2, KerasTensor((), "int32"))).shape == (None, None)
    assert ops.slice(i, KerasTensor((2,), "int32"), (-1, 2)).shape == (None, 2)
    assert ops.slice(KerasTensor((3, 6)), (1, KerasTensor((), "int32")), (-1, -1)).shape == (2, None)
    with pytest.raises(ValueError):
        ops.reshape(x, ops.convert_to_tensor([5, 5]))
    model = fastnn.Model([i, n], [ops.reshape(i, (-1, ops.sum(n))), ops.tile(i, (1, ops.sum(n)))])
    y, z = model([x, np.array([1, 2], "int32")])
    assert y.shape == (4, 3) and z.shape == (2, 18)


def test_a_softmax_of_one_is_told_of():
    with pytest.warns(UserWarning, match="will always return the value 1"):
        ops.softmax(np.ones((4, 1), "f"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.softmax(np.ones((4, 1), "f"), axis=0)
        fastnn.layers.Attention()([np.ones((2, 3, 4), "f"), np.ones((2, 1, 4), "f")])  # of one key
