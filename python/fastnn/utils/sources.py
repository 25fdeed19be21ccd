"""The inputs that symbolic tensors come from."""
from ..symbolic import KerasTensor


def get_source_inputs(tensor):
    """The symbolic inputs that a symbolic tensor was computed from, as a list.

    Args:
        tensor: symbolic tensor.

    Raises:
        TypeError: it is no symbolic tensor.
    """
    if not isinstance(tensor, KerasTensor):
        raise TypeError(f"[get_source_inputs] tensor must be a KerasTensor. Received: {type(tensor).__name__}")
    found, seen, stack = [], set(), [tensor]
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if x.history is None:
            found.append(x)
            continue
        node = x.history.operation._inbound_nodes[x.history.node_index]
        if node.is_input:
            found.append(x)
        else:
            stack.extend(reversed(node.input_tensors))
    return found
