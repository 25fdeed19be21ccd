"""Bounding boxes: formats, clipping, transformations, and how much they overlap.

Boxes are floats (..., 4). Formats, in small or capital letters: "xyxy" (left, top, right, bottom), "yxyx", "xywh" (left,
top, width, height), "center_xywh", "center_yxhw", and "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh", which count
in parts of the image's size.
"""
import math

import numpy as np

from .. import dtypes, ops

# boxes @ matrix = boxes as "xyxy"
_TO_XYXY = {name: np.array(rows, "float32") for name, rows in {
    "xyxy": np.eye(4),
    "yxyx": [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]],
    "xywh": [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]],
    "center_xywh": [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]],
    "center_yxhw": [[0, 1, 0, 1], [1, 0, 1, 0], [0, -0.5, 0, 0.5], [-0.5, 0, 0.5, 0]],
}.items()}
_FORMATS = (*_TO_XYXY, "rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")
_EPSILON = 1e-7


def _parts(boxes):
    return ops.split(boxes, 4, axis=-1)


def _joined(*parts):
    return ops.concatenate(parts, axis=-1)


def convert_format(boxes, source, target, height=None, width=None, dtype="float32"):
    """Boxes in another format.

    Args:
        boxes: floats (..., 4), or a dict with them as "boxes", of which a copy is returned.
        source, target: formats.
        height, width: of the image, for relative formats.
        dtype: of the result.

    Raises:
        ValueError: no such format or shape, or the size of the image is needed and missing.
    """
    if isinstance(boxes, dict):
        return {**boxes, "boxes": convert_format(boxes["boxes"], source, target, height, width, dtype)}
    if boxes.shape[-1] != 4:
        raise ValueError("[convert_format] `boxes` must be a tensor with the last dimension of 4. "
                         f"Received: boxes.shape={tuple(boxes.shape)}")
    source, target = source.lower(), target.lower()
    if source not in _FORMATS or target not in _FORMATS:
        raise ValueError(f"[convert_format] Invalid source or target format. Supported formats: {_FORMATS}. "
                         f"Received: source={source!r}, target={target!r}")
    relative = source.startswith("rel_"), target.startswith("rel_")
    if any(relative) and (height is None or width is None):
        raise ValueError("[convert_format] must receive `height` and `width` for relative formats. "
                         f"Received: source={source!r}, target={target!r}, height={height}, width={width}")
    boxes = ops.cast(boxes, dtype)
    if source == target:
        return boxes
    source, target = source.removeprefix("rel_"), target.removeprefix("rel_")
    if source != "xyxy":
        boxes = ops.matmul(boxes, ops.cast(_TO_XYXY[source], dtype))
    if relative[0] != relative[1]:
        x, y = ops.cast(width, dtype), ops.cast(height, dtype)
        change = ops.multiply if relative[0] else ops.divide
        boxes = _joined(*(change(part, size) for part, size in zip(_parts(boxes), (x, y, x, y))))
    return boxes if target == "xyxy" else ops.matmul(boxes, ops.cast(np.linalg.inv(_TO_XYXY[target]), dtype))


def _check_xyxy(name, bounding_box_format, allowed=("xyxy",)):
    if bounding_box_format not in allowed:
        raise ValueError(f"[{name}] bounding_box_format must be one of {allowed}. "
                         f"Received: bounding_box_format={bounding_box_format!r}")


def clip_to_image_size(bounding_boxes, height=None, width=None, bounding_box_format="xyxy"):
    """A copy of {"boxes", "labels"} with the parts outside of the image cut off; boxes without area get the label -1.

    Args:
        bounding_boxes: dict with "boxes" (..., 4) and perhaps "labels" (...).
        height, width: of the image; not needed for "rel_xyxy".
        bounding_box_format: "xyxy" or "rel_xyxy".
    """
    _check_xyxy("clip_to_image_size", bounding_box_format, ("xyxy", "rel_xyxy"))
    if bounding_box_format == "rel_xyxy":
        height = width = 1.0
    elif height is None or width is None:
        raise ValueError("[clip_to_image_size] `height` and `width` must be set if `format='xyxy'`. "
                         f"Received: height={height}, width={width}")
    boxes = crop(ops.convert_to_tensor(bounding_boxes["boxes"]), 0, 0, height, width)
    result = {**bounding_boxes, "boxes": boxes}
    if bounding_boxes.get("labels") is not None:
        x1, y1, x2, y2 = _parts(boxes)
        area = ops.squeeze(ops.multiply(ops.subtract(x2, x1), ops.subtract(y2, y1)), axis=-1)
        result["labels"] = ops.where(ops.greater(area, 0), bounding_boxes["labels"], -1)
    return result


def crop(boxes, top, left, height, width, bounding_box_format="xyxy"):
    """Boxes as seen from a part of the image: moved by (left, top) and cut at its height and width."""
    _check_xyxy("crop", bounding_box_format)
    moved = pad(boxes, ops.negative(top), ops.negative(left))
    dtype = moved.dtype
    sizes = [ops.cast(n, dtype) for n in (width, height, width, height)]
    return _joined(*(ops.minimum(ops.maximum(part, ops.cast(0, dtype)), n) for part, n in zip(_parts(moved), sizes)))


def pad(boxes, top, left, height=None, width=None, bounding_box_format="xyxy"):
    """Boxes of an image that has got `top` rows and `left` columns in front; height and width are not needed."""
    _check_xyxy("pad", bounding_box_format)
    boxes = ops.convert_to_tensor(boxes)
    dtype = boxes.dtype if dtypes.is_float(boxes.dtype) else "float32"
    offsets = [ops.cast(n, dtype) for n in (left, top, left, top)]
    return _joined(*(ops.add(part, n) for part, n in zip(_parts(ops.cast(boxes, dtype)), offsets)))


def enclosing(boxes, move):
    """The boxes around the corners of `boxes` ("xyxy") after `move(x, y)` -> (x, y)."""
    x1, y1, x2, y2 = _parts(boxes)
    corners = [move(x, y) for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    xs, ys = _joined(*(x for x, _ in corners)), _joined(*(y for _, y in corners))
    return ops.stack([ops.min(xs, -1), ops.min(ys, -1), ops.max(xs, -1), ops.max(ys, -1)], axis=-1)


def affine_transform(boxes, angle, translate_x, translate_y, scale, shear_x, shear_y, height, width, center_x=None,
                     center_y=None, bounding_box_format="xyxy"):
    """The boxes around the corners that an affine transformation of the image has moved.

    Args:
        boxes: (batch, count, 4) in "xyxy".
        angle, shear_x, shear_y: degrees (batch,).
        translate_x, translate_y: parts of the image's size (batch,).
        scale: (batch,).
        height, width: of the image.
        center_x, center_y: of the transformation, in parts of the image's size; the middle by default.
    """
    _check_xyxy("affine_transform", bounding_box_format)
    angle, shear_x, shear_y = (ops.negative(ops.multiply(ops.convert_to_tensor(v), math.pi / 180)) for v in (angle, shear_x, shear_y))
    cx = (0.5 if center_x is None else center_x) * (width - 1)
    cy = (0.5 if center_y is None else center_y) * (height - 1)
    tx = ops.subtract(cx, ops.multiply(translate_x, width - 1))
    ty = ops.subtract(cy, ops.multiply(translate_y, height - 1))
    # The inverse of rotation and shear, which have the determinant 1.
    a = ops.divide(ops.cos(ops.subtract(angle, shear_y)), ops.cos(shear_y))
    c = ops.negative(ops.divide(ops.sin(ops.subtract(angle, shear_y)), ops.cos(shear_y)))
    b = ops.add(ops.multiply(a, ops.tan(shear_x)), ops.sin(angle))
    d = ops.subtract(ops.cos(angle), ops.multiply(c, ops.tan(shear_x)))
    rows = []
    for u, v, center in ((d, ops.negative(b), cx), (ops.negative(c), a, cy)):
        u, v = ops.multiply(u, scale), ops.multiply(v, scale)
        offset = ops.subtract(ops.subtract(center, ops.multiply(u, tx)), ops.multiply(v, ty))
        rows.append([ops.reshape(part, (-1, 1, 1)) for part in (u, v, offset)])

    def move(x, y):
        return [ops.add(ops.add(ops.multiply(u, x), ops.multiply(v, y)), offset) for u, v, offset in rows]

    return enclosing(ops.cast(boxes, angle.dtype), move)


def _size(image_shape):
    return (None, None) if image_shape is None else tuple(image_shape[:2])


def _variance(variance):
    if variance is None:
        return None
    variance = ops.convert_to_tensor(variance, "float32")
    if variance.shape[-1] != 4:
        raise ValueError(f"[bounding_boxes] `variance` must be length 4. Received: variance={variance}")
    return variance


def _check_center(name, value):
    if value not in ("center_xywh", "center_yxhw"):
        raise ValueError(f"[bounding_boxes] `{name}` should be one of 'center_xywh' or 'center_yxhw'. Received: {name}={value}")


def encode_box_to_deltas(anchors, boxes, anchor_format, box_format, encoding_format="center_yxhw", variance=None,
                         image_shape=None):
    """Boxes relative to anchors: offsets of the centers in sizes of the anchor, and logarithms of the relative sizes.

    Args:
        anchors: (count, 4).
        boxes: (count, 4) or (batch, count, 4).
        anchor_format, box_format: their formats.
        encoding_format: "center_xywh" or "center_yxhw".
        variance: 4 numbers that the result is divided by.
        image_shape: (height, width, channels), for relative formats.
    """
    variance = _variance(variance)
    _check_center("encoding_format", encoding_format)
    height, width = _size(image_shape)
    anchors = convert_format(anchors, anchor_format, encoding_format, height, width)
    boxes = convert_format(boxes, box_format, encoding_format, height, width)
    anchor_size, size = ops.maximum(anchors[..., 2:], _EPSILON), ops.maximum(boxes[..., 2:], _EPSILON)
    deltas = _joined((boxes[..., :2] - anchors[..., :2]) / anchor_size, ops.log(size / anchor_size))
    return deltas if variance is None else deltas / variance


def decode_deltas_to_boxes(anchors, boxes_delta, anchor_format, box_format, encoded_format="center_yxhw", variance=None,
                           image_shape=None):
    """The boxes that `encode_box_to_deltas` encoded; of dicts of anchors and deltas, a dict."""
    if isinstance(anchors, dict) and isinstance(boxes_delta, dict):
        return {key: decode_deltas_to_boxes(anchor, boxes_delta[key], anchor_format, box_format, encoded_format, variance,
                                            image_shape) for key, anchor in anchors.items()}
    variance = _variance(variance)
    _check_center("encoded_format", encoded_format)
    height, width = _size(image_shape)
    anchors = convert_format(anchors, anchor_format, encoded_format, height, width)
    deltas = ops.convert_to_tensor(boxes_delta)
    deltas = deltas if variance is None else deltas * variance
    boxes = _joined(deltas[..., :2] * anchors[..., 2:] + anchors[..., :2], ops.exp(deltas[..., 2:]) * anchors[..., 2:])
    return convert_format(boxes, encoded_format, box_format, height, width)


def compute_iou(boxes1, boxes2, bounding_box_format, use_masking=False, mask_val=-1, image_shape=None):
    """Intersection over union of each box of one set with each of another.

    Args:
        boxes1, boxes2: (n, 4) and (m, 4), each perhaps with a batch in front.
        bounding_box_format: of both.
        use_masking: bool; pairs with a box of negative numbers only get mask_val.
        mask_val: number.
        image_shape: (height, width, channels), for relative formats.

    Returns:
        (n, m) or (batch, n, m)
    """
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        if len(boxes.shape) not in (2, 3):
            raise ValueError(f"[compute_iou] expects {name} to be batched, or to be unbatched: 3 or 2 axes. "
                             f"Received: {name}.shape={tuple(boxes.shape)}")
    if "rel" in bounding_box_format and image_shape is None:
        raise ValueError("[compute_iou] When using relative bounding box formats the `image_shape` argument must be provided. "
                         f"Received: image_shape={image_shape}")
    height, width = _size(image_shape)
    first = ops.expand_dims(convert_format(boxes1, bounding_box_format, "xyxy", height, width), -2)
    second = ops.expand_dims(convert_format(boxes2, bounding_box_format, "xyxy", height, width), -3)
    sides = ops.subtract(ops.minimum(first[..., 2:], second[..., 2:]), ops.maximum(first[..., :2], second[..., :2]))
    shared = ops.prod(ops.maximum(sides, 0.0), axis=-1)
    areas = [ops.prod(ops.subtract(b[..., 2:], b[..., :2]), axis=-1) for b in (first, second)]
    iou = ops.divide(shared, ops.add(ops.subtract(ops.add(*areas), shared), _EPSILON))
    if not use_masking:
        return iou
    empty = ops.logical_or(ops.less(ops.max(first, -1), 0.0), ops.less(ops.max(second, -1), 0.0))
    return ops.where(empty, ops.cast(mask_val, iou.dtype), iou)


def compute_ciou(boxes1, boxes2, bounding_box_format, image_shape=None):
    """Complete intersection over union, box by box: less where centers are apart or sides have other proportions.

    Args:
        boxes1, boxes2: (..., 4), which broadcast.
        bounding_box_format: of both, not a relative one.
        image_shape: (height, width, channels).
    """
    if "rel" in bounding_box_format:
        raise ValueError("[compute_ciou] bounding_box_format must not be relative. "
                         f"Received: bounding_box_format={bounding_box_format!r}")
    height, width = _size(image_shape)
    a = convert_format(boxes1, bounding_box_format, "xyxy", height, width)
    b = convert_format(boxes2, bounding_box_format, "xyxy", height, width)
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    height_a, height_b = size_a[..., 1] + _EPSILON, size_b[..., 1] + _EPSILON
    shared = ops.prod(ops.maximum(ops.minimum(a[..., 2:], b[..., 2:]) - ops.maximum(a[..., :2], b[..., :2]), 0.0), axis=-1)
    union = size_a[..., 0] * height_a + size_b[..., 0] * height_b - shared + _EPSILON
    iou = shared / (union + _EPSILON)
    around = ops.maximum(a[..., 2:], b[..., 2:]) - ops.minimum(a[..., :2], b[..., :2])
    diagonal = ops.sum(ops.square(around), axis=-1) + _EPSILON
    apart = ops.sum(ops.square((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2), axis=-1)
    v = (4 / math.pi ** 2) * ops.square(ops.arctan(size_b[..., 0] / height_b) - ops.arctan(size_a[..., 0] / height_a))
    alpha = v / (v - iou + (1 + _EPSILON))
    return iou - (apart / diagonal + v * alpha)
