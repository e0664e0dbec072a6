"""A checkpoint of several processes: each writes its own rows, any number of them goes on."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import grpo.run.checkpoint
from grpo.run.checkpoint import save_checkpoint
from grpo.run.exploded import ExplodedError
from grpo.run.start_point import check_resumable, checkpoints_of, faults
from grpo.run.trainer_state import load_trainer_state
from models.checkpoint import tensor_file
from models.checkpoint.checksums import file_checksum
from models.checkpoint.manifest import read_manifest
from models.checkpoint.saved_tensors import fill
from process.ranks import world
from tests.threads_as_ranks import as_ranks

WHOLE = {
    "master/embedding": torch.arange(70.0).reshape(14, 5),
    "exp_avg/embedding": torch.arange(70.0).reshape(14, 5) / 7,
    "exp_avg/bias": torch.arange(3.0) + 0.5,  # the fourth of four processes has no row of it
    "step/embedding": torch.tensor(3.0),
}


class Sharded:
    """What of a DTensor a checkpoint asks for: this process's rows of a whole one."""

    placements = (SimpleNamespace(is_shard=lambda dim: dim == 0),)

    def __init__(self, whole: Tensor) -> None:
        self.shape, self.nbytes = whole.shape, whole.nbytes
        ranks = world()
        self.device_mesh = SimpleNamespace(
            ndim=1, size=lambda: ranks.size, get_local_rank=lambda: ranks.rank
        )
        each = -(-len(whole) // ranks.size)
        self.own = whole[ranks.rank * each : (ranks.rank + 1) * each].clone()

    def detach(self) -> "Sharded":
        return self

    def to_local(self) -> Tensor:
        return self.own


class Optimizer:
    """Tensors, sharded where there is more than one process."""

    device = torch.device("cpu")

    def __init__(self, whole: dict[str, Tensor]) -> None:
        def own(tensor):
            return Sharded(tensor) if world().size > 1 and tensor.dim() else tensor.clone()

        self.tensors = {name: own(tensor) for name, tensor in whole.items()}
        self.weights = {"embedding": self.tensors["master/embedding"]}

    def state_tensors(self):
        return self.tensors

    def load_state_tensors(self, saved):
        assert saved.keys() == self.tensors.keys()
        for name, tensor in self.tensors.items():
            fill(tensor, saved[name])


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    def save_weights(_policy, folder):
        assert world().is_first
        save_file({"weight": torch.ones(3)}, folder / "model.safetensors")
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(grpo.run.checkpoint, "save_policy", save_weights)
    monkeypatch.setattr(grpo.run.checkpoint, "saved_bytes", lambda _: 12)
    monkeypatch.setattr(tensor_file, "PART", 100)


def save(run, step=1, whole=WHOLE, keep=2, **more):
    policy = SimpleNamespace(parameters=lambda: [torch.ones(3)])
    policy.sampler = lambda: policy
    return save_checkpoint(
        run,
        step,
        policy,
        Optimizer(whole),
        state={"seen": 4},
        card={"mode": "think"},
        keep=keep,
        generators={"cpu": torch.get_rng_state(), "rank": torch.tensor([world().rank])},
        **more,
    )


def loaded(place):
    """Go on as one process; return its rows, and the state.json that it has read."""
    optimizer = Optimizer({name: torch.zeros_like(tensor) for name, tensor in WHOLE.items()})
    state = load_trainer_state(place, optimizer)
    rows = {n: t.own if isinstance(t, Sharded) else t for n, t in optimizer.tensors.items()}
    return rows, state


@pytest.mark.parametrize(("wrote", "goes_on"), [(2, 1), (1, 2), (2, 4), (2, 2), (4, 4), (3, 2)])
def test_what_some_processes_saved_any_number_goes_on_from(tmp_path, capsys, wrote, goes_on):
    [place, *_] = as_ranks(wrote, lambda _: save(tmp_path))
    assert faults(place) == []
    files = sorted(file.name for file in (place / "trainer").iterdir())
    assert "optimizer.safetensors" not in files and "optimizer.safetensors.index.json" in files
    parts = [load_file(file) for file in (place / "trainer").glob("optimizer-*")]
    assert all(sum(one.nbytes for one in part.values()) <= 100 for part in parts)
    found = as_ranks(goes_on, lambda _: loaded(place))
    assert [state for _, state in found] == [{"seen": 4, "step": 1}] * goes_on
    for name, whole in WHOLE.items():
        rows = [rows[name] for rows, _ in found]
        if not whole.dim():
            assert all(torch.equal(one, whole) for one in rows)
        else:
            assert torch.equal(torch.cat(rows), whole), name
    told = capsys.readouterr().out
    said = f"was saved by {wrote} processes and goes on in {goes_on}: all of them with the random"
    assert (said in told) == (wrote != goes_on) and told.count("saved by") <= 1


def test_each_process_gets_its_own_random_generators_back(tmp_path, monkeypatch):
    [place, *_] = as_ranks(3, lambda _: save(tmp_path))
    given: dict[int, int] = {}

    def note(tensors, _device):
        given[world().rank] = int(tensors["rank"])
        return ()

    monkeypatch.setattr("grpo.run.trainer_state.restore_generators", note)
    as_ranks(3, lambda _: loaded(place))
    assert given == {0: 0, 1: 1, 2: 2}
    given.clear()
    as_ranks(2, lambda _: loaded(place))
    assert given == {0: 0, 1: 0}


def test_a_state_that_fits_into_one_file_is_one_for_one_process_only(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_file, "PART", 10_000)
    alone = save(tmp_path / "alone")
    assert sorted(f.name for f in (alone / "trainer").glob("opt*")) == ["optimizer.safetensors"]
    assert torch.equal(
        load_file(alone / "trainer" / "optimizer.safetensors")["exp_avg/bias"],
        WHOLE["exp_avg/bias"],
    )
    [two, _] = as_ranks(2, lambda _: save(tmp_path / "two"))
    names = [f"optimizer-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert sorted(f.name for f in (two / "trainer").glob("opt*")) == [
        *names,
        "optimizer.safetensors.index.json",
    ]
    index = json.loads((two / "trainer" / "optimizer.safetensors.index.json").read_text())
    assert index["tensors"]["exp_avg/bias"] == {
        "dtype": "F32",
        "shape": [3],
        "pieces": [[names[0], 0, 2], [names[1], 2, 1]],
    }
    assert index["tensors"]["step/embedding"]["pieces"] == [[names[0], 0, 1]]


def test_damage_to_what_another_process_wrote_is_named(tmp_path):
    [place, *_] = as_ranks(3, lambda _: save(tmp_path))
    for file in sorted((place / "trainer").iterdir()):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        [found] = faults(place)
        assert f"trainer/{file.name}" in found
        file.write_bytes(content)


def test_each_file_is_compared_by_one_process_and_its_damage_told_by_all(tmp_path, monkeypatch):
    [place, *_] = as_ranks(3, lambda _: save(tmp_path))
    read: list[str] = []

    def checksum(file):
        read.append(file.relative_to(place).as_posix())
        return file_checksum(file)

    monkeypatch.setattr("models.checkpoint.manifest.file_checksum", checksum)
    assert as_ranks(3, lambda _: check_resumable(place, 9)) == [None] * 3
    assert sorted(read) == sorted(read_manifest(place).files)
    file = place / "trainer" / "rng-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    for error in as_ranks(3, lambda _: check_resumable(place, 9)):
        assert "step-000001 is damaged: trainer/rng-00002.safetensors has other bytes" in str(error)


def test_a_disk_that_is_full_for_one_process_ends_all_and_nothing_stays(tmp_path, monkeypatch):
    as_ranks(2, lambda _: save(tmp_path, 1))
    real = grpo.run.checkpoint.Seal.write_tensors

    def full(seal, name, tensors):
        if world().rank == 1:
            raise OSError(28, "No space left on device", str(seal._folder / name))
        real(seal, name, tensors)

    monkeypatch.setattr(grpo.run.checkpoint.Seal, "write_tensors", full)
    told = as_ranks(2, lambda _: save(tmp_path, 2))
    for error in told:
        assert isinstance(error, OSError)
        assert "step-000002 could not be written (trainer/optimizer-" in str(error)
        assert "No space left on device; it takes" in str(error)
        assert "free some space, and go on from step-000001" in str(error)
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == ["step-000001"]
    assert faults(checkpoints_of(tmp_path)[0]) == []


def test_a_node_that_sees_no_folder_of_the_first_is_told_to_share_storage(tmp_path, monkeypatch):
    real = grpo.run.checkpoint._begun

    def begun(*given):
        folder = real(*given)
        return folder if world().is_first else tmp_path / "elsewhere"

    monkeypatch.setattr(grpo.run.checkpoint, "_begun", begun)
    for error in as_ranks(2, lambda _: save(tmp_path)):
        assert "process 1 sees no" in str(error)
        assert "--output-dir must lie on storage that all nodes share" in str(error)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_file_that_the_first_process_does_not_see_is_named(tmp_path, monkeypatch):
    real = grpo.run.checkpoint.Seal.facts

    def facts(seal):
        found = real(seal)
        if world().rank == 1:
            (seal._folder / next(iter(found))).unlink()
        return found

    monkeypatch.setattr(grpo.run.checkpoint.Seal, "facts", facts)
    for error in as_ranks(2, lambda _: save(tmp_path)):
        assert "trainer/optimizer-" in str(error) and "of process 1 is not in" in str(error)
        assert "--output-dir must lie on storage that all nodes share" in str(error)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_what_is_not_finite_in_one_process_is_saved_by_none(tmp_path):
    broken = WHOLE | {"exp_avg/bias": torch.tensor([0.0, 1.0, torch.nan])}
    told = as_ranks(2, lambda _: save(tmp_path, whole=broken))
    for error in told:
        assert isinstance(error, ExplodedError) and "(exp_avg/bias)" in str(error)
    # else the second one's would be printed beside the first one's, as another error
    assert str(told[0]) == str(told[1])
    assert not (tmp_path / "checkpoints").exists()


def test_only_the_newest_stay_of_several_processes_too(tmp_path):
    def three(_):
        for step in (1, 2, 3):
            save(tmp_path, step, keep=1)

    assert as_ranks(2, three) == [None, None]
    assert [place.name for place in checkpoints_of(tmp_path)] == ["step-000003"]
