"""`.h5` files in the layout of Keras 2, as Keras 3 writes them: one group of weights for each layer."""
import io
import json
import os

import numpy as np

from .files import atomic_write
from .serialization import serialize_keras_object

_MAX_ATTRIBUTE = 64_512  # bytes that HDF5 keeps of an attribute


def save_model_to_hdf5(model, filepath, overwrite=True, include_optimizer=True):
    """Writes a model to an `.h5` file: architecture, weights, what it was compiled with, state of the optimizer.

    Args:
        model: Model with a config.
        filepath: path.
        overwrite: False raises FileExistsError if the file exists.
        include_optimizer: bool; with what the model was compiled with, and the state of its optimizer.
    """
    import h5py

    from .model_files import KERAS_VERSION, check_overwrite

    path = os.fspath(filepath)
    check_overwrite(path, overwrite, "save_model")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = KERAS_VERSION, "tensorflow"
        file.attrs["model_config"] = _json({"class_name": type(model).__name__, "config": model.get_config()})
        if include_optimizer and model.compiled and model.optimizer is not None:
            file.attrs["training_config"] = _json(_training_config(model))
        group = file.create_group("model_weights")
        _write_names(group, "layer_names", [layer.name for layer in model.layers])
        group.attrs["keras_version"], group.attrs["backend"] = KERAS_VERSION, "tensorflow"
        for layer in model.layers:
            _write(group.create_group(layer.name), [*layer.trainable_weights, *layer.non_trainable_weights])
        _write(group.create_group("top_level_model_weights"), [*model._trainable_variables, *model._non_trainable_variables])
        if include_optimizer and getattr(model, "optimizer", None) is not None and model.optimizer.built:
            _write(file.create_group("optimizer_weights"), model.optimizer.variables)
    atomic_write(path, [buffer.getbuffer()])


def _json(value):
    return json.dumps(serialize_keras_object(value), default=serialize_keras_object)


def _training_config(model):
    config = serialize_keras_object(model.get_compile_config() or {})
    config = {key: value for key, value in config.items() if key != "optimizer"}
    return {**config, "optimizer_config": {"class_name": type(model.optimizer).__name__,
                                           "config": model.optimizer.get_config()}}


def _write(group, variables):
    _write_names(group, "weight_names", [variable.path for variable in variables])
    for variable in variables:
        group.create_dataset(variable.path, data=np.asarray(variable.numpy()))


def _write_names(group, name, values):
    """A list of strings as an attribute, cut into several if it is long."""
    data = np.array([value.encode() for value in values])
    parts = max(1, -(-data.nbytes // _MAX_ATTRIBUTE))
    if parts == 1:
        group.attrs[name] = data if len(values) else np.zeros((0,), "S1")
        return
    parts *= 2  # of uneven lengths
    for i, part in enumerate(np.array_split(data, parts)):
        group.attrs[f"{name}{i}"] = part
