"""One implementation in a process of its own:  python worker.py NAME THREADS

Reads commands as lines of JSON and answers each with one line. run.py starts it and takes turns
with the others, so that no two measure at once.
"""
import gc
import importlib
import json
import os
import sys
import time

import numpy as np
from problems import problems

VALUES = 1 << 22  # of an output, at most so many are compared


class Worker:
    def __init__(self, name, threads):
        self.module = importlib.import_module(f"with_{name}")
        self.module.set_threads(threads)
        self.problems = problems()
        self.call = None

    def describe(self):
        return self.module.describe()

    def load(self, problem):
        """Make the problem's call, and find how often to repeat it. Answers with the seconds of one call, or None."""
        self.unload()
        p = self.problems[problem]
        make = getattr(self.module, p.op, None)
        if make is None:
            return None
        arrays = p.arrays()
        best = None
        for variant in range(getattr(self.module, "FORMATS", {}).get(p.op, 1)):
            if variant or best:
                self.module.set_variant(variant)
            elif hasattr(self.module, "set_variant"):
                self.module.set_variant(0)
            call = make(arrays, **p.args)
            if call is None:
                return None
            seconds = self._once(call)
            if best is None or seconds < best[0]:
                best = seconds, call
        self.call = best[1]
        # One clock reading covers at least 200 us: a tiny call is timed in a loop, as a user would run it.
        self.repeat = max(1, int(200e-6 / best[0]))
        return best[0]

    def _once(self, call):
        call()
        times = []
        while len(times) < 3 or (sum(times) < 0.01 and len(times) < 100):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    def run(self, seconds):
        """Seconds of one call, sampled for about `seconds`; two samples at least."""
        call, n, clock, times = self.call, range(self.repeat), time.perf_counter, []
        call()
        end = clock() + seconds
        while len(times) < 2 or clock() < end:
            start = clock()
            for _ in n:
                call()
            times.append((clock() - start) / self.repeat)
        return times

    def output(self, problem, path):
        """Save the results of one call, each cut to VALUES values."""
        self._save(path, self.problems[problem])
        return True

    def reference(self, problem, path):
        """Save the same results computed in float64; of a batch of images, what depends on the first alone.

        Answers with None where this implementation does not have the problem.
        """
        self.unload()
        self.module.set_float64()
        p = self.problems[problem]
        make = getattr(self.module, p.op, None)
        arrays, args = p.arrays(), p.args
        if p.op == "conv2d" and args["direction"] != "gw":
            arrays = {k: v if k == "w" else v[:1] for k, v in arrays.items()}
        self.call = make(arrays, **args) if make else None
        if self.call is None:
            return None
        self._save(path, p)
        return True

    def _save(self, path, problem):
        np.savez(path, *[np.asarray(v).reshape(-1)[:VALUES] for v in self.module.outputs(self.call(), problem)])

    def unload(self):
        self.call = None
        gc.collect()
        return True


def main():
    answers = os.fdopen(os.dup(1), "w")  # what a library prints must not mix with the answers
    os.dup2(2, 1)
    try:
        worker = Worker(sys.argv[1], int(sys.argv[2]))
    except ImportError as e:  # the answer to the first command
        sys.stdin.readline()
        print(json.dumps({"error": str(e)}), file=answers, flush=True)
        return
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            answer = {"ok": getattr(worker, command)(*arguments)}
        except Exception as e:  # the row says so; the others go on
            answer = {"error": f"{type(e).__name__}: {e}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
