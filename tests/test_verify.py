"""`--verify-prefix` finds the shared prefix right, and finds a wrong one whatever is wrong."""

from dataclasses import replace

import pytest
import torch
from models_nano import random_image

import models.policy
from grpo.config import GRPOConfig
from grpo.rollout import PromptBatch, sample_rollout
from grpo.verify import FLOAT32_BAR, verify_prefix
from models import load_policy

CONFIG = GRPOConfig(group_size=3, max_completion_tokens=8, temperature=0.8)


@pytest.fixture
def batch(nano_policy) -> PromptBatch:
    encode = nano_policy.processor.encode
    prompts = (
        encode("Which plane is this?", [random_image(56, 84)]),
        encode("What changed?", [random_image(90, 130, seed=1), random_image(56, 56, seed=2)]),
        encode("Name a modality."),
    )
    return PromptBatch(prompts, ("a", "b", "c"), (0, 1, 2), 0)


@pytest.mark.parametrize("settings", [{}, {"micro_batch_tokens": 90}])
def test_the_shared_prefix_passes_and_nothing_is_changed(nano_policy, batch, settings):
    config = replace(CONFIG, **settings)
    rollout = sample_rollout(nano_policy, batch, config)
    for parameter in nano_policy.parameters():
        parameter.grad = None
    before = {name: value.clone() for name, value in nano_policy.state_dict().items()}
    report = verify_prefix(nano_policy, rollout, config)
    assert report.copies == 9 and report.limit == FLOAT32_BAR
    assert 0 < report.error < FLOAT32_BAR and report.logprob_error < 1e-5
    assert report.worst in dict(nano_policy.model.named_parameters())
    assert "9 plain copies" in str(report) and report.worst in str(report)
    assert all(torch.equal(before[n], v) for n, v in nano_policy.state_dict().items())
    assert all(parameter.grad is None for parameter in nano_policy.parameters())


def shifted(prompts, groups):
    positions = packed_positions(prompts, groups)
    positions[..., groups.num_prompt_tokens :] += 1
    return positions


packed_positions = models.policy.packed_positions


@pytest.mark.parametrize("mistake", ["positions", "image", "neighbour"])
def test_a_wrong_prefix_stops_the_run(nano_policy, batch, mistake, monkeypatch):
    rollout = sample_rollout(nano_policy, batch, CONFIG)
    if mistake == "positions":  # completions stand one place too far
        monkeypatch.setattr(models.policy, "packed_positions", shifted)
    elif mistake == "image":  # the vision tower gets no gradient, though every log-prob is right
        features = type(nano_policy).image_features

        def detached(self, prompts):
            return [feature.detach() for feature in features(self, prompts)]

        monkeypatch.setattr(type(nano_policy), "image_features", detached)
    else:  # each row reads the prompt of the next group
        monkeypatch.setattr(
            models.policy.PackedGroups,
            "repeat_prompts",
            lambda self, t: t.roll(1, 0).index_select(0, self.row_to_prompt),
        )
    with pytest.raises(ValueError, match=r"shared prefix is wrong .*nothing was trained"):
        verify_prefix(nano_policy, rollout, CONFIG)


def test_in_bfloat16_the_limit_is_measured(nano_policy, batch):
    policy = load_policy(nano_policy.path, dtype="bfloat16")
    policy.processor = nano_policy.processor
    rollout = sample_rollout(policy, batch, CONFIG)
    report = verify_prefix(policy, rollout, CONFIG)
    assert 1e-3 < report.error <= report.limit < 1
    assert "plain torch.bfloat16 is" in report.baseline


def test_a_wrong_prefix_is_beyond_the_noise_of_bfloat16_too(nano_policy, batch, monkeypatch):
    policy = load_policy(nano_policy.path, dtype="bfloat16")
    policy.processor = nano_policy.processor
    rollout = sample_rollout(policy, batch, CONFIG)
    monkeypatch.setattr(models.policy, "packed_positions", shifted)
    with pytest.raises(ValueError, match="shared prefix is wrong"):
        verify_prefix(policy, rollout, CONFIG)
