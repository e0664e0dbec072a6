"""docs/grpo.md and prefix.md: the example runs, names are those of the code, figures measured."""

import ast
import doctest
import json
import re

import pytest

from tests.places import ROOT

GRPO, PREFIX = (ROOT / "docs" / name for name in ("grpo.md", "prefix.md"))


def rows_of_tables(text: str) -> list[list[str]]:
    """Return the cells of every row of every table, heads left out."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    return [row for row in rows if row[0][:1].isdigit()]


def defined_in(folder: str) -> set[str]:
    """Return the names of all functions, methods and classes below a folder."""
    return {
        node.name
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_the_example_prints_what_the_page_says():
    failed, tried = doctest.testfile(str(GRPO), module_relative=False)
    assert tried > 10
    assert failed == 0


def test_every_choice_names_code_and_a_test_that_are_there():
    names = defined_in("grpo")
    choices = rows_of_tables(GRPO.read_text("utf-8"))
    assert [int(row[0]) for row in choices] == list(range(1, len(choices) + 1))
    for number, *_, code, test in choices:
        assert (ROOT / test).is_file(), f"{number}: {test}"
        if code.startswith("`"):
            assert code.strip("`") in names, f"{number}: {code}"
        else:
            assert (ROOT / code).is_dir(), f"{number}: {code}"


def test_functions_named_with_a_file_are_defined_in_it():
    pattern = r"`(\w+)` in\s+\[[\w/.]+\]\(\.\./([\w/.]+\.py)\)"
    for page in (GRPO, PREFIX):
        found = re.findall(pattern, page.read_text("utf-8"))
        assert found, f"{page.name}: the pattern no longer fits its sentences"
        for name, file in found:
            assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{file} has no {name}"


def test_the_page_counts_the_cases_that_trl_gave():
    cases = json.loads((ROOT / "tests" / "golden" / "trl.json").read_text())["cases"]
    assert f"(scripts/make_trl_golden.py), {len(cases)} cases" in GRPO.read_text("utf-8")


def test_the_table_of_the_prefix_is_the_measured_one():
    result = json.loads((ROOT / "benchmarks" / "results" / "prefix_cpu.json").read_text())
    measured = {(row["P"], row["G"], row["C"]): row for row in result["rows"]}
    rows = rows_of_tables(PREFIX.read_text("utf-8"))
    assert len(rows) == 8
    for prompt, group, completion, *figures in rows:
        row = measured[int(prompt.replace(",", "")), int(group), int(completion)]
        told = [float(figure) for figure in figures]
        assert told == [row["ideal"], row["ratio"], row["ratio_to_transformers"]], row
    lowest = min(row["ratio"] / row["ideal"] for row in result["rows"])
    assert lowest == pytest.approx(0.885, abs=5e-4)
