"""What the blocks of both versions of EfficientNet are made of."""
from .. import layers
from .common import channel_axis

CONV = {"class_name": "VarianceScaling", "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}}
DENSE = {"class_name": "VarianceScaling", "config": {"scale": 1.0 / 3.0, "mode": "fan_out", "distribution": "uniform"}}


def norm(x, name, activation=None, momentum=0.99):
    """Batch normalization, and swish where `activation` is a name for it."""
    x = layers.BatchNormalization(axis=channel_axis(), momentum=momentum, name=name)(x)
    return x if activation is None else layers.Activation("swish", name=activation)(x)


def conv(x, filters, name, kernel=1, **options):
    """A "same" convolution with the networks' initial values."""
    return layers.Conv2D(filters, kernel, padding="same", kernel_initializer=CONV, name=name, **options)(x)


def excited(x, name, filters, squeezed):
    """Squeeze and excitation: the channels of x, each times a number that all of them decide through `squeezed` features."""
    shape = (filters, 1, 1) if channel_axis() == 1 else (1, 1, filters)
    y = layers.Reshape(shape, name=f"{name}se_reshape")(layers.GlobalAveragePooling2D(name=f"{name}se_squeeze")(x))
    y = conv(y, squeezed, f"{name}se_reduce", activation="swish")
    y = conv(y, filters, f"{name}se_expand", activation="sigmoid")
    return layers.multiply([x, y], name=f"{name}se_excite")


def joined(x, start, name, drop):
    """x added to the start of its block; while training, whole samples of it are dropped."""
    if drop > 0:
        x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return layers.add([x, start], name=f"{name}add")
