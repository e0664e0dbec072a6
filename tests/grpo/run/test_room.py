"""Before the first step it is known whether checkpoints have room and can be written."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import grpo.run.room as room
from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.room import check_room, most_at_a_time
from grpo.settings.config import GRPOConfig
from models import load_policy
from process.ranks import world
from tests.threads_as_ranks import as_ranks

pytestmark = pytest.mark.model

PLAIN = GRPOConfig(model="m", train_json=("t",), save_every=200, keep_checkpoints=2)
STEPS = range(1000)


def config(**changes) -> GRPOConfig:
    return GRPOConfig(model="m", train_json=("t",), **{"keep_checkpoints": 2, **changes})


@pytest.mark.parametrize(
    ("settings", "steps", "there", "most"),
    [
        ({"save_every": 0}, range(1000), 0, 1),
        ({"save_every": 200}, range(200), 0, 1),
        ({"save_every": 200}, range(201), 0, 2),
        ({"save_every": 200}, range(400), 0, 2),
        ({"save_every": 200}, range(401), 0, 3),
        ({"save_every": 200}, range(401), 1, 2),
        ({"save_every": 200, "keep_checkpoints": 9}, range(700), 0, 4),
        ({"save_every": 200}, range(200, 900), 2, 1),
        ({"save_every": 200}, range(200, 900), 5, 1),
        ({"save_every": "30m"}, range(2), 0, 2),
        ({"save_every": "30m"}, range(500), 0, 3),
        ({"save_every": 0, "eval_every": 100}, range(500), 0, 1),
        ({"save_every": 0, "eval_every": 100, "eval_json": ("e",)}, range(500), 0, 4),
        ({"save_every": 0, "eval_every": 250, "eval_json": ("e",)}, range(500), 0, 2),
    ],
)
def test_as_many_checkpoints_lie_side_by_side_at_most(settings, steps, there, most):
    assert most_at_a_time(config(**settings), steps, there) == most


@pytest.fixture
def free(monkeypatch):
    """A disk of which so much is free."""

    def say(size: float) -> None:
        monkeypatch.setattr(
            room.shutil, "disk_usage", lambda _: SimpleNamespace(free=size, total=size)
        )

    return say


@pytest.mark.parametrize(("steps", "is_kept"), [(range(3), False), (range(4), True)])
def test_a_reference_that_moves_takes_its_room_from_where_it_is_kept(
    nano_policy, tmp_path, free, monkeypatch, steps, is_kept
):
    policy = load_policy(nano_policy.path, dtype="bfloat16")
    settings = config(save_every=0, reference_sync=3)
    optimizer = PolicyOptimizer(policy, settings, total_steps=10)
    told = room.saved_bytes(policy) + optimizer.state_bytes()
    told += is_kept * sum(2 * weight.numel() for weight in policy.parameters())
    monkeypatch.setattr(room, "_BESIDE", 0)
    free(told)
    check_room(tmp_path, policy, optimizer, settings, steps)
    free(told - 1)
    with pytest.raises(ValueError, match="do not fit into"):
        check_room(tmp_path, policy, optimizer, settings, steps)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("weights_only", [False, True])
def test_what_a_checkpoint_takes_is_known_before_the_first_step(
    nano_policy, tmp_path, free, monkeypatch, dtype, weights_only
):
    policy = load_policy(nano_policy.path, dtype=dtype, freeze_vision=dtype == "bfloat16")
    settings = config(save_every=0, save_weights_only=weights_only)
    optimizer = PolicyOptimizer(policy, settings, total_steps=10)
    told = room.saved_bytes(policy) + (0 if weights_only else optimizer.state_bytes())
    monkeypatch.setattr(room, "_BESIDE", 0)
    (tmp_path / "run").mkdir()
    free(told)
    check_room(tmp_path / "run", policy, optimizer, settings, STEPS)
    free(told - 1)
    with pytest.raises(ValueError, match="do not fit into"):
        check_room(tmp_path / "run", policy, optimizer, settings, STEPS)
    assert list((tmp_path / "run").iterdir()) == [], "nothing is left"

    for master in optimizer.masters.values():
        moments = {name: torch.rand_like(master) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.adamw.state[master] = {"step": torch.tensor(3.0), **moments}
    place = save_checkpoint(
        tmp_path, 1, policy, optimizer, state={}, card={}, keep=1, weights_only=weights_only
    )
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    assert told < size < told + 60_000  # headers, settings, manifest, 5 kB of generators
    state = place / "trainer" / "optimizer.safetensors"
    if not weights_only:
        assert 0 < state.stat().st_size - optimizer.state_bytes() < 30_000


def test_the_message_says_how_much_for_what_and_what_to_do(nano_policy, tmp_path, free):
    policy, run = nano_policy, tmp_path / "run"
    settings = config(save_every=100)
    optimizer = PolicyOptimizer(policy, settings, total_steps=1000)
    run.mkdir()
    free(2e6)
    with pytest.raises(ValueError) as told:
        check_room(run, policy, optimizer, settings, STEPS)
    assert f"do not fit into {run}: they take 0.0 GB (3 at a time, 0.0 GB each) and 0.0" in str(
        told.value
    )
    for way in ("free some", "--keep-checkpoints", "--save-weights-only", "--output-dir"):
        assert way in str(told.value)
    save_checkpoint(run, 5, policy, optimizer, state={}, card={}, keep=1)
    with pytest.raises(ValueError) as told:  # that one's own room is not asked for again
        check_room(run, policy, optimizer, settings, range(5, 1000))
    assert "(2 at a time" in str(told.value) and "--output-dir" not in str(told.value)
    check_room(run, policy, optimizer, settings, range(1000, 1000))  # nothing is yet to be done


def small(tmp_path):
    """A policy and an optimizer of a few bytes."""
    policy = SimpleNamespace(
        parameters=lambda: [torch.ones(3)],
        dtype=torch.float32,
        processor=SimpleNamespace(files={}),
    )
    optimizer = SimpleNamespace(state_bytes=lambda: 24)
    (tmp_path / "run").mkdir(exist_ok=True)
    return tmp_path / "run", policy, optimizer


def test_there_must_be_room_for_as_many_as_lie_side_by_side(tmp_path, free, monkeypatch):
    run, policy, optimizer = small(tmp_path)
    monkeypatch.setattr(room, "_BESIDE", 0)
    free(3 * (12 + 24))
    check_room(run, policy, optimizer, PLAIN, STEPS)
    free(3 * (12 + 24) - 1)
    with pytest.raises(ValueError, match="3 at a time"):
        check_room(run, policy, optimizer, PLAIN, STEPS)
    check_room(run, policy, optimizer, PLAIN, range(400))


def test_a_folder_that_takes_no_checkpoint_is_named(tmp_path):
    run, policy, optimizer = small(tmp_path)
    (run / "checkpoints").write_text("a file")
    with pytest.raises(ValueError, match=r"no checkpoint can be written to .*checkpoints \("):
        check_room(run, policy, optimizer, PLAIN, STEPS)


@pytest.mark.parametrize("at", ["mkdir", "replace"])
def test_rights_that_do_not_suffice_are_noticed_and_nothing_is_left(tmp_path, monkeypatch, at):
    run, policy, optimizer = small(tmp_path)

    def refused(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, at, refused)
        with pytest.raises(ValueError, match=r"Permission denied.*see to its rights"):
            check_room(run, policy, optimizer, PLAIN, STEPS)
    assert list(run.iterdir()) == []


def test_what_is_there_already_stays(tmp_path):
    run, policy, optimizer = small(tmp_path)
    (run / "checkpoints" / "step-000003").mkdir(parents=True)
    (run / "checkpoints" / "best.json").write_text("{}")
    check_room(run, policy, optimizer, PLAIN, STEPS)
    assert sorted(file.name for file in (run / "checkpoints").iterdir()) == [
        "best.json",
        "step-000003",
    ]


def test_nodes_that_share_no_storage_are_told_before_the_first_step(tmp_path, monkeypatch):
    def check(_rank):
        own = tmp_path / f"node-{world().rank}"
        check_room(*small(own), PLAIN, STEPS)

    for rank in range(2):
        (tmp_path / f"node-{rank}").mkdir()
    for error in as_ranks(2, check):
        assert "process 1 does not see" in str(error) and "all nodes share" in str(error)
    assert as_ranks(2, lambda _: check_room(*small(tmp_path), PLAIN, STEPS)) == [None, None]
    assert list((tmp_path / "node-0" / "run").iterdir()) == []
    monkeypatch.undo()


def test_a_disk_that_is_memory_is_warned_about_where_checkpoints_are_large(
    tmp_path, monkeypatch, capsys
):
    run, policy, optimizer = small(tmp_path)
    monkeypatch.setattr(room, "file_system_of", lambda _: "tmpfs")
    check_room(run, policy, optimizer, PLAIN, STEPS)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(room, "_LARGE", 1000)
    check_room(run, policy, optimizer, PLAIN, STEPS)
    assert "lies in this machine's memory (tmpfs)" in capsys.readouterr().err


def test_a_checkpoint_that_was_not_written_says_why_and_what_remains(tmp_path, monkeypatch):
    place, elsewhere = tmp_path / "checkpoints" / "step-000009", str(tmp_path / "metrics.jsonl")
    said = room.not_written(place, OSError(5, "Input/output error", elsewhere), 10)
    assert f"({elsewhere}: Input/output error): see to the disk of {tmp_path}, and start" in said
    inside = str(room.unfinished(place) / "model.safetensors")
    said = room.not_written(place, OSError(5, "Input/output error", inside), 10)
    assert "(model.safetensors: Input/output error)" in said
    older = tmp_path / "checkpoints" / "step-000004"
    older.mkdir(parents=True)
    said = room.not_written(place, OSError("gone"), 10)
    assert said.endswith(f"go on from step-000004, which is whole, with --resume {tmp_path}")
    monkeypatch.setattr(room, "has_weights_only", lambda _place: True)
    said = room.not_written(place, OSError("gone"), 10)
    assert said.endswith(f"new run from step-000004, which is whole, with --model {older}")
