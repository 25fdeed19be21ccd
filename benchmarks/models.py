"""Whole models beside Keras on TensorFlow, Keras on JAX and torch: training step, predict, one sample.

    python benchmarks/models.py [--peer PYTHON] [--threads 1,2] [--filter mlp,cnn] [--quick] [--busy] [--kernels] [--merge] [--readme]

Every implementation of a workload runs in a process of its own; they take turns, in rounds, the others
stopped meanwhile. Times are medians. A peer whose step takes more than 0.3 s and twice the fastest peer's has one turn.
--peer names a Python that has the peers. --busy measures the training step again while another process keeps one core
busy. Writes models.json after each row (not with --filter or --quick); --merge keeps its rows that are not measured now,
so that a table may be made in pieces; --readme writes the table to README.md and the chart models.svg, with --busy the
table of losses alone.

step     one step of `fit` (of a hand-written loop with torch), batches drawn in a new order, the epoch's
         time divided by its steps
predict  `predict` over all data, per batch (torch: the bare module under inference_mode)
one      latency of one sample: `predict(x)` and `model(x)`
first    the first training step of the process, compilation included (not that of Python's modules: as installed by pip)
floor    what the kernels of a step take at least, each by its operations at the rate of multiply-adds in registers
         or by its bytes from the nearest level of memory that holds them (ceilings.py), as a share of the step
"""
import argparse
import collections
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time

import ceilings
from process import HERE, Process, busy_neighbour
from run import machine_name, replace_between
from workloads import GOALS, WORKLOADS

PEERS = ("keras-tensorflow", "keras-jax", "torch", "torch-compiled")
HEAVY = ("xception", "resnet50", "mobilenetv2")  # minutes of compilation on a small machine: torch-compiled only with --all
LONG = 0.3  # seconds of a step: a peer that is not the fastest by far need not repeat such


def start(name, workload, python, threads):
    """The worker of an implementation: see model_worker.py. XLA and TensorFlow get the cores that they are allowed."""
    cores = ",".join(str(c) for c in sorted(os.sched_getaffinity(0))[:threads]) if hasattr(os, "sched_getaffinity") else ""
    command = [python, str(HERE / "model_worker.py"), name, workload, str(threads)]
    if threads == 1 and cores and name.startswith("keras"):
        command = ["taskset", "-c", cores, *command]
    return Process(name, command, threads, {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"} if name == "keras-jax" and threads == 1 else None)


Work = collections.namedtuple("Work", "flops bytes")


def measured_apart(threads):
    """`ceilings.measure` in a process of its own: a child's peak memory counts from its parent's."""
    code = f"import json, ceilings; print(json.dumps(ceilings.measure({threads})))"
    return json.loads(subprocess.run([sys.executable, "-c", code], cwd=HERE, stdout=subprocess.PIPE, text=True, check=True).stdout)


def floors(kernels, limits, threads):
    """[(name, layer, calls, ms, floor in ms, what bounds it)] of the kernels of a step, the slowest first."""
    rows = []
    for name, layer, flops, size, calls, seconds in kernels:
        least, bound = ceilings.floor(Work(flops, size), limits, threads) if flops or size else (0.0, "")
        rows.append((name, layer, calls, seconds * 1e3, calls * least * 1e3, bound))
    return sorted(rows, key=lambda row: -row[3])


def measure(workload, threads, arguments, limits):
    """{implementation: {"step", "predict", "predict_one", "call_one", "first", "memory", "import" ...}}, times in ms."""
    workers, found, warm = [], {}, {}
    for name in ("fastnn", *PEERS):
        if name == "torch-compiled" and (arguments.quick or (workload in HEAVY and not arguments.all)):
            continue
        if arguments.only and name != "fastnn" and name not in arguments.only.split(","):
            continue
        w = start(name, workload, sys.executable if name == "fastnn" else arguments.peer, threads)
        described = w.ask("describe")
        first = None if described is None else w.ask("first")
        steps = first and w.ask("step", 0.0, 2)  # a warm-up: recording and compilation happen here
        if not steps:
            w.close()
            if name == "fastnn":
                raise SystemExit(f"fastnn does not run {workload}")
            continue
        w.pause()
        workers.append(w)
        warm[name] = steps[-1]
        found[name] = {"version": described["version"], "import": described["import"] * 1e3, "first": first * 1e3}
    samples = {w.name: {"step": [], "predict": [], "predict_one": [], "call_one": []} for w in workers}
    fastest = min((seconds for name, seconds in warm.items() if name != "fastnn"), default=0.0)
    behind = [name for name, seconds in warm.items() if name != "fastnn" and seconds > max(LONG, 2 * fastest)]
    for name in behind:  # its steps when warm, compiled before, are its figure
        samples[name]["step"] = [warm[name]]
    for turn in range(1 if arguments.quick else 3):
        now = [w for w in workers if turn == 0 or w.name not in behind]
        for w in now:
            if w.name not in behind:
                samples[w.name]["step"] += w.turn("step", arguments.seconds / 3, 1 if warm[w.name] > LONG else 2) or []
        for what, share in (("predict", 6), ("predict_one", 12), ("call_one", 12)):
            for w in now:
                samples[w.name][what] += w.turn("repeat", what, arguments.seconds / share) or []
    busy = {w.name: [] for w in workers}
    if arguments.busy:
        with busy_neighbour():
            for w in workers:
                busy[w.name] = w.turn("step", arguments.seconds / 2, 2) or []
    for w in workers:
        f = found[w.name]
        f.update({k: statistics.median(v) * 1e3 for k, v in samples[w.name].items() if v})
        if busy[w.name]:
            f["busy"], f["quiet"] = statistics.median(busy[w.name]) * 1e3, f["step"]
        f["memory"] = w.turn("memory") or 0.0
        if w.name == "fastnn":
            rows = floors(w.turn("kernels") or [], limits, threads)
            f["floor"] = sum(row[4] for row in rows)
            if arguments.kernels:
                print(f"{workload}, {threads} threads: kernel, layer, calls, ms, floor in ms by, share of the floor")
                for name, layer, calls, ms, least, bound in rows[:arguments.kernels]:
                    print(f"  {name:30} {layer:36} {calls:6.1f} {ms:9.4f} {least:9.4f} {bound:8} {least / ms if ms else 0:5.0%}")
        w.close()
    return found


def ratio(found, what):
    """(time of the fastest peer / time of fastnn, its name), or (None, None)."""
    peers = {k: v[what] for k, v in found.items() if k != "fastnn" and what in v}
    if not peers or what not in found["fastnn"]:
        return None, None
    best = min(peers, key=peers.get)
    return peers[best] / found["fastnn"][what], best


def line(workload, threads, found):
    parts = [f"{workload:12} {threads}"]
    for name, f in found.items():
        busy = f" busy {f['busy'] / f['quiet']:.2f}x" if "busy" in f else ""
        parts.append(f"    {name:17} step {f.get('step', 0):9.3f}  predict {f.get('predict', 0):9.3f}  one {f.get('predict_one', 0):8.4f} / "
                     f"{f.get('call_one', 0):8.4f}  first {f['first']:8.1f} ms  {f['memory']:6.0f} MB  import {f['import'] / 1e3:.2f} s{busy}")
    return "\n".join(parts)


def compile_modules():
    """Bytecode of fastnn's modules, as pip leaves it with any package: a first step would otherwise compile those it
    imports, in a source tree whose bytecode is old or was never written."""
    for folder in importlib.util.find_spec("fastnn").submodule_search_locations:
        # Apart, see measured_apart; a folder that must not be written stays as it is.
        subprocess.run([sys.executable, "-m", "compileall", "-q", folder], check=False, stdout=subprocess.DEVNULL)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def table(rows):
    """Markdown: a line for each workload and number of threads."""
    out = ["| model | threads | step, ms | best peer's step | ratio (goal) | predict, ratio | one sample: `predict`, `model(x)`, ms | ratio "
           "| of its floor | first step, ms | peak MB |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        f = r["found"]["fastnn"]
        step, peer = ratio(r["found"], "step")
        predict, _ = ratio(r["found"], "predict")
        one, _ = ratio(r["found"], "call_one")
        goal = f" ({GOALS[r['workload']]})" if r["workload"] in GOALS else ""
        cells = [r["workload"], r["threads"], f"{f['step']:.3g}", f"{r['found'][peer]['step']:.3g} {peer}" if peer else "",
                 f"{step:.2f}{goal}" if step else "", f"{predict:.2f}" if predict else "", f"{f['predict_one']:.3f}, {f['call_one']:.3f}",
                 f"{one:.2f}" if one else "", f"{f['floor'] / f['step']:.0%}" if "floor" in f else "", f"{f['first']:.3g}", f"{f['memory']:.0f}"]
        out.append("| " + " | ".join(str(c) for c in cells) + " |")
    for threads in sorted({r["threads"] for r in rows}):
        means = [geometric_mean([x for r in rows if r["threads"] == threads and (x := ratio(r["found"], what)[0])])
                 for what in ("step", "predict", "call_one")]
        out.append(f"| geometric mean | {threads} | | | {means[0]:.2f} | {means[1]:.2f} | | {means[2]:.2f} | | | |")
    return "\n".join(out)


def busy_table(rows):
    """Markdown: what each implementation loses beside a busy process, for the rows where that was measured."""
    rows = [r for r in rows if any("busy" in f for f in r["found"].values())]
    names = [n for n in ("fastnn", *PEERS) if any("busy" in r["found"].get(n, ()) for r in rows)]
    out = ["| model | threads | " + " | ".join(f"{n}: quiet, busy, ms | times" for n in names) + " |", "|---" * (2 + 2 * len(names)) + "|"]
    for r in rows:
        cells = [r["workload"], str(r["threads"])]
        for f in (r["found"].get(n, {}) for n in names):
            cells += [f"{f['quiet']:.3g}, {f['busy']:.3g}", f"{f['busy'] / f['quiet']:.2f}"] if "busy" in f else ["", ""]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def chart(rows):
    """An SVG: for each workload, how many times the step of fastnn each peer takes, with the most threads measured."""
    threads = max(r["threads"] for r in rows)
    rows = [r for r in rows if r["threads"] == threads]
    names = [p for p in PEERS if any(p in r["found"] for r in rows)]
    colours = dict(zip(PEERS, ("#e8833a", "#5b8fd9", "#c0504d", "#8e6bbf")))
    unit, bar, y, parts, top = 70, 11, 46, [], 8.0
    for r in rows:
        parts.append(f'<text x="112" y="{y + bar * len(names) / 2 + 4:.0f}" text-anchor="end">{r["workload"]}</text>')
        for name in names:
            value = r["found"].get(name, {}).get("step")
            if value:
                times = value / r["found"]["fastnn"]["step"]
                parts.append(f'<rect x="120" y="{y}" width="{unit * min(times, top):.1f}" height="{bar - 2}" fill="{colours[name]}"/>'
                             f'<text x="{124 + unit * min(times, top):.1f}" y="{y + bar - 3}" font-size="9">{times:.1f}</text>')
            y += bar
        y += 9
    legend = "".join(f'<rect x="{120 + 150 * i}" y="24" width="10" height="10" fill="{colours[n]}"/><text x="{134 + 150 * i}" y="33">{n}</text>'
                     for i, n in enumerate(names))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="740" height="{y + 10}" font-family="sans-serif" font-size="11">'
            f'<rect width="100%" height="100%" fill="white"/><text x="120" y="15">time of a training step, fastnn = 1 (the line), '
            f'{threads} threads; longer is slower</text>{legend}{"".join(parts)}'
            f'<line x1="{120 + unit}" x2="{120 + unit}" y1="42" y2="{y}" stroke="black" stroke-dasharray="3 3"/></svg>\n')


def merged(old, new):
    """Rows of an earlier run, with what was measured now in place of theirs: whole rows, as ratios are of one run. The
    columns of the busy table are apart."""
    rows = {(r["threads"], r["workload"]): r for r in old}
    for r in new:
        before = rows.get((r["threads"], r["workload"]), {"found": {}})["found"]
        for name, f in r["found"].items():
            if "busy" not in f:
                f.update({k: before[name][k] for k in ("busy", "quiet") if k in before.get(name, ())})
        rows[r["threads"], r["workload"]] = r
    order = list(WORKLOADS)
    return [rows[key] for key in sorted(rows, key=lambda key: (key[0], order.index(key[1])))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--filter", default="", help="only these workloads, separated by commas")
    parser.add_argument("--only", default="", help="only these peers, separated by commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="of training steps, for each implementation")
    parser.add_argument("--quick", action="store_true", help="the small models, little time, nothing compiled")
    parser.add_argument("--all", action="store_true", help="compile the largest models with torch as well")
    parser.add_argument("--busy", action="store_true", help="the step again beside a busy process")
    parser.add_argument("--kernels", type=int, default=0, metavar="N", help="print the N slowest kernels of a step and their floors")
    parser.add_argument("--merge", action="store_true", help="keep the rows of models.json that are not measured now")
    parser.add_argument("--readme", action="store_true", help="write the table to README.md and the chart to models.svg")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seconds, arguments.filter = 0.2, arguments.filter or "mlp,siamese"
    chosen = [w for w in WORKLOADS if not arguments.filter or w in arguments.filter.split(",")]
    kept = HERE / "models.json"
    rows = json.loads(kept.read_text())["rows"] if arguments.merge and kept.exists() else []
    head = ""
    compile_modules()
    for threads in [int(t) for t in arguments.threads.split(",")]:
        limits = measured_apart(threads)
        for workload in chosen:
            row = {"workload": workload, "threads": threads, "found": measure(workload, threads, arguments, limits)}
            print(line(**row), flush=True)
            rows = merged(rows, [row])
            versions = list(dict.fromkeys(f["version"] for r in rows for f in r["found"].values()))
            head = f"{machine_name()}; {', '.join(versions)}; {time.strftime('%Y-%m-%d')}."
            if arguments.merge or not (arguments.quick or arguments.filter or arguments.only):
                kept.write_text(json.dumps({"machine": head, "rows": rows}, indent=0))
    text = table(rows)
    busy = busy_table(rows)
    print(f"\n{head}\n\n{text}" + (f"\n\n{busy}" if arguments.busy else ""))
    if arguments.readme and arguments.busy:
        replace_between(HERE.parent / "README.md", "busy", f"{head}\n\n{busy}")
    elif arguments.readme:
        (HERE / "models.svg").write_text(chart(rows))
        replace_between(HERE.parent / "README.md", "models", f"{head}\n\n{text}")


if __name__ == "__main__":
    main()
