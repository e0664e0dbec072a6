"""README, docs and configs say what is there: their commands, flags, files and tables of keys.

What they say of behaviour is tested where the behaviour is.
"""

import argparse
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from evaluate import main as evaluate
from evaluation.command_lines import (
    ask_parser,
    compare_parser,
    export_parser,
    matrix_parser,
    score_parser,
)
from evaluation.curate.curate_config import curate_parser
from evaluation.measures.summary import summarize
from grpo.settings.command_line import train_parser
from tests.evaluation.mixed import answered
from tests.places import ROOT
from train import main as train

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
TEXTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (*DOCUMENTS, *CONFIGS)}

# --- commands -----------------------------------------------------------------------------------

PROGRAM = r"python\s+(?:-m\s+)?[\w./]+"
# What a synopsis leaves open, where not every word would do.
MEANT = {"BITS": "4", "N": "1", "S": "0", "MODE": "think", "image|patient": "image"}


def documented_commands() -> list[str]:
    """Return all that begins with `python`: lines of code blocks, and code in a sentence."""
    found = []
    for text in TEXTS.values():
        outside = re.sub(r"^```\w*\n(.*?)^```", "", text, flags=re.MULTILINE | re.DOTALL)
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for block in blocks:
            joined = re.sub(r"\\?\n +", " ", block)  # a line goes on in those set in
            found += re.findall(rf"^(?:.*&& )?({PROGRAM}.*)$", joined, re.MULTILINE)
        found += re.findall(rf"`({PROGRAM}[^`]*)`", outside)
        found += re.findall(rf"^#.*?({PROGRAM}[^`\n]*)$", text, re.MULTILINE)  # in a TOML file
    cut = {re.split(r" {3,}| +# ", " ".join(line.splitlines()))[0].strip() for line in found}
    return sorted(line for line in cut if " -m pip" not in line and " -m pytest" not in line)


def words_of(command: str) -> list[str]:
    """Return a command's words behind `python`, placeholders filled in, `[..]` and `...` taken."""
    command = re.sub(r"<[^>]*>", "NAME", command)
    words = shlex.split(re.sub(r"[\[\]]|\.\.\.", " ", command))[1:]
    return [MEANT.get(word, word) for word in words]


class Parsed(BaseException):
    """Raised in place of running what was parsed."""


def parse(words: list[str], monkeypatch) -> None:
    """Run the program up to its parsed flags; SystemExit if they are wrong."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(*args, **options):
        parse_args(*args, **options)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(Parsed):
        if words[0] == "-m":
            monkeypatch.setattr(sys, "argv", words[1:])
            monkeypatch.delitem(sys.modules, f"{words[1]}.__main__", raising=False)
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            monkeypatch.syspath_prepend((ROOT / words[0]).parent)
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")


def test_commands_of_every_kind_are_found():
    commands = documented_commands()
    assert "python train.py" in commands  # behind &&
    assert any(line.endswith("--eval-limit 500") for line in commands)  # over several lines
    assert "python evaluate.py compare FIRST_DIR SECOND_DIR" in commands  # in a sentence
    assert "python train.py --protocol configs/protocol_smoke.toml" in commands  # text behind it
    assert len(commands) > 25


@pytest.mark.parametrize("command", documented_commands())
def test_a_documented_command_parses(command, monkeypatch, capsys):
    words = words_of(command)
    takes_none = words in (["train.py"], ["evaluate.py"])
    if not takes_none and (len(words) - (words[0] == "-m") == 1 or words[1:] == ["matrix"]):
        words = [*words, "--help"]  # named without its flags: it is there
    try:
        parse(words, monkeypatch)
    except SystemExit as error:
        assert not error.code, capsys.readouterr().err


def options_of_our_commands() -> set[str]:
    """Return the flags of every command that has a parser of its own to ask."""
    from torch.distributed.run import get_args_parser as torchrun_parser

    from data.audit.__main__ import _parser as audit_parser
    from data.splits.__main__ import _parser as splits_parser
    from scripts.simulate_scale import parser as scale_parser

    parsers = (train_parser, score_parser, matrix_parser, compare_parser, ask_parser)
    parsers += (export_parser,)
    parsers += (curate_parser, audit_parser, splits_parser, scale_parser, torchrun_parser)
    return {name for make in parsers for name in make()._option_string_actions}


def test_a_flag_that_is_named_exists():
    known = options_of_our_commands()
    # NVRTC's, Slurm's, and of scripts whose commands parse above
    known |= {"--ftz", "--signal", "--trace", "--mark", "--nodes", "--requeue"}
    known |= {"--asked", "--start"}
    for place, text in TEXTS.items():
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
        assert named <= known, f"{place} names {sorted(named - known)}"


# --- files --------------------------------------------------------------------------------------

OF_THE_READER = {"my_rewards.py"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]*)\)", text):
        page = (path.parent / target) if target else path
        headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
        assert anchor in slugs, f"{path.name} links to {target}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_source_file_that_is_named_is_there(path):
    ours = {file.name for file in ROOT.rglob("*.py") if ".venv" not in file.parts}
    text = path.read_text("utf-8")
    made = set(re.findall(r"^# (\S+\.py)$", text, re.MULTILINE))  # by an example of CONTRIBUTING.md
    for name in set(re.findall(r"[\w./-]*\w\.(?:py|cu)\b", text)):
        place = name.removeprefix("../")
        known = (ROOT / place).is_file() or place in ours | OF_THE_READER | made
        assert known, f"{path.name} names {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_below_a_folder_of_ours_is_there(path):
    folders = "benchmarks|configs|data|docs|evaluation|grpo|models|process|rewards|scripts|tests"
    pattern = rf"`((?:{folders})/[\w./-]*)`"
    for name in set(re.findall(pattern, path.read_text("utf-8"))):
        assert (ROOT / name).exists(), f"{path.name} names {name}"


def test_lines_are_under_100_characters():
    for path in DOCUMENTS:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            short = len(line) < 100 or line.startswith("| ")  # a row of a table is not broken
            assert short, f"{path.name}:{number}: {len(line)}"


def test_readmes_tree_has_a_line_for_every_room():
    section = TEXTS["README.md"].split("\n## Read the code\n")[1]
    (tree,) = re.findall(r"^```\n(.*?)^```", section.split("\n## ")[0], re.MULTILINE | re.DOTALL)
    drawn, above = set(), ""
    for line in tree.splitlines():
        for name in re.findall(r"(\w+)/", line.split("  " * 3)[0] if line[0] != " " else line[:24]):
            above = above if line[0] == " " else name
            drawn.add(f"{above}/{name}" if line[0] == " " else name)
    for place in ("grpo", "models", "data", "rewards", "evaluation", "process"):
        folders = {path.parent for path in (ROOT / place).glob("*/__init__.py")} | {ROOT / place}
        rooms = {str(folder.relative_to(ROOT)) for folder in folders}
        assert rooms <= drawn, f"README's tree lacks {sorted(rooms - drawn)}"


# --- tables of keys -----------------------------------------------------------------------------

TINY_RUN = (
    *("--max-steps", "2", "--prompts-per-step", "1", "--eval-limit", "2", "--no-eval-blank"),
    *("--device", "cpu"),
)
GRPO = ("--group-size", "2")
METHODS = {
    "grpo": (*GRPO, "--dynamic-sampling", "1"),
    "grounding": (
        *(*GRPO, "--grounding", "penalty", "--beta-schedule", "linear"),
        *("--reference-sync", "1", "--entropy-bonus", "0.01", "--sampler-correction-cap", "2"),
        *("--soft-overlong-tokens", "5"),
    ),
    "listed": ("--exact-no-think", "--mode", "no_think"),
    "curriculum": (*GRPO, "--curriculum", "pass_rate"),
    "sft": ("--method", "sft"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Two steps of every method, by its name."""
    folder = tmp_path_factory.mktemp("runs")
    for name, flags in METHODS.items():
        assert train([*TINY_RUN, *flags, "--output-dir", str(folder / name)]) == 0
    return {name: folder / name for name in METHODS}


def first_line(file: Path) -> dict:
    return json.loads(file.read_text("utf-8").splitlines()[0])


def table_keys(text: str, heading: str) -> list[str]:
    """Return the names in the first column of the table whose first row begins with `heading`."""
    table = text.split(heading, 1)[1].split("\n\n", 1)[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.command
def test_the_table_of_metrics_has_every_one_and_no_other(runs):
    names = table_keys(TEXTS["docs/run.md"], "| metric |")
    patterns = [re.escape(name).replace("<name>", r"\w+").replace(r"\*", r"\w+") for name in names]
    written = {key for run in runs.values() for key in first_line(run / "metrics.jsonl")} - {"step"}
    for key in written:
        assert any(re.fullmatch(pattern, key) for pattern in patterns), (
            f"{key} is not in docs/run.md"
        )
    for pattern in patterns:
        assert any(re.fullmatch(pattern, key) for key in written), f"nothing writes {pattern}"


@pytest.mark.command
def test_the_page_of_a_run_names_what_lies_in_its_directory_and_nothing_else(runs):
    section = TEXTS["docs/run.md"].split("\n## A run directory\n")[1].split("| metric |")[0]
    named = set(re.findall(r"`(\.lock|\w+(?:\.jsonl?|\.html|/))`", section))
    run = runs["grpo"]
    lies = {item.name + "/" * item.is_dir() for item in run.iterdir()} - {"figures/"}  # matplotlib
    lies |= {item.name for item in (run / "checkpoints").iterdir() if item.is_file()}
    in_checkpoints = {item.name for item in (run / "checkpoints").glob("step-*/*")}
    assert named - {"figures/"} - in_checkpoints == lies


@pytest.mark.command
def test_the_pages_tables_have_every_key_of_a_summary_and_no_other(runs, tmp_path):
    flags = ["--json", "phantoms:CT", "--limit", "4", "--device", "cpu"]
    flags += ["--controls", "blank", "blur:4", "--permute-options", "2"]
    flags += ["--text-prior", "phantoms:CT", "--thoughts", "removed"]
    out = tmp_path / "scores"
    model = str(runs["grpo"] / "checkpoints" / "step-000002")
    assert evaluate(["--model", model, *flags, "--output-dir", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text("utf-8"))

    page = TEXTS["docs/evaluation.md"]
    firsts = {name.split("/")[0] for name in table_keys(page, "| in `summary.json` |")}
    written = summary.keys() | summarize(answered()).keys()  # of questions of every form, too
    assert firsts == written - {"thoughts"}  # which have a table of their own
    thoughts = summary["thoughts"]
    for name in table_keys(page, "| key of `summary.json` under `thoughts` |"):
        found = thoughts
        for part in name.split("/"):
            if not part.startswith("<"):
                found = found[part]
            elif part == "<name>":
                assert found.keys() == {"removed"}
            else:
                assert found.keys() == set(re.findall(r"\w+", part))
    entry = table_keys(page, "| of one slice |")
    written = summary["overall"].keys() | {"images", "image_low", "image_high", "unanswered"}
    assert set(entry) == written
