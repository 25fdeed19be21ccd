"""What the site computes when it is built: the table of kernels, the names of a module, what Keras has and fastnn has not.

A page asks for it by a line `<!-- kernels -->`, `<!-- api: layers -->` or `<!-- missing -->`.
"""

import inspect
import json
import operator
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def kernels():
    """csrc/kernels.def as Markdown: a section per group, a kernel's comment and its prototype."""
    text = (ROOT / "csrc" / "kernels.def").read_text().partition("\n")[2]
    text = re.sub(r",\n\s+", ", ", text)  # a prototype over several lines
    out, comments, inside = [], [], False

    def close():
        nonlocal inside
        if inside:
            out.extend(["```", ""])
        inside = False

    for line in text.splitlines():
        heading = re.fullmatch(r"// -+ (.+?) -+", line)
        if heading:
            close()
            out.extend([f"## {heading[1][0].upper()}{heading[1][1:]}", ""])
            comments = []
        elif line.startswith("//"):
            comments.append(line)
        elif line.startswith(("K(", "K_CPU(")):
            name, arguments = re.fullmatch(r"K(?:_CPU)?\((\w+), \((.*)\)\)", line).groups()
            if comments or not inside:
                close()
                out.append("```cpp")
                inside = True
            out.extend([*comments, f"void {name}({arguments});"])
            comments = []
    close()
    return "\n".join(out)


def public_names(module):
    """The classes and functions that a module of fastnn ("" for itself) offers, sorted, each under its own name only."""
    import fastnn

    found = operator.attrgetter(module)(fastnn) if module else fastnn
    own = vars(found).get("__all__")
    home = f"fastnn.{module.split('.')[0]}" if module and own is None else "fastnn"
    names = {}
    for name in dir(found):
        x = getattr(found, name)
        if name.startswith("_") or own is not None and name not in own or inspect.ismodule(x) or not callable(x):
            continue
        origin = getattr(x, "__module__", None) or ""
        # fastnn itself shows what no module shows.
        if not origin.startswith(home) or not module and origin.split(".")[1:2] in (["layers"], ["losses"], ["metrics"]):
            continue
        first = names.setdefault(id(x), name)
        if first != getattr(x, "__name__", None) == name:
            names[id(x)] = name
    return sorted(names.values(), key=lambda name: (name.lower(), name))


def api(module):
    """A directive for mkdocstrings per public name, by the path where it is defined."""
    import fastnn

    found = operator.attrgetter(module)(fastnn) if module != "fastnn" else fastnn
    out = []
    for name in public_names("" if module == "fastnn" else module):
        x = getattr(found, name)
        defined = getattr(sys.modules.get(x.__module__), getattr(x, "__name__", name), None)
        path = f"{x.__module__}.{x.__name__}" if defined is x else f"fastnn.{module}.{name}"
        if not path.startswith("fastnn._core"):  # native: described by hand
            out.append(f"::: {path}")
    return "\n\n".join(out)


def missing():
    """Keras's public names that fastnn lacks, by module, from the stored signatures of Keras 3.15."""
    import io

    import fastnn
    import numpy as np

    with np.load(io.BytesIO((ROOT / "tests" / "fixtures" / "signatures.npz").read_bytes())) as f:
        index = json.loads(f["index"].tobytes())
    rows = []
    for module, (spec, _) in sorted(index.items()):
        found = operator.attrgetter(module)(fastnn)
        names = [f"`{name}`" for name in spec["arguments"] if not hasattr(found, name)]
        if names:
            rows.append(f"| `{module}` | {', '.join(names)} |")
    return "\n".join(["| module | missing |", "|---|---|", *rows]) if rows else "None."


def on_page_markdown(markdown, **_):
    markdown = re.sub(r"<!-- api: ([\w.]+) -->", lambda m: api(m[1]), markdown)
    for name, make in (("kernels", kernels), ("missing", missing)):
        if f"<!-- {name} -->" in markdown:
            markdown = markdown.replace(f"<!-- {name} -->", make())
    return markdown
