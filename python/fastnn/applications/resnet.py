"""ResNet-50, 101 and 152."""
from functools import partial

from ._resnet import resnet
from .common import SHARED, variant
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("caffe")


def _variant(depth):
    return variant(f"ResNet{depth}", f"ResNet with {depth} layers, of He et al. 2015 (arXiv 1512.03385), for images of 224 x 224.",
                   partial(resnet, 1, depth), {**SHARED, "name": f"resnet{depth}"})


ResNet50, ResNet101, ResNet152 = map(_variant, ("50", "101", "152"))
