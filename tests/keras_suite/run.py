"""Keras's own unit tests, held against fastnn.

    python tests/keras_suite/run.py [FOLDER ...] [--keras PATH] [--jobs N] [--log FILE] [--resume] [--update] [--readme] [-k WORDS]

The wheel keras==3.15.1 ships its tests (`pip install keras==3.15.1 jax torch tensorflow-cpu pytest`: many tests
of ops ask jax, and some torch, which dtype or value to expect, and tests of data read tf.data; grain, and TensorFlow
where it is not installed, have stand-ins that skip the test, which then counts as failed).
`alias.py` answers every `keras` name in them from fastnn's public modules, `glue.py` a few private ones.
The denominator is fixed: passed.txt.gz lists the tests that Keras itself passes on torch (written with
--denominator, folder by folder; `applications` would take hours). failures.txt lists those that fastnn
fails, under the reason.

Prints the share of the denominator that passes, by folder, and fails when a test fails that is not listed,
or a listed one passes. --update rewrites failures.txt, keeping the reasons that are there; --readme writes
the shares of all folders into README.md, from the two lists. The names of folders limit what is run.
A whole run takes about half an hour on one core, half of it for the dtypes of numpy_test.py; with --log it can be broken
off, and --resume goes on after the parts that the file has.
"""
import argparse
import collections
import concurrent.futures
import gzip
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
README = HERE.parent.parent / "README.md"
BEGIN, END = "<!-- keras-suite: begin, written by tests/keras_suite/run.py --readme -->", "<!-- keras-suite: end -->"
DENOMINATOR, FAILURES = HERE / "passed.txt.gz", HERE / "failures.txt"
# One process each: everything in one process would reach several gigabytes. The first two take as long as all others.
FOLDERS = ("ops/numpy_test.py::NumpyDtypeTest", "ops/numpy_test.py", "activations", "callbacks", "constraints", "initializers", "layers/activations", "layers/attention",
           "layers/convolutional", "layers/core", "layers/layer_test.py", "layers/merging", "layers/normalization", "layers/pooling",
           "layers/preprocessing", "layers/regularization", "layers/reshaping", "layers/rnn", "losses", "metrics", "models", "ops", "ops/nn_test.py", "optimizers", "quantizers", "regularizers", "saving", "trainers", "utils")
GOALS = {"layers": 0.95, "losses": 0.95, "metrics": 0.95, "optimizers": 0.95, "activations": 0.95, "initializers": 0.95, "ops": 0.80, "all": 0.85}


def run_folder(folder, source, keras_itself, words, python=sys.executable, without=()):
    """{test id: (outcome, reason)} of one part of Keras's tests, without other parts of it, and whether it ran to its end.

    A part is a folder, a file, or a class in a file, file.py::Class.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "outcomes")
        open(out, "w").close()
        env = {**os.environ, "OUTCOMES": out, "KERAS_ALIAS_TESTS": str(source), "KERAS_ALIAS_TARGET": "fastnn", "KERAS_BACKEND": "torch",
               "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        given = [os.path.abspath(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]  # the tests run elsewhere
        env["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE / "tfstub"), *given])
        plugins = ["-p", "outcomes"] + ([] if keras_itself else ["-p", "alias"]) + ["-p", "root_conftest"]
        command = [*python.split(), "-m", "pytest", *plugins, "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(source), "-q",
                   "--tb=short", "--continue-on-collection-errors", "-o", "python_files=*_test.py", str(source / folder)] + (["-k", words] if words else [])
        command += [f"--deselect={f}" if "::" in f else f"--ignore={source / f}" for f in without]
        done = subprocess.run(command, env=env, cwd=scratch, capture_output=True, text=True)
        lines = pathlib.Path(out).read_text().splitlines()
        whole = bool(lines) and done.returncode in (0, 1, 5)
        if not whole:
            print(f"{folder}: pytest ended with {done.returncode}\n" + "\n".join((done.stdout + done.stderr).splitlines()[-15:]))
    return read_outcomes(lines), whole


def read_outcomes(lines):
    """{test id: (outcome, reason)} of lines as outcomes.py and --log write them."""
    return {test: (outcome, reason) for outcome, test, reason in (line.split("\t") for line in lines)}


def inside(test, folders):
    return any(test == f or test.startswith((f + "/", f + "::")) for f in folders)


def read_denominator():
    if not DENOMINATOR.exists():
        return []
    with gzip.open(DENOMINATOR, "rt") as f:
        return f.read().splitlines()


def read_failures():
    """{test id: reason}; the file has each reason once, behind `# `, above its tests."""
    known, reason = {}, ""
    for line in FAILURES.read_text().splitlines() if FAILURES.exists() else ():
        if line.startswith("# "):
            reason = line[2:]
        elif line:
            known[line] = reason
    return known


def write_failures(known):
    groups = collections.defaultdict(list)
    for test, reason in known.items():
        groups[reason].append(test)
    order = sorted(groups, key=lambda reason: (-len(groups[reason]), reason))
    FAILURES.write_text("\n".join("\n".join([f"# {reason}", *sorted(groups[reason])]) + "\n" for reason in order))


def shares(wanted, failing):
    """The table of the shares that pass, by top folder."""
    groups = collections.defaultdict(lambda: [0, 0])
    for test in wanted:
        for group in (test.split("/")[0], "all"):
            groups[group][0] += test not in failing
            groups[group][1] += 1
    lines = ["| folder | passed | of | share | goal |", "|---|---|---|---|---|"]
    for group in sorted(groups, key=lambda g: (g == "all", g)):
        passed, total = groups[group]
        goal = f"{GOALS[group]:.0%}" if group in GOALS else ""
        lines.append(f"| {group} | {passed} | {total} | {passed / total:.1%} | {goal} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", default=list(FOLDERS))
    parser.add_argument("--keras", default="", help="the folder keras/src of the wheel; else found beside this Python")
    parser.add_argument("--denominator", action="store_true", help="run Keras itself, on torch, and write passed.txt.gz")
    parser.add_argument("--python", default=sys.executable, help="what runs the tests; this Python by default")
    parser.add_argument("--jobs", type=int, default=1, help="folders that run at a time; 0.5 to 2 GB of memory each")
    parser.add_argument("--log", help="a file for every outcome with the first line of its error")
    parser.add_argument("--resume", action="store_true", help="leave out the folders that are in the file of --log")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("-k", default="", dest="words")
    arguments = parser.parse_args()
    if not arguments.keras:
        import importlib.util

        arguments.keras = os.path.join(os.path.dirname(importlib.util.find_spec("keras").origin), "src")
    source = pathlib.Path(arguments.keras).resolve()
    log = pathlib.Path(arguments.log) if arguments.log else None
    outcomes, done = {}, set()
    if log and arguments.resume and log.exists():
        lines = log.read_text().splitlines()
        done = {line[2:] for line in lines if line.startswith("# ")}
        outcomes = {t: o for t, o in read_outcomes(line for line in lines if not line.startswith("# ")).items() if inside(t, done)}  # of whole folders
    elif log:
        log.write_text("")

    def run(folder):
        started = time.monotonic()
        without = [f for f in arguments.folders if f.startswith((folder + "/", folder + "::"))]
        found, whole = run_folder(folder, source, arguments.denominator, arguments.words, arguments.python, without)
        return folder, found, whole, time.monotonic() - started

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for ended in concurrent.futures.as_completed([pool.submit(run, f) for f in arguments.folders if f not in done]):
            folder, found, whole, seconds = ended.result()
            outcomes.update(found)
            print(f"{folder:24} {seconds:5.0f} s  {dict(collections.Counter(o for o, _ in found.values()))}", flush=True)
            if log and whole:
                with log.open("a") as f:
                    f.writelines([f"{o}\t{t}\t{r}\n" for t, (o, r) in found.items()] + [f"# {folder}\n"])
    if arguments.denominator:
        passed = {t for t in read_denominator() if not inside(t, arguments.folders)}
        passed |= {t for t, (outcome, _) in outcomes.items() if outcome == "passed"}
        with gzip.open(DENOMINATOR, "wt") as f:
            f.writelines(f"{test}\n" for test in sorted(passed))
        return 0
    wanted = [t for t in read_denominator() if inside(t, arguments.folders) and (not arguments.words or t in outcomes)]
    known = read_failures()
    failing = {t: outcomes.get(t, ("missing", "not collected"))[1] for t in wanted if outcomes.get(t, ("missing",))[0] != "passed"}
    print("\n" + shares(wanted, failing))
    if arguments.update:
        keep = {t: r for t, r in known.items() if t not in wanted}
        keep.update({t: known.get(t) or reason or "not run" for t, reason in failing.items()})
        write_failures(keep)
        known = keep
    if arguments.readme:
        head, rest = README.read_text().split(BEGIN)
        README.write_text(head + BEGIN + "\n" + shares(read_denominator(), known) + END + rest.split(END, 1)[1])
    if arguments.update:
        return 0
    new, gone = sorted(set(failing) - set(known)), sorted(t for t in known if t in wanted and t not in failing)
    for title, tests in (("failing, not listed", new), ("passing, but listed", gone)):
        for t in tests:
            print(f"{title}: {t}\t{failing.get(t, '')}")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
