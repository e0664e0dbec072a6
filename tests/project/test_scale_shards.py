"""The simulation's shards are FSDP2's own: a real `fully_shard` of meta tensors holds the same."""

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from models.memory import weightless
from scripts.scale.published import config_of
from scripts.scale.shards import Shards, Unit, rows, shards_of


@pytest.fixture
def pretending():
    """A function: be one process of so many, none of which exists."""

    def pretend(rank: int, world: int) -> None:
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)

    yield pretend
    dist.destroy_process_group()


@pytest.mark.parametrize(("rank", "world"), [(0, 2), (2, 3), (7, 8), (63, 64)])
def test_a_process_holds_what_fsdp2_gives_it(pretending, rank, world):
    model = weightless(config_of("2b"))
    shards = shards_of(model)
    pretending(rank, world)
    mesh = init_device_mesh("cpu", (world,))
    for module in (*model.model.language_model.layers, *model.model.visual.blocks, model):
        fully_shard(module, mesh=mesh)
    held = sum(weight.to_local().numel() for weight in model.parameters())
    assert shards.held(world, rank) == held


@pytest.mark.parametrize("frozen", [False, True])
def test_units_have_every_weight_once(frozen):
    model = weightless(config_of("7b"))
    shards = shards_of(model, frozen_vision=frozen)
    assert shards.sharded + shards.whole == sum(weight.numel() for weight in model.parameters())
    assert len(shards.units) == 28 + 32 * (not frozen) + 1
    assert shards.layers == 28
    for world in (1, 5):
        assert sum(shards.held(world, rank) for rank in range(world)) == shards.sharded


def test_rows_are_cut_as_torch_chunks_them_and_carried_with_their_padding():
    pieces = torch.arange(10).chunk(4)
    assert [list(rows(10, 4, rank)) for rank in range(4)] == [part.tolist() for part in pieces]
    assert [len(rows(3, 8, rank)) for rank in range(8)] == [1, 1, 1, 0, 0, 0, 0, 0]
    # 10 rows of 2 in 4 pieces of 3, and a vector of 3 in 4 of 1: 24 and 4 numbers travel.
    unit = Unit("one", ((10, 2), (3,)))
    assert (unit.numbers, unit.carried(4)) == (23, 28)
    assert Shards((unit,), 0).largest_and_smallest(4) == (7, 2)
