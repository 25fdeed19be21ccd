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


@pytest.mark.parametrize("name, pattern, least", [
    ("lora", r"adapted: accuracy ([\d.]+)", 0.9),
    ("ctc", r"greedy: (\d+)%", 80),
    ("text_attention", r"new reviews: ([\d.]+)", 0.95),
])  # fmt: skip
def test_program(name, pattern, least, tmp_path):
    text = output(name, tmp_path)
    assert float(re.search(pattern, text)[1]) >= least, text
    if name == "lora":
        assert "kernels as before: True" in text
