"""Networks of the literature, with Keras's arguments, layer names and weights. Nothing is ever downloaded."""
import importlib

_MODULES = {
    "xception": ["Xception"],
    "inception_v3": ["InceptionV3"],
    "resnet": ["ResNet50", "ResNet101", "ResNet152"],
    "resnet50": [],
    "resnet_v2": ["ResNet50V2", "ResNet101V2", "ResNet152V2"],
    "vgg16": ["VGG16"],
    "vgg19": ["VGG19"],
    "mobilenet": ["MobileNet"],
    "mobilenet_v2": ["MobileNetV2"],
    "mobilenet_v3": ["MobileNetV3Small", "MobileNetV3Large"],
    "densenet": ["DenseNet121", "DenseNet169", "DenseNet201"],
    "efficientnet": [f"EfficientNetB{i}" for i in range(8)],
    "efficientnet_v2": [f"EfficientNetV2{which}" for which in ("B0", "B1", "B2", "B3", "S", "M", "L")],
    "convnext": [f"ConvNeXt{which}" for which in ("Tiny", "Small", "Base", "Large", "XLarge")],
    "inception_resnet_v2": ["InceptionResNetV2"],
    "nasnet": ["NASNetMobile", "NASNetLarge"],
    "imagenet_utils": [],
}
_NAMES = {name: module for module, names in _MODULES.items() for name in names}
__all__ = [*_NAMES, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
