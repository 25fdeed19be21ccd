"""How much a two-thread kernel loses when another process keeps one core busy.

    python benchmarks/busy.py [--peer PYTHON]

Prints the median time of a 1024 x 1024 matrix product on a quiet machine and with one busy process
beside it, and their ratio; also for torch, in alternating processes, if --peer names a Python that has
it. On two cores a fair share of what is left is two thirds to three quarters: a ratio of 1.33 to 1.5.
"""

import argparse
import statistics
import subprocess
import sys
import time

CHILD = """
import time
import numpy as np
if {torch}:
    import torch
    torch.set_num_threads(2)
    a = torch.randn(1024, 1024)
    call = lambda: torch.matmul(a, a)
else:
    import fastnn
    fastnn.set_num_threads(2)
    a = fastnn.convert_to_tensor(np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32))
    call = lambda: fastnn.ops.matmul(a, a)
for _ in range(10):
    call()
times = []
for _ in range(100):
    start = time.perf_counter()
    call()
    times.append(time.perf_counter() - start)
print(float(np.median(times)) * 1e3)
"""


def median_ms(python, torch):
    """The median of 100 calls in a process of its own, in milliseconds."""
    out = subprocess.run([python, "-c", CHILD.format(torch=torch)], capture_output=True, text=True, check=True)
    return float(out.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    sides = [("fastnn", sys.executable, False)] + ([("torch", args.peer, True)] if args.peer else [])
    quiet, busy = {s[0]: [] for s in sides}, {s[0]: [] for s in sides}
    for _ in range(args.rounds):
        for name, python, torch in sides:
            quiet[name].append(median_ms(python, torch))
            neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                time.sleep(0.3)
                busy[name].append(median_ms(python, torch))
            finally:
                neighbour.kill()
                neighbour.wait()
    for name in quiet:
        q, b = statistics.median(quiet[name]), statistics.median(busy[name])
        print(f"{name:8s} quiet {q:7.2f} ms   busy {b:7.2f} ms   ratio {b / q:.2f}")


if __name__ == "__main__":
    main()
