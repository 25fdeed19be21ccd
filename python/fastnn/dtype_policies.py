"""Which dtype a layer computes in, and which its variables have."""
import re
from collections.abc import MutableMapping

from . import _core
from .dtypes import floatx, standardize_dtype

QUANTIZATION_MODES = ("int8", "float8", "int4", "gptq", "awq")
_global_policy = None


class DTypePolicy:
    """The dtypes of a layer.

    Args:
        name: a dtype, used for both ("float32"), or "mixed_float16" / "mixed_bfloat16": computation in
            the 16-bit type, variables in float32.
        source_name: string or None; the policy that a quantized one computes in.

    Raises:
        ValueError: `name` is neither.
    """

    def __init__(self, name=None, source_name=None):
        self._name = floatx() if name is None else name
        self._set_dtypes(self._name)
        self._quantization_mode = None

    def _set_dtypes(self, name):
        if name in ("mixed_float16", "mixed_bfloat16"):
            self._compute_dtype, self._variable_dtype = name[6:], "float32"
            return
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
    quantization_mode = property(lambda self: self._quantization_mode,
                                 doc="How layers are quantized, one of QUANTIZATION_MODES, or None.")

    def get_config(self):
        """Returns the arguments of the constructor, as a dict."""
        return {"name": self._name}

    @classmethod
    def from_config(cls, config):
        """Makes a policy from what `get_config` returned."""
        return cls(**config)

    def __eq__(self, other):
        return type(other) is type(self) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash(self._name)

    def __repr__(self):
        return f'<{type(self).__name__} "{self._name}">'


class QuantizedDTypePolicy(DTypePolicy):
    """The policy of layers that are quantized: variables and results are as `source_name` says.

    Args:
        mode: one of QUANTIZATION_MODES.
        source_name: the name of a DTypePolicy; that of the global one by default.

    Raises:
        ValueError: no such mode, or int8 with computations in float16.
    """

    def __init__(self, mode, source_name=None):
        self._set_source(mode, mode, source_name)

    def _set_source(self, full_mode, mode, source_name):
        source_name = dtype_policy().name if source_name is None else source_name
        self._set_dtypes(source_name)
        if mode not in QUANTIZATION_MODES:
            raise ValueError(f"[{type(self).__name__}] Invalid quantization mode. Expected one of {QUANTIZATION_MODES}. "
                             f"Received: mode={mode}")
        if mode == "int8" and self._compute_dtype == "float16":
            raise ValueError(f"[{type(self).__name__}] Quantization mode='int8' doesn't work well with "
                             "compute_dtype='float16'.")
        self._full_mode, self._quantization_mode, self._source_name = full_mode, mode, source_name
        self._name = f"{full_mode}_from_{source_name}"

    def _numbers(self, mode, names):
        """The numbers in a mode such as "gptq/4/128"; ValueError if there are others than `names` tell."""
        kind, first, *parts = type(self).__name__, *str(mode).split("/")
        form = "/".join([self._base, *(f"<{name}>" for name in names)])
        if first != self._base or len(parts) != len(names):
            raise ValueError(f"[{kind}] Invalid mode for {kind}. Expected format '{form}', but got '{mode}'.")
        try:
            numbers = [int(part) for part in parts]
        except ValueError:
            raise ValueError(f"[{kind}] Invalid mode for {kind}. {' and '.join(f'<{n}>' for n in names)} must be integers. "
                             f"Expected format '{form}', but got '{mode}'.") from None
        if numbers[-1] < -1 or numbers[-1] == 0:
            raise ValueError(f"[{kind}] Invalid {names[-1]} in mode. Supported values are -1 or a positive integer, "
                             f"but got {numbers[-1]} from '{mode}'.")
        return numbers

    def get_config(self):
        return {"mode": self._full_mode, "source_name": self._source_name}


class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """The policy of layers that train with 8-bit floats.

    Args:
        mode: "float8".
        source_name: as for QuantizedDTypePolicy.
        amax_history_length: int, steps whose largest values decide about the scale.
    """

    default_amax_history_length = 1024

    def __init__(self, mode, source_name=None, amax_history_length=1024):
        super().__init__(mode, source_name)
        if not isinstance(amax_history_length, int):
            raise TypeError("[QuantizedFloat8DTypePolicy] `amax_history_length` must be an integer. "
                            f"Received: amax_history_length={amax_history_length}")
        self.amax_history_length = amax_history_length

    def get_config(self):
        return {**super().get_config(), "amax_history_length": self.amax_history_length}


class Int4DTypePolicy(QuantizedDTypePolicy):
    """The policy of layers with 4-bit integers in blocks: mode is "int4/<block_size>", -1 for no blocks.

    Args:
        mode: string, as above.
        source_name: string; the policy that computes, such as "float32".
    """

    _base = "int4"

    def __init__(self, mode, source_name=None):
        self.block_size, = self._numbers(mode, ["block_size"])
        self.mode = self._base
        self._set_source(mode, self._base, source_name)


class GPTQDTypePolicy(QuantizedDTypePolicy):
    """The policy of layers quantized by GPTQ: mode is "gptq/<weight_bits>/<group_size>".

    Args:
        mode: string, as above.
        source_name: string; the policy that computes, such as "float32".
    """

    _base, _bits = "gptq", (2, 3, 4, 8)

    def __init__(self, mode, source_name=None):
        self.weight_bits, self.group_size = self._numbers(mode, ["weight_bits", "group_size"])
        if self.weight_bits not in self._bits:
            raise ValueError(f"[{type(self).__name__}] Invalid weight_bits in mode. Supported values are {self._bits}"
                             f"{'' if len(self._bits) > 1 else ': AWQ only supports 4-bit quantization'}, "
                             f"but got {self.weight_bits} from '{mode}'.")
        self.mode = self._base
        self._set_source(mode, self._base, source_name)


class AWQDTypePolicy(GPTQDTypePolicy):
    """The policy of layers quantized by AWQ: mode is "awq/4/<group_size>".

    Args:
        mode: string, as above.
        source_name: string; the policy that computes, such as "float32".
    """

    _base, _bits = "awq", (4,)


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
    quantization_mode = property(lambda self: self.default_policy.quantization_mode, doc="That of the default policy.")

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

    Args:
        identifier: any of the above.

    Raises:
        ValueError: `identifier` cannot be read as a policy.
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, (DTypePolicy, DTypePolicyMap)):
        return identifier
    if isinstance(identifier, dict):
        cls, config = _CLASSES.get(identifier.get("class_name")), identifier.get("config")
        if cls is None or not isinstance(config, dict):
            raise ValueError(f"[dtype_policies.get] not the config of a policy. Received: {identifier}")
        return cls.from_config(config)
    if isinstance(identifier, str) and identifier.startswith(QUANTIZATION_MODES) and "_from_" in identifier:
        return _quantized(identifier)
    try:
        return DTypePolicy(identifier)
    except ValueError as error:
        raise ValueError(f"[dtype_policies.get] Cannot interpret `dtype` argument: {error}") from None


def _quantized(name):
    """The policy of a name such as "int8_from_float32"."""
    mode, _, source_name = name.partition("_from_")
    if mode.startswith("int4/"):
        return Int4DTypePolicy(mode, source_name)
    cls = {"gptq": GPTQDTypePolicy, "awq": AWQDTypePolicy, "float8": QuantizedFloat8DTypePolicy}.get(mode.split("/")[0])
    return (cls or QuantizedDTypePolicy)(mode, source_name)


def serialize(dtype_policy):
    """The config dict of a policy.

    Args:
        dtype_policy: a policy.
    """
    return {"module": "keras" if type(dtype_policy) is DTypePolicy else "keras.dtype_policies",
            "class_name": type(dtype_policy).__name__, "config": dtype_policy.get_config(), "registered_name": None}


def deserialize(config, custom_objects=None):
    """A policy from its config dict.

    Args:
        config: dict, as `serialize` gives it, or a name.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    return get(config)


def dtype_policy():
    """The policy of layers made without a `dtype` argument; floatx unless it was set."""
    return _global_policy if _global_policy is not None else DTypePolicy()


def set_dtype_policy(policy):
    """Sets the policy of layers made from now on; None goes back to floatx.

    Args:
        policy: a policy, a name such as "mixed_bfloat16", or None.
    """
    global _global_policy
    _core.changed()
    _global_policy = None if policy is None else get(policy)


global_policy = dtype_policy
set_global_policy = set_dtype_policy
Policy = FloatDTypePolicy = DTypePolicy
_CLASSES = {cls.__name__: cls for cls in (
    DTypePolicy, QuantizedDTypePolicy, QuantizedFloat8DTypePolicy, Int4DTypePolicy, GPTQDTypePolicy, AWQDTypePolicy,
    DTypePolicyMap)} | {"FloatDTypePolicy": DTypePolicy}
