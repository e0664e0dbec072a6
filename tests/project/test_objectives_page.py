"""docs/objectives.md: every variant has its row, and what a row names is there and is its own."""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_args

import pytest

from grpo.advantages import BASELINES, SPREADS, Aggregation
from grpo.loss import Normalization
from grpo.objectives.divergence import KL_ESTIMATORS
from grpo.objectives.ratio import RATIO_LEVELS
from grpo.objectives.surrogate import SURROGATES
from grpo.settings.choices import CHOICES
from grpo.settings.config import GRPOConfig
from grpo.settings.sections.objective import ObjectiveSettings
from grpo.settings.sections.rewarding import RewardSettings
from grpo.settings.toml_file import read_toml
from process.flags import flag_of
from tests.places import ROOT

PAGE = ROOT / "docs" / "objectives.md"
COLUMNS = {"objective", "formula", "flags here", "TRL", "verl", "code", "test", "preset"}
TABLES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "advantage_scale": SPREADS,
    "advantage_baseline": BASELINES,
    "ratio_level": RATIO_LEVELS,
    "surrogate": SURROGATES,
    "kl_estimator": KL_ESTIMATORS,
}
NAMES: dict[str, tuple[str, ...]] = {
    **{setting: tuple(table) for setting, table in TABLES.items()},
    "reward_aggregation": get_args(Aggregation),
    "loss_normalization": get_args(Normalization),
    "beta_schedule": CHOICES["beta_schedule"],
    "logprob_distribution": CHOICES["logprob_distribution"],
    "curriculum": CHOICES["curriculum"],
    "grounding": tuple(name for name in CHOICES["grounding"] if name != "none"),
}
# What is compared rather than how, and what stands in other headings of --help.
NO_VARIANT = {"rewards", "reward_arguments"}
ELSEWHERE = {"curriculum", "dynamic_sampling", "logprob_distribution", "num_iterations"}
ELSEWHERE |= {"top_k", "top_p", "exact_no_think"}


def rows() -> list[dict[str, str]]:
    """Return every row of a table that has all columns, its cells by their column."""
    found: list[dict[str, str]] = []
    head: list[str] = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if not cells or "objective" in cells:
            head = cells
        elif set(head) >= COLUMNS and not line.startswith("| ---"):
            found.append(dict(zip(head, cells, strict=True)))
    return found


ROWS = rows()
by_objective = pytest.mark.parametrize("row", ROWS, ids=lambda row: row["objective"])


def links(cell: str) -> list[str]:
    return re.findall(r"\[[^]]*\]\(\.\./([^)]*)\)", cell)


def flags(cell: str) -> list[tuple[str, str]]:
    """Return each flag that a cell names, with what is given to it or nothing."""
    return re.findall(r"(--[a-z-]+)(?: (?!-)([\w.]+))?", cell)


def defined_in(file: str) -> set[str]:
    nodes = ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@by_objective
def test_a_row_says_all_and_its_code_is_where_it_says(row):
    assert all(row[column] for column in COLUMNS - {"preset"})
    named = re.findall(r"`(\w+)` in \[([\w/.]+)\]\(\.\./([\w/.]+)\)", row["code"])
    assert named and len(named) == len(links(row["code"]))
    for name, shown, file in named:
        assert shown == file
        assert name in defined_in(file), f"{file} has no {name}"


@by_objective
def test_a_rows_tests_name_its_code_or_its_flags(row):
    tests = links(row["test"])
    assert tests
    names = re.findall(r"`(\w+)` in", row["code"])
    names += [flag.strip("-").replace("-", "_") for flag, _ in flags(row["flags here"])]
    for file in tests:
        text = (ROOT / file).read_text("utf-8")
        assert any(re.search(rf"\b{name}\b", text) for name in names), f"{file}: {names}"


@by_objective
def test_a_rows_presets_set_what_the_row_is_about(row):
    for file in links(row["preset"]):
        preset, _ = read_toml(file.removeprefix("configs/").removesuffix(".toml"))
        given = [
            (flag.strip("-").replace("-", "_"), value) for flag, value in flags(row["flags here"])
        ]
        meant = [name for name, value in given if name in preset and chosen(name, value, preset)]
        assert meant, f"{file} sets none of {given}"


def chosen(name: str, value: str, preset: Mapping[str, Any]) -> bool:
    """Return whether a preset has a setting's value, where the row names one of several."""
    return name not in CHOICES or preset[name] == value


@pytest.mark.parametrize(("setting", "name"), [(s, n) for s in NAMES for n in NAMES[s]])
def test_every_name_of_a_choice_has_a_row_that_names_its_function(setting, name):
    wanted = (flag_of(setting), name)
    of_it = [row for row in ROWS if wanted in flags(row["flags here"])]
    assert of_it, f"no row of docs/objectives.md has {' '.join(wanted)}"
    if setting in TABLES:
        function = TABLES[setting][name].__name__
        assert any(f"`{function}`" in row["code"] for row in of_it), f"no row has {function}"


def test_every_setting_of_the_objective_has_a_row():
    named = {flag for row in ROWS for flag, _ in flags(row["flags here"])}
    settings = {item.name for of in (RewardSettings, ObjectiveSettings) for item in fields(of)}
    settings = (settings - NO_VARIANT) | ELSEWHERE
    assert {flag_of(name) for name in settings} <= named
    assert named <= {flag_of(item.name) for item in fields(GRPOConfig)}


def test_every_preset_has_a_row_and_its_papers_stand_on_the_page():
    linked = {file for row in ROWS for file in links(row["preset"])}
    presets = sorted((ROOT / "configs" / "objectives").glob("*.toml"))
    assert linked == {str(path.relative_to(ROOT)) for path in presets}
    page = PAGE.read_text("utf-8")
    for path in presets:
        for paper in re.findall(r"arXiv:[\d.]+\d", path.read_text("utf-8")):
            assert paper in page, f"{path.name} follows {paper}, which the page does not name"


def test_every_file_of_the_maths_is_linked():
    linked = {file for row in ROWS for file in links(row["code"])}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "grpo/objectives").glob("*.py")}
    assert files - {"grpo/objectives/__init__.py"} <= linked
