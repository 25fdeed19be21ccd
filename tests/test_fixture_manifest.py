"""Every public layer, loss, metric, optimizer, schedule, initializer, ... has numbers of Keras in tests/fixtures.

What has none is named here with the reason. Cases that two backends of Keras do not agree on are in
fixtures/left_out.json, which make_fixtures.py writes.
"""

import json

import pytest

import fastnn as keras
from fixtures import FOLDER, Fixtures, number_cases

BASE = "a base class"
OURS = "Keras does not have it"
CODING = "turns objects into configs or names into objects; test_keras_signatures.py holds its names against Keras's"
FUNCTION = "the class of this name is the mean of it"
ARGUMENT = "holds arguments and computes nothing"

# {module: (files, {name: why it has no numbers})}
MODULES = {
    "layers": (("layers", "preprocessing", "functions"), {
        "Layer": BASE, "Wrapper": BASE, "IndexLookup": BASE, "DropConnectDense": OURS,
        "Input": ARGUMENT, "InputLayer": ARGUMENT, "InputSpec": ARGUMENT,
        "Lambda": "takes a function, which no file can hold; test_small_layers.py",
        "MaxNumBoundingBoxes": "takes a dict of boxes, and fills it up; test_bounding_boxes.py",
        "deserialize": CODING, "serialize": CODING,
    }),
    "losses": (("losses", "functions"), {
        "Loss": BASE, "LossFunctionWrapper": "takes a function; every loss here is one",
        "get": CODING, "deserialize": CODING, "serialize": CODING,
    }),
    "metrics": (("metrics",), {
        "Metric": BASE, "MeanMetricWrapper": "takes a function; most metrics here are one", "BLEU": OURS,
        "get": CODING, "deserialize": CODING, "serialize": CODING,
        **dict.fromkeys((
            "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "top_k_categorical_accuracy",
            "sparse_top_k_categorical_accuracy", "concordance_correlation", "pearson_correlation"), FUNCTION),
    }),
    "optimizers": (("optimizers",), {
        "Optimizer": BASE, "OptimizerMap": ARGUMENT,
        "MultiOptimizer": "applies other optimizers to variables by path; test_optimizers.py",
        "get": CODING, "deserialize": CODING, "serialize": CODING,
    }),
    "optimizers.schedules": (("schedules",), {
        "LearningRateSchedule": BASE, "CyclicalLearningRate": OURS, "OneCycle": OURS,
        "resolve_schedule": CODING, "deserialize": CODING, "serialize": CODING,
    }),
    "initializers": (("initializers",), {
        "Initializer": BASE, "RandomInitializer": BASE, "compute_fans": "a helper of the random ones",
        "get": CODING, "deserialize": CODING, "serialize": CODING,
    }),
    "regularizers": (("regularizers",), {
        "Regularizer": BASE, "get": CODING, "deserialize": CODING, "serialize": CODING,
    }),
    "constraints": (("constraints",), {
        "Constraint": BASE, "get": CODING, "deserialize": CODING, "serialize": CODING,
    }),
    "activations": (("activations",), {
        "sparsemax": "Keras 3.15 gives values that do not sum to one",
        "get": CODING, "deserialize": CODING, "serialize": CODING,
    }),
}  # fmt: skip


def public(module):
    """{name: object} of what a module defines for its users; aliases of one object are all named."""
    found = keras
    for part in module.split("."):
        found = getattr(found, part)
    home = f"fastnn.{module.split('.')[0]}"
    activations = module == "activations"  # many are functions of ops
    return {
        name: x for name, x in vars(found).items()
        if not name.startswith("_") and callable(x)
        and (x.__module__.startswith(home) or activations and x.__module__.startswith("fastnn.ops"))
    }  # fmt: skip


def classes(spec):
    """Every class and function that a description names, at any depth."""
    found = set()
    if isinstance(spec, dict):
        found |= {spec[key] for key in ("class", "function") if isinstance(spec.get(key), str)}
        found = found.union(*map(classes, spec.values()))
    elif isinstance(spec, list):
        found = found.union(*map(classes, spec))
    return found


def left_out(files):
    """The classes of the cases that are listed as left out."""
    left = json.loads((FOLDER / "left_out.json").read_text())
    return {name.removeprefix("layer-").removeprefix("loss-").split("-")[0] for file in files for name in left.get(file, ())}


def stored(files):
    return {name for file in files for case in (Fixtures(file),) for n in case.names() for name in classes(case.spec(n))}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_numbers(module):
    files, reasons = MODULES[module]
    names = public(module)
    covered = {id(names[name]) for name in stored(files) | left_out(files) if name in names}
    missing = sorted(name for name, x in names.items() if id(x) not in covered and name not in reasons)
    assert not missing, f"{module}: without numbers of Keras and without a reason"
    unneeded = sorted(name for name in reasons if name not in names or id(names[name]) in covered)
    assert not unneeded, f"{module}: reasons for names that have numbers, or do not exist"


# Layers of images that are defined among others; all in files image_*.py turn pixels into pixels, too.
PIXELS = {"Rescaling"}


def test_every_layer_and_loss_is_trained():
    """Weights after one and ten steps: of every layer that computes floats alike in every call, and of every loss."""
    trained = stored(("steps",)) | left_out(("steps",))
    untrained = {
        name for file in ("layers", "losses") for case in (Fixtures(file),) for n in case.names()
        for name in (case.spec(n)["class"],) if name not in trained
    }  # fmt: skip
    layers = {name for name, x in public("layers").items() if name in untrained}
    drawing = {"AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"}
    images = {name for name in layers if public("layers")[name].__module__.split(".")[-1].startswith("image_")}
    assert untrained - drawing - images == PIXELS


def test_every_distribution_of_initial_values():
    specs = [Fixtures("initializers").spec(name) for name in Fixtures("initializers").names()]
    found = {(s["config"].get("mode"), s["config"].get("distribution")) for s in specs if s["class"] == "VarianceScaling"}
    assert {(m, d) for m in ("fan_in", "fan_out", "fan_avg") for d in ("uniform", "truncated_normal", "untruncated_normal")} <= found


def test_what_was_left_out_is_listed():
    """Every case of the generator is stored or listed with what its backends disagree about."""
    left = json.loads((FOLDER / "left_out.json").read_text())
    for file, rows in {"losses": number_cases.losses, "metrics": number_cases.metrics, "optimizers": number_cases.optimizers,
                       "schedules": number_cases.schedules, "functions": number_cases.functions}.items():  # fmt: skip
        assert set(rows()) == set(Fixtures(file).names()) | set(left.get(file, ())), file
    for rows in left.values():
        assert all(reasons for reasons in rows.values())


def test_all_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 5_000_000
