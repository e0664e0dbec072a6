"""`--save-every 30m`, `--save-weights-only`, a disk that is too small: as their user sees them."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import evaluate
import grpo.run.room
import train
from grpo.run import save_pace
from grpo.run.start_point import faults

SMALL = ["--image-size", "56", "--max-completion-tokens", "4", "--device", "cpu"]
RUN = [
    *("--model", "tiny", "--train-json", "phantoms:CT", *SMALL, "--warmup-steps", "0"),
    *("--prompts-per-step", "1", "--group-size", "2", "--learning-rate", "1e-4"),
]


def saved(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").glob("step-*"))


def test_a_checkpoint_is_saved_whenever_the_time_has_passed(tmp_path, monkeypatch):
    out, steps = tmp_path / "run", ["--max-steps", "4", "--keep-checkpoints", "9"]
    now = [0.0]

    def clock() -> float:  # asked when the run begins, behind each step, and behind each save
        now[0] += 400
        return now[0]

    with monkeypatch.context() as patch:
        patch.setattr(save_pace, "monotonic", clock)
        given = [*RUN, *steps, "--save-every", "15m", "--output-dir", str(out)]
        assert train.main(given) == 0
    assert saved(out) == ["step-000003", "step-000004"]
    config = json.loads((out / "run.json").read_text())["config"]
    assert config["save_every"] == "15m"
    more = ["--resume", str(out), "--max-steps", "6", "--save-every", "1"]
    assert train.main(more) == 0
    assert saved(out) == [f"step-{step:06d}" for step in (3, 4, 5, 6)]


def test_a_time_that_is_none_is_refused(capsys):
    assert train.main([*RUN, "--max-steps", "1", "--save-every", "30x"]) == 2
    assert "save_every='30x' is neither steps nor a time" in capsys.readouterr().err


@pytest.fixture(scope="module")
def weights_only(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "run"
    given = [*RUN, "--max-steps", "2", "--save-every", "1", "--output-dir", str(out)]
    assert train.main([*given, "--save-weights-only"]) == 0
    return out


def test_weights_alone_are_saved_at_every_step_that_is_due_and_whole(weights_only):
    assert saved(weights_only) == ["step-000001", "step-000002"]
    for name in saved(weights_only):
        place = weights_only / "checkpoints" / name
        assert not (place / "trainer").exists() and faults(place) == []
        assert (place / "model.safetensors").is_file() and (place / "groupwise.json").is_file()


def test_an_evaluation_takes_weights_alone(weights_only, tmp_path):
    model = ["--model", str(weights_only / "checkpoints" / "step-000002")]
    rows = ["--json", "phantoms:CT", "--limit", "2", "--device", "cpu"]
    assert evaluate.main([*model, *rows, "--output-dir", str(tmp_path / "out")]) == 0


def test_no_run_goes_on_from_weights_alone(weights_only, tmp_path, capsys):
    out = Path(shutil.copytree(weights_only, tmp_path / "run"))
    before = {file for file in out.rglob("*") if file.name != ".lock"}
    for more in ([], ["--resume-from", "step-000001"]):
        assert train.main(["--resume", str(out), "--max-steps", "3", *more]) == 2
        told = capsys.readouterr().err
        name = "step-000001" if more else "step-000002"
        assert f"{name} holds the weights alone (--save-weights-only)" in told
        assert f"start a new run from it with --model {out / 'checkpoints' / name}" in told
    assert {file for file in out.rglob("*") if file.name != ".lock"} == before


def test_of_both_kinds_the_older_whole_one_is_offered(tmp_path, capsys):
    out = tmp_path / "run"
    assert train.main([*RUN, "--max-steps", "1", "--output-dir", str(out)]) == 0
    more = ["--resume", str(out), "--max-steps", "2", "--save-weights-only"]
    assert train.main(more) == 0
    capsys.readouterr()
    assert train.main(["--resume", str(out), "--max-steps", "3"]) == 2
    offered = f"python train.py --resume {out} --resume-from step-000001"
    assert f"go on from an older one with: {offered}" in capsys.readouterr().err


def test_a_disk_that_is_too_small_ends_a_run_before_its_first_step(tmp_path, monkeypatch, capsys):
    asked = []

    def usage(place):
        asked.append(place)
        return SimpleNamespace(free=3_000_000, total=0)

    out = tmp_path / "run"
    monkeypatch.setattr(grpo.run.room.shutil, "disk_usage", usage)
    assert train.main([*RUN, "--max-steps", "2", "--output-dir", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: the checkpoints of this run do not fit into {out}: they take")
    assert "--save-weights-only" in told and asked == [out]
    assert not out.exists(), "nothing was begun"
