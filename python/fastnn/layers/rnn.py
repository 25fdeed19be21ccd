"""RNN, a loop of any cell over the timesteps of a sequence, and StackedRNNCells.

LSTM, GRU and SimpleRNN are RNNs whose loop is one kernel where their arguments allow it; the loop
here gives the same numbers step by step, with any cell.
"""
from .. import ops, regularizers, tree
from ..saving.serialization import deserialize_keras_object, serialize_keras_object
from ..tensor import Tensor, Variable
from .calling import signature_of
from .input_spec import InputSpec
from .layer import Layer


class RNN(Layer):
    """Runs a cell over the timesteps of a sequence.

    Args:
        cell: a cell, or a list of cells that are stacked. A cell has `call(inputs, states)`, which returns
            `(output, new_states)`, and `state_size`, an int or a list of ints; `output_size` (the first of
            `state_size` by default) and `get_initial_state(batch_size)` are optional.
        return_sequences: bool; return the output of every step instead of the last.
        return_state: bool; return the last states, too.
        go_backwards: bool; walk from the last timestep to the first. Outputs are in the order of walking.
        stateful: bool; the last states of a batch are the initial states of the next. The batch size must be
            known, and `reset_state()` sets the states to zero.
        unroll: bool; accepted, without effect but that the number of timesteps must be known.
        zero_output_for_mask: bool; the output of a masked step is 0, instead of the output before.

    Call arguments:
        sequences: (batch, timesteps, ...) tensor.
        initial_state: list of states for the first step; zeros by default.
        mask: (batch, timesteps) bool. A step where it is False keeps the states.
        training: bool, passed on to the cell.

    Returns:
        The output (batch, output_size), or (batch, timesteps, output_size) with `return_sequences`; with
        `return_state` a tuple of the output and the states.

    Raises:
        ValueError: the cell lacks `call` or `state_size`; there is no timestep; the initial states do not
            agree with the cell.

    Example:
        layer = RNN([LSTMCell(32), LSTMCell(16)])
        y = layer(x)
    """

    def __init__(self, cell, return_sequences=False, return_state=False, go_backwards=False, stateful=False,
                 unroll=False, zero_output_for_mask=False, **kwargs):
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        _check_cell(cell, "RNN")
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences = bool(return_sequences)
        self.return_state = bool(return_state)
        self.go_backwards = bool(go_backwards)
        self.stateful = bool(stateful)
        self.unroll = bool(unroll)
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self.supports_masking = True
        self.states = None
        self._expected_batch_size = None
        self.single_state = isinstance(cell.state_size, int)

    @property
    def state_size(self):
        """The sizes of the states of the cell, as a list."""
        size = self.cell.state_size
        return [size] if isinstance(size, int) else list(size)

    @property
    def output_size(self):
        """The size of the output of a step: an int, or a shape without the batch."""
        return _output_size(self.cell)

    # ---- shapes and masks --------------------------------------------------------------------------

    def build(self, sequences_shape, initial_state_shape=None):
        self._check_timesteps(sequences_shape)
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((sequences_shape[0], *sequences_shape[2:]))
        if self.stateful and self.states is None:
            batch = sequences_shape[0]
            if batch is None:
                raise ValueError(f"[{self.name}] a stateful layer must know the batch size: give batch_size to Input. "
                                 f"Received: sequences.shape={sequences_shape}")
            self._expected_batch_size = batch
            # Not through Layer.__setattr__: states are no weights.
            object.__setattr__(self, "states", tree.map_structure(
                lambda value: Variable(value, trainable=False, dtype=self.variable_dtype, name="rnn_state"),
                self.get_initial_state(batch)))

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        self._check_timesteps(sequences_shape)
        batch, size = sequences_shape[0], _as_tuple(self.output_size)
        shape = (batch, sequences_shape[1], *size) if self.return_sequences else (batch, *size)
        if not self.return_state:
            return shape
        states = [tuple((batch, *_as_tuple(s)) for s in size) if isinstance(size, (list, tuple)) else (batch, size)
                  for size in self.state_size]
        return (shape, *states)

    def compute_mask(self, sequences, mask):
        mask = tree.flatten(mask)[0]
        output_mask = mask if self.return_sequences else None
        return [output_mask] + [None] * len(self.state_size) if self.return_state else output_mask

    def _check_timesteps(self, shape):
        if len(shape) < 3:
            raise ValueError(f"[{self.name}] sequences must have shape (batch, timesteps, ...). "
                             f"Received: shape={shape}")
        if shape[1] == 0:
            raise ValueError(f"[{self.name}] sequences must have at least one timestep. Received: shape={shape}")
        if self.unroll and shape[1] is None:
            raise ValueError(f"[{self.name}] unroll=True needs a known number of timesteps. Received: shape={shape}")

    # ---- states ------------------------------------------------------------------------------------

    def get_initial_state(self, batch_size):
        """The states before the first step of a batch, as a list: zeros, or what the cell says."""
        get = getattr(self.cell, "get_initial_state", None)
        if get is None:
            return [_zeros(batch_size, size, self.compute_dtype) for size in self.state_size]
        states = get(batch_size=batch_size)
        return list(states) if tree.is_nested(states) else [states]

    def reset_state(self):
        """Sets the states of a stateful layer to zero."""
        if self.states is not None:
            for v in tree.flatten(self.states):
                v.assign(ops.zeros(v.shape, v.dtype))

    def reset_states(self):
        """The same as `reset_state`."""
        self.reset_state()

    def _first_state(self, sequences, initial_state):
        """The list of states to start with, checked and in the compute dtype; None stands for zeros."""
        if initial_state is None:
            if not self.stateful:
                return None
            if sequences.shape[0] != self._expected_batch_size:
                raise ValueError(f"[{self.name}] a stateful layer must get batches of the size it was built with, "
                                 f"{self._expected_batch_size}. Received: batch size {sequences.shape[0]}")
            initial_state = self.states
        states = list(initial_state) if tree.is_nested(initial_state) else [initial_state]
        if len(states) != len(self.state_size):
            raise ValueError(f"[{self.name}] initial_state must have {len(self.state_size)} states. "
                             f"Received: {len(states)}")
        states = tree.map_structure(lambda s: ops.convert_to_tensor(s, self.compute_dtype), states)
        for state, size in zip(states, self.state_size):
            if isinstance(state, Tensor):
                expected = (sequences.shape[0], *_as_tuple(size))
                if state.shape != expected:
                    raise ValueError(f"[{self.name}] initial_state must have shape {expected}. Received: {state.shape}")
        return states

    # ---- call --------------------------------------------------------------------------------------

    def call(self, sequences, initial_state=None, mask=None, training=False):
        self._check_timesteps(sequences.shape)
        if tree.is_nested(mask):
            mask = tree.flatten(mask)[0]
        states = self._first_state(sequences, initial_state)
        try:
            last_output, outputs, states = self.inner_loop(sequences, states, mask, training)
        finally:
            _reset_dropout(self.cell)
        if self.stateful and sequences.device != "meta":
            for variable, state in zip(tree.flatten(self.states), tree.flatten(states)):
                variable.assign(state)
        output = outputs if self.return_sequences else last_output
        if output.dtype != self.compute_dtype:
            output = ops.cast(output, self.compute_dtype)
        if not self.return_state:
            return output
        return (output, *tree.map_structure(lambda s: ops.cast(s, self.compute_dtype), list(states)))

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """The steps of `call`, one call of the cell each.

        Args:
            sequences: (batch, timesteps, ...) tensor.
            initial_state: list of states, or None for those of `get_initial_state`.
            mask: (batch, timesteps) bool, or None.
            training: bool.

        Returns:
            (last output, outputs of all steps or None, list of last states)
        """
        if mask is not None:
            _check_mask(self.name, mask, sequences)
        if initial_state is None:
            initial_state = self.get_initial_state(sequences.shape[0])
        call, kwargs = _call_of(self.cell), {"training": training} if _takes(self.cell, "training") else {}
        steps = ops.unstack(sequences, axis=1)
        masks = ops.unstack(mask, axis=1) if mask is not None else [None] * len(steps)
        states, outputs, output = list(initial_state), [], None
        for t in range(len(steps))[:: -1 if self.go_backwards else 1]:
            new_output, new_states = call(steps[t], list(states), **kwargs)
            new_states = list(new_states) if tree.is_nested(new_states) else [new_states]
            if mask is not None:
                if output is None:  # what a masked first step repeats
                    first = states[0]
                    same = isinstance(first, Tensor) and first.shape == new_output.shape
                    output = first if same else ops.zeros_like(new_output)
                new_states = tree.map_structure(lambda n, s: _where(masks[t], n, s), new_states, states)
                kept = _where(masks[t], new_output, output)
                if self.zero_output_for_mask and self.return_sequences:
                    outputs.append(_where(masks[t], new_output, ops.zeros_like(new_output)))
                elif self.return_sequences:
                    outputs.append(kept)
                output = kept
            else:
                output = new_output
                if self.return_sequences:
                    outputs.append(output)
            states = new_states
        return output, ops.stack(outputs, axis=1) if self.return_sequences else None, states

    # ---- configuration -----------------------------------------------------------------------------

    def get_config(self):
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in (
                "return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask")},
            "cell": serialize_keras_object(self.cell),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        return cls(deserialize_keras_object(config.pop("cell"), custom_objects=custom_objects), **config)


class StackedRNNCells(Layer):
    """Several cells as one: the output of each is the input of the next.

    Args:
        cells: list of cells.

    Call arguments:
        inputs: (batch, ...) tensor of one step.
        states: list with the states of every cell.

    Returns:
        (output of the last cell, list of the new states of every cell)

    Raises:
        ValueError: a cell lacks `call` or `state_size`.
    """

    _allow_non_tensor_positional_args = True

    def __init__(self, cells, **kwargs):
        cells = list(cells)
        if not cells:
            raise ValueError("[StackedRNNCells] cells must not be empty. Received: cells=[]")
        for cell in cells:
            _check_cell(cell, "StackedRNNCells")
        super().__init__(**kwargs)
        self.cells = cells

    @property
    def state_size(self):
        """The state sizes of the cells."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self):
        """The output size of the last cell."""
        return _output_size(self.cells[-1])

    def get_initial_state(self, batch_size=None):
        """The initial states of the cells."""
        states = []
        for cell in self.cells:
            get = getattr(cell, "get_initial_state", None)
            if get is not None:
                states.append(get(batch_size=batch_size))
            elif isinstance(cell.state_size, int):
                states.append(_zeros(batch_size, cell.state_size, self.compute_dtype))
            else:
                states.append([_zeros(batch_size, size, self.compute_dtype) for size in cell.state_size])
        return states

    def build(self, input_shape):
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
            input_shape = (input_shape[0], *_as_tuple(_output_size(cell)))

    def call(self, inputs, states, training=False, **kwargs):
        new_states = []
        for cell, state in zip(self.cells, states):
            nested = tree.is_nested(state)
            if _takes(cell, "training"):
                kwargs["training"] = training
            else:
                kwargs.pop("training", None)
            inputs, state = _call_of(cell)(inputs, list(state) if nested else [state], **kwargs)
            if not nested and tree.is_nested(state):
                state = state[0]
            new_states.append(state)
        return inputs, new_states

    def get_config(self):
        return {**super().get_config(), "cells": [serialize_keras_object(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        cells = [deserialize_keras_object(c, custom_objects=custom_objects) for c in config.pop("cells")]
        return cls(cells, **config)


class FusedRNN(RNN):
    """An RNN of one cell, whose loop is a kernel where `_kernel` says so; the arguments are those of the cell.

    A subclass sets `_cell_arguments`, the names of the cell's arguments in its config.
    """

    _cell_arguments = ()
    _ndim, _channel_axis = 3, -1  # of sequences

    def __init__(self, cell, use_cudnn=None, **kwargs):
        if use_cudnn not in (None, "auto", True, False):
            raise ValueError(f"[{type(self).__name__}] use_cudnn must be 'auto', True or False. "
                             f"Received: use_cudnn={use_cudnn!r}")
        super().__init__(cell, **kwargs)
        if use_cudnn is not None:  # of LSTM and GRU
            self.use_cudnn = use_cudnn
        self.input_spec = InputSpec(ndim=self._ndim)

    def build(self, sequences_shape, initial_state_shape=None):
        super().build(sequences_shape, initial_state_shape)
        axis = self._channel_axis
        self.input_spec = InputSpec(ndim=self._ndim, axes={axis: sequences_shape[axis]})

    def __getattr__(self, name):
        # The layer has the cell's arguments as attributes: units, activation, dropout ...
        cell = self.__dict__.get("cell")
        if cell is None or name not in type(self)._cell_arguments:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(cell, name)

    def _kernel(self):
        """The op that runs the whole sequence with this layer's options, or None."""
        return None

    def inner_loop(self, sequences, initial_state, mask, training=False):
        kernel = self._kernel()
        if kernel is None or self.compute_dtype == "float64" or training and self.recurrent_dropout:
            return super().inner_loop(sequences, initial_state, mask, training)
        cell = self.cell
        if training and self.dropout:
            sequences = sequences * ops.expand_dims(cell.get_dropout_mask(sequences[:, 0]), 1)
        y, *states = kernel(
            sequences, cell.kernel, cell.recurrent_kernel, cell.bias, initial_state, mask,
            return_sequences=self.return_sequences, go_backwards=self.go_backwards,
            zero_output_for_mask=self.zero_output_for_mask)
        return y, y, states

    def get_config(self):
        config = super().get_config()
        cell = config.pop("cell")["config"]
        return {**config, **{name: cell[name] for name in self._cell_arguments},
                "activity_regularizer": regularizers.serialize(self.activity_regularizer)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


# ---- cells and states --------------------------------------------------------------------------------


def _check_cell(cell, owner):
    for attribute in ("call", "state_size"):
        if not hasattr(cell, attribute):
            raise ValueError(f"[{owner}] a cell must have `call` and `state_size`. "
                             f"Received: cell={cell!r} without {attribute}")
    size = cell.state_size
    if not isinstance(size, (int, list, tuple)) or isinstance(size, bool):
        raise ValueError(f"[{owner}] state_size must be an int or a list of ints. Received: state_size={size!r}")


def _output_size(cell):
    size = getattr(cell, "output_size", None)
    if size is not None:
        return size
    return cell.state_size[0] if isinstance(cell.state_size, (list, tuple)) else cell.state_size


def _as_tuple(size):
    return tuple(size) if isinstance(size, (list, tuple)) else (size,)


def _zeros(batch, size, dtype):
    return ops.zeros((batch, *_as_tuple(size)), dtype)


def _call_of(cell):
    return cell if callable(cell) else cell.call


def _takes(cell, name):
    signature = signature_of(type(cell).call)
    return name in signature.parameters or signature.varkw is not None and isinstance(cell, StackedRNNCells)


def _where(mask, x, y):
    return ops.where(ops.reshape(mask, mask.shape + (1,) * (x.ndim - 1)), x, y)


def _check_mask(name, mask, sequences):
    if mask.dtype != "bool":
        raise TypeError(f"[{name}] mask must be bool. Received: mask.dtype={mask.dtype}")
    if tuple(mask.shape) != tuple(sequences.shape[:2]):
        raise ValueError(f"[{name}] mask must have shape {tuple(sequences.shape[:2])}. Received: {tuple(mask.shape)}")


def _reset_dropout(cell):
    for c in getattr(cell, "cells", (cell,)):
        if hasattr(c, "reset_dropout_mask"):
            c.reset_dropout_mask()
            c.reset_recurrent_dropout_mask()
