"""What `quantize` is to do with a layer or a model."""
from ..capturing import Watched
from ..dtype_policies import QUANTIZATION_MODES
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from .quantizer import AbsMaxQuantizer


class QuantizationConfig(Watched):
    """Base class of the configs.

    Args:
        weight_quantizer: Quantizer of the weights, or None, that of the mode.
        activation_quantizer: Quantizer of the inputs, or None, none.
    """

    def __init__(self, weight_quantizer=None, activation_quantizer=None):
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer

    @property
    def mode(self):
        """The quantization mode."""
        raise NotImplementedError("[QuantizationConfig] a subclass must have a `mode`. Do not instantiate QuantizationConfig directly.")

    def get_config(self):
        """Returns the arguments of the constructor, as a dict."""
        return {"weight_quantizer": serialize_keras_object(self.weight_quantizer),
                "activation_quantizer": serialize_keras_object(self.activation_quantizer)}

    @classmethod
    def from_config(cls, config):
        """Makes a config from what `get_config` returned."""
        return cls(**{key: deserialize_keras_object(value) if key.endswith("_quantizer") else value
                      for key, value in config.items()})

    @staticmethod
    def weight_quantizer_or_default(config, default):
        """The weight quantizer of `config`, or `default`."""
        return config.weight_quantizer if config is not None and config.weight_quantizer is not None else default

    @staticmethod
    def activation_quantizer_or_default(config, default):
        """The activation quantizer of `config` (None means none); `default` without a config."""
        return config.activation_quantizer if config is not None else default


def _check_weight_quantizer(kind, quantizer):
    if quantizer is not None and quantizer.output_dtype != "int8":
        raise ValueError(f"[{kind}] requires a weight_quantizer with output_dtype='int8'. "
                         f"Received: output_dtype={quantizer.output_dtype}")


class Int8QuantizationConfig(QuantizationConfig):
    """8-bit integers.

    Args:
        weight_quantizer: Quantizer of the weights, with output_dtype="int8".
        activation_quantizer: Quantizer of the inputs; "default", an AbsMaxQuantizer; None, inputs stay floats.
    """

    mode = "int8"

    def __init__(self, weight_quantizer=None, activation_quantizer="default"):
        super().__init__(weight_quantizer,
                         AbsMaxQuantizer() if activation_quantizer == "default" else activation_quantizer)
        _check_weight_quantizer("Int8QuantizationConfig", weight_quantizer)


class Int4QuantizationConfig(QuantizationConfig):
    """4-bit integers, two in a byte.

    Args:
        weight_quantizer: Quantizer of the weights, with output_dtype="int8" and value_range=(-8, 7).
        activation_quantizer: Quantizer of the inputs; "default" and None, inputs stay floats.
        block_size: rows of the kernel that share a scale and a zero; None or -1, one scale for each output.

    Raises:
        ValueError: block_size is no positive integer, -1 or None, or comes with a quantizer.
    """

    mode = "int4"

    def __init__(self, weight_quantizer=None, activation_quantizer="default", block_size=128):
        super().__init__(weight_quantizer, None if activation_quantizer == "default" else activation_quantizer)
        if block_size is not None and block_size != -1 and block_size <= 0:
            raise ValueError("[Int4QuantizationConfig] block_size must be None, -1, or a positive integer. "
                             f"Received: block_size={block_size}")
        self.block_size = block_size
        if block_size is not None and block_size > 0 and (
                self.weight_quantizer is not None or self.activation_quantizer is not None):
            raise ValueError(
                "[Int4QuantizationConfig] Int4 sub-channel quantization (block_size > 0) does not support custom "
                "quantizers: set block_size to None or -1, or remove the quantizers. "
                f"Received: block_size={block_size}")
        if weight_quantizer is not None and tuple(weight_quantizer.value_range) != (-8, 7):
            raise ValueError("[Int4QuantizationConfig] requires a weight_quantizer with value_range=(-8, 7). "
                             f"Received: value_range={weight_quantizer.value_range}")
        _check_weight_quantizer("Int4QuantizationConfig", weight_quantizer)

    def get_config(self):
        return {**super().get_config(), "block_size": self.block_size}

    @classmethod
    def from_config(cls, config):
        return super().from_config({"block_size": None, **config})  # files of older versions have none


class Float8QuantizationConfig(QuantizationConfig):
    """8-bit floats in training; see `layers.Dense.quantize`."""

    mode = "float8"

    def __init__(self):
        super().__init__(None, None)

    def get_config(self):
        return {}


class _CalibratedConfig(QuantizationConfig):
    """What GPTQ and AWQ share: data that shows which weights matter."""

    # What is only needed for the calibration is not kept in files.
    _arguments = ()

    def __init__(self, dataset, tokenizer, weight_bits, bits_allowed, num_samples, sequence_length, group_size,
                 quantization_layer_structure):
        super().__init__()
        kind = type(self).__name__
        if weight_bits not in bits_allowed:
            raise ValueError(f"[{kind}] Unsupported weight_bits {weight_bits}. Supported values are {bits_allowed}."
                             if len(bits_allowed) > 1 else
                             f"[{kind}] AWQ only supports 4-bit quantization. Received weight_bits={weight_bits}.")
        for name, value in (("num_samples", num_samples), ("sequence_length", sequence_length)):
            if value <= 0:
                raise ValueError(f"[{kind}] {name} must be a positive integer. Received: {name}={value}")
        if group_size < -1 or group_size == 0:
            raise ValueError(f"[{kind}] Invalid group_size. Supported values are -1 (no groups) or a positive integer, "
                             f"but got {group_size}.")
        self.dataset = dataset
        self.tokenizer = tokenizer
        self.weight_bits = weight_bits
        self.num_samples = num_samples
        self.sequence_length = sequence_length
        self.group_size = group_size
        self.quantization_layer_structure = quantization_layer_structure

    def dtype_policy_string(self):
        """The mode as it begins the name of a dtype policy, such as "gptq/4/128"."""
        return f"{self.mode}/{self.weight_bits}/{self.group_size}"

    def get_config(self):
        return {"dataset": None, "tokenizer": None, **{name: getattr(self, name) for name in self._arguments}}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class GPTQConfig(_CalibratedConfig):
    """GPTQ: weights are rounded one input at a time, and those not rounded yet make up for the error.

    Args:
        dataset: iterable of strings, or of arrays of numbers (batch, length), for the calibration.
        tokenizer: function or object with `tokenize` that makes numbers of strings.
        weight_bits: 2, 3, 4 or 8.
        num_samples: of the data set.
        per_channel: bool; a scale for each output.
        sequence_length: numbers in a sample.
        hessian_damping: part of the mean of the Hessian's diagonal that is added to it, in [0, 1].
        group_size: inputs that share a scale; -1, all.
        symmetric: bool; ranges symmetric around 0.
        activation_order: bool; round the inputs of the largest activations first.
        quantization_layer_structure: dict with "pre_block_layers" and "sequential_blocks", or None, what the model's
            `get_quantization_layer_structure` returns.

    Raises:
        ValueError: a number is out of its range.
    """

    mode = "gptq"
    _arguments = ("weight_bits", "num_samples", "per_channel", "sequence_length", "hessian_damping", "group_size",
                  "symmetric", "activation_order", "quantization_layer_structure")

    def __init__(self, dataset, tokenizer, *, weight_bits=4, num_samples=128, per_channel=True, sequence_length=512,
                 hessian_damping=0.01, group_size=128, symmetric=False, activation_order=False,
                 quantization_layer_structure=None):
        super().__init__(dataset, tokenizer, weight_bits, (2, 3, 4, 8), num_samples, sequence_length, group_size,
                         quantization_layer_structure)
        if hessian_damping < 0 or hessian_damping > 1:
            raise ValueError("[GPTQConfig] hessian_damping must be between 0 and 1. "
                             f"Received: hessian_damping={hessian_damping}")
        self.per_channel = per_channel
        self.hessian_damping = hessian_damping
        self.symmetric = symmetric
        self.activation_order = activation_order


class AWQConfig(_CalibratedConfig):
    """AWQ: inputs with large activations get larger weights before rounding, found by a search over exponents.

    Args:
        dataset, tokenizer, num_samples, sequence_length, group_size, quantization_layer_structure: as for GPTQConfig.
        weight_bits: 4.
        num_grid_points: exponents that the search tries.

    Raises:
        ValueError: a number is out of its range.
    """

    mode = "awq"
    _arguments = ("weight_bits", "num_samples", "sequence_length", "group_size", "num_grid_points",
                  "quantization_layer_structure")

    def __init__(self, dataset, tokenizer, *, weight_bits=4, num_samples=128, sequence_length=512, group_size=128,
                 num_grid_points=20, quantization_layer_structure=None):
        super().__init__(dataset, tokenizer, weight_bits, (4,), num_samples, sequence_length, group_size,
                         quantization_layer_structure)
        if num_grid_points <= 0:
            raise ValueError("[AWQConfig] num_grid_points must be a positive integer. "
                             f"Received: num_grid_points={num_grid_points}")
        self.num_grid_points = num_grid_points


_DEFAULTS = {"int8": Int8QuantizationConfig, "int4": Int4QuantizationConfig, "float8": Float8QuantizationConfig}
_CALIBRATED = {"gptq": GPTQConfig, "awq": AWQConfig}


def validate_and_resolve_config(mode, config):
    """The config that the arguments of `quantize` ask for.

    Args:
        mode: a mode, or None, that of the config.
        config: QuantizationConfig, a mode, or None, the usual one of the mode.

    Raises:
        ValueError: no such mode, no config where one is needed, or they contradict each other.
    """
    if isinstance(config, str):
        mode, config = config, None
    _check_mode(mode)
    if config is None:
        if mode is None:
            raise ValueError("[quantize] You must provide either `mode` or `config` to `quantize`.")
        if mode in _CALIBRATED:
            article = "an" if mode == "awq" else "a"
            raise ValueError(f"[quantize] For {mode.upper()}, you must pass {article} `{_CALIBRATED[mode].__name__}` object "
                             "in the `config` argument.")
        config = _DEFAULTS[mode]()
    elif not isinstance(config, QuantizationConfig):
        raise ValueError("[quantize] Argument `config` must be an instance of `QuantizationConfig`. "
                         f"Received: config={config} (of type {type(config)})")
    if mode is not None and config.mode != mode:
        raise ValueError(f"[quantize] Contradictory arguments: mode='{mode}' but config.mode='{config.mode}'")
    _check_mode(config.mode)
    wanted = _CALIBRATED.get(config.mode)
    if wanted is not None and not isinstance(config, wanted):
        raise ValueError(f"[quantize] Mode '{config.mode}' requires a valid `config` argument of type "
                         f"`{wanted.__name__}`. Received: {type(config)}")
    return config


def _check_mode(mode):
    if mode is not None and mode not in QUANTIZATION_MODES:
        raise ValueError(f"[quantize] Invalid quantization mode. Expected one of {QUANTIZATION_MODES}. Received: mode={mode}")
