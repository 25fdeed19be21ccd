"""Model.summary: a table of layers, shapes and parameter counts."""
import math
import re
import shutil
import sys

from .. import dtypes, tree


def count_params(weights):
    """The number of scalars in a list of variables."""
    return sum(math.prod(v.shape) for v in weights)


def weight_bytes(weights):
    """The memory of a list of variables, in bytes."""
    return sum(math.prod(v.shape) * dtypes.numpy_dtype(v.dtype).itemsize for v in weights)


def readable_size(size):
    """Bytes as text: 4868 -> "4.75 KB"."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


def print_summary(model, line_length=None, positions=None, print_fn=None, expand_nested=False, show_trainable=False,
                  layer_range=None, details=False):
    """Prints the table; see `Model.summary`."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    terminal = print_fn is None and sys.stdout.isatty()
    plain = print_fn is not None or not _has_boxes(sys.stdout)
    graph = _branching_graph(model)
    operations = _rows(model) if graph is None else graph.operations
    header, justify, ends, length = ["Layer (type)", "Output Shape", "Param #"], ["left", "left", "right"], [
        0.45, 0.80, 1.0], 88
    if graph is not None:
        header, justify, ends, length = [*header, "Connected to"], [*justify, "left"], [0.3, 0.56, 0.74, 1.0], 108
    ends = list(positions or ends)
    if show_trainable:
        header, justify, length = [*header, "Trainable"], [*justify, "center"], length + 12
        ends = [end * 0.9 for end in ends] + [1.0]
    if len(ends) < len(header):
        raise ValueError(f"[summary] positions must have {len(header)} entries. Received: positions={positions}")
    line_length = line_length or min(length, max(40, shutil.get_terminal_size().columns - 4))
    ends = [int(end * line_length) if ends[-1] <= 1 else int(end) for end in ends]
    widths = [end - start for start, end in zip([0, *ends], ends)]
    if min(widths) < 4:
        raise ValueError(f"[summary] line_length leaves a column less than 4 characters. Received: {line_length}")

    table = Table(width=line_length, show_lines=True, box=box.ASCII if plain else box.HEAVY_HEAD)
    for title, side, width in zip(header, justify, widths):
        table.add_column(title, justify=side, width=width, overflow="fold")
    first, last = _range_of(operations, layer_range)
    for operation in operations[first:last]:
        for layer, level in _expanded(operation, 0, expand_nested):
            prefix = "" if not level else "   " * level + ("- " if plain else "└ ")
            kind = getattr(layer, "class_name", type(layer).__name__)
            row = [f"{prefix}{escape(layer.name)} ([cyan]{escape(kind)}[/])", _shape_text(layer), _count_text(layer)]
            if graph is not None:
                row.append(escape(_connections(layer, graph)))
            if show_trainable:
                row.append(_trainable_text(layer))
            table.add_row(*row)

    console = Console(highlight=False, width=None if terminal else max(line_length, 60), color_system="auto" if terminal else None,
                      force_terminal=None if terminal else False)
    with console.capture() as capture:
        console.print(f'[bold]Model: "{escape(model.name)}"[/]')
        console.print(table)
        for name, weights in _totals(model):
            console.print(f" [bold]{name} params:[/] [green]{count_params(weights):,}[/] "
                          f"({readable_size(weight_bytes(weights))})")
        if details:
            for line in _replayed_lines(model):
                console.print(line, soft_wrap=True)
    text = capture.get()
    if print_fn is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        print_fn(text)


def _has_boxes(stream):
    """Whether what is written to the stream can draw boxes."""
    try:
        "━┃└".encode(getattr(stream, "encoding", None) or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _replayed_lines(model):
    """A line for each step that is replayed: its calls, and its memory beside what must live at once."""
    for name, capture in model.captured.items():
        for s in capture.programs():
            ratio = s["block_bytes"] / s["live_bytes"] if s["live_bytes"] else 1.0
            yield (f" [bold]Replayed {name} {s['inputs']}:[/] {s['calls']} calls, {readable_size(s['block_bytes'])} between them, "
                   f"{readable_size(s['live_bytes'])} live at once (ratio {ratio:.2f}), {s['runs']} runs")


def _totals(model):
    trainable, fixed = model.trainable_weights, model.non_trainable_weights
    optimizer = getattr(model, "optimizer", None)
    slots = list(optimizer.variables) if optimizer is not None and getattr(optimizer, "built", False) else []
    totals = [("Total", trainable + fixed + slots), ("Trainable", trainable), ("Non-trainable", fixed)]
    return [*totals, ("Optimizer", slots)] if slots else totals


def _branching_graph(model):
    """The graph of a functional model that is not a plain chain, else None."""
    from ..models import Functional

    if not isinstance(model, Functional):
        return None
    graph = model._graph
    chain = len(graph.inputs) == 1 and len(graph.nodes) == len(graph.operations) and all(
        len(node.input_tensors) <= 1 for node in graph.nodes)
    readers = [id(node.input_tensors[0]) for node in graph.nodes if node.input_tensors] if chain else []
    return None if chain and len(set(readers)) == len(readers) else graph


def _rows(model):
    return model.operations if hasattr(model, "operations") else model.layers


def _expanded(operation, level, expand_nested):
    yield operation, level
    inner = getattr(operation, "layers", None)
    if expand_nested and isinstance(inner, (list, tuple)):
        for layer in inner:
            yield from _expanded(layer, level + 1, expand_nested)


def _shape_text(layer):
    from rich.markup import escape

    def text(shape):
        return f"({', '.join(str(n) for n in shape)})"

    nodes = layer._inbound_nodes
    if nodes:
        shapes = tree.map_structure(lambda x: text(x.shape), nodes[-1].output)
    elif getattr(layer, "_build_shapes", None):
        try:
            shapes = layer.compute_output_shape(**layer._build_shapes)
        except Exception:  # a layer that cannot tell its shape without data
            return "?"
        shapes = tree.map_shape_structure(text, shapes)
    else:
        return "?"
    flat = tree.flatten(shapes)
    return escape(flat[0] if len(flat) == 1 else str(shapes).replace("'", ""))


def _count_text(layer):
    if not hasattr(layer, "weights"):
        return "[green]0[/]"
    if not layer.built:
        return "[green]0[/] (unbuilt)"
    return f"[green]{layer.count_params():,}[/]"


def _trainable_text(layer):
    if not getattr(layer, "weights", None):
        return "-"
    return "[bold green]Y[/]" if layer.trainable else "[bold red]N[/]"


def _connections(layer, graph):
    inside = {id(node) for node in graph.nodes}
    sources = [x.history for node in layer._inbound_nodes if id(node) in inside for x in node.input_tensors]
    return ", ".join(f"{h.operation.name}[{h.node_index}][{h.tensor_index}]" for h in sources) or "-"


def _range_of(operations, layer_range):
    """The first index and the index after the last of the rows to show."""
    if layer_range is None:
        return 0, len(operations)
    if not isinstance(layer_range, (list, tuple)) or len(layer_range) != 2 or not all(
            isinstance(name, str) for name in layer_range):
        raise ValueError(f"[summary] layer_range must be two names. Received: layer_range={layer_range}")
    matches = [[i for i, layer in enumerate(operations) if re.match(name, layer.name)] for name in layer_range]
    if not matches[0] or not matches[1]:
        raise ValueError(f"[summary] layer_range must match layers of the model. Received: layer_range={layer_range}; "
                         f"layers: {[layer.name for layer in operations]}")
    first, last = matches[0][0], matches[1][-1]
    if first > last:
        first, last = matches[1][0], matches[0][-1]
    return first, last + 1
