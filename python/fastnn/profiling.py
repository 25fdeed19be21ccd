"""A profile of kernels: where the time of eager and of replayed steps goes."""
import json

from . import _core, labels


class profile:
    """Times every kernel call of this thread, in eager code and in replayed steps.

        with fastnn.profile() as p:
            model.fit(x, y, epochs=1)
        print(p)
        p.save_trace("trace.json")

    Kernels of one step run one after the other, each on all threads, so their times add up. A count of
    operations or bytes is what the kernel's task needs at least; 0 where it is not counted.

    Raises:
        RuntimeError: a profile is already being taken in this thread.
    """

    def __init__(self):
        self._profiler = _core.Profiler()
        self._on = labels.on()
        self._events = None

    def __enter__(self):
        if not self._profiler.start():
            raise RuntimeError("[profile] a profile is already being taken in this thread")
        self._events = None
        self._on.__enter__()
        return self

    def __exit__(self, *_):
        self._profiler.stop()
        self._on.__exit__()

    @property
    def events(self):
        """(kernel, layer, start, seconds, operations, bytes) of every call, in order."""
        if self._events is None or not self._events:
            self._events = self._profiler.events()
        return self._events

    def by_kernel(self):
        """Rows of {"name", "calls", "ms", "gflops", "gbs", "share"}, the slowest first."""
        return _rows(self.events, 0)

    def by_layer(self):
        """The same by layer; the gradients of a layer are named "<layer> backward"."""
        return _rows(self.events, 1)

    def save_trace(self, path):
        """Write the calls as a JSON file for chrome://tracing or Perfetto."""
        events = [
            {"name": name, "cat": layer or "other", "ph": "X", "pid": 1, "tid": 1, "ts": start * 1e6, "dur": seconds * 1e6,
             "args": {"layer": layer, "gflop": flops / 1e9, "mb": size / 1e6}}
            for name, layer, start, seconds, flops, size in self.events
        ]  # fmt: skip
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)

    def __str__(self):
        return "\n\n".join((_table("kernel", self.by_kernel()), _table("layer", self.by_layer())))


def _rows(events, column):
    sums = {}
    for event in events:
        row = sums.setdefault(event[column] or "(no layer)", [0, 0.0, 0.0, 0.0])
        row[0] += 1
        for k in range(3):
            row[k + 1] += event[k + 3]
    total = sum(row[1] for row in sums.values()) or 1.0
    return [
        {"name": name, "calls": calls, "ms": 1e3 * seconds, "gflops": flops / 1e9 / seconds if seconds else 0.0,
         "gbs": size / 1e9 / seconds if seconds else 0.0, "share": seconds / total}
        for name, (calls, seconds, flops, size) in sorted(sums.items(), key=lambda item: -item[1][1])
    ]  # fmt: skip


def _table(title, rows):
    width = max([len(title)] + [len(row["name"]) for row in rows])
    lines = [f"{title:<{width}} {'calls':>7} {'ms':>10} {'GFLOP/s':>8} {'GB/s':>7} {'share':>6}"]
    for row in rows:
        flops, size = f"{row['gflops']:.1f}" if row["gflops"] else "-", f"{row['gbs']:.1f}" if row["gbs"] else "-"
        lines.append(f"{row['name']:<{width}} {row['calls']:>7} {row['ms']:>10.3f} {flops:>8} {size:>7} {100 * row['share']:>5.1f}%")
    return "\n".join(lines)
