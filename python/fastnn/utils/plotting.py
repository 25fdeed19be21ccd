"""Pictures of models: an SVG of our own, or Graphviz through pydot."""
import html


def _parts(model, expand_nested=False, prefix=""):
    """[(name, layer)] in order, and [(from, to)] by name."""
    from ..models import Functional, Sequential
    from ..symbolic import KerasTensor
    from ..tree import flatten

    graph = getattr(model, "_graph", None)
    if isinstance(model, Sequential) or graph is None:
        layers = [(prefix + layer.name, layer) for layer in model.layers]
        return layers, list(zip([n for n, _ in layers], [n for n, _ in layers[1:]]))
    layers, edges, last, first = [], [], {}, {}
    for operation in graph.operations:
        name = prefix + operation.name
        if expand_nested and isinstance(operation, (Functional, Sequential)):
            inner, inner_edges = _parts(operation, True, name + "/")
            layers += inner
            edges += inner_edges
            targets, sources = {b for _, b in inner_edges}, {a for a, _ in inner_edges}
            first[id(operation)] = [n for n, _ in inner if n not in targets]
            last[id(operation)] = [n for n, _ in inner if n not in sources]
        else:
            layers.append((name, operation))
            first[id(operation)] = last[id(operation)] = [name]
    for node in graph.nodes:
        for x in flatten([list(node.args), dict(node.kwargs)]):
            if isinstance(x, KerasTensor) and x.history is not None and id(x.history.operation) in last and not node.is_input:
                for a in last[id(x.history.operation)]:
                    edges += [(a, b) for b in first[id(node.operation)] if (a, b) not in edges]
    return layers, edges


def _lines(name, layer, show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable):
    """What a layer's box says, line by line."""
    kind = getattr(layer, "class_name", type(layer).__name__)
    found = [f"{name} ({kind})" if show_layer_names else kind]
    activation = getattr(layer, "activation", None)
    if show_layer_activations and activation is not None:
        found.append(f"activation: {getattr(activation, '__name__', type(activation).__name__)}")

    def text(which):
        try:
            value = getattr(layer, which)
        except AttributeError:
            return "?"
        return ", ".join(str(tuple(v.shape)) for v in (value if isinstance(value, (list, tuple)) else [value])
                         if hasattr(v, "shape"))

    if show_shapes:
        found.append(f"{text('input')} -> {text('output')}")
    if show_dtype:
        found.append(f"dtype: {getattr(layer, 'compute_dtype', '?')}")
    if show_trainable:
        found.append(f"trainable: {getattr(layer, 'trainable', False)}")
    return found


def model_to_svg(model, show_shapes=False, show_dtype=False, show_layer_names=True, rankdir="TB", expand_nested=False,
                 show_layer_activations=False, show_trainable=False):
    """The SVG text of a model's graph; layers in rows (or columns) by their distance from the inputs.

    Arguments are those of `plot_model`.
    """
    layers, edges = _parts(model, expand_nested)
    row = {name: 0 for name, _ in layers}
    for _ in layers:  # the longest way from an input; settles after at most as many rounds as there are rows
        before = dict(row)
        for a, b in edges:
            row[b] = max(row[b], row[a] + 1)
        if row == before:
            break
    texts = {name: _lines(name, layer, show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
             for name, layer in layers}
    width = {name: 20 + 7.2 * max(map(len, lines)) for name, lines in texts.items()}
    height = 14 + 16 * max((len(lines) for lines in texts.values()), default=1)
    rows = {}
    for name, _ in layers:
        rows.setdefault(row[name], []).append(name)
    across = rankdir in ("LR", "RL")
    step = (max(width.values(), default=0) if across else height) + 40
    extent = {r: sum((height if across else width[n]) + 24 for n in names) for r, names in rows.items()}
    total = max(extent.values(), default=0)
    place = {}
    for r, names in rows.items():
        along = (total - extent[r]) / 2 + 12
        for n in names:
            size = height if across else width[n]
            place[n] = (10 + r * step, along) if across else (along, 10 + r * step)
            along += size + 24
    w, h = (20 + len(rows) * step - 40, total) if across else (total, 20 + len(rows) * step - 40)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}" '
           'font-family="monospace" font-size="12">',
           '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
           '<path d="M0 0L8 4L0 8z"/></marker></defs>']
    for a, b in edges:
        (ax, ay), (bx, by) = place[a], place[b]
        x1, y1, x2, y2 = (ax + width[a], ay + height / 2, bx, by + height / 2) if across else (
            ax + width[a] / 2, ay + height, bx + width[b] / 2, by)
        out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="black" marker-end="url(#a)"/>')
    for name, lines in texts.items():
        x, y = place[name]
        out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width[name]:.1f}" height="{height}" rx="4" fill="#eef3fb" '
                   'stroke="#456"/>')
        for i, line in enumerate(lines):
            out.append(f'<text x="{x + width[name] / 2:.1f}" y="{y + 19 + 16 * i:.1f}" text-anchor="middle">'
                       f"{html.escape(line)}</text>")
    return "\n".join([*out, "</svg>"])


def model_to_dot(model, show_shapes=False, show_dtype=False, show_layer_names=True, rankdir="TB", expand_nested=False,
                 dpi=200, subgraph=False, show_layer_activations=False, show_trainable=False, splines="ortho", **kwargs):
    """A pydot graph of a model; arguments as for `plot_model`.

    Raises:
        ImportError: pydot is not installed.
        ValueError: the model is not built.
    """
    try:
        import pydot
    except ImportError:
        raise ImportError("[model_to_dot] needs pydot: pip install fastnn[plot]") from None
    _check(model, "model_to_dot", kwargs)
    dot = pydot.Cluster(graph_name=model.name) if subgraph else pydot.Dot(
        rankdir=rankdir, splines=splines, dpi=str(dpi))
    layers, edges = _parts(model, expand_nested)
    for name, layer in layers:
        lines = _lines(name, layer, show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
        dot.add_node(pydot.Node(f'"{name}"', label='"' + "\\n".join(lines) + '"', shape="box"))
    for a, b in edges:
        dot.add_edge(pydot.Edge(f'"{a}"', f'"{b}"'))
    return dot


def _check(model, name, kwargs):
    kwargs.pop("layer_range", None)
    if kwargs:
        raise ValueError(f"[{name}] Unrecognized keyword arguments: {kwargs}")
    if not model.built:
        raise ValueError(f"[{name}] This model has not yet been built. Build the model first by calling `build()` or by "
                         "calling the model on a batch of data.")


def plot_model(model, to_file="model.png", show_shapes=False, show_dtype=False, show_layer_names=False, rankdir="TB",
               expand_nested=False, dpi=200, show_layer_activations=False, show_trainable=False, splines="ortho",
               **kwargs):
    """Write a picture of a model's graph.

    Args:
        to_file: path. A name that ends in .svg is drawn without Graphviz; others need pydot and Graphviz.
        show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable: what the boxes say.
        rankdir: "TB", from top to bottom, or "LR", from left to right.
        expand_nested: draw the layers of inner models.
        dpi, splines: for Graphviz.

    Raises:
        ImportError: pydot is not installed, and the file is not an SVG.
        ValueError: the model is not built, or an argument is unknown.
    """
    _check(model, "plot_model", dict(kwargs))
    options = dict(show_shapes=show_shapes, show_dtype=show_dtype, show_layer_names=show_layer_names, rankdir=rankdir,
                   expand_nested=expand_nested, show_layer_activations=show_layer_activations,
                   show_trainable=show_trainable)
    to_file = str(to_file)
    ending = to_file.rsplit(".", 1)[-1].lower() if "." in to_file else "png"
    if ending == "svg":
        text = model_to_svg(model, **options)
        with open(to_file, "w", encoding="utf-8") as f:
            f.write(text)
        return
    try:
        dot = model_to_dot(model, dpi=dpi, splines=splines, **options)
    except ImportError:
        raise ImportError("[plot_model] needs pydot and Graphviz for this format: pip install fastnn[plot]; a to_file that "
                          f"ends in .svg needs neither. Received: to_file={to_file!r}") from None
    dot.write(to_file, format=ending)
