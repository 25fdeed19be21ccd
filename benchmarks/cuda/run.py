"""fastnn's CUDA kernels beside cuDNN and cuBLAS, on the same arrays in the same layouts.

    python benchmarks/cuda/run.py [--filter WORDS] [--seconds 0.2] [--json FILE]

cuDNN comes through torch, cuBLAS through CuPy and torch, whichever is installed; what is not is left out. Times are
CUDA events around rounds of calls, after a warm-up, the inputs rotated through more memory than the GPU's cache holds; the
median of the rounds counts. The column "error" is the largest difference from the CPU's kernels, over the largest
value of the result; a row with an error above its bound fails the run. Without a GPU it ends with one line.

`--device cuda-emu` runs small problems on the emulated device, to see that the calls, the layouts and the column of errors
work: it measures nothing.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import with_fastnn  # noqa: E402
from problems import Problem, problems  # noqa: E402

import fastnn  # noqa: E402
from fastnn import cuda  # noqa: E402

CACHE = 128 << 20  # twice what the largest L2 of today's GPUs holds
# float32 sums in another order than the CPU's: relative to the largest value.
BOUND = 2e-4

ON_GPU = ("matmul 256^3", "matmul 1024^3", "matmul 2048^3", "matmul 32x784x128", "matmul 1x4096x4096", "matmul 4096x4096x1",
          "matmul batch 96 of 128x64x128", "dense 512x768x3072 forward", "dense 512x768x3072 gradients", "mnist.conv1 n128 forward",
          "mnist.conv2 n128 gw", "resnet50.conv1 n32 forward", "resnet50.conv2.2 n32 forward", "resnet50.conv2.2 n32 gx",
          "resnet50.conv2.2 n32 gw", "resnet50.conv2.3 n32 forward", "resnet50.conv5.2 n32 forward",
          "depthwise 3x3/1 8x74x74x128 forward", "depthwise 3x3/1 8x74x74x128 backward", "separable 3x3 8x19x19 728-728 forward")
FAMILIES = ("pooling", "batch norm", "layer norm", "softmax and losses", "embedding", "elementwise", "reductions", "optimizers", "LSTM", "GRU")


def small_problems():
    """One of each kind, of sizes that an emulator runs."""
    from problems import _conv

    conv = {p.name: p for p in _conv("small", "conv", 1, 7, 5, 6, 3, 1, "same")}
    strided = {p.name: p for p in _conv("small", "strided", 2, 9, 3, 4, 3, 2, "valid")}
    window = {"n": 1, "size": 6, "c": 5, "k": 3, "s": 1, "padding": "same"}
    pooled = {"n": 1, "size": 6, "c": 5, "k": 2, "s": 2}
    recurrent = {"n": 2, "t": 3, "i": 4, "u": 5}
    return {p.name: p for p in (
        Problem("small matmul", "matmul", "matmul", {"m": 17, "k": 9, "n": 20}),
        Problem("small matmul TN", "matmul", "matmul", {"m": 17, "k": 9, "n": 20, "ta": True}),
        Problem("small batch", "matmul", "matmul", {"m": 5, "k": 9, "n": 7, "batch": (3,)}),
        Problem("small dense forward", "matmul", "dense", {"m": 6, "k": 9, "n": 7, "direction": "forward"}),
        Problem("small dense gradients", "matmul", "dense", {"m": 6, "k": 9, "n": 7, "direction": "gradients"}),
        *conv.values(), *strided.values(),
        *(Problem(f"small depthwise {d}", "depthwise", "depthwise", {**window, "direction": d}) for d in ("forward", "backward")),
        *(Problem(f"small separable {d}", "separable", "separable", {**window, "oc": 7, "direction": d}) for d in ("forward", "backward")),
        *(Problem(f"small {k} pool {d}", "pooling", "pool", {**pooled, "kind": k, "direction": d})
          for k in ("max", "average") for d in ("forward", "backward")),
        *(Problem(f"small batch norm {d}", "batch norm", "batch_norm", {"rows": 12, "c": 5, "direction": d})
          for d in ("inference", "training", "backward")),
        *(Problem(f"small layer norm {d}", "layer norm", "layer_norm", {"rows": 12, "c": 5, "direction": d}) for d in ("forward", "backward")),
        *(Problem(f"small {n}", "softmax and losses", "softmax", {"rows": 4, "cols": 11, "name": n})
          for n in ("softmax", "softmax backward", "cross entropy", "cross entropy backward")),
        *(Problem(f"small embedding {d}", "embedding", "embedding", {"rows": 20, "cols": 6, "n": (3, 4), "direction": d})
          for d in ("forward", "backward")),
        *(Problem(f"small {n}", "elementwise", "elementwise", {"name": n, "size": 70}) for n in ("add", "relu", "exp", "tanh", "gelu")),
        *(Problem(f"small {n}", "reductions", "reduction", {"name": n, "shape": (6, 11), "axis": 1}) for n in ("sum", "max", "argmax")),
        *(Problem(f"small {n}", "optimizers", "optimizer", {"name": n, "sizes": (13, 40)}) for n in ("adam", "sgd momentum")),
        *(Problem(f"small {k} {d}", "RNN", "rnn", {"kind": k, **recurrent, "direction": d})
          for k in ("lstm", "gru") for d in ("inference", "training")))}


class Clock:
    """Seconds between two points of a GPU's stream."""

    def __init__(self):
        import cupy

        self.event, self.between = cupy.cuda.Event, cupy.cuda.get_elapsed_time

    def time(self, run):
        begin, end = self.event(), self.event()
        begin.record()
        run()
        end.record()
        end.synchronize()
        return self.between(begin, end) / 1e3


class HostClock:
    """Of the host, for the emulated device: it shows that the loop runs."""

    def time(self, run):
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin


def measure(calls, clock, seconds):
    """The median time of a call, by rounds through all of `calls`, which do the same on different memory."""
    for call in calls:
        call()
    calls_per_round = max(1, math.ceil(10 / len(calls))) * len(calls)

    def one_round():
        for i in range(calls_per_round):
            calls[i % len(calls)]()

    estimate = clock.time(one_round)
    rounds = max(3, min(100, int(seconds / max(estimate, 1e-6))))
    return statistics.median(clock.time(one_round) / calls_per_round for _ in range(rounds))


def copies_of(arrays, on_gpu):
    """The arrays as often as it takes to be larger than the cache, at most 16 times."""
    size = sum(a.nbytes for a in arrays.values())
    return [arrays] * (min(16, max(1, math.ceil(CACHE / max(size, 1)))) if on_gpu else 2)


def results_of(call, problem, outputs):
    return [np.asarray(a, "float64") for a in outputs(call(), problem)]


def error_of(found, expected):
    """The largest difference over the largest value of the result."""
    if len(found) != len(expected) or any(a.shape != b.shape for a, b in zip(found, expected)):
        return math.inf
    return max((float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-30)) for a, b in zip(found, expected) if b.size), default=0.0)


def reference(problem):
    """What the CPU's kernels compute; of an optimizer, the weights after a step."""
    with fastnn.device("cpu"):
        return outputs_of_fastnn(problem)[1]


def outputs_of_fastnn(problem, arrays=None):
    """(a call, the arrays it computes) on the device in use."""
    arrays = problem.arrays() if arrays is None else arrays
    if problem.op != "optimizer":
        call = getattr(with_fastnn, problem.op)(arrays, **problem.args)
        return call, results_of(call, problem, with_fastnn.outputs)
    made = []
    variable = fastnn.Variable

    def keep(*args, **kwargs):
        made.append(variable(*args, **kwargs))
        return made[-1]

    fastnn.Variable = keep
    try:
        call = with_fastnn.optimizer(arrays, **problem.args)
    finally:
        fastnn.Variable = variable
    call()
    return call, [v.numpy().astype("float64") for v in made[:len(problem.args["sizes"])]]


def peers():
    """{name: function from (problem, arrays) to a call, or None} of the libraries that are installed."""
    found = {}
    try:
        import torch
        import with_torch
    except ImportError:
        pass
    else:
        if torch.cuda.is_available():
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = True
            with_torch.device = "cuda"

            def with_cudnn(problem, arrays):
                return getattr(with_torch, problem.op)(arrays, **problem.args)

            found["torch (cuDNN, cuBLAS)"] = with_cudnn
    try:
        import cupy
    except ImportError:
        return found

    def with_cublas(problem, arrays):
        if problem.op != "matmul":
            return None
        a, b = (cupy.asarray(arrays[k]) for k in "ab")
        a, b = (x.swapaxes(-1, -2) if problem.args.get(t) else x for x, t in ((a, "ta"), (b, "tb")))
        return lambda: cupy.matmul(a, b)

    found["CuPy (cuBLAS)"] = with_cublas
    return found


def rows_of(chosen, device, seconds):
    """A dict for each problem: name, seconds of each library, error, or why there is no result."""
    on_gpu = device == "cuda"
    clock = Clock() if on_gpu else HostClock()
    others = peers() if on_gpu else {}
    for problem in chosen:
        row = {"problem": problem.name, "family": problem.family, "flops": problem.flops, "bytes": problem.bytes, "seconds": {}}
        try:
            arrays = problem.arrays()
            expected = reference(problem)
            with fastnn.device(device):
                _, found = outputs_of_fastnn(problem, arrays)
                row["error"] = error_of(found, expected)
                calls = [getattr(with_fastnn, problem.op)(each, **problem.args) for each in copies_of(arrays, on_gpu)]
                row["seconds"]["fastnn"] = measure(calls, clock, seconds)
                del calls
            for name, make in others.items():
                calls = [make(problem, each) for each in copies_of(arrays, on_gpu)]
                if calls[0] is not None:
                    row["seconds"][name] = measure(calls, clock, seconds)
                del calls
        except RuntimeError as e:
            row["failed"] = str(e)
        yield row


def table(rows):
    names = sorted({n for r in rows for n in r["seconds"]}, key=lambda n: (n != "fastnn", n))
    lines = ["| problem | " + " | ".join(f"{n}, us" for n in names) + " | GFLOP/s | GB/s | ratio | error |",
             "|" + "---|" * (len(names) + 5)]
    for r in rows:
        if "failed" in r:
            lines.append(f"| {r['problem']} | {r['failed']} |" + " |" * (len(names) + 3))
            continue
        own = r["seconds"]["fastnn"]
        best = min((s for n, s in r["seconds"].items() if n != "fastnn"), default=None)
        lines.append(f"| {r['problem']} | " + " | ".join(f"{r['seconds'][n] * 1e6:.1f}" if n in r["seconds"] else "" for n in names)
                     + f" | {r['flops'] / own / 1e9:.0f} | {r['bytes'] / own / 1e9:.0f} | {f'{best / own:.2f}' if best else ''} | {r['error']:.1e} |")
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="")
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cuda-emu"))
    parser.add_argument("--json")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not cuda.is_available():
        print(f"benchmarks/cuda/run.py: there is no GPU to measure. {cuda.unavailable_reason()}")
        return 2
    if options.device == "cuda":
        try:
            import cupy  # noqa: F401
        except ImportError:
            print("benchmarks/cuda/run.py: CuPy measures the time: pip install cupy-cuda13x")
            return 2
        every = problems()
        chosen = [every[n] for n in ON_GPU] + [p for p in every.values() if p.family in FAMILIES]
    else:
        chosen = list(small_problems().values())
        options.seconds = 0.0
    rows = list(rows_of([p for p in chosen if options.filter in p.name], options.device, options.seconds))
    if options.device == "cuda-emu":
        print("The emulated device: the times mean nothing.\n")
    print(table(rows))
    if options.json:
        Path(options.json).write_text(json.dumps({"device": options.device, "fastnn": fastnn.__version__, "rows": rows}, indent=1))
    wrong = [r["problem"] for r in rows if r.get("error", 0) > BOUND]
    if wrong:
        print("\nwrong results:", ", ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
