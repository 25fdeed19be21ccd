"""ResNetV2-50, 101 and 152."""
from functools import partial

from ._resnet import resnet
from .common import SHARED, variant
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("tf")


def _variant(depth):
    return variant(f"ResNet{depth}V2", f"ResNetV2 with {depth} layers, of He et al. 2016 (arXiv 1603.05027), for images of 224 x 224.",
                   partial(resnet, 2, depth), {**SHARED, "name": f"resnet{depth}v2"})


ResNet50V2, ResNet101V2, ResNet152V2 = map(_variant, ("50", "101", "152"))
