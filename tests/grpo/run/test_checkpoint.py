"""Checkpoints are whole or not there, load everywhere, and hold no pickle."""

import hashlib
import json
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.start_point import checkpoints_of, faults, newest_checkpoint
from grpo.run.trainer_state import load_trainer_state
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.checkpoint import sealing, tensor_file
from tests.models.hidden import completion_hidden
from tests.models.nano import write_checkpoint
from tests.places import ROOT

pytestmark = pytest.mark.model

CARD = {"mode": "think", "image_size": 56}


def save(run, step, policy, optimizer, keep=2):
    return save_checkpoint(run, step, policy, optimizer, state={"x": 1}, card=CARD, keep=keep)


@pytest.fixture
def optimizer(nano_policy):
    optimizer = PolicyOptimizer(nano_policy, GRPOConfig(), total_steps=10)
    for index, master in enumerate(optimizer.masters.values()):
        state = {"step": torch.tensor(3.0), "exp_avg": torch.full_like(master, 0.1 * index)}
        optimizer.adamw.state[master] = {**state, "exp_avg_sq": torch.ones_like(master)}
    return optimizer


def test_transformers_loads_it_with_the_same_logits(nano_policy, optimizer, tmp_path):
    place = save(tmp_path, 7, nano_policy, optimizer)
    loaded = AutoModelForImageTextToText.from_pretrained(place, dtype=torch.float32)
    ids = torch.tensor([[70, 71, 72]])
    with torch.no_grad():
        logits = loaded(input_ids=ids).logits
        hidden = completion_hidden(
            nano_policy, [nano_policy.processor.encode("x")], [1], torch.tensor([[70]])
        )
    assert logits.shape[-1] == len(nano_policy.output_weight) and hidden.shape[-1] == 64
    for name, value in nano_policy.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_its_files_are_safetensors_json_and_text(nano_policy, optimizer, tmp_path):
    place = save(tmp_path, 7, nano_policy, optimizer)
    endings = {file.suffix for file in place.rglob("*") if file.is_file()}
    assert endings <= {".json", ".safetensors", ".jinja"}
    assert json.loads((place / "groupwise.json").read_text()) == {**CARD, "step": 7}
    state = json.loads((place / "trainer" / "state.json").read_text())
    assert state == {"x": 1, "step": 7}


def test_the_optimizer_goes_on_where_it_was(nano_policy, optimizer, tmp_path):
    torch.manual_seed(123)
    place = save(tmp_path, 7, nano_policy, optimizer)
    expected = torch.rand(3)
    policy = load_policy(place)
    fresh = PolicyOptimizer(policy, GRPOConfig(), total_steps=10)
    assert load_trainer_state(place, fresh) == {"x": 1, "step": 7}
    assert torch.equal(torch.rand(3), expected)
    saved, loaded = optimizer.state_tensors(), fresh.state_tensors()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_bfloat16_weights_come_with_their_masters(nano_policy, tmp_path):
    policy = load_policy(nano_policy.path, dtype="bfloat16")
    optimizer = PolicyOptimizer(policy, GRPOConfig(), total_steps=10)
    place = save(tmp_path, 1, policy, optimizer)
    assert json.loads((place / "config.json").read_text())["dtype"] == "bfloat16"
    names = load_file(place / "trainer" / "optimizer.safetensors")
    assert {n.split("/")[0] for n in names} == {"master"}
    assert names[next(iter(names))].dtype == torch.float32


def test_a_state_of_several_files_goes_on_where_it_was(
    nano_policy, optimizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(tensor_file, "PART", 30_000)
    place = save(tmp_path, 7, nano_policy, optimizer)
    parts = sorted((place / "trainer").glob("optimizer-*.safetensors"))
    assert len(parts) > 30 and not (place / "trainer" / "optimizer.safetensors").exists()
    assert all(sum(one.nbytes for one in load_file(part).values()) <= 30_000 for part in parts)
    assert faults(place) == []
    fresh = PolicyOptimizer(load_policy(place), GRPOConfig(), total_steps=10)
    assert load_trainer_state(place, fresh) == {"x": 1, "step": 7}
    saved, loaded = optimizer.state_tensors(), fresh.state_tensors()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    parts[3].unlink()
    assert faults(place) == [f"trainer/{parts[3].name} is missing"]
    with pytest.raises(ValueError, match=rf"{parts[3].name} cannot be read .*--resume-from"):
        load_trainer_state(place, fresh)
    (place / "manifest.json").unlink()
    assert faults(place) == [], "without a manifest the files are only looked over"


class SlowHash:
    """A SHA-256 that is slower than the writing, as beside a fast disk."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.hexdigest = self._digest.hexdigest

    def update(self, piece: bytes) -> None:
        time.sleep(0.0003)
        self._digest.update(piece)


class Copies:
    """What of tensors was copied to the host, as if they were a GPU's, and how much at a time."""

    def __init__(self) -> None:
        self.now = self.most = self.largest = self.all = 0

    def copy(self, values: torch.Tensor) -> torch.Tensor:
        made, size = values.clone(), values.nbytes
        self.all += size
        self.now += size
        self.most, self.largest = max(self.most, self.now), max(self.largest, size)
        weakref.finalize(made.untyped_storage(), self._gone, size)
        return made

    def _gone(self, size: int) -> None:
        self.now -= size


def test_no_more_than_four_slices_are_in_the_hosts_memory_at_a_time(
    nano_policy, optimizer, tmp_path, monkeypatch
):
    copies = Copies()
    monkeypatch.setattr(tensor_file, "on_host", copies.copy)
    monkeypatch.setattr(tensor_file, "SLICE", 16384)
    monkeypatch.setattr(tensor_file, "PART", 100_000)
    monkeypatch.setattr(sealing, "hashlib", SimpleNamespace(sha256=SlowHash))
    # of a GPU's tensors nothing is hashed ahead
    monkeypatch.setattr("grpo.run.checkpoint.Seal.hash_ahead", lambda *_: None)
    place = save(tmp_path, 7, nano_policy, optimizer)
    tensors = [*nano_policy.parameters(), *optimizer.state_tensors().values()]
    assert copies.all >= sum(tensor.nbytes for tensor in tensors)
    assert copies.largest == 16384 and copies.most <= 4 * 16384, "one is made while three wait"
    assert faults(place) == []


def test_only_the_newest_stay(nano_policy, optimizer, tmp_path):
    for step in (5, 10, 15, 1_000_000):
        save(tmp_path, step, nano_policy, optimizer, keep=2)
    assert [p.name for p in checkpoints_of(tmp_path)] == ["step-000015", "step-1000000"]
    assert newest_checkpoint(tmp_path).name == "step-1000000"


def test_an_unfinished_one_is_never_resumed(nano_policy, optimizer, tmp_path):
    save(tmp_path, 5, nano_policy, optimizer)
    (tmp_path / "checkpoints" / ".step-000010.unfinished").mkdir()
    (tmp_path / "checkpoints" / "step-000010.bak").mkdir()
    assert newest_checkpoint(tmp_path).name == "step-000005"


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint in .*start it anew"):
        newest_checkpoint(tmp_path)


def test_a_damaged_trainer_state_is_named(nano_policy, optimizer, tmp_path):
    place = save(tmp_path, 5, nano_policy, optimizer)
    file = place / "trainer" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"optimizer.safetensors cannot be read .*--resume-from"):
        load_trainer_state(place, optimizer)


FULL_DISK = """
import resource, sys, torch
from grpo.run.checkpoint import save_checkpoint
from grpo.settings.config import GRPOConfig
from grpo.optimizer import PolicyOptimizer
from models import load_policy
from pathlib import Path
run = Path(sys.argv[2])
policy = load_policy(sys.argv[1])
optimizer = PolicyOptimizer(policy, GRPOConfig(), total_steps=1)
for master in optimizer.masters.values():
    moments = {name: torch.ones_like(master) for name in ("exp_avg", "exp_avg_sq")}
    optimizer.adamw.state[master] = {"step": torch.tensor(3.0), **moments}
def save(step):
    save_checkpoint(run, step, policy, optimizer, state={}, card={}, keep=1)
save(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    save(2)
except OSError as error:
    print("OSError:", error)
print(sorted(p.name for p in (run / "checkpoints").iterdir()))
"""


FULL_IN = {
    500: "config.json",
    4_000: "model.safetensors",
    800_000: "trainer/optimizer.safetensors",  # the weights have 641,000 bytes
}


@pytest.mark.parametrize(("limit", "name"), FULL_IN.items())
def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path, limit, name):
    # a limit on the size of files stands in for the disk: the same OSError from the same call
    model = write_checkpoint(tmp_path / "nano")
    command = [sys.executable, "-c", FULL_DISK, model, tmp_path, str(limit)]
    root = ROOT
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert "OSError: checkpoint" in done.stdout
    assert f"could not be written ({name}: File too large; it takes 0.0 GB, " in done.stdout
    assert "GB are free): free some space, and go on from step-000001" in done.stdout
    assert "--resume" in done.stdout and "--keep-checkpoints" not in done.stdout
    assert done.stdout.rstrip().endswith("['step-000001']")
    load_policy(tmp_path / "checkpoints" / "step-000001")
