"""Runs pieces of code sent to it, one JSON line each, and answers with what they raised.

A crash ends this process: test_wrong_use.py sees it and fails the piece that caused it.
"""
import json
import sys
import time
import traceback
import warnings

import numpy as np

import fastnn as K
from fastnn import _core, layers as L, ops  # noqa: F401

warnings.simplefilter("ignore")


def f32(*shape):
    """A float32 array of small numbers."""
    return (np.arange(int(np.prod(shape)), dtype="f").reshape(shape) % 7) - 3


def model(*layers, loss="mse", **kwargs):
    """A compiled Sequential model."""
    m = K.Sequential(list(layers))
    m.compile("sgd", loss, **kwargs)
    return m


def unchanged(m, code):
    """Run code that must raise, and check that the model's weights and the optimizer's are as before."""
    before = [w.copy() for w in m.get_weights()]
    slots = [np.array(v) for v in m.optimizer.variables] if m.optimizer is not None else []
    try:
        code()
    except Exception:
        for a, b in zip(before, m.get_weights()):
            assert np.array_equal(a, b, equal_nan=True), "weights changed"
        for a, b in zip(slots, m.optimizer.variables if m.optimizer is not None else []):
            assert np.array_equal(a, np.array(b)), "optimizer state changed"
        raise


def main():
    out = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        namespace = dict(globals())
        peak = K.memory_stats()["in_use"]
        start = time.process_time()  # what others use does not count
        try:
            exec(json.loads(line), namespace)
            answer = {"type": "ok", "message": ""}
        except BaseException as e:
            answer = {"type": type(e).__name__, "message": str(e), "trace": traceback.format_exc()[-1500:]}
        answer["seconds"] = time.process_time() - start
        answer["kept"] = K.memory_stats()["in_use"] - peak
        del namespace
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
