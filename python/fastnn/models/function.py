"""Function: a piece of a symbolic graph that can be called."""
from .. import tree
from ..layers.operation import Node, Operation
from ..symbolic import KerasTensor
from ..tensor import as_tensor
from .graph import Graph


class _Source(Operation):
    """Stands for where a symbolic tensor comes from that nothing has made."""


class Function(Operation):
    """The computation between symbolic tensors, as an operation: without weights and training of its own.

    Args:
        inputs: KerasTensor, or a nest of them; also intermediate ones.
        outputs: KerasTensors computed from them, in any nest.
        name: string.

    Attributes:
        operations: what runs, in its order.

    Raises:
        ValueError: inputs or outputs are empty, or the outputs depend on other tensors.
    """

    def __init__(self, inputs, outputs, name=None):
        super().__init__(name=name)
        for what, nest in (("inputs", inputs), ("outputs", outputs)):
            if not tree.flatten(nest):
                raise ValueError(f"[Function] `{what}` argument cannot be empty. Received: {what}={nest}")
        for x in tree.flatten(inputs):
            if x.history is None:
                Node(_Source(x.name), (), {}, x)
        self._graph = Graph(inputs, outputs, self.name)

    @property
    def operations(self):
        """What runs, in its order."""
        return [operation for operation in self._graph.operations if not isinstance(operation, _Source)]

    @property
    def inputs(self):
        """The symbolic inputs, as a list."""
        return list(self._graph.inputs)

    @property
    def outputs(self):
        """The symbolic outputs, as a list."""
        return list(self._graph.outputs)

    def call(self, inputs):
        """The outputs, in their structure, for inputs in theirs.

        Raises:
            ValueError: another structure, or shapes that do not fit.
        """
        return self._graph.run(self._flat(inputs))

    def compute_output_spec(self, inputs):
        return self._graph.run_symbolic(self._flat(inputs))

    def compute_output_shape(self, input_shape):
        """The shapes of the outputs for a nest of shapes."""
        shapes = iter(_shapes(input_shape))
        inputs = tree.pack_sequence_as(self._graph.inputs_struct, [KerasTensor(next(shapes), x.dtype) for x in self._graph.inputs])
        return tree.map_structure(lambda x: x.shape, self.compute_output_spec(inputs))

    def _flat(self, inputs):
        try:
            tree.assert_same_structure(self._graph.inputs_struct, inputs)
        except ValueError:
            raise ValueError(f"[{self.name}] was called with an invalid input structure. Expected: {self._graph.inputs_struct}, "
                             f"received: {inputs}") from None
        flat = [x if isinstance(x, KerasTensor) else as_tensor(x, like.dtype)
                for x, like in zip(tree.flatten(inputs), self._graph.inputs)]
        for x, like in zip(flat, self._graph.inputs):
            fits = len(x.shape) == len(like.shape) and all(n is None or m is None or n == m for n, m in zip(x.shape, like.shape))
            if not fits:
                raise ValueError(f"[{self.name}] was passed incompatible inputs. For {like.name!r}, expected shape {like.shape}, "
                                 f"but received shape {tuple(x.shape)}")
        return flat


def _shapes(nest):
    """The shapes of a nest of shapes, in order."""
    if isinstance(nest, dict):
        return [shape for value in nest.values() for shape in _shapes(value)]
    if all(n is None or isinstance(n, int) for n in nest):
        return [tuple(nest)]
    return [shape for value in nest for shape in _shapes(value)]
