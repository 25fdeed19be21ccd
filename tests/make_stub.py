"""Writes python/fastnn/_core.pyi from the extension itself:  python tests/make_stub.py

tests/test_stub.py fails when the file and the extension differ.
"""
import pathlib
import re

from fastnn import _core

PATH = pathlib.Path(__file__).parents[1] / "python" / "fastnn" / "_core.pyi"
HEAD = '''"""The native core. Written by tests/make_stub.py from the extension."""
from collections.abc import Sequence
from typing import Any, SupportsFloat, SupportsIndex, SupportsInt

'''


def signature(name, function):
    """The signatures of a function, from the first lines of its docstring."""
    lines = [line for line in (function.__doc__ or "").splitlines()
             if re.match(rf"(\d+\. )?{re.escape(name)}\(.*\) -> ", line)]
    if not lines:
        raise SystemExit(f"_core.{name} must have a signature in its docstring")
    found = []
    for line in lines:
        if "*args, **kwargs" in line and len(lines) > 1:
            continue  # the title line of an overloaded function
        line = re.sub(r"^\d+\. ", "", line)
        line = line.replace("fastnn._core.", "").replace("collections.abc.", "").replace("typing.", "")
        line = re.sub(r"Annotated\[([^,\]]+(?:\[[^\]]*\])?), [^\]]*\]", r"\1", line)
        line = line.replace("tuple[int, ...]", "Sequence[int]") if line.startswith("#") else line
        found.append(line)
    if len(found) == 1:
        return [f"def {found[0]}: ..."]
    return [text for line in found for text in ("@overload", f"def {line}: ...")]


def stub():
    """The text of the stub."""
    out = []
    for name, value in sorted(vars(_core).items()):
        if name.startswith("__"):
            continue
        if isinstance(value, type):
            out.append(f"class {name}:")
            for attribute, member in sorted(vars(value).items()):
                kind = type(member).__name__
                if kind in ("getset_descriptor", "member_descriptor") and not attribute.startswith("__"):
                    out.append(f"    {attribute}: Any")
            out.append("    def __getattr__(self, name: str) -> Any: ...")
            out.append("    def __array__(self, dtype: Any = None, copy: Any = None) -> Any: ...")
        elif callable(value):
            out.extend(signature(name, value))
        else:
            out.append(f"{name}: {type(value).__name__}")
    head = HEAD.replace("import Any", "import Any, overload") if "@overload" in out else HEAD
    return head + "\n".join(out) + "\n"


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8")
    print(f"wrote {PATH}")
