"""Image layers: seeds, dicts, masks and labels, layouts, configs, errors. Numbers of Keras are in test_keras_numbers."""

import numpy as np
import pytest

import fastnn as keras
from fastnn import layers, ops

RANDOM = [
    ("RandomFlip", {}), ("RandomRotation", dict(factor=0.2)), ("RandomZoom", dict(height_factor=0.3)),
    ("RandomTranslation", dict(height_factor=0.2, width_factor=[-0.1, 0.3])), ("RandomShear", dict(x_factor=0.2, y_factor=0.1)),
    ("RandomPerspective", {}), ("RandomElasticTransform", {}), ("RandomCrop", dict(height=5, width=4)),
    ("RandomBrightness", dict(factor=0.2)), ("RandomContrast", dict(factor=0.4)), ("RandomColorDegeneration", dict(factor=0.5)),
    ("RandomGrayscale", {}), ("RandomHue", dict(factor=0.3)), ("RandomSaturation", dict(factor=0.8)),
    ("RandomSharpness", dict(factor=0.9)), ("RandomGaussianBlur", {}), ("RandomInvert", dict(factor=0.5)),
    ("RandomPosterization", dict(factor=[2, 6])), ("Solarization", dict(addition_factor=0.2, threshold_factor=0.5)),
    ("RandomColorJitter", dict(brightness_factor=0.2, hue_factor=0.1)), ("RandomErasing", {}), ("MixUp", {}), ("CutMix", {}),
    ("RandAugment", {}), ("AugMix", {}),
]  # fmt: skip
STILL = [
    ("CenterCrop", dict(height=4, width=3)), ("Resizing", dict(height=5, width=9)), ("AutoContrast", {}), ("Equalization", {}),
    ("ContrastLimitedAdaptiveHistogramEqualization", dict(tile_grid_size=(2, 2))),
]  # fmt: skip
X = (np.random.default_rng(0).random((4, 8, 6, 3)) * 255).astype("float32")


def ids(rows):
    return pytest.mark.parametrize("name, config", rows, ids=[name for name, _ in rows])


@ids(RANDOM)
def test_seed_decides(name, config):
    cls = getattr(layers, name)
    first, again, other = (np.asarray(cls(seed=s, **config)(X)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all() and first.dtype == np.float32
    assert name in ("RandomCrop", "RandomFlip", "RandomGrayscale", "RandomInvert") or (first != other).any()


@ids(RANDOM)
def test_inference_changes_nothing(name, config):
    y = np.asarray(getattr(layers, name)(**config)(X, training=False))
    if name == "RandomCrop":
        assert y.shape == (4, 5, 4, 3)
    else:
        np.testing.assert_array_equal(y, X)


@ids(RANDOM + STILL)
def test_shapes_layouts_and_config(name, config):
    cls = getattr(layers, name)
    layer = cls(**config)
    y = layer(X)
    assert tuple(layer(keras.Input(X.shape[1:])).shape) == (None, *y.shape[1:])
    assert tuple(layer.compute_output_shape(X.shape)) == tuple(y.shape)
    first = cls(data_format="channels_first", **config)(X.transpose(0, 3, 1, 2))
    assert first.shape == (4, 3, *y.shape[1:3])
    config_again = cls.from_config(layer.get_config()).get_config()
    assert config_again == layer.get_config()
    if name not in ("MixUp", "CutMix"):
        assert layer(X[0]).shape == y.shape[1:]


@ids(STILL)
def test_layouts_agree(name, config):
    cls = getattr(layers, name)
    y = np.asarray(cls(**config)(X))
    z = np.asarray(cls(data_format="channels_first", **config)(X.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(z.transpose(0, 2, 3, 1), y, rtol=1e-5, atol=1e-3)


def test_masks_move_with_the_images():
    for layer in (layers.RandomRotation(0.2, seed=1), layers.RandomFlip(seed=1), layers.RandomCrop(5, 4, seed=1)):
        data = {"images": X, "segmentation_masks": X[..., :1] > 100, "labels": np.arange(4)}
        out = layer(data)
        assert out["segmentation_masks"].shape[1:3] == out["images"].shape[1:3]
        np.testing.assert_array_equal(np.asarray(out["labels"]), np.arange(4))
    flipped = layers.RandomFlip("horizontal", seed=1)({"images": X, "segmentation_masks": X[..., :1]})
    np.testing.assert_array_equal(np.asarray(flipped["images"])[..., :1], np.asarray(flipped["segmentation_masks"]))


def test_mixed_labels():
    labels = np.eye(4, dtype="float32")
    out = layers.MixUp(alpha=2.0, seed=1)({"images": X, "labels": labels})
    y, weights = np.asarray(out["images"]), np.asarray(out["labels"])
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(y, np.einsum("ij,jhwc->ihwc", weights, X), rtol=1e-4, atol=1e-3)
    out = layers.CutMix(seed=2)({"images": X, "labels": labels})
    own = np.isclose(np.asarray(out["images"]), X).all(-1).mean((1, 2))
    for i in range(4):
        assert np.asarray(out["labels"])[i, i] >= 0.99 or abs(own[i] - np.asarray(out["labels"])[i, i]) < 0.35


def test_rotation_by_quarter_turns():
    x = X[:, :6]
    y = layers.RandomRotation([0.25, 0.25], fill_mode="constant")(x)
    np.testing.assert_allclose(np.asarray(y), np.rot90(x, 1, (1, 2)), atol=1e-3)


def test_gradient_flows_through():
    x = ops.convert_to_tensor(X)
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(layers.RandomZoom([0.2, 0.2])(x))
    g = np.asarray(tape.gradient(y, x))
    assert abs(g.sum() - X.size) < 0.01 * X.size


def test_pipeline_in_a_model():
    pipeline = layers.Pipeline([layers.RandomFlip(seed=1), layers.Rescaling(1 / 255)])
    model = keras.Sequential([keras.Input((8, 6, 3)), pipeline, layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((4, 1)), verbose=0)
    again = layers.Pipeline.from_config(pipeline.get_config())
    np.testing.assert_allclose(np.asarray(again(X, training=False)), X / 255, rtol=1e-6)


@pytest.mark.parametrize("make, word", [
    (lambda: layers.RandomFlip("diagonal"), "mode"), (lambda: layers.RandomRotation(2), "factor"),
    (lambda: layers.RandomRotation(0.1, fill_mode="void"), "fill_mode"), (lambda: layers.RandomZoom([1, 2, 3]), "height_factor"),
    (lambda: layers.RandomContrast(-0.1), "factor"), (lambda: layers.RandomBrightness(0.1, value_range=3), "value_range"),
    (lambda: layers.RandomGaussianBlur(kernel_size=4), "kernel_size"), (lambda: layers.RandomPosterization(9), "factor"),
    (lambda: layers.RandomErasing(fill_value=[1, 2]), "fill_value"), (lambda: layers.CenterCrop(0, 3), "height"),
    (lambda: layers.RandomFlip()(X[0, 0]), "rank"), (lambda: layers.RandomFlip()({"images": X, "bounding_boxes": X}), "boxes"),
    (lambda: layers.Resizing(3, 3, "cubic")(X), "interpolation"),
])  # fmt: skip
def test_wrong_use(make, word):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize("call, word", [
    (lambda i: i.resize(X, (3,)), "size"), (lambda i: i.resize(X, (0, 3)), "positive height and width"),
    (lambda i: i.resize(X[0, 0], (3, 3)), "rank"),
    (lambda i: i.resize(X, (3, 3), crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "Only one"),
    (lambda i: i.affine_transform(X, np.zeros(7)), "transform"), (lambda i: i.map_coordinates(X[0, 0], np.zeros((3, 2)), 1), "rank"),
    (lambda i: i.map_coordinates(X[0, 0], np.zeros((2, 2)), 3), "order"), (lambda i: i.rgb_to_hsv(X.astype("int32")), "float"),
    (lambda i: i.pad_images(X, 1, 1), "two of"), (lambda i: i.crop_images(X, 9, 0, target_height=2, target_width=2), ">= 0"),
    (lambda i: i.rgb_to_grayscale(X[..., :2]), "channel"), (lambda i: i.scale_and_translate(X, X.shape, [1.0], [0.0], [1], "box"), "method"),
    (lambda i: i.perspective_transform(X, np.zeros((3, 2)), np.zeros((3, 2))), "points"),
])  # fmt: skip
def test_wrong_ops(call, word):
    with pytest.raises(ValueError, match=word):
        call(ops.image)


def test_resize_keeps_integers():
    x = np.arange(48, dtype="uint8").reshape(4, 4, 3)
    y = ops.image.resize(x, (7, 5), "bicubic")
    assert y.dtype == "uint8" and np.asarray(y).max() <= 47
    assert ops.image.resize(keras.Input((None, None, 3)), (4, 5)).shape == (None, 4, 5, 3)
