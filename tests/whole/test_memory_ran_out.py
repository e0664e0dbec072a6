"""Memory of this machine that runs out ends a command with one message; what is done is kept."""

from pathlib import Path

import pytest

import evaluate
import train
from models.policy import Policy
from tests.process.test_memory import TORCH

# It runs out at the fourth of six steps: torch's own error and Python's.
REWARD = """
from pathlib import Path

TORCH = {torch!r}

def full(completion, example, mode):
    calls = Path(__file__).with_name("calls.txt")
    count = int(calls.read_text()) if calls.is_file() else 0
    calls.write_text(str(count + 1))
    if count == {last}:
        raise {error}
    return float(count % 2)
"""
TRIED, GROUP, STEPS_DONE = 16, 3, 3
KINDS = {"torch": (RuntimeError(TORCH), TORCH), "Python": (MemoryError(), "MemoryError")}
RAISED = {"torch": "RuntimeError(TORCH)", "Python": "MemoryError"}


def trained(folder: Path, kind: str, last: int) -> int:
    file = folder / "own.py"
    file.write_text(REWARD.format(torch=TORCH, last=last, error=RAISED[kind]), encoding="utf-8")
    return train.main(
        [
            *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56"),
            *("--max-completion-tokens", "4", "--prompts-per-step", "1", "--device", "cpu"),
            *("--group-size", str(GROUP), "--rewards", f"{file}:full", "--max-steps", "6"),
            *("--save-every", "0", "--output-dir", str(folder / "run")),
        ]
    )


def message(err: str) -> list[str]:
    assert "Traceback" not in err
    return [*err[err.index("error: ") :].splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_that_meets_it_loses_no_step_before_it(kind, tmp_path, capsys):
    last = TRIED + GROUP * STEPS_DONE + 1
    assert trained(tmp_path, kind, last) == 2
    said, kept = message(capsys.readouterr().err)
    start = f"error: this machine's memory ran out, during reward ({KINDS[kind][1]}). At any time,"
    assert said.startswith(start) and "free memory, lower --micro-batch-tokens" in said
    assert kept.startswith("3 of 6 steps are saved, go on with: ")
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert checkpoint.name == "step-000003"
    assert train.main(["--resume", str(tmp_path / "run"), "--trust-reward-file"]) == 0


def test_before_the_first_step_it_is_no_fault_of_the_reward(tmp_path, capsys):
    assert trained(tmp_path, "torch", 1) == 2
    (said,) = message(capsys.readouterr().err)
    assert "ran out, during the first look at the rows" in said and "what a reward needs" in said


def scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    flags = ["--model", "tiny", "--json", "phantoms:CT", "--limit", "4", "--device", "cpu"]
    assert evaluate.main([*flags, "--output-dir", str(tmp_path / "evaluation")]) == 2
    return message(capsys.readouterr().err)


@pytest.mark.parametrize("kind", KINDS)
def test_in_an_evaluation_and_its_parts(kind, tmp_path, capsys, monkeypatch):
    error, reason = KINDS[kind]

    def full(*_args, **_kwargs):
        raise error

    ways_out = {
        ("models.load_policy", "loading the model"): "take a smaller model, or --dtype bfloat16",
        ("data.sources._read_sources", "reading the data"): "read fewer rows at a time, of fewer",
    }
    for (place, part), way_out in ways_out.items():
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            (said,) = scored(tmp_path, capsys)
        start = f"error: this machine's memory ran out, during {part} ({reason}): free memory, or"
        assert said.startswith(f"{start} {way_out}")
    monkeypatch.setattr(Policy, "prefill", full)
    (said,) = scored(tmp_path, capsys)
    assert f"during the evaluation ({reason}): free memory, or lower --batch-size" in said


def test_a_row_is_not_counted_as_wrong_for_it(tmp_path, capsys, monkeypatch):
    def full(*_args, **_kwargs):
        raise MemoryError

    monkeypatch.setattr("evaluation.asking.answerer.encode_checked", full)
    (said,) = scored(tmp_path, capsys)
    assert "this machine's memory ran out, during the evaluation" in said
