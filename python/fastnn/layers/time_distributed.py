"""TimeDistributed."""
from .. import ops
from ..symbolic import KerasTensor
from .calling import call_signature
from .wrapper import Wrapper

_PACKAGE = __name__.split(".")[0]


class TimeDistributed(Wrapper):
    """Applies a layer to every timestep of a sequence, with the same weights.

    Args:
        layer: Layer, called on (batch, ...).

    Call arguments:
        inputs: (batch, timesteps, ...) tensor.
        training: bool, passed on to the layer if it takes it.
        mask: (batch, timesteps, ...) bool, passed on likewise.

    Returns:
        (batch, timesteps, ...): what the layer gives for each step.

    Raises:
        ValueError: inputs have fewer than 3 axes, or the mask does not start with batch and timesteps.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def _step_shape(self, shape):
        if len(shape) < 3:
            raise ValueError(f"[{self.name}] inputs must have at least 3 axes (batch, timesteps, ...). "
                             f"Received: shape={shape}")
        return (shape[0], *shape[2:])

    def build(self, input_shape):
        super().build(self._step_shape(input_shape))

    def compute_output_shape(self, input_shape):
        shape = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (shape[0], input_shape[1], *shape[1:])

    def compute_output_spec(self, inputs, training=None, mask=None):
        # The dtype is that of the layer inside.
        shape = self.compute_output_shape(tuple(inputs.shape))
        step = KerasTensor(self._step_shape(tuple(inputs.shape)), dtype=inputs.dtype)
        kwargs = {"training": training} if call_signature(self.layer).has_training else {}
        return KerasTensor(shape, dtype=self.layer.compute_output_spec(step, **kwargs).dtype)

    def call(self, inputs, training=None, mask=None):
        self._step_shape(inputs.shape)
        if mask is not None and tuple(mask.shape[:2]) != tuple(inputs.shape[:2]):
            raise ValueError(f"[{self.name}] The `mask` passed to the `TimeDistributed` layer has a shape {tuple(mask.shape)} "
                             f"that does not start with batch and timesteps, {tuple(inputs.shape[:2])}.")
        signature, kwargs = call_signature(self.layer), {}
        if signature.has_training:
            kwargs["training"] = training
        takes_mask = mask is not None and "mask" in signature.parameters
        batch, steps = inputs.shape[:2]
        if self._rows_are_independent():
            if takes_mask:
                kwargs["mask"] = ops.reshape(mask, (batch * steps, *mask.shape[2:]))
            y = self.layer(ops.reshape(inputs, (batch * steps, *inputs.shape[2:])), **kwargs)
            return ops.reshape(y, (batch, steps, *y.shape[1:]))
        outputs = []
        for t in range(steps):
            if takes_mask:
                kwargs["mask"] = mask[:, t]
            outputs.append(self.layer(inputs[:, t], **kwargs))
        return ops.stack(outputs, axis=1)

    def _rows_are_independent(self):
        """Whether the layer treats the rows of a batch one by one, so that all steps can be one batch.

        Layers of users are not known to; those with a state that calls change, such as the moving
        statistics of a BatchNormalization, do not.
        """
        for layer in self.layer._flatten_layers():
            if type(layer).__module__.split(".")[0] != _PACKAGE or getattr(layer, "stateful", False):
                return False
            if type(layer).__name__ in ("BatchNormalization", "SpectralNormalization", "Lambda"):
                return False
        return True
