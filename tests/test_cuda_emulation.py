"""What the emulator of csrc/cuda/emulation catches: planted bugs, each in a process of its own, and what warp
collectives, matrix instructions and asynchronous copies must do. csrc/cuda/emulation/README.md says what it proves."""

import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "cuda_emulation"))
import build  # noqa: E402

pytestmark = pytest.mark.skipif(not build.CSRC.exists() or not shutil.which(build.compiler()[0]),
                                reason="needs the sources and a C++ compiler")
MODES = list(itertools.product(("forward", "reverse", "shuffled"), ("early", "late")))

# (case, the build that catches it, in which modes at least, words of the report; None: other results than without
# the bug)
BUGS = [
    ("missing_barrier", "plain", MODES, None),
    ("missing_barrier", "tsan", MODES[:1], "data race"),
    ("missing_barrier_before_reuse", "plain", MODES, None),
    ("missing_barrier_before_reuse", "tsan", MODES[:1], "data race"),
    ("divergent_barrier", "plain", MODES, "divergent __syncthreads\\(\\): lines"),
    ("divergent_barrier", "ucontext", MODES, "divergent __syncthreads\\(\\): lines"),
    ("barrier_of_some", "plain", MODES, "not reached by all threads"),
    ("early_exit", "plain", MODES, "some have ended"),
    ("global_write_out_of_bounds", "plain", MODES, "past the ends of an array"),
    ("global_write_out_of_bounds", "asan", MODES[:1], "AddressSanitizer"),
    ("global_read_out_of_bounds", "asan", MODES[:1], "AddressSanitizer"),
    ("static_shared_out_of_bounds", "plain", MODES, "past the ends of an array in shared memory"),
    ("static_shared_out_of_bounds", "asan", MODES[:1], "out of bounds|AddressSanitizer"),
    ("dynamic_shared_out_of_bounds", "plain", MODES, "past the ends of an array in shared memory"),
    ("dynamic_shared_read_out_of_bounds", "asan", MODES[:1], "AddressSanitizer"),
    ("misaligned_vector", "plain", MODES, "misaligned address: not a multiple of 16"),
    ("misaligned_vector", "asan", MODES[:1], "misaligned address"),
    ("uninitialised_shared", "plain", [("reverse", "late")], None),
    ("shared_of_another_block", "plain", MODES, None),
    ("pointer_of_the_host", "plain", MODES, "not the device's"),
    ("wrong_mask", "plain", MODES, "misses a lane"),
    ("caller_not_in_mask", "plain", MODES, "the calling lane is not in its mask"),
    ("reads_outside_mask", "plain", MODES, "reads a lane that is not in its mask"),
    ("divergent_collective", "plain", MODES, "lanes of one warp meet in"),
    ("missing_syncwarp", "plain", MODES, None),
    ("missing_syncwarp", "tsan", MODES[:1], "data race"),
    ("misaligned_ldmatrix", "plain", MODES, "ldmatrix needs rows aligned"),
    ("race_between_warps", "plain", [("forward", "late"), ("shuffled", "late")], None),
    ("race_between_warps", "tsan", MODES[:1], "data race"),
    ("race_between_blocks", "plain", MODES, None),
    ("race_between_blocks", "tsan", MODES[:1], "data race"),
    ("block_reads_another", "plain", [("reverse", "late"), ("shuffled", "late")], None),
    ("race_of_equal_values", "tsan", MODES[:1], "data race"),
    ("float_order", "plain", [("reverse", "late"), ("shuffled", "late")], None),
    ("missing_fence", "tsan", MODES[:1], "data race"),
    ("missing_wait", "plain", [m for m in MODES if m[1] == "late"], None),
    ("wait_without_barrier", "plain", MODES, None),
    ("waits_for_too_few", "plain", [m for m in MODES if m[1] == "late"], None),
    ("overwrites_what_is_read", "plain", [m for m in MODES if m[1] == "early"], None),
    ("misaligned_copy", "plain", MODES, "cp.async needs addresses aligned"),
    ("copy_never_waited_for", "plain", [m for m in MODES if m[1] == "late"], "not waited for"),
]
CASES = sorted({case for case, *_ in BUGS})


@pytest.fixture(scope="module")
def planted():
    """The program of a build; skips where the compiler cannot make it."""
    def program(name):
        if not build.supported(name):
            pytest.skip(f"the compiler has no libraries for the build {name}")
        return build.build("planted.cpp", build.BUILDS[name])

    return program


def run(program, *arguments, order="forward", copies="late"):
    environment = dict(os.environ, **build.ENVIRONMENT, FASTNN_EMU_ORDER=order, FASTNN_EMU_COPIES=copies)
    return subprocess.run([program, *arguments], capture_output=True, text=True, errors="replace", env=environment, timeout=120)


def test_every_case_is_listed(planted):
    assert run(planted("plain")).stdout.split() == CASES
    assert len(CASES) >= 12


@pytest.mark.parametrize("name", build.BUILDS)
def test_right_kernels_pass_in_every_mode(planted, name):
    program = planted(name)
    modes = MODES if name == "plain" else MODES[:1] + MODES[-1:]
    for case in CASES:
        first = run(program, case, "0")
        assert first.returncode == 0 and first.stdout, f"{case}: {first.stderr}"
        for order, copies in modes:
            again = run(program, case, "0", order=order, copies=copies)
            assert (again.returncode, again.stdout) == (0, first.stdout), f"{case}, {order}, {copies}: {again.stderr}"


@pytest.mark.parametrize("case, name, modes, report", BUGS, ids=[f"{b[0]}-{b[1]}" for b in BUGS])
def test_planted_bug_is_caught(planted, case, name, modes, report):
    program = planted(name)
    right = run(program, case, "0").stdout
    for order, copies in modes:
        wrong = run(program, case, "1", order=order, copies=copies)
        if report is None:
            assert wrong.returncode == 0 and wrong.stdout != right, f"{order}, {copies}: {wrong.stderr}"
        else:
            assert wrong.returncode != 0
            assert re.search(report, wrong.stderr), f"{order}, {copies}: {wrong.stderr}"


@pytest.mark.parametrize("case", ["barrier_of_some", "early_exit", "caller_not_in_mask", "divergent_barrier", "global_write_out_of_bounds"])
def test_what_a_stopped_kernel_did_is_no_race_with_what_follows(planted, case):
    """Its memory is freed by the thread that launched it."""
    result = run(planted("tsan"), case, "1")
    assert result.returncode == 3 and "ThreadSanitizer" not in result.stderr, result.stderr


def test_collectives_and_matrix_instructions(planted):
    planted("plain")  # the emulator's objects; the other builds are for cuda_emulation/matrix.py
    program = build.build("semantics.cpp", build.BUILDS["plain"])
    for order, copies in MODES:
        result = run(program, order=order, copies=copies)
        assert result.returncode == 0, result.stdout + result.stderr


def test_graphs(planted):
    planted("plain")
    for name in ("plain", "asan"):
        if not build.supported(name):
            continue
        result = run(build.build("graphs.cpp", build.BUILDS[name]))
        assert result.returncode == 0, result.stdout + result.stderr


def test_fragments_are_those_of_cute(tmp_path):
    found = importlib.util.find_spec("cutlass_library")
    if found is None:
        pytest.skip("the package nvidia-cutlass is not installed")
    headers = Path(found.submodule_search_locations[0]) / "source" / "include"
    # CuTe includes libcu++ and the runtime's headers, from a toolkit or the packages nvidia-cuda-cccl and -runtime.
    toolkits = [Path(shutil.which("nvcc")).resolve().parents[1] / "include"] if shutil.which("nvcc") else []
    toolkits += [Path("/usr/local/cuda/include")]
    nvidia = importlib.util.find_spec("nvidia")
    toolkits += [p for root in (nvidia.submodule_search_locations if nvidia else []) for p in Path(root).glob("*/include")]
    includes = [f"-I{p}" for t in toolkits for p in (t, t / "cccl") if p.exists()]
    program = tmp_path / "cute_layouts"
    subprocess.run([*build.compiler(), "-std=c++17", "-w", "-O0", f"-I{headers}", *includes,
                    str(build.HERE / "cute_layouts.cpp"), "-o", str(program)], check=True)
    theirs = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = run(build.build("semantics.cpp", build.BUILDS["plain"]), "layouts").stdout.splitlines()
    assert len(theirs) == 8 and ours == theirs
