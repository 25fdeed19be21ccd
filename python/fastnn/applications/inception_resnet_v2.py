"""Inception-ResNet v2: Inception's parallel convolutions, added to what they started from."""
from .. import layers
from .common import channel_axis, documented, finish, pooled, standard_image
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("tf")
_FILES = ("inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5",
          "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5")
# The branches of the residual blocks; a step is (filters, window).
_BRANCHES = {
    "block35": (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3))),
    "block17": (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1)))),
    "block8": (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1)))),
}


class CustomScaleLayer(layers.Layer):
    """x + scale * y of a pair [x, y].

    Args:
        scale: float.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        return inputs[0] + inputs[1] * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def _conv(x, filters, window, strides=1, padding="same", name=None):
    x = layers.Conv2D(filters, window, strides=strides, padding=padding, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(axis=channel_axis(), scale=False, name=None if name is None else f"{name}_bn")(x)
    return layers.Activation("relu", name=None if name is None else f"{name}_ac")(x)


def _chain(x, *steps):
    for step in steps:
        x = _conv(x, *step)
    return x


def _residual(x, kind, index, scale, activation="relu"):
    name = f"{kind}_{index}"
    branches = [_chain(x, *steps) for steps in _BRANCHES[kind]]
    mixed = layers.Concatenate(axis=channel_axis(), name=f"{name}_mixed")(branches)
    up = layers.Conv2D(x.shape[channel_axis()], 1, padding="same", name=f"{name}_conv")(mixed)
    x = CustomScaleLayer(scale)([x, up])
    return x if activation is None else layers.Activation(activation, name=f"{name}_ac")(x)


@documented
def InceptionResNetV2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                      classifier_activation="softmax", name="inception_resnet_v2"):  # fmt: skip
    """Inception-ResNet v2 of Szegedy et al. 2016 (arXiv 1602.07261), for images of 299 x 299, at least 75 x 75."""
    start = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=299, least=75)

    def joined(branches, name):
        return layers.Concatenate(axis=channel_axis(), name=name)(branches)

    half = {"strides": 2, "padding": "valid"}
    x = _conv(start, 32, 3, **half)
    x = _conv(_conv(x, 32, 3, padding="valid"), 64, 3)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = _conv(_conv(x, 80, 1, padding="valid"), 192, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(x)

    branches = [_conv(x, 96, 1), _chain(x, (48, 1), (64, 5)), _chain(x, (64, 1), (96, 3), (96, 3))]
    x = joined([*branches, _conv(layers.AveragePooling2D(3, strides=1, padding="same")(x), 64, 1)], "mixed_5b")
    for i in range(1, 11):
        x = _residual(x, "block35", i, 0.17)

    branches = [_conv(x, 384, 3, **half), _conv(_chain(x, (256, 1), (256, 3)), 384, 3, **half)]
    x = joined([*branches, layers.MaxPooling2D(3, strides=2)(x)], "mixed_6a")
    for i in range(1, 21):
        x = _residual(x, "block17", i, 0.1)

    branches = [_conv(_conv(x, 256, 1), 384, 3, **half), _conv(_conv(x, 256, 1), 288, 3, **half),
                _conv(_chain(x, (256, 1), (288, 3)), 320, 3, **half)]
    x = joined([*branches, layers.MaxPooling2D(3, strides=2)(x)], "mixed_7a")
    for i in range(1, 11):
        x = _residual(x, "block8", i, *((0.2,) if i < 10 else (1.0, None)))
    x = _conv(x, 1536, 1, name="conv_7b")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling, named=False)
    return finish(x, start, input_tensor, name, weights, include_top, _FILES)
