"""The progress line of fit: a bar on a terminal, a line per epoch in a pipe."""

import logging
import os
import sys
import time

from ..config import is_interactive_logging_enabled


def is_interactive():
    """Whether standard output is a terminal or a notebook."""
    if "ipykernel" in sys.modules:
        return True
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False


def format_number(value):
    """A metric as Keras prints it: four decimals, or an exponent when it is small."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"


def format_time(seconds):
    """Seconds as Keras prints a duration: 1:05:09, 3:07 or 12s."""
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
    return f"{seconds // 60}:{seconds % 60:02d}" if seconds >= 60 else f"{seconds}s"


def format_step_time(seconds):
    """The time of a step: 2s, 13ms or 45us."""
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"


class Progbar:
    """Shows how far a loop has come.

    Args:
        target: number of steps, or None if unknown.
        width: of the bar in characters.
        verbose: 0 nothing, 1 a bar that is redrawn, 2 one line at the end.
        interval: at least this many seconds between two redrawings.
        stateful_metrics: names of values shown as they are; all others are averaged over the steps.
        stateless_metrics: names of values that are averaged over the steps; all others are shown as they are. Not both.
        unit_name: what a step is called.
        title: printed above the bar or the one line.
    """

    def __init__(self, target, width=20, verbose=1, interval=0.05, stateful_metrics=None, unit_name="step", title=None,
                 stateless_metrics=None):
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError("[Progbar] Only one of `stateful_metrics` and `stateless_metrics` can be given. "
                             f"Received: {stateful_metrics}, {stateless_metrics}")
        self.stateful_metrics = set(stateful_metrics or ())
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        self.unit_name = unit_name
        self._dynamic = is_interactive()
        self._sums = {}
        self._seen = 0
        self._start = time.perf_counter()
        self._last = 0.0
        self._columns = 0
        if title and verbose and is_interactive_logging_enabled():
            print(title, flush=True)

    def wants_update(self):
        """Whether enough time has passed to draw again: what is not drawn need not be computed."""
        return self.verbose == 1 and time.perf_counter() - self._last >= self.interval

    def update(self, current, values=None, finalize=None):
        """Show that ``current`` steps are done.

        Args:
            current: steps done so far.
            values: list of (name, value).
            finalize: whether this is the last call; by default, whether target is reached.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            if isinstance(value, (list, tuple)):
                value = sum(value) / len(value)
            averaged = name not in self.stateful_metrics if self.stateless_metrics is None else name in self.stateless_metrics
            if not averaged or finalize and name not in self._sums:
                self._sums[name] = (value, 1)
            else:
                total, n = self._sums.get(name, (0.0, 0))
                step = max(current - self._seen, 1)
                self._sums[name] = (total + value * step, n + step)
        self._seen = current
        now = time.perf_counter()
        if self.verbose == 0 or not finalize and (self.verbose == 2 or now - self._last < self.interval):
            return
        self._last = now
        line = self._line(current, now, finalize)
        if not is_interactive_logging_enabled():
            if finalize:
                logging.getLogger("fastnn").info(line)
            return
        out = sys.stdout
        if self.verbose == 1 and self._dynamic:
            width = _terminal_width()
            # A line that is drawn again must not wrap; the last one is shown whole.
            shown = line if finalize or len(line) < width else line[: width - 1]
            out.write("\r" + shown + " " * max(0, self._columns - len(shown)) + ("\n" if finalize else ""))
            self._columns = len(shown)
        elif finalize:
            out.write(line + "\n")
        out.flush()

    def add(self, n, values=None):
        """Show that n more steps are done."""
        self.update(self._seen + n, values)

    def _line(self, current, now, finalize):
        elapsed = now - self._start
        parts = []
        if self.verbose == 1:
            if self.target is not None:
                digits = len(str(self.target))
                done = min(1.0, current / self.target) if self.target else 1.0
                filled = int(self.width * done)
                bar = "━" * filled + (" " if not self._dynamic else "─") * (self.width - filled)
                head = f"{current:>{digits}d}/{self.target} {bar}"
            else:
                head = f"{current:>7d}/Unknown"
        else:
            head = f"{current}/{self.target if self.target is not None else current}"
        per_step = elapsed / max(current, 1)
        rest = elapsed if finalize or self.target is None else per_step * (self.target - current)
        glue = " " if self.verbose == 1 else " - "
        parts.append(f"{format_time(rest)}{glue}{format_step_time(per_step)}/{self.unit_name}")
        for name, (total, n) in self._sums.items():
            parts.append(f"{name}: {format_number(total / n if n else total)}")
        return head + glue + " - ".join(parts)


def _terminal_width():
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, AttributeError, ValueError):
        return 80
