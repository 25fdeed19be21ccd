"""DenseNet: every layer of a block sees the outputs of all before it."""
from functools import partial

from .. import layers
from .common import SHARED, channel_axis, finish, pooled, standard_image, variant
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("torch")
_GROWTH = 32  # channels that each layer adds


def _densenet(blocks, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name):
    """DenseNet with `blocks` layers in each of its four blocks."""
    start = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=224)
    axis = channel_axis()

    def norm_relu(x, norm, relu):
        x = layers.BatchNormalization(axis=axis, epsilon=1.001e-5, name=norm)(x)
        return layers.Activation("relu", name=relu)(x)

    x = layers.ZeroPadding2D(((3, 3), (3, 3)))(start)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = layers.ZeroPadding2D(((1, 1), (1, 1)))(norm_relu(x, "conv1_bn", "conv1_relu"))
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, count in enumerate(blocks, 2):
        for i in range(1, count + 1):
            name_ = f"conv{stage}_block{i}"
            y = norm_relu(x, f"{name_}_0_bn", f"{name_}_0_relu")
            y = layers.Conv2D(4 * _GROWTH, 1, use_bias=False, name=f"{name_}_1_conv")(y)
            y = norm_relu(y, f"{name_}_1_bn", f"{name_}_1_relu")
            y = layers.Conv2D(_GROWTH, 3, padding="same", use_bias=False, name=f"{name_}_2_conv")(y)
            x = layers.Concatenate(axis=axis, name=f"{name_}_concat")([x, y])
        if stage < 5:  # half the channels, half the size
            x = norm_relu(x, f"pool{stage}_bn", f"pool{stage}_relu")
            x = layers.Conv2D(x.shape[axis] // 2, 1, use_bias=False, name=f"pool{stage}_conv")(x)
            x = layers.AveragePooling2D(2, strides=2, name=f"pool{stage}_pool")(x)
    x = norm_relu(x, "bn", "relu")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling)
    stem = f"densenet{sum(blocks) * 2 + 5}_weights_tf_dim_ordering_tf_kernels"
    return finish(x, start, input_tensor, name, weights, include_top, (f"{stem}.h5", f"{stem}_notop.h5"))


def _variant(depth, blocks):
    return variant(f"DenseNet{depth}", f"DenseNet with {depth} layers, of Huang et al. 2016 (arXiv 1608.06993), for images of 224 x 224.",
                   partial(_densenet, blocks), {**SHARED, "name": f"densenet{depth}"})


DenseNet121 = _variant(121, (6, 12, 24, 16))
DenseNet169 = _variant(169, (6, 12, 32, 32))
DenseNet201 = _variant(201, (6, 12, 48, 32))
