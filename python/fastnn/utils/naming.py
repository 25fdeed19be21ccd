"""Automatic names: dense, dense_1, dense_2 ... as Keras gives them."""

import re

_counts = {}


def to_snake_case(name):
    """``"SeparableConv2D"`` -> ``"separable_conv2d"``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix):
    """The next unused name: prefix, prefix_1, prefix_2 ..."""
    n = _counts.get(prefix, 0)
    _counts[prefix] = n + 1
    return f"{prefix}_{n}" if n else prefix


def uniquify(name):
    """``auto_name`` under Keras's name."""
    return auto_name(name)


def reset_names():
    """Start counting again."""
    _counts.clear()
