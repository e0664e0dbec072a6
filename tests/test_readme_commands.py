"""README's commands are understood by our commands, and its first ones run in their order."""

import re
import shlex
from pathlib import Path

import pytest

import data.audit.__main__
import data.phantoms.__main__
import data.splits.__main__
import evaluate
import train
from evaluation.flags import compare_parser, curate_parser, matrix_parser, score_parser

ROOT = Path(__file__).resolve().parent.parent
SHORT = ["--max-steps", "1", "--prompts-per-step", "1", "--group-size", "2", "--eval-limit", "4"]


def commands() -> list[list[str]]:
    """Return the words of every command in README's blocks that starts with python."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = blocks.replace("\\\n", " ").replace("<your run>", "run").replace("<the last>", "last")
    lines = re.sub(r"^.*&& (?=python)", "", lines, flags=re.MULTILINE).replace("<run>", "run")
    return [shlex.split(line)[1:] for line in lines.splitlines() if line.startswith("python ")]


PARSERS = {
    "train.py": train._parser,
    "evaluate.py": score_parser,
    "matrix": matrix_parser,
    "compare": compare_parser,
    "evaluation.curate": curate_parser,
    "data.audit": data.audit.__main__._parser,
    "data.splits": data.splits.__main__._parser,
}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_flags_are_known(words):
    name, *flags = words[1:] if words[0] == "-m" else words
    if name in PARSERS and flags[:1] not in (["ask"],):
        PARSERS[name]().parse_args(flags)


def test_the_first_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, draw, ask = (
        next(words for words in commands() if words[: len(start)] == start)
        for start in (["train.py"], ["-m", "data.phantoms"], ["evaluate.py", "ask"])
    )
    assert train.main([*first[1:], *SHORT, "--output-dir", "runs/run"]) == 0
    monkeypatch.setattr("sys.argv", ["data.phantoms", *draw[2:], "--rows-per-cell", "1"])
    data.phantoms.__main__.main()
    assert train.main([*first[1:], *SHORT, "--output-dir", "runs/again"]) == 0  # nothing in the way
    words = [word.replace("checkpoints/last", "checkpoints/step-000001") for word in ask[1:]]
    assert evaluate.main(words) == 0
    assert "ultrasound" in capsys.readouterr().out
