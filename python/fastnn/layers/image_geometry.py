"""Layers that move the pixels of images: flips, rotations, zooms, crops, new sizes."""
import math

from .. import ops, random
from ..ops import image as image_ops
from ..symbolic import KerasTensor
from ..utils import bounding_boxes as box_utils
from .image_layer import ImageLayer
from .kernel_layer import check_count


class RandomFlip(ImageLayer):
    """Each image mirrored or not, with probability 1/2.

    Args:
        mode: "horizontal", "vertical" or "horizontal_and_vertical" (both at once).
        seed, data_format: see `ImageLayer`.
    """

    _masks = True
    _config_names = ("mode",)

    def __init__(self, mode="horizontal_and_vertical", seed=None, data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        if mode not in ("horizontal", "vertical", "horizontal_and_vertical"):
            raise ValueError("[RandomFlip] mode must be 'horizontal', 'vertical' or 'horizontal_and_vertical'. "
                             f"Received: mode={mode!r}")
        self.mode = mode

    def _draw(self, n, h, w, seed):
        return {"flips": ops.less_equal(random.uniform((n, 1, 1, 1), seed=seed), 0.5)}

    def _transform(self, x, transformation, interpolation):
        axes = [axis for axis, name in ((2, "horizontal"), (1, "vertical")) if name in self.mode]
        return ops.where(transformation["flips"], ops.flip(x, axes), x)

    def _move_boxes(self, boxes, transformation, h, w):
        x1, y1, x2, y2 = ops.split(boxes, 4, axis=-1)
        if "horizontal" in self.mode:
            x1, x2 = ops.subtract(w, x2), ops.subtract(w, x1)
        if "vertical" in self.mode:
            y1, y2 = ops.subtract(h, y2), ops.subtract(h, y1)
        flips = ops.squeeze(transformation["flips"], axis=-1)
        return ops.where(flips, ops.concatenate([x1, y1, x2, y2], axis=-1), boxes), h, w


def _columns(*values):
    """(n, 8) transforms from eight tensors (n,) or numbers."""
    n = next(v.shape[0] for v in values if hasattr(v, "shape"))
    return ops.stack([v if hasattr(v, "shape") else ops.full((n,), float(v)) for v in values], -1)


class _Affine(ImageLayer):
    """A layer whose transformation holds "transform", (n, 8) of `ops.image.affine_transform`."""

    _masks = True

    def _transform(self, x, transformation, interpolation):
        return image_ops.affine_transform(x, transformation["transform"], interpolation, self.fill_mode, self.fill_value,
                                          "channels_last")

    def _move_boxes(self, boxes, transformation, h, w):
        # The transform gives the place in the old image of each pixel of the new one; corners go the other way.
        a, b, dx, c, d, dy = (ops.reshape(v, (-1, 1, 1)) for v in ops.unstack(transformation["transform"][:, :6], axis=1))
        det = ops.subtract(ops.multiply(a, d), ops.multiply(b, c))

        def move(x, y):
            x, y = ops.subtract(x, dx), ops.subtract(y, dy)
            return (ops.divide(ops.subtract(ops.multiply(d, x), ops.multiply(b, y)), det),
                    ops.divide(ops.subtract(ops.multiply(a, y), ops.multiply(c, x)), det))

        return box_utils.enclosing(boxes, move), h, w


class RandomRotation(_Affine):
    """Images turned around their middle.

    Args:
        factor: number f, an angle in [-f, f] parts of a full turn; or the two ends. Positive turns counter-clockwise.
        fill_mode: "reflect", "wrap", "constant" or "nearest", what lies outside.
        interpolation: "nearest" or "bilinear".
        fill_value: with "constant".
        seed, data_format: see `ImageLayer`.
    """

    _config_names = ("factor", "fill_mode", "fill_value", "interpolation")

    def __init__(self, factor, fill_mode="reflect", interpolation="bilinear", seed=None, fill_value=0.0,
                 data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.factor = self._span(factor)
        self._fill(fill_mode, interpolation)
        self.fill_value = fill_value

    def _draw(self, n, h, w, seed):
        angle = ops.multiply(self._uniform((n,), self.factor, seed), 2 * math.pi)
        c, s = ops.cos(angle), ops.sin(angle)
        x, y = (w - 1) / 2, (h - 1) / 2
        dx = ops.subtract(x, ops.subtract(ops.multiply(c, x), ops.multiply(s, y)))
        dy = ops.subtract(y, ops.add(ops.multiply(s, x), ops.multiply(c, y)))
        return {"angle": angle, "transform": _columns(c, ops.negative(s), dx, s, c, dy, 0, 0)}


class RandomZoom(_Affine):
    """Images seen from nearer or farther.

    Args:
        height_factor: number f, a change of the height seen in [-f, f]; or the two ends. Positive zooms out.
        width_factor: the same for the width; that of the height by default, which keeps the proportions.
        fill_mode, interpolation, fill_value: see `RandomRotation`.
        seed, data_format: see `ImageLayer`.
    """

    _config_names = ("height_factor", "width_factor", "fill_mode", "interpolation", "fill_value")

    def __init__(self, height_factor, width_factor=None, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height = self._span(height_factor, "height_factor")
        self._width = None if width_factor is None else self._span(width_factor, "width_factor")
        self._fill(fill_mode, interpolation)
        self.fill_value = fill_value

    def _draw(self, n, h, w, seed):
        high = ops.add(self._uniform((n,), self._height, seed), 1.0)
        wide = high if self._width is None else ops.add(self._uniform((n,), self._width, seed), 1.0)
        dx, dy = (ops.multiply(ops.subtract(1.0, z), (size - 1) / 2) for z, size in ((wide, w), (high, h)))
        return {"transform": _columns(wide, 0, dx, 0, high, dy, 0, 0)}


class RandomTranslation(_Affine):
    """Images moved.

    Args:
        height_factor: number f, a shift in [-f, f] parts of the height; or the two ends. Positive moves down.
        width_factor: the same for the width; positive moves right.
        fill_mode, interpolation, fill_value: see `RandomRotation`.
        seed, data_format: see `ImageLayer`.
    """

    _config_names = ("height_factor", "width_factor", "fill_mode", "interpolation", "fill_value")

    def __init__(self, height_factor, width_factor, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height, self._width = self._span(height_factor, "height_factor"), self._span(width_factor, "width_factor")
        self._fill(fill_mode, interpolation)
        self.fill_value = fill_value

    def _draw(self, n, h, w, seed):
        dy = ops.multiply(self._uniform((n,), self._height, seed), -float(h))
        dx = ops.multiply(self._uniform((n,), self._width, seed), -float(w))
        return {"transform": _columns(1, 0, dx, 0, 1, dy, 0, 0)}


class RandomShear(_Affine):
    """Images with their rows or columns shifted against each other.

    Args:
        x_factor, y_factor: numbers in [0, 1], pixels per pixel, or two ends; the direction is random.
        interpolation, fill_mode, fill_value: see `RandomRotation`.
        seed, data_format: see `ImageLayer`.
    """

    _config_names = ("x_factor", "y_factor", "fill_mode", "interpolation", "fill_value")

    def __init__(self, x_factor=0.0, y_factor=0.0, interpolation="bilinear", fill_mode="reflect", fill_value=0.0,
                 data_format=None, seed=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.x_factor, self.y_factor = x_factor, y_factor
        spans = [self._span(f, name, 0.0) for f, name in ((x_factor, "x_factor"), (y_factor, "y_factor"))]
        # A number stands for both directions.
        self._spans = [s if isinstance(f, (tuple, list)) else (-s[1], s[1]) for s, f in zip(spans, (x_factor, y_factor))]
        self._fill(fill_mode, interpolation)
        self.fill_value = fill_value

    def _draw(self, n, h, w, seed):
        sign = ops.where(ops.greater(random.uniform((n,), seed=seed), 0.5), -1.0, 1.0)
        y = ops.multiply(self._uniform((n,), self._spans[1], seed), sign)
        x = ops.multiply(self._uniform((n,), self._spans[0], seed), sign)
        return {"transform": _columns(1, x, 0, y, 1, 0, 0, 0)}


class RandomPerspective(ImageLayer):
    """Images seen from the side: the corners move at random.

    Args:
        factor: the probability that an image changes, or its two ends.
        scale: number in [0, 1], how far the corners move.
        interpolation, fill_value: see `RandomRotation`.
        seed, data_format: see `ImageLayer`.
    """

    _masks = True
    _config_names = ("factor", "scale", "interpolation", "fill_value")

    def __init__(self, factor=1.0, scale=1.0, interpolation="bilinear", fill_value=0.0, seed=None, data_format=None,
                 **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.factor = self._span(factor, "factor", 0.0)
        self._span(scale, "scale", 0.0)
        self.scale = scale
        self._fill("constant", interpolation)
        self.fill_value = fill_value

    def _draw(self, n, h, w, seed):
        apply = self._chosen(n, self.factor, seed)
        change = random.uniform((n, 4, 2), -0.5 * self.scale, 0.5 * self.scale, seed=seed)
        start = ops.convert_to_tensor([[[0.0, 0.0], [w - 1.0, 0.0], [0.0, h - 1.0], [w - 1.0, h - 1.0]]] * n, "float32")
        return {"apply_perspective": apply, "start_points": start, "end_points": ops.add(start, ops.multiply(start, change))}

    def _transform(self, x, transformation, interpolation):
        y = image_ops.perspective_transform(x, transformation["start_points"], transformation["end_points"], interpolation,
                                            self.fill_value, "channels_last")
        return ops.where(transformation["apply_perspective"], y, x)

    def _move_boxes(self, boxes, transformation, h, w):
        start, end = (ops.cast(transformation[name], "float32") for name in ("start_points", "end_points"))
        m = [ops.reshape(v, (-1, 1, 1)) for v in ops.unstack(image_ops.homography(end, start), axis=1)]

        def move(x, y):
            u, v = (ops.add(ops.add(ops.multiply(m[i], x), ops.multiply(m[i + 1], y)), m[i + 2]) for i in (0, 3))
            scale = ops.add(ops.add(ops.multiply(m[6], x), ops.multiply(m[7], y)), 1.0)
            return ops.divide(u, scale), ops.divide(v, scale)

        apply = ops.reshape(transformation["apply_perspective"], (-1, 1, 1))
        return ops.where(apply, box_utils.enclosing(boxes, move), boxes), h, w


class RandomElasticTransform(ImageLayer):
    """Images with their pixels moved by smooth random distances.

    Args:
        factor: the probability that an image changes, or its two ends.
        scale: number in [0, 1], the strength, or its two ends.
        interpolation, fill_mode, fill_value: see `RandomRotation`.
        value_range: the values that the result is clipped to.
        seed, data_format: see `ImageLayer`.
    """

    _masks = True
    _config_names = ("factor", "scale", "interpolation", "fill_mode", "fill_value", "value_range")

    def __init__(self, factor=1.0, scale=1.0, interpolation="bilinear", fill_mode="reflect", fill_value=0.0,
                 value_range=(0, 255), seed=None, data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.factor, self.scale = self._span(factor, "factor", 0.0), self._span(scale, "scale", 0.0)
        self._fill(fill_mode, interpolation, ("constant", "nearest", "wrap", "mirror", "reflect"))
        self.fill_value = fill_value
        self.value_range = self._range(value_range)

    def _draw(self, n, h, w, seed):
        if not self.scale[1] or not self.factor[1]:
            return None
        strength = float(self._uniform((), self.scale, seed))
        return {"apply_transform": self._chosen(n, self.factor, seed), "distortion_factor": strength,
                "seed": int(random.randint((), 0, 2**31 - 1, seed=seed))}

    def _transform(self, x, transformation, interpolation):
        f, sizes = transformation["distortion_factor"], x.shape[1:3]
        y = image_ops.elastic_transform(x, 0.1 * f * max(sizes), max(0.05 * f * min(sizes), 1e-3), interpolation, self.fill_mode,
                                        self.fill_value, transformation["seed"], "channels_last")
        y = ops.where(transformation["apply_transform"], y, x)
        return ops.clip(y, *self.value_range)


def _middle(size, wanted_ratio):
    """The largest size of the proportions, and where it begins."""
    part = max(min(size, int(wanted_ratio)), 1)
    return part, (size - part) // 2


class _Place(tuple):
    """(top, left), with the size of the image it lies in."""

    def __new__(cls, place, height, width):
        self = super().__new__(cls, place)
        self.image_size = height, width
        return self


class RandomCrop(ImageLayer):
    """A random part of the images of a given size, the same for a batch; in inference, and where an image is not larger,
    the middle with the proportions of that size, resized.

    Args:
        height, width: ints.
        seed, data_format: see `ImageLayer`.
    """

    _masks = True
    _config_names = ("height", "width")

    def __init__(self, height, width, seed=None, data_format=None, name=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, name=name, **kwargs)
        self.height, self.width = check_count(height, "height", "RandomCrop"), check_count(width, "width", "RandomCrop")

    def get_random_transformation(self, data, training=True, seed=None):
        """(top, left) of the part."""
        _, h, w = self._sizes(data["images"] if isinstance(data, dict) else data)
        if training and h > self.height and w > self.width:
            seed = self.generator if seed is None else seed
            return _Place((int(random.randint((), 0, h - self.height + 1, seed=seed)), int(random.randint(
                (), 0, w - self.width + 1, seed=seed))), h, w)
        return _Place((_middle(h, w * self.height / self.width)[1], _middle(w, h * self.width / self.height)[1]), h, w)

    def _active(self, transformation, training):
        return training

    def _transform(self, x, transformation, interpolation):
        top, left = transformation
        x = x[:, top:top + self.height, left:left + self.width]
        if x.shape[1:3] != (self.height, self.width):
            x = image_ops.resize(x, (self.height, self.width), interpolation or "bilinear", data_format="channels_last")
        return x

    def transform_images(self, images, transformation=None, training=True):
        """The part of the images; without training the middle of the right proportions, resized."""
        if training:
            return super().transform_images(images, transformation, True)
        return ops.cast(image_ops.resize(ops.cast(images, self.compute_dtype), (self.height, self.width),
                                         crop_to_aspect_ratio=True, data_format=self.data_format), self.compute_dtype)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        """Boxes as seen from the part that is kept; only in training, as the images."""
        if not training:
            return bounding_boxes
        fmt, (top, left) = self._box_format(), transformation
        h, w = getattr(transformation, "image_size", (self.height, self.width))
        boxes = box_utils.convert_format(bounding_boxes["boxes"], fmt, "xyxy", h, w)
        boxes = box_utils.crop(boxes, top, left, self.height, self.width)
        return {**bounding_boxes, "boxes": box_utils.convert_format(boxes, "xyxy", fmt, self.height, self.width)}

    def compute_output_shape(self, input_shape):
        return _with_size(input_shape, self.height, self.width, self.data_format)


def _sizes_of_box(height, width):
    return ops.convert_to_tensor([width, height, width, height], "float32")


def _with_size(shape, height, width, data_format):
    shape = list(shape)
    if data_format == "channels_first":
        shape[-2:] = height, width
    else:
        shape[-3:-1] = height, width
    return tuple(shape)


class CenterCrop(ImageLayer):
    """The middle of the images; an image that is smaller is cut to the proportions and enlarged.

    Args:
        height, width: ints. data_format: see `ImageLayer`.
    """

    _random = False
    _masks = True
    _config_names = ("height", "width")

    def __init__(self, height, width, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.height, self.width = check_count(height, "height", "CenterCrop"), check_count(width, "width", "CenterCrop")

    def _transform(self, x, transformation, interpolation):
        top, left = x.shape[1] - self.height, x.shape[2] - self.width
        if top >= 0 and left >= 0:
            return x[:, top // 2:top // 2 + self.height, left // 2:left // 2 + self.width]
        return image_ops.resize(x, (self.height, self.width), interpolation or "bilinear", crop_to_aspect_ratio=True,
                                data_format="channels_last")

    def _move_boxes(self, boxes, transformation, h, w):
        high, wide = self.height, self.width
        if h < high or w < wide:  # the middle of the right proportions, enlarged
            high, wide = _middle(h, w * high / wide)[0], _middle(w, h * wide / high)[0]
        boxes = box_utils.crop(boxes, (h - high) // 2, (w - wide) // 2, high, wide)
        return ops.multiply(boxes, _sizes_of_box(self.height / high, self.width / wide)), self.height, self.width

    def compute_output_shape(self, input_shape):
        return _with_size(input_shape, self.height, self.width, self.data_format)


class Resizing(ImageLayer):
    """Images of another size, see `ops.image.resize`.

    Args:
        height, width: ints.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio, pad_to_aspect_ratio: bool; keep the proportions.
        fill_mode: "constant". fill_value: of what is padded.
        antialias: bool; widen the filter where the image shrinks.
        data_format: see `ImageLayer`.
    """

    _random = False
    _masks = True
    _keeps_dtype = True
    _config_names = ("height", "width", "interpolation", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "fill_mode",
                     "fill_value", "antialias")

    def __init__(self, height, width, interpolation="bilinear", crop_to_aspect_ratio=False, pad_to_aspect_ratio=False,
                 fill_mode="constant", fill_value=0.0, antialias=False, data_format=None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.height, self.width = check_count(height, "height", "Resizing"), check_count(width, "width", "Resizing")
        self.interpolation = interpolation
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop_to_aspect_ratio, pad_to_aspect_ratio
        self.fill_mode, self.fill_value = fill_mode, fill_value
        self.antialias = bool(antialias)

    def _transform(self, x, transformation, interpolation):
        return image_ops.resize(x, (self.height, self.width), interpolation, self.antialias, self.crop_to_aspect_ratio,
                                self.pad_to_aspect_ratio, self.fill_mode, self.fill_value, "channels_last")

    def _move_boxes(self, boxes, transformation, h, w):
        empty = ops.logical_or(ops.all(ops.equal(boxes, -1.0), axis=-1, keepdims=True),
                               ops.all(ops.equal(boxes, 0.0), axis=-1, keepdims=True))  # those are padding
        top = left = 0.0
        scale_y, scale_x = self.height / h, self.width / w
        if self.crop_to_aspect_ratio or self.pad_to_aspect_ratio:
            scale_y = scale_x = (max if self.crop_to_aspect_ratio else min)(scale_y, scale_x)
            top, left = (self.height - h * scale_y) / 2, (self.width - w * scale_x) / 2
        moved = ops.add(ops.multiply(boxes, _sizes_of_box(scale_y, scale_x)), _sizes_of_box(top, left))
        return ops.where(empty, 0.0, moved), self.height, self.width

    def compute_output_shape(self, input_shape):
        return _with_size(input_shape, self.height, self.width, self.data_format)


class MaxNumBoundingBoxes(ImageLayer):
    """Bounding boxes cut or filled up to a fixed number; images stay as they are.

    Args:
        max_number: int.
        fill_value: int, of boxes and labels that are filled up.
        bounding_box_format, data_format: see `ImageLayer`.
    """

    _random = False
    _config_names = ("max_number", "fill_value")

    def __init__(self, max_number, fill_value=-1, **kwargs):
        super().__init__(**kwargs)
        self.max_number = check_count(max_number, "max_number", "MaxNumBoundingBoxes")
        self.fill_value = int(fill_value)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        """The first boxes, or all of them and more of `fill_value`."""
        result = dict(bounding_boxes)
        for key in ("boxes", "labels"):
            value = result[key][:, : self.max_number]
            missing = self.max_number - value.shape[1]
            pads = [(0, 0), (0, missing), (0, 0)][: value.ndim]
            result[key] = ops.pad(value, pads, constant_values=self.fill_value)
        return result

    def _boxes_spec(self, bounding_boxes):
        result = dict(bounding_boxes)
        for key, rest in (("boxes", (4,)), ("labels", ())):
            lead = result[key].shape[: result[key].ndim - 1 - len(rest)]
            result[key] = KerasTensor((*lead, self.max_number, *rest), dtype="float32" if rest else result[key].dtype)
        return result
