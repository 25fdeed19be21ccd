"""Merging and reshaping layers, as objects and functions."""

import numpy as np
import pytest

import fastnn
from fastnn import KerasTensor, layers
from check import check_op

A, B, C = (np.random.default_rng(i).normal(size=s).astype("float32") for i, s in enumerate([(4, 3, 5), (4, 3, 5), (4, 5)]))


@pytest.mark.parametrize("name, f", [
    ("add", lambda a, b: a + b), ("subtract", lambda a, b: a - b), ("multiply", lambda a, b: a * b),
    ("average", lambda a, b: (a + b) / 2), ("maximum", np.maximum), ("minimum", np.minimum),
])  # fmt: skip
def test_elementwise(name, f):
    layer = getattr(layers, name.capitalize())()
    np.testing.assert_allclose(np.asarray(layer([A, B])), f(A, B), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(getattr(layers, name)([A, B])), f(A, B), rtol=1e-6)
    check_op(lambda a, b: type(layer)()([a, b]), f, [(4, 3, 5), (4, 3, 5)], exact=False)
    # a sample with fewer axes is repeated along the first ones
    check_op(lambda a, c: type(layer)()([a, c]), lambda a, c: f(a, c[:, None]), [(4, 3, 5), (4, 5)], exact=False)
    assert getattr(layers, name)([KerasTensor((None, 3, None)), KerasTensor((None, 3, 1))]).shape == (None, 3, None)
    with pytest.raises(ValueError, match="incompatible shapes"):
        type(layer)()([KerasTensor((None, 3, 5)), KerasTensor((None, 2, 5))])
    with pytest.raises(ValueError, match="merge layer must be called on a list"):
        type(layer)()(A)
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_three_inputs():
    np.testing.assert_allclose(np.asarray(layers.Add()([A, B, A])), A + B + A, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(layers.Average()([A, B, A])), (A + B + A) / 3, rtol=1e-5)
    with pytest.raises(ValueError, match="exactly 2"):
        layers.Subtract()([A, B, A])
    with pytest.raises(ValueError, match="same batch size"):
        layers.Add()([A, A[:2]])


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_concatenate(axis):
    check_op(lambda a, b: layers.Concatenate(axis)([a, b]), lambda a, b: np.concatenate([a, b], axis), [(2, 3, 5)] * 2)
    np.testing.assert_array_equal(np.asarray(layers.concatenate([A, B], axis)), np.concatenate([A, B], axis))
    with pytest.raises(ValueError, match="matching shapes except for|same number of axes"):
        layers.Concatenate(axis)([KerasTensor((None, 3, 5)), KerasTensor((None, 4, 6))])


def test_masks_meet():
    e = layers.Embedding(5, 2, mask_zero=True)
    a, b = e(np.array([[1, 0, 0]])), e(np.array([[1, 2, 0]]))
    assert np.asarray(layers.Add()([a, b])._keras_mask).tolist() == [[True, True, False]]
    assert np.asarray(layers.Concatenate(1)([a, b])._keras_mask).tolist() == [[True, False, False, True, True, False]]


@pytest.mark.parametrize("axes, shapes, einsum", [
    (1, [(4, 5), (4, 5)], "ni,ni->n"), (-1, [(4, 3, 5), (4, 2, 5)], "nai,nbi->nab"),
    ((1, 2), [(4, 5, 3), (4, 2, 5)], "nia,nbi->nab"), ((2, 1), [(4, 3, 5), (4, 5)], "nai,ni->na"),
    (1, [(4, 5, 2, 3), (4, 5, 2)], "niab,nic->nabc"),
])  # fmt: skip
def test_dot(axes, shapes, einsum):
    def reference(a, b):
        y = np.einsum(einsum, a, b)
        return y[:, None] if y.ndim == 1 else y

    check_op(lambda a, b: layers.dot([a, b], axes), reference, shapes, tolerance=1e-4)
    a, b = (np.random.default_rng(i).normal(size=s).astype("float32") for i, s in enumerate(shapes))
    i, j = (axes, axes) if isinstance(axes, int) else axes
    unit = reference(a / np.linalg.norm(a, axis=i, keepdims=True), b / np.linalg.norm(b, axis=j, keepdims=True))
    np.testing.assert_allclose(np.asarray(layers.Dot(axes, normalize=True)([a, b])), unit, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="sizes along axes"):
        layers.Dot(1)([KerasTensor((None, 3)), KerasTensor((None, 4))])
    with pytest.raises(TypeError, match="axes"):
        layers.Dot((1, 2, 3))
    with pytest.raises(ValueError, match="other than the batch"):
        layers.Dot(0)([C, C])


@pytest.mark.parametrize("layer, shape, f", [
    (layers.Flatten(), (4, 3, 5), lambda x: x.reshape(4, 15)), (layers.Flatten(), (4,), lambda x: x.reshape(4, 1)),
    (layers.Flatten("channels_first"), (4, 3, 5, 2), lambda x: np.moveaxis(x, 1, -1).reshape(4, 30)),
    (layers.Reshape((5, 3)), (4, 15), lambda x: x.reshape(4, 5, 3)),
    (layers.Reshape((-1, 2)), (4, 3, 4), lambda x: x.reshape(4, 6, 2)), (layers.Reshape(()), (4, 1), lambda x: x.reshape(4)),
    (layers.Permute((2, 1)), (4, 3, 5), lambda x: x.transpose(0, 2, 1)),
    (layers.RepeatVector(3), (4, 5), lambda x: np.repeat(x[:, None], 3, 1)),
])  # fmt: skip
def test_reshaping(layer, shape, f):
    check_op(lambda x: layer(x), f, [shape])
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    empty = layer(np.zeros((0, *shape[1:]), "float32"))
    assert empty.shape == (0, *f(np.zeros(shape)).shape[1:])


def test_shapes_of_unknown_sizes():
    assert layers.Flatten()(KerasTensor((None, 5, None))).shape == (None, None)
    assert layers.Flatten()(KerasTensor((None, 5, 2))).shape == (None, 10)
    assert layers.Flatten()(KerasTensor((3, None, 2))).shape == (3, None)
    assert layers.Reshape((-1, 5))(KerasTensor((None, None, 5))).shape == (None, None, 5)
    assert layers.Permute((2, 1))(KerasTensor((None, None, 5))).shape == (None, 5, None)
    assert layers.RepeatVector(2)(KerasTensor((None, 5))).shape == (None, 2, 5)


@pytest.mark.parametrize("f, error, match", [
    (lambda: layers.Reshape((4, 4))(C), ValueError, "as many elements"), (lambda: layers.Reshape((-1, 2))(C), ValueError, "as many"),
    (lambda: layers.Reshape((-1, -1)), ValueError, "at most one"), (lambda: layers.Permute((1, 1)), ValueError, "permutation"),
    (lambda: layers.Permute((2, 1))(C), ValueError, "ndim"), (lambda: layers.RepeatVector(2.5), TypeError, "integer"),
    (lambda: layers.RepeatVector(2)(A), ValueError, "ndim"), (lambda: layers.Reshape((2.5,)), ValueError, "integer"),
])  # fmt: skip
def test_errors(f, error, match):
    with pytest.raises(error, match=match):
        f()


def test_multiply_ignores_masked_steps():
    ids = [np.array([[1, 0, 2, 0]]), np.array([[1, 1, 0, 0]])]
    inputs = [fastnn.Input((4,), dtype="int32") for _ in ids]
    embed = layers.Embedding(5, 2, mask_zero=True, embeddings_initializer=fastnn.initializers.Constant(3.0))
    model = fastnn.Model(inputs, layers.Multiply()([embed(i) for i in inputs]))
    np.testing.assert_array_equal(np.asarray(model(ids))[0, :, 0], [9, 3, 3, 0])
