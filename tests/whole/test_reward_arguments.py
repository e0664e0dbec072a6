"""--reward-arguments on a command line: functions of both forms get theirs, now and later."""

import json

import pytest

import train

pytestmark = pytest.mark.command

REWARDS = """
import asyncio

def scaled(completion, example, mode, *, scale):
    return scale * len(completion)

async def counted(completions, examples, mode, start=0.0):
    await asyncio.sleep(0)
    return [start + example.question.count("a") for example in examples]
"""


def test_arguments_reach_a_run_and_are_the_same_when_it_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(REWARDS)
    (tmp_path / "own.toml").write_text("[scaled]\nscale = 0\n[counted]\nstart = 3.5\n")
    flags = ["--train-json", "phantoms:CT", "--model", "tiny", "--eval-json", "--device", "cpu"]
    flags += ["--rewards", "accuracy", "own.py:scaled", "own.py:counted"]
    flags += ["--prompts-per-step", "2", "--group-size", "2", "--max-completion-tokens", "4"]
    flags += ["--output-dir", "run", "--max-steps", "1"]
    assert train.main(flags) == 2
    assert "own.py:scaled' asks for scale, which nothing gives" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train.main([*flags, "--reward-arguments", "own.toml"]) == 0
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["reward_arguments"] == (tmp_path / "own.toml").read_text()
    (metrics,) = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert metrics["reward/scaled"] == 0 and metrics["reward/counted"] >= 3.5

    (tmp_path / "own.toml").rename(tmp_path / "moved.toml")
    going_on = ["--resume", "run", "--max-steps", "2"]
    assert train.main(going_on) == 2
    assert "--reward-arguments PLACE" in capsys.readouterr().err
    assert train.main([*going_on, "--reward-arguments", "moved.toml"]) == 0
    (tmp_path / "moved.toml").write_text("[scaled]\nscale = 1\n")
    assert train.main(["--resume", "run", "--max-steps", "3"]) == 2
    assert "moved.toml" in (told := capsys.readouterr().err) and "changed since the run" in told
