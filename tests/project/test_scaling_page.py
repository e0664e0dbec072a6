"""docs/scaling.md shows what the cost model says now: its tables are printed anew and compared."""

import importlib
import re

import pytest

from scripts.simulate_scale import main, parser
from tests.places import ROOT

TEXT = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
GPUS = ("1", "2", "8", "16", "64", "256", "1024")


@pytest.mark.parametrize(("model", "card"), [("2b", "h100"), ("7b", "h100"), ("72b", "h200")])
def test_the_tables_of_where_time_goes_are_what_the_simulation_prints(capsys, model, card):
    assert main(["--model", model, "--card", card, "--gpus", *GPUS, "--markdown"]) == 0
    assert capsys.readouterr().out in TEXT


def test_predicted_beside_measured_is_what_the_committed_points_give(capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr("sys.argv", ["scale_points.py"])
    importlib.import_module("scale_points").main()
    printed = capsys.readouterr().out.splitlines()
    section = TEXT.split("\n## Predicted beside measured\n")[1].split("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(shown) > 10
    assert set(shown) <= set(printed)


def test_the_assumptions_that_are_named_are_those_of_the_simulation():
    defaults = parser().parse_args([])
    said = " ".join(TEXT.split())
    assert f"{defaults.compute_share:g} of the matrix units" in said
    assert f"{defaults.bandwidth_share:g} of the memory's speed" in said
    assert f"{defaults.network_share:g} of links and network" in said
    assert f"{defaults.hop_microseconds:g} microseconds from rank to rank" in said


def test_the_section_that_says_which_card_has_its_marks():
    assert len(re.findall(r"^<!-- which card: (?:begins|ends) -->$", TEXT, re.MULTILINE)) == 2
