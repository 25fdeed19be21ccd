"""EfficientNet: one network, scaled in width, depth and resolution together."""
import math

from .. import layers
from .common import channel_axis, documented, finish, pooled, round_to, same_even, standard_image
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
_CONV_INITIALIZER = {
    "class_name": "VarianceScaling", "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}}
_DENSE_INITIALIZER = {
    "class_name": "VarianceScaling", "config": {"scale": 1.0 / 3.0, "mode": "fan_out", "distribution": "uniform"}}
_STDDEV = (0.229, 0.224, 0.225)


def _norm(x, name, activation=None):
    x = layers.BatchNormalization(axis=channel_axis(), name=name)(x)
    return x if activation is None else layers.Activation("swish", name=activation)(x)


def _conv(x, filters, name, **options):
    return layers.Conv2D(
        filters, 1, padding="same", kernel_initializer=_CONV_INITIALIZER, name=name, **options)(x)


def _block(x, name, kernel, filters_in, filters_out, expansion, strides, drop):
    """An inverted residual block with squeeze and excitation."""
    start, filters = x, filters_in * expansion
    if expansion > 1:
        x = _conv(x, filters, f"{name}expand_conv", use_bias=False)
        x = _norm(x, f"{name}expand_bn", f"{name}expand_activation")
    if strides == 2:
        x = layers.ZeroPadding2D(same_even(x, kernel), name=f"{name}dwconv_pad")(x)
    x = layers.DepthwiseConv2D(
        kernel, strides=strides, padding="valid" if strides == 2 else "same", use_bias=False,
        depthwise_initializer=_CONV_INITIALIZER, name=f"{name}dwconv")(x)
    x = _norm(x, f"{name}bn", f"{name}activation")

    squeezed = layers.GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
    shape = (filters, 1, 1) if channel_axis() == 1 else (1, 1, filters)
    squeezed = layers.Reshape(shape, name=f"{name}se_reshape")(squeezed)
    squeezed = _conv(squeezed, max(1, int(filters_in * _SQUEEZE)), f"{name}se_reduce", activation="swish")
    squeezed = _conv(squeezed, filters, f"{name}se_expand", activation="sigmoid")
    x = layers.multiply([x, squeezed], name=f"{name}se_excite")

    x = _norm(_conv(x, filters_out, f"{name}project_conv", use_bias=False), f"{name}project_bn")
    if strides == 1 and filters_in == filters_out:
        if drop > 0:
            x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
        x = layers.add([x, start], name=f"{name}add")
    return x


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
    x = layers.Conv2D(round_to(32 * width), 3, strides=2, use_bias=False, kernel_initializer=_CONV_INITIALIZER,
                      name="stem_conv")(x)
    x = _norm(x, "stem_bn", "stem_activation")

    repeats = [math.ceil(depth * stage[1]) for stage in _STAGES]
    done, total = 0, float(sum(repeats))
    for i, ((kernel, _, filters_in, filters_out, expansion, strides), count) in enumerate(zip(_STAGES, repeats), 1):
        filters_in, filters_out = round_to(filters_in * width), round_to(filters_out * width)
        for j in range(count):
            x = _block(x, f"block{i}{chr(ord('a') + j)}_", kernel, filters_in if j == 0 else filters_out, filters_out,
                       expansion, strides if j == 0 else 1, _DROP_CONNECT * done / total)
            done += 1

    x = _norm(_conv(x, round_to(1280 * width), "top_conv", use_bias=False), "top_bn", "top_activation")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(dropout, name="top_dropout")(x)
        x = layers.Dense(classes, activation=classifier_activation, kernel_initializer=_DENSE_INITIALIZER,
                         name="predictions")(x)
    else:
        x = pooled(x, pooling)
    stem = f"efficientnetb{index}"
    return finish(x, start, input_tensor, name, weights, include_top, (f"{stem}.h5", f"{stem}_notop.h5"))


@documented
def EfficientNetB0(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb0"):  # fmt: skip
    """EfficientNet B0 of Tan and Le 2019 (arXiv 1905.11946), for images of 224 x 224 with pixels from 0 to 255."""
    return _efficientnet(0, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def EfficientNetB1(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb1"):  # fmt: skip
    """EfficientNet B1 of Tan and Le 2019 (arXiv 1905.11946), for images of 240 x 240 with pixels from 0 to 255."""
    return _efficientnet(1, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def EfficientNetB2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb2"):  # fmt: skip
    """EfficientNet B2 of Tan and Le 2019 (arXiv 1905.11946), for images of 260 x 260 with pixels from 0 to 255."""
    return _efficientnet(2, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def EfficientNetB3(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb3"):  # fmt: skip
    """EfficientNet B3 of Tan and Le 2019 (arXiv 1905.11946), for images of 300 x 300 with pixels from 0 to 255."""
    return _efficientnet(3, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def EfficientNetB4(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb4"):  # fmt: skip
    """EfficientNet B4 of Tan and Le 2019 (arXiv 1905.11946), for images of 380 x 380 with pixels from 0 to 255."""
    return _efficientnet(4, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def EfficientNetB5(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb5"):  # fmt: skip
    """EfficientNet B5 of Tan and Le 2019 (arXiv 1905.11946), for images of 456 x 456 with pixels from 0 to 255."""
    return _efficientnet(5, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def EfficientNetB6(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb6"):  # fmt: skip
    """EfficientNet B6 of Tan and Le 2019 (arXiv 1905.11946), for images of 528 x 528 with pixels from 0 to 255."""
    return _efficientnet(6, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def EfficientNetB7(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                   classifier_activation="softmax", name="efficientnetb7"):  # fmt: skip
    """EfficientNet B7 of Tan and Le 2019 (arXiv 1905.11946), for images of 600 x 600 with pixels from 0 to 255."""
    return _efficientnet(7, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
