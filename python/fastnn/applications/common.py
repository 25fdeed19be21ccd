"""What the applications share: the checks of their arguments, the image they start from, the head they end in."""
import inspect
import os

from .. import activations, config, layers
from ..models import Model
from ..symbolic import KerasTensor
from ..utils.warning import warn
from .imagenet_utils import cache_folder

ARGUMENTS = """
    Args:
        include_top: bool; end in the classifier.
        weights: None for new ones, a path of a `.weights.h5`, `.h5`, `.keras` or `.safetensors` file, or
            "imagenet" for the file that Keras keeps in its cache folder; nothing is downloaded.
        input_tensor: KerasTensor to use as the image.
        input_shape: (height, width, channels), to be given only without the top or with new weights.
        pooling: without the top, None for the last feature maps, "avg" or "max" for their mean or maximum.
        classes: of the classifier.
        classifier_activation: of the classifier; None for logits.
        name: of the model.

    Returns:
        A functional model.

    Raises:
        ValueError: arguments that do not go together.
        FileNotFoundError: weights that are not there, with the place where they are looked for.
"""


def documented(function):
    """Adds the arguments that all applications have to a docstring that opens with one line."""
    first, _, rest = (function.__doc__ or "").partition("\n")
    function.__doc__ = f"{first}\n{rest.rstrip()}\n{ARGUMENTS}" if rest.strip() else f"{first}\n{ARGUMENTS}"
    return function


# The arguments in the order that most have, with their defaults.
SHARED = {"include_top": True, "weights": "imagenet", "input_tensor": None, "input_shape": None, "pooling": None, "classes": 1000,
          "classifier_activation": "softmax"}


def variant(public, doc, build, defaults):
    """A public function `public`, which is `build` with the arguments `defaults`, {name: default} in their order."""
    signature = inspect.Signature([
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=value) for name, value in defaults.items()])

    def make(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return build(**bound.arguments)

    make.__name__ = make.__qualname__ = public
    make.__module__ = inspect.currentframe().f_back.f_globals["__name__"]
    make.__doc__, make.__signature__ = doc, signature
    return documented(make)


def channel_axis():
    """1 or 3, by `fastnn.config.image_data_format()`."""
    return 1 if config.image_data_format() == "channels_first" else 3


def last_or_first():
    """The same axis, the last one as -1: some of Keras's configs have it so."""
    return 1 if channel_axis() == 1 else -1


def rows_and_columns(shape):
    """Height and width in a shape without batch."""
    return tuple(shape[1:]) if channel_axis() == 1 else tuple(shape[:2])


def check_weights(name, weights, include_top, classes, classifier_activation):
    """Raises unless `weights` is None, "imagenet" or a file, and the top is that of the file."""
    if weights is not None and weights != "imagenet" and not os.path.exists(weights):
        raise ValueError(
            f"[{name}] The `weights` argument should be either `None` (random initialization), `imagenet` (pre-training "
            f"on ImageNet), or the path to the weights file to be loaded. Received: weights={weights!r}")
    if weights == "imagenet" and include_top and classes != 1000:
        raise ValueError(f"[{name}] If using `weights='imagenet'` with `include_top=True`, `classes` should be 1000. "
                         f"Received: classes={classes}")
    if weights is not None and include_top and activations.get(classifier_activation) not in (
            activations.softmax, activations.linear):
        raise ValueError(
            f"[{name}] Only `None` and `softmax` activations are allowed for the `classifier_activation` argument when "
            f"using pretrained weights, with `include_top=True`. Received: classifier_activation={classifier_activation!r}")


def image_shape(name, input_shape, size, least, include_top, weights):
    """The shape of the image, without batch.

    Args:
        input_shape: the user's, or None.
        size: height and width by default.
        least: smallest height and width.
    """
    first = channel_axis() == 1
    channels = 3
    if weights != "imagenet" and input_shape is not None and len(input_shape) == 3:
        channels = input_shape[0 if first else -1]
        if channels not in (1, 3):
            warn(f"[{name}] This model usually expects 1 or 3 input channels. "
                 f"Received: input_shape={tuple(input_shape)}")
    default = (channels, size, size) if first else (size, size, channels)
    if input_shape is None:
        if include_top:
            return default
        return (3, None, None) if first else (None, None, 3)
    input_shape = tuple(input_shape)
    if weights == "imagenet" and include_top:
        if input_shape != default:
            raise ValueError(f"[{name}] When setting `include_top=True` and loading `imagenet` weights, `input_shape` "
                             f"should be {default}. Received: input_shape={input_shape}")
        return default
    if len(input_shape) != 3:
        raise ValueError(f"[{name}] `input_shape` must be a tuple of three integers. Received: input_shape={input_shape}")
    if weights == "imagenet" and input_shape[0 if first else -1] != 3:
        raise ValueError(f"[{name}] The input must have 3 channels. Received: input_shape={input_shape}")
    if any(n is not None and n < least for n in rows_and_columns(input_shape)):
        raise ValueError(f"[{name}] Input size must be at least {least}x{least}. Received: input_shape={input_shape}")
    if include_top and None in input_shape:
        raise ValueError(f"[{name}] If `include_top` is True, you should specify a static `input_shape`. "
                         f"Received: input_shape={input_shape}")
    return input_shape


def image(input_tensor, shape):
    """The symbolic image: `input_tensor`, or a new Input."""
    if input_tensor is None:
        return layers.Input(shape=shape)
    if isinstance(input_tensor, KerasTensor):
        return input_tensor
    raise ValueError(f"[applications] input_tensor must be a KerasTensor. Received: input_tensor={input_tensor!r}")


def standard_image(name, include_top, weights, input_tensor, input_shape, classes, classifier_activation, size, least=32):
    """Checks the arguments and returns the symbolic image."""
    check_weights(name, weights, include_top, classes, classifier_activation)
    return image(input_tensor, image_shape(name, input_shape, size, least, include_top, weights))


def pooled(x, pooling, named=True):
    """The end without the top: the features as they are, or their mean or maximum over the image."""
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool" if named else None)(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool" if named else None)(x)
    return x


def source_inputs(x):
    """The Inputs that a symbolic tensor comes from, in the order of its graph."""
    found, seen, stack = [], set(), [x]
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        node = x.history.operation._inbound_nodes[x.history.node_index]
        if node.is_input:
            found.append(x)
        stack.extend(reversed(node.input_tensors))
    return found


def finish(x, start, input_tensor, name, weights, include_top, files):
    """The model from the image to `x`, with its weights.

    Args:
        start: the symbolic image.
        files: names of the files with ImageNet weights in Keras's cache: with the top, without it.
    """
    inputs = start
    if input_tensor is not None:
        inputs = source_inputs(input_tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
    model = Model(inputs, x, name=name)
    if weights == "imagenet":
        path = os.path.join(cache_folder(), files[0 if include_top else 1])
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"[{name}] the ImageNet weights are not in Keras's cache, and nothing is downloaded. Put the file at {path} "
                "(Keras puts it there when it makes the same model with weights='imagenet'), or pass its path as `weights`.")
        model.load_weights(path)
    elif weights is not None:
        model.load_weights(weights)
    return model


def same_even(x, kernel):
    """Zero padding ((top, bottom), (left, right)) with which a stride-2 "valid" window of `kernel` covers as "same" does."""
    rows, columns = rows_and_columns(x.shape[1:])
    half = kernel // 2
    if rows is None:
        return ((half - 1, half), (half - 1, half))
    return ((half - 1 + rows % 2, half), (half - 1 + (columns or 0) % 2, half))


def round_to(value, divisor=8):
    """`value` as a multiple of `divisor`, at least one of it and not less than nine tenths of `value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return int(rounded + divisor if rounded < 0.9 * value else rounded)
