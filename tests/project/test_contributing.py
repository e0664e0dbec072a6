"""CONTRIBUTING.md's examples, carried out: its edits in a copy of the project, its tests there."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.structure.tree import COMMANDS, PACKAGES
from tests.places import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SEVEN = ("A reward", "An advantage", "A loss", "A mode", "A data family", "A control",
         "A model family")  # fmt: skip
PAGE = 80  # lines


def sections() -> dict[str, str]:
    """Return the text below each heading by the heading."""
    parts = re.split(r"^## (.+)\n", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def edits(text: str) -> list[tuple[str, str, str, str]]:
    """Return (file, how, where, code) of each Python block; how is "" for a new file."""
    head = r"# (\S+?\.py)(?:, (in|before|after):? ([^\n]+))?\n"
    blocks = re.findall(rf"^```python\n{head}(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == text.count("```python"), "a block's first line must name its file"
    return blocks


def edited(source: str, how: str, where: str, code: str) -> str:
    """Return a file's text with a block's code put where its first line says."""
    if how == "in":
        return with_entry(source, where, code)
    lines = source.splitlines(keepends=True)
    found = [n for n, line in enumerate(lines) if line.strip().startswith(where)]
    assert len(found) == 1, f"{len(found)} lines begin with {where!r}: CONTRIBUTING.md needs one"
    at = found[0] + (how == "after")
    return "".join([*lines[:at], code, *lines[at:]])


def with_entry(source: str, name: str, entry: str) -> str:
    """Return a file's text with one more entry in the table or Literal that it assigns to a name.

    >>> with_entry("A = (1, 2)\\nB = [\\n    3,\\n]\\nC = Literal['a', 'b']\\n", "B", "4\\n")
    "A = (1, 2)\\nB = [\\n    3,\\n4\\n]\\nC = Literal['a', 'b']\\n"
    >>> with_entry("C = Literal['a', 'b']\\n", "C", "'c'\\n")
    "C = Literal['a', 'b', 'c'\\n]\\n"
    """
    nodes = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in ast.unparse(node).split(" ")[0]
    ]
    assert len(nodes) == 1, f"{name} is assigned {len(nodes)} times"
    (table,) = nodes
    if isinstance(table, ast.DictComp):
        table = table.generators[0].iter
    lines = source.splitlines(keepends=True)
    end = sum(map(len, lines[: table.end_lineno - 1])) + table.end_col_offset - 1
    before = source[:end].rstrip()
    return before + ("\n" if before.endswith(",") else ", ") + entry + source[end:]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The project with every edit of the page made."""
    root = tmp_path_factory.mktemp("contributed")
    for name in (*PACKAGES, *COMMANDS, "configs", "tests", "scripts", "conftest.py", "setup.cfg",
                 "ruff.toml", "README.md", "docs"):  # fmt: skip
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    for file, how, where, code in edits(TEXT):
        path = root / file
        assert path.exists() == bool(how), f"{file}: a new file's block names no place in it"
        path.write_text(edited(path.read_text("utf-8"), how, where, code) if how else code, "utf-8")
    return root


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )


def test_all_seven_are_shown_each_under_a_page():
    found = sections()
    assert tuple(found)[:7] == SEVEN
    for name in SEVEN:
        assert found[name].count("\n") < PAGE, f"{name} has become longer than a page"
        assert any("tests/" in file for file, *_ in edits(found[name])), f"{name} has no test"


@pytest.mark.slow
def test_what_the_page_adds_works_and_breaks_nothing(copy):
    new = sorted({file for file, how, *_ in edits(TEXT) if file.startswith("tests/")})
    kept = [
        "tests/grpo/settings/test_variants.py::test_what_a_setting_may_be_is_what_the_maths_knows"
    ]
    kept += ["tests/project/test_layering.py::test_imports_follow_the_arrows", "rewards/brevity.py"]
    done = run(copy, "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *new, *kept)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert len(new) == 7


@pytest.mark.command
def test_what_the_page_adds_is_formatted_and_linted(copy):
    files = sorted({file for file, *_ in edits(TEXT)})
    run(copy, "ruff", "format", "-q", *files)  # which sets entries in as far as their table is
    done = run(copy, "ruff", "check", "--output-format", "concise", *files)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_place_that_is_gone_is_said(how):
    with pytest.raises(AssertionError, match="0 lines begin with 'gone'"):
        edited("here = 1\n", how, "gone", "there = 2\n")
