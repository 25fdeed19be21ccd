"""`python -m fastnn.bench` from the sources: a row with its error, and the table as JSON and for readers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastnn
from fastnn import bench

SOURCES = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not SOURCES.exists(), reason="needs the sources")


def command(*arguments, cwd):
    package = Path(fastnn.__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-m", "fastnn.bench", *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_a_quick_run_of_one_kernel(tmp_path):
    done = command("--quick", "--filter", "matmul 16^3", "--threads", "1", "--seconds", "0.01", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "matmul 16^3" in done.stdout and "| family |" in done.stdout and "Traceback" not in done.stderr
    table = json.loads((tmp_path / "fastnn-bench.json").read_text())
    assert table["cpu"] and table["described"][0].startswith("fastnn") and any(d.startswith("NumPy") for d in table["described"])
    row, = table["rows"]
    assert row["name"] == "matmul 16^3" and row["ms"] > 0 and row["gflops"] > 0 and row["gbs"] > 0 and row["floor"] > 0
    assert row["peers_ms"]["numpy"] > 0 and row["ratio"] > 0
    assert 0 <= row["error"] < 1e-5  # by torch, or by NumPy where torch is not installed
    assert "matmul 16^3" in (tmp_path / "fastnn-bench.md").read_text()


def test_words_that_no_problem_has(tmp_path):
    done = command("--filter", "no such kernel", cwd=tmp_path)
    assert done.returncode != 0 and "no problem has one of these words" in done.stderr
    assert not (tmp_path / "fastnn-bench.json").exists()


def test_the_programs_are_found():
    assert {"run.py", "worker.py", "problems.py", "with_numpy.py", "with_fastnn.py"} <= {p.name for p in bench.folder().iterdir()}
