"""A run whose reference follows its policy goes on to the same bytes from before and after a sync.

Beta follows a schedule beside it: what both do depends on the step alone.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from grpo.run.reference_sync import ReferenceSync
from models.checkpoint.manifest import read_manifest

pytestmark = pytest.mark.command

TIMES = ("time/", "samples_per_second", "tokens_per_second")
SETTINGS = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "84", "--device", "cpu"),
    *("--max-completion-tokens", "16", "--prompts-per-step", "3", "--group-size", "4"),
    *("--learning-rate", "1e-3", "--save-every", "1", "--keep-checkpoints", "9", "--seed", "5"),
    *("--beta", "0.5", "--beta-schedule", "linear", "--beta-final", "0.1", "--eval-json"),
]
LAST = "step-000006"


def metrics(place: Path) -> list[dict]:
    rows = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    return [{k: row[k] for k in row if not k.startswith(TIMES)} for row in rows]


def assert_same_run(found: Path, expected: Path) -> None:
    files = [read_manifest(place / "checkpoints" / LAST).files for place in (found, expected)]
    assert files[0] == files[1]
    assert metrics(found) == metrics(expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Six steps, the reference synced behind the second and the fourth; each of them saved."""
    place = tmp_path_factory.mktemp("whole") / "run"
    words = [*SETTINGS, "--max-steps", "6", "--reference-sync", "2", "--output-dir", str(place)]
    assert train.main(words) == 0
    return place


def test_the_reference_is_the_policy_of_the_last_sync(whole):
    found = metrics(whole)
    assert [row["reference_age"] for row in found] == [0, 1, 0, 1, 0, 1]
    near = [row["kl"] < 1e-9 for row in found]  # the step's policy is the reference still
    assert near == [True, False, True, False, True, False]
    betas = [row["beta"] for row in found]
    assert betas == pytest.approx([0.5 - 0.4 * step / 6 for step in range(6)])


def test_a_checkpoint_holds_the_reference_where_it_is_neither_start_model_nor_policy(whole):
    holds = {
        place.name: (place / "trainer" / "reference.safetensors").exists()
        for place in (whole / "checkpoints").glob("step-*")
    }
    assert {name for name in holds if holds[name]} == {"step-000003", "step-000005"}
    place = whole / "checkpoints" / "step-000003"
    assert "trainer/reference.safetensors" in read_manifest(place).files
    reference = load_file(place / "trainer" / "reference.safetensors")
    policy = load_file(whole / "checkpoints" / "step-000002" / "model.safetensors")
    norm = "model.language_model.norm.weight"
    saved = next(policy[name] for name in policy if name.endswith("model.norm.weight"))
    assert torch.equal(reference[f"reference/model.{norm}"], saved)
    assert sum(t.nbytes for t in reference.values()) == sum(t.nbytes for t in policy.values())


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_it_goes_on_to_the_same_bytes_from_before_and_after_a_sync(whole, tmp_path, step):
    again = shutil.copytree(whole, tmp_path / "again")
    words = ["--resume", str(again), "--resume-from", f"step-{step:06d}"]
    assert train.main(words) == 0
    assert_same_run(again, whole)


def test_broken_off_in_the_middle_of_a_sync_it_goes_on_to_the_same_bytes(
    whole, tmp_path, monkeypatch
):
    place = shutil.copytree(whole, tmp_path / "again")
    real = ReferenceSync._write

    def half(sync, values):
        sync._names = sync._names[: len(sync._names) // 2]
        real(sync, values)
        raise KeyboardInterrupt

    monkeypatch.setattr(ReferenceSync, "_write", half)
    monkeypatch.setattr(ReferenceSync, "_load", lambda *_: pytest.fail("it was to be synced"))
    words = ["--resume", str(place), "--resume-from", "step-000002"]
    assert train.main(words) == 130
    monkeypatch.undo()
    assert train.main(["--resume", str(place)]) == 0
    assert_same_run(place, whole)


def test_without_its_file_a_checkpoint_is_refused_and_nothing_else_is_taken(
    whole, tmp_path, capsys
):
    place = shutil.copytree(whole, tmp_path / "run")
    checkpoint = place / "checkpoints" / "step-000003"
    (checkpoint / "trainer" / "reference.safetensors").unlink()
    words = ["--resume", str(place), "--resume-from", checkpoint.name]
    assert train.main(words) == 2
    assert "trainer/reference.safetensors is missing" in capsys.readouterr().err
    (checkpoint / "manifest.json").unlink()  # as of a version without
    assert train.main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "cannot be resumed: trainer/reference.safetensors: reference.safetensors cannot be" in said
    )


def test_a_longer_run_has_the_schedule_of_its_new_length(whole, tmp_path):
    place = shutil.copytree(whole, tmp_path / "run")
    assert train.main(["--resume", str(place), "--max-steps", "8"]) == 0
    betas = [row["beta"] for row in metrics(place)]
    expected = [0.5 - 0.4 * step / 6 for step in range(6)] + [0.5 - 0.4 * s / 8 for s in (6, 7)]
    assert betas == pytest.approx(expected)
    assert [row["reference_age"] for row in metrics(place)][6:] == [0, 1]
