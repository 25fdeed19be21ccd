"""Layers over categories: what they share, CategoryEncoding and Discretization."""
import numpy as np

from .. import dtypes, ops
from .._core import Tensor
from ..ops.numpy_op import numpy_op
from ..strings import Strings
from ..symbolic import KerasTensor
from ..tensor import Variable, from_numpy, to_numpy
from .layer import Layer
from .tf_graph import call_in_graph, in_graph

MODES = ("int", "one_hot", "multi_hot", "count")


class HostLayer(Layer):
    """A layer that NumPy computes, and that also takes lists and arrays of strings, of which there are no tensors."""

    _allow_non_tensor_positional_args = True
    _takes_strings = True

    def __call__(self, inputs, *args, **kwargs):
        if in_graph((inputs, *args), kwargs):
            return call_in_graph(self, (inputs, *args), kwargs)
        inputs = _given(inputs)
        leaves = inputs if isinstance(inputs, list) else [inputs]
        if any(isinstance(x, np.ndarray) and x.dtype.kind in "OSU" for x in leaves):
            if not self.built:
                self.build(None)
                self.built = True
            return self.call(inputs, *args, **kwargs)
        return super().__call__(inputs, *args, **kwargs)

    def build(self, input_shape=None):
        pass

    @staticmethod
    def _host(f, x, dtype=None):
        """f(array) of a tensor, which may be without values, or of an array of strings."""
        if isinstance(x, Tensor):
            return numpy_op(f, x, dtype=dtype)
        y = np.asarray(f(x))
        return y if y.dtype.kind in "OSU" else from_numpy(y)

    def get_build_config(self):
        return {}

    def build_from_config(self, config):
        self.build(None)


def _given(inputs):
    if isinstance(inputs, Strings):
        return inputs.array
    if isinstance(inputs, (Tensor, KerasTensor, Variable, np.ndarray)) or hasattr(inputs, "__dlpack__"):
        return inputs
    if isinstance(inputs, (list, tuple)) and any(
            isinstance(x, (Tensor, KerasTensor, np.ndarray, Strings)) for x in inputs):
        return [_given(x) for x in inputs]
    return np.asarray(inputs)


def check_mode(kind, mode, allowed, sparse=False):
    """ValueError unless the output mode is allowed and dense."""
    if mode not in allowed:
        raise ValueError(f"[{kind}] Unknown arg for output_mode: {mode}. Invalid value for argument `output_mode`. Expected one of "
                         f"{allowed}. Received: output_mode={mode!r}")
    if sparse and mode == "int":
        raise ValueError(f"[{kind}] `sparse` may only be true if `output_mode` is `'one_hot'`, `'multi_hot'`, `'count'` or "
                         f"`'tf_idf'`. Received: sparse={sparse}, output_mode={mode!r}")
    if sparse:
        raise ValueError(f"[{kind}] `sparse=True` cannot be used: there are no sparse tensors. Received: sparse={sparse}")


def encode(bins, mode, depth, dtype, count_weights=None):
    """Numbers of categories as numbers, or as vectors with one place for each of ``depth`` categories.

    Args:
        mode: "int"; "one_hot", a vector for each number (a last axis of size 1 is replaced by it); "multi_hot",
            one vector for all numbers along axis 1 (0 for a vector); "count", their counts.
        count_weights: of the numbers, for "count".
    """
    if mode == "int":
        return ops.cast(bins, dtype)
    if bins.ndim == 0:
        bins = ops.expand_dims(bins, -1)
    if mode == "multi_hot":
        return ops.multi_hot(bins, depth, dtype=dtype)
    if mode == "one_hot":
        if bins.ndim > 1 and bins.shape[-1] == 1:
            bins = ops.squeeze(bins, -1)
        return ops.one_hot(bins, depth, dtype=dtype)
    if count_weights is not None:
        dtype = count_weights.dtype
    y = ops.one_hot(bins, depth, dtype=dtype)
    if count_weights is not None:
        y = ops.multiply(y, ops.expand_dims(count_weights, -1))
    return ops.cast(ops.sum(y, axis=1 if bins.ndim > 1 else 0), dtype)


def encoded_shape(shape, mode, depth):
    """The shape that `encode` gives."""
    shape = tuple(shape)
    if mode == "int":
        return shape
    if not shape:
        return (depth,)
    if mode == "one_hot":
        return (*shape[:-1], depth) if len(shape) > 1 and shape[-1] == 1 else (*shape, depth)
    return (shape[0], *shape[2:], depth) if len(shape) > 1 else (depth,)


class CategoryEncoding(HostLayer):
    """Numbers of categories as vectors.

    Args:
        num_tokens: int, the number of categories.
        output_mode: "multi_hot", one vector with a 1 for each number of a sample; "one_hot", a vector for each number;
            "count", how often each occurs in a sample.
        sparse: False; there are no sparse tensors.

    Call arguments:
        inputs: integers in [0, num_tokens), (batch, n) or (n,).
        count_weights: floats of the shape of inputs, with "count".

    Returns:
        (batch, num_tokens); for "one_hot" (batch, n, num_tokens), without n where it is 1.

    Raises:
        ValueError: num_tokens is missing or not positive, or the mode is unknown.
    """

    def __init__(self, num_tokens=None, output_mode="multi_hot", sparse=False, **kwargs):
        super().__init__(**kwargs)
        output_mode = "multi_hot" if output_mode == "binary" else output_mode
        check_mode("CategoryEncoding", output_mode, MODES[1:], sparse)
        if num_tokens is None:
            raise ValueError("[CategoryEncoding] num_tokens must be set to use this layer. If the number of tokens is not "
                             "known beforehand, use the IntegerLookup layer instead.")
        if num_tokens < 1:
            raise ValueError(f"[CategoryEncoding] `num_tokens` must be >= 1. Received: num_tokens={num_tokens}.")
        self.num_tokens = num_tokens
        self.output_mode = output_mode
        self.sparse = sparse

    def call(self, inputs, count_weights=None):
        if count_weights is not None:
            if self.output_mode != "count":
                raise ValueError("[CategoryEncoding] `count_weights` is not used when `output_mode` is not `'count'`. "
                                 f"Received: output_mode={self.output_mode!r}")
            count_weights = ops.convert_to_tensor(count_weights, dtype=self.compute_dtype)
        return encode(ops.cast(inputs, "int64"), self.output_mode, self.num_tokens, self.compute_dtype, count_weights)

    def compute_output_shape(self, input_shape):
        return encoded_shape(input_shape, self.output_mode, self.num_tokens)

    def get_config(self):
        return {**super().get_config(), "num_tokens": self.num_tokens, "output_mode": self.output_mode}


class Discretization(HostLayer):
    """The number of the bin that each value lies in.

    Args:
        bin_boundaries: sorted numbers; bin i holds values in [boundaries[i - 1], boundaries[i]).
        num_bins: int, in place of boundaries: `adapt` finds boundaries with equally many values between them.
        epsilon: number, the precision of the quantiles that `adapt` keeps.
        output_mode: "int", the numbers; "one_hot", "multi_hot" or "count", see `CategoryEncoding`.
        sparse: False; there are no sparse tensors.

    Raises:
        ValueError: both or none of bin_boundaries and num_bins are given, or the layer is called without boundaries.
    """

    def __init__(self, bin_boundaries=None, num_bins=None, epsilon=0.01, output_mode="int", sparse=False, dtype=None,
                 name=None):
        super().__init__(name=name, dtype=dtype)
        check_mode("Discretization", output_mode, MODES, sparse)
        if num_bins is not None and num_bins < 0:
            raise ValueError(f"[Discretization] `num_bins` must be greater than or equal to 0. Received: num_bins={num_bins}")
        if (num_bins is None) == (bin_boundaries is None):
            raise ValueError("[Discretization] You need to set either `num_bins` or `bin_boundaries`, and not both. "
                             f"Received: num_bins={num_bins}, bin_boundaries={bin_boundaries}")
        self.bin_boundaries = None if bin_boundaries is None else [float(v) for v in bin_boundaries]
        self.num_bins = num_bins
        self.epsilon = epsilon
        self.output_mode = output_mode
        self.sparse = sparse
        self.reset_state()

    @property
    def input_dtype(self):
        """floatx"""
        return dtypes.floatx()

    def adapt(self, data, steps=None):
        """Find the boundaries of ``num_bins`` bins with equally many values.

        Args:
            data: an array or tensor, or an iterable of batches.
            steps: int, how many batches to take; all by default.

        Raises:
            ValueError: the layer was given its boundaries.
        """
        if self.num_bins is None:
            raise ValueError("[Discretization.adapt] Cannot adapt a Discretization layer that has been initialized with "
                             "`bin_boundaries`, use `num_bins` instead.")
        self.reset_state()
        for batch in batches(data, steps):
            self.update_state(batch)
        self.finalize_state()

    def update_state(self, data):
        """Add the values of one batch to the summary."""
        values = np.sort(np.asarray(to_numpy(data) if isinstance(data, Tensor) else data, "float32"), axis=None)
        step = max(values.size * self.epsilon, 1)
        kept = values[int(step - 1)::int(step)]
        merged = np.concatenate([np.stack([kept, np.full_like(kept, step)]), self.summary], axis=1)
        self.summary = _compress(merged[:, np.argsort(merged[0])], self.epsilon)

    def finalize_state(self):
        """Make the boundaries from the summary."""
        if self.num_bins is not None:
            self.bin_boundaries = _compress(self.summary, 1 / self.num_bins)[0, :-1].tolist()

    def reset_state(self):
        """Forget all values."""
        self.summary = np.zeros((2, 0), "float32")

    def call(self, inputs):
        if self.bin_boundaries is None:
            raise ValueError("[Discretization] You need to either pass the `bin_boundaries` argument at construction time or "
                             "call `adapt(dataset)` before you can start using the `Discretization` layer.")
        bins = ops.digitize(inputs, np.asarray(self.bin_boundaries, "float32"))
        dtype = self.compute_dtype if self.output_mode != "int" else "int32"
        return encode(bins, self.output_mode, len(self.bin_boundaries) + 1, dtype)

    def compute_output_shape(self, input_shape):
        depth = self.num_bins if self.bin_boundaries is None else len(self.bin_boundaries) + 1
        return encoded_shape(input_shape, self.output_mode, depth)

    def compute_output_spec(self, inputs):
        dtype = self.compute_dtype if self.output_mode != "int" else "int32"
        return KerasTensor(self.compute_output_shape(inputs.shape), dtype=dtype)

    def load_own_variables(self, store):
        if len(store) == 1:  # files of old versions hold the summary
            self.summary = np.asarray(store["0"])

    def get_config(self):
        return {"bin_boundaries": self.bin_boundaries, "num_bins": self.num_bins, "epsilon": self.epsilon,
                "output_mode": self.output_mode, "sparse": self.sparse, "name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        found = config.pop("bin_boundaries", None) if config.get("num_bins") is not None else None
        layer = cls(**config)
        layer.bin_boundaries = found if found is not None else layer.bin_boundaries
        return layer


def _compress(summary, epsilon):
    """Values and weights interpolated at the quantiles epsilon, 2 epsilon, ..., 1 where they are finer than that."""
    if summary.shape[1] * epsilon < 1:
        return summary
    quantiles = epsilon + np.arange(0.0, 1.0, epsilon)
    total = summary[1].cumsum()
    share = total / total[-1]
    values, total = np.interp(quantiles, share, summary[0]), np.interp(quantiles, share, total)
    return np.stack([values, np.diff(total, prepend=0)]).astype("float32")


def batches(data, steps=None, lists_are_arrays=False):
    """The batches of an array (one), or of an iterable of batches; ``steps`` of them at most."""
    if isinstance(data, (np.ndarray, Tensor, Variable)) or (lists_are_arrays and isinstance(data, (list, tuple))):
        yield data
        return
    number = getattr(data, "num_batches", None)  # a PyDataset
    source = (data[i] for i in range(number)) if number is not None else data
    for i, batch in enumerate(source):
        if steps is not None and i >= steps:
            return
        yield batch[0] if isinstance(batch, tuple) else batch
