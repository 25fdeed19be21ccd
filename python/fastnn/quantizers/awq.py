"""AWQ: inputs with large activations are multiplied by a factor before rounding, and divided by it afterwards."""
import numpy as np

from .. import ops
from ..tensor import convert_to_tensor
from .calibration import Calibrated
from .configs import AWQConfig
from .parameters import (compute_quantization_parameters, dequantize_with_sz_map, dequantize_with_zero_point,
                         quantize_with_sz_map, quantize_with_zero_point)


def _rounded(weights, group_size):
    """(integers as floats, scale, zero, the group of each column or None) for 4 bits."""
    scale, zero, largest = compute_quantization_parameters(weights, bits=4, per_channel=True, group_size=group_size,
                                                           spans_zero=True)
    if group_size == -1:
        return quantize_with_zero_point(weights, scale, zero, largest), scale, zero, None
    groups = ops.convert_to_tensor(np.arange(weights.shape[1], dtype="int32") // group_size)
    return quantize_with_sz_map(weights, scale, zero, groups, largest), scale, zero, groups


def awq_search_optimal_scales(weights, activation_magnitudes, *, num_grid_points=20, group_size=-1):
    """The factors f = m^r, normalised by sqrt(max f * min f), with the smallest mean of (m * (w - rounded(w f) / f))^2.

    Args:
        weights: (outputs, inputs).
        activation_magnitudes: m, (inputs,), the largest absolute value of each input; those below 1e-8 count as 1.
        num_grid_points: r is 0, 1 / num_grid_points, ..., 1.
        group_size: columns that share scale and zero; -1, all.

    Returns:
        (inputs,) float32.

    Source: Lin et al. 2023, arXiv 2306.00978.
    """
    weights = ops.cast(convert_to_tensor(weights), "float32")
    m = ops.cast(convert_to_tensor(activation_magnitudes), "float32")
    m = ops.where(ops.less(m, 1e-8), ops.ones_like(m), m)
    best, smallest = None, None
    for i in range(num_grid_points + 1):
        f = ops.maximum(ops.power(m, i / num_grid_points) if i else ops.ones_like(m), 1e-4)
        f = ops.divide(f, ops.maximum(ops.sqrt(ops.multiply(ops.max(f), ops.min(f))), 1e-8))
        integers, scale, zero, groups = _rounded(ops.multiply(weights, f), group_size)
        if groups is None:
            floats = dequantize_with_zero_point(integers, scale, zero)
        else:
            floats = dequantize_with_sz_map(integers, scale, zero, groups)
        error = ops.square(ops.subtract(weights, ops.divide(floats, f)))
        loss = float(ops.mean(ops.multiply(error, ops.square(m))))
        if smallest is None or loss < smallest:
            best, smallest = f, loss
    return best


def awq_quantize_matrix(weights, activation_magnitudes, *, num_grid_points=20, group_size=-1):
    """The integers of a matrix whose inputs are multiplied by the factors of `awq_search_optimal_scales`.

    Args:
        weights, activation_magnitudes, num_grid_points, group_size: see there.

    Returns:
        (integers (outputs, inputs), scale (outputs, groups), zero (outputs, groups), factors (inputs,), the group of each
        column (inputs,) float32).
    """
    factors = awq_search_optimal_scales(weights, activation_magnitudes, num_grid_points=num_grid_points, group_size=group_size)
    integers, scale, zero, groups = _rounded(ops.multiply(ops.cast(convert_to_tensor(weights), "float32"), factors), group_size)
    groups = ops.zeros((integers.shape[1],)) if groups is None else ops.cast(groups, "float32")
    return integers, scale, zero, factors, groups


class AWQ(Calibrated):
    """The calibration of one layer.

    Args:
        layer: Dense or EinsumDense.
        config: AWQConfig.

    Attributes:
        activation_magnitudes: (rows,) float32, the largest absolute value of each input so far.
        num_samples: rows of inputs so far.
    """

    name = "AWQ"

    def __init__(self, layer, config=None):
        super().__init__(layer)
        self.config = AWQConfig(None, None) if config is None else config
        self.activation_magnitudes = ops.zeros((self.rows,))

    def update(self, inputs):
        """Takes inputs (..., rows) into the maximum.

        Raises:
            ValueError: inputs is None, empty, or has another number of features.
        """
        x = self.batch(inputs)
        if x.shape[-1] != self.rows:
            raise ValueError(f"[AWQ] inputs must have {self.rows} features. Received: {x.shape[-1]}")
        self.activation_magnitudes = ops.maximum(self.activation_magnitudes, ops.max(ops.absolute(x), axis=0))
        self.num_samples += x.shape[0]

    def quantize(self):
        """Gives the layer its integers; the floats are dropped."""
        integers, scale, zero, factors, groups = awq_quantize_matrix(
            self.matrix(), self.activation_magnitudes, num_grid_points=self.config.num_grid_points,
            group_size=self.config.group_size)
        self.original_layer._set_calibrated("awq", integers, scale, zero, groups, factors)
