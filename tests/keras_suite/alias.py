"""Run keras's own *_test.py files against another package with Keras's public
API.   KERAS_ALIAS_TARGET=fastnn  KERAS_ALIAS_TESTS=<dir holding keras/src>
pytest -p keras_alias ... <dir>/layers/core/dense_test.py

Every `keras` / `keras.*` / `keras.src.*` module becomes a synthetic module whose
names are looked up ONLY in the target's public modules and in glue.py.  What cannot
be found is a placeholder that raises AttributeError when used, and is counted in MISSING.
Test files and keras/src/testing/*.py are exec'ed from KERAS_ALIAS_TESTS.
"""
import builtins
import collections
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types

TARGET = os.environ.get("KERAS_ALIAS_TARGET", "fastnn")
TESTS = os.environ["KERAS_ALIAS_TESTS"]          # .../keras/src of a keras wheel
T = importlib.import_module(TARGET)
MISSING = collections.Counter()


def pub(path):
    o = T
    for p in path.split("."):
        if not p:
            continue
        if not hasattr(o, p):
            try:
                o = importlib.import_module(o.__name__ + "." + p)
                continue
            except Exception:
                return None
        o = getattr(o, p)
    return o


# Internal modules that tests use by module name -> public places to look in.
WHERE = {
    "": [""],
    "backend": ["backend", "ops", "config", "", "utils", "random", "saving", "tree"],
    "backend.config": ["config", "backend"],
    "backend.common": ["backend", "utils", "config", ""],
    "backend.common.keras_tensor": ["", "backend", "utils"],
    "backend.common.variables": ["", "backend", "utils"],
    "backend.common.global_state": ["utils", "backend"],
    "backend.common.dtypes": ["backend", "utils"],
    "saving.serialization_lib": ["saving", "utils", "config"],
    "saving.object_registration": ["saving", "utils"],
    "saving.saving_api": ["saving", "models"], "saving.file_editor": ["saving"],
    "utils.traceback_utils": ["config"],
    "utils.rng_utils": ["utils"], "utils.numerical_utils": ["utils"],
    "utils.io_utils": ["config", "utils", "utils.messages"],
    "quantizers": ["quantizers", "quantizers.parameters"], "quantizers.quantizers": ["quantizers", "quantizers.parameters"], "quantizers.quantization_config": ["quantizers.configs"],
    "quantizers.utils": ["quantizers.filters"],
    "utils.image_utils": ["utils", "preprocessing.image"],
    "layers.preprocessing.image_preprocessing.bounding_boxes.converters": ["utils.bounding_boxes"],
    "layers.preprocessing.image_preprocessing.bounding_boxes.iou": ["utils.bounding_boxes"],
    "random": ["random"], "random.seed_generator": ["random"], "random.random": ["random"],
    "tree": ["tree"], "metrics.reduction_metrics": ["metrics"],
    "trainers.data_adapters": ["utils"], "trainers.data_adapters.py_dataset_adapter": ["utils"],
    "models": ["models", ""], "layers.core.input_layer": ["", "layers"],
    "optimizers.schedules": ["optimizers.schedules"],
    "optimizers.schedules.learning_rate_schedule": ["optimizers.schedules"],
    "dtype_policies": ["dtype_policies", "mixed_precision"],
    "dtype_policies.dtype_policy": ["dtype_policies", "mixed_precision", "config"],
    "testing": [], "distribution.distribution_lib": ["distribution"],
    "layers": ["layers", ""], "ops": ["ops"], "utils": ["utils", ""], "ops.image": ["ops.image", "ops"],
    "utils.summary_utils": ["utils.summary"], "layers.preprocessing.feature_space": ["utils"],
    "ops.operation": [""], "backend.common.remat": [""], "ops.function": [""],
}
BACKEND_SUBS = {"backend." + x for x in ("random", "numpy", "nn", "math", "linalg", "core", "image")} | {"ops.random"}
WHERE.update({k: ["random" if k.endswith("random") else "ops", "ops"] for k in BACKEND_SUBS})
WHERE["ops.random"] = ["random"]
WHERE["backend.image"] = ["ops.image", "ops"]
OPS_TAILS = {"ops.numpy", "ops.core", "ops.nn", "ops.math", "ops.linalg", "ops.image"}
def lookup(mod, name):
    """mod: path below keras.src ('' = keras.src itself)."""
    if (mod, name) in glue.NAMES:
        return glue.NAMES[mod, name]
    if os.path.exists(os.path.join(TESTS, mod.replace(".", "/"), name + ".py")):
        return None  # a module of Keras: what a test takes from it is looked up next
    places = WHERE.get(mod)
    if places is None:
        top = mod.split(".")[0]
        places = ["ops"] if mod in OPS_TAILS else ([top] if top not in ("backend", "testing") else [])
        if mod.startswith("optimizers.schedules"):
            places = ["optimizers.schedules"]
        # A helper of Keras that fastnn has as well, under the same name in a module of the same name.
        places = places + ["layers"] * (top == "layers") + [mod] * (top == "utils")
    for p in places:
        m = pub(p)
        if m is not None and hasattr(m, name) and not isinstance(getattr(m, name), types.ModuleType):
            return getattr(m, name)
    return None


class Missing(type):
    """Stands for a name that the target lacks, so that a test file can be imported without it: using it fails."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return missing(cls.__name__ + "." + name)

    def __call__(cls, *args, **kwargs):
        MISSING[cls.__name__] += 1
        raise AttributeError(f"{TARGET} has no {cls.__name__}")

    def __instancecheck__(cls, x):
        return cls()


def missing(name):
    return Missing(name, (), {})


def op_class(name):
    """Keras's ops are classes too, `Mean(axis=1)(x)`: the function under the class's name, or None."""
    key = OP_NAMES.get(name, name).replace("_", "").lower()
    function = next((getattr(m, f) for m in (T.ops, T.ops.image) for f in dir(m)
                     if f.replace("_", "").lower() == key and f.islower()), None)
    if not name[0].isupper() or function is None:
        return None

    def init(self, *args, **kwargs):
        kwargs.pop("name", None)
        self.args, self.kwargs = args, kwargs

    def call(self, *args, **kwargs):
        args = self.args + args if name in ARGUMENTS_FIRST else args + self.args
        return function(*args, **self.kwargs, **kwargs)

    return type(name, (), {"__init__": init, "__call__": call, "call": call, "symbolic_call": call, "compute_output_spec": call})


ARGUMENTS_FIRST = {"Einsum", "Full", "WhileLoop", "ForiLoop"}  # the function takes those of the class before its tensors
OP_NAMES = {"LayerNorm": "layer_normalization", "RMSNorm": "rms_normalization", "BatchNorm": "batch_normalization"}


class Syn(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        full = self.__name__ + "." + name
        if self.__name__ == "keras" or (self.__name__.startswith("keras.") and not self.__name__.startswith("keras.src")):
            o = pub(self.__name__[5:].lstrip("."))
            if name == "src":
                return importlib.import_module("keras.src")
            if o is not None and hasattr(o, name):
                return getattr(o, name)
            MISSING[full] += 1
            raise AttributeError(full)
        mod = self.__name__[len("keras.src"):].lstrip(".")
        v = glue.for_file(sys._getframe(1).f_code.co_filename, mod, name) or lookup(mod, name)
        if v is not None:
            return v
        if (mod in OPS_TAILS or mod == "ops") and (op := op_class(name)) is not None:
            return op
        sub = (mod + "." + name).lstrip(".")
        if sub in BACKEND_SUBS:
            return importlib.import_module("keras.src." + sub)
        if os.path.exists(os.path.join(TESTS, sub.replace(".", "/") + ".py")) or os.path.isdir(os.path.join(TESTS, sub.replace(".", "/"))):
            return importlib.import_module("keras.src." + sub)
        if sys._getframe(1).f_code.co_filename.startswith(TESTS):  # a test asks, not pytest
            return missing(full)
        raise AttributeError(full)


class TapedLoader(importlib.machinery.SourceFileLoader):
    """Loads a test whose steps are written for TensorFlow's GradientTape: it gets fastnn's."""

    def exec_module(self, module):
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": glue.import_taped}
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras" and not fullname.startswith("keras."):
            return None
        rel = fullname[len("keras.src"):].lstrip(".") if fullname.startswith("keras.src") else None
        if rel and (rel.endswith("_test") or rel.startswith("testing")):
            base = os.path.join(TESTS, rel.replace(".", "/"))
            if os.path.isdir(base):
                return importlib.util.spec_from_file_location(fullname, base + "/__init__.py", submodule_search_locations=[base])
            if os.path.exists(base + ".py"):
                loader = TapedLoader(fullname, base + ".py") if glue.takes_tape(base + ".py") else None
                return importlib.util.spec_from_file_location(fullname, base + ".py", loader=loader)
            return None
        if rel in BACKEND_SUBS:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if rel and not (os.path.exists(os.path.join(TESTS, rel.replace(".", "/") + ".py")) or os.path.isdir(os.path.join(TESTS, rel.replace(".", "/")))):
            return None
        s = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return s

    def create_module(self, spec):
        m = Syn(spec.name)
        m.__path__ = []
        if not spec.name.startswith("keras.src"):      # public module: real entries
            o = pub(spec.name[5:].lstrip("."))
            if o is not None:
                m.__dict__.update({k: v for k, v in vars(o).items() if not k.startswith("__")
                                   and not isinstance(v, types.ModuleType)})
        return m

    def exec_module(self, module):
        pass


for k in [k for k in sys.modules if k == "keras" or k.startswith("keras.")]:
    del sys.modules[k]
sys.meta_path.insert(0, Finder())
import glue  # noqa: E402  (its names are looked up among these)


def pytest_collection_modifyitems(items):
    """Keras trusts the classes of its own package, which its tests are a part of; fastnn knows what is registered."""
    known = T.saving.get_custom_objects()
    for module in {item.module for item in items if hasattr(item, "module")}:
        for name, value in list(vars(module).items()):
            if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "get_config"):
                known.setdefault(name, value)


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line("ALIAS-MISSING " + " ".join(f"{k}:{v}" for k, v in MISSING.most_common(400)))
