"""On the emulated device (FASTNN_DEVICE=cuda-emu), which runs about 0.25 GFLOP/s, a test has FASTNN_EMU_SECONDS of the processor's time and is
skipped beyond them; FASTNN_EMU_SAMPLE=1/3, say, runs a third of the tests, another one for each FASTNN_EMU_SEED, and 1/3@1 the third
after it. Random numbers of a test follow from its name and FASTNN_TEST_SEED: a failure comes back, and another seed draws others."""

import os
import re
import signal
import threading
import zlib

import pytest

EMULATED = os.environ.get("FASTNN_DEVICE") == "cuda-emu"
if EMULATED:
    os.environ.setdefault("FASTNN_EMU_SECONDS", "20")
SECONDS = float(os.environ.get("FASTNN_EMU_SECONDS", 0))


def pytest_collection_modifyitems(config, items):
    sample = os.environ.get("FASTNN_EMU_SAMPLE", "")
    if not EMULATED or not sample:
        return
    part, parts, first = map(int, re.fullmatch(r"(\d+)/(\d+)(?:@(\d+))?", sample).groups(default="0"))
    seed = os.environ.get("FASTNN_EMU_SEED", "")
    chosen = [i for i in items if (zlib.crc32((i.nodeid + seed).encode()) - first) % parts < part]
    config.hook.pytest_deselected(items=[i for i in items if i not in set(chosen)])
    items[:] = chosen


@pytest.fixture(autouse=True)
def _seeds(request):
    import fastnn

    fastnn.utils.set_random_seed(zlib.crc32((request.node.nodeid + os.environ.get("FASTNN_TEST_SEED", "")).encode()))


def _over_budget(*_):
    pytest.skip(f"more than {SECONDS:g} seconds on the emulated device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if not EMULATED or threading.current_thread() is not threading.main_thread():
        return (yield)
    outer = signal.signal(signal.SIGPROF, _over_budget)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return (yield)
    except RuntimeError as e:
        if "FASTNN_EMU_SECONDS" in str(e):  # one kernel alone
            _over_budget()
        raise
    except pytest.skip.Exception:
        import fastnn

        fastnn._core.set_recording(0)  # where a test was stopped, a tape may not have counted itself out
        raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, outer)
