"""The networks of VGG; `vgg16` and `vgg19` hold the public names."""
from .. import layers
from .common import finish, pooled, standard_image


def vgg(counts, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name):
    """VGG with `counts` convolutions in its five blocks; see `applications.VGG16`."""
    start = x = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=224)
    for block, (filters, count) in enumerate(zip((64, 128, 256, 512, 512), counts), 1):
        for i in range(1, count + 1):
            x = layers.Conv2D(filters, 3, activation="relu", padding="same", name=f"block{block}_conv{i}")(x)
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(4096, activation="relu", name="fc1")(x)
        x = layers.Dense(4096, activation="relu", name="fc2")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    else:
        x = pooled(x, pooling, named=False)
    stem = f"vgg{sum(counts) + 3}_weights_tf_dim_ordering_tf_kernels"
    return finish(x, start, input_tensor, name, weights, include_top, (f"{stem}.h5", f"{stem}_notop.h5"))
