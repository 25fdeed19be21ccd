"""MobileNet: depthwise and 1 x 1 convolutions in turn."""

from .. import layers
from ..utils.warning import warn
from .common import (
    check_weights,
    documented,
    finish,
    image,
    image_shape,
    last_or_first,
    pooled,
    rows_and_columns,
)
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("tf")
_SIZES = (128, 160, 192, 224)
# Filters and strides of the blocks.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


@documented
def MobileNet(input_shape=None, alpha=1.0, depth_multiplier=1, dropout=1e-3, include_top=True, weights="imagenet",
              input_tensor=None, pooling=None, classes=1000, classifier_activation="softmax", name=None):  # fmt: skip
    """MobileNet of Howard et al. 2017 (arXiv 1704.04861), for images of 224 x 224.

    `alpha` scales the number of filters, `depth_multiplier` that of the depthwise convolutions; `dropout` is the rate
    before the classifier. The name is by default mobilenet_ALPHA_ROWS.
    """
    kind = name or "MobileNet"
    check_weights(kind, weights, include_top, classes, classifier_activation)
    size = default_size(input_shape, _SIZES)
    shape = image_shape(kind, input_shape, size, 32, include_top, weights)
    rows, columns = rows_and_columns(shape)
    if weights == "imagenet":
        if depth_multiplier != 1:
            raise ValueError(f"[{kind}] If imagenet weights are being loaded, depth multiplier must be 1. "
                             f"Received: depth_multiplier={depth_multiplier}")
        rows = trained_size(kind, alpha, (0.25, 0.5, 0.75, 1.0), rows, columns, _SIZES)
    start = x = image(input_tensor, shape)
    axis = last_or_first()

    def norm_relu(x, name):
        return layers.ReLU(6.0, name=f"{name}_relu")(layers.BatchNormalization(axis=axis, name=f"{name}_bn")(x))

    x = layers.Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(x)
    x = norm_relu(x, "conv1")
    for i, (filters, strides) in enumerate(_BLOCKS, 1):
        if strides == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same" if strides == 1 else "valid", use_bias=False,
                                   depth_multiplier=depth_multiplier, name=f"conv_dw_{i}")(x)
        x = norm_relu(x, f"conv_dw_{i}")
        x = layers.Conv2D(int(filters * alpha), 1, padding="same", use_bias=False, name=f"conv_pw_{i}")(x)
        x = norm_relu(x, f"conv_pw_{i}")
    if include_top:
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = layers.Reshape((classes,), name="reshape_2")(x)
        x = layers.Activation(classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling, named=False)
    name = f"mobilenet_{alpha:0.2f}_{rows}" if name is None else name
    text = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0"}.get(alpha, "2_5")
    return finish(x, start, input_tensor, name, weights, include_top,
                  (f"mobilenet_{text}_{rows}_tf.h5", f"mobilenet_{text}_{rows}_tf_no_top.h5"))


def default_size(input_shape, sizes):
    """The height of a square `input_shape` if weights of that size exist, otherwise 224."""
    if input_shape is not None and len(input_shape) == 3:
        rows, columns = rows_and_columns(input_shape)
        if rows == columns and rows in sizes:
            return rows
    return 224


def trained_size(kind, alpha, alphas, rows, columns, sizes):
    """The image size whose ImageNet weights fit best; ValueError if there are none for `alpha`."""
    if alpha not in alphas:
        raise ValueError(f"[{kind}] If imagenet weights are being loaded, alpha must be one of {alphas}. "
                         f"Received: alpha={alpha}")
    if rows != columns or rows not in sizes:
        warn(f"[{kind}] `input_shape` is undefined or non-square, or `rows` is not in {list(sizes)}. Weights for "
             "input shape (224, 224) will be loaded as the default.")
        return 224
    return rows
