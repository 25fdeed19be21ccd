"""Which dtype a layer computes in, and which its variables have."""
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


def get(identifier):
    """A DTypePolicy from None (the global one), a policy, a name, a dtype or a config dict.

    Raises:
        ValueError: `identifier` cannot be read as a policy.
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        config = identifier.get("config")
        if identifier.get("class_name") != "DTypePolicy" or not isinstance(config, dict):
            raise ValueError(f"[dtype_policies.get] not the config of a policy. Received: {identifier}")
        return DTypePolicy.from_config(config)
    return DTypePolicy(identifier)


def serialize(policy):
    """The config dict of a policy."""
    return {"module": "keras", "class_name": "DTypePolicy", "config": policy.get_config(), "registered_name": None}


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
Policy = DTypePolicy
