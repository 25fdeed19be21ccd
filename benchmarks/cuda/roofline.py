"""What the named problems would take on GPUs that nobody has tried, from datasheets: the paper plan for speed.

    python benchmarks/cuda/roofline.py [--filter WORDS] [--write]

Everything in the table is computed: flops and bytes of the problem, the time that the slower of arithmetic and memory
needs at its peak, the tile that csrc/cuda/gemm.h takes for it and the part of the waves of its blocks that has work (tile
quantisation), and the theoretical occupancy of the kernel from budget.json. Nothing was measured. `--write` writes
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

# Datasheets: float32 TFLOP/s without and with tensor cores (TF32, dense), GB/s, multiprocessors; whose code it runs.
GPUS = {
    "A100 SXM 80GB": (19.5, 156.0, 2039, 108, "80"),
    "H100 SXM": (66.9, 494.7, 3352, 132, "90"),
    "RTX 4090": (82.6, 82.6, 1008, 128, "86"),
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
# The kernel of csrc/cuda whose registers and shared memory limit the occupancy.
KERNELS = {"depthwise": "depthwise", "separable": "depthwise",
           "pool": "pool", "batch_norm": "normalize_kernel", "layer_norm": "layer_norm_forward", "elementwise": "map_kernel",
           "reduction": "reduce_rows", "softmax": "softmax_forward", "embedding": "gather_rows", "optimizer": "update_kernel",
           "rnn": "lstm"}


def product_sizes(problem):
    """(products, m, n, k) of the matrix product that a problem is computed by, or None."""
    a = problem.args
    if problem.op == "matmul":
        return math.prod(a.get("batch", ())), a["m"], a["n"], a["k"]
    if problem.op == "dense":
        return 1, a["m"], a["n"], a["k"]
    if problem.op == "conv2d":
        from problems import _output

        pixels = a["n"] * _output(a["h"], a["kh"], a["s"], a["padding"], a.get("d", 1)) * _output(a["w"], a["kw"], a["s"], a["padding"],
                                                                                                a.get("d", 1))
        taps, depth, groups = a["kh"] * a["kw"], a["ic"] // a.get("g", 1), a.get("g", 1)
        return {"forward": (groups, pixels, a["oc"] // groups, taps * depth), "gw": (groups, taps * depth, a["oc"] // groups, pixels),
                # Each remainder of a stride is a product of its own, with its part of the taps.
                "gx": (groups * a["s"] ** 2, math.ceil(a["n"] * a["h"] * a["w"] / a["s"] ** 2), depth,
                       math.ceil(taps / a["s"] ** 2) * a["oc"] // groups)}[a["direction"]]
    return None


def tile_of(problem):
    """(BM, BN, blocks, the part of them that is inside of the result), as run_simt of csrc/cuda/gemm.h chooses."""
    sizes = product_sizes(problem)
    if sizes is None:
        return None
    count, m, n, k = sizes

    def blocks(bm, bn):
        return count * math.ceil(m / bm) * math.ceil(n / bn)

    if min(m, n) <= 8 and problem.op in ("matmul", "dense"):  # the kernels of thin operands: no tiles
        return None
    if n <= 32:
        bm, bn = (128 if m > 64 else 32), 32
    elif m <= 32:
        bm, bn = 32, (128 if n > 64 else 32)
    else:
        bm, bn = (128, 128) if blocks(128, 128) >= 96 else (64, 64)
    parts = 1 if bm == bn == 128 else max(1, min(math.ceil(256 / blocks(bm, bn)), k // 256))
    return bm, bn, blocks(bm, bn) * parts, count * m * n / (blocks(bm, bn) * bm * bn)


def waves(problem, multiprocessors):
    """The part of the whole waves of a product's blocks, one for each multiprocessor, that has work; None of others."""
    tile = tile_of(problem)
    if tile is None:
        return None
    blocks = tile[2]
    return tile[3] * blocks / (math.ceil(blocks / multiprocessors) * multiprocessors)


def occupancy(problem, budget, arch):
    """The lowest theoretical occupancy of the kernels that a problem is computed by, or None."""
    tile = tile_of(problem)
    if tile:
        file = "conv2d" if problem.op == "conv2d" else "matmul"
        name = f"{file}: gemm_kernel<SimtCore<{tile[0]}, {tile[1]}, "
    else:
        name = KERNELS.get(problem.op, "dots_kernel")
    found = [v[arch][2] for k, v in budget.items() if arch in v and name in k]
    return min(found) if found else None


def rows(names):
    budget = json.loads((HERE / "budget.json").read_text())["kernels"]
    for problem in (problems()[name] for name in names):
        tile = tile_of(problem)
        cells = [problem.name, f"{problem.flops / 1e9:.3g}", f"{problem.bytes / 1e6:.3g}", f"{problem.flops / problem.bytes:.1f}",
                 f"{tile[0]}x{tile[1]}, {tile[2]}" if tile else ""]
        for plain, tensor, bandwidth, multiprocessors, arch in GPUS.values():
            memory = problem.bytes / (bandwidth * 1e9)
            times = [max(problem.flops / (peak * 1e12), memory, LAUNCH) for peak in (plain, tensor)]
            bound = "launch" if times[0] == LAUNCH else "memory" if times[0] == memory else "FMA"
            useful, used = waves(problem, multiprocessors), occupancy(problem, budget, arch)
            cells.append(f"{times[0] * 1e6:.1f} ({bound})" + (f", TF32 {times[1] * 1e6:.1f}" if product_sizes(problem) else "")
                         + (f"; waves {useful:.0%}" if useful else "") + ("" if used is None else f"; occupancy {used:.0%}"))
        yield cells


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="", help="problems whose names hold this; the rows of the file by default")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    names = [n for n in problems() if arguments.filter in n] if arguments.filter else list(ROWS) + [
        n for family in ("pool", "batch norm", "layer norm", "softmax", "cross entropy", "adam", "embedding", "add ", "sum ", "lstm", "gru")
        for n in [p for p in problems() if p.startswith(family) or (family == "pool" and " pool " in p)][-2:]]
    head = ["problem", "GFLOP", "MB", "flop/byte", "tile, blocks", *(f"{g}, us" for g in GPUS)]
    lines = ["# Roofline of the CUDA kernels: computed from datasheets, never measured", "",
             "Times are lower bounds in microseconds: float32 FMA, and TF32 tensor cores where a matrix product does the work. Waves: the "
             "part of the rounds of blocks, one for each multiprocessor, that computes results (tile quantisation). Occupancy: the least of "
             "the kernels of the family, by cuda_occupancy.h; the RTX 4090 runs the code of sm_86. "
             "`benchmarks/cuda/roofline.py --write` writes this file.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(names)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        (HERE / "roofline.md").write_text(text)


if __name__ == "__main__":
    main()
