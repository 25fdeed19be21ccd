"""MobileNet v3: inverted residual blocks with squeeze and excitation, and hard activations."""

from .. import layers
from ..utils.warning import warn
from .common import (
    channel_axis,
    check_weights,
    documented,
    finish,
    image,
    last_or_first,
    pooled,
    round_to,
    rows_and_columns,
    same_even,
)
from .imagenet_utils import decode_predictions, identity

preprocess_input = identity
__all__ = ["MobileNetV3Large", "MobileNetV3Small", "decode_predictions", "preprocess_input"]

# Blocks: expansion, filters, wide window, strides, squeeze and excitation, hard swish.
_SMALL = (
    (1, 16, 0, 2, 1, 0), (72 / 16, 24, 0, 2, 0, 0), (88 / 24, 24, 0, 1, 0, 0), (4, 40, 1, 2, 1, 1), (6, 40, 1, 1, 1, 1),
    (6, 40, 1, 1, 1, 1), (3, 48, 1, 1, 1, 1), (3, 48, 1, 1, 1, 1), (6, 96, 1, 2, 1, 1), (6, 96, 1, 1, 1, 1),
    (6, 96, 1, 1, 1, 1))
_LARGE = (
    (1, 16, 0, 1, 0, 0), (4, 24, 0, 2, 0, 0), (3, 24, 0, 1, 0, 0), (3, 40, 1, 2, 1, 0), (3, 40, 1, 1, 1, 0),
    (3, 40, 1, 1, 1, 0), (6, 80, 0, 2, 0, 1), (2.5, 80, 0, 1, 0, 1), (2.3, 80, 0, 1, 0, 1), (2.3, 80, 0, 1, 0, 1),
    (6, 112, 0, 1, 1, 1), (6, 112, 0, 1, 1, 1), (6, 160, 1, 2, 1, 1), (6, 160, 1, 1, 1, 1), (6, 160, 1, 1, 1, 1))


def _relu(x):
    return layers.ReLU()(x)


def _hard_swish(x):
    return layers.Activation("hard_swish")(x)


def _norm(x, name):
    return layers.BatchNormalization(axis=last_or_first(), epsilon=1e-3, momentum=0.999, name=name)(x)


def _squeeze_excite(x, filters, prefix):
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}avg_pool")(x)
    y = layers.Conv2D(round_to(filters * 0.25), 1, padding="same", name=f"{prefix}conv")(y)
    y = layers.ReLU(name=f"{prefix}relu")(y)
    y = layers.Conv2D(filters, 1, padding="same", name=f"{prefix}conv_1")(y)
    y = layers.ReLU(6.0)(y + 3.0) * (1.0 / 6.0)  # hard sigmoid
    return layers.Multiply(name=f"{prefix}mul")([x, y])


def _block(x, index, expansion, filters, kernel, strides, squeezed, activation):
    start, channels = x, x.shape[channel_axis()]
    wide = round_to(channels * expansion)
    prefix = f"expanded_conv_{index}_" if index else "expanded_conv_"
    if index:
        x = layers.Conv2D(wide, 1, padding="same", use_bias=False, name=f"{prefix}expand")(x)
        x = activation(_norm(x, f"{prefix}expand_bn"))
    if strides == 2:
        x = layers.ZeroPadding2D(same_even(x, kernel), name=f"{prefix}depthwise_pad")(x)
    x = layers.DepthwiseConv2D(kernel, strides=strides, padding="same" if strides == 1 else "valid", use_bias=False,
                               name=f"{prefix}depthwise")(x)
    x = activation(_norm(x, f"{prefix}depthwise_bn"))
    if squeezed:
        x = _squeeze_excite(x, wide, f"{prefix}squeeze_excite_")
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = _norm(x, f"{prefix}project_bn")
    if strides == 1 and channels == filters:
        x = layers.Add(name=f"{prefix}add")([start, x])
    return x


def _shape(name, input_shape, input_tensor):
    first = channel_axis() == 1
    if input_shape is None and input_tensor is None:
        return (3, None, None) if first else (None, None, 3)
    if input_shape is None:
        input_shape = tuple(input_tensor.shape[1:])
    elif input_tensor is not None and rows_and_columns(input_tensor.shape[1:]) != rows_and_columns(input_shape):
        raise ValueError(f"[{name}] input_shape must be that of input_tensor. Received: input_shape={tuple(input_shape)}, "
                         f"input_tensor.shape={tuple(input_tensor.shape)}")
    if any(n is not None and n < 32 for n in rows_and_columns(input_shape)):
        raise ValueError(f"[{name}] Input size must be at least 32x32. Received: input_shape={tuple(input_shape)}")
    return tuple(input_shape)


def _mobilenet_v3(kind, blocks, last, input_shape, alpha, minimalistic, include_top, weights, input_tensor, classes,
                  pooling, dropout_rate, classifier_activation, include_preprocessing, name):  # fmt: skip
    """MobileNet v3 with `blocks`, and `last` filters before the classifier."""
    check_weights(name, weights, include_top, classes, classifier_activation)
    shape = _shape(name, input_shape, input_tensor)
    if weights == "imagenet":
        alphas = (1.0,) if minimalistic else (0.75, 1.0)
        if alpha not in alphas:
            raise ValueError(f"[{name}] If imagenet weights are being loaded, alpha must be one of {alphas} with "
                             f"minimalistic={minimalistic}. Received: alpha={alpha}")
        if rows_and_columns(shape) != (224, 224):
            warn(f"[{name}] `input_shape` is undefined or non-square, or `rows` is not 224. Weights for input "
                 "shape (224, 224) will be loaded as the default.")
    start = x = image(input_tensor, shape)
    wide, swish = (3, _relu) if minimalistic else (5, _hard_swish)

    if include_preprocessing:
        x = layers.Rescaling(scale=1.0 / 127.5, offset=-1.0)(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = swish(_norm(x, "conv_bn"))
    for i, (expansion, filters, is_wide, strides, squeezed, swished) in enumerate(blocks):
        x = _block(x, i, expansion, round_to(filters * alpha), wide if is_wide else 3, strides,
                   squeezed and not minimalistic, swish if swished else _relu)
    channels = round_to(x.shape[channel_axis()] * 6)
    x = layers.Conv2D(channels, 1, padding="same", use_bias=False, name="conv_1")(x)
    x = swish(_norm(x, "conv_1_bn"))
    if include_top:
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Conv2D(round_to(last * alpha) if alpha > 1.0 else last, 1, padding="same", name="conv_2")(x)
        x = swish(x)
        if dropout_rate > 0:
            x = layers.Dropout(dropout_rate)(x)
        x = layers.Conv2D(classes, 1, padding="same", name="logits")(x)
        x = layers.Activation(classifier_activation, name="predictions")(layers.Flatten()(x))
    else:
        x = pooled(x, pooling)
    stem = f"weights_mobilenet_v3_{kind}{'_minimalistic' if minimalistic else ''}_224_{alpha}_float"
    return finish(x, start, input_tensor, name, weights, include_top, (f"{stem}.h5", f"{stem}_no_top_v2.h5"))


@documented
def MobileNetV3Small(input_shape=None, alpha=1.0, minimalistic=False, include_top=True, weights="imagenet",
                     input_tensor=None, classes=1000, pooling=None, dropout_rate=0.2, classifier_activation="softmax",
                     include_preprocessing=True, name="MobileNetV3Small"):  # fmt: skip
    """MobileNet v3 small, of Howard et al. 2019 (arXiv 1905.02244), for images with pixels from 0 to 255.

    `alpha` scales the number of filters; `minimalistic` leaves out what is slow on some hardware: squeeze and excitation,
    hard swish, wide windows. `include_preprocessing=False` expects pixels from -1 to 1.
    """
    return _mobilenet_v3("small", _SMALL, 1024, input_shape, alpha, minimalistic, include_top, weights, input_tensor,
                         classes, pooling, dropout_rate, classifier_activation, include_preprocessing, name)


@documented
def MobileNetV3Large(input_shape=None, alpha=1.0, minimalistic=False, include_top=True, weights="imagenet",
                     input_tensor=None, classes=1000, pooling=None, dropout_rate=0.2, classifier_activation="softmax",
                     include_preprocessing=True, name="MobileNetV3Large"):  # fmt: skip
    """MobileNet v3 large, of Howard et al. 2019 (arXiv 1905.02244), for images with pixels from 0 to 255.

    `alpha` scales the number of filters; `minimalistic` leaves out what is slow on some hardware: squeeze and excitation,
    hard swish, wide windows. `include_preprocessing=False` expects pixels from -1 to 1.
    """
    return _mobilenet_v3("large", _LARGE, 1280, input_shape, alpha, minimalistic, include_top, weights, input_tensor,
                         classes, pooling, dropout_rate, classifier_activation, include_preprocessing, name)
