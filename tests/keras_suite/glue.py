"""What Keras keeps in private modules and its tests use all the same: a few lines each, on fastnn's own names."""
import importlib
import importlib.util
import os
import shutil
import sys
import types

import ml_dtypes  # noqa: F401  (gives NumPy its bfloat16)
import numpy as np

TARGET = os.environ.get("KERAS_ALIAS_TARGET", "fastnn")
T = importlib.import_module(TARGET)


def part(path):
    return importlib.import_module(f"{TARGET}.{path}")


class Lazy:
    """A package that is imported when a test uses it."""

    def __init__(self, name):
        self.name = name

    @property
    def available(self):
        return importlib.util.find_spec(self.name) is not None

    def __getattr__(self, name):
        return getattr(importlib.import_module(self.name), name)


def compute_output_spec(f, *args, **kwargs):
    return part("symbolic").infer(f, args, kwargs)


def standardize_data_format(data_format):
    return T.config.standardize_data_format(data_format)


def transposed_pads(kernel, stride, dilation, padding, output_padding):
    """What a transposed convolution pads its stretched input with, before and behind, along one axis."""
    span = (kernel - 1) * dilation + 1
    if padding == "valid":
        extra = max(stride - span, 0) if output_padding is None else output_padding
        return span - 1, span - 1 + extra
    total = stride + span - 2 if output_padding is None else span + span % 2 - 2 + output_padding
    before = min((total + 1) // 2, span - 1)
    return before, total - before


def per_axis(value, n):
    return (value,) * n if value is None or isinstance(value, int) else tuple(value)


def transposed_padding(input_shape, kernel_shape, strides, padding, output_padding, dilation_rate):
    n = len(kernel_shape) - 2
    axes = zip(kernel_shape, per_axis(strides, n), per_axis(dilation_rate, n), per_axis(output_padding, n))
    return [transposed_pads(k, s, d, padding.lower(), o) for k, s, d, o in axes]


def transposed_shape(input_shape, kernel_size, filters, strides, padding, output_padding=None, data_format="channels_last",
                     dilation_rate=1):
    n = len(input_shape) - 2
    first = data_format == "channels_first"
    sizes = input_shape[2:] if first else input_shape[1:-1]
    out = []
    for size, k, s, d, o in zip(sizes, per_axis(kernel_size, n), per_axis(strides, n), per_axis(dilation_rate, n),
                                per_axis(output_padding, n)):
        pads = sum(transposed_pads(k, s, d, padding.lower(), o))
        out.append(None if size is None else (size - 1) * s + 1 + pads - (k - 1) * d)
    return (input_shape[0], filters, *out) if first else (input_shape[0], *out, filters)


def canonicalize_axis(axis, ndim):
    return np.lib.array_utils.normalize_axis_index(axis, ndim)


dtypes, ops, utils, config = part("dtypes"), T.ops, T.utils, T.config
# Tests that have steps for TensorFlow, JAX and torch: the ones for TensorFlow run with fastnn's tape. None: all of the file.
TAPED = {"quantizers/quantizers_test.py": None, "layers/core/dense_test.py": "test_quantize_float8",
         "layers/core/einsum_dense_test.py": "test_quantize_float8"}


def takes_tape(path):
    return any(path.endswith(name) for name in TAPED)


class TapedTensorFlow:
    """TensorFlow, but for what records gradients."""

    GradientTape = T.GradientTape

    def __init__(self, module):
        self.module = module

    @staticmethod
    def function(f=None, **options):
        return f if f is not None else lambda f: f

    def __getattr__(self, name):
        return getattr(self.module, name)


def import_taped(name, globals=None, locals=None, fromlist=(), level=0):
    module = __import__(name, globals, locals, fromlist, level)
    return TapedTensorFlow(module) if name == "tensorflow" and not fromlist else module


def backend_name():
    """fastnn; to a file that knows no other names than Keras's own, that of the backend which made the denominator."""
    code = sys._getframe(1).f_code
    for name, function in TAPED.items():
        if code.co_filename.endswith(name) and function in (None, code.co_name):
            return "tensorflow"
    return "torch" if code.co_filename.endswith(("trainers/trainer_test.py", "utils/dataset_utils_test.py")) else TARGET


class CuttingEmbedding(T.layers.Embedding):
    """As in Keras, fractions are cut off and negative numbers count from the end, where fastnn raises."""

    def call(self, inputs):
        return super().call(ops.mod(ops.cast(inputs, "int32"), self.input_dim))


# Files whose subject is another than what they need these for.
IN_FILES = {("quantizers/gptq_core_test.py", "layers", "Embedding"): CuttingEmbedding}


def for_file(path, module, name):
    return next((value for (file, *key), value in IN_FILES.items() if key == [module, name] and path.endswith(file)), None)


_BACKEND = {
    "backend": backend_name, "device": T.device, "standardize_dtype": part("backend").standardize_dtype, "is_float_dtype": lambda d: "float" in dtypes.standardize_dtype(d),
    "is_int_dtype": lambda d: "int" in dtypes.standardize_dtype(d), "result_type": lambda *d: dtypes.result_type(*d),
    "KerasTensor": T.KerasTensor, "Variable": T.Variable, "is_tensor": T.is_tensor, "name_scope": T.name_scope,
    "convert_to_tensor": T.convert_to_tensor, "convert_to_numpy": lambda x: np.array(T.convert_to_numpy(x)), "cast": ops.cast, "shape": ops.shape,
    "standardize_shape": lambda shape: part("tensor").standardize_shape(shape, allow_none=True),
    "floatx": config.floatx, "set_floatx": config.set_floatx, "epsilon": config.epsilon, "set_epsilon": config.set_epsilon,
    "image_data_format": config.image_data_format, "set_image_data_format": config.set_image_data_format,
    "standardize_data_format": standardize_data_format, "numpy": ops, "nn": ops, "math": ops, "linalg": ops, "image": ops.image, "core": ops,
    "SUPPORTS_SPARSE_TENSORS": False, "SUPPORTS_RAGGED_TENSORS": False, "SUPPORTS_COMPLEX_DTYPES": True, "IS_THREAD_SAFE": True,
    "random": part("random"), "compute_output_spec": compute_output_spec, "canonicalize_axis": canonicalize_axis,
    "get_keras_mask": lambda x: getattr(x, "_keras_mask", None), "set_keras_mask": lambda x, mask: setattr(x, "_keras_mask", mask),
    # In Keras's order, which names the combinations that tests go through.
    "ALLOWED_DTYPES": ("float16", "float32", "float64", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
                       "bfloat16", "bool", "string", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128"),
    "FLOAT8_TYPES": ("float8_e4m3fn", "float8_e5m2"), "COMPLEX_TYPES": ("complex64", "complex128"), "WEAK_TYPES": ("int", "float"),
    "FLOAT_TYPES": ("bfloat16", "float16", "float32", "float64"),
    "INT_TYPES": ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    "BOOL_TYPES": ("bool",),
}
if hasattr(part("tensor"), "AutocastScope"):
    _BACKEND["AutocastScope"] = part("tensor").AutocastScope
NAMES = {(module, name): value for name, value in _BACKEND.items() for module in (
    "backend", "backend.common", "backend.config", "backend.common.variables", "backend.common.keras_tensor",
    "backend.common.dtypes", "backend.common.backend_utils", "backend.common.masking")}
NAMES.update({
    ("backend.common.backend_utils", "compute_conv_transpose_output_shape"): transposed_shape,
    ("backend.common.backend_utils", "compute_conv_transpose_padding_args_for_jax"): transposed_padding,
    ("backend.common.global_state", "clear_session"): lambda free_memory=True: utils.clear_session(),
    ("utils.naming", "auto_name"): part("utils.naming").auto_name,
    ("utils.naming", "to_snake_case"): part("utils.naming").to_snake_case,
    ("utils", "removesuffix"): str.removesuffix, ("utils.python_utils", "removesuffix"): str.removesuffix,
    ("layers", "GroupedQueryAttention"): T.layers.GroupQueryAttention, ("ops", "KerasTensor"): T.KerasTensor,
    ("api_export", "keras_export"): lambda *a, **k: (lambda f: f),
    ("metrics.metrics_utils", "AUCCurve"): types.SimpleNamespace(ROC="ROC", PR="PR", PRGAIN="PRGAIN"),
    ("metrics.metrics_utils", "AUCSummationMethod"): types.SimpleNamespace(
        INTERPOLATION="interpolation", MAJORING="majoring", MINORING="minoring"),
    ("losses.loss", "squeeze_or_expand_to_same_rank"): part("losses.base").squeeze_or_expand_to_same_rank,
    ("backend.torch.trainer", "TorchTrainer"): part("trainer.trainer").Trainer,
    ("trainers.compile_utils", "CompileLoss"): part("trainer.compiled").CompiledLoss,
    ("trainers.compile_utils", "CompileMetrics"): part("trainer.compiled").CompiledMetrics,
    ("backend.common.symbolic_scope", "in_symbolic_scope"): lambda: False,  # fit runs no symbolic step before the first
    ("regularizers.regularizers", "validate_float_arg"): lambda value, name: part("regularizers")._non_negative(name, value),
    ("initializers.random_initializers", "compute_fans"): getattr(part("initializers"), "_fans", None),
})
NAMES.update({("utils.file_utils", name): function for name, function in {
    "exists": os.path.exists, "join": os.path.join, "isdir": os.path.isdir, "listdir": os.listdir, "File": open,
    "copy": shutil.copy, "remove": os.remove, "rmtree": shutil.rmtree, "makedirs": os.makedirs}.items()})
files = part("saving.model_files")
NAMES.update({
    ("saving.saving_lib", "save_weights_only"): files.save_weights, ("saving.saving_lib", "load_weights_only"): files.load_weights,
    ("saving.saving_lib", "_CONFIG_FILENAME"): "config.json", ("saving.saving_lib", "_METADATA_FILENAME"): "metadata.json",
    ("saving.object_registration", "GLOBAL_CUSTOM_NAMES"): part("saving.registration")._names,
    ("saving.object_registration", "GLOBAL_CUSTOM_OBJECTS"): part("saving.registration")._registered,
    ("saving.serialization_lib", "SafeModeScope"): part("saving.serialization").SafeModeScope,
    ("saving.serialization_lib", "ObjectSharingScope"): part("saving.serialization").ObjectSharingScope,
    ("saving.serialization_lib", "in_safe_mode"): part("saving.serialization").in_safe_mode,
    ("legacy.saving.legacy_h5_format", "save_model_to_hdf5"): part("saving.legacy_writer").save_model_to_hdf5,
})
import adapters  # noqa: E402

NAMES.update(adapters.NAMES)
NAMES.update({("utils.module_utils", name): Lazy(name) for name in ("tensorflow", "scipy", "jax", "h5py", "pandas", "torch")})
NAMES = {key: value for key, value in NAMES.items() if value is not None}
