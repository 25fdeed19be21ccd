"""_core.pyi says what the extension has."""
import ast
import pathlib

import fastnn
from make_stub import PATH, stub


def test_the_stub_is_that_of_the_extension():
    assert PATH.read_text(encoding="utf-8") == stub(), "run python tests/make_stub.py"


def test_the_stub_is_python():
    names = {n.name for n in ast.parse(PATH.read_text(encoding="utf-8")).body if hasattr(n, "name")}
    assert {"Tensor", "record", "memory_stats"} <= names


def test_typed_marker_is_installed():
    assert (pathlib.Path(fastnn.__file__).parent / "py.typed").exists()
