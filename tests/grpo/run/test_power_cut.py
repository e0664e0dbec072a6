"""The power may go at any moment: a run goes on from what it saved, each step exactly once."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

import grpo.run.checkpoint
from grpo.run.best import find_best, write_best
from grpo.run.checkpoint import save_checkpoint
from grpo.run.directory import RunDirectory
from grpo.run.start_point import (
    check_whole,
    checkpoints_of,
    newest_checkpoint,
    step_of,
)
from process import storage
from tests.grpo.run.simulated_disk import Disk, rebuild

pytestmark = pytest.mark.model

CONFIG = {"method": "grpo", "prompts_per_step": 1, "group_size": 2}
CONFIG |= {"model": "tiny", "train_json": [], "rewards": []}
DESCRIPTION = {"config": CONFIG, "checksums": {}, "prompt_template": "", "total_steps": 9}


def weights(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3,), float(step))}


class Run:
    """A run of made-up tensors: its weights are the number of its step."""

    def __init__(self, disk: Disk, resumed_from: int = 0) -> None:
        self.disk = disk
        self.directory = RunDirectory(disk.root / "runs" / "one")
        self.resumed = [{"from_step": resumed_from}] if resumed_from else []

    def begin(self, step: int) -> None:
        self.directory.begin({**DESCRIPTION, "resumed": self.resumed}, step)

    def step(self, step: int) -> None:
        rows = [{"step": step, "index": index, "completion": "\u00e4" * 20} for index in range(2)]
        self.directory.append_step({"step": step, "reward": 0.5}, rows)

    def evaluate(self, step: int) -> None:
        self.directory.write_evaluation(step, {"overall": {"accuracy": step / 10}})

    def save(self, step: int, keep: int = 1) -> None:
        path = self.directory.path
        self.directory.lines_to_disk()
        tensors = weights(step)
        policy = SimpleNamespace(step=step, parameters=lambda: tensors.values())
        policy.sampler = lambda: policy
        save_checkpoint(
            path,
            step,
            policy,
            SimpleNamespace(weights=tensors, state_tensors=lambda: tensors),
            state={},
            card={},
            keep=keep,
            generators=weights(0),
        )
        if best := find_best(path):
            write_best(path, best)
        self.disk.note = step


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Disk:
    def save_weights(policy, folder):
        save_file(weights(policy.step), folder / "model.safetensors")
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(grpo.run.checkpoint, "save_policy", save_weights)
    monkeypatch.setattr(grpo.run.checkpoint, "saved_bytes", lambda _: 12)
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk", note=0)


def check_all_cuts(disk: Disk, tmp_path, monkeypatch, capsys) -> int:
    """Go on from whatever a power cut may leave; return how many different ones there were."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what is rebuilt here need not last
    count = 0
    for tree, promised in disk.cuts():
        place = tmp_path / "after"
        rebuild(tree, place)
        check_it_goes_on(place / "runs" / "one", promised)
        assert "warning" not in capsys.readouterr().err
        shutil.rmtree(place)
        count += 1
    return count


def check_it_goes_on(path, promised: int) -> None:
    if not promised and not checkpoints_of(path):  # nothing was saved yet: it starts anew
        return
    run, _ = RunDirectory.open(str(path))
    with run.owned():
        checkpoint = newest_checkpoint(path)
        step = step_of(checkpoint)
        assert step >= promised
        check_whole(checkpoint)
        assert torch.equal(
            load_file(checkpoint / "model.safetensors")["weight"][0], torch.tensor(float(step))
        )
        run.begin({**DESCRIPTION, "resumed": [{"from_step": step}]}, step)
    lines = [json.loads(line)["step"] for line in (path / "metrics.jsonl").open(encoding="utf-8")]
    assert lines == list(range(1, step + 1))
    rows = [json.loads(line)["step"] for line in (path / "rollouts.jsonl").open(encoding="utf-8")]
    assert rows == [one for one in lines for _ in range(2)]
    assert all(best.step <= step for best in [find_best(path)] if best)
    hidden = [one.name for one in path.rglob(".*") if one.name != ".lock"]
    assert hidden == [], "leftovers are swept"


@pytest.mark.parametrize("exchanges", [True, False])
def test_from_every_moment_of_a_run_it_goes_on(disk, tmp_path, monkeypatch, capsys, exchanges):
    if not exchanges:
        monkeypatch.setattr(storage, "exchange", lambda _one, _other: False)
    run = Run(disk)
    with disk.recording(), run.directory.owned():
        run.begin(0)
        run.evaluate(0)
        for step in (1, 2, 3, 4):
            run.step(step)
            if step % 2 == 0:
                run.evaluate(step)
                run.save(step)
        run.save(4)  # once more, over itself
    assert check_all_cuts(disk, tmp_path, monkeypatch, capsys) > 100


def test_from_every_moment_of_a_run_that_goes_on_from_an_older_checkpoint_it_goes_on(
    disk, tmp_path, monkeypatch, capsys
):
    first = Run(disk)
    with disk.recording():
        with first.directory.owned():
            first.begin(0)
            for step in range(1, 6):
                first.step(step)
                if step in (2, 4):
                    first.evaluate(step)
                    first.save(step, keep=2)
        disk.moments.clear()
        disk.note = 2  # who goes back gives up what was behind
        again = Run(disk, resumed_from=2)
        with again.directory.owned():
            again.begin(2)
            for step in (3, 4):
                again.step(step)
            again.save(4)
    assert check_all_cuts(disk, tmp_path, monkeypatch, capsys) > 50


def test_the_disk_forgets_what_was_not_flushed(tmp_path):
    root = tmp_path / "disk"
    root.mkdir()
    disk = Disk(root)
    with disk.recording():
        (root / "a").write_text("one")
        (root / "b").mkdir()
        with (root / "a").open() as stream:
            os.fsync(stream.fileno())
    trees = [tree for tree, _ in disk.cuts()]
    assert {"": None} in trees and {"": None, "a": b"one", "b": None} in trees
    assert {"": None, "a": b"o", "b": None} in trees and {"": None, "a": b""} in trees
