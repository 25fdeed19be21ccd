"""MonitorCallback: base of the callbacks that watch whether a number gets better."""

from .. import ops
from ..utils.warning import warn
from .callback import Callback


class MonitorCallback(Callback):
    """Knows whether `monitor` should go up or down, and whether it improved.

    Args:
        monitor: name of a loss or metric in the logs, such as "val_loss".
        mode: "min", "max", or "auto" to find out from the metric.
        baseline: value to improve on; None for the first one.
        min_delta: a smaller change is no improvement.
    """

    def __init__(self, monitor="val_loss", mode="auto", baseline=None, min_delta=0):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warn(
                f"{type(self).__name__} mode '{mode}' is unknown, fallback to auto mode."
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self.monitor_op = None

    def _set_monitor_op(self):
        """Choose the comparison; called at the end of an epoch, when the model knows its metrics."""
        self.monitor_op = {"min": ops.less, "max": ops.greater}.get(self.mode) or self._find_direction()
        if self.monitor_op is ops.less:
            self.min_delta = -self.min_delta

    def _find_direction(self):
        name = self.monitor.removeprefix("val_")
        if name.endswith("loss"):
            return ops.less
        for outer in getattr(self.model, "metrics", ()):
            for metric in getattr(outer, "metrics", None) or [outer]:
                direction = getattr(metric, "_direction", None)
                if direction and (name == metric.name or name.endswith("_" + metric.name)):
                    return ops.greater if direction == "up" else ops.less
        if "acc" in name or name.endswith("auc"):
            return ops.greater
        raise ValueError(
            f"[{type(self).__name__}] it is not known whether `{self.monitor}` should be maximized or minimized: "
            "pass mode='max' or mode='min'. "
            f"Received: monitor={self.monitor!r}, mode='auto'"
        )

    def _is_improvement(self, value, reference):
        return reference is None or bool(self.monitor_op(value - self.min_delta, reference))

    def _missing(self, what, logs):
        warn(
            f"{what} `{self.monitor}` which is not available. Available metrics are: {','.join(logs)}"
        )
