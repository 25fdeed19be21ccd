"""Inception v3: blocks of parallel convolutions, large windows factored into rows and columns."""
from .. import layers
from .common import channel_axis, documented, finish, pooled, standard_image
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("tf")
_FILES = ("inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
          "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5")


@documented
def InceptionV3(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="inception_v3"):  # fmt: skip
    """Inception v3 of Szegedy et al. 2015 (arXiv 1512.00567), for images of 299 x 299, at least 75 x 75."""
    start = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=299, least=75)
    axis = channel_axis()

    def conv(x, filters, rows, columns, padding="same", strides=1):
        x = layers.Conv2D(filters, (rows, columns), strides=strides, padding=padding, use_bias=False)(x)
        return layers.Activation("relu")(layers.BatchNormalization(axis=axis, scale=False)(x))

    def chain(x, *steps):
        """`conv` after `conv`; a step is (filters, rows, columns)."""
        for step in steps:
            x = conv(x, *step)
        return x

    def pool(x, filters):
        return conv(layers.AveragePooling2D(3, strides=1, padding="same")(x), filters, 1, 1)

    def joined(branches, name):
        return layers.concatenate(branches, axis=axis, name=name)

    x = conv(start, 32, 3, 3, strides=2, padding="valid")
    x = conv(x, 32, 3, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(conv(x, 64, 3, 3))
    x = conv(x, 80, 1, 1, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(conv(x, 192, 3, 3, padding="valid"))

    for i, filters in enumerate((32, 64, 64)):
        x = joined([conv(x, 64, 1, 1), chain(x, (48, 1, 1), (64, 5, 5)), chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
                    pool(x, filters)], f"mixed{i}")

    a = conv(x, 384, 3, 3, strides=2, padding="valid")
    b = conv(chain(x, (64, 1, 1), (96, 3, 3)), 96, 3, 3, strides=2, padding="valid")
    x = joined([a, b, layers.MaxPooling2D(3, strides=2)(x)], "mixed3")

    for i, n in ((4, 128), (5, 160), (6, 160), (7, 192)):
        x = joined([
            conv(x, 192, 1, 1),
            chain(x, (n, 1, 1), (n, 1, 7), (192, 7, 1)),
            chain(x, (n, 1, 1), (n, 7, 1), (n, 1, 7), (n, 7, 1), (192, 1, 7)),
            pool(x, 192)], f"mixed{i}")

    a = conv(conv(x, 192, 1, 1), 320, 3, 3, strides=2, padding="valid")
    b = conv(chain(x, (192, 1, 1), (192, 1, 7), (192, 7, 1)), 192, 3, 3, strides=2, padding="valid")
    x = joined([a, b, layers.MaxPooling2D(3, strides=2)(x)], "mixed8")

    for i in (0, 1):
        a = conv(x, 320, 1, 1)
        b = conv(x, 384, 1, 1)
        b = joined([conv(b, 384, 1, 3), conv(b, 384, 3, 1)], f"mixed9_{i}")
        c = chain(x, (448, 1, 1), (384, 3, 3))
        c = joined([conv(c, 384, 1, 3), conv(c, 384, 3, 1)], None)
        x = joined([a, b, c, pool(x, 192)], f"mixed{9 + i}")

    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling, named=False)
    return finish(x, start, input_tensor, name, weights, include_top, _FILES)
