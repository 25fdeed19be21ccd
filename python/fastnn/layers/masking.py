"""Masking."""
from .. import ops
from .layer import Layer


class Masking(Layer):
    """Masks the timesteps at which all features equal `mask_value`: layers behind it skip them.

    Args:
        mask_value: number.

    Call arguments:
        inputs: (batch, timesteps, features) tensor.

    Returns:
        The inputs, with 0 at masked timesteps.
    """

    def __init__(self, mask_value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs):
        kept = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.where(kept, inputs, ops.zeros_like(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mask_value": self.mask_value}
