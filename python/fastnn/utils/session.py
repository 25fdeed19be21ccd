"""State of the whole process: automatic names and random seeds."""
import random as python_random

import numpy as np

from .naming import reset_names


def set_random_seed(seed):
    """Seeds Python's `random`, NumPy and fastnn: a program that sets it first gives the same numbers each time.

    Args:
        seed: int.

    Raises:
        ValueError: `seed` is not an integer from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed.__index__() < 2**32:
        raise ValueError(f"[set_random_seed] seed must be an integer from 0 to 2**32 - 1. Received: seed={seed!r}")
    from ..random import set_global_seed

    seed = seed.__index__()
    python_random.seed(seed)
    np.random.seed(seed)
    set_global_seed(seed)


def clear_session(free_memory=True):
    """Starts automatic names again (`dense`, `dense_1` ...) and returns unused memory to the system.

    Args:
        free_memory: bool; False keeps the cache of freed blocks.
    """
    reset_names()
    if free_memory:
        from .. import _core

        _core.empty_cache()
