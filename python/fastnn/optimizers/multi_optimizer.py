"""MultiOptimizer: different optimizers for different variables."""
import re
from collections.abc import MutableMapping

from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from .base import Optimizer
from .loss_scale_optimizer import LossScaleOptimizer


class OptimizerMap(MutableMapping):
    """Which optimizer updates a variable, by the variable's path.

    Args:
        default_optimizer: Optimizer of the variables that no key matches.
        optimizer_map: dict from a path, or a regular expression that matches a whole path, to an Optimizer.

    Raises:
        TypeError: an argument is of another kind.

    Example:
        OptimizerMap(SGD(), {"encoder/.*": Adam()})
    """

    def __init__(self, default_optimizer, optimizer_map=None):
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(f"[OptimizerMap] default_optimizer must be an Optimizer. Received: {default_optimizer!r}")
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise TypeError(f"[OptimizerMap] optimizer_map must be a dictionary. Received: {optimizer_map!r}")
        self._default_optimizer = default_optimizer
        self._optimizer_map = {}
        for key, optimizer in (optimizer_map or {}).items():
            self[key] = optimizer

    @property
    def default_optimizer(self):
        """The optimizer of the variables that no key matches."""
        return self._default_optimizer

    def __getitem__(self, key):
        if key in self._optimizer_map:
            return self._optimizer_map[key]
        found = [pattern for pattern in self._optimizer_map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(f"[OptimizerMap] Multiple optimizers assigned to variable {key}: keys {found}")
        return self._optimizer_map[found[0]] if found else self._default_optimizer

    def __setitem__(self, key, optimizer):
        if not isinstance(key, str):
            raise ValueError(f"[OptimizerMap] key must be a string. Received: {key!r}")
        if key in self._optimizer_map:
            raise ValueError(f"[OptimizerMap] '{key}' already exists with value {self._optimizer_map[key]}")
        _check_inner(optimizer)
        self._optimizer_map[key] = optimizer

    def __delitem__(self, key):
        del self._optimizer_map[key]

    def __len__(self):
        return len(self._optimizer_map)

    def __iter__(self):
        return iter(self._optimizer_map)

    def __call__(self, variable):
        return self[variable.path]

    def get_config(self):
        return {"default_optimizer": serialize_keras_object(self._default_optimizer),
                "optimizer_map": {key: serialize_keras_object(value) for key, value in self._optimizer_map.items()}}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def load(value):
            return deserialize_keras_object(value, custom_objects=custom_objects)

        return cls(load(config["default_optimizer"]), {k: load(v) for k, v in config["optimizer_map"].items()})


def _check_inner(optimizer):
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"[MultiOptimizer] optimizer must be an Optimizer. Received: {optimizer!r}")
    if isinstance(optimizer, (LossScaleOptimizer, MultiOptimizer)):
        kind = type(optimizer).__name__
        raise ValueError(f"[MultiOptimizer] optimizer cannot be {kind}. {kind} cannot be used inside an MultiOptimizer.")


def optimizers_of(model):
    """Return the optimizers of a compiled model that have a learning rate of their own, without what wraps them."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(optimizer, "optimizers", [optimizer]))


class MultiOptimizer(Optimizer):
    """Hands each variable to an optimizer of its own.

    Args:
        optimizer_map: OptimizerMap, or a function from a variable to an Optimizer.
        loss_scale_factor: of the loss; the optimizers divide the gradients by it.
        name: of the optimizer.

    Attributes:
        optimizers: the optimizers in use. Each has its learning rate; this one has none.
    """

    def __init__(self, optimizer_map, loss_scale_factor=None, name=None):
        self.__dict__["_variables"] = []
        self.__dict__["_inner_optimizers"] = []
        super().__init__(learning_rate=0.0, name=name)
        self._optimizer_map = optimizer_map
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in [*optimizer_map.values(), optimizer_map.default_optimizer]:
                self._add(optimizer)
        self.loss_scale_factor = loss_scale_factor

    def _add(self, optimizer):
        _check_inner(optimizer)
        if all(optimizer is not o for o in self._inner_optimizers):
            optimizer.loss_scale_factor = self.loss_scale_factor
            self._inner_optimizers.append(optimizer)

    @property
    def optimizers(self):
        """The optimizers, each once."""
        return list(self._inner_optimizers)

    @property
    def loss_scale_factor(self):
        """The factor that the loss is multiplied by, or None."""
        return self.__dict__.get("_loss_scale_factor")

    @loss_scale_factor.setter
    def loss_scale_factor(self, value):
        self.__dict__["_loss_scale_factor"] = value
        for optimizer in self._inner_optimizers:
            optimizer.loss_scale_factor = value

    @property
    def learning_rate(self):
        raise AttributeError("[MultiOptimizer] has no learning rate: read that of each of its `optimizers`")

    @learning_rate.setter
    def learning_rate(self, value):
        raise AttributeError("[MultiOptimizer] has no learning rate: set that of each of its `optimizers`")

    @property
    def variables(self):
        return [*self._variables, *(v for optimizer in self._inner_optimizers for v in optimizer.variables)]

    def build(self, variables):
        if self.built:
            return
        variables = list(variables)
        self._var_to_optimizer_idx = {}
        for variable in variables:
            optimizer = self._optimizer_map(variable)
            self._add(optimizer)
            index = next(i for i, o in enumerate(self._inner_optimizers) if o is optimizer)
            self._var_to_optimizer_idx[self._var_key(variable)] = index
        for i, optimizer in enumerate(self._inner_optimizers):
            own = [v for v in variables if self._var_to_optimizer_idx[self._var_key(v)] == i]
            if own:
                optimizer.build(own)
        super().build(variables)

    def _var_key(self, variable):
        return id(variable)

    def _owner(self, variable):
        return self._inner_optimizers[self._var_to_optimizer_idx[self._var_key(variable)]]

    def apply(self, grads, trainable_variables=None):
        grads = list(grads)
        if not grads:
            return
        variables = self._variables_for(grads, trainable_variables)
        groups = {}
        for grad, variable in zip(grads, variables):
            optimizer = self._owner(variable)
            groups.setdefault(id(optimizer), (optimizer, [], []))[1].append(grad)
            groups[id(optimizer)][2].append(variable)
        if all(g is None for g in grads):
            raise ValueError("[MultiOptimizer] No gradients provided for any variable.")
        for optimizer, own_grads, own_variables in groups.values():
            if any(g is not None for g in own_grads):
                optimizer.apply(own_grads, own_variables)
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list):
        """Each optimizer overwrites its variables by their moving average, if it keeps one."""
        for optimizer in self._inner_optimizers:
            optimizer.finalize_variable_values([v for v in var_list if self._owner(v) is optimizer])

    def get_config(self):
        if not isinstance(self._optimizer_map, OptimizerMap):
            return {"optimizer_map": serialize_keras_object(self._optimizer_map), "loss_scale_factor": self.loss_scale_factor,
                    "name": self.name}
        return {"optimizer_map": {"class_name": "OptimizerMap", "config": self._optimizer_map.get_config()},
                "loss_scale_factor": self.loss_scale_factor, "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        value = config["optimizer_map"]
        if isinstance(value, dict) and value.get("class_name") == "OptimizerMap":
            config["optimizer_map"] = OptimizerMap.from_config(value["config"], custom_objects)
        else:
            config["optimizer_map"] = deserialize_keras_object(value, custom_objects=custom_objects)
        return cls(**config)
