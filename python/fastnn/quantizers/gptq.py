"""GPTQ: a matrix is rounded one input at a time, and the inputs not rounded yet make up for the error."""
import numpy as np

from .. import ops
from .calibration import Calibrated
from .configs import GPTQConfig
from .parameters import compute_quantization_parameters


def stable_permutation(metric):
    """The places of `metric` from its largest value to its smallest, equal ones in their order."""
    return np.argsort(-np.asarray(metric), kind="stable")


def gptq_quantize_matrix(weights, inverse_hessian, *, blocksize=128, group_size=-1, activation_order=False, order_metric=None,
                         compute_scale_zero):
    """Rounds the columns j of weights one after the other; e_j = (w_j - rounded w_j) / H^-1[j, j] is taken off the later
    columns k as e_j H^-1[j, k].

    Args:
        weights: (outputs, inputs) float32.
        inverse_hessian: (inputs, inputs) float32.
        blocksize: columns after which the corrections of all later columns are made, in one product of matrices.
        group_size: columns that share scale and zero; -1, all.
        activation_order: bool; begin with the columns with the largest `order_metric`.
        order_metric: (inputs,), or None, 1 / the diagonal of inverse_hessian.
        compute_scale_zero: function of the columns of a group; gives (scale, zero, largest integer).

    Returns:
        (integers (outputs, inputs) int32, scale (outputs, groups), zero (outputs, groups), the group of each column as
        floats (inputs,), whose whole part counts).

    Source: Frantar et al. 2022, arXiv 2210.17323; with the inverse itself where the paper has its Cholesky factor, as in Keras.
    """
    weights, inverse = np.array(weights, "float32"), np.asarray(inverse_hessian, "float32")
    inputs = weights.shape[1]
    order = None
    if activation_order:
        metric = 1 / (np.diagonal(inverse) + 1e-12) if order_metric is None else np.asarray(order_metric, "float32")
        order = stable_permutation(np.where(np.isfinite(metric), metric, 0))
        weights, inverse = weights[:, order], inverse[np.ix_(order, order)]
    group_size = inputs if group_size == -1 else group_size
    integers = np.zeros(weights.shape, "int32")
    scales, zeros = [], []
    for begin in range(0, inputs, blocksize):
        end = min(begin + blocksize, inputs)
        block = weights[:, begin:end].copy()
        errors = np.zeros_like(block)
        near = inverse[begin:end, begin:end]
        for j in range(end - begin):
            if (begin + j) % group_size == 0:
                group = ops.convert_to_tensor(weights[:, begin + j:begin + j + group_size])
                scale, zero, largest = (np.asarray(v, "float32") for v in compute_scale_zero(group))
                scales.append(scale)
                zeros.append(zero)
                scale, zero = scale[:, 0], zero[:, 0]
                safe = np.where(scale == 0, np.float32(1e-8), scale)
            w = block[:, j]
            rounded = np.clip(np.round(w / safe + zero), 0, largest)
            integers[:, begin + j] = rounded
            errors[:, j] = (w - scale * (rounded - zero)) / near[j, j]
            block[:, j + 1:] -= np.outer(errors[:, j], near[j, j + 1:])
        weights[:, end:] -= errors @ inverse[begin:end, end:]
    groups = np.arange(inputs, dtype="float32") / np.float32(group_size)
    if order is not None:
        back = np.argsort(order)
        integers, groups = integers[:, back], groups[back]
    return integers, np.concatenate(scales, axis=1), np.concatenate(zeros, axis=1), groups


class GPTQ(Calibrated):
    """The calibration of one layer.

    Args:
        layer: Dense or EinsumDense.
        config: GPTQConfig.

    Attributes:
        hessian: (rows, rows) float32, 2 x^T x / samples over all inputs x so far.
        num_samples: rows of them.
    """

    name = "GPTQ"

    def __init__(self, layer, config=None):
        super().__init__(layer)
        self.config = GPTQConfig(None, None) if config is None else config
        self.hessian = np.zeros((self.rows, self.rows), "float32")

    def update(self, inputs):
        """Takes inputs (..., rows) into the mean.

        Raises:
            ValueError: inputs is None, empty, or has another number of features.
        """
        x = self.batch(inputs)
        if x.shape[-1] != self.rows:
            raise ValueError(f"[GPTQ] Hessian dimensions ({self.rows}) do not match input features ({x.shape[-1]}).")
        gram = np.asarray(ops.matmul(ops.transpose(x), x))
        gram = (gram + gram.T) / np.float32(2)  # exactly symmetric
        before, self.num_samples = self.num_samples, self.num_samples + x.shape[0]
        self.hessian = (self.hessian * np.float32(before / self.num_samples) + np.float32(2 / self.num_samples) * gram)

    def quantize(self, blocksize=128):
        """Gives the layer its integers; the floats are dropped."""
        config = self.config
        hessian = np.array(self.hessian, "float32")
        diagonal = np.diagonal(hessian).copy()
        diagonal[diagonal == 0] = 1  # of inputs that never were anything but 0
        np.fill_diagonal(hessian, diagonal + np.float32(config.hessian_damping) * diagonal.mean())

        def scale_zero(x):
            return compute_quantization_parameters(x, bits=config.weight_bits, symmetric=config.symmetric,
                                                   per_channel=config.per_channel, spans_zero=True)

        integers, scale, zero, groups = gptq_quantize_matrix(
            self.matrix(), np.linalg.inv(hessian), blocksize=blocksize, group_size=config.group_size,
            activation_order=config.activation_order, order_metric=np.diagonal(hessian), compute_scale_zero=scale_zero)
        self.original_layer._set_calibrated("gptq", integers, scale, zero, groups)
