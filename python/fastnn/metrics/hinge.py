"""Hinge losses, averaged over all samples."""
from .. import losses
from .reduction import BuiltinMetric


class Hinge(BuiltinMetric):
    """Mean hinge loss; labels are -1 and 1, or 0 and 1."""

    def __init__(self, name="hinge", dtype=None):
        super().__init__(losses.hinge, name, dtype, "down")


class SquaredHinge(BuiltinMetric):
    """Mean squared hinge loss; labels are -1 and 1, or 0 and 1."""

    def __init__(self, name="squared_hinge", dtype=None):
        super().__init__(losses.squared_hinge, name, dtype, "down")


class CategoricalHinge(BuiltinMetric):
    """Mean categorical hinge loss; labels are one-hot."""

    def __init__(self, name="categorical_hinge", dtype=None):
        super().__init__(losses.categorical_hinge, name, dtype, "down")
