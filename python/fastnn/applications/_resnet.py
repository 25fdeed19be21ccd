"""The residual networks of both versions; `resnet`, `resnet50` and `resnet_v2` hold the public names.

Version 1 normalizes and activates after each convolution, version 2 before.
"""
from .. import layers
from .common import channel_axis, finish, pooled, standard_image

_EPSILON = 1.001e-5
# Blocks of each of the four stages.
DEPTHS = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}


def _norm(x, name):
    return layers.BatchNormalization(axis=channel_axis(), epsilon=_EPSILON, name=name)(x)


def _relu(x, name):
    return layers.Activation("relu", name=name)(x)


def _pad(x, size, name):
    return layers.ZeroPadding2D(((size, size), (size, size)), name=name)(x)


def _block1(x, filters, strides, projected, name):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, beside the input or its projection."""
    shortcut = x
    if projected:
        shortcut = _norm(layers.Conv2D(4 * filters, 1, strides=strides, name=f"{name}_0_conv")(x), f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, strides=strides, name=f"{name}_1_conv")(x)
    x = _relu(_norm(x, f"{name}_1_bn"), f"{name}_1_relu")
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = _relu(_norm(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = _norm(layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3_bn")
    return _relu(layers.Add(name=f"{name}_add")([shortcut, x]), f"{name}_out")


def _block2(x, filters, strides, projected, name):
    """The same with normalization first; the stride is that of the 3 x 3 convolution."""
    before = _relu(_norm(x, f"{name}_preact_bn"), f"{name}_preact_relu")
    if projected:
        shortcut = layers.Conv2D(4 * filters, 1, strides=strides, name=f"{name}_0_conv")(before)
    else:
        shortcut = layers.MaxPooling2D(1, strides=strides)(x) if strides > 1 else x
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(before)
    x = _pad(_relu(_norm(x, f"{name}_1_bn"), f"{name}_1_relu"), 1, f"{name}_2_pad")
    x = layers.Conv2D(filters, 3, strides=strides, use_bias=False, name=f"{name}_2_conv")(x)
    x = _relu(_norm(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return layers.Add(name=f"{name}_out")([shortcut, x])


def resnet(version, depth, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name):
    """ResNet of `version` 1 or 2 with the blocks of `DEPTHS[depth]`; see `applications.ResNet50`."""
    start = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=224)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(_pad(start, 3, "conv1_pad"))
    if version == 1:
        x = _relu(_norm(x, "conv1_bn"), "conv1_relu")
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(_pad(x, 1, "pool1_pad"))
    blocks = DEPTHS[depth]
    for stage, (filters, count) in enumerate(zip((64, 128, 256, 512), blocks), 2):
        for i in range(1, count + 1):
            name_ = f"conv{stage}_block{i}"
            if version == 1:
                x = _block1(x, filters, 2 if stage > 2 and i == 1 else 1, i == 1, name_)
            else:
                x = _block2(x, filters, 2 if stage < 5 and i == count else 1, i == 1, name_)
    if version == 2:
        x = _relu(_norm(x, "post_bn"), "post_relu")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling)
    stem = f"resnet{depth}{'v2' if version == 2 else ''}_weights_tf_dim_ordering_tf_kernels"
    return finish(x, start, input_tensor, name, weights, include_top, (f"{stem}.h5", f"{stem}_notop.h5"))
