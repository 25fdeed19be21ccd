"""What the named problems would take on GPUs that nobody has tried, from datasheets: the paper plan for speed.

    python benchmarks/cuda/roofline.py [--filter WORDS] [--write]

Everything in the table is computed: flops and bytes of the problem, the time that the slower of arithmetic and memory
needs at its peak, the part of the last wave of blocks that has work (tile quantisation), and the theoretical
occupancy of the kernel from budget.json (sm_90 unless it says otherwise). Nothing was measured. `--write` writes
roofline.md beside this file.
"""

import argparse
import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from problems import problems  # noqa: E402

# Datasheets: float32 TFLOP/s without and with tensor cores (TF32, dense), GB/s, multiprocessors.
GPUS = {
    "A100 SXM 80GB": (19.5, 156.0, 2039, 108),
    "H100 SXM": (66.9, 494.7, 3352, 132),
    "RTX 4090": (82.6, 82.6, 1008, 128),
}
LAUNCH = 3e-6  # seconds that a launch costs at least; a smaller problem cannot be faster

# One row for each family, the shapes that networks have most of.
ROWS = (
    "matmul 1024^3", "matmul 2048^3", "matmul 256^3", "matmul 32x784x128", "matmul 4096x4096x1", "matmul batch 96 of 128x64x128",
    "dense 512x768x3072 forward", "dense 512x768x3072 gradients",
    "mnist.conv1 n128 forward", "mnist.conv2 n128 gw", "resnet50.conv1 n32 forward", "resnet50.conv2.2 n32 forward",
    "resnet50.conv2.2 n32 gx", "resnet50.conv2.2 n32 gw", "resnet50.conv2.3 n32 forward", "resnet50.conv5.2 n32 forward",
    "depthwise 3x3/1 8x74x74x128 forward", "depthwise 3x3/1 8x74x74x128 backward", "depthwise 5x5/1 8x28x28x240 forward",
    "separable 3x3 8x19x19 728-728 forward",
)
TILES = ((128, 128), (64, 64), (32, 32))  # of the products' blocks; the largest that fills the machine is meant
# The kernel of csrc/cuda whose registers and shared memory limit the occupancy.
KERNELS = {"matmul": "gemm_kernel", "dense": "gemm_kernel", "conv2d": "gemm_kernel", "depthwise": "depthwise", "separable": "depthwise",
           "pool": "pool", "batch_norm": "normalize_kernel", "layer_norm": "layer_norm_forward", "elementwise": "map_kernel",
           "reduction": "reduce_rows", "softmax": "softmax_forward", "embedding": "gather_rows", "optimizer": "update_kernel",
           "rnn": "lstm"}


def product_sizes(problem):
    """(products, m, n) of the matrix product that a problem is computed by, or None."""
    a = problem.args
    if problem.op == "matmul":
        return math.prod(a.get("batch", ())), a["m"], a["n"]
    if problem.op == "dense":
        return 1, a["m"], a["n"]
    if problem.op == "conv2d":
        from problems import _output

        pixels = a["n"] * _output(a["h"], a["kh"], a["s"], a["padding"], a.get("d", 1)) * _output(a["w"], a["kw"], a["s"], a["padding"],
                                                                                                a.get("d", 1))
        taps = a["kh"] * a["kw"] * a["ic"] // a.get("g", 1)
        return {"forward": (1, pixels, a["oc"]), "gx": (1, a["n"] * a["h"] * a["w"], a["ic"]), "gw": (1, taps, a["oc"])}[a["direction"]]
    return None


def waves(problem, multiprocessors):
    """(tile, blocks, part of the whole waves that has work), of the largest tile that fills the machine once, or the smallest."""
    sizes = product_sizes(problem)
    if sizes is None:
        return None
    count, m, n = sizes
    for bm, bn in TILES:
        blocks = count * math.ceil(m / bm) * math.ceil(n / bn)
        if blocks >= multiprocessors or (bm, bn) == TILES[-1]:
            useful = count * m * n / (blocks * bm * bn)
            rounds = math.ceil(blocks / multiprocessors)
            return f"{bm}x{bn}", blocks, useful * blocks / (rounds * multiprocessors)


def occupancy(problem, budget):
    """The lowest theoretical occupancy of the kernels of a problem on sm_90, or None."""
    name = KERNELS[problem.op]
    found = [v["90"][2] for k, v in budget.items() if "90" in v and name in k]
    return min(found) if found else None


def rows(names):
    budget = json.loads((HERE / "budget.json").read_text()) if (HERE / "budget.json").exists() else {}
    for problem in (problems()[name] for name in names):
        cells = [problem.name, f"{problem.flops / 1e9:.3g}", f"{problem.bytes / 1e6:.3g}",
                 f"{problem.flops / problem.bytes:.1f}"]
        for plain, tensor, bandwidth, multiprocessors in GPUS.values():
            memory = problem.bytes / (bandwidth * 1e9)
            times = [max(problem.flops / (peak * 1e12), memory, LAUNCH) for peak in (plain, tensor)]
            bound = "launch" if times[0] == LAUNCH else "memory" if times[0] == memory else "FMA"
            cells.append(f"{times[0] * 1e6:.1f} ({bound}), {times[1] * 1e6:.1f}" if product_sizes(problem) else f"{times[0] * 1e6:.1f} ({bound})")
        wave = waves(problem, GPUS["H100 SXM"][3])
        cells.append(f"{wave[0]}, {wave[1]}, {wave[2]:.0%}" if wave else "")
        used = occupancy(problem, budget)
        cells.append("" if used is None else f"{used:.0%}")
        yield cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="", help="problems whose names hold this; the rows of the file by default")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    names = [n for n in problems() if arguments.filter in n] if arguments.filter else list(ROWS) + [
        n for family in ("pool", "batch norm", "layer norm", "softmax", "cross entropy", "adam", "embedding", "add ", "sum ", "lstm", "gru")
        for n in [p for p in problems() if p.startswith(family) or (family == "pool" and " pool " in p)][-2:]]
    head = ["problem", "GFLOP", "MB", "flop/byte", *(f"{g}, us" for g in GPUS), "H100: tile, blocks, useful part of the waves", "occupancy"]
    lines = ["# Roofline of the CUDA kernels: computed from datasheets, never measured", "",
             "Times are lower bounds in microseconds: float32 FMA, and TF32 tensor cores where a matrix product does the work. "
             "`benchmarks/cuda/roofline.py --write` writes this file.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(names)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        (HERE / "roofline.md").write_text(text)


if __name__ == "__main__":
    main()
