"""A reference is made the policy when that is due, wherever it lies, and saved as it is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.reference_sync import ReferenceSync
from grpo.run.start_point import faults
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.checkpoint import tensor_file
from models.checkpoint.offload import offload_layers
from tests.models.hidden import completion_hidden

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(reference_sync=2, beta=0.1)


@pytest.fixture
def load(nano_policy):
    """Load the start model once more, frozen, or with every weight a little elsewhere."""

    def one(*, moved=False, dtype="float32", freeze_vision=False):
        policy = load_policy(nano_policy.path, dtype=dtype, freeze_vision=freeze_vision)
        if moved:
            move(policy, seed=1)
        return policy if moved else policy.requires_grad_(False)

    return one


def move(policy, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator).to(weight.dtype) * 0.05)


def weights_of(policy) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in policy.named_parameters()}


def assert_equal(found, expected) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_it_is_written_when_that_is_due_and_at_no_other_step(load):
    policy, reference = load(moved=True), load()
    sync = ReferenceSync.of(CONFIG, policy, reference, None)
    start, places = weights_of(reference), [w.data_ptr() for w in reference.parameters()]
    for step in (0, 1):
        sync.start_step(step)
        assert_equal(weights_of(reference), start)
    sync.start_step(2)
    assert_equal(weights_of(reference), weights_of(policy))
    synced = weights_of(policy)
    move(policy, seed=2)
    sync.start_step(3)
    assert_equal(weights_of(reference), synced)
    assert [w.data_ptr() for w in reference.parameters()] == places
    assert [sync.age(step) for step in range(5)] == [0, 1, 0, 1, 0]


def test_without_the_setting_nothing_follows(load):
    policy = load(moved=True)
    assert ReferenceSync.of(replace(CONFIG, reference_sync=0), policy, load(), None) is None
    assert ReferenceSync.of(CONFIG, policy, None, None) is None  # no step of the run has a KL


def test_a_reference_whose_layers_lie_in_cpu_memory_follows_as_any_other(load):
    policy, reference = load(moved=True), offload_layers(load(), "cpu")
    with torch.no_grad():
        prompts = [policy.processor.encode("Which plane?")]
        ids = torch.tensor([[70, 71, 72]])
        expected = completion_hidden(policy, prompts, [1], ids)
        before = completion_hidden(reference, prompts, [1], ids)
        ReferenceSync.of(CONFIG, policy, reference, None).start_step(2)
        torch.testing.assert_close(completion_hidden(reference, prompts, [1], ids), expected)
    assert (before - expected).abs().max() > 0.1


def saved(run, policy, sync, **options):
    optimizer = PolicyOptimizer(policy, CONFIG, total_steps=10)
    return save_checkpoint(
        *(run, 3, policy, optimizer),
        state={},
        card={},
        keep=1,
        reference=sync.tensors(3),
        **options,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("freeze_vision", [False, True])
@pytest.mark.parametrize("part", [None, 20_000])
def test_another_process_goes_on_with_the_same_reference(
    load, tmp_path, monkeypatch, dtype, freeze_vision, part
):
    options = {"dtype": dtype, "freeze_vision": freeze_vision}
    policy, reference = load(moved=True, **options), load(dtype=dtype)
    sync = ReferenceSync.of(CONFIG, policy, reference, None)
    sync.start_step(2)
    synced = weights_of(reference)
    move(policy, seed=2)  # the third step
    if part is not None:
        monkeypatch.setattr(tensor_file, "PART", part)
    place = saved(tmp_path, policy, sync)
    assert faults(place) == []
    files = sorted((place / "trainer").glob("reference*.safetensors"))
    assert (len(files) == 1) is (part is None)
    assert (place / "trainer" / "reference.safetensors.index.json").exists() is (part is not None)
    tensors = {name: value for file in files for name, value in load_file(file).items()}
    assert {value.dtype for value in tensors.values()} == {getattr(torch, dtype)}
    assert any("visual" in name for name in tensors) is not freeze_vision, "what never moves"

    fresh = load(dtype=dtype)
    assert ReferenceSync.of(CONFIG, policy, fresh, place) is not None
    assert_equal(weights_of(fresh), synced)


def test_a_checkpoint_of_weights_alone_has_none(load, tmp_path):
    policy, reference = load(moved=True), load()
    sync = ReferenceSync.of(CONFIG, policy, reference, None)
    place = saved(tmp_path, policy, sync, weights_only=True)
    assert not (place / "trainer").exists() and faults(place) == []


def test_where_it_is_start_model_or_policy_nothing_is_kept_of_it(load):
    config, policy = replace(CONFIG, reference_sync=3), load(moved=True)
    sync = ReferenceSync.of(config, policy, load(), None)
    assert [done for done in range(1, 9) if sync.tensors(done)] == [4, 5, 7, 8]
    for done in (2, 3, 6):  # such a checkpoint is gone on with, and nothing is looked for in it
        reference = load()
        start = weights_of(reference)
        ReferenceSync.of(config, policy, reference, Path(f"checkpoints/step-{done:06}"))
        assert_equal(weights_of(reference), start)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.popitem(), r"it is of another model \(for example "),
        (lambda tensors: tensors.update(strange=torch.ones(2)), r"another model .*strange"),
        (lambda tensors: tensors.update({min(tensors): torch.ones(2)}), "it is of another model"),
        (lambda tensors: next(iter(tensors.values())).fill_(torch.nan), "holds NaN or inf in "),
    ],
)
def test_a_reference_that_cannot_be_gone_on_with_is_named(load, tmp_path, damage, message):
    policy, reference = load(moved=True), load()
    place = saved(tmp_path, policy, ReferenceSync.of(CONFIG, policy, reference, None))
    file = place / "trainer" / "reference.safetensors"
    tensors = load_file(file)
    damage(tensors)
    save_file(tensors, file)
    expected = rf"step-000003 cannot be resumed: trainer/reference.safetensors.*{message}"
    with pytest.raises(ValueError, match=rf"{expected}.*--resume-from"):
        ReferenceSync.of(CONFIG, policy, load(), place)
    file.unlink()
    with pytest.raises(ValueError, match=r"reference.safetensors cannot be read .*--resume-from"):
        ReferenceSync.of(CONFIG, policy, load(), place)
