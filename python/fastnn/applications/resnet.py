"""ResNet-50, 101 and 152."""
from ._resnet import resnet
from .common import documented
from .imagenet_utils import for_mode

preprocess_input, decode_predictions = for_mode("caffe")


@documented
def ResNet50(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
             classifier_activation="softmax", name="resnet50"):  # fmt: skip
    """ResNet with 50 layers, of He et al. 2015 (arXiv 1512.03385), for images of 224 x 224."""
    return resnet(1, "50", include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def ResNet101(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", name="resnet101"):  # fmt: skip
    """ResNet with 101 layers, of He et al. 2015 (arXiv 1512.03385), for images of 224 x 224."""
    return resnet(1, "101", include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)


@documented
def ResNet152(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", name="resnet152"):  # fmt: skip
    """ResNet with 152 layers, of He et al. 2015 (arXiv 1512.03385), for images of 224 x 224."""
    return resnet(1, "152", include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
