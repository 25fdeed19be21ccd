"""ConvNeXt: residual blocks of a wide depthwise convolution and two dense layers."""
from functools import partial

import numpy as np

from .. import config, initializers, layers
from ..models import Sequential
from ..utils.naming import auto_name
from .common import SHARED, finish, standard_image, variant
from .imagenet_utils import decode_predictions, identity

preprocess_input = identity
__all__ = [*(f"ConvNeXt{v}" for v in ("Tiny", "Small", "Base", "Large", "XLarge")), "decode_predictions", "preprocess_input"]

# Blocks and channels of the four stages.
_VARIANTS = {
    "Tiny": ((3, 3, 9, 3), (96, 192, 384, 768)), "Small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "Base": ((3, 3, 27, 3), (128, 256, 512, 1024)), "Large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
    "XLarge": ((3, 3, 27, 3), (256, 512, 1024, 2048))}
_EPSILON = 1e-6


class StochasticDepth(layers.Dropout):
    """While training, zeroes whole samples with probability `drop_path_rate` and scales the others up.

    Args:
        drop_path_rate: float in [0, 1).
    """

    def __init__(self, drop_path_rate, **kwargs):
        super().__init__(drop_path_rate, noise_shape=(None, 1, 1, 1), **kwargs)
        self.drop_path_rate = drop_path_rate

    def get_config(self):
        kept = {k: v for k, v in super().get_config().items() if k in ("name", "trainable", "dtype")}
        return {**kept, "drop_path_rate": self.drop_path_rate}


class LayerScale(layers.Layer):
    """x * gamma, with a weight for each channel.

    Args:
        init_values: float; gamma at the start.
        projection_dim: int; the channels.
    """

    def __init__(self, init_values, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, input_shape):
        start = initializers.Constant(self.init_values)
        self.gamma = self.add_weight((self.projection_dim,), start, name=auto_name("variable"))  # Keras gives it no name either

    def call(self, x):
        return x * self.gamma

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "init_values": self.init_values, "projection_dim": self.projection_dim}


def _norm(name):
    return layers.LayerNormalization(epsilon=_EPSILON, name=name)


def _block(x, channels, name):
    start = x
    x = layers.Conv2D(channels, 7, padding="same", groups=channels, name=f"{name}_depthwise_conv")(x)
    x = _norm(f"{name}_layernorm")(x)
    x = layers.Dense(4 * channels, name=f"{name}_pointwise_conv_1")(x)
    x = layers.Activation("gelu", name=f"{name}_gelu")(x)
    x = layers.Dense(channels, name=f"{name}_pointwise_conv_2")(x)
    x = LayerScale(1e-6, channels, name=f"{name}_layer_scale")(x)
    # The published networks drop nothing; the layer is there for its name.
    return start + layers.Activation("linear", name=f"{name}_identity")(x)


def _convnext(which, include_top, include_preprocessing, weights, input_tensor, input_shape, pooling, classes,
              classifier_activation, name):
    if config.image_data_format() == "channels_first":
        raise ValueError(f"[{name}] ConvNeXt does not support the `channels_first` image data format")
    depths, channels = _VARIANTS[which]
    start = x = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=224)
    if include_preprocessing and x.shape[-1] == 3:
        mean, deviation = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255
        x = layers.Normalization(mean=mean.tolist(), variance=(deviation**2).tolist(),
                                 name=f"{name}_prestem_normalization")(x)
    for stage in range(4):
        if stage == 0:
            parts = [layers.Conv2D(channels[0], 4, strides=4, name=f"{name}_stem_conv"), _norm(f"{name}_stem_layernorm")]
            x = Sequential(parts, name=f"{name}_stem")(x)
        else:
            parts = [_norm(f"{name}_downsampling_layernorm_{stage - 1}"),
                     layers.Conv2D(channels[stage], 2, strides=2, name=f"{name}_downsampling_conv_{stage - 1}")]
            x = Sequential(parts, name=f"{name}_downsampling_block_{stage - 1}")(x)
        for i in range(depths[stage]):
            x = _block(x, channels[stage], f"{name}_stage_{stage}_block_{i}")
    if include_top:
        x = _norm(f"{name}_head_layernorm")(layers.GlobalAveragePooling2D(name=f"{name}_head_gap")(x))
        x = layers.Dense(classes, activation=classifier_activation, name=f"{name}_head_dense")(x)
    else:
        if pooling is not None:
            x = (layers.GlobalAveragePooling2D if pooling == "avg" else layers.GlobalMaxPooling2D)()(x)
        x = _norm(None)(x)
    return finish(x, start, input_tensor, name, weights, include_top, (f"{name}.h5", f"{name}_notop.h5"))


for _which in _VARIANTS:
    globals()[f"ConvNeXt{_which}"] = variant(
        f"ConvNeXt{_which}", f"ConvNeXt {_which} of Liu et al. 2022 (arXiv 2201.03545), for images of 224 x 224 with pixels from 0 to "
        "255, or normalized ones with `include_preprocessing=False`.", partial(_convnext, _which),
        {"include_top": True, "include_preprocessing": True, **SHARED, "name": f"convnext_{_which.lower()}"})
