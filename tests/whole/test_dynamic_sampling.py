"""A run that draws groups again goes on to the same bytes, also from the middle of a refill.

What is trained is what top-k and top-p kept, and the reference follows the policy: all of it has to
be as it was when the refill was broken off.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import train
from grpo.dynamic_sampling import Draws
from models.checkpoint.manifest import read_manifest
from tests.places import ROOT
from tests.whole.test_reference_sync import metrics

pytestmark = pytest.mark.command

SETTINGS = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "84", "--device", "cpu"),
    *("--max-completion-tokens", "18", "--prompts-per-step", "3", "--group-size", "2"),
    *("--learning-rate", "1e-3", "--keep-checkpoints", "9", "--seed", "3", "--temperature", "0.7"),
    *("--dynamic-sampling", "2", "--logprob-distribution", "filtered", "--top-k", "30"),
    *("--top-p", "0.95", "--entropy-bonus", "0.02", "--reference-sync", "2", "--max-steps", "4"),
]
EVERY = ["--save-every", "1"]
LAST = "step-000004"
# a training that is killed in front of the refill whose number stands before its flags
KILLED = """
import os, signal, sys
import pytest, train
from tests.whole.test_dynamic_sampling import before_refill
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
before_refill(int(sys.argv[1]), kill, pytest.MonkeyPatch())
train.main(sys.argv[2:])
"""


def rollouts(run: Path) -> list[dict]:
    return [json.loads(row) for row in (run / "rollouts.jsonl").read_text().splitlines()]


def saved(run: Path) -> list[str]:
    return sorted(place.name for place in (run / "checkpoints").glob("step-*"))


def assert_same_run(found: Path, expected: Path) -> None:
    files = [read_manifest(place / "checkpoints" / LAST).files for place in (found, expected)]
    assert files[0] == files[1] and "trainer/state.json" in files[0]
    assert metrics(found) == metrics(expected) and len(metrics(found)) == 4
    assert rollouts(found) == rollouts(expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Four steps in each of which groups are drawn again, each saved."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train.main([*SETTINGS, *EVERY, "--output-dir", str(run)]) == 0
    return run


def test_a_checkpoint_says_how_far_the_order_of_questions_was_read(whole):
    drawn, positions = 0, []
    for row in metrics(whole):
        assert row["dynamic/refills"] > 0 and row["dynamic/discarded_groups"] > 0
        drawn += row["dynamic/drawn_groups"]
        state = whole / "checkpoints" / f"step-{row['step']:06d}" / "trainer" / "state.json"
        positions.append(json.loads(state.read_text())["data_position"])
        assert positions[-1] == drawn
    assert len(positions) == 4


def test_it_goes_on_to_the_same_bytes(whole, tmp_path):
    again = shutil.copytree(whole, tmp_path / "again")
    words = ["--resume", str(again), "--resume-from", "step-000003"]  # from the second: below
    assert train.main(words) == 0
    assert json.loads((again / "run.json").read_text())["resumed"][0]["from_step"] == 3
    assert_same_run(again, whole)


def before_refill(nth: int, do: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Do something in front of the n-th refill of a run."""
    real, calls = Draws.filled, []

    def filled(self, *given):
        calls.append(self.refills)
        if len(calls) == nth:
            do()
        return real(self, *given)

    patch.setattr(Draws, "filled", filled)


def test_a_signal_in_a_refill_saves_the_steps_before_it(whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    refills = sum(row["dynamic/refills"] for row in metrics(whole)[:2])
    before_refill(refills + 2, lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    assert train.main([*SETTINGS, "--save-every", "0", "--output-dir", str(run)]) == 143
    monkeypatch.undo()
    assert "2 of 4 steps are saved" in capsys.readouterr().err
    assert saved(run) == ["step-000002"] and len(metrics(run)) == 2
    assert train.main(["--resume", str(run)]) == 0
    assert_same_run(run, whole)


@pytest.mark.slow
def test_a_kill_in_a_refill_costs_the_step_in_work_alone(whole, tmp_path):
    run = tmp_path / "run"
    refills = sum(row["dynamic/refills"] for row in metrics(whole)[:2])
    command = [sys.executable, "-c", KILLED, str(refills + 2), *SETTINGS, *EVERY]
    done = subprocess.run(
        [*command, "--output-dir", str(run)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert saved(run) == ["step-000001", "step-000002"]
    assert train.main(["--resume", str(run)]) == 0
    assert_same_run(run, whole)
