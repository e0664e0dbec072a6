"""The two models of a run: when there is a reference, where it lies, and what it shares."""

from dataclasses import replace

import pytest
import torch

from grpo.policies import load_reference, load_trained
from grpo.settings.config import GRPOConfig
from grpo.settings.hardware import resolve_hardware
from models import load_policy
from tests.threads_as_ranks import as_ranks

pytestmark = pytest.mark.model


@pytest.fixture
def config() -> GRPOConfig:
    return resolve_hardware(GRPOConfig(device="cpu", image_size=84, beta=0.1))


def test_how_an_image_is_seen_is_said_where_its_size_is_set(config, capsys):
    load_trained(config, config.model)
    assert "images: 84 x 84, seen as " in capsys.readouterr().out
    load_trained(replace(config, image_size=0), config.model)
    assert capsys.readouterr().out == ""


def test_without_a_kl_term_there_is_no_reference(config):
    policy = load_trained(config, config.model)
    assert load_reference(replace(config, beta=0.0), policy) is None


def test_a_beta_that_rises_from_nothing_has_its_reference_from_the_start(config):
    rising = replace(config, beta=0.0, beta_final=0.1, beta_schedule="linear")
    assert load_reference(rising, load_trained(rising, rising.model)) is not None
    assert load_reference(GRPOConfig(method="sft", mode="no_think"), None) is None


def test_the_reference_is_the_start_model_and_never_learns(config):
    policy = load_trained(config, config.model)
    with torch.no_grad():
        policy.output_weight.add_(1.0)  # as after some steps
    reference = load_reference(config, policy)
    assert not any(weight.requires_grad for weight in reference.parameters())
    assert not torch.equal(reference.output_weight, policy.output_weight)


def test_a_frozen_vision_tower_is_held_once_and_a_learning_one_twice(config):
    for freeze in (True, False):
        policy = load_trained(replace(config, freeze_vision=freeze), config.model)
        reference = load_reference(config, policy)
        assert (reference.visual is policy.visual) is freeze


def test_a_reference_on_another_device_is_fetched_layer_by_layer(config, monkeypatch):
    fetched = []
    monkeypatch.setattr(
        "grpo.policies.offload_layers", lambda policy, device: fetched.append((policy, device))
    )
    policy = load_trained(config, config.model)
    reference = load_reference(replace(config, device="cuda"), policy)
    assert fetched == [(reference, torch.device("cuda"))]
    assert reference.device == torch.device("cpu")


def test_with_adapters_these_are_all_that_learns_and_the_reference_is_the_policy_itself(
    config, capsys
):
    adapted = replace(config, lora_rank=2)
    policy = load_trained(adapted, adapted.model)
    trained = {name for name, weight in policy.named_parameters() if weight.requires_grad}
    assert trained and all("lora" in name for name in trained)
    count = sum(w.numel() for w in policy.parameters() if w.requires_grad)
    assert f"adapters: rank 2 beside {', '.join(adapted.lora_targets)}, {count:,} parameters" in (
        " ".join(capsys.readouterr().out.split())
    )
    reference = load_reference(adapted, policy)
    assert reference.output_weight is policy.output_weight  # no second model


def test_a_run_with_adapters_goes_on_from_its_checkpoints(config, tmp_path, monkeypatch):
    adapted, read = replace(config, lora_rank=2, image_size=0), []
    monkeypatch.setattr("grpo.policies.load_adapters", lambda _policy, place: read.append(place))
    load_trained(adapted, adapted.model)
    assert read == []  # fresh ones
    load_trained(adapted, tmp_path)
    (tmp_path / "adapter").mkdir()  # beside weights that they were merged into
    load_trained(adapted, tmp_path)
    assert read == [tmp_path, tmp_path / "adapter"]


def test_several_processes_cut_policy_and_reference_into_shards(config, monkeypatch):
    # In ranks that are threads nothing is loaded: transformers loads in one thread only, and a
    # template is rendered in a fork, which waits for whatever lock another thread holds.
    config = replace(config, image_size=0)
    loaded = [load_policy(config.model, dtype="float32", device="cpu") for _ in range(4)]
    cut = []

    def shard(policy, mesh, **options):
        assert policy.device == torch.device("cpu") and mesh == f"all by {config.device}"
        cut.append(options)
        return policy

    def room_for_a_copy(_config):  # not its sum: it builds the model too, from shapes
        return True

    monkeypatch.setattr("grpo.policies.load_policy", lambda *_, **__: loaded.pop())
    monkeypatch.setattr("grpo.policies.keeps_sampler", room_for_a_copy)
    monkeypatch.setattr("models.sharding.shard.shard", shard)
    monkeypatch.setattr("models.sharding.shard.mesh_of_all", lambda device: f"all by {device}")

    def load(_):
        policy = load_trained(config, config.model)
        return policy.keeps_decoding_copy, load_reference(config, policy)

    [(keeps, reference), _] = as_ranks(2, load)
    assert keeps and not any(weight.requires_grad for weight in reference.parameters())
    of_reference = {"reshard_after_forward": True, "decodes": False}
    assert cut.count(of_reference) == 2 and len(cut) == 4 and loaded == []
    assert {"reshard_after_forward": True, "offload": False} in cut
