"""docs/objectives_compared.md: its table is the committed results, three seeds of every run."""

import importlib.util
import json
import sys

import pytest

from tests.places import ROOT

PAGE = ROOT / "docs" / "objectives_compared.md"
RESULT = ROOT / "benchmarks" / "results" / "objectives_cpu.json"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(
        "objectives_benchmark", ROOT / "benchmarks" / "objectives.py"
    )
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_pages_table_is_what_was_measured(benchmark):
    runs = json.loads(RESULT.read_text())["runs"]
    assert benchmark.table(runs) in PAGE.read_text(encoding="utf-8")


def test_every_run_has_three_seeds_and_its_name_is_explained_by_the_page():
    runs = json.loads(RESULT.read_text())["runs"]
    text = PAGE.read_text(encoding="utf-8")
    for name in {run["preset"] for run in runs}:
        assert sorted(run["seed"] for run in runs if run["preset"] == name) == [0, 1, 2], name
        assert f"`{name}`" in text


def test_a_table_worked_by_hand(benchmark):
    def run(name: str, seed: int, after: float, reward: list[float]) -> dict:
        return {"preset": name, "seed": seed, "after": after, "reward": reward, "completions": 2000}

    runs = [run("gspo", 0, 0.5, [1.0, 2.0]), run("grpo", 0, 0.9, [1.0]), run("grpo", 1, 0.8, [2.0])]
    assert benchmark.table(runs).splitlines()[2:] == [
        "| grpo | 85.0 | 90.0, 80.0 | 7.1 | 1.50 | 2,000 |",
        "| gspo | 50.0 | 50.0 |  | 1.50 | 2,000 |",
    ]
