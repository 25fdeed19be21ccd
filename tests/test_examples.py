"""The programs of examples/seeds run, print the parameter counts of Keras, and answer old spellings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn as keras

FOLDER = Path(__file__).parent.parent / "examples" / "seeds"

# What the program must print: numbers of summary(), or a line of its own.
EXPECTED = {
    "000_sequential": ["1,217", "33 ", "weights that changed: [False, False, False, False, True, True]"],
    "000_functional": ["1,514", "ensemble: (4, 256, 25, 10)"],
    "000_low_rank": ["rank: 1", "values: 9 as a matrix, 6 as a product of rank 1"],
    "000_transfer": ["22,910,480", "2,049,000", "weights that changed: 2 of 236"],
    "001_sequential": ["101,770"],
    "001_functional": ["101,770"],
    "001_multi_input_output": ["741,643", "output1_accuracy", "output2_mae"],
    "001_custom_training": ["own loop: loss", "epoch 2:", "val_within_half"],
    "002_sequential_to_functional": ["3,466", "same predictions: True"],
    "002_question_answering": ["1,000,052"],
    "002_posts": ["45,982,476", "'age_loss'", "'income_loss'", "'gender_loss'"],
    "002_inception": ["453,002"],
    "002_residual": ["442,752", "151,680"],
    "002_siamese": ["20,673", "fit before compile: ", "compile()"],
    "002_two_cameras": ["parameters: 20,861,480, of the shared Xception: 20,861,480", "one network for both: True", "23,851,784"],
    "003_two_ways": ["26,176", "metrics"],
    "004_layers": ["101,770", "16,017", keras.__version__],
}


def test_every_program_is_listed():
    assert sorted(EXPECTED) == sorted(p.stem for p in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", EXPECTED)
def test_program(name, tmp_path):
    run = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    for text in EXPECTED[name]:
        assert text in run.stdout, f"{text!r} is not in\n{run.stdout}"
    assert list(tmp_path.iterdir()) == []


def small_model():
    return keras.Sequential([keras.Input(shape=(3,)), keras.layers.Dense(2)])


def test_learning_rate_has_its_old_name():
    for cls in (keras.optimizers.SGD, keras.optimizers.RMSprop, keras.optimizers.Adam):
        with pytest.warns(Warning, match="learning_rate"):
            optimizer = cls(lr=0.25)
        assert float(optimizer.learning_rate) == 0.25


def test_metric_is_answered_with_metrics():
    with pytest.raises((TypeError, ValueError), match=re.compile("did you mean .*metrics", re.I)):
        small_model().compile(optimizer="sgd", loss="mse", metric=["accuracy"])


def test_misspelled_arguments_are_answered():
    with pytest.raises((TypeError, ValueError), match=re.compile("did you mean .*units|unit", re.I)):
        keras.layers.Dense(unit=3)
    with pytest.raises((TypeError, ValueError), match=re.compile("did you mean .*activation", re.I)):
        keras.layers.Dense(3, activaton="relu")


def test_input_shape_builds_the_model():
    model = keras.Sequential([keras.layers.Dense(4, input_shape=(3,)), keras.layers.Dense(2)])
    assert model.built and model.count_params() == 26
    assert tuple(model.output_shape) == (None, 2)
    model = keras.Sequential([keras.layers.Dense(4, input_dim=3)])
    assert model.count_params() == 16


def test_fit_before_compile_says_so():
    x, y = np.zeros((4, 3)), np.zeros((4, 2))
    for call in (
        lambda m: m.fit(x, y),
        lambda m: m.evaluate(x, y),
        lambda m: m.train_on_batch(x, y),
    ):
        with pytest.raises(ValueError, match=r"compile\(\)"):
            call(small_model())
    assert small_model().predict(x, verbose=0).shape == (4, 2)


def test_names_with_dashes_and_old_metric_names():
    model = keras.Sequential(
        [keras.Input(shape=(3,)), keras.layers.Dense(1, activation="sigmoid", name="layer-1")]
    )
    assert model.get_layer("layer-1") is model.layers[0]
    model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["acc"])
    history = model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0)
    assert list(history.history) == ["acc", "loss"]


def test_import_lines_of_the_documents():
    lines = """
import fastnn as keras
import fastnn as tf
import fastnn.keras
from fastnn import Input, layers, models, optimizers
from fastnn.models import Model, Sequential
from fastnn.layers import Dense
from fastnn.utils import to_categorical
assert tf.keras.layers is keras.layers and fastnn.keras.Sequential is Sequential
assert keras.layers.Input is keras.Input and models.Sequential is keras.Sequential
assert tf.keras.__version__ == tf.__version__
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", lines], env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
