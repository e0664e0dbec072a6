"""The measures of scripts/measure_structure.py, each against small files counted by hand."""

import doctest
import json
import sys

import pytest

from scripts import measure_structure
from scripts.structure import arrows, counts
from scripts.structure.one_step import functions_in, watcher
from scripts.structure.tree import Source

STEP = '''\
"""One step."""

from models.layers import Layer, make_layer
from grpo import loss


def train_step(policy, batch, *, beta=0.0):
    """Return the sum."""
    import math

    # 1. A reason
    # of two lines
    total = 0.0  # not on its own line
    for _, row in enumerate(batch):
        total += loss.of(row) if beta else math.pi
    # fmt: skip
    parts = [name for name in batch if name]
    while total > 1:
        total, rest = total / 2, None
    return total, parts, rest


def _private():
    return loss._hidden(Layer._secret, make_layer.__name__)
'''


TWO = """\
class A:
    def one(self): return 1

    async def two(self):
        pass
"""
NESTED = """\
def outer():
    def inner():
        pass
    inner()


@property
def shown():
    ...
"""


@pytest.fixture
def source_of(tmp_path):
    """Return a function that writes files by path and reads them as a product."""

    def write(files: dict[str, str]) -> Source:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Source(tmp_path)

    return write


def test_sizes_are_those_of_files_and_of_every_def(source_of):
    body = "    x = 1\n" * 50
    source = source_of(
        {
            "grpo/long.py": f"def long():\n{body}",  # 51 lines
            "models/two.py": TWO,
            "train.py": "",
        }
    )
    sizes = counts.sizes(source)
    assert (sizes["files"], sizes["lines"], sizes["file lines, median"]) == (3, 51 + 5 + 0, 5)
    assert (sizes["longest file"], sizes["file lines, longest"]) == ("grpo/long.py", 51)
    assert (sizes["functions"], sizes["function lines, median"]) == (3, 2)
    assert (sizes["longest function"], sizes["function lines, longest"]) == (
        "grpo/long.py:1 long",
        51,
    )
    assert sizes["functions over 50 lines"] == ["  51 grpo/long.py:1 long"]
    assert (sizes["models/ lines"], sizes["evaluation/ lines"]) == (5, 0)


def test_a_function_of_fifty_lines_is_not_over_fifty(source_of):
    source = source_of({"grpo/long.py": "def long():\n" + "    x = 1\n" * 49})
    assert counts.sizes(source)["functions over 50 lines"] == []


def test_the_step_is_counted_as_a_reader_counts_it(source_of):
    page = counts.function_page(source_of({"grpo/step.py": STEP}), "grpo/step.py", "train_step")
    assert page == {
        "lines": 14,
        "parameters": 3,
        "locals": 5,  # math, total, row, parts, rest: not `_`, nor the comprehension's name
        "statements": 9,  # with the docstring and the import
        "branches": 3,  # for, the conditional expression, while
    }
    missing = counts.function_page(source_of({"grpo/step.py": STEP}), "grpo/step.py", "other")
    assert set(missing.values()) == {None}


def test_import_statements_count_at_any_depth_and_not_by_name(source_of):
    source = source_of({"grpo/step.py": STEP, "train.py": "import a, b\n"})
    paths = ("grpo/step.py", "train.py", "evaluate.py")
    assert counts.import_statements(source, paths) == {"grpo/step.py": 3, "train.py": 1}


def test_names_in_two_places_are_listed_with_their_files(source_of):
    source = source_of(
        {
            "data/rows.py": "class Row: ...\nPARTS = 1\n_A = 1\ndef _b(): ...\ndef alone(): ...\n",
            "models/rows.py": "def Row(): ...\nPARTS: int = 2\n_A = 1\ndef _b(): ...\n",
            "models/other.py": "class Holder:\n    def alone(self): ...\n    PARTS = 3\n",
            "data/__init__.py": "",
            "models/__init__.py": "",
        }
    )
    assert counts.repeated_names(source) == {
        "functions and classes in two files": ["Row: data/rows.py, models/rows.py"],
        "constants in two files": ["PARTS: data/rows.py, models/rows.py"],
        "file names in two folders": ["rows.py: data, models"],
    }


def test_comments_count_where_they_stand_alone_and_docstrings_are_no_code(source_of):
    source = source_of({"grpo/step.py": STEP, "data/step.py": STEP})
    # 2 imports, 9 of train_step with its def and without docstring and comments, 2 of _private
    expected = {"own-line comments": 2, "lines of code": 13, "per 100 lines of code": 15.4}
    assert counts.comments(source, ("grpo", "models")) == expected


def test_a_number_sign_inside_a_text_is_no_comment(source_of):
    source = source_of({"models/a.py": 'TEXT = """\n# no comment\n"""\n'})
    assert counts.comments(source, ("models",))["own-line comments"] == 0
    assert counts.comments(source, ("models",))["lines of code"] == 3


@pytest.fixture
def house(source_of):
    """evaluation in three rooms, two of which import each other; models beside it."""
    return source_of(
        {
            "train.py": "from evaluation.report import page\nimport torch\n",
            "evaluation/__init__.py": "from evaluation.score import score\n",
            "evaluation/score.py": "from models import load\nfrom .report.page import show\n",
            "evaluation/report/__init__.py": "",
            "evaluation/report/page.py": "from ..measures.mean import m\nimport evaluation.score\n",
            "evaluation/measures/mean.py": "def m():\n    from evaluation.measures import sums\n",
            "evaluation/measures/sums.py": "",
            "models/__init__.py": "from models.loading import load\nimport models\n",
            "models/loading.py": "",
        }
    )


def test_an_arrow_goes_to_the_file_that_an_import_names(house):
    assert house.arrows == {
        ("train.py", "evaluation/report/page.py"),
        ("evaluation/__init__.py", "evaluation/score.py"),
        ("evaluation/score.py", "models/__init__.py"),
        ("evaluation/score.py", "evaluation/report/page.py"),
        ("evaluation/report/page.py", "evaluation/measures/mean.py"),
        ("evaluation/report/page.py", "evaluation/score.py"),
        ("evaluation/measures/mean.py", "evaluation/measures/sums.py"),
        ("models/__init__.py", "models/loading.py"),
    }


def test_arrows_between_folders_and_rooms_are_distinct(house):
    found = arrows.folder_arrows(house)
    assert (found["top-level rooms"], found["arrows between top-level rooms"]) == (3, 2)
    assert (found["folders"], found["arrows between folders"]) == (5, 5)
    assert found["folders that import each other"] == ["evaluation, evaluation/report"]
    assert "evaluation -> evaluation/report, models" in found["folder -> folders"]
    assert arrows.room_arrows(house, "evaluation") == {
        "files": 6,
        "arrows between files": 5,
        "rooms": 3,
        "arrows between rooms": 3,  # score and report both ways, report to measures
    }


def test_imports_are_followed_to_the_end(house):
    assert arrows.reached(house, "evaluation/score.py") == 6
    assert arrows.reached(house, "evaluation/measures/sums.py") == 1
    assert arrows.reached(house, "evaluation/nothing.py") is None


def test_private_names_count_across_folders_only(source_of):
    source = source_of(
        {
            "grpo/step.py": STEP,
            "grpo/loss.py": "def _hidden(): ...\n",
            "models/layers.py": "class Layer: ...\n",
            "models/other.py": "from models.layers import _near\nimport torch\ntorch._c\n",
            "train.py": "from grpo.loss import _hidden, __doc__\n",
        }
    )
    assert arrows.private_accesses(source) == [
        "grpo/step.py:24 Layer._secret of models/layers.py",
        "train.py:1 _hidden of grpo/loss.py",
    ]


def test_what_ran_is_counted_once_per_line(source_of):
    source = source_of({"grpo/a.py": NESTED, "grpo/b.py": "def idle(): ...\n"})
    ran = [["grpo/a.py", 1, "outer"], ["grpo/a.py", 2, "inner"], ["grpo/a.py", 7, "shown"]]
    ran += [["grpo/a.py", 1, "<lambda>"], ["tests/a.py", 1, "outer"]]
    assert counts.run_through(source, ran) == {"files": 1, "functions": 3, "lines": 4 + 2}


def test_only_what_runs_inside_the_step_is_noted(tmp_path):
    text = "def part(): ...\ndef train_step(): part()\ndef other(): ...\n"
    names = {}
    exec(compile(text, tmp_path / "grpo" / "step.py", "exec"), names)
    seen = set()
    before = sys.getprofile()
    sys.setprofile(watcher(seen))
    try:
        names["other"]()
        names["train_step"]()
        names["other"]()
    finally:
        sys.setprofile(before)
    expected = [("grpo/step.py", 1, "part"), ("grpo/step.py", 2, "train_step")]
    assert functions_in(tmp_path, seen) == expected


@pytest.mark.slow
def test_this_checkout_is_measured(tmp_path, capsys):
    file = tmp_path / "structure.json"
    assert measure_structure.main(["--json", str(file)]) == 0
    measured = json.loads(file.read_text(encoding="utf-8"))
    assert measured["sizes"]["files"] > 100
    assert None not in measured["train_step (grpo/step.py)"].values()
    assert measured["files reached by imports"]["grpo/advantages.py"] == 1
    printed = capsys.readouterr().out
    assert all(title in printed for title in measured)
    assert "not measured" in printed  # --step and --mypy were not asked for


def test_a_folder_without_the_product_is_refused(tmp_path, capsys):
    assert measure_structure.main(["--root", str(tmp_path)]) == 2
    assert "give a checkout's root" in capsys.readouterr().err


def test_the_examples_in_it_hold():
    assert doctest.testmod(measure_structure).failed == 0
