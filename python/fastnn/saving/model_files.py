"""Whole models in `.keras` files and weights in `.weights.h5` files, as Keras 3 writes and reads them."""
import contextlib
import datetime
import errno
import hashlib
import io
import json
import logging
import os

from ..memory_limit import memory_limit
from ..utils.warning import warn
from ..version import __version__
from . import archive as archives
from .archive import Archive, open_regular
from .files import ModelFileNotFoundError, ModelFormatError, atomic_write
from .h5 import open_h5, write_h5
from .serialization import ObjectSharingScope, SafeModeScope, deserialize_keras_object, serialize_keras_object
from .shards import open_shards, write_shards
from .state import groups_of, load_state, walk

KERAS_VERSION = "3.15.1"  # whose format is written
# Bytes of variables that a file may ask for beyond six times those it holds: an optimizer that was not saved
# has a few for each weight.
SLACK = 64 << 20
_MAX_LAYERS = 10_000
_MAX_DEPTH = 64
_ZIP, _HDF5 = b"PK", b"\x89HDF\r\n\x1a\n"


def save_model(model, filepath, overwrite=True, zipped=None, include_optimizer=True, **kwargs):
    """Writes a model to a `.keras` file: architecture, weights, what it was compiled with, state of the optimizer.

    Args:
        model: Model with a config.
        filepath: path that ends in `.keras`, or in `.h5` or `.hdf5` for the layout of Keras 2; or a binary file object.
        overwrite: False raises FileExistsError if the file exists.
        zipped: None or True; a folder instead of one file could not be written at once or not at all.
        include_optimizer: bool, for `.h5`: also what the model was compiled with.

    Raises:
        ValueError: another ending, zipped is False, or an unknown argument.
        OSError: it cannot be written; an older file is unchanged.
    """
    from ..layers.feature_space import FeatureSpace
    from ..models import Model

    path = filepath if hasattr(filepath, "write") else os.fspath(filepath)
    if "save_format" in kwargs:
        raise ValueError("[save_model] The `save_format` argument is deprecated: the ending of the path decides, `.keras` or "
                         f"`.h5`. Received: save_format={kwargs['save_format']!r}")
    if kwargs:
        raise ValueError(f"[save_model] The following argument(s) are not supported: {sorted(kwargs)}")
    if not isinstance(model, (Model, FeatureSpace)):
        raise ValueError(f"[save_model] model must be a Model or a FeatureSpace. Received: model={model!r}")
    if path is filepath and hasattr(filepath, "write"):
        for chunk in archives.zip_chunks(_members(model)):
            filepath.write(chunk)
        return
    if zipped is not None and not zipped:
        raise ValueError("[save_model] zipped must be True: models are written as one file (and a folder should not end in "
                         f".keras). Received: zipped={zipped!r}")
    if isinstance(path, str) and path.endswith((".h5", ".hdf5")) and not path.endswith(".weights.h5"):
        from .legacy_writer import save_model_to_hdf5

        logging.warning("[save_model] writes the layout of Keras 2, which is legacy. We recommend model.save('model.keras').")
        save_model_to_hdf5(model, path, overwrite, include_optimizer)
        return
    if not isinstance(path, str) or not path.endswith(".keras"):
        raise ValueError("[save_model] Invalid filepath extension for saving: filepath must end with .keras or .h5 (weights "
                         f"alone: save_weights with .weights.h5 or .safetensors). Received: filepath={filepath!r}")
    check_overwrite(path, overwrite, "save_model")
    atomic_write(path, archives.zip_chunks(_members(model)))


def check_overwrite(path, overwrite, op):
    """FileExistsError if the file exists and must not be overwritten."""
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"[{op}] the file exists, and overwrite=False. Received: filepath={path!r}")


def _warn_of_lambdas(model):
    """A warning where a layer's function has no name that the file could give."""
    names = [layer.name for layer in model._flatten_layers() if getattr(layer, "_is_anonymous", False)]
    if names:
        warn(f"[save_model] the functions of the Lambda layers {names} have no name: the file can be loaded in this "
             "process only, with safe_mode=False. Define them by `def` and register them with "
             "`saving.register_keras_serializable`")


def _warn_if_unbuilt(model):
    """A warning where a file cannot tell how the layers are built: nothing was computed by calling the model."""
    if not model.built:
        warn(f"[save_model] You are saving a model that has not yet been built: {model.name!r} was never called (a `train_step` "
             "that does without `call` does not build it). load_model will find the weights of those layers alone that "
             "`__init__` or `from_config` build")


def _members(model):
    _warn_of_lambdas(model)
    _warn_if_unbuilt(model)
    with ObjectSharingScope():
        config = json.dumps(serialize_keras_object(model), default=_plain).encode()
    if len(config) > archives.LIMITS[archives.CONFIG]:
        raise ValueError("[save_model] the config must have at most "
                         f"{archives.LIMITS[archives.CONFIG]} bytes. Received: {len(config)} bytes")
    members = [(archives.CONFIG, config), (archives.WEIGHTS, write_h5(groups_of(model)))]
    for path, obj in walk(model):
        if hasattr(obj, "asset_files"):
            folder = f"{archives.ASSETS}{path}/" if path else archives.ASSETS
            members += [(folder + name, data) for name, data in obj.asset_files().items()]
    metadata = {"keras_version": KERAS_VERSION, "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
                "fastnn_version": __version__,
                "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members}}
    return [(archives.METADATA, json.dumps(metadata).encode()), *members]


def _plain(x):
    return serialize_keras_object(x)


def load_model(filepath, custom_objects=None, compile=True, safe_mode=True):
    """Reads a model from a `.keras` file, or from an `.h5` file of Keras 2.

    Nothing in the file is executed, and nothing but the file is opened.

    Args:
        filepath: path.
        custom_objects: dict from name to class or function, for what is not of this library.
        compile: bool; compile the model as it was, with the state of its optimizer.
        safe_mode: bool; nothing in the file is ever run. False lets a `Lambda` that this process saved find its function.

    Returns:
        The model.

    Raises:
        OSError: it cannot be read; ModelFileNotFoundError, which is a ValueError, too, where there is none.
        ModelFormatError: it is damaged or hostile, or names a class that is not known.
    """
    if hasattr(filepath, "read"):
        data = filepath.read()
        with SafeModeScope(safe_mode):
            return _load_keras(Archive(io.BytesIO(data), len(data), "a file object"), custom_objects, compile)
    path = os.fspath(filepath)
    if not os.path.exists(path):
        raise ModelFileNotFoundError(errno.ENOENT, (
            "[load_model] File not found. Please ensure the file is an accessible `.keras` file" if str(path).endswith((".keras", ".h5", ".hdf5"))
            else "[load_model] File format not supported: a model is a .keras file, or an .h5 file of Keras 2"), path)
    with open_regular(path) as (file, size), SafeModeScope(safe_mode):
        start = file.read(8)
        if start.startswith(_ZIP):
            return _load_keras(Archive(file, size, path), custom_objects, compile)
        if start == _HDF5:
            from .legacy import load_model as load_legacy

            file.seek(0)
            with open_h5(file, path) as root:
                return load_legacy(root, size, path, custom_objects, compile)
    raise ModelFormatError(f"[load_model] must be a .keras file, or an .h5 file of Keras 2. Received: {path!r}")


def _load_keras(archive, custom_objects, compile):
    path = archive.path
    config = parse_json(archive.read(archives.CONFIG), path)
    metadata = parse_json(archive.read(archives.METADATA), path) if archives.METADATA in archive else {}
    metadata = metadata if isinstance(metadata, dict) else {}
    if "fastnn_version" in metadata and not archive.whole:
        raise ModelFormatError(f"[load_model] the file is damaged: it lacks the checksum it was written with. Received: {path!r}")
    archive.check_digests(metadata.get("sha256"))
    if archives.WEIGHTS not in archive:
        raise ModelFormatError(f"[load_model] the file must hold {archives.WEIGHTS}. Received: {path!r}")
    with memory_limit(6 * archive.size(archives.WEIGHTS) + SLACK):
        model = build_model(config, path, custom_objects, compile)
        load_assets(model, archive)
        with open_h5(archive.open(archives.WEIGHTS), path) as root:
            load_state(model, root, path, op="load_model")
    return model


def build_model(config, path, custom_objects, compile):
    """The model that the config of a file describes; ModelFormatError if it describes none."""
    from ..layers.feature_space import FeatureSpace
    from ..models import Model

    check_config(config, path)
    if not compile:
        config = {**config, "compile_config": None}
    with reading(path), ObjectSharingScope():
        model = deserialize_keras_object(config, custom_objects=custom_objects)
    if not isinstance(model, (Model, FeatureSpace)):
        raise ModelFormatError(f"[load_model] the config must describe a model. Received: {type(model).__name__} in {path!r}")
    return model


@contextlib.contextmanager
def reading(path):
    """Errors of what a file makes us do are errors of the file."""
    try:
        yield
    except ModelFormatError:
        raise
    except (Exception, RecursionError) as error:
        raise ModelFormatError(f"[load_model] {error}. Received: {path!r}") from error


def load_assets(model, archive):
    """Gives the layers with files of their own (vocabularies) those of the archive."""
    for path, obj in walk(model):
        if hasattr(obj, "load_asset_files"):
            files = archive.assets(path)
            if files:
                with reading(archive.path):
                    obj.load_asset_files(files)


def parse_json(data, path):
    """The value of JSON text; ModelFormatError if it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ModelFormatError(f"[load_model] must hold sound JSON: {error}. Received: {path!r}") from None


def check_config(config, path):
    """Raises ModelFormatError if a config is not a dict, is nested too deep, or has too many layers."""
    if not isinstance(config, dict):
        raise ModelFormatError(f"[load_model] the config must be a dict. Received: {type(config).__name__} in {path!r}")
    layers, stack = 0, [(config, 0)]
    while stack:
        value, depth = stack.pop()
        if depth > 8 * _MAX_DEPTH:
            raise ModelFormatError(f"[load_model] the config is nested too deep. Received: {path!r}")
        if isinstance(value, dict):
            layers += "class_name" in value and "inbound_nodes" in value
            stack.extend((x, depth + 1) for x in value.values())
        elif isinstance(value, list):
            stack.extend((x, depth + 1) for x in value)
    if layers > _MAX_LAYERS:
        raise ModelFormatError(f"[load_model] the model must have at most {_MAX_LAYERS} layers. Received: {layers} in {path!r}")


# ---- weights -------------------------------------------------------------------------------------------


def save_weights(model, filepath, overwrite=True, max_shard_size=None, objects_to_skip=None, **kwargs):
    """Writes the weights of a model; see `Model.save_weights`."""
    path = os.fspath(filepath)
    if kwargs:
        raise ValueError(f"[save_weights] unknown arguments. Received: {sorted(kwargs)}")
    if isinstance(path, str) and path.endswith(".safetensors"):
        from .weights import save_weights as save_safetensors

        save_safetensors(model, path, overwrite)
        return
    if max_shard_size is not None and not (isinstance(path, str) and path.endswith(".weights.json")):
        raise ValueError("[save_weights] filepath must end with .weights.json when `max_shard_size` is given. "
                         f"Received: filepath={filepath!r}")
    if not isinstance(path, str) or not path.endswith(".weights.json" if max_shard_size is not None else ".weights.h5"):
        raise ValueError("[save_weights] filepath must end with .weights.h5 or .safetensors. "
                         f"Received: filepath={filepath!r}")
    if not (model.built or model.weights):  # layers may be built where the model has no call
        raise ValueError("[save_weights] You are saving a model that has not yet been built. It must be built: call it on data "
                         f"first. Received: {model.name!r}")
    check_overwrite(path, overwrite, "save_weights")
    if max_shard_size is not None:
        write_shards(groups_of(model, skip=objects_to_skip), path, max_shard_size)
        return
    write_state(model, path, skip=objects_to_skip)


def write_state(model, path, extra=None, skip=None):
    """Writes all that changes in training to a `.weights.h5` file, with `extra` attributes that are only ours."""
    atomic_write(path, [write_h5(groups_of(model, extra, skip), checksum=True)])


def load_weights(model, filepath, skip_mismatch=False, objects_to_skip=None, **kwargs):
    """Reads the weights of a model; see `Model.load_weights`."""
    path = os.fspath(filepath)
    by_name = kwargs.pop("by_name", False)
    if kwargs:
        raise ValueError(f"[load_weights] Invalid keyword arguments: {sorted(kwargs)}")
    if not isinstance(path, str) or not path.endswith((".weights.h5", ".weights.json", ".safetensors", ".keras", ".h5",
                                                          ".hdf5")):
        raise ValueError("[load_weights] File format not supported: filepath must end with .weights.h5, .weights.json, "
                         f".safetensors, .keras or .h5. Received: filepath={filepath!r}")
    if objects_to_skip is not None and not path.endswith((".weights.h5", ".weights.json")):
        raise ValueError("[load_weights] `objects_to_skip` only supports loading '.weights.h5' files. "
                         f"Received: filepath={filepath!r}")
    if by_name and (path.endswith((".weights.h5", ".keras", ".safetensors"))):
        raise ValueError("[load_weights] `by_name` only supports loading legacy '.h5' or '.hdf5' files. "
                         f"Received: filepath={filepath!r}")
    if path.endswith(".safetensors"):
        from .weights import load_weights as load_safetensors

        return load_safetensors(model, path, skip_mismatch)
    if not (model.built or model.weights):
        raise ValueError("[load_weights] You are loading weights into a model that has not yet been built. It must be built: call "
                         f"it on data first. Received: {model.name!r}")
    if path.endswith(".weights.json"):
        with open_shards(path) as root:
            return load_state(model, root, path, skip_mismatch, skip=objects_to_skip)
    with open_regular(path) as (file, size):
        if file.read(2) == _ZIP:
            archive = Archive(file, size, path)
            if archives.WEIGHTS not in archive:
                raise ModelFormatError(f"[load_weights] the file must hold {archives.WEIGHTS}. Received: {path!r}")
            file = archive.open(archives.WEIGHTS)
        with open_h5(file, path) as root:
            from .legacy import is_legacy
            from .legacy import load_weights as load_legacy

            if is_legacy(root):
                return load_legacy(model, root, path, skip_mismatch, by_name)
            if by_name:
                raise ValueError(f"[load_weights] by_name is for .h5 files of Keras 2. Received: filepath={filepath!r}")
            return load_state(model, root, path, skip_mismatch, skip=objects_to_skip)
