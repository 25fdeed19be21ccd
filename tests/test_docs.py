"""The pages of docs: their Python code runs and prints what its comments say; links, names and kernels exist."""

import ast
import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if p.parent.name != "api")

sys.path.insert(0, str(DOCS))
import site_hooks  # noqa: E402


def blocks(text):
    """The Python code of a page, every block at its own line, so that errors point into the page."""
    lines = text.split("\n")
    out, inside = [], False
    for line in lines:
        if inside and line == "```":
            inside = False
        out.append(line if inside else "")
        if line == "```python":
            inside = True
    return "\n".join(out)


def expected(code):
    """The comments behind prints at the left margin, in order."""
    return [m[1] for m in re.finditer(r"^print\(.*\)  # (.+)$", code, re.M)]


def run(page, code):
    """What the code of a page prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.parse(code), str(page), "exec"), {"__name__": "__main__"})
    return printed.getvalue().splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_code_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks(page.read_text())
    threads = fastnn.num_threads()
    try:
        lines = iter(run(page, code))
    finally:
        fastnn.set_num_threads(threads)
    for text in expected(code):
        line = next((line for line in lines if line == text), None)
        assert line is not None, f"{page.name}: {text!r} was not printed, or not in this order"


def test_every_guide_has_code():
    assert all(expected(blocks(p.read_text())) for p in PAGES)
    assert {p.stem for p in (DOCS / "guides").glob("*.md")} == {
        "sequential", "functional", "inputs-and-outputs", "shared-layers", "transfer-learning", "custom-training", "lora"}  # fmt: skip


def test_every_page_is_in_the_menu_and_every_link_leads_somewhere():
    menu = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(menu) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))
    for page in DOCS.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for name in re.findall(r"`((?:examples|tests|csrc)/[\w/.]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_every_kernel_is_in_the_reference():
    names = re.findall(r"^K(?:_CPU)?\((\w+),", (ROOT / "csrc" / "kernels.def").read_text(), re.M)
    text = site_hooks.kernels()
    assert sorted(re.findall(r"^void (\w+)\(", text, re.M)) == sorted(names)
    assert text.count("```") % 2 == 0


def test_every_module_has_a_reference_page():
    asked = re.findall(r"<!-- api: ([\w.]+) -->", "".join(p.read_text() for p in (DOCS / "api").glob("*.md")))
    assert {"layers", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks", "ops", "initializers",
            "regularizers", "constraints", "activations", "utils", "saving", "random", "applications"} <= set(asked)  # fmt: skip
    for module in asked:
        assert site_hooks.public_names("" if module == "fastnn" else module), module
    assert "Dense" in site_hooks.public_names("layers") and "matmul" in site_hooks.public_names("ops")


def test_every_variable_of_the_environment_is_listed():
    """Those that the library reads: names in getenv and environ."""
    listed = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", (DOCS / "environment.md").read_text()))
    sources = [*(ROOT / "python").rglob("*.py"), *(ROOT / "csrc").glob("*.cpp")]
    text = "".join(p.read_text() for p in sources)
    read = set(re.findall(r'(?:getenv\(|environ\.get\(|environ\[|from_environment\()"(\w+)"', text))
    assert {"FASTNN_ISA", "FASTNN_DATASETS"} <= read <= listed | {"HOME"}


def test_what_is_missing_is_computed():
    assert site_hooks.missing().startswith(("| module", "None"))
