"""Bidirectional."""
from .. import ops, tree
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from .calling import call_signature
from .layer import Layer
from .wrapper import with_dtype

_MERGE_MODES = ("sum", "mul", "ave", "concat", None)


class Bidirectional(Layer):
    """Runs a recurrent layer over a sequence in both directions.

    Args:
        layer: a recurrent layer: RNN, LSTM, GRU, SimpleRNN, or a layer with their attributes
            (`go_backwards`, `return_sequences`, `return_state`, `stateful`). It is copied.
        merge_mode: "concat", "sum", "mul", "ave" (how the outputs are combined), or None: a tuple of both.
        weights: list of arrays, the weights of the forward and then of the backward layer at the start.
        backward_layer: the layer of the other direction; a copy of `layer` by default.

    Call arguments:
        sequences: (batch, timesteps, features) tensor.
        initial_state: list with the states of the forward, then those of the backward layer.
        mask: (batch, timesteps) bool.
        training: bool.

    Returns:
        The merged output, in the order of time; with `return_state` followed by the states of both layers.

    Raises:
        ValueError: an unknown merge mode; the two layers walk in the same direction or differ in
            `stateful`, `return_sequences` or `return_state`.
    """

    def __init__(self, layer, merge_mode="concat", weights=None, backward_layer=None, **kwargs):
        for name, value in (("layer", layer), ("backward_layer", backward_layer)):
            if not isinstance(value, Layer) and (name == "layer" or value is not None):
                raise ValueError(f"[Bidirectional] {name} must be a Layer. Received: {name}={value!r}")
        if merge_mode not in _MERGE_MODES:
            raise ValueError(f"[Bidirectional] merge_mode must be one of {_MERGE_MODES}. "
                             f"Received: merge_mode={merge_mode!r}")
        super().__init__(**kwargs)
        self.forward_layer = _copy(layer, "forward_")
        if backward_layer is None:
            backward_layer = _copy(layer, "backward_", go_backwards=True)
        self.backward_layer = backward_layer
        for one in (self.forward_layer, self.backward_layer):
            if hasattr(layer, "use_cudnn"):
                one.use_cudnn = layer.use_cudnn
        self._check_layers()
        for one in (self.forward_layer, self.backward_layer):
            if hasattr(one, "zero_output_for_mask"):
                one.zero_output_for_mask = one.return_sequences
        self.merge_mode = merge_mode
        self._initial_weights = [w for w in weights] if weights is not None else None
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.supports_masking = True
        self.input_spec = layer.input_spec

    def _check_layers(self):
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError("[Bidirectional] the two layers must walk in different directions. "
                             f"Received: go_backwards={forward.go_backwards} of both")
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(forward, name) != getattr(backward, name):
                raise ValueError(f"[Bidirectional] the two layers must have the same {name}. "
                                 f"Received: {getattr(forward, name)} and {getattr(backward, name)}")

    def build(self, sequences_shape, initial_state_shape=None):
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(sequences_shape)
        if self._initial_weights is not None:
            half = len(self._initial_weights) // 2
            self.forward_layer.set_weights(self._initial_weights[:half])
            self.backward_layer.set_weights(self._initial_weights[half:])
            self._initial_weights = None

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        shape, states = self.forward_layer.compute_output_shape(sequences_shape), ()
        if self.return_state:
            shape, *states = shape
        if self.merge_mode == "concat":
            shape = (*shape[:-1], 2 * shape[-1])
        outputs = (shape, shape) if self.merge_mode is None else (shape,)
        if self.return_state:
            return (*outputs, *states, *states)
        return outputs if self.merge_mode is None else shape

    def compute_output_spec(self, *args, **kwargs):
        return with_dtype(super().compute_output_spec(*args, **kwargs), self.forward_layer.compute_dtype)

    def compute_mask(self, sequences, mask):
        mask = tree.flatten(mask)[0] if self.return_sequences else None
        outputs = [mask, mask] if self.merge_mode is None else [mask]
        if self.return_state:
            return outputs + [None] * (2 * len(self.forward_layer.state_size))
        return outputs if self.merge_mode is None else mask

    def call(self, sequences, initial_state=None, mask=None, training=None):
        forward_state = backward_state = None
        if initial_state is not None:
            if len(initial_state) % 2:
                raise ValueError(f"[{self.name}] initial_state must have the states of both layers. "
                                 f"Received: {len(initial_state)} states")
            half = len(initial_state) // 2
            forward_state, backward_state = initial_state[:half], initial_state[half:]
        y = self._run(self.forward_layer, sequences, forward_state, mask, training)
        z = self._run(self.backward_layer, sequences, backward_state, mask, training)
        states = ()
        if self.return_state:
            states = (*y[1:], *z[1:])
            y, z = y[0], z[0]
        if self.return_sequences:
            z = ops.flip(z, axis=1)
        if self.merge_mode == "concat":
            outputs = (ops.concatenate([y, z], axis=-1),)
        elif self.merge_mode == "sum":
            outputs = (y + z,)
        elif self.merge_mode == "ave":
            outputs = ((y + z) / 2,)
        elif self.merge_mode == "mul":
            outputs = (y * z,)
        else:
            outputs = (y, z)
        outputs += states
        return outputs if len(outputs) > 1 else outputs[0]

    @staticmethod
    def _run(layer, sequences, initial_state, mask, training):
        signature, kwargs = call_signature(layer), {}
        if signature.has_training:
            kwargs["training"] = training
        if "mask" in signature.parameters:
            kwargs["mask"] = mask
        if initial_state is not None:
            kwargs["initial_state"] = initial_state
        return layer(sequences, **kwargs)

    @property
    def states(self):
        """The states of both layers if they are stateful and built, else None."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return (*forward, *backward) if forward and backward else None

    def reset_state(self):
        """Sets the states of stateful layers to zero.

        Raises:
            AttributeError: the layers are not stateful.
        """
        if not self.stateful:
            raise AttributeError(f"[{self.name}] reset_state() needs a stateful layer")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self):
        """The same as `reset_state`."""
        self.reset_state()

    def get_config(self):
        return {
            **super().get_config(),
            "merge_mode": self.merge_mode,
            "layer": serialize_keras_object(self.forward_layer),
            "backward_layer": serialize_keras_object(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                config[name] = deserialize_keras_object(config[name], custom_objects=custom_objects)
        return cls(**config)


def _copy(layer, prefix, **changes):
    """A new layer with the config of `layer` but for `changes`, without its variables."""
    config = {**layer.get_config(), **changes}
    config["name"] = prefix + layer.name.removeprefix(prefix)
    return type(layer).from_config(config)
