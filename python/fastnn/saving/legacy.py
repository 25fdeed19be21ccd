"""`.h5` files of Keras 2: whole models and weights, read only."""
import copy

from .. import dtypes
from ..memory_limit import memory_limit
from ..utils.warning import warn
from .files import ModelFormatError
from .h5 import Dataset, Group
from .model_files import SLACK, build_model, check_config, parse_json, reading
from .state import WeightsReport, _check_values, _fits

# What Keras 2 wrote and Keras 3 no longer takes, by class; "*" for all layers.
_DROPPED = {
    "*": ("input_spec", "quantization_config"),
    "LSTM": ("implementation", "time_major"), "GRU": ("implementation", "time_major"),
    "SimpleRNN": ("implementation", "time_major"), "RNN": ("time_major",), "ConvLSTM2D": ("implementation", "time_major"),
    "LSTMCell": ("implementation",), "GRUCell": ("implementation",),
    "BatchNormalization": ("fused", "renorm", "renorm_clipping", "renorm_momentum", "virtual_batch_size", "adjustment"),
    "SyncBatchNormalization": ("fused", "renorm", "renorm_clipping", "renorm_momentum", "virtual_batch_size"),
    "DepthwiseConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint", "filters"),
    "DepthwiseConv1D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint", "filters"),
    "SeparableConv1D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "Conv2DTranspose": ("groups",), "Conv3DTranspose": ("groups",), "Conv1DTranspose": ("groups",),
    "Embedding": ("input_length",),
    "InputLayer": ("ragged", "sparse"),
    "*optimizer": ("decay", "jit_compile", "is_legacy_optimizer"),
}
_RENAMED = {"LeakyReLU": {"alpha": "negative_slope"}, "*optimizer": {"lr": "learning_rate"}}
_MODELS = ("Sequential", "Functional", "Model")


def is_legacy(root):
    """Whether a file has the layout of Keras 2."""
    return root.attribute("layer_names") is not None or "model_weights" in root.members


# ---- models --------------------------------------------------------------------------------------------


def load_model(root, size, path, custom_objects, compile):
    """The model of a file; see `saving.load_model`.

    Args:
        root: Group of `open_h5`.
        size: bytes of the file.
    """
    text = root.attribute("model_config")
    weights = root.members.get("model_weights")
    if text is None or not isinstance(weights, Group):
        raise ModelFormatError("[load_model] an .h5 file must hold a model: with weights alone, make the model and use "
                               f"load_weights. Received: {path!r}")
    config = parse_json(_text(text), path)
    check_config(config, path)
    with memory_limit(6 * size + SLACK):
        with reading(path):
            config = migrate(config)
        model = build_model(config, path, custom_objects, compile=False)
        _load(model, weights, path, False, False, "load_model")
        text = root.attribute("training_config")
        if compile and text is not None:
            _compile(model, parse_json(_text(text), path), root.members.get("optimizer_weights"), path, custom_objects)
    return model


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def migrate(config):
    """The config of a model or layer of Keras 2 as Keras 3 writes it; what is of Keras 3 stays."""
    if isinstance(config, list):
        return [migrate(x) for x in config]
    if not isinstance(config, dict):
        return config
    name, inner = config.get("class_name"), config.get("config")
    if not isinstance(name, str) or not isinstance(inner, (dict, list)):
        return {key: migrate(value) for key, value in config.items()}
    result = dict(config)
    if name in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"):
        raise ModelFormatError(f"[load_model] calls of TensorFlow functions are not read: write a layer instead. "
                               f"Received: class_name={name!r}")
    if isinstance(inner, list):  # Sequential of Keras 1
        inner = {"name": None, "layers": inner}
    inner = copy.copy(inner)
    if "module" not in config and "keras_history" not in inner:
        result["module"] = "keras" if name in _MODELS else "keras.layers"
        result["registered_name"] = config.get("registered_name")
        if name == "Model":
            result["class_name"] = "Functional"
        if name == "InputLayer":
            shape = inner.pop("batch_input_shape", None)
            inner.setdefault("batch_shape", shape)
        inner = _without_dropped(name, inner)
        if "layers" in inner and isinstance(inner["layers"], list):
            inner["layers"] = _layers(name, inner["layers"])
        else:
            inner = {key: _value(key, value) for key, value in inner.items()}
    else:
        inner = {key: migrate(value) for key, value in _without_dropped(name, inner).items()}
    result["config"] = inner
    return result


def _without_dropped(name, config):
    dropped = {*_DROPPED["*"], *_DROPPED.get(name, ())}
    renamed = _RENAMED.get(name, {})
    return {renamed.get(key, key): value for key, value in config.items() if key not in dropped}


def _value(key, value):
    """One entry of a layer's config."""
    if key == "dtype" and isinstance(value, dict) and value.get("class_name") == "Policy":
        return value["config"]["name"]
    if key in ("layer", "cell", "backward_layer", "forward_layer"):
        return migrate(value)
    if key == "cells" and isinstance(value, list):
        return [migrate(x) for x in value]
    return value  # initialisers and the like are {"class_name", "config"}, which `get` functions take


def _layers(name, layers):
    result = []
    # Keras 2 counts the construction of a functional model as its first call.
    functional = {layer.get("name") for layer in layers if isinstance(layer, dict) and layer.get("class_name") in ("Functional", "Model")}
    for layer in layers:
        if not isinstance(layer, dict):
            raise ModelFormatError(f"[load_model] a layer must be a dict. Received: {layer!r}")
        new = migrate(layer)
        if "inbound_nodes" in layer:
            new["inbound_nodes"] = [_call(call, functional) for call in layer["inbound_nodes"]]
            new.setdefault("name", new["config"].get("name"))
        elif name != "Sequential":
            new.setdefault("inbound_nodes", [])
            new.setdefault("name", new["config"].get("name"))
        result.append(new)
    return result


def _is_reference(x):
    return isinstance(x, list) and len(x) in (3, 4) and isinstance(x[0], str) and all(
        type(i) is int for i in x[1:3]) and (len(x) == 3 or isinstance(x[3], dict))


def _tensor(reference, functional):
    name, index, position = reference[:3]
    history = [name, index - (name in functional), position]
    return {"class_name": "__keras_tensor__", "config": {"shape": None, "dtype": None, "keras_history": history}}


def _call(call, functional):
    """One call: a list of [layer, call, output, other arguments], as {"args", "kwargs"}."""
    if isinstance(call, dict) and "args" in call:
        return call
    if _is_reference(call):
        call = [call]
    if isinstance(call, dict):
        return {"args": [{key: _references(x, functional) for key, x in call.items()}], "kwargs": {}}
    if not isinstance(call, list) or not all(_is_reference(x) for x in call):
        raise ModelFormatError(f"[load_model] a call must list the tensors it is made with. Received: {call!r}")
    kwargs = {}
    for reference in call:
        kwargs.update(reference[3] if len(reference) == 4 else {})
    tensors = [_tensor(reference, functional) for reference in call]
    return {"args": [tensors[0] if len(tensors) == 1 else tensors],
            "kwargs": {key: _references(value, functional) for key, value in kwargs.items()}}


def _references(value, functional):
    if _is_reference(value):
        return _tensor(value, functional)
    if isinstance(value, list):
        return [_references(x, functional) for x in value]
    return {key: _references(x, functional) for key, x in value.items()} if isinstance(value, dict) else value


def _compile(model, training, optimizer_weights, path, custom_objects):
    """Compiles the model as it was; a warning if that is not possible."""
    from .registration import CustomObjectScope

    try:
        optimizer = dict(training["optimizer_config"])
        name = optimizer["class_name"].rpartition(">")[2]  # "Custom>Adam"
        config = {**optimizer["config"]}
        for old, new in _RENAMED["*optimizer"].items():
            if old in config:
                config[new] = config.pop(old)
        dropped = _DROPPED["*optimizer"]
        optimizer = {"class_name": name, "config": {key: value for key, value in config.items() if key not in dropped}}
        with CustomObjectScope(custom_objects):
            keys = ("loss", "metrics", "weighted_metrics", "loss_weights")
            model.compile(optimizer=_optimizer(optimizer), **{key: training.get(key) for key in keys})
            model.optimizer.build(model.trainable_variables)
    except Exception as error:
        warn(f"[load_model] the model is not compiled: what it was compiled with is not understood. {error}")
        return
    if isinstance(optimizer_weights, Group):
        _load_optimizer(model.optimizer, optimizer_weights, path)


def _optimizer(config):
    from .. import optimizers

    return optimizers.deserialize(config)


def _load_optimizer(optimizer, group, path):
    datasets = _named(group, "weight_names", path)
    variables = list(optimizer.variables)
    fits = [(v, d) for v, d in zip(variables, datasets) if d.shape == tuple(v.shape) and _same(v.dtype, d)]
    if len(datasets) != len(variables) or len(fits) != len(variables):
        warn("[load_model] the state of the optimizer is not read: Keras 2 keeps it in another order. "
             f"It starts afresh. Received: {path!r}")
        return
    for variable, dataset in fits:
        variable.assign(dataset.read())


def _same(dtype, dataset):
    return _fits(dtype, dataset.dtype, dataset.shape)


# ---- weights -------------------------------------------------------------------------------------------


def load_weights(model, root, path, skip_mismatch=False, by_name=False):
    """Sets the weights of `model`; by the order of the layers, or by their names.

    Returns:
        WeightsReport.
    """
    group = root.members.get("model_weights", root)
    return _load(model, group, path, skip_mismatch, by_name, "load_weights")


def _names(group, attribute, path):
    """A list of strings in an attribute, which is cut into several if it is long."""
    value = group.attribute(attribute)
    if value is None:
        value, index = [], 0
        while (part := group.attribute(f"{attribute}{index}")) is not None:
            value.extend(part)
            index += 1
    try:
        return [_text(x) for x in value]
    except TypeError:
        raise ModelFormatError(f"[load_weights] {attribute} must be a list of names. Received: {path!r}") from None


def _named(group, attribute, path):
    """The datasets that an attribute names."""
    result = []
    for name in _names(group, attribute, path):
        dataset = group.find(name)
        if not isinstance(dataset, Dataset):
            raise ModelFormatError(f"[load_weights] the file must hold {name!r}. Received: {path!r}")
        result.append(dataset)
    return result


def _weights_of(layer):
    """In the order of Keras 2: those that are trained first."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _load(model, group, path, skip_mismatch, by_name, op):
    stored = {}
    for name in _names(group, "layer_names", path):
        layer_group = group.find(name)
        if not isinstance(layer_group, Group):
            raise ModelFormatError(f"[{op}] the file must hold the layer {name!r}. Received: {path!r}")
        datasets = _named(layer_group, "weight_names", path)
        if datasets:
            stored[name] = datasets
    layers = [layer for layer in model.layers if layer.weights]
    report, plan, problems = WeightsReport([], [], [], []), [], []
    if by_name:
        pairs = [(layer, stored.get(layer.name)) for layer in layers]
        known = {layer.name for layer in layers}
        report.unexpected.extend(name for name in stored if name not in known)
    else:
        if len(stored) != len(layers):
            raise ModelFormatError(f"[{op}] the file must have as many layers with weights as the model, {len(layers)}. "
                                   f"Received: {len(stored)} in {path!r}")
        pairs = list(zip(layers, stored.values()))
    for layer, datasets in pairs:
        weights = _weights_of(layer)
        if datasets is None:
            report.missing.extend(w.path for w in weights)
        elif len(datasets) != len(weights):
            problems.append(f"{layer.name} has {len(weights)} weights in the model, {len(datasets)} in the file")
            report.mismatched.append((layer.name, f"{len(weights)} weights", f"{len(datasets)} weights"))
        else:
            for weight, dataset in zip(weights, datasets):
                if dataset.shape != tuple(weight.shape) or not _same(dtypes.standardize_dtype(weight.dtype), dataset):
                    mine, theirs = f"{weight.dtype}{tuple(weight.shape)}", f"{dataset.dtype}{dataset.shape}"
                    problems.append(f"{weight.path} is {mine} in the model, {theirs} in the file")
                    report.mismatched.append((weight.path, mine, theirs))
                else:
                    plan.append((weight, dataset))
    if problems:
        text = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        if not skip_mismatch:
            raise ModelFormatError(f"[{op}] the file must hold the weights of the model. Received: {path!r}: {text}")
        warn(f"[{op}] left alone, as skip_mismatch is set: {text}")
    values = [(weight, dataset.read()) for weight, dataset in plan]
    for weight, value in values:
        _check_values(weight, value, path)
    for weight, value in values:
        weight.assign(value)
        report.loaded.append(weight.path)
    return report
