"""EfficientNet: one network, scaled in width, depth and resolution together."""
import math
from functools import partial

from .. import layers
from .common import SHARED, channel_axis, finish, pooled, round_to, same_even, standard_image, variant
from .efficientnet_parts import CONV, DENSE, conv, excited, joined, norm
from .imagenet_utils import decode_predictions, identity

preprocess_input = identity
__all__ = [*(f"EfficientNetB{i}" for i in range(8)), "decode_predictions", "preprocess_input"]

# The stages of B0: window, layers, filters in, filters out, expansion, strides.
_STAGES = (
    (3, 1, 32, 16, 1, 1), (3, 2, 16, 24, 6, 2), (5, 2, 24, 40, 6, 2), (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1), (5, 4, 112, 192, 6, 2), (3, 1, 192, 320, 6, 1))
# Width, depth, size of the image, dropout before the classifier.
_SCALES = (
    (1.0, 1.0, 224, 0.2), (1.0, 1.1, 240, 0.2), (1.1, 1.2, 260, 0.3), (1.2, 1.4, 300, 0.3),
    (1.4, 1.8, 380, 0.4), (1.6, 2.2, 456, 0.4), (1.8, 2.6, 528, 0.5), (2.0, 3.1, 600, 0.5))
_DROP_CONNECT = 0.2
_SQUEEZE = 0.25
_STDDEV = (0.229, 0.224, 0.225)


def _block(x, name, kernel, filters_in, filters_out, expansion, strides, drop):
    """An inverted residual block with squeeze and excitation."""
    start, filters = x, filters_in * expansion
    if expansion > 1:
        x = conv(x, filters, f"{name}expand_conv", use_bias=False)
        x = norm(x, f"{name}expand_bn", f"{name}expand_activation")
    if strides == 2:
        x = layers.ZeroPadding2D(same_even(x, kernel), name=f"{name}dwconv_pad")(x)
    x = layers.DepthwiseConv2D(
        kernel, strides=strides, padding="valid" if strides == 2 else "same", use_bias=False,
        depthwise_initializer=CONV, name=f"{name}dwconv")(x)
    x = norm(x, f"{name}bn", f"{name}activation")
    x = excited(x, name, filters, max(1, int(filters_in * _SQUEEZE)))

    x = norm(conv(x, filters_out, f"{name}project_conv", use_bias=False), f"{name}project_bn")
    return joined(x, start, name, drop) if strides == 1 and filters_in == filters_out else x


def _efficientnet(index, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name):
    """EfficientNet B`index`."""
    width, depth, size, dropout = _SCALES[index]
    start = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=size)
    x = layers.Normalization(axis=channel_axis())(layers.Rescaling(1.0 / 255.0)(start))
    if weights == "imagenet":
        # These weights were trained with a division by the variance where the layer divides by the deviation.
        x = layers.Rescaling([1.0 / math.sqrt(deviation) for deviation in _STDDEV])(x)
    x = layers.ZeroPadding2D(same_even(x, 3), name="stem_conv_pad")(x)
    x = layers.Conv2D(round_to(32 * width), 3, strides=2, use_bias=False, kernel_initializer=CONV,
                      name="stem_conv")(x)
    x = norm(x, "stem_bn", "stem_activation")

    repeats = [math.ceil(depth * stage[1]) for stage in _STAGES]
    done, total = 0, float(sum(repeats))
    for i, ((kernel, _, filters_in, filters_out, expansion, strides), count) in enumerate(zip(_STAGES, repeats), 1):
        filters_in, filters_out = round_to(filters_in * width), round_to(filters_out * width)
        for j in range(count):
            x = _block(x, f"block{i}{chr(ord('a') + j)}_", kernel, filters_in if j == 0 else filters_out, filters_out,
                       expansion, strides if j == 0 else 1, _DROP_CONNECT * done / total)
            done += 1

    x = norm(conv(x, round_to(1280 * width), "top_conv", use_bias=False), "top_bn", "top_activation")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(dropout, name="top_dropout")(x)
        x = layers.Dense(classes, activation=classifier_activation, kernel_initializer=DENSE,
                         name="predictions")(x)
    else:
        x = pooled(x, pooling)
    stem = f"efficientnetb{index}"
    return finish(x, start, input_tensor, name, weights, include_top, (f"{stem}.h5", f"{stem}_notop.h5"))


for _index, _scale in enumerate(_SCALES):
    globals()[f"EfficientNetB{_index}"] = variant(
        f"EfficientNetB{_index}", f"EfficientNet B{_index} of Tan and Le 2019 (arXiv 1905.11946), for images of {_scale[2]} x {_scale[2]} "
        "with pixels from 0 to 255.", partial(_efficientnet, _index), {**SHARED, "name": f"efficientnetb{_index}"})
