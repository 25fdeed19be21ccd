"""Callbacks: objects whose hooks are called while a model trains, evaluates or predicts."""
import importlib

from .callback import Callback
from .callback_list import CallbackList
from .history import History
from .progbar_logger import ProgbarLogger

# Loaded when first used: `fit` needs those above alone.
_NAMES = {
    "BackupAndRestore": "backup_and_restore", "CSVLogger": "csv_logger", "EarlyStopping": "early_stopping",
    "GradientNorms": "gradient_norms", "LambdaCallback": "simple", "LearningRateScheduler": "learning_rate",
    "ModelCheckpoint": "model_checkpoint", "MonitorCallback": "monitor", "ReduceLROnPlateau": "learning_rate",
    "RemoteMonitor": "remote_monitor", "SwapEMAWeights": "simple", "TensorBoard": "tensorboard", "TerminateOnNaN": "simple",
}  # fmt: skip
__all__ = sorted(["Callback", "CallbackList", "History", "ProgbarLogger", *_NAMES])


def __getattr__(name):
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
