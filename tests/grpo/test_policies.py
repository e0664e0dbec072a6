"""The two models of a run: when there is a reference, where it lies, and what it shares."""

from dataclasses import replace

import pytest
import torch

from grpo.policies import load_reference, load_trained
from grpo.settings.config import GRPOConfig
from grpo.settings.hardware import resolve_hardware

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
