"""ImageLayer: what the layers that change images share."""
import numbers

from .. import _core, ops, random, tree
from .._core import Tensor
from ..ops.image_batch import to_batch
from ..ops.window import is_channels_first
from ..symbolic import KerasTensor
from ..utils import bounding_boxes as box_utils
from .layer import Layer
from .tf_graph import call_in_graph, in_graph


class ImageLayer(Layer):
    """A layer over images (h, w, c) or (n, h, w, c), values of any kind, computed in the compute dtype.

    Called on a dict with "images", and perhaps "labels", "segmentation_masks" and "bounding_boxes" (a dict with "boxes"
    (n, count, 4) and "labels" (n, count)), it changes each alike and returns a dict. A subclass writes
    `_draw(n, h, w, seed)`, the random numbers of a batch as a dict, `_transform(x, transformation, interpolation)` of
    channels-last batches, and, where pixels move, `_move_boxes(boxes, transformation, h, w)`.

    Args:
        data_format: "channels_last", "channels_first", or None, the global setting.
        seed: int; by default drawn. Layers without randomness have none.
        bounding_box_format: see `utils.bounding_boxes`; needed where data have bounding boxes.

    Call arguments:
        data: images, or a dict.
        training: bool; random layers do nothing when it is False. True by default.
    """

    _random = True  # draws numbers, and only when training
    _masks = False  # segmentation masks move with the images
    _keeps_dtype = False  # the result has the dtype of the images, not the compute dtype

    def __init__(self, data_format=None, seed=None, bounding_box_format=None, **kwargs):
        super().__init__(**kwargs)
        self.bounding_box_format = bounding_box_format
        self.data_format = "channels_first" if is_channels_first(data_format, type(self).__name__) else "channels_last"
        self.seed = seed
        if self._random:
            self.generator = random.SeedGenerator(seed)

    # ---- arguments ----

    def _span(self, factor, name="factor", low=-1.0, high=1.0, symmetric=True):
        """(lower, upper) from a number or two; a number f stands for (-f, f), cut at low."""
        kind = type(self).__name__
        pair = isinstance(factor, (tuple, list))
        values = factor if pair else [factor]
        if (pair and len(values) != 2) or any(
                isinstance(v, bool) or not isinstance(v, numbers.Real) or not low <= v <= high for v in values):
            raise ValueError(f"[{kind}] The `{name}` argument should be a number (or a list of two numbers) in the range "
                             f"[{low}, {high}]. Received: {name}={factor}")
        if pair:
            return tuple(sorted(values))
        return (max(-abs(factor), low) if symmetric else 0, abs(factor))

    def _range(self, value_range):
        if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
            raise ValueError(f"[{type(self).__name__}] The `value_range` argument should be a list of two numbers. "
                             f"Received: value_range={value_range}")
        return sorted(value_range)

    def _fill(self, fill_mode, interpolation, modes=("reflect", "wrap", "constant", "nearest")):
        kind = type(self).__name__
        if fill_mode not in modes:
            raise ValueError(f"[{kind}] Unknown `fill_mode`. Expected of one {modes}. Received: fill_mode={fill_mode}")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"[{kind}] Unknown `interpolation`. Expected of one ('nearest', 'bilinear'). "
                             f"Received: interpolation={interpolation}")
        self.fill_mode, self.interpolation = fill_mode, interpolation

    # ---- transformation ----

    def _sizes(self, images):
        shape = images.shape
        single = len(shape) == 3
        if len(shape) not in (3, 4):
            raise ValueError(f"[{self.name}] Expected the input image to be rank 3 or 4. Received inputs.shape={tuple(shape)}")
        rest = shape if single else shape[1:]
        h, w = rest[1:] if self.data_format == "channels_first" else rest[:2]
        return (1 if single else shape[0]), h, w

    def _draw(self, n, h, w, seed):
        return {}

    def _uniform(self, shape, span, seed):
        return random.uniform(shape, float(span[0]), float(span[1]), seed=seed)

    def _chosen(self, n, span, seed):
        """(n, 1, 1, 1) bool: each true with a probability that lies in ``span``."""
        probability = self._uniform((n, 1, 1, 1), span, seed)
        return ops.less(random.uniform((n, 1, 1, 1), seed=seed), probability)

    def get_random_transformation(self, data, training=True, seed=None):
        """The random numbers of one call, a dict; None where nothing changes."""
        if self._random and not training:
            return None
        images = data["images"] if isinstance(data, dict) else data
        drawn = self._draw(*self._sizes(images), self.generator if self._random and seed is None else seed)
        return {**drawn, "input_shape": tuple(images.shape)} if isinstance(drawn, dict) else drawn

    def _transform(self, x, transformation, interpolation):
        return x

    def _active(self, transformation, training):
        return transformation is not None and (training or not self._random)

    def transform_images(self, images, transformation=None, training=True):
        """The images under a transformation that `get_random_transformation` gave."""
        dtype = ops.convert_to_tensor(images).dtype if self._keeps_dtype else self.compute_dtype
        images = ops.cast(images, dtype)
        if not self._active(transformation, training):
            return images
        x, back = to_batch(self.name, images, self.data_format)
        return ops.cast(back(self._transform(x, transformation, getattr(self, "interpolation", None))), dtype)

    def transform_labels(self, labels, transformation, training=True):
        """The labels under a transformation; they stay as they are but for layers that mix images."""
        return labels

    def transform_segmentation_masks(self, segmentation_masks, transformation, training=True):
        """Masks (n, h, w, c) under a transformation, by their nearest values."""
        if not self._masks or not self._active(transformation, training):
            return segmentation_masks
        masks = ops.convert_to_tensor(segmentation_masks)
        x, back = to_batch(self.name, masks, self.data_format)
        return ops.cast(back(self._transform(x, transformation, "nearest")), masks.dtype)

    def _move_boxes(self, boxes, transformation, h, w):
        """Boxes ("xyxy") of the new images, and the height and width of those."""
        return boxes, h, w

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        """{"boxes", "labels"} under a transformation: boxes around the corners' new places, cut at the image's border;
        those that leave it get the label -1."""
        if in_graph((bounding_boxes,), {}):
            return call_in_graph(lambda boxes: self.transform_bounding_boxes(boxes, transformation, training=training),
                                 (bounding_boxes,), {}, self._boxes_spec)
        if type(self)._move_boxes is ImageLayer._move_boxes or not self._active(transformation, training):
            return bounding_boxes
        shape = transformation["input_shape"]
        h, w = (int(n) for n in (shape[-2:] if self.data_format == "channels_first" else shape[-3:-1]))
        boxes = box_utils.convert_format(bounding_boxes, self._box_format(), "xyxy", h, w)
        moved, h, w = self._move_boxes(boxes["boxes"], transformation, h, w)
        boxes = box_utils.clip_to_image_size({**boxes, "boxes": moved}, h, w)
        return box_utils.convert_format(boxes, "xyxy", self._box_format(), h, w)

    def _box_format(self):
        if not self.bounding_box_format:
            raise ValueError(f"[{self.name}] data with 'bounding_boxes' need the argument `bounding_box_format`, such as "
                             f"{type(self).__name__}(bounding_box_format='xyxy')")
        return self.bounding_box_format

    @staticmethod
    def _boxes_spec(bounding_boxes):
        return {**bounding_boxes, "boxes": KerasTensor(bounding_boxes["boxes"].shape, dtype="float32")}

    def call(self, data, training=True):
        images = data["images"] if isinstance(data, dict) else data
        if isinstance(images, Tensor) and images.device == "meta":
            y = _core.meta(self.compute_output_shape(images.shape), self.compute_dtype)
            return {**data, "images": y} if isinstance(data, dict) else y
        transformation = self.get_random_transformation(data, training=training)
        if not isinstance(data, dict):
            return self.transform_images(data, transformation, training=training)
        result = {**data, "images": self.transform_images(data["images"], transformation, training=training)}
        single = len(images.shape) == 3
        if "bounding_boxes" in data:
            self._box_format()
            boxes = {key: ops.convert_to_tensor(value, "float32" if key == "boxes" else None)
                     for key, value in data["bounding_boxes"].items()}
            boxes = {key: ops.expand_dims(value, 0) for key, value in boxes.items()} if single else boxes
            boxes = self.transform_bounding_boxes(boxes, transformation, training=training)
            result["bounding_boxes"] = {key: ops.squeeze(value, 0) for key, value in boxes.items()} if single else boxes
        for key, transform in (("labels", self.transform_labels), ("segmentation_masks", self.transform_segmentation_masks)):
            if key in data:
                value = ops.convert_to_tensor(data[key])
                value = ops.expand_dims(value, 0) if single and key == "labels" else value
                value = transform(value, transformation, training=training)
                result[key] = ops.squeeze(value, 0) if single and key == "labels" else value
        return result

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def compute_output_spec(self, data, training=True):
        if isinstance(data, dict):
            images = KerasTensor(self.compute_output_shape(data["images"].shape), dtype=self.compute_dtype)
            rest = {k: tree.map_structure(lambda x: KerasTensor(x.shape, dtype=x.dtype), v) for k, v in data.items()
                    if k != "images"}
            if "bounding_boxes" in rest:
                rest["bounding_boxes"] = self._boxes_spec(rest["bounding_boxes"])
            return {"images": images, **rest}
        return KerasTensor(self.compute_output_shape(data.shape), dtype=self.compute_dtype)

    _config_names = ()

    def get_config(self):
        config = {**super().get_config(), "data_format": self.data_format}
        if self.bounding_box_format is not None:
            config["bounding_box_format"] = self.bounding_box_format
        if self._random:
            config["seed"] = self.seed
        return {**config, **{name: _plain(getattr(self, name)) for name in self._config_names}}


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def to_range(x, old, new):
    """Values of one range of numbers moved to another."""
    if tuple(old) == tuple(new):
        return x
    scale = (new[1] - new[0]) / (old[1] - old[0])
    return ops.add(ops.multiply(ops.subtract(x, float(old[0])), scale), float(new[0]))
