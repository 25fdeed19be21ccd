"""Dtype policies under the names of Keras's `mixed_precision`."""
from .dtype_policies import (DTypePolicy, Policy, dtype_policy, global_policy, set_dtype_policy,  # noqa: F401
                             set_global_policy)


def __getattr__(name):
    if name == "LossScaleOptimizer":
        from .optimizers import LossScaleOptimizer

        return LossScaleOptimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
