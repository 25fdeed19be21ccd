"""Layers that mix images, cut pieces out of them, or apply other image layers in turn."""
from .. import ops, random
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..tensor import to_numpy
from . import image_color as color
from . import image_geometry as geometry
from .image_layer import ImageLayer
from .layer import Layer


def _box(n, h, w, parts, seed):
    """(n, h, w, 1) bool: random boxes that take the parts (n, 2) of the height and width, and their ends."""
    ends = []
    for size, part in ((h, parts[:, 0]), (w, parts[:, 1])):
        length = ops.multiply(part, float(size))
        start = ops.multiply(random.uniform((n,), seed=seed), ops.subtract(float(size), length))
        ends.append([ops.reshape(v, (n, 1, 1, 1)) for v in (start, ops.add(start, length))])
    inside = None
    for axis, (low, high) in enumerate(ends, 1):
        place = ops.reshape(ops.arange((h, w)[axis - 1], dtype="float32"), [-1 if a == axis else 1 for a in range(4)])
        within = ops.logical_and(ops.greater_equal(place, low), ops.less(place, high))
        inside = within if inside is None else ops.logical_and(inside, within)
    return inside, ends


class RandomErasing(ImageLayer):
    """A random box of each image replaced.

    Args:
        factor: the probability that an image changes, or its two ends.
        scale: the part of the image that the box takes, in [0, 1], as two ends.
        fill_value: number, or one for each of three channels; random values by default.
        value_range: smallest and largest value of the images.
        seed, data_format: see `ImageLayer`.
    """

    _config_names = ("factor", "scale", "fill_value", "value_range")

    def __init__(self, factor=1.0, scale=(0.02, 0.33), fill_value=None, value_range=(0, 255), seed=None,
                 data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.factor, self.scale = self._span(factor, "factor", 0.0), self._span(scale, "scale", 0.0)
        if isinstance(fill_value, (tuple, list)) and len(fill_value) != 3:
            raise ValueError("[RandomErasing] The `fill_value` argument should be a number (or a list of three numbers). "
                             f"Received: fill_value={fill_value}")
        self.fill_value = fill_value
        self.value_range = self._range(value_range)

    def _draw(self, n, h, w, seed):
        parts = ops.sqrt(self._uniform((n, 2), self.scale, seed))
        masks, _ = _box(n, h, w, parts, seed)
        return {"apply_erasing": self._chosen(n, self.factor, seed), "batch_masks": masks,
                "noise": random.normal((n, h, w, 3), seed=seed) if self.fill_value is None else None}

    def _transform(self, x, transformation, interpolation):
        if self.fill_value is None:
            noise = ops.multiply(transformation["noise"], float(self.value_range[1]))
            value = noise if x.shape[-1] == 3 else ops.broadcast_to(noise[..., :1], x.shape)
        else:
            value = ops.convert_to_tensor(self.fill_value, "float32")
        value = ops.cast(ops.clip(value, *self.value_range), x.dtype)
        chosen = ops.logical_and(transformation["batch_masks"], transformation["apply_erasing"])
        return ops.where(chosen, value, x)


def _mixed(x, order, weight):
    """weight * x + (1 - weight) * x[order], along the first axis."""
    weight = ops.cast(ops.reshape(weight, (-1, *(1,) * (x.ndim - 1))), x.dtype)
    other = ops.take(x, order, axis=0)
    return ops.add(ops.multiply(weight, x), ops.multiply(ops.subtract(1.0, weight), other))


class MixUp(ImageLayer):
    """Each image mixed with another of the batch; labels (one-hot) and masks alike.

    Args:
        alpha: number; the part of the image itself is drawn from Beta(alpha, alpha).
        data_format, seed: see `ImageLayer`.

    Source: Zhang et al. 2017.
    """

    _config_names = ("alpha",)

    def __init__(self, alpha=0.2, data_format=None, seed=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.alpha = alpha

    def _draw(self, n, h, w, seed):
        return {"permutation_order": random.shuffle(ops.arange(n), seed=seed),
                "mix_weight": random.beta((n,), self.alpha, self.alpha, seed=seed)}

    def _transform(self, x, transformation, interpolation):
        return _mixed(x, transformation["permutation_order"], transformation["mix_weight"])

    def _mixed_values(self, values, transformation, training):
        if not training or transformation is None:
            return values
        return _mixed(ops.cast(values, self.compute_dtype), transformation["permutation_order"], transformation["mix_weight"])

    transform_labels = transform_segmentation_masks = lambda self, values, transformation, training=True: (
        self._mixed_values(values, transformation, training))

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        """The boxes of both images."""
        if not training or transformation is None:
            return bounding_boxes
        order = transformation["permutation_order"]
        return {key: ops.concatenate([value, ops.take(value, order, axis=0)], axis=1)
                for key, value in bounding_boxes.items()}


class CutMix(ImageLayer):
    """A random box of each image taken from another of the batch; labels (one-hot) are mixed by the areas.

    Args:
        factor: number in [0, 1], alpha of the Beta(alpha, alpha) that the area is drawn from; or two ends.
        seed, data_format: see `ImageLayer`.

    Source: Yun et al. 2019.
    """

    _masks = True
    _config_names = ("factor",)

    def __init__(self, factor=1.0, seed=None, data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.factor = self._span(factor, "factor", 0.0)

    def _draw(self, n, h, w, seed):
        alpha = float(self._uniform((), self.factor, seed)) + 1e-6
        part = ops.sqrt(ops.subtract(1.0, random.beta((n,), alpha, alpha, seed=seed)))
        masks, ((y0, y1), (x0, x1)) = _box(n, h, w, ops.stack([part, part], -1), seed)
        area = ops.divide(ops.multiply(ops.subtract(y1, y0), ops.subtract(x1, x0)), float(h * w))
        return {"permutation_order": random.shuffle(ops.arange(n), seed=seed), "batch_masks": masks,
                "mix_weight": ops.subtract(1.0, ops.reshape(area, (n,)))}

    def _transform(self, x, transformation, interpolation):
        return ops.where(transformation["batch_masks"], ops.take(x, transformation["permutation_order"], axis=0), x)

    def transform_bounding_boxes(self, bounding_boxes, transformation, training=True):
        raise ValueError(f"[{self.name}] bounding boxes cannot be mixed. Received: data with bounding_boxes")

    def transform_labels(self, labels, transformation, training=True):
        """Labels mixed by the areas of their images."""
        if not training or transformation is None:
            return labels
        return _mixed(ops.cast(labels, self.compute_dtype), transformation["permutation_order"], transformation["mix_weight"])


def _augmentations(factor, value_range, interpolation, seed, all_ops=True):
    """{name: layer} of the layers that RandAugment and AugMix choose from."""
    options = {"seed": seed, "data_format": "channels_last"}
    moving, values = {**options, "interpolation": interpolation}, {**options, "value_range": value_range}
    found = {
        "random_shear": geometry.RandomShear(factor, factor, **moving),
        "random_translation": geometry.RandomTranslation(factor, factor, **moving),
        "random_rotation": geometry.RandomRotation(factor, **moving),
    }
    if all_ops:
        found.update(
            random_brightness=color.RandomBrightness(factor, **values),
            random_color_degeneration=color.RandomColorDegeneration(factor, **values),
            random_contrast=color.RandomContrast(factor, **values),
            random_sharpness=color.RandomSharpness(factor, **values))
    found.update(
        random_posterization=color.RandomPosterization(max(1, int(8 * factor[1])), **values),
        solarization=color.Solarization(factor, factor, **values),
        auto_contrast=color.AutoContrast(value_range, data_format="channels_last"),
        equalization=color.Equalization(value_range, data_format="channels_last"))
    return found


class RandAugment(ImageLayer):
    """A few image layers chosen at random, the same for a batch.

    Args:
        value_range: smallest and largest value of the images.
        num_ops: int, how many are applied.
        factor: number in [0, 1], their strength; or two ends.
        interpolation: "nearest" or "bilinear".
        seed, data_format: see `ImageLayer`.

    Source: Cubuk et al. 2019.
    """

    _config_names = ("value_range", "num_ops", "factor", "interpolation")

    def __init__(self, value_range=(0, 255), num_ops=2, factor=0.5, interpolation="bilinear", seed=None,
                 data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.value_range, self.num_ops, self.interpolation = self._range(value_range), num_ops, interpolation
        self.factor = self._span(factor, "factor", 0.0)
        self._augmentations = _augmentations(self.factor, self.value_range, interpolation, seed)

    _masks = True

    def _draw(self, n, h, w, seed):
        layers = list(self._augmentations.values())
        chosen = to_numpy(random.randint((self.num_ops,), 0, len(layers), seed=seed)).tolist()
        return {"steps": [(layers[i], layers[i]._draw(n, h, w, seed)) for i in chosen]}

    def _transform(self, x, transformation, interpolation):
        of_masks = interpolation == "nearest" and self.interpolation != "nearest"
        for layer, drawn in transformation["steps"]:
            if not of_masks or layer._masks:
                x = layer._transform(x, drawn, interpolation)
        return x

    def _move_boxes(self, boxes, transformation, h, w):
        for layer, drawn in transformation["steps"]:
            boxes, h, w = layer._move_boxes(boxes, drawn, h, w)
        return boxes, h, w


class AugMix(ImageLayer):
    """Several chains of image layers, mixed with each other and with the image itself.

    Args:
        value_range: smallest and largest value of the images; results are clipped to it.
        num_chains: int. chain_depth: int, the layers of a chain at most.
        factor: number in [0, 1], their strength; or two ends.
        alpha: of the distributions of the chains' parts.
        all_ops: bool; also brightness, colour, contrast and sharpness.
        interpolation: "nearest" or "bilinear".
        seed, data_format: see `ImageLayer`.

    Source: Hendrycks et al. 2019.
    """

    _config_names = ("value_range", "num_chains", "chain_depth", "factor", "alpha", "all_ops", "interpolation")

    def __init__(self, value_range=(0, 255), num_chains=3, chain_depth=3, factor=0.3, alpha=1.0, all_ops=True,
                 interpolation="bilinear", seed=None, data_format=None, **kwargs):
        super().__init__(data_format=data_format, seed=seed, **kwargs)
        self.value_range, self.interpolation = self._range(value_range), interpolation
        self.num_chains, self.chain_depth, self.alpha, self.all_ops = num_chains, chain_depth, alpha, all_ops
        self.factor = self._span(factor, "factor", 0.0)
        self._augmentations = _augmentations(self.factor, self.value_range, interpolation, seed, all_ops)

    def _draw(self, n, h, w, seed):
        layers = [*self._augmentations.values(), None]
        chosen = to_numpy(random.randint((self.num_chains, self.chain_depth), 0, len(layers), seed=seed)).tolist()
        chains = [[(layers[i], layers[i]._draw(n, h, w, seed)) for i in chain if layers[i] is not None] for chain in chosen]
        weights = to_numpy(random.gamma((self.num_chains,), self.alpha, seed=seed)).astype("float64")
        return {"chains": chains, "weights": (weights / max(weights.sum(), 1e-30)).tolist(),
                "weight_sample": float(random.beta((), self.alpha, self.alpha, seed=seed))}

    def _transform(self, x, transformation, interpolation):
        total = None
        for chain, weight in zip(transformation["chains"], transformation["weights"]):
            y = x
            for layer, drawn in chain:
                y = layer._transform(y, drawn, interpolation)
            y = ops.multiply(y, weight)
            total = y if total is None else ops.add(total, y)
        own = transformation["weight_sample"]
        return ops.clip(ops.add(ops.multiply(x, own), ops.multiply(total, 1 - own)), *self.value_range)


class Pipeline(Layer):
    """Layers applied one after another, as one layer.

    Args:
        layers: list of layers. name: string.
    """

    def __init__(self, layers, name=None):
        super().__init__(name=name)
        self._pipeline_layers = list(layers)
        self._allow_non_tensor_positional_args = True

    @property
    def layers(self):
        """The layers, in their order."""
        return list(self._pipeline_layers)

    def call(self, inputs, training=True, mask=None):
        for layer in self._pipeline_layers:
            kwargs = {}
            if layer._signature.has_training:
                kwargs["training"] = training
            if mask is not None and "mask" in layer._signature.parameters:
                kwargs["mask"] = mask
            inputs = layer(inputs, **kwargs)
        return inputs

    def get_config(self):
        return {"layers": [serialize_keras_object(layer) for layer in self._pipeline_layers], "name": self.name}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if not isinstance(config.get("layers"), (list, tuple)):
            raise ValueError(f"[Pipeline.from_config] config must have a list of layers. Received: config={config}")
        config["layers"] = [deserialize_keras_object(c) for c in config["layers"]]
        return cls(**config)
