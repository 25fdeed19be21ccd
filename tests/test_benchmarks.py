"""benchmarks/run.py: a table that is made in pieces."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="needs the sources")


@pytest.fixture(scope="module")
def run():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("kernel_benchmarks", FOLDER / "run.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


def table(run, rows, rate=100.0, threads=1, cpu="a CPU", isa="avx512"):
    limits = {"isa": isa, "gflops": rate, **{f"{level}{kind}": 10.0 for level in ("l2", "l3", "memory") for kind in ("", " copy", " triad")}}
    known = run.problems()
    return {"cpu": cpu, "described": ["fastnn"], "ceilings": {str(threads): limits}, "fma": {str(threads): {"avx512": rate}},
            "rows": [run.row(known[name], {"fastnn": ours, "torch": 2e-3}, threads, limits, wrong) for name, ours, wrong in rows]}


def test_pieces_become_one_table(run, tmp_path):
    first = table(run, [("matmul 64^3", 1e-3, 1e-7), ("relu 4096", 1e-3, None)], rate=100.0)
    second = table(run, [("matmul 16^3", 1e-3, 2e-7), ("matmul 64^3", 4e-3, None)], rate=50.0)
    third = table(run, [("matmul 64^3", 1e-3, 0.0)], threads=2)
    path = tmp_path / "results.json"
    run.write(run.merged(run.merged(first, second), third), path)
    found = json.loads(path.read_text())
    rows = {(r["threads"], r["name"]): r for r in found["rows"]}
    assert list(rows) == [(1, "matmul 16^3"), (1, "matmul 64^3"), (1, "relu 4096"), (2, "matmul 64^3")]
    again = rows[1, "matmul 64^3"]
    assert again["ratio"] == pytest.approx(0.5) and again["mark"] == "under"
    assert again["error"] == 1e-7  # of the run that looked for it
    assert found["ceilings"]["1"]["gflops"] == 100.0 and again["floor"] == pytest.approx(2 * 64**3 / 100e9 / 4e-3)
    assert "2 threads" in path.with_suffix(".md").read_text()


def test_the_bound_of_avx2_is_lower(run):
    rows = [("matmul 64^3", 2.1e-3, None), ("matmul 16^3", 2.5e-3, None)]  # 0.95 and 0.8 of a peer
    assert [r["mark"] for r in table(run, rows)["rows"]] == ["under", "under"]
    held = table(run, rows, isa="avx2")["rows"]
    assert [r["mark"] for r in held] == ["", "under"]
    assert run.summary(held).endswith("| 1 | 0.9 |") and run.summary(table(run, rows)["rows"]).endswith("| 2 | 1.0, 1.2 |")


def test_rows_of_another_machine_are_refused(run):
    with pytest.raises(SystemExit, match="begin a new table"):
        run.merged(table(run, [("matmul 64^3", 1e-3, None)]), table(run, [("matmul 16^3", 1e-3, None)], cpu="another"))
