"""Elementwise functions and reductions against torch, where it is installed, and the cost of one small op.

    python benchmarks/bench_elementwise.py [threads]

Bytes are those that must move: each argument once, the result once. The peer runs in the same process,
turn by turn, so that both see the same machine.
"""
import sys
import time

import numpy as np

import fastnn
from fastnn import GradientTape, ops

try:
    import torch
except ImportError:
    torch = None

N = 1 << 20
RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal(n).astype(np.float32) for n in (N, N, 1024))
# name, arrays read, elements written, function for fastnn, function for torch
ROWS = [
    ("add", 2, N, lambda f, a, b, m, c: a + b), ("add bias", 1, N, lambda f, a, b, m, c: m + c),
    ("multiply by a number", 1, N, lambda f, a, b, m, c: a * 2.0), ("greater", 2, N // 4, lambda f, a, b, m, c: a > b),
    ("maximum", 2, N, lambda f, a, b, m, c: f.maximum(a, b)), ("relu", 1, N, lambda f, a, b, m, c: f.relu(a)),
    ("exp", 1, N, lambda f, a, b, m, c: f.exp(a)), ("tanh", 1, N, lambda f, a, b, m, c: f.tanh(a)),
    ("sigmoid", 1, N, lambda f, a, b, m, c: f.sigmoid(a)), ("erf", 1, N, lambda f, a, b, m, c: f.erf(a)),
    ("log1p", 1, N, lambda f, a, b, m, c: f.log1p(f.square(a))), ("sin", 1, N, lambda f, a, b, m, c: f.sin(a)),
    ("power", 2, N, lambda f, a, b, m, c: (a * a) ** b), ("sum", 1, 1, lambda f, a, b, m, c: f.sum(a)),
    ("sum of rows", 1, 1024, lambda f, a, b, m, c: f.sum(m, 1)), ("sum of columns", 1, 1024, lambda f, a, b, m, c: f.sum(m, 0)),
    ("argmax of rows", 1, 1024, lambda f, a, b, m, c: f.argmax(m, 1)),
]


def best_of(functions, seconds=0.3):
    """The shortest time of each function, in seconds, called in turn."""
    best = [float("inf")] * len(functions)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, f in enumerate(functions):
            begin = time.perf_counter()
            f()
            best[i] = min(best[i], time.perf_counter() - begin)
    return best


def large(threads):
    fastnn.set_num_threads(threads)
    mine = [fastnn.convert_to_tensor(x) for x in (A, B, A.reshape(1024, 1024), C)]
    peers = []
    if torch:
        torch.set_num_threads(threads)
        peers = [torch.from_numpy(x) for x in (A, B, A.reshape(1024, 1024), C)]
    print(f"{N} float32, {threads} threads, {fastnn.isa()}")
    for name, reads, written, f in ROWS:
        times = best_of([lambda: f(ops, *mine)] + ([lambda: f(torch, *peers)] if peers else []))
        line = f"{name:22}{times[0] * 1e6:9.1f} us{4 * (reads * N + written) / times[0] / 1e9:8.1f} GB/s"
        print(line + (f"   torch / fastnn {times[1] / times[0]:6.2f}" if peers else ""))


def small():
    """Microseconds of one op on one element."""
    x = fastnn.convert_to_tensor(np.ones(1, np.float32))

    def loop(f, n=2000):
        def run():
            for _ in range(n):
                f()
        return best_of([run])[0] / n * 1e6

    cases = {"add": lambda: ops.add(x, x), "x * 2.0": lambda: x * 2.0, "tanh": lambda: ops.tanh(x), "sum": lambda: ops.sum(x)}
    print("one element" + "".join(f"{name:>12}" for name in cases))
    print("unrecorded " + "".join(f"{loop(f):9.2f} us" for f in cases.values()))
    with GradientTape() as tape:
        tape.watch(x)
        print("recorded   " + "".join(f"{loop(f):9.2f} us" for f in cases.values()))


if __name__ == "__main__":
    small()
    large(int(sys.argv[1]) if len(sys.argv) > 1 else fastnn.num_threads())
