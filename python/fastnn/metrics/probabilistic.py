"""Cross entropies and divergences, averaged over all samples; arguments as the losses of these names."""
from .. import losses
from .reduction import BuiltinMetric


class KLDivergence(BuiltinMetric):
    """Mean Kullback-Leibler divergence."""

    def __init__(self, name="kl_divergence", dtype=None):
        super().__init__(losses.kl_divergence, name, dtype)


class Poisson(BuiltinMetric):
    """Mean Poisson loss."""

    def __init__(self, name="poisson", dtype=None):
        super().__init__(losses.poisson, name, dtype)


class BinaryCrossentropy(BuiltinMetric):
    """Mean cross entropy of independent yes/no labels.

    Args:
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
    """

    def __init__(self, name="binary_crossentropy", dtype=None, from_logits=False, label_smoothing=0):
        super().__init__(
            losses.binary_crossentropy,
            name,
            dtype,
            "down",
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )


class CategoricalCrossentropy(BuiltinMetric):
    """Mean cross entropy of one-hot labels.

    Args:
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        from_logits: bool; the predictions are logits, not probabilities.
        label_smoothing: number from 0 to 1; how much of the label is spread evenly over all classes.
        axis: int.
    """

    def __init__(
        self, name="categorical_crossentropy", dtype=None, from_logits=False, label_smoothing=0, axis=-1
    ):
        super().__init__(
            losses.categorical_crossentropy,
            name,
            dtype,
            "down",
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(BuiltinMetric):
    """Mean cross entropy of labels given as class numbers.

    Args:
        name: string or None.
        dtype: string; the dtype of the sums, floatx by default.
        from_logits: bool; the predictions are logits, not probabilities.
        ignore_class: int; this label does not count. None: all count.
        axis: int.
    """

    def __init__(
        self,
        name="sparse_categorical_crossentropy",
        dtype=None,
        from_logits=False,
        ignore_class=None,
        axis=-1,
    ):
        super().__init__(
            losses.sparse_categorical_crossentropy,
            name,
            dtype,
            "down",
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )
