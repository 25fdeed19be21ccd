"""ResNetV2-50, 101 and 152."""
from ._resnet import resnet
from .common import documented
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("tf")


@documented
def ResNet50V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
               classifier_activation="softmax", name="resnet50v2"):  # fmt: skip
    """ResNetV2 with 50 layers, of He et al. 2016 (arXiv 1603.05027), for images of 224 x 224."""
    return resnet(2, "50", include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def ResNet101V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="resnet101v2"):  # fmt: skip
    """ResNetV2 with 101 layers, of He et al. 2016 (arXiv 1603.05027), for images of 224 x 224."""
    return resnet(2, "101", include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def ResNet152V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="resnet152v2"):  # fmt: skip
    """ResNetV2 with 152 layers, of He et al. 2016 (arXiv 1603.05027), for images of 224 x 224."""
    return resnet(2, "152", include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
