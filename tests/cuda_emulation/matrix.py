"""The tests of ops, layers and models on the emulated device: all orders, both times of copies, every build.

    python tests/cuda_emulation/matrix.py [--builds plain,asan,tsan] [--files softmax,conv] [--seconds 20] [--sample 1/3] [--resume] [--write]

Needs the sources, CMake, Ninja, pybind11 and the package built from them in python/fastnn (see csrc/cuda/emulation/README.md). Each build of
the library goes into build/emu_NAME; plain is -O2 with the check of alignment, the others are those of build.py. Every mode of every build is
one process, begun again behind the test that ended it, if one does; `--resume` goes on where an interrupted matrix was, and the seconds of
its line are then those of this last part. What each test did is in build/matrix. `--write` keeps the result in matrix.txt beside this file:
the lines of the modes that were run, and those that it had of others.
"""

import argparse
import collections
import datetime
import itertools
import json
import os
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path

import build

ROOT = build.ROOT
LIBRARY = ROOT / "python" / "fastnn" / "_cuda_emu.so"
RESULTS = ROOT / "build" / "matrix"
# Tests of what no device has a part in, or which set the device or its library up themselves.
LEFT_OUT = set("""bounding_boxes cuda_benchmarks cuda_emulation data_utils datasets docs docstrings examples feature_examples feature_space file_utils
    fixture_manifest hostile_files import isa keras_signatures native_checks parameter_counts schedules stub summary surface threads tree
    utils""".split())
# Whole networks of others: their layers are tested elsewhere, so each of these tests runs in one of the modes.
IN_ONE_MODE = ("test_applications.py",)
FILES = tuple(sorted({f.stem[5:] for f in (ROOT / "tests").glob("test_*.py")} - LEFT_OUT))
MODES = tuple(itertools.product(("forward", "reverse", "shuffled"), ("late", "early")))
FLAGS = {"plain": "-O2", "ucontext": "-O2 -DFASTNN_EMU_UCONTEXT", "asan": "-O1 -g -fsanitize=address,undefined",
         "tsan": "-O1 -g -fsanitize=thread"}
# The interpreter itself is not built with the sanitizer, which wants to find the function that throws when it begins.
PRELOAD = {"asan": ("libasan.so", "libstdc++.so"), "tsan": ("libtsan.so", "libstdc++.so")}
REPORTS = r"ERROR: AddressSanitizer|AddressSanitizer: CHECK failed|runtime error:|WARNING: ThreadSanitizer"


# ---- within the process of a mode: pytest loads this file as a plug-in ----

LOG = os.environ.get("FASTNN_MATRIX_LOG")
if LOG:
    def _write(**line):
        with open(LOG, "a") as f:
            f.write(json.dumps(line) + "\n")

    def pytest_collection_modifyitems(items):
        done, mode = {line["test"] for line in read(Path(LOG))}, int(os.environ["FASTNN_MATRIX_MODE"])
        items[:] = [i for i in items if i.nodeid not in done
                    and (i.path.name not in IN_ONE_MODE or zlib.crc32(i.nodeid.encode()) % len(MODES) == mode)]

    def pytest_runtest_logstart(nodeid):
        _write(test=nodeid, outcome="crashed")  # unless a later line says something else

    def pytest_runtest_logreport(report):
        if report.when == "call" or report.outcome != "passed":
            why = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr or "")[-2000:]
            _write(test=report.nodeid, outcome=report.outcome, seconds=round(report.duration, 3), why=why)


def read(log):
    """What a log says of each test; of a test that is named twice, what came to light last."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    found = {}
    for line in lines:
        if found.get(line["test"], {}).get("outcome") != "failed":
            found[line["test"]] = line
    return list(found.values())


# ---- outside ----


def library(name):
    """Builds the library of a build; its path."""
    folder = ROOT / "build" / f"emu_{name}"
    pybind11 = subprocess.run([sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True).stdout.strip()
    for command in (["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DFASTNN_CUDA_EMU=ON", "-DFASTNN_TARGETS=baseline",
                     "-DCMAKE_BUILD_TYPE=Release", f"-DFASTNN_EMU_FLAGS={FLAGS[name]}", f"-DPython_EXECUTABLE={sys.executable}",
                     f"-Dpybind11_DIR={pybind11}", *os.environ.get("CMAKE_ARGS", "").split()],
                    ["cmake", "--build", str(folder), "--target", "_cuda_emu"]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(result.stdout + result.stderr)
    return folder / "_cuda_emu.so"


def run(name, order, copies, options):
    """Runs what is left of a mode: (counts of outcomes, problems, what tests and sanitizers say of them, seconds)."""
    stem = RESULTS / f"{name}-{order}-{copies}"
    log, sanitizer = stem.with_suffix(".jsonl"), stem.with_suffix(".report")
    if not options.resume:
        for old in RESULTS.glob(f"{stem.name}.*"):
            old.unlink()
    elif log.exists():  # a test that was running when the matrix was stopped has not crashed
        lines = log.read_text().splitlines()
        log.write_text("".join(f"{line}\n" for line in lines[:-1] + [x for x in lines[-1:] if '"crashed"' not in x]))
    path = os.pathsep.join([str(build.HERE), *[str(ROOT / "python")] * (name != "installed"), os.environ.get("PYTHONPATH", "")])
    environment = dict(os.environ, PYTHONPATH=path, FASTNN_DEVICE="cuda-emu", FASTNN_EMU_ORDER=order, FASTNN_EMU_COPIES=copies,
                       FASTNN_EMU_SECONDS=str(options.seconds), FASTNN_EMU_SEED=str(options.seed), OPENBLAS_NUM_THREADS="1",
                       FASTNN_MATRIX_LOG=str(log), FASTNN_MATRIX_MODE=str(MODES.index((order, copies))))
    if options.sample:  # another part in each mode: six of 1/6 are all of the tests
        environment["FASTNN_EMU_SAMPLE"] = f"{options.sample}@{MODES.index((order, copies)) * int(options.sample.split('/')[0])}"
    for variable, value in build.ENVIRONMENT.items():  # into files: pytest keeps what passing tests print
        environment[variable] = f"{value}:halt_on_error={int(name != 'tsan')}:log_path={sanitizer}"
    if name in PRELOAD:
        environment["LD_PRELOAD"] = ":".join(subprocess.run([*build.compiler(), f"-print-file-name={each}"], capture_output=True,
                                                            text=True).stdout.strip() for each in PRELOAD[name])
    command = [sys.executable, "-m", "pytest", "-p", "matrix", "-o", "addopts=", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=short",
               *(str(ROOT / "tests" / f"test_{file}.py") for file in options.files.split(","))]
    begin, problems = time.time(), []
    while True:
        before = len(read(log))
        with open(stem.with_suffix(".txt"), "a") as output:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=ROOT).returncode
        if code in (0, 1, 5):
            break
        if len(read(log)) == before:  # it does not get as far as a test
            problems.append(f"pytest ends with {code}: {' '.join(stem.with_suffix('.txt').read_text(errors='replace').split())[-200:]}")
            break
    found = read(log)
    counts = collections.Counter(line["outcome"] for line in found)
    counts["over"] = sum("on the emulated device" in line.get("why", "") for line in found)
    reports = [f.read_text(errors="replace") for f in RESULTS.glob(f"{stem.name}.report*")]
    counts["reports"] = sum(len(re.findall(REPORTS, text)) for text in reports)
    problems += [f"{line['test']}: {line['outcome']}" for line in found if line["outcome"] in ("failed", "crashed")]
    problems += [m for text in reports for m in re.findall(r"(?:SUMMARY: .*|.*runtime error:.*)", text)]
    details = [f"\n{line['test']}\n{line['why']}" for line in found if line["outcome"] == "failed"] + reports
    return counts, problems, details, time.time() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builds", default="plain,ucontext,asan,tsan", help="or installed: the package and the library that Python finds")
    parser.add_argument("--files", default=",".join(FILES))
    parser.add_argument("--modes", default="", help="such as forward-late,reverse-early; all six by default")
    parser.add_argument("--seconds", type=float, default=20, help="of a test, which is skipped beyond them")
    parser.add_argument("--sample", default="", help="run a part of the tests, such as 1/3, another one in each mode")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and of the shuffled order")
    parser.add_argument("--resume", action="store_true", help="go on where an earlier matrix was stopped")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    modes = [tuple(m.split("-")) for m in options.modes.split(",")] if options.modes else MODES
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept = LIBRARY.read_bytes() if LIBRARY.exists() else None
    bad = 0
    try:
        for name in options.builds.split(","):
            if name != "installed":
                made = library(name).read_bytes()
                LIBRARY.unlink(missing_ok=True)
                LIBRARY.write_bytes(made)
            for order, copies in modes:
                counts, problems, details, seconds = run(name, order, copies, options)
                bad += len(problems)
                lines = [f"{name:9} {order:9} {copies:6} passed {counts['passed']}, failed {counts['failed'] + counts['crashed']}, skipped "
                         f"{counts['skipped']} ({counts['over']} of them over {options.seconds:g} s), sanitizer reports {counts['reports']}; "
                         f"{len(options.files.split(','))} files, sample {options.sample or 'all'}, {seconds:.0f} s, {datetime.date.today()}",
                         *(f"    {p}" for p in problems)]
                print("\n".join(lines), flush=True)
                for line in details:
                    print(line, file=sys.stderr, flush=True)
                if options.write:
                    write(lines)
    finally:
        if kept is not None and options.builds != "installed":
            LIBRARY.unlink(missing_ok=True)
            LIBRARY.write_bytes(kept)
    return bad != 0


def write(lines):
    """Puts the lines of a mode where the file has that mode, in the order of builds and modes."""
    file = build.HERE / "matrix.txt"
    parts = re.split(r"\n(?! )", file.read_text().strip()) if file.exists() else []
    parts = {tuple(p.split()[:3]): p for p in [*parts, "\n".join(lines)]}
    order = {(n, *m): i for i, (n, m) in enumerate(itertools.product([*FLAGS, "installed"], MODES))}
    file.write_text("\n".join(parts[k] for k in sorted(parts, key=lambda k: order.get(k, -1))) + "\n")


if __name__ == "__main__":
    sys.exit(main())
