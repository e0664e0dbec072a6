"""Pages fit the terminal they are printed on."""

import contextlib
import sys

import pytest

import data.audit.__main__
import data.splits.__main__
import evaluate
import evaluation.curate.__main__
import evaluation.report.__main__
import train
from data.phantoms import __main__ as phantoms
from data.phantoms.export import write_phantoms
from process.bars import warn
from process.page import fitted
from process.tables.text import table_lines
from process.tables.value import Column, Table

SHORT = ("--limit", "8", "--max-completion-tokens", "24", "--device", "cpu")
COLUMNS = (
    *(Column("", 28), Column("n", 7), Column("accuracy", 9), Column("95 % range", 12)),
    *(Column("chance", 30), Column("truncated", 20)),
)


@pytest.fixture(autouse=True)
def width_80(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def too_long(text: str, *places: object) -> list[str]:
    """The lines over 80 columns; those that hold a path or a command cannot be broken."""
    known = [str(place) for place in places]
    return [
        line for line in text.splitlines() if len(line) > 80 and not any(p in line for p in known)
    ]


@pytest.mark.command
def test_an_evaluation_with_all_that_it_can_be_compared_with(tmp_path, capsys):
    flags = ("--controls", "blank", "swapped", "blur:4,16", "flip")
    flags = (*flags, "--permute-options", "2", "--text-prior", "phantoms")
    both = [tmp_path / "one", tmp_path / "two"]
    for out in both:
        assert (
            evaluate.main([*flags, "--thoughts", "removed", *SHORT, "--output-dir", str(out)]) == 0
        )
    printed = capsys.readouterr().out
    assert "McNemar" not in printed and "text priors" in printed
    assert too_long(printed, tmp_path) == []
    assert evaluate.main(["compare", *map(str, both)]) == 0
    printed = capsys.readouterr().out
    assert "McNemar" in printed and too_long(printed, tmp_path) == []


@pytest.mark.command
def test_a_matrix(tmp_path, capsys):
    tests = ["phantoms:CT", "phantoms:MRI", "phantoms:OCT", "phantoms:Fundus", "phantoms:X-Ray",
             "phantoms:Lesion Grading", "phantoms:Dermoscopy"]  # fmt: skip
    flags = ("--models", "CT=tiny", "Other Biological Attributes=tiny", "--controls", "blank")
    short = ("--limit", "2", "--max-completion-tokens", "4", "--device", "cpu")
    out = ("--output-dir", str(tmp_path / "m"))
    assert evaluate.main(["matrix", *flags, "--json", *tests, *short, *out]) == 0
    printed = capsys.readouterr().out
    assert "mean of" in printed and too_long(printed, tmp_path) == []


@pytest.mark.command
def test_a_run(tmp_path, capsys):
    flags = ("--max-steps", "1", "--prompts-per-step", "1", "--group-size", "2", "--device", "cpu")
    assert train.main([*flags, "--eval-limit", "8", "--output-dir", str(tmp_path / "run")]) == 0
    assert too_long(capsys.readouterr().out, tmp_path) == []


@pytest.mark.command
def test_a_curation_an_audit_and_new_splits(tmp_path, capsys):
    out = ("--samples", "2", "--output-dir", str(tmp_path / "curated"))
    flags = ("--model", "tiny", "--json", "phantoms:CT", *SHORT, *out)
    assert evaluation.curate.__main__.main([*flags]) == 0
    files = [str(f) for f in write_phantoms(tmp_path / "p", 4) if f.parent.name == "modality"]
    root = ("--image-root", str(tmp_path / "p"), "--output-dir")
    assert data.audit.__main__.main([*files, *root, str(tmp_path / "audit")]) == 0
    assert data.splits.__main__.main([*files, *root, str(tmp_path / "splits")]) == 0
    assert too_long(capsys.readouterr().out, tmp_path) == []


HELPS = [
    *((train.main, []), (evaluate.main, []), (evaluate.main, ["ask"])),
    *((evaluate.main, ["matrix"]), (evaluate.main, ["compare"])),
    *((module.main, []) for module in (phantoms, data.audit.__main__, data.splits.__main__)),
    *((evaluation.curate.__main__.main, []), (evaluation.report.__main__.main, [])),
]


@pytest.mark.parametrize(
    "python", ["python", "/a/long/way/to/the/environment/of/a/user/bin/python"]
)
@pytest.mark.parametrize(("main", "command"), HELPS)
def test_help(main, command, python, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(sys, "executable", python)
    with contextlib.suppress(SystemExit):
        main([*command, "--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: ") and "[flags]" in printed.split("\n\n")[0]
    assert too_long(printed, "{") == []


def test_the_usage_names_what_has_to_be_given(capsys):
    with contextlib.suppress(SystemExit):
        evaluate.main(["ask", "--help"])
    usage = " ".join(capsys.readouterr().out.split("\n\n")[0].split())
    asked = "--model DIR --question TEXT [flags]"
    assert usage.endswith(f"evaluate.py ask {asked}")


def test_warnings_are_broken_on_a_terminal_and_stay_one_line_in_a_log(capsys, monkeypatch):
    for terminal, lines in ((True, 2), (False, 1)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        warn("a word " * 15)
        printed = capsys.readouterr().err
        assert printed.count("\n") == lines and (too_long(printed) == []) is terminal


def test_what_does_not_fit_follows_below_with_the_names_again(monkeypatch):
    table = Table(COLUMNS, [["all", "1", "2", "3", "4", "5"], ["a heading"]])
    narrow = table_lines(table)
    assert max(map(len, narrow)) <= 80 and sum(line.startswith("all") for line in narrow) == 2
    monkeypatch.setenv("COLUMNS", "200")
    (line,) = [line for line in table_lines(table) if line.startswith("all")]
    assert line.split() == ["all", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("width", [None, 9])
def test_tables_are_broken_between_columns(width):
    names = [f"slice {index}" for index in range(14)]
    columns = [Column("trained on"), *(Column(name, width) for name in names)]
    lines = table_lines(Table(columns, [["CT", *map(str, range(14))]]))
    assert max(map(len, lines)) <= 80
    numbers = [word for line in lines if line.startswith("CT") for word in line.split()[1:]]
    assert numbers == [str(index) for index in range(14)]


def test_prose_is_broken_between_words_and_paths_stay_whole():
    text = fitted("a table line\n" + "word " * 40 + "/a" * 60)
    assert text.splitlines()[0] == "a table line" and "/a" * 60 in text.splitlines()
