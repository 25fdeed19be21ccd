"""The kernels on a GPU against the CPU's, by the problems of the benchmark."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "cuda" / "run.py"
_SPEC = importlib.util.spec_from_file_location("cuda_run", _PATH)
run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(run)


@pytest.mark.parametrize("name", run.small_problems())
def test_small_problem(name):
    problem = run.small_problems()[name]
    expected = run.reference(problem)
    _, found = run.outputs_of_fastnn(problem)
    assert run.error_of(found, expected) <= run.BOUND
    _, again = run.outputs_of_fastnn(problem)
    assert run.error_of(again, found) == 0.0  # deterministic


@pytest.mark.parametrize("name", ["matmul 1024^3", "mnist.conv2 n128 gw", "resnet50.conv2.2 n32 forward",
                                  "depthwise 3x3/1 8x74x74x128 backward", "lstm 64x100x64-128 training"])
def test_large_problem(name):
    problem = run.problems()[name]
    expected = run.reference(problem)
    assert run.error_of(run.outputs_of_fastnn(problem)[1], expected) <= run.BOUND
