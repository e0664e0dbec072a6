"""Which checkpoint a run goes on from: only a whole one, and a damaged one is named by file."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.start_point import (
    check_resumable,
    check_whole,
    checkpoint_to_resume,
    checkpoints_of,
    faults,
    going_on_line,
    set_aside_newer,
)
from grpo.settings.config import GRPOConfig
from models import load_policy
from tests.models.nano import write_checkpoint

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A run's directory with three checkpoints and nothing else."""
    folder = tmp_path_factory.mktemp("saved")
    policy = load_policy(write_checkpoint(folder / "nano"))
    optimizer = PolicyOptimizer(policy, GRPOConfig(), total_steps=10)
    for master in optimizer.masters.values():
        moments = {name: torch.rand_like(master) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.adamw.state[master] = {"step": torch.tensor(3.0), **moments}
    for step in (5, 10, 15):
        save_checkpoint(
            folder / "run", step, policy, optimizer, state={}, card={"mode": "think"}, keep=3
        )
    return folder / "run"


@pytest.fixture
def run(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def newest(run: Path) -> Path:
    return checkpoints_of(run)[-1]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def zeroed(content: bytes) -> bytes:
    start = max(0, len(content) // 2 - 2048)
    return content[:start] + bytes(min(4096, len(content) - start)) + content[start + 4096 :]


DAMAGES = {
    "flipped": flipped,
    "zeroed": zeroed,
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda _: b"",
    "longer": lambda content: content + b" ",
    "a list": lambda _: b"[1]",
    "a number": lambda _: b"1",
    "no text": lambda _: b"\xff\xfe{}",
    "gone": None,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_every_damage_to_every_file_is_noticed_by_name(run, damage):
    checkpoint = newest(run)
    files = [file for file in checkpoint.rglob("*") if file.is_file()]
    assert {"manifest.json", "groupwise.json", "config.json", "model.safetensors"} <= {
        file.name for file in files
    }
    for file in files:
        name, content = file.relative_to(checkpoint).as_posix(), file.read_bytes()
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage(content))
        found = faults(checkpoint)
        if name == "manifest.json" and damage in (None, DAMAGES["longer"]):
            assert found == []  # as one of before there were any; a blank more says the same
        else:
            assert found and name in found[0], (name, found)
        file.write_bytes(content)
    assert faults(checkpoint) == []


@pytest.mark.parametrize(
    "name", ["trainer/more.safetensors", "chat_template.json", "x.safetensors"]
)
def test_a_file_that_was_not_saved_with_it_is_noticed(run, name):
    (newest(run) / name).write_bytes(b"{}")
    assert faults(newest(run)) == [f"{name} was not saved with it: remove it"]


def test_a_checkpoint_under_the_name_of_another_step_is_noticed(run):
    shutil.rmtree(newest(run))
    shutil.copytree(run / "checkpoints" / "step-000005", newest(run).with_name("step-000015"))
    found = " ".join(faults(newest(run)))
    for name in ("manifest.json", "trainer/state.json", "groupwise.json"):
        assert f"{name} is of step 5" in found


@pytest.mark.parametrize("name", ["trainer/state.json", "groupwise.json"])
def test_without_a_manifest_the_steps_must_agree_still(run, name):
    (newest(run) / "manifest.json").unlink()
    file = newest(run) / name
    file.write_text(json.dumps(json.loads(file.read_text()) | {"step": 14}))
    assert faults(newest(run)) == [f"{name} is of step 14"]


def test_what_is_damaged_is_named_and_the_newest_whole_one_offered(run):
    for name in ("step-000015", "step-000010"):
        file = run / "checkpoints" / name / "trainer" / "rng.safetensors"
        file.write_bytes(flipped(file.read_bytes()))
    with pytest.raises(
        ValueError, match=r"step-000015 is damaged: trainer/rng.safetensors has o"
    ) as e:
        check_whole(newest(run))
    offer = f"python train.py --resume {run} --resume-from step-000005"
    assert str(e.value).endswith(
        f"The newest whole one is step-000005; go on from it with: {offer}"
    )
    assert checkpoint_to_resume(run, "step-000005").name == "step-000005"


def test_where_none_is_whole_nothing_is_offered(run):
    for checkpoint in checkpoints_of(run):
        (checkpoint / "trainer" / "state.json").unlink()
    with pytest.raises(
        ValueError, match=r"state.json is missing\. No checkpoint of this run is whole"
    ) as e:
        checkpoint_to_resume(run)
    assert "--resume" not in str(e.value) and "start the run anew" in str(e.value)


def test_a_size_is_noticed_before_any_content_is_read(run, monkeypatch):
    def read(_):
        raise AssertionError("read")

    monkeypatch.setattr("models.checkpoint.manifest.file_checksum", read)
    assert checkpoint_to_resume(run) == newest(run)
    (newest(run) / "trainer" / "optimizer.safetensors").write_bytes(b"")
    [found] = faults(newest(run))
    assert "trainer/optimizer.safetensors has 0 bytes in place of" in found


@pytest.mark.parametrize("name", ["step-000007", "step-7", "newest", "../run", ""])
def test_a_checkpoint_that_is_not_there_is_not_found(run, name):
    with pytest.raises(ValueError, match=r"no such checkpoint: name one of step-000005, step-0"):
        checkpoint_to_resume(run, name)


def test_one_of_before_there_were_manifests_is_taken_and_said_to_be_unverified(run):
    assert "if its " in going_on_line(newest(run)) and "MB) are as saved" in going_on_line(
        newest(run)
    )
    (newest(run) / "manifest.json").unlink()
    assert faults(newest(run)) == []
    assert going_on_line(newest(run)).endswith(
        "it has no manifest.json, written before there were any, and is not verified"
    )


def test_newer_ones_are_set_aside_and_never_lost(run, capsys):
    first = run / "checkpoints" / "step-000005"
    (run / "checkpoints" / "step-000010.set-aside").mkdir()
    set_aside_newer(run, 5)
    assert checkpoints_of(run) == [first]
    told = capsys.readouterr().out.splitlines()
    for line, name in zip(told, ("step-000010.set-aside-2", "step-000015.set-aside"), strict=True):
        assert line.endswith(f"{run / 'checkpoints' / name}")
        assert (run / "checkpoints" / name / "model.safetensors").is_file()


def save_weights(run: Path, step: int, policy) -> Path:
    return save_checkpoint(
        run, step, policy, PolicyOptimizer(policy, GRPOConfig(), 10), state={},
        card={"mode": "think"}, keep=9, weights_only=True,
    )  # fmt: skip


def test_weights_alone_are_gone_on_from_by_a_new_run_only(run, nano_policy, tmp_path):
    place = save_weights(run, 20, nano_policy)
    assert faults(place) == []
    with pytest.raises(ValueError, match=r"step-000020 holds the weights alone") as caught:
        checkpoint_to_resume(run)
    older = (
        f"go on from an older one with: python train.py --resume {run} --resume-from step-000015"
    )
    assert str(caught.value).endswith(f"{older}; or start a new run from it with --model {place}")
    assert checkpoint_to_resume(run, "step-000015").name == "step-000015"
    alone = save_weights(tmp_path / "alone", 20, nano_policy)
    with pytest.raises(ValueError, match="on from: start a new run from it with --model") as caught:
        checkpoint_to_resume(tmp_path / "alone")
    assert str(caught.value).endswith(str(alone))


def test_more_steps_than_are_asked_for_are_told_before_anything_is_read(run, capsys):
    with pytest.raises(ValueError, match="--max-steps 14 is less than the 15 steps that are done"):
        check_resumable(newest(run), 14)
    assert capsys.readouterr().out == ""
    check_resumable(newest(run), 15)
    assert "going on from" in capsys.readouterr().out


def test_one_without_a_manifest_is_gone_on_from_and_its_bytes_are_compared_with_nothing(
    run, capsys, monkeypatch
):
    def read(_):
        raise AssertionError("read")

    (newest(run) / "manifest.json").unlink()
    monkeypatch.setattr("models.checkpoint.manifest.file_checksum", read)
    check_resumable(newest(run), 15)
    assert "is not verified" in " ".join(capsys.readouterr().out.split())
