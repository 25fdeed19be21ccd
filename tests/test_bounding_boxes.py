"""Bounding boxes: formats, overlaps, and layers that move them with the pixels they lie around."""
import numpy as np
import pytest

import fastnn as keras
from fastnn import layers
from fastnn.utils import bounding_boxes as box_utils

FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "center_yxhw", "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")
BOXES = np.array([[[10, 20, 110, 140], [20, 30, 50, 35]]], "float32")


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_convert_format(source, target):
    start = box_utils.convert_format(BOXES, "xyxy", source, 200, 300)
    there = box_utils.convert_format(start, source, target, 200, 300)
    np.testing.assert_allclose(there, box_utils.convert_format(BOXES, "xyxy", target, 200, 300), rtol=1e-5)
    np.testing.assert_allclose(box_utils.convert_format(there, target, "xyxy", 200, 300), BOXES, rtol=1e-4)


def test_formats_by_hand():
    box = np.array([[10.0, 20.0, 30.0, 60.0]])
    for target, expected in (("yxyx", [20, 10, 60, 30]), ("xywh", [10, 20, 20, 40]), ("center_xywh", [20, 40, 20, 40]),
                             ("center_yxhw", [40, 20, 40, 20]), ("rel_xyxy", [0.1, 0.1, 0.3, 0.3]),
                             ("rel_yxyx", [0.1, 0.1, 0.3, 0.3]), ("rel_xywh", [0.1, 0.1, 0.2, 0.2])):
        np.testing.assert_allclose(box_utils.convert_format(box, "xyxy", target, 200, 100)[0], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="Invalid source or target"):
        box_utils.convert_format(box, "xyxy", "abcd")
    with pytest.raises(ValueError, match="`height` and `width`"):
        box_utils.convert_format(box, "xyxy", "rel_xyxy")
    with pytest.raises(ValueError, match="last dimension of 4"):
        box_utils.convert_format(box[:, :3], "xyxy", "xywh")


def test_clip_crop_and_pad():
    boxes = {"boxes": np.array([[-5.0, 2, 30, 8], [50, 1, 60, 5]]), "labels": np.array([3, 4])}
    clipped = box_utils.clip_to_image_size(boxes, height=6, width=20)
    np.testing.assert_array_equal(clipped["boxes"], [[0, 2, 20, 6], [20, 1, 20, 5]])
    np.testing.assert_array_equal(clipped["labels"], [3, -1])
    np.testing.assert_array_equal(box_utils.crop(boxes["boxes"], 1, 10, 5, 15), [[0, 1, 15, 5], [15, 0, 15, 4]])
    np.testing.assert_array_equal(box_utils.pad(boxes["boxes"], 1, 2)[0], [-3, 3, 32, 9])


def test_iou():
    rng = np.random.default_rng(0)
    corner, size = rng.integers(0, 10, (2, 5, 2)), rng.integers(1, 10, (2, 5, 2))
    boxes = np.concatenate([corner, corner + size], -1).astype("float32")

    def cells(box):
        x1, y1, x2, y2 = box.astype(int)
        return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}

    expected = [[len(cells(a) & cells(b)) / len(cells(a) | cells(b)) for b in boxes[1]] for a in boxes[0]]
    np.testing.assert_allclose(box_utils.compute_iou(boxes[0], boxes[1], "xyxy"), expected, rtol=1e-5)
    np.testing.assert_allclose(box_utils.compute_iou(boxes[:1], boxes[1], "xyxy")[0], expected, rtol=1e-5)
    masked = box_utils.compute_iou(boxes[0], -boxes[1] - 1, "xyxy", use_masking=True)
    np.testing.assert_array_equal(masked, np.full((5, 5), -1.0))
    same = box_utils.compute_ciou(boxes[0], boxes[0], "xyxy")
    np.testing.assert_allclose(same, np.ones(5), atol=1e-4)
    assert (np.asarray(box_utils.compute_ciou(boxes[0], boxes[0] + 100, "xyxy")) < 0).all()


@pytest.mark.parametrize("encoding", ["center_xywh", "center_yxhw"])
@pytest.mark.parametrize("variance", [None, [0.1, 0.1, 0.2, 0.2]])
def test_deltas(encoding, variance):
    anchors = np.array([[0.0, 0, 20, 20], [10, 10, 40, 90]])
    deltas = box_utils.encode_box_to_deltas(anchors, BOXES, "xyxy", "xyxy", encoding, variance)
    back = box_utils.decode_deltas_to_boxes(anchors, deltas, "xyxy", "xyxy", encoding, variance)
    np.testing.assert_allclose(back, BOXES, rtol=1e-4)


def extent(image):
    """The box of the pixels that are not 0, each pixel of size 1."""
    rows, columns = np.nonzero(image.max(axis=(1, 2)))[0], np.nonzero(image.max(axis=(0, 2)))[0]
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


MOVING = {
    "flip": lambda **k: layers.RandomFlip(**k),
    "zoom": lambda **k: layers.RandomZoom((-0.2, 0.2), fill_mode="constant", **k),
    "translation": lambda **k: layers.RandomTranslation(0.15, 0.15, fill_mode="constant", **k),
    "rotation": lambda **k: layers.RandomRotation((0.25, 0.25), fill_mode="constant", **k),
    "perspective": lambda **k: layers.RandomPerspective(scale=0.2, **k),
    "crop": lambda **k: layers.RandomCrop(50, 44, **k),
    "resizing": lambda seed, **k: layers.Resizing(30, 90, **k),
    "padded": lambda seed, **k: layers.Resizing(90, 90, pad_to_aspect_ratio=True, **k),
    "cut": lambda seed, **k: layers.Resizing(30, 20, crop_to_aspect_ratio=True, **k),
    "center": lambda seed, **k: layers.CenterCrop(50, 40, **k),
    "enlarged": lambda seed, **k: layers.CenterCrop(128, 64, **k),
}


@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.parametrize("fmt", ["xyxy", "rel_center_xywh"])
def test_boxes_move_with_pixels(kind, fmt):
    layer = MOVING[kind](seed=3, bounding_box_format=fmt)
    images = np.zeros((4, 64, 48, 3), "float32")
    box = np.array([16, 20, 31, 44], "float32")
    images[:, 20:44, 16:31] = 1
    boxes = box_utils.convert_format(np.tile(box, (4, 1, 1)), "xyxy", fmt, 64, 48)
    out = layer({"images": images, "bounding_boxes": {"boxes": boxes, "labels": np.full((4, 1), 5)}}, training=True)
    moved = np.asarray(out["images"])
    found = np.asarray(box_utils.convert_format(out["bounding_boxes"]["boxes"], fmt, "xyxy", *moved.shape[1:3]))
    for image, place in zip(moved, found):
        assert np.abs(extent(image > 0.3) - place[0]).max() <= 2.1, (kind, extent(image > 0.3), place)
    np.testing.assert_array_equal(out["bounding_boxes"]["labels"], np.full((4, 1), 5))
    assert layer.get_config()["bounding_box_format"] == fmt


def test_other_layers():
    data = {"images": np.random.rand(2, 8, 8, 3).astype("float32"),
            "bounding_boxes": {"boxes": np.array([[[1, 2, 5, 6.0]], [[0, 0, 4, 4.0]]]), "labels": np.array([[1], [2]])}}
    out = layers.RandomBrightness(0.3, bounding_box_format="xyxy")(data)
    np.testing.assert_array_equal(out["bounding_boxes"]["boxes"], data["bounding_boxes"]["boxes"])
    out = layers.MixUp(bounding_box_format="xyxy")(data)
    assert out["bounding_boxes"]["boxes"].shape == (2, 2, 4) and out["bounding_boxes"]["labels"].shape == (2, 2)
    out = layers.MaxNumBoundingBoxes(3, bounding_box_format="xyxy")(data)
    assert out["bounding_boxes"]["boxes"].shape == (2, 3, 4)
    np.testing.assert_array_equal(out["bounding_boxes"]["labels"], [[1, -1, -1], [2, -1, -1]])
    out = layers.RandomFlip(bounding_box_format="xyxy")(data, training=False)
    np.testing.assert_array_equal(out["bounding_boxes"]["boxes"], data["bounding_boxes"]["boxes"])
    single = {"images": data["images"][0], "bounding_boxes": {k: v[0] for k, v in data["bounding_boxes"].items()}}
    assert layers.CenterCrop(4, 4, bounding_box_format="xyxy")(single)["bounding_boxes"]["boxes"].shape == (1, 4)
    with pytest.raises(ValueError, match="bounding_box_format"):
        layers.RandomFlip()(data)
    with pytest.raises(ValueError, match="cannot be mixed"):
        layers.CutMix(bounding_box_format="xyxy")(data)
    assert keras.utils.bounding_boxes is box_utils
