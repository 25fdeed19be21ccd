"""MobileNet v2: inverted residual blocks between narrow layers."""
from .. import layers
from .common import (
    channel_axis, check_weights, documented, finish, image, image_shape, last_or_first, pooled, round_to,
    rows_and_columns, same_even)
from .imagenet_utils import for_mode
from .mobilenet import default_size, trained_size

preprocess_input, decode_predictions = for_mode("tf")
_SIZES = (96, 128, 160, 192, 224)
# Filters, blocks and strides of the first of them; all but the first widen their input sixfold inside.
_STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


def _norm(x, name):
    return layers.BatchNormalization(axis=last_or_first(), epsilon=1e-3, momentum=0.999, name=name)(x)


def _block(x, filters, strides, index):
    """Widen, filter each channel, narrow; with the input added where the shapes agree."""
    start, channels = x, x.shape[channel_axis()]
    prefix = f"block_{index}_" if index else "expanded_conv_"
    if index:
        x = layers.Conv2D(6 * channels, 1, padding="same", use_bias=False, name=f"{prefix}expand")(x)
        x = layers.ReLU(6.0, name=f"{prefix}expand_relu")(_norm(x, f"{prefix}expand_BN"))
    if strides == 2:
        x = layers.ZeroPadding2D(same_even(x, 3), name=f"{prefix}pad")(x)
    x = layers.DepthwiseConv2D(3, strides=strides, padding="same" if strides == 1 else "valid", use_bias=False,
                               name=f"{prefix}depthwise")(x)
    x = layers.ReLU(6.0, name=f"{prefix}depthwise_relu")(_norm(x, f"{prefix}depthwise_BN"))
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = _norm(x, f"{prefix}project_BN")
    if channels == filters and strides == 1:
        x = layers.Add(name=f"{prefix}add")([start, x])
    return x


@documented
def MobileNetV2(input_shape=None, alpha=1.0, include_top=True, weights="imagenet", input_tensor=None, pooling=None,
                classes=1000, classifier_activation="softmax", name=None):  # fmt: skip
    """MobileNet v2 of Sandler et al. 2018 (arXiv 1801.04381), for images of 224 x 224.

    `alpha` scales the number of filters. The name is by default mobilenetv2_ALPHA_ROWS.
    """
    kind = name or "MobileNetV2"
    check_weights(kind, weights, include_top, classes, classifier_activation)
    known = input_shape if input_shape is not None or input_tensor is None else input_tensor.shape[1:]
    shape = image_shape(kind, input_shape, default_size(known, _SIZES), 32, include_top, weights)
    rows, columns = rows_and_columns(shape)
    if weights == "imagenet":
        rows = trained_size(kind, alpha, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4), rows, columns, _SIZES)
    start = image(input_tensor, shape)

    x = layers.Conv2D(round_to(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1")(start)
    x = layers.ReLU(6.0, name="Conv1_relu")(_norm(x, "bn_Conv1"))
    index = 0
    for filters, count, strides in _STAGES:
        for i in range(count):
            x = _block(x, round_to(filters * alpha), strides if i == 0 else 1, index)
            index += 1
    x = layers.Conv2D(round_to(1280 * max(alpha, 1.0)), 1, use_bias=False, name="Conv_1")(x)
    x = layers.ReLU(6.0, name="out_relu")(_norm(x, "Conv_1_bn"))
    if include_top:
        x = layers.GlobalAveragePooling2D()(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling, named=False)
    name = f"mobilenetv2_{alpha:0.2f}_{rows}" if name is None else name
    stem = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{rows}"
    return finish(x, start, input_tensor, name, weights, include_top, (f"{stem}.h5", f"{stem}_no_top.h5"))
