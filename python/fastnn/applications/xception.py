"""Xception: depthwise separable convolutions with residual connections."""
from .. import layers
from .common import documented, finish, last_or_first, pooled, standard_image
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("tf")
_FILES = ("xception_weights_tf_dim_ordering_tf_kernels.h5", "xception_weights_tf_dim_ordering_tf_kernels_notop.h5")


@documented
def Xception(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
             classifier_activation="softmax", name="xception"):  # fmt: skip
    """Xception of Chollet 2017 (arXiv 1610.02357), for images of 299 x 299, at least 71 x 71."""
    start = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=299, least=71)
    axis = last_or_first()

    def norm(x, name=None):
        return layers.BatchNormalization(axis=axis, name=name)(x)

    def act(x, name):
        return layers.Activation("relu", name=name)(x)

    def separable(x, filters, name):
        return norm(layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x), f"{name}_bn")

    x = start
    for i, (filters, strides) in enumerate(((32, 2), (64, 1)), 1):
        x = layers.Conv2D(filters, 3, strides=strides, use_bias=False, name=f"block1_conv{i}")(x)
        x = act(norm(x, f"block1_conv{i}_bn"), f"block1_conv{i}_act")

    def halving(x, block, filters):
        """Two separable convolutions and a pooling, beside a strided 1 x 1 convolution."""
        residual = norm(layers.Conv2D(filters[1], 1, strides=2, padding="same", use_bias=False)(x))
        for i, n in enumerate(filters, 1):
            if block > 2 or i > 1:  # the first block follows an activation
                x = act(x, f"block{block}_sepconv{i}_act")
            x = separable(x, n, f"block{block}_sepconv{i}")
        x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"block{block}_pool")(x)
        return layers.add([x, residual])

    for block, filters in ((2, (128, 128)), (3, (256, 256)), (4, (728, 728))):
        x = halving(x, block, filters)
    for block in range(5, 13):
        residual = x
        for i in (1, 2, 3):
            x = separable(act(x, f"block{block}_sepconv{i}_act"), 728, f"block{block}_sepconv{i}")
        x = layers.add([x, residual])
    x = halving(x, 13, (728, 1024))
    for i, filters in ((1, 1536), (2, 2048)):
        x = act(separable(x, filters, f"block14_sepconv{i}"), f"block14_sepconv{i}_act")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling, named=False)
    return finish(x, start, input_tensor, name, weights, include_top, _FILES)
