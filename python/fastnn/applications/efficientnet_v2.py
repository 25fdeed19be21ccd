"""EfficientNet V2: the first stages with one convolution in place of a depthwise and a pointwise one."""
import math
from functools import partial

from .. import layers
from .common import SHARED, channel_axis, finish, pooled, standard_image, variant
from .efficientnet_parts import CONV, DENSE, conv, excited, joined, norm
from .imagenet_utils import decode_predictions, identity

preprocess_input = identity
__all__ = [*(f"EfficientNetV2{v}" for v in ("B0", "B1", "B2", "B3", "S", "M", "L")), "decode_predictions", "preprocess_input"]

# The stages: layers, filters in, filters out, expansion, strides, fused.
_B = ((1, 32, 16, 1, 1, True), (2, 16, 32, 4, 2, True), (2, 32, 48, 4, 2, True), (3, 48, 96, 4, 2, False),
      (5, 96, 112, 6, 1, False), (8, 112, 192, 6, 2, False))
_S = ((2, 24, 24, 1, 1, True), (4, 24, 48, 4, 2, True), (4, 48, 64, 4, 2, True), (6, 64, 128, 4, 2, False),
      (9, 128, 160, 6, 1, False), (15, 160, 256, 6, 2, False))
_M = ((3, 24, 24, 1, 1, True), (5, 24, 48, 4, 2, True), (5, 48, 80, 4, 2, True), (7, 80, 160, 4, 2, False),
      (14, 160, 176, 6, 1, False), (18, 176, 304, 6, 2, False), (5, 304, 512, 6, 1, False))
_L = ((4, 32, 32, 1, 1, True), (7, 32, 64, 4, 2, True), (7, 64, 96, 4, 2, True), (10, 96, 192, 4, 2, False),
      (19, 192, 224, 6, 1, False), (25, 224, 384, 6, 2, False), (7, 384, 640, 6, 1, False))
# Stages, width, depth, size of the image.
_VARIANTS = {
    "B0": (_B, 1.0, 1.0, 224), "B1": (_B, 1.0, 1.1, 240), "B2": (_B, 1.1, 1.2, 260), "B3": (_B, 1.2, 1.4, 300),
    "S": (_S, 1.0, 1.0, 384), "M": (_M, 1.0, 1.0, 480), "L": (_L, 1.0, 1.0, 480)}
_DROP_CONNECT = 0.2
_MOMENTUM = 0.9


def _wide(filters, width):
    return int(max(8, int(filters * width + 4) // 8 * 8))


def _block(x, name, filters_in, filters_out, expansion, strides, fused, drop):
    """An inverted residual block; a fused one has no depthwise convolution and no squeeze and excitation."""
    start, filters = x, filters_in * expansion
    if fused:
        if expansion > 1:
            x = conv(x, filters, f"{name}expand_conv", 3, strides=strides, use_bias=False)
            x = norm(x, f"{name}expand_bn", f"{name}expand_activation", _MOMENTUM)
            x = conv(x, filters_out, f"{name}project_conv", use_bias=False)
            x = norm(x, f"{name}project_bn", momentum=_MOMENTUM)
        else:
            x = conv(x, filters_out, f"{name}project_conv", 3, strides=strides, use_bias=False)
            x = norm(x, f"{name}project_bn", f"{name}project_activation", _MOMENTUM)
    else:
        x = conv(x, filters, f"{name}expand_conv", use_bias=False)
        x = norm(x, f"{name}expand_bn", f"{name}expand_activation", _MOMENTUM)
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False, depthwise_initializer=CONV,
                                   name=f"{name}dwconv2")(x)
        x = norm(x, f"{name}bn", f"{name}activation", _MOMENTUM)
        x = excited(x, name, filters, max(1, filters_in // 4))
        x = norm(conv(x, filters_out, f"{name}project_conv", use_bias=False), f"{name}project_bn", momentum=_MOMENTUM)
    return joined(x, start, name, drop) if strides == 1 and filters_in == filters_out else x


def _efficientnet_v2(which, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation,
                     include_preprocessing, name):
    stages, width, depth, size = _VARIANTS[which]
    start = x = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=size)
    if include_preprocessing:
        if which[0] == "B" and x.shape[channel_axis()] == 3:
            x = layers.Rescaling(1.0 / 255)(x)
            x = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.229**2, 0.224**2, 0.225**2], axis=channel_axis())(x)
        else:
            x = layers.Rescaling(1.0 / 128, offset=-1)(x)
    x = conv(x, _wide(stages[0][1], width), "stem_conv", 3, strides=2, use_bias=False)
    x = norm(x, "stem_bn", "stem_activation", _MOMENTUM)
    done, total = 0, float(sum(stage[0] for stage in stages))
    for i, (count, filters_in, filters_out, expansion, strides, fused) in enumerate(stages, 1):
        filters_in, filters_out = _wide(filters_in, width), _wide(filters_out, width)
        for j in range(math.ceil(depth * count)):
            x = _block(x, f"block{i}{chr(ord('a') + j)}_", filters_in if j == 0 else filters_out, filters_out, expansion,
                       strides if j == 0 else 1, fused, _DROP_CONNECT * done / total)
            done += 1
    x = norm(conv(x, _wide(1280, width), "top_conv", use_bias=False), "top_bn", "top_activation", _MOMENTUM)
    if include_top:
        x = layers.Dropout(0.2, name="top_dropout")(layers.GlobalAveragePooling2D(name="avg_pool")(x))
        x = layers.Dense(classes, activation=classifier_activation, kernel_initializer=DENSE, bias_initializer="zeros",
                         name="predictions")(x)
    else:
        x = pooled(x, pooling)
    return finish(x, start, input_tensor, name, weights, include_top, (f"{name}.h5", f"{name}_notop.h5"))


for _which, _variant in _VARIANTS.items():
    globals()[f"EfficientNetV2{_which}"] = variant(
        f"EfficientNetV2{_which}", f"EfficientNet V2 {_which} of Tan and Le 2021 (arXiv 2104.00298), for images of {_variant[3]} x "
        f"{_variant[3]} with pixels from 0 to 255, or from -1 to 1 with `include_preprocessing=False`.",
        partial(_efficientnet_v2, _which), {**SHARED, "include_preprocessing": True, "name": f"efficientnetv2-{_which.lower()}"})
