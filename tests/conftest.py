"""On the emulated device (FASTNN_DEVICE=cuda-emu), which runs about 0.25 GFLOP/s, a test has FASTNN_EMU_SECONDS of the processor's time and is
skipped beyond them; FASTNN_EMU_SAMPLE=1/3, say, runs a third of the tests, another one for each FASTNN_EMU_SEED, and 1/3@1 the third
after it. Random numbers of a test follow from its name and FASTNN_TEST_SEED, whatever ran before it: a failure comes back in any part of
the tests, and another seed draws others. What a module draws when it is imported, and a fixture of many tests, follows from their names."""

import os
import re
import signal
import threading
import zlib

import numpy as np
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


def _seed(name, module=None):
    """Starts all random numbers again from a name: those of Python, NumPy and fastnn, and the generators that a module of tests holds."""
    import fastnn

    seed = zlib.crc32((name + os.environ.get("FASTNN_TEST_SEED", "")).encode())
    fastnn.utils.set_random_seed(seed)
    for each in vars(module).values() if module else ():
        if isinstance(each, np.random.Generator):
            each.bit_generator.state = type(each.bit_generator)(seed).state


def pytest_collectstart(collector):
    if isinstance(collector, pytest.Module):  # it is imported next
        _seed(collector.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    if fixturedef.scope != "function":
        _seed(f"{request.node.nodeid} {fixturedef.argname}", getattr(request, "module", None))


@pytest.fixture(autouse=True)
def _seeds(request):
    _seed(request.node.nodeid, request.module)


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
