"""benchmarks/cuda without a GPU: its calls, layouts and errors on the emulated device, against NumPy and the CPU's kernels;
how it reads what nvcc says; the tables that are computed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import cuda, scopes

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "cuda"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="needs the sources")
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)] if FOLDER.exists() else []
needs_emu = pytest.mark.skipif(not scopes.library_path("cuda-emu").exists(), reason="cuda-emu was not built")


def load(name):
    import importlib.util

    spec = importlib.util.spec_from_file_location(f"cuda_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run = load("run") if FOLDER.exists() else None


def test_without_a_gpu_one_line_says_so(capsys):
    if cuda.is_available():
        pytest.skip("there is a GPU")
    assert run.main([]) == 2
    assert len(capsys.readouterr().out.strip().splitlines()) == 1


@needs_emu
@pytest.mark.parametrize("name", run.small_problems() if run else ())
def test_small_problem_on_the_emulated_device(name):
    rows = list(run.rows_of([run.small_problems()[name]], "cuda-emu", 0.0))
    assert "failed" not in rows[0] and rows[0]["error"] <= run.BOUND and rows[0]["seconds"]["fastnn"] > 0
    assert name in run.table(rows)


def windows(x, kh, kw, s):
    oh, ow = (x.shape[1] - kh) // s + 1, (x.shape[2] - kw) // s + 1
    return np.stack([np.stack([x[:, i * s:i * s + kh, j * s:j * s + kw] for j in range(ow)], 1) for i in range(oh)], 1)


def with_numpy(problem, a):
    """The problem by NumPy alone, in float64; None if it is not written here."""
    a = {k: v.astype("float64") if v.dtype == np.float32 else v for k, v in a.items()}
    p = problem.args
    if problem.op == "matmul":
        x, y = (np.swapaxes(a[k], -1, -2) if p.get(t) else a[k] for k, t in (("a", "ta"), ("b", "tb")))
        return x @ y
    if problem.name == "small dense forward":
        return np.maximum(a["x"] @ a["w"] + a["b"], 0)
    if problem.op == "conv2d" and p["direction"] == "forward":
        pad = p["kh"] // 2 if p["padding"] == "same" else 0
        x = np.pad(a["x"], ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        return np.einsum("nijklc,klco->nijo", windows(x, p["kh"], p["kw"], p["s"]), a["w"])
    if problem.op == "depthwise" and p["direction"] == "forward":
        x = np.pad(a["x"], ((0, 0), (1, 1), (1, 1), (0, 0)))
        return np.einsum("nijklc,klco->nijc", windows(x, 3, 3, 1), a["w"])
    if problem.op == "pool" and p["direction"] == "forward":
        w = windows(a["x"], 2, 2, 2)
        return w.max((3, 4)) if p["kind"] == "max" else w.mean((3, 4))
    if problem.name == "small softmax":
        e = np.exp(a["x"] - a["x"].max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    if problem.op == "reduction":
        return {"sum": np.sum, "max": np.max, "argmax": np.argmax}[p["name"]](a["x"], p["axis"])
    if problem.name == "small embedding forward":
        return a["table"][a["index"]]
    return None


@needs_emu
def test_results_are_those_of_numpy():
    compared = 0
    for problem in run.small_problems().values():
        arrays = problem.arrays()
        expected = with_numpy(problem, arrays)
        if expected is None:
            continue
        with fastnn.device("cuda-emu"):
            found = run.outputs_of_fastnn(problem, arrays)[1]
        assert run.error_of(found, [expected]) < 1e-5, problem.name
        compared += 1
    assert compared >= 12


def test_errors_are_seen():
    assert run.error_of([np.ones(3)], [np.ones(4)]) == float("inf")
    assert run.error_of([np.array([1.0, 2.0])], [np.array([1.0, 4.0])]) == 0.5


PTXAS = """ptxas info    : Compiling entry function '_Z1fv' for 'sm_90'
ptxas info    : Function properties for _Z1fv
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 16 bytes stack, 128 bytes smem
ptxas info    : Compiling entry function '_Z1gv' for 'sm_90'
ptxas info    : Function properties for _Z1gv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers
"""


def test_what_ptxas_says_is_read_and_held_against_the_budget():
    static = load("static")
    facts = static.kernels_of(PTXAS)
    assert facts == {("_Z1fv", 90): {"registers": 40, "shared": 128, "stack": 16, "spills": 20},
                     ("_Z1gv", 90): {"registers": 32, "shared": 0, "stack": 0, "spills": 0}}
    bad = {"x: f": {"90": {**facts["_Z1fv", 90], "occupancy": 0.75, "opcodes": []}}}
    lines = static.problems_of(bad, {"kernels": {"x: f": {"90": [39, 64, 1.0]}}})
    assert [word for word in ("spilled", "local memory", "registers, the budget", "shared memory", "occupancy")
            if not any(word in line for line in lines)] == []
    good = {"x: map_kernel<1, F>": {"90": {**facts["_Z1gv", 90], "occupancy": 1.0, "opcodes": ["LDG.E.128", "STG.E.128"]}}}
    assert static.problems_of(good, {}) == []
    assert "not in the budget file" in static.problems_of(good, {"kernels": {"x: f": {}}})[0]
    good["x: map_kernel<1, F>"]["90"]["opcodes"] = ["LDG.E", "STG.E.128"]
    assert "128-bit loads" in static.problems_of(good, {})[0]


def test_dynamic_shared_memory_of_products_is_what_their_launch_asks_for():
    static = load("static")
    # Slices of 16 lines of 128 and 128 lines of 16 + 4, or of 32 and 32 + 8, bytes by stages.
    assert static.dynamic_shared("matmul: gemm_kernel<SimtCore<128, 128, 8, 8, 2>, 1, MatmulProblem<float, false, true> >") == 2 * 4 * (
        16 * 128 + 128 * 20)
    assert static.dynamic_shared("conv2d: gemm_kernel<MmaCore<unsigned short, 64, 64, 32, 32, 4>, 8, ForwardProblem<unsigned short> >"
                                 ) == 4 * 2 * (64 * 40 + 32 * 72)
    assert static.dynamic_shared("softmax: softmax_forward_kernel<4>") == 0


def test_occupancy_is_that_of_the_toolkit():
    static = load("static")
    nvcc = static.find_tool("nvcc")
    if not nvcc:
        pytest.skip("nvcc was not found")
    # 40 registers: 1280 for a warp, 51 warps, 6 blocks of 8 of them; blocks of one warp: 16 on an SM of 48 warps.
    rows = [(90, 256, 40, 0, 0), (90, 256, 32, 0, 0), (86, 256, 32, 0, 0), (80, 128, 32, 40 * 1024, 0), (80, 128, 32, 0, 40 * 1024),
            (86, 32, 32, 0, 0), (100, 256, 32, 0, 227 * 1024), (86, 256, 32, 0, 100 * 1024)]
    assert static.occupancies(nvcc, rows) == [0.75, 1.0, 1.0, 0.25, 0.25, 0.333, 0.125, 0.0]


def test_the_budget_was_written_from_these_sources():
    static = load("static")
    if not static.find_tool("nvcc"):
        pytest.skip("nvcc was not found: the budget cannot be written")
    budget = json.loads(static.BUDGET.read_text())
    stale = static.stale_sources(budget)
    assert not stale, f"see what nvcc makes of them: python benchmarks/cuda/static.py --update --files {','.join(stale)}"
    architectures = {str(a) for a in static.ARCHITECTURES}
    assert {kernel for kernel, by_arch in budget["kernels"].items() if set(by_arch) != architectures} == set()


def test_roofline_is_computed():
    result = subprocess.run([sys.executable, str(FOLDER / "roofline.py"), "--filter", "matmul 1024^3"], capture_output=True, text=True)
    assert "computed" in result.stdout and "matmul 1024^3" in result.stdout, result.stderr
    roofline = load("roofline")
    from problems import problems

    problem = problems()["matmul 1024^3"]
    assert roofline.tile_of(problem) == (64, 64, 256, 1.0) and abs(roofline.waves(problem, 132) - 256 / 264) < 1e-9
