"""What GPTQ and AWQ share: samples of a data set, the matrix of a kernel, and the walk through a model's blocks."""
import contextlib
import math
import zlib

import numpy as np

from .. import ops
from ..tensor import convert_to_tensor
from ..utils.progbar import Progbar
from ..utils.warning import warn
from .filters import should_quantize_layer


def calibration_samples(tokenizer, sequence_length, dataset, num_samples=128, *, strategy="strided", seed=42, stride=None,
                        eos_id=None):
    """Pieces of one length of the joined texts of a data set, which is repeated where it is short.

    Args:
        tokenizer: function, or object with `tokenize`, that makes numbers of a text.
        sequence_length: numbers in a piece.
        dataset: iterable of texts, or of arrays of numbers.
        num_samples: how many pieces.
        strategy: where they begin: "strided", at equal distances from a place that `seed` decides on; "linspace", at
            equal distances from the first to the last; "random".
        seed: int.
        stride: the distance for "strided"; None, such that the pieces cover the texts.
        eos_id: number that is put between texts, or None.

    Returns:
        (num_samples, 1, sequence_length) int32, a NumPy array.

    Raises:
        TypeError: the data set is a text itself, or no iterable.
        ValueError: it is empty, or the strategy unknown.
    """
    if not hasattr(dataset, "__iter__") or isinstance(dataset, (str, bytes)):
        raise TypeError("[calibration] The `dataset` argument must be an iterable (e.g., a list of strings, a generator, or a "
                        f"NumPy array). Got type: {type(dataset).__name__}. Please pass the loaded dataset directly.")
    texts = list(dataset)
    if not texts:
        raise ValueError("[calibration] Provided dataset is empty.")
    tokenize = getattr(tokenizer, "tokenize", tokenizer)
    pieces = []
    for i, text in enumerate(texts):
        tokens = tokenize(text) if isinstance(text, str) else text
        pieces.append(np.asarray(tokens).reshape(-1).astype("int32"))
        if eos_id is not None and isinstance(text, str) and i < len(texts) - 1:
            pieces.append(np.array([eos_id], "int32"))
    tokens = np.concatenate(pieces)
    if not tokens.size:
        raise ValueError("[calibration] dataset must hold at least one token. Received: none")
    tokens = np.tile(tokens, max(1, math.ceil(num_samples * sequence_length / tokens.size)))
    last = tokens.size - sequence_length
    if strategy == "random":
        starts = np.random.default_rng(seed).integers(0, last + 1, size=num_samples)
    elif strategy == "linspace":
        starts = np.linspace(0, last, num_samples, dtype="int64")
    elif strategy == "strided":
        stride = max(1, (last + 1) // num_samples) if stride is None else stride
        # Keras takes Python's hash of a string, which differs from run to run.
        offset = zlib.crc32(str(seed).encode())
        starts = (offset + np.arange(num_samples) * stride) % (last + 1)
    else:
        raise ValueError(f"[calibration] Unknown strategy: {strategy}")
    return np.lib.stride_tricks.sliding_window_view(tokens, sequence_length)[starts][:, None, :]


class Calibrated:
    """The kernel of a Dense or EinsumDense layer as a matrix (rows, columns), inputs by outputs.

    Raises:
        TypeError: a layer of another kind.
        ValueError: the layer multiplies its inputs with another matrix than the one that its variables are made for.
    """

    name = None

    def __init__(self, layer):
        from ..layers import Dense, EinsumDense

        if not isinstance(layer, (Dense, EinsumDense)) or len(layer._kernel.shape) not in (2, 3):
            raise TypeError(f"[{self.name}] Unsupported layer type for {self.name}: {type(layer)}")
        self.original_layer = layer
        self.kernel_shape = tuple(layer._kernel.shape)
        self.rows, self.columns = layer._calibrated_shape(self.kernel_shape)
        self.num_samples = 0

    def check(self):
        """ValueError unless the inputs' axes come first in the kernel, and their product is `rows`."""
        layer = self.original_layer
        reduced = layer._kernel_axes()
        if tuple(sorted(reduced)) != tuple(range(len(reduced))) or layer._matrix_shape(self.kernel_shape)[0] != self.rows:
            raise ValueError(f"[{self.name}] the largest axis of a kernel with three axes must be the input's, first and alone, or "
                             "the output's, last and alone; leave the layer out by `filters`. "
                             f"Received: layer {layer.name}, kernel {self.kernel_shape}, equation={layer.equation!r}")

    def matrix(self):
        """The kernel, (columns, rows) float32."""
        return np.ascontiguousarray(np.asarray(ops.cast(self.original_layer._kernel, "float32")).reshape(self.rows, self.columns).T)

    def batch(self, inputs):
        """Inputs as (samples, features) float32.

        Raises:
            ValueError: inputs is None, empty, or has fewer than 2 axes.
        """
        if inputs is None:
            raise ValueError(f"[{self.name}] Input tensor cannot be None.")
        if len(inputs.shape) < 2:
            raise ValueError(f"[{self.name}] Input tensor must have rank >= 2 (got rank {len(inputs.shape)}).")
        if math.prod(inputs.shape) == 0:
            raise ValueError(f"[{self.name}] Input tensor cannot be empty.")
        return ops.reshape(ops.cast(convert_to_tensor(inputs), "float32"), (-1, inputs.shape[-1]))


@contextlib.contextmanager
def observing(statistics):
    """While it is entered, every object of `statistics` gets the inputs of its layer, as (samples, rows)."""

    def observed(one, call):
        def observed_call(inputs, *args, **kwargs):
            one.update(ops.reshape(inputs, (-1, one.rows)))
            return call(inputs, *args, **kwargs)

        return observed_call

    try:
        for one in statistics:
            object.__setattr__(one.original_layer, "call", observed(one, one.original_layer.call))
        yield
    finally:
        for one in statistics:
            object.__delattr__(one.original_layer, "call")


def calibrated_layers(block, filters):
    """The Dense and EinsumDense layers within a block that `filters` let through."""
    from ..layers import Dense, EinsumDense

    return [layer for layer in block._flatten_layers()
            if not layer._layers and isinstance(layer, (Dense, EinsumDense)) and should_quantize_layer(layer, filters)]


def calibrate(kind, config, structure, filters=None, type_check=True):
    """Quantizes the blocks of a model one after the other, each with inputs that went through the quantized ones before.

    Only layers inside of the blocks are quantized: others would stay without the integers that files keep of them.

    Args:
        kind: GPTQ or AWQ.
        config: its config.
        structure: dict: "pre_block_layers", layers in whose order the numbers of a sample go, and "sequential_blocks".
        filters: which layers, see `Model.quantize`.
        type_check: bool; leave subclasses alone.

    Raises:
        ValueError: there is no data set, no tokenizer or no block.
    """
    mode = config.mode
    if config.dataset is None or config.tokenizer is None:
        raise ValueError(f"[quantize] {kind.name} quantization requires a dataset and a tokenizer. Please provide them in the "
                         f"`{kind.name}Config`.")
    if structure is None:
        raise ValueError(f"[quantize] For {mode!r} mode, a valid quantization structure must be provided either via "
                         "`config.quantization_layer_structure` or by overriding "
                         "`model.get_quantization_layer_structure(mode)`. The structure should be a dictionary with keys "
                         "'pre_block_layers' and 'sequential_blocks'.")
    blocks = list(structure.get("sequential_blocks", ()))
    if not blocks:
        raise ValueError("[quantize] No sequential blocks found in the provided structure to quantize.")
    samples = calibration_samples(config.tokenizer, config.sequence_length, config.dataset, config.num_samples)
    inputs = []
    for sample in samples:
        x = convert_to_tensor(sample, "int32")
        for layer in structure.get("pre_block_layers", ()):
            x = layer(x)
        inputs.append(x)
    for layer in (layer for block in blocks for layer in calibrated_layers(block, filters)):
        kind(layer, config).check()  # before anything has changed
    bar = Progbar(len(blocks))
    for i, block in enumerate(blocks):
        statistics = []
        for layer in calibrated_layers(block, filters):
            try:
                layer.quantize(mode, config=config, type_check=type_check)
            except NotImplementedError as error:
                warn(str(error))
            else:
                statistics.append(kind(layer, config))
        if statistics:
            with observing(statistics):
                for x in inputs:
                    block(x)
            for one in statistics:
                one.quantize()
        if i + 1 < len(blocks):
            outputs = (block(x) for x in inputs)
            inputs = [y[0] if isinstance(y, (list, tuple)) else y for y in outputs]
        bar.update(i + 1)
