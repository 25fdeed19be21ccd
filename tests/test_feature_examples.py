"""The programs of examples/ about single features run and reach what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"


def output(name, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, FOLDER / f"{name}.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


# {program: [a pattern that its output must have; the least number in its group, where it has one]}
EXPECTED = {
    "transfer": [(r"0 to 4: accuracy ([\d.]+)", 0.9), (r"frozen base: accuracy ([\d.]+)", 0.75), (r"tuned: accuracy ([\d.]+)", 0.75),
                 (r"trained variables: \['head/kernel', 'head/bias'\]", None), (r"base as before: True", None)],
    "multi_output": [(r"kind: accuracy ([\d.]+)", 0.85), (r"'colour_mae', 'kind_accuracy'", None)],
    "siamese": [(r"new images: ([\d.]+)", 0.95), (r"never seen: ([\d.]+)", 0.55), (r"parameters: 25984,.* 25984", None)],
    "custom_loop": [(r"held out: accuracy ([\d.]+)", 0.95)],
    "lora": [(r"adapted: accuracy ([\d.]+)", 0.85), (r"kernels as before: True", None), (r"predicts the same: True", None)],
    "ctc": [(r"greedy: (\d+)%", 80)],
    "text_attention": [(r"new reviews: ([\d.]+)", 0.95)],
}


def test_every_program_is_listed():
    assert sorted([*EXPECTED, "mnist"]) == sorted(p.stem for p in FOLDER.glob("*.py"))  # mnist.py: README's own command


@pytest.mark.parametrize("name", EXPECTED)
def test_program(name, tmp_path):
    text = output(name, tmp_path)
    for pattern, least in EXPECTED[name]:
        found = re.search(pattern, text)
        assert found, f"{pattern!r} is not in\n{text}"
        assert least is None or float(found[1]) >= least, text
