"""NASNet-A: cells that a search has found, from separable convolutions and pooling over the last two results."""
from functools import partial

from .. import config, layers
from ..utils.naming import name_scope
from .common import SHARED, finish, pooled, same_even, standard_image, variant
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("tf")
__all__ = ["NASNetLarge", "NASNetMobile", "decode_predictions", "preprocess_input"]

# Filters before the classifier, cells of a kind in a row, filters of the stem, whether a reduction's second input is left out,
# size of the image, file.
_VARIANTS = {"Mobile": (1056, 4, 32, False, 224, "nasnet_mobile"), "Large": (4032, 6, 96, True, 331, "nasnet_large")}


def _norm(x, name):
    return layers.BatchNormalization(axis=-1, momentum=0.9997, epsilon=1e-3, name=name)(x)


def _relu(x, name=None):
    return layers.Activation("relu", name=name)(x)


def _conv(x, filters, name):
    return layers.Conv2D(filters, 1, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)


def _separable(x, filters, window, name, strides=1):
    """Twice relu, separable convolution and normalization; the first has the strides."""
    with name_scope(f"separable_conv_block_{name}"):
        x = _relu(x)
        if strides == 2:
            x = layers.ZeroPadding2D(same_even(x, window), name=f"separable_conv_1_pad_{name}")(x)
        x = layers.SeparableConv2D(filters, window, strides=strides, padding="valid" if strides == 2 else "same", use_bias=False,
                                   name=f"separable_conv_1_{name}")(x)
        x = _relu(_norm(x, f"separable_conv_1_bn_{name}"))
        x = layers.SeparableConv2D(filters, window, padding="same", use_bias=False, name=f"separable_conv_2_{name}")(x)
        return _norm(x, f"separable_conv_2_bn_{name}")


def _adjusted(p, x, filters, block):
    """The result before the last one, p, with the size of x and as many filters as asked for."""
    with name_scope("adjust_block"):
        if p is None:
            return x
        if p.shape[-2] != x.shape[-2]:
            with name_scope(f"adjust_reduction_block_{block}"):
                p = _relu(p, f"adjust_relu_1_{block}")
                a = layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_1_{block}")(p)
                a = _conv(a, filters // 2, f"adjust_conv_1_{block}")
                b = layers.Cropping2D(((1, 0), (1, 0)))(layers.ZeroPadding2D(((0, 1), (0, 1)))(p))  # one pixel further
                b = layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_2_{block}")(b)
                b = _conv(b, filters // 2, f"adjust_conv_2_{block}")
                return _norm(layers.concatenate([a, b], axis=-1), f"adjust_bn_{block}")
        if p.shape[-1] != filters:
            with name_scope(f"adjust_projection_block_{block}"):
                return _norm(_conv(_relu(p), filters, f"adjust_conv_projection_{block}"), f"adjust_bn_{block}")
        return p


def _normal(x, p, filters, block):
    """A cell that keeps the size; its result and the input for the next cell's p."""
    def average(v, name):
        return layers.AveragePooling2D(3, strides=1, padding="same", name=f"normal_{name}_{block}")(v)

    def add(a, b, i):
        return layers.add([a, b], name=f"normal_add_{i}_{block}")

    with name_scope(f"normal_A_block_{block}"):
        p = _adjusted(p, x, filters, block)
        h = _norm(_conv(_relu(x), filters, f"normal_conv_1_{block}"), f"normal_bn_1_{block}")
        with name_scope("block_1"):
            a = _separable(h, filters, 5, f"normal_left1_{block}")
            x1 = add(a, _separable(p, filters, 3, f"normal_right1_{block}"), 1)
        with name_scope("block_2"):
            a = _separable(p, filters, 5, f"normal_left2_{block}")
            x2 = add(a, _separable(p, filters, 3, f"normal_right2_{block}"), 2)
        with name_scope("block_3"):
            x3 = add(average(h, "left3"), p, 3)
        with name_scope("block_4"):
            x4 = add(average(p, "left4"), average(p, "right4"), 4)
        with name_scope("block_5"):
            x5 = add(_separable(h, filters, 3, f"normal_left5_{block}"), h, 5)
        return layers.concatenate([p, x1, x2, x3, x4, x5], axis=-1, name=f"normal_concat_{block}"), x


def _reduction(x, p, filters, block):
    """A cell that halves the size; its result and the input for the next cell's p."""
    with name_scope(f"reduction_A_block_{block}"):
        p = _adjusted(p, x, filters, block)
        h = _norm(_conv(_relu(x), filters, f"reduction_conv_1_{block}"), f"reduction_bn_1_{block}")
        padded = layers.ZeroPadding2D(same_even(h, 3), name=f"reduction_pad_1_{block}")(h)
        with name_scope("block_1"):
            a = _separable(h, filters, 5, f"reduction_left1_{block}", 2)
            b = _separable(p, filters, 7, f"reduction_right1_{block}", 2)
            x1 = layers.add([a, b], name=f"reduction_add_1_{block}")
        with name_scope("block_2"):
            a = layers.MaxPooling2D(3, strides=2, name=f"reduction_left2_{block}")(padded)
            b = _separable(p, filters, 7, f"reduction_right2_{block}", 2)
            x2 = layers.add([a, b], name=f"reduction_add_2_{block}")
        with name_scope("block_3"):
            a = layers.AveragePooling2D(3, strides=2, name=f"reduction_left3_{block}")(padded)
            b = _separable(p, filters, 5, f"reduction_right3_{block}", 2)
            x3 = layers.add([a, b], name=f"reduction_add3_{block}")
        with name_scope("block_4"):
            a = layers.AveragePooling2D(3, strides=1, padding="same", name=f"reduction_left4_{block}")(x1)
            x4 = layers.add([x2, a])
        with name_scope("block_5"):
            a = _separable(x1, filters, 3, f"reduction_left4_{block}")
            b = layers.MaxPooling2D(3, strides=2, name=f"reduction_right5_{block}")(padded)
            x5 = layers.add([a, b], name=f"reduction_add4_{block}")
        return layers.concatenate([x2, x3, x4, x5], axis=-1, name=f"reduction_concat_{block}"), x


def _nasnet(which, input_shape, include_top, weights, input_tensor, pooling, classes, classifier_activation, name):
    if config.image_data_format() == "channels_first":
        raise ValueError(f"[{name}] NASNet does not support the `channels_first` image data format")
    last, cells, stem, skip, size, file = _VARIANTS[which]
    if which == "Mobile" and not include_top and input_shape is None:
        input_shape = (224, 224, 3)
    start = standard_image(
        name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size=size)
    x = layers.Conv2D(stem, 3, strides=2, use_bias=False, kernel_initializer="he_normal", name="stem_conv1")(start)
    x, p = _norm(x, "stem_bn1"), None
    filters = last // 24
    x, p = _reduction(x, p, filters // 4, "stem_1")
    x, p = _reduction(x, p, filters // 2, "stem_2")
    for stage in range(3):
        if stage:
            x, before = _reduction(x, p, filters * 2**stage, f"reduce_{stage * cells}")
            p = p if skip else before
        for i in range(cells):
            x, p = _normal(x, p, filters * 2**stage, f"{stage * cells + i + (stage > 0)}")
    x = _relu(x)
    if include_top:
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(layers.GlobalAveragePooling2D()(x))
    else:
        x = pooled(x, pooling, named=False)
    return finish(x, start, input_tensor, name, weights, include_top, (f"{file}.h5", f"{file}_no_top.h5"))


for _which, _variant in _VARIANTS.items():
    globals()[f"NASNet{_which}"] = variant(
        f"NASNet{_which}", f"NASNet-A {_which} of Zoph et al. 2018 (arXiv 1707.07012), for images of {_variant[4]} x {_variant[4]}.",
        partial(_nasnet, _which), {"input_shape": None, **SHARED, "name": _variant[5]})
