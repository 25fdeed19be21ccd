"""The thread pool and the allocator: sizes, exceptions, forks, many callers, exit."""
import gc
import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastnn
from fastnn import ops
from fastnn.tensor import convert_to_tensor

pytestmark = pytest.mark.skipif(fastnn._core.current_device() != "cpu", reason="the threads and the allocator of the CPU")


def run(code, env=None, timeout=60):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **(env or {})})


def test_import_starts_no_thread():
    out = run("import threading, os, fastnn; print(len(os.listdir('/proc/self/task')))")
    # NumPy's own BLAS threads are counted without fastnn first.
    base = run("import numpy, os; print(len(os.listdir('/proc/self/task')))")
    assert out.stdout == base.stdout, out.stderr


@pytest.mark.parametrize("n", [0, -1, 1000])
def test_set_num_threads_checks(n):
    before = fastnn.num_threads()
    with pytest.raises(ValueError, match=r"\[set_num_threads\]"):
        fastnn.set_num_threads(n)
    assert fastnn.num_threads() == before


@pytest.mark.parametrize("env,expected", [({"FASTNN_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "1"}, 1),
                                          ({"FASTNN_NUM_THREADS": "2", "OMP_NUM_THREADS": "5"}, 2),
                                          ({"FASTNN_NUM_THREADS": "nonsense", "OMP_NUM_THREADS": "4"}, 4)])
def test_threads_from_the_environment(env, expected):
    clean = {"FASTNN_NUM_THREADS": "", "OMP_NUM_THREADS": "", **env}
    assert run("import fastnn; print(fastnn.num_threads())", clean).stdout.strip() == str(expected)


@pytest.mark.parametrize("text,warned", [("", False), ("3", False), (" 2", False), ("0", True), ("-3", True), ("many", True)])
def test_a_number_of_threads_that_is_none(text, warned):
    stderr = run("import fastnn", {"FASTNN_NUM_THREADS": text}).stderr
    assert ("[FASTNN_NUM_THREADS] must be a positive integer" in stderr) == warned
    assert "<string>:1: UserWarning" in stderr or not warned


def big():
    return convert_to_tensor(np.random.default_rng(0).standard_normal((300, 1001)).astype("f"))


def test_same_bits_for_any_number_of_threads():
    x = big()
    before = fastnn.num_threads()
    try:
        results = []
        for n in (1, 2, 3, 7):
            fastnn.set_num_threads(n)
            results.append(np.asarray(ops.multiply(ops.add(x, x), x)).tobytes())
    finally:
        fastnn.set_num_threads(before)
    assert len(set(results)) == 1


def test_many_python_threads_at_once():
    x = big()
    expected = np.asarray(ops.add(x, x))
    errors = []

    def work():
        for _ in range(50):
            if not np.array_equal(np.asarray(ops.add(x, x)), expected):
                errors.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not errors and not any(t.is_alive() for t in threads)


FORK = """
import os, sys, signal
import numpy as np, fastnn
from fastnn import ops
fastnn.set_num_threads(4)
x = fastnn.convert_to_tensor(np.ones((600, 600), 'f'))
{before}
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    for _ in range(20):
        y = ops.add(x, x)
    os._exit(0 if (np.asarray(y) == 2).all() else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("before", ["", "ops.add(x, x)"], ids=["fresh", "used"])
def test_a_forked_child_can_work(before):
    assert run(FORK.format(before=before)).returncode == 0


def _child(_):
    x = convert_to_tensor(np.ones((600, 600), "f"))
    return float(np.asarray(ops.add(x, x)).sum())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    big_sum = ops.add(big(), big())
    assert big_sum.shape == (300, 1001)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(_child, range(3)).get(timeout=60) == [720000.0] * 3


def test_exit_while_the_pool_exists():
    code = ("import numpy as np, fastnn\nfrom fastnn import ops\nfastnn.set_num_threads(4)\n"
            "x = fastnn.convert_to_tensor(np.ones((600, 600), 'f')); ops.add(x, x)")
    for _ in range(10):
        assert run(code).returncode == 0


def test_floating_point_mode_is_untouched():
    code = ("import numpy as np, fastnn\nfrom fastnn import ops\n"
            "x = fastnn.convert_to_tensor(np.ones((600, 600), 'f')); ops.add(x, x)\n"
            "assert np.float32(1e-40) * np.float32(.5) != 0")
    assert run(code).returncode == 0


@pytest.mark.parametrize("isa", fastnn._core.isa_names())
def test_forced_instruction_set(isa):
    out = run("import fastnn; print(fastnn.isa())", {"FASTNN_ISA": isa})
    assert out.stdout.strip() == isa


def test_unknown_instruction_set():
    code = ("import fastnn\ntry:\n    fastnn.isa()\nexcept ValueError as e:\n    print('ValueError', e)")
    out = run(code, {"FASTNN_ISA": "sse9"})
    assert "ValueError FASTNN_ISA" in out.stdout, out


def test_memory_is_reused_and_given_back():
    def work():
        x = convert_to_tensor(np.ones((1000, 1000), "f"))
        for _ in range(5):
            x = ops.add(x, x)

    gc.collect()  # what other tests left would be freed in the middle
    work()
    before = fastnn.memory_stats()
    work()
    after = fastnn.memory_stats()
    assert after["system_calls"] == before["system_calls"] and after["allocations"] > before["allocations"]
    assert after["cached"] > 0
    fastnn.empty_cache()
    assert fastnn.memory_stats()["cached"] == 0
    fastnn.reset_peak_memory()
    assert fastnn.memory_stats()["peak"] == fastnn.memory_stats()["in_use"]


def test_empty_cache_gives_back_what_lies_behind_fresh_pages():
    def resident():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

    def block(megabytes):
        return ops.ones((megabytes << 18,))

    fastnn.empty_cache()
    first, second, last = block(100), block(50), block(10)
    before = resident()
    del first
    fastnn.empty_cache()
    del second  # its pages come after those that were given back
    second = block(50)
    fastnn.empty_cache()
    assert resident() < before - 75, "100 MB are free"
    del second, last


def test_idle_threads_sleep():
    import time

    x = big()
    before = fastnn.num_threads()
    try:
        fastnn.set_num_threads(4)
        ops.add(x, x)
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - start < 0.1  # four spinning threads would use 2 seconds
    finally:
        fastnn.set_num_threads(before)


def test_python_goes_on_during_a_kernel():
    x = convert_to_tensor(np.ones((1200, 1200), "f"))
    count, done = [0], threading.Event()

    def work():
        while not done.is_set():
            count[0] += 1

    thread = threading.Thread(target=work)
    before = fastnn.num_threads()
    try:
        fastnn.set_num_threads(1)
        thread.start()
        ops.matmul(x, x)
        start = count[0]
        for _ in range(5):
            ops.matmul(x, x)
        assert count[0] > start
    finally:
        done.set()
        thread.join(30)
        fastnn.set_num_threads(before)
