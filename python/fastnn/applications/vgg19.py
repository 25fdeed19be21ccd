"""VGG19: 3 x 3 convolutions and dense layers."""
from functools import partial

from ._vgg import vgg
from .common import SHARED, variant
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("caffe")

VGG19 = variant("VGG19", "VGG with 19 layers, of Simonyan and Zisserman 2014 (arXiv 1409.1556), for images of 224 x 224.",
                partial(vgg, (2, 2, 4, 4, 4)), {**SHARED, "name": "vgg19"})
