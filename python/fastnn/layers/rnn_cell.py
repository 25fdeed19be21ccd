"""What LSTMCell, GRUCell and SimpleRNNCell share: arguments, weights and dropout masks."""
from .. import activations, constraints, initializers, ops, random, regularizers
from .kernel_layer import check_count
from .layer import Layer


class RecurrentCell(Layer):
    """A cell with a kernel, a recurrent kernel and a bias, each with `gates` columns per unit.

    Arguments are those of LSTMCell.
    """

    gates = 1
    _units_name = "units"

    def __init__(self, units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
                 kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint, recurrent_constraint,
                 bias_constraint, dropout, recurrent_dropout, seed, **kwargs):
        kind = type(self).__name__
        units = check_count(units, self._units_name, kind)
        for name, rate in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
            if not 0 <= rate <= 1:
                raise ValueError(f"[{kind}] {name} must be from 0 to 1. Received: {name}={rate!r}")
        super().__init__(**kwargs)
        self.units = units
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = float(dropout)
        self.recurrent_dropout = float(recurrent_dropout)
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed=seed)
        self.state_size = self.units
        self.output_size = self.units
        self.bias = None
        self.reset_dropout_mask()
        self.reset_recurrent_dropout_mask()

    def build(self, input_shape):
        kernel_shape, recurrent_shape = self._kernel_shapes(input_shape)
        self.kernel = self.add_weight(
            kernel_shape, self.kernel_initializer, name="kernel",
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint)
        self.recurrent_kernel = self.add_weight(
            recurrent_shape, self.recurrent_initializer, name="recurrent_kernel",
            regularizer=self.recurrent_regularizer, constraint=self.recurrent_constraint)
        if self.use_bias:
            self.bias = self.add_weight(
                self._bias_shape(), self._initial_bias, name="bias",
                regularizer=self.bias_regularizer, constraint=self.bias_constraint)

    def _kernel_shapes(self, input_shape):
        """Of the kernel and of the recurrent kernel."""
        columns = self.gates * self.units
        return (input_shape[-1], columns), (self.units, columns)

    def _bias_shape(self):
        return (self.gates * self.units,)

    def _initial_bias(self, shape, dtype=None):
        return self.bias_initializer(shape, dtype=dtype)

    def get_initial_state(self, batch_size=None):
        """Zeros for every state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        shapes = [(batch_size, *size) if isinstance(size, tuple) else (batch_size, size) for size in sizes]
        return [ops.zeros(shape, self.compute_dtype) for shape in shapes]

    # Dropout masks are drawn once per sequence, by whoever asks first, and kept until the reset.

    def get_dropout_mask(self, step_input):
        """The mask that multiplies the inputs of all steps: 0, or 1 / (1 - dropout)."""
        if self._dropout_mask is None:
            object.__setattr__(self, "_dropout_mask", self._draw(step_input, self.dropout))
        return self._dropout_mask

    def get_recurrent_dropout_mask(self, state):
        """The masks that multiply the state before each of the recurrent products, one per gate."""
        if self._recurrent_dropout_mask is None:
            masks = [self._draw(state, self.recurrent_dropout) for _ in range(self.gates)]
            object.__setattr__(self, "_recurrent_dropout_mask", masks)
        return self._recurrent_dropout_mask

    def reset_dropout_mask(self):
        """The next call draws a new mask for the inputs."""
        object.__setattr__(self, "_dropout_mask", None)

    def reset_recurrent_dropout_mask(self):
        """The next call draws new masks for the state."""
        object.__setattr__(self, "_recurrent_dropout_mask", None)

    def _draw(self, x, rate):
        return random.dropout(ops.ones(x.shape, x.dtype), rate, seed=self.seed_generator)

    def _dropped(self, inputs, h, training):
        """The inputs, and the state for each gate, after dropout."""
        if training and self.dropout:
            inputs = inputs * self.get_dropout_mask(inputs)
        if training and self.recurrent_dropout:
            return inputs, [h * mask for mask in self.get_recurrent_dropout_mask(h)]
        return inputs, [h] * self.gates

    def _recurrent_products(self, hs, count=None):
        """`hs[g] @ recurrent_kernel` by gate, for the first `count` gates; one product if all states are the same."""
        count = self.gates if count is None else count
        kernel, u = self.recurrent_kernel.value, self.units
        if all(h is hs[0] for h in hs):
            kernel = kernel if count == self.gates else kernel[:, :count * u]
            return ops.split(ops.matmul(hs[0], kernel), count, axis=-1)
        return [ops.matmul(hs[g], kernel[:, g * u:(g + 1) * u]) for g in range(count)]

    def get_config(self):
        return {
            **super().get_config(),
            self._units_name: self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": initializers.serialize(self.recurrent_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "recurrent_regularizer": regularizers.serialize(self.recurrent_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "recurrent_constraint": constraints.serialize(self.recurrent_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }


ARGUMENTS = (
    "units", "activation", "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer",
    "kernel_regularizer", "recurrent_regularizer", "bias_regularizer", "kernel_constraint", "recurrent_constraint",
    "bias_constraint", "dropout", "recurrent_dropout", "seed")
