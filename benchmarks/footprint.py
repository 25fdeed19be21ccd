"""What fastnn costs before it computes anything, and what it asks of the system while it trains.

    python benchmarks/footprint.py [--wheel FILE] [--check] [--readme]

Prints import time and memory beside NumPy's alone, the size of the wheel, the cost of one op on one
element, and the allocator's calls to the system in a training step. --check exits with 1 if a row is
above its limit; times are printed and not checked, machines are shared. --readme rewrites README's table.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

IMPORT = """
import time, numpy
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096 / 2**20
before, start = resident(), time.perf_counter()
import fastnn
print(time.perf_counter() - start, resident() - before)
"""


def import_cost(runs=7):
    """Medians of (seconds, MB) that `import fastnn` adds to a process that has imported NumPy."""
    rows = []
    for _ in range(runs):
        out = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
        rows.append([float(v) for v in out.split()])
    return [statistics.median(column) for column in zip(*rows)]


def op_cost(calls=20000, rounds=7):
    """Microseconds of one addition of one element, (not recorded, recorded on a tape); best of rounds."""
    import fastnn
    from fastnn import ops

    x = fastnn.convert_to_tensor(1.0)

    def once():
        start = time.perf_counter()
        for _ in range(calls):
            ops.add(x, x)
        return (time.perf_counter() - start) / calls * 1e6

    plain = min(once() for _ in range(rounds))
    best = []
    for _ in range(rounds):
        with fastnn.GradientTape() as tape:
            tape.watch(x)
            best.append(once())
        x.node = None
    return plain, min(best)


def training_allocations(steps=20):
    """(blocks handed out, calls to the system) per training step of a small CNN, after its first steps.

    With one thread, where the count is exact: another takes its working memory when it first finds a chunk to work
    on, which on a busy machine may be late.
    """
    import fastnn
    from fastnn import layers

    threads = fastnn.num_threads()
    fastnn.set_num_threads(1)
    model = fastnn.Sequential([
        fastnn.Input((28, 28, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 28, 28, 1), dtype=np.float32), rng.integers(0, 10, 32)
    for _ in range(4):
        model.train_on_batch(x, y)
    before = fastnn.memory_stats()
    for _ in range(steps):
        model.train_on_batch(x, y)
    after = fastnn.memory_stats()
    fastnn.set_num_threads(threads)
    return ((after["allocations"] - before["allocations"]) / steps,
            (after["system_calls"] - before["system_calls"]) / steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=pathlib.Path, help="a built wheel, to print its size")
    parser.add_argument("--readme", action="store_true", help="rewrite the table in README.md")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a size or count is above its limit")
    args = parser.parse_args()

    seconds, megabytes = import_cost()
    plain, recorded = op_cost()
    blocks, calls = training_allocations()
    # (what, value, unit, limit, whether --check holds it to the limit)
    rows = [
        ("import, beyond NumPy", seconds, "s", 0.15, False),
        ("memory of import, beyond NumPy", megabytes, "MB", 40, True),
        ("one op on one element", plain, "us", 1, False),
        ("the same, recorded on a tape", recorded, "us", 2, False),
        ("allocator blocks in a training step", blocks, "", None, False),
        ("calls to the system in a training step", calls, "", 0, True),
    ]
    if args.wheel:
        rows.append(("wheel", args.wheel.stat().st_size / 2**20, "MB", 10, True))
    failed = False
    for what, value, unit, limit, checked in rows:
        above = limit is not None and value > limit
        failed |= above and checked
        shown = f"{value:10.3f} {unit}" if unit else f"{value:10.1f}"
        print(f"{what:42s}{shown:16s}" + (f" limit {limit:g}" if limit is not None else "") + (" ABOVE" if above else ""))
    if args.readme:
        write_readme(rows)
    return 1 if args.check and failed else 0


def write_readme(rows):
    """Put the rows between README's markers."""
    readme = pathlib.Path(__file__).parents[1] / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split("<!-- footprint: begin", 1)
    marker, rest = rest.split("-->", 1)
    tail = rest.split("<!-- footprint: end -->", 1)[1]
    table = "\n| | measured | limit |\n|---|---|---|\n" + "".join(
        f"| {what} | {value:.2f} {unit} | {'' if limit is None else f'{limit:g} {unit}'} |\n".replace(" |", " |")
        for what, value, unit, limit, _ in rows)
    readme.write_text(f"{head}<!-- footprint: begin{marker}-->{table}<!-- footprint: end -->{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
