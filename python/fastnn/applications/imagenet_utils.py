"""What goes into a network trained on ImageNet, and what comes out: pixels scaled its way, classes by name."""
import json
import os

import numpy as np

from .. import config, ops
from ..tensor import to_numpy

_MODES = ("caffe", "tf", "torch")
_MEAN = (0.485, 0.456, 0.406)  # of the red, green and blue of ImageNet, of 1
_STDDEV = (0.229, 0.224, 0.225)
_MEAN_BGR = (103.939, 116.779, 123.68)  # of 255
_class_index = None


def preprocess_input(x, data_format=None, mode="caffe"):
    """Scales pixels the way that the weights expect.

    tf: x / 127.5 - 1. torch: (x / 255 - mean) / stddev. caffe: RGB becomes BGR, minus its mean.

    Args:
        x: image or batch of images, (..., h, w, 3) or (..., 3, h, w), from 0 to 255; array, tensor or symbolic.
            A writable float array is overwritten.
        data_format: "channels_last", "channels_first", or None for that of `fastnn.config`.
        mode: "caffe", "tf" or "torch".

    Returns:
        Array for an array (float32 for integers), otherwise a tensor.

    Raises:
        ValueError: an unknown mode or data_format.
    """
    if mode not in _MODES:
        raise ValueError(f"[preprocess_input] Expected mode to be one of {_MODES}. Received: mode={mode!r}")
    data_format = config.image_data_format() if data_format is None else data_format
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError("[preprocess_input] Expected data_format to be one of `channels_first` or `channels_last`. "
                         f"Received: data_format={data_format!r}")
    axis = len(x.shape) - (3 if data_format == "channels_first" else 1)
    if isinstance(x, np.ndarray):
        return _scale_array(x, axis, mode)
    if mode == "tf":
        return x / 127.5 - 1.0
    shape = [1] * len(x.shape)
    shape[axis] = 3
    if mode == "torch":
        return (x / 255.0 - np.reshape(_MEAN, shape).astype("float32")) / np.reshape(_STDDEV, shape).astype("float32")
    return ops.flip(x, axis) - np.reshape(_MEAN_BGR, shape).astype("float32")


def _scale_array(x, axis, mode):
    if x.dtype.kind != "f":
        x = x.astype(config.floatx())
    elif not x.flags.writeable:
        x = x.copy()
    if mode == "tf":
        x /= 127.5
        x -= 1.0
        return x
    shape = [1] * x.ndim
    shape[axis] = 3
    if mode == "torch":
        x /= 255.0
        x -= np.reshape(_MEAN, shape).astype(x.dtype)
        x /= np.reshape(_STDDEV, shape).astype(x.dtype)
        return x
    x = np.flip(x, axis)
    x -= np.reshape(_MEAN_BGR, shape).astype(x.dtype)
    return x


def cache_folder():
    """Where Keras keeps what it downloaded: `$KERAS_HOME/models`, by default `~/.keras/models`."""
    return os.path.join(os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras"), "models")


def decode_predictions(preds, top=5):
    """The names of the most probable ImageNet classes.

    Args:
        preds: (n, 1000), probabilities.
        top: how many classes of each.

    Returns:
        List of n lists of `top` tuples (identifier, name, probability), most probable first.

    Raises:
        ValueError: another shape.
        FileNotFoundError: `imagenet_class_index.json` is not in Keras's cache; nothing is downloaded.
    """
    global _class_index
    if len(preds.shape) != 2 or preds.shape[1] != 1000:
        raise ValueError("[decode_predictions] expects a batch of predictions (i.e. a 2D array of shape (samples, 1000)). "
                         f"Received: preds of shape {tuple(preds.shape)}")
    if _class_index is None:
        path = os.path.join(cache_folder(), "imagenet_class_index.json")
        try:
            with open(path, encoding="utf-8") as file:
                _class_index = json.load(file)
        except FileNotFoundError:
            raise FileNotFoundError(
                "[decode_predictions] needs the names of the classes, and downloads nothing: put "
                f"imagenet_class_index.json, as Keras keeps it, at {path}") from None
    preds = to_numpy(preds) if not isinstance(preds, np.ndarray) else preds
    result = []
    for row in preds:
        best = np.argsort(-row, kind="stable")[:top]
        result.append([(*_class_index[str(i)], row[i]) for i in best])
    return result


def for_mode(mode):
    """The two functions as a module of `applications` has them: `preprocess_input` with its mode, and `decode_predictions`."""

    def preprocess(x, data_format=None):
        return preprocess_input(x, data_format=data_format, mode=mode)

    preprocess.__name__ = preprocess.__qualname__ = "preprocess_input"
    preprocess.__doc__ = f'`imagenet_utils.preprocess_input` with mode="{mode}": see there.'
    return preprocess, decode_predictions


def identity(x, data_format=None):
    """Returns `x`: the scaling is a layer of the model."""
    return x


identity.__name__ = identity.__qualname__ = "preprocess_input"
