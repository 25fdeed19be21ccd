"""The values of all variables of a model as nested dicts, by the parts of their paths."""
import numpy as np


def get_state_tree(model, value_format="backend_tensor"):
    """See `Model.get_state_tree`."""
    if value_format not in ("backend_tensor", "numpy_array"):
        raise ValueError("[get_state_tree] value_format must be 'backend_tensor' or 'numpy_array'. "
                         f"Received: value_format={value_format!r}")
    return {name: _nested(variables, value_format) for name, variables in _groups(model).items()}


def set_state_tree(model, state_tree):
    """See `Model.set_state_tree`."""
    groups, pending = _groups(model), []
    for name, tree in state_tree.items():
        if name not in groups:
            raise ValueError(f"[set_state_tree] unknown group of variables: {name!r}. Known: {list(groups)}")
        by_path = {_path(v): v for v in groups[name]}
        for path, value in _flat(tree):
            if path not in by_path:
                raise ValueError(f"[set_state_tree] there is no variable {path!r} in {name}. Received: {list(by_path)}")
            if np.shape(value) != tuple(by_path[path].shape):
                raise ValueError(f"[set_state_tree] {path!r} has shape {tuple(by_path[path].shape)}. "
                                 f"Received: shape={np.shape(value)}")
            pending.append((by_path[path], value))
    for variable, value in pending:
        variable.assign(value)


def _groups(model):
    groups = {"trainable_variables": model.trainable_variables, "non_trainable_variables": model.non_trainable_variables}
    if model.optimizer is not None:
        groups["optimizer_variables"] = list(model.optimizer.variables)
    groups["metrics_variables"] = [v for metric in model.metrics for v in metric.variables]
    return groups


def _path(variable):
    return getattr(variable, "path", None) or variable.name


def _nested(variables, value_format):
    root = {}
    for variable in variables:
        *folders, name = _path(variable).split("/")
        node = root
        for folder in folders:
            node = node.setdefault(folder, {})
        if name in node:
            raise ValueError("[get_state_tree] The following variable path is found twice in the model: "
                             f"{_path(variable)!r}. Name the layers apart")
        node[name] = variable.numpy() if value_format == "numpy_array" else variable.value
    return root


def _flat(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value
