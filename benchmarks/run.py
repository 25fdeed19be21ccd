"""The kernels beside torch (oneDNN, MKL), NumPy (OpenBLAS) and onnxruntime, on this machine.

    python benchmarks/run.py [--peer PYTHON] [--threads 1,2] [--filter TEXT] [--quick] [--isa avx2] [--json FILE] [--merge] [--readme]
    python -m fastnn.bench ...       the same where fastnn is installed

Each implementation is a process of its own; they take turns on every problem, in rounds, so that a
noisy machine is noisy for all of them. Times are medians, of calls from Python, results allocated
by the callee. Peers run with glibc told to keep freed memory, which is the faster way for them.
--peer names a Python that has torch and onnxruntime, if this one has not.

Prints a row for each problem and a summary by family; writes both to results.md and results.json
beside this file (not with --filter or --quick), or to FILE and what is beside it; --readme writes the summary to README.md.
--isa avx2 holds fastnn and its peers to AVX2 and makes a table of its own.

--merge keeps the rows of results.json that are not measured now, so that the table may be made in pieces, and writes
after each row. Ceilings are then the highest of all pieces. With --missing only what it lacks is measured, with
--stop-after S no row begins after S seconds. Until this succeeds, the table is not complete:

    python benchmarks/run.py --peer PYTHON --merge --missing --stop-after 40 --readme

ratio    time of the fastest peer / time of fastnn: above 1, fastnn is faster.
floor    the share of the time that the machine's own limit would take: arithmetic at the rate of
         multiply-adds in registers, or bytes at the bandwidth of the level that holds them.
error    the largest difference from float64, divided by the largest value. Computed by torch; where that is not
         installed by NumPy, which does not have all the problems.
"""
import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import ceilings
import numpy as np
from problems import GOALS, problems
from process import HERE, Process

PEERS = ("torch", "numpy", "onnxruntime")
HELD_TO = {"avx2": {"FASTNN_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
                    "OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}}
CANNOT_BE_HELD = ("onnxruntime",)  # it takes AVX-512 where there is any, whatever it is told
NO_REFERENCE = ("dropout", "optimizer")
LEAST = {"avx2": 0.9}  # the bound of every row, for an instruction set that has one of its own; no goal for means then


def start(names, arguments, threads):
    """The workers that start, fastnn first."""
    started = []
    for name in names:
        python = arguments.peer if name in ("torch", "onnxruntime", "reference") else sys.executable
        worker = Process(name, [python, str(HERE / "worker.py"), name, str(threads)], threads, HELD_TO.get(arguments.isa))
        description = worker.ask("describe")
        if description:
            worker.description = description
            started.append(worker)
        elif name == "fastnn":
            raise SystemExit("fastnn does not start: is it installed?")
    return started


def measure(problem, workers, seconds, rounds=3):
    """{name: median seconds} of the workers that have this problem; they take turns."""
    have = [w for w in workers if w.ask("load", problem.name) is not None]
    times = {w.name: [] for w in have}
    for w in have:
        w.pause()
    for _ in range(rounds):
        for w in have:
            times[w.name] += w.turn("run", seconds / rounds) or []
    for w in have:
        w.resume()
    return {name: statistics.median(t) for name, t in times.items() if t}


def error(problem, fastnn, reference):
    """The largest difference from float64 over the largest value, or None."""
    if reference is None or problem.op in NO_REFERENCE or problem.args.get("name") in NO_REFERENCE:
        return None
    with tempfile.TemporaryDirectory() as folder:
        ours, exact = os.path.join(folder, "a.npz"), os.path.join(folder, "b.npz")
        if not (fastnn.ask("output", problem.name, ours) and reference.ask("reference", problem.name, exact)):
            return None
        with np.load(ours) as a, np.load(exact) as b:
            worst = 0.0
            for name in a.files:
                n = min(a[name].size, b[name].size)
                x, y = a[name][:n].astype(np.float64), b[name][:n].astype(np.float64)
                scale = np.max(np.abs(y), initial=0.0) or 1.0
                worst = max(worst, float(np.max(np.abs(x - y), initial=0.0) / scale))
            return worst


def row(problem, times, threads, limits, wrong):
    """One line of the table, as a dictionary. times: {implementation: seconds}."""
    ours = times["fastnn"]
    peers = {k: v for k, v in times.items() if k != "fastnn"}
    best = min(peers, key=peers.get) if peers else None
    seconds, bound = ceilings.floor(problem, limits, threads)
    ratio = peers[best] / ours if best else None
    share = seconds / ours
    least = LEAST.get(limits["isa"], GOALS[problem.family][0])
    mark = "" if ratio is None or ratio >= least else "near the floor" if share >= 0.9 else "under"
    return {"name": problem.name, "family": problem.family, "threads": threads, "ms": ours * 1e3, "gflops": problem.flops / ours / 1e9,
            "gbs": problem.bytes / ours / 1e9, "floor": share, "bound": bound, "peer": best, "ratio": ratio, "error": wrong, "mark": mark, "least": least,
            "peers_ms": {k: v * 1e3 for k, v in peers.items()}}


def merged(old, new):
    """Two tables as one: rows of the second in place of the first's, ceilings the higher of both, floors by these.

    A table: {"cpu", "described", "ceilings", "fma", "rows"}, ceilings and fma by the number of threads, a string.
    """
    if old.get("cpu") != new["cpu"] or old.get("described") != new["described"]:
        raise SystemExit(f"the kept rows are of {old.get('cpu')}, {old.get('described')}, not of {new['cpu']}, {new['described']}: begin a new table")
    table = {**new}
    for kind in ("ceilings", "fma"):
        table[kind] = {**old[kind], **new[kind]}
        for t in old[kind].keys() & new[kind].keys():
            table[kind][t] = {k: v if isinstance(v, str) else max(v, old[kind][t].get(k, v)) for k, v in new[kind][t].items()}
    known = problems()
    rows = {(r["threads"], r["name"]): r for r in old["rows"] if r["name"] in known}
    for r in new["rows"]:
        wrong = r["error"] if r["error"] is not None else rows.get((r["threads"], r["name"]), r)["error"]
        rows[r["threads"], r["name"]] = {**r, "error": wrong}
    place = {name: i for i, name in enumerate(known)}
    table["rows"] = [row(known[name], {"fastnn": r["ms"] / 1e3, **{k: v / 1e3 for k, v in r["peers_ms"].items()}}, t,
                         table["ceilings"][str(t)], r["error"])
                     for (t, name), r in sorted(rows.items(), key=lambda item: (item[0][0], place[item[0][1]]))]
    return table


def line(r):
    rate = f"{r['gflops']:8.1f} GFLOP/s" if r["bound"] == "compute" else f"{r['gbs']:8.1f} GB/s   "
    ratio = f"{r['ratio']:6.2f} {r['peer']:11}" if r["ratio"] else " " * 18
    wrong = f"{r['error']:.0e}" if r["error"] is not None else "-"
    return f"{r['name']:48} {r['threads']} {r['ms']:10.4f} ms {rate} {r['floor']:5.0%} {r['bound']:7} {ratio} {wrong:>6} {r['mark']}"


def summary(rows):
    """Markdown: a line for each family."""
    threads = sorted({r["threads"] for r in rows})
    out = ["| family | rows | " + " | ".join(f"geometric mean, {t} thread{'s' if t > 1 else ''}" for t in threads)
           + " | worst row | under its bound | goal: every row, mean |", "|---" * (5 + len(threads)) + "|"]
    for family, goals in GOALS.items():
        found = [r for r in rows if r["family"] == family and r["ratio"]]
        if not found:
            continue
        means = []
        for t in threads:
            ratios = [math.log(r["ratio"]) for r in found if r["threads"] == t]
            means.append(f"{math.exp(sum(ratios) / len(ratios)):.2f}" if ratios else "")
        worst = min(found, key=lambda r: r["ratio"])
        under = sum(r["mark"] == "under" for r in found)
        goal = "{}, {}".format(*goals) if worst.get("least", goals[0]) == goals[0] else worst["least"]
        out.append(f"| {family} | {len(found)} | {' | '.join(means)} | {worst['ratio']:.2f} {worst['name']}, {worst['threads']} thread"
                   f"{'s' if worst['threads'] > 1 else ''}, at {worst['floor']:.0%} of its floor | {under} | {goal} |")
    return "\n".join(out)


def replace_between(path, name, text):
    """Put text between the markers of `name` in a file."""
    old = path.read_text()
    begin, end = f"<!-- {name}: begin", f"<!-- {name}: end -->"
    head, _, rest = old.partition(begin)
    first, _, rest = rest.partition("\n")
    _, found, tail = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} must have the markers of {name!r}")
    path.write_text(f"{head}{begin}{first}\n{text}\n{end}{tail}")


def machine_name():
    """The CPU and its cores."""
    cpu = "unknown CPU"
    try:
        with open("/proc/cpuinfo") as f:
            cpu = next(x.split(":", 1)[1].strip() for x in f if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{cpu}, {os.cpu_count()} cores"


def machine(table):
    """What was measured on: a few lines."""
    lines = [f"{table['cpu']}; {', '.join(table['described'])}; {time.strftime('%Y-%m-%d')}."]
    for t, c in sorted(table["ceilings"].items()):
        rates = ", ".join(f"{k} {v:.0f}" for k, v in table["fma"][t].items())
        lines.append(f"Ceilings with {t} thread{'s' if t != '1' else ''}: GFLOP/s {rates}; GB/s of copy and triad: second-level cache "
                     f"{c['l2 copy']:.0f} and {c['l2 triad']:.0f}, third {c['l3 copy']:.0f} and {c['l3 triad']:.0f}, "
                     f"memory {c['memory copy']:.0f} and {c['memory triad']:.0f}.")
    return lines


def write(table, path):
    """The table as JSON, and for readers beside it. A reader, or a run that is cut, finds it whole."""
    text = "\n\n".join(["<!-- written by benchmarks/run.py -->", *machine(table), summary(table["rows"]),
                        "```\n" + "\n".join(line(r) for r in table["rows"]) + "\n```"]) + "\n"
    for to, content in ((path, json.dumps(table, indent=0)), (path.with_suffix(".md"), text)):
        new = to.with_suffix(".new")
        new.write_text(content)
        os.replace(new, to)


def smallest(chosen):
    """The cheapest two problems of each family."""
    by_family = {}
    for p in sorted(chosen, key=lambda p: p.flops + 4 * p.bytes):
        by_family.setdefault(p.family, []).append(p)
    return [p for ps in by_family.values() for p in ps[:2]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--filter", default="", help="only problems whose name or family has one of these words, separated by commas")
    parser.add_argument("--seconds", type=float, default=0.12, help="of measuring, for each problem and implementation")
    parser.add_argument("--quick", action="store_true", help="two small problems of each family, little time")
    parser.add_argument("--no-error", action="store_true", help="leave the error column out")
    parser.add_argument("--isa", default="", help="avx2: hold fastnn and its peers to AVX2; leaves out the peer that cannot be held to it")
    parser.add_argument("--json", metavar="FILE", help="instead of results.json, also with --filter and --quick")
    parser.add_argument("--merge", action="store_true", help="keep the rows of results.json that are not measured now")
    parser.add_argument("--missing", action="store_true", help="with --merge: only what results.json does not have")
    parser.add_argument("--stop-after", type=float, default=math.inf, metavar="SECONDS", help="begin no row after so many")
    parser.add_argument("--readme", action="store_true", help="write the summary to README.md")
    arguments = parser.parse_args()
    if arguments.missing and not arguments.merge:
        parser.error("--missing needs --merge")
    stop = time.monotonic() + arguments.stop_after
    words = [w for w in arguments.filter.split(",") if w]
    chosen = [p for p in problems().values() if not words or any(w in p.name or w in p.family for w in words)]
    if arguments.quick:
        chosen, arguments.seconds = smallest(chosen), min(arguments.seconds, 0.02)
    os.environ.update(HELD_TO.get(arguments.isa, {}))

    path = Path(arguments.json) if arguments.json else HERE / f"results{'-' + arguments.isa if arguments.isa else ''}.json"
    kept = json.loads(path.read_text()) if arguments.merge and path.exists() else None
    have = {(r["threads"], r["name"]) for r in kept["rows"]} if kept and arguments.missing else set()
    table, left = kept, 0
    for threads in [int(t) for t in arguments.threads.split(",")]:
        todo = [p for p in chosen if (threads, p.name) not in have]
        if not todo or (table is not kept and time.monotonic() >= stop):
            left += len(todo)
            continue
        piece = {"cpu": machine_name(), "ceilings": {str(threads): ceilings.measure(threads)}, "fma": {str(threads): ceilings.fma_rates(threads)}}
        workers = start(("fastnn", *(name for name in PEERS if not (arguments.isa and name in CANNOT_BE_HELD))), arguments, threads)
        piece["described"] = [w.description for w in workers]
        # Where torch is missing, NumPy's functions in float64 are a reference for what it has.
        known = "torch" if any(w.name == "torch" for w in workers) else "numpy"
        reference = start([known], arguments, threads) if not arguments.no_error else []
        print(*machine(piece), sep="\n", flush=True)
        for i, p in enumerate(todo):
            if i and time.monotonic() >= stop:  # one row at least, so that pieces come to an end
                left += len(todo) - i
                break
            times = measure(p, workers, arguments.seconds)
            if "fastnn" not in times:
                raise SystemExit(f"fastnn failed on {p.name}")
            wrong = error(p, workers[0], reference[0] if reference else None)
            piece["rows"] = [row(p, times, threads, piece["ceilings"][str(threads)], wrong)]
            table = merged(table, piece) if table else dict(piece)
            print(line(piece["rows"][0]), flush=True)
            if arguments.merge:
                write(table, path)
        for w in [*workers, *reference]:
            w.close()
    if table is None:
        raise SystemExit(f"no problem has one of these words: {arguments.filter}")
    text = summary(table["rows"])
    print("\n" + text)
    if arguments.json or not (words or arguments.quick or arguments.merge):
        write(table, path)
    if arguments.readme:
        replace_between(HERE.parent / "README.md", f"kernels-{arguments.isa}" if arguments.isa else "kernels", "\n\n".join([*machine(table), text]))
    if left:
        raise SystemExit(f"{left} rows are left")


if __name__ == "__main__":
    main()
