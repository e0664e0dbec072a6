"""What several processes keep of what they gather, by the memory that there is."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from grpo.settings import resolve
from grpo.settings.checkpointing import with_checkpointing
from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import check_memory, fits
from grpo.settings.run_memory import memory_of_run
from grpo.settings.sharded import keeps_sampler, with_resharding
from process.ranks import world
from tests.models.nano import write_checkpoint
from tests.threads_as_ranks import as_ranks

CONFIG = GRPOConfig(model="tiny", device="cuda", dtype="bfloat16", reference_device="cuda")


@pytest.fixture
def ranks(monkeypatch):
    """Make this process one of two."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")


def card(monkeypatch, size: int) -> None:
    """Pretend a GPU of so many bytes."""
    properties = SimpleNamespace(total_memory=size)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: properties)


@pytest.mark.usefixtures("ranks")
def test_weights_are_kept_from_forward_to_backward_where_they_fit(monkeypatch):
    needed = memory_of_run(replace(CONFIG, reshard_after_forward=False)).total
    card(monkeypatch, 2 * needed)
    assert with_resharding(CONFIG).reshard_after_forward is False
    card(monkeypatch, needed)  # within the margin
    assert with_resharding(CONFIG).reshard_after_forward is True


@pytest.mark.usefixtures("ranks")
def test_processes_with_unlike_cards_decide_alike(monkeypatch):
    needed = memory_of_run(replace(CONFIG, reshard_after_forward=False)).total
    sizes = (2 * needed, needed // 2)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda *_: SimpleNamespace(total_memory=sizes[world().rank]),
    )
    unsettled = replace(CONFIG, gradient_checkpointing=None)

    def decide(_rank):
        checkpoints = with_checkpointing(unsettled)[0].gradient_checkpointing
        return checkpoints, with_resharding(CONFIG).reshard_after_forward, keeps_sampler(CONFIG)

    assert as_ranks(2, decide) == [(True, True, False)] * 2


@pytest.mark.usefixtures("ranks")
def test_processes_on_one_cpu_keep_nothing_twice():
    config = replace(CONFIG, device="cpu", reference_device="cpu")
    assert with_resharding(config).reshard_after_forward is True


@pytest.mark.usefixtures("ranks")
@pytest.mark.parametrize("asked", [True, False])
def test_what_is_asked_for_stays(monkeypatch, asked):
    card(monkeypatch, 1)
    config = replace(CONFIG, reshard_after_forward=asked)
    assert with_resharding(config) == config


def test_one_process_decides_nothing():
    assert with_resharding(CONFIG) == CONFIG


@pytest.mark.usefixtures("ranks")
def test_the_sampler_is_freed_in_updates_only_where_it_does_not_fit_beside_them(
    monkeypatch, tmp_path
):
    # a model large enough for its weights to count, and no CUDA context to hide them
    model = write_checkpoint(tmp_path / "nano", changes={"hidden_size": 64, "vocab_size": 40_000})
    config = replace(
        CONFIG,
        model=str(model),
        train_json=("phantoms",),
        reshard_after_forward=True,
        max_completion_tokens=8,
        micro_batch_tokens=2048,
    )
    estimate = memory_of_run(config)
    freed = estimate.with_sampler_freed
    assert freed.total < estimate.total
    available = int((freed.total + estimate.total) / 2 / 0.95)
    assert fits(freed, available) and not fits(estimate, available)
    card(monkeypatch, available)
    assert not keeps_sampler(config)
    assert check_memory(config, available) is None  # it fits all the same
    card(monkeypatch, 2 * estimate.total)
    assert keeps_sampler(config)


def test_the_flag_does_nothing_for_one_process_and_says_so():
    given = {"model": "tiny", "train_json": ("phantoms",), "reshard_after_forward": True}
    (warning,) = resolve.resolve(given, None).warnings
    assert warning.startswith("--reshard-after-forward: one process has its weights whole")


@pytest.mark.usefixtures("ranks")
def test_several_processes_are_told_nothing_of_it():
    given = {"model": "tiny", "train_json": ("phantoms",), "reshard_after_forward": False}
    assert resolve.resolve(given, None).warnings == ()


def test_on_a_cpu_and_with_adapters_the_copy_that_decodes_stays_whatever_fits(monkeypatch):
    card(monkeypatch, 1)
    assert not keeps_sampler(CONFIG)
    assert keeps_sampler(replace(CONFIG, lora_rank=8))
    assert keeps_sampler(replace(CONFIG, device="cpu", reference_device="cpu"))
