"""Which dtype a layer computes in, and which its variables have."""
import re
from collections.abc import MutableMapping

from . import _core
from .dtypes import floatx, standardize_dtype

_global_policy = None


class DTypePolicy:
    """The dtypes of a layer.

    Args:
        name: a dtype, used for both ("float32"), or "mixed_float16" / "mixed_bfloat16": computation in
            the 16-bit type, variables in float32.

    Raises:
        ValueError: `name` is neither.
    """

    def __init__(self, name=None, source_name=None):
        if name is None:
            name = floatx()
        if name in ("mixed_float16", "mixed_bfloat16"):
            self._compute_dtype, self._variable_dtype = name[6:], "float32"
        else:
            try:
                name = standardize_dtype(name)
            except (ValueError, TypeError):
                raise ValueError("[DTypePolicy] name must be a dtype, 'mixed_float16' or 'mixed_bfloat16'. "
                                 f"Received: name={name!r}") from None
            self._compute_dtype = self._variable_dtype = name
        self._name = name

    name = property(lambda self: self._name, doc="The name that the policy was made from.")
    compute_dtype = property(lambda self: self._compute_dtype, doc="dtype of computations and results.")
    variable_dtype = property(lambda self: self._variable_dtype, doc="dtype of variables.")
    quantization_mode = None

    def get_config(self):
        """Returns the arguments of the constructor, as a dict."""
        return {"name": self._name}

    @classmethod
    def from_config(cls, config):
        """Makes a policy from what `get_config` returned."""
        return cls(config["name"])

    def __eq__(self, other):
        return isinstance(other, DTypePolicy) and self._name == other._name

    def __hash__(self):
        return hash(self._name)

    def __repr__(self):
        return f'<DTypePolicy "{self._name}">'


class DTypePolicyMap(MutableMapping):
    """Policies for layers by their path: the ``dtype`` of layers that are to differ.

    Args:
        default_policy: DTypePolicy or name for the paths that no key matches; None, the global policy.
        policy_map: dict from a path, or a regular expression that matches a whole path, to a DTypePolicy or name.

    Raises:
        TypeError: policy_map is no dict.
    """

    def __init__(self, default_policy=None, policy_map=None):
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError(f"[DTypePolicyMap] policy_map must be a dict. Received: policy_map={policy_map!r}")
        self._default = None if default_policy is None else get(default_policy)
        self._map = {}
        for key, policy in (policy_map or {}).items():
            self[key] = policy

    @property
    def default_policy(self):
        """The policy of the paths that no key matches."""
        return self._default if self._default is not None else dtype_policy()

    name = property(lambda self: "map_" + self.default_policy.name, doc="Name of the default policy, behind `map_`.")
    compute_dtype = property(lambda self: self.default_policy.compute_dtype, doc="That of the default policy.")
    variable_dtype = property(lambda self: self.default_policy.variable_dtype, doc="That of the default policy.")
    quantization_mode = None

    def __getitem__(self, key):
        if key in self._map:
            return self._map[key]
        found = [pattern for pattern in self._map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(f"[DTypePolicyMap] only one key may match a path. Received: {key!r}, matched by {found}")
        return self._map[found[0]] if found else self.default_policy

    def __setitem__(self, key, policy):
        if key in self._map:
            raise ValueError(f"[DTypePolicyMap] {key!r} already exists, with the policy {self._map[key]}")
        self._map[key] = get(policy)

    def __delitem__(self, key):
        del self._map[key]

    def __len__(self):
        return len(self._map)

    def __iter__(self):
        return iter(self._map)

    def __contains__(self, key):
        return key in self._map

    __hash__ = object.__hash__

    def get_config(self):
        """Returns the arguments of the constructor, as a dict."""
        return {"default_policy": None if self._default is None else serialize(self._default),
                "policy_map": {key: serialize(policy) for key, policy in self._map.items()}}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a map from what `get_config` returned."""
        return cls(config.get("default_policy"), dict(config.get("policy_map") or {}))

    def __repr__(self):
        return f"<DTypePolicyMap default={self._default}, {self._map}>"


def get(identifier):
    """A DTypePolicy from None (the global one), a policy, a name, a dtype or a config dict.

    Raises:
        ValueError: `identifier` cannot be read as a policy.
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, (DTypePolicy, DTypePolicyMap)):
        return identifier
    if isinstance(identifier, dict):
        if identifier.get("class_name") == "DTypePolicyMap" and isinstance(identifier.get("config"), dict):
            return DTypePolicyMap.from_config(identifier["config"])
        config = identifier.get("config")
        if identifier.get("class_name") != "DTypePolicy" or not isinstance(config, dict):
            raise ValueError(f"[dtype_policies.get] not the config of a policy. Received: {identifier}")
        return DTypePolicy.from_config(config)
    return DTypePolicy(identifier)


def serialize(dtype_policy):
    """The config dict of a policy."""
    return {"module": "keras", "class_name": type(dtype_policy).__name__, "config": dtype_policy.get_config(),
            "registered_name": None}


def deserialize(config, custom_objects=None):
    """A policy from its config dict."""
    return get(config)


def dtype_policy():
    """The policy of layers made without a `dtype` argument; floatx unless it was set."""
    return _global_policy if _global_policy is not None else DTypePolicy()


def set_dtype_policy(policy):
    """Sets the policy of layers made from now on; None goes back to floatx."""
    global _global_policy
    _core.changed()
    _global_policy = None if policy is None else get(policy)


global_policy = dtype_policy
set_global_policy = set_dtype_policy
Policy = FloatDTypePolicy = DTypePolicy
