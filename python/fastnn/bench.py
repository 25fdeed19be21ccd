"""The kernels timed beside the libraries that this Python has: torch (oneDNN, MKL), NumPy (OpenBLAS), onnxruntime.

    python -m fastnn.bench --filter "matmul 256^3,max pool"
    python -m fastnn.bench cuda      # beside cuDNN and cuBLAS, on a GPU

A row for each kernel and shape: time, GFLOP/s or GB/s, share of the machine's limit, ratio to the fastest of the others,
error from float64; a summary by family; and the rows in fastnn-bench.json and fastnn-bench.md. `--help` lists the options.
"""
import runpy
import sys
from pathlib import Path


def folder():
    """Where the programs are: in the repository, or beside this file in an installed package."""
    here = Path(__file__).resolve().parent
    for place in (here.parents[1] / "benchmarks", here / "benchmarks"):
        if (place / "run.py").exists():
            return place
    raise FileNotFoundError(f"[bench] the programs of benchmarks/ must be in the repository or the package. Received: {here}")


def main(arguments):
    """Runs the benchmark.

    Args:
        arguments: list of words, those of the command line.
    """
    on_gpu = arguments[:1] == ["cuda"]
    arguments = arguments[on_gpu:]
    if not any(a.startswith("--json") for a in arguments):
        arguments = [*arguments, "--json", "fastnn-bench.json"]
    program = folder() / ("cuda" if on_gpu else "") / "run.py"
    sys.path.insert(0, str(program.parent))
    sys.argv = [str(program), *arguments]
    runpy.run_path(str(program), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
