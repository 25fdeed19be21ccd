"""How much two-thread kernels lose when another process keeps one core busy.

    python benchmarks/busy.py [--peer PYTHON] [--rounds N] [--readme]

Prints a table: the median times of some kernels on a quiet machine and with one busy process beside them, and
their ratio; also for torch, in alternating processes, if --peer names a Python that has it. On two cores a fair
share of what is left is two thirds to three quarters: a ratio of 1.33 to 1.5. `models.py --busy` does the same for
steps of training. --readme writes the table to README.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from process import HERE, busy_neighbour
from run import machine_name, replace_between

# name -> (its call with fastnn, its call with torch); a (1024, 1024), b (8, 56, 56, 64), w (3, 3, 64, 64), c of 4 M floats
KERNELS = {
    "matmul 1024^3": ("K.ops.matmul(a, a)", "torch.matmul(a, a)"),
    "matmul 128^3": ("K.ops.matmul(d, d)", "torch.matmul(d, d)"),
    "conv 3x3 8x56x56x64": ("K.ops.conv(b, w, padding='same')", "F.conv2d(b.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), padding=1)"),
    "tanh of 4 M": ("K.ops.tanh(c)", "torch.tanh(c)"),
    "softmax 4096x1000": ("K.ops.softmax(e)", "torch.softmax(e, -1)"),
}
SHAPES = {"a": (1024, 1024), "b": (8, 56, 56, 64), "w": (3, 3, 64, 64), "c": (1 << 22,), "d": (128, 128), "e": (4096, 1000)}


def times():
    """{kernel: median ms} of the side that was asked for; what a child process runs."""
    side, seconds = sys.argv[2], float(sys.argv[3])
    import numpy as np

    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}
    if side == "torch":
        import torch
        import torch.nn.functional as F

        torch.set_num_threads(2)
        known = {"torch": torch, "F": F, **{k: torch.from_numpy(v) for k, v in arrays.items()}}
    else:
        import fastnn as K

        K.set_num_threads(2)
        known = {"K": K, **{k: K.convert_to_tensor(v) for k, v in arrays.items()}}
    found = {}
    for name, calls in KERNELS.items():
        call = eval(f"lambda: {calls[side == 'torch']}", known)
        for _ in range(5):
            call()
        samples, end = [], time.perf_counter() + seconds
        while len(samples) < 5 or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            samples.append(time.perf_counter() - start)
        found[name] = statistics.median(samples) * 1e3
    print(json.dumps(found))


def child(python, side, seconds):
    out = subprocess.run([python, str(HERE / "busy.py"), "--times", side, str(seconds)], capture_output=True, text=True, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each kernel and round")
    parser.add_argument("--readme", action="store_true", help="write the table to README.md")
    args = parser.parse_args()
    sides = [("fastnn", sys.executable)] + ([("torch", args.peer)] if args.peer else [])
    quiet, busy = {s: [] for s, _ in sides}, {s: [] for s, _ in sides}
    for _ in range(args.rounds):
        for side, python in sides:
            quiet[side].append(child(python, side, args.seconds))
            with busy_neighbour():
                busy[side].append(child(python, side, args.seconds))
    lines = ["| kernel, two threads | " + " | ".join(f"{s}: quiet, busy, ms | times" for s, _ in sides) + " |", "|---" * (1 + 2 * len(sides)) + "|"]
    for name in KERNELS:
        cells = [name]
        for side, _ in sides:
            q, b = (statistics.median(r[name] for r in found[side]) for found in (quiet, busy))
            cells += [f"{q:.3g}, {b:.3g}", f"{b / q:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    text = "\n".join(lines)
    print(text)
    if args.readme:
        replace_between(HERE.parent / "README.md", "busy-kernels", f"{machine_name()}; {time.strftime('%Y-%m-%d')}.\n\n{text}")


if __name__ == "__main__":
    times() if sys.argv[1:2] == ["--times"] else main()
