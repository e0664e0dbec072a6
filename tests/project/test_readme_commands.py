"""README's first commands run in their order; test_documents.py parses all there are."""

import re
import shlex

import pytest

import data.phantoms.__main__
import evaluate
import train
from tests.places import ROOT

pytestmark = pytest.mark.command

SHORT = ["--max-steps", "1", "--prompts-per-step", "1", "--group-size", "2", "--eval-limit", "4"]


def commands() -> list[list[str]]:
    """Return the words of every command in README's blocks that starts with python."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = blocks.replace("\\\n", " ").replace("<your run>", "run").replace("<the last>", "last")
    lines = re.sub(r"^.*&& (?=python)", "", lines, flags=re.MULTILINE).replace("<run>", "run")
    return [shlex.split(line)[1:] for line in lines.splitlines() if line.startswith("python ")]


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
