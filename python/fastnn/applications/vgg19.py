"""VGG19: 3 x 3 convolutions and dense layers."""
from ._vgg import vgg
from .common import documented
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("caffe")


@documented
def VGG19(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
          classifier_activation="softmax", name="vgg19"):  # fmt: skip
    """VGG with 19 layers, of Simonyan and Zisserman 2014 (arXiv 1409.1556), for images of 224 x 224."""
    return vgg((2, 2, 4, 4, 4), include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
