"""The tests of ops, layers and models on the emulated device: all orders, both times of copies, every build.

    python tests/cuda_emulation/matrix.py [--builds plain,asan,tsan] [--files softmax,conv] [--seconds 20] [--sample 1/3] [--write]

Needs the sources, CMake, Ninja, pybind11 and the package built from them in python/fastnn (see csrc/cuda/emulation/README.md). Each build of
the library goes into build/emu_NAME; plain is -O2 with the check of alignment, the others are those of build.py. `--write` keeps the
result in matrix.txt beside this file.
"""

import argparse
import datetime
import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import build

ROOT = build.ROOT
LIBRARY = ROOT / "python" / "fastnn" / "_cuda_emu.so"
FILES = ("elementwise", "reduction", "softmax", "matmul", "norm", "conv", "depthwise", "pool", "embedding", "optimizer_kernels", "random",
         "losses_ops", "array", "math", "rnn", "dense_conv_layers", "small_layers", "rnn_layers", "sequential", "functional", "trainer",
         "capture", "models", "layer", "losses", "metrics", "optimizers", "device")
MODES = tuple(itertools.product(("forward", "reverse", "shuffled"), ("late", "early")))
FLAGS = {"plain": "-O2", "ucontext": "-O2 -DFASTNN_EMU_UCONTEXT", "asan": "-O1 -g -fsanitize=address,undefined",
         "tsan": "-O1 -g -fsanitize=thread"}
PRELOAD = {"asan": "libasan.so", "tsan": "libtsan.so"}  # the interpreter itself is not built with the sanitizer


def library(name):
    """Builds the library of a build; its path."""
    folder = ROOT / "build" / f"emu_{name}"
    pybind11 = subprocess.run([sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True).stdout.strip()
    for command in (["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DFASTNN_CUDA_EMU=ON", "-DFASTNN_TARGETS=baseline",
                     "-DCMAKE_BUILD_TYPE=None", f"-DFASTNN_EMU_FLAGS={FLAGS[name]}", f"-DPython_EXECUTABLE={sys.executable}",
                     f"-Dpybind11_DIR={pybind11}", *os.environ.get("CMAKE_ARGS", "").split()],
                    ["cmake", "--build", str(folder), "--target", "_cuda_emu"]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(result.stdout + result.stderr)
    return folder / "_cuda_emu.so"


def run(name, file, order, copies, options):
    environment = dict(os.environ, **build.ENVIRONMENT, PYTHONPATH=str(ROOT / "python"), FASTNN_DEVICE="cuda-emu", FASTNN_EMU_ORDER=order,
                       FASTNN_EMU_COPIES=copies, FASTNN_EMU_SECONDS=str(options.seconds), FASTNN_EMU_SAMPLE=options.sample,
                       OPENBLAS_NUM_THREADS="1")
    if name in PRELOAD:
        environment["LD_PRELOAD"] = subprocess.run([*build.compiler(), f"-print-file-name={PRELOAD[name]}"], capture_output=True,
                                                   text=True).stdout.strip()
    begin = time.time()
    result = subprocess.run([sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "-rf", "--no-header", "-p", "no:cacheprovider",
                             str(ROOT / "tests" / f"test_{file}.py")], capture_output=True, text=True, errors="replace", env=environment)
    text = result.stdout + result.stderr
    counts = {word: sum(map(int, re.findall(rf"(\d+) {word}", text))) for word in ("passed", "failed", "skipped", "error")}
    reports = len(re.findall(r"ERROR: AddressSanitizer|runtime error:|WARNING: ThreadSanitizer", text))
    problem = "" if result.returncode in (0, 5) else "; ".join(re.findall(r"^FAILED (\S+)", text, re.M))[:300] or text.strip()[-200:]
    return counts, reports, problem, time.time() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builds", default="plain,ucontext,asan,tsan", help="or installed: the library in python/fastnn as it is")
    parser.add_argument("--files", default=",".join(FILES))
    parser.add_argument("--modes", default="", help="such as forward-late,reverse-early; all six by default")
    parser.add_argument("--seconds", type=float, default=20, help="of a test, which is skipped beyond them")
    parser.add_argument("--sample", default="", help="run a part of the tests, such as 1/3")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    modes = [tuple(m.split("-")) for m in options.modes.split(",")] if options.modes else MODES
    kept = LIBRARY.read_bytes() if LIBRARY.exists() else None
    lines, bad = [], 0
    try:
        for name in options.builds.split(","):
            if name != "installed":
                made = library(name).read_bytes()
                LIBRARY.unlink(missing_ok=True)
                LIBRARY.write_bytes(made)
            for order, copies in modes:
                total, found, began = dict.fromkeys(("passed", "failed", "skipped", "error"), 0), 0, time.time()
                for file in options.files.split(","):
                    counts, reports, problem, _ = run(name, file, order, copies, options)
                    total = {k: total[k] + counts[k] for k in total}
                    found += reports
                    if problem or reports:
                        bad += 1
                        lines.append(f"    test_{file}, {name}, {order}, {copies}: {problem}")
                        print(lines[-1], flush=True)
                lines.append(f"{name:9} {order:9} {copies:6} passed {total['passed']}, failed {total['failed'] + total['error']}, skipped "
                             f"{total['skipped']}, sanitizer reports {found}, {time.time() - began:.0f} s")
                print(lines[-1], flush=True)
                if options.write:  # so far
                    head = f"{datetime.date.today()}, test_* of {options.files}; sample {options.sample or 'all'}; {options.seconds:g} s a test"
                    (build.HERE / "matrix.txt").write_text("\n".join([head, *lines]) + "\n")
    finally:
        if kept is not None and options.builds != "installed":
            LIBRARY.unlink(missing_ok=True)
            LIBRARY.write_bytes(kept)
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
