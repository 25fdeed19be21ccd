"""Conversions to and from tensors, and what stands between ops and the tape."""

from ..autograd import custom_gradient, stop_gradient
from ..tensor import convert_to_numpy, convert_to_tensor, is_tensor

__all__ = ["convert_to_tensor", "convert_to_numpy", "is_tensor", "custom_gradient", "stop_gradient"]
