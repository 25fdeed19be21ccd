"""What this machine can do at most: multiply-adds in registers, copies and triads from each level of memory."""
import os
import subprocess
import sys
import time


def _cache_bytes(level, default):
    """The size of a cache, from the kernel; `default` where that is not told."""
    try:
        for i in range(8):
            folder = f"/sys/devices/system/cpu/cpu0/cache/index{i}/"
            with open(folder + "level") as f:
                if int(f.read()) != level:
                    continue
            with open(folder + "size") as f:
                return int(f.read().strip().rstrip("K")) * 1024
    except (OSError, ValueError):
        pass
    return default


L2, L3 = _cache_bytes(2, 1 << 20), _cache_bytes(3, 32 << 20)


def _best(call, work, seconds=0.15):
    """The highest rate of `work` per call, in work per second."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return work / best


def measure(threads):
    """{"gflops", "l2", "l3", "memory"}: GFLOP/s, and GB/s of the better of copy and triad, with so many threads."""
    import fastnn
    from fastnn import _core, ops

    fastnn.set_num_threads(threads)
    found = {"isa": fastnn.isa(), "gflops": _best(lambda: _core.ceiling_fma(4 * threads, 20000), 768.0 * 4 * threads * 20000) / 1e9}
    # Each thread streams through a quarter of its second-level cache; through 16 MB; through half a gigabyte.
    for level, floats, repeats in (("l2", threads * (L2 // 16), 200), ("l3", 4 << 20, 4), ("memory", 128 << 20, 1)):
        n = floats // (16 * threads) * 16 * threads
        chunks = threads if repeats > 1 else 16 * threads
        x = ops.ones((n - n % (16 * chunks),))
        z = ops.ones(x.shape)
        size = 4.0 * x.size * repeats
        found[f"{level} copy"] = _best(lambda: _core.ceiling_copy(x, chunks, repeats), 2 * size) / 1e9
        found[f"{level} triad"] = _best(lambda: _core.ceiling_triad(x, z, chunks, repeats), 3 * size) / 1e9
        found[level] = max(found[f"{level} copy"], found[f"{level} triad"])
    return found


def fma_rates(threads):
    """{instruction set: GFLOP/s}; each in a process of its own."""
    code = f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import ceilings; print(ceilings.rate({threads}))"
    rates = {}
    for isa in ("baseline", "avx2", "avx512"):
        run = subprocess.run([sys.executable, "-c", code], env={**os.environ, "FASTNN_ISA": isa}, capture_output=True, text=True)
        if run.returncode == 0:  # else this machine does not have it
            rates[isa] = float(run.stdout)
    return rates


def rate(threads):
    """GFLOP/s of the instruction set in use."""
    import fastnn
    from fastnn import _core

    fastnn.set_num_threads(threads)
    return _best(lambda: _core.ceiling_fma(4 * threads, 20000), 768.0 * 4 * threads * 20000) / 1e9


def floor(problem, ceilings, threads):
    """(seconds that the problem takes at least, "compute" or the level of memory that says so)."""
    compute = problem.flops / (ceilings["gflops"] * 1e9)
    level = "l2" if problem.bytes <= threads * L2 else "l3" if problem.bytes <= L3 // 2 else "memory"
    stream = problem.bytes / (ceilings[level] * 1e9)
    return (compute, "compute") if compute >= stream else (stream, level)
