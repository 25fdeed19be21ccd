"""Shows that fastnn and Keras open each other's files. Needs keras==3.15.1 beside fastnn; not run by plain pytest.

    KERAS_BACKEND=torch python tests/keras_exchange.py [case ...]

For every model of exchange_cases.py and both directions: train two steps, save, open in the other library,
compare predictions (1e-5) and, after three more steps in each, the weights (1e-4): the optimizer has resumed. The
weights alone go through a `.weights.h5` file into a model that the other library has built from the code.
`--fixtures` writes the files of real Keras that tests/test_model_files.py reads.
"""
import os
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras  # noqa: E402
import numpy as np  # noqa: E402
from exchange_cases import CASES  # noqa: E402

import fastnn  # noqa: E402

FIXTURES = Path(__file__).parent / "fixtures" / "keras_files.tar.xz"
# Small enough to be stored.
STORED = ("dense", "residual", "several_inputs_and_outputs", "nested", "bidirectional", "custom_layer", "attention",
          "operations", "cells", "preprocessing")


def flat(y):
    if isinstance(y, dict):
        return [np.asarray(y[key]) for key in sorted(y)]
    return [np.asarray(v) for v in (y if isinstance(y, (list, tuple)) else [y])]


def difference(a, b):
    """The largest |a - b| / max(1, |b|)."""
    assert len(a) == len(b), (len(a), len(b))
    worst = 0.0
    for x, y in zip(a, b):
        assert x.shape == y.shape, (x.shape, y.shape)
        if x.size:
            worst = max(worst, float(np.max(np.abs(x - y) / np.maximum(1, np.abs(y)))))
    return worst


def train(model, x, y, steps):
    for _ in range(steps):
        model.train_on_batch(x, y)


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def exchange(name, source, target, folder):
    """(predictions, resumed weights, predictions from weights alone): the largest differences."""
    build = CASES[name]
    model, x, y, _ = build(source)
    train(model, x, y, 2)
    path = os.path.join(folder, f"{name}.keras")
    model.save(path)
    other, _, _, objects = build(target)
    loaded = target.saving.load_model(path, custom_objects=objects)
    expected = flat(model.predict(x, verbose=0))
    predictions = difference(flat(loaded.predict(x, verbose=0)), expected)
    alone = os.path.join(folder, f"{name}.weights.h5")
    model.save_weights(alone)
    if target is keras:  # fastnn does this by itself
        other.optimizer.build(other.trainable_variables)
    other.load_weights(alone)
    from_weights = difference(flat(other.predict(x, verbose=0)), expected)
    train(model, x, y, 3)
    train(loaded, x, y, 3)
    train(other, x, y, 3)
    resumed = max(difference(weights(loaded), weights(model)), difference(weights(other), weights(model)))
    return predictions, resumed, from_weights


def write_fixtures(folder):
    for name in STORED:
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model, x, y, _ = CASES[name](keras)
        train(model, x, y, 2)
        model.save(folder / f"{name}.keras")
        if name == "several_inputs_and_outputs":
            model.save_weights(folder / f"{name}.weights.h5")
        predictions = flat(model.predict(x, verbose=0))
        train(model, x, y, 3)
        np.savez(folder / f"{name}.npz", **{f"y{i}": v for i, v in enumerate(predictions)},
                            **{f"w{i}": w for i, w in enumerate(weights(model))})
    with tarfile.open(FIXTURES, "w:xz", preset=9) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    print(f"{len(STORED)} models in {FIXTURES}, {FIXTURES.stat().st_size} bytes")


def main(names):
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names or CASES:
            for source, target in ((fastnn, keras), (keras, fastnn)):
                keras.backend.clear_session()
                keras.utils.set_random_seed(1)
                fastnn.utils.set_random_seed(1)
                label = f"{name:28} {source.__name__:>6} -> {target.__name__:6}"
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        predictions, resumed, from_weights = exchange(name, source, target, folder)
                    good = predictions < 1e-5 and resumed < 1e-4 and from_weights < 1e-5
                    print(f"{label} predictions {predictions:.1e}  from weights {from_weights:.1e}  resumed {resumed:.1e}  "
                          f"{'ok' if good else 'FAILED'}", flush=True)
                except Exception as error:
                    good = False
                    print(f"{label} FAILED: {type(error).__name__}: {str(error)[:600]}", flush=True)
                failed += not good
    print("all files are exchanged" if not failed else f"{failed} failed")
    return failed


if __name__ == "__main__":
    if "--fixtures" in sys.argv:
        with tempfile.TemporaryDirectory() as temporary:
            write_fixtures(Path(temporary))
    else:
        sys.exit(1 if main(sys.argv[1:]) else 0)
