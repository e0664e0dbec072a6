"""Silent failures are made loud: each warning is provoked, and silent when nothing is wrong."""

from dataclasses import replace

import pytest
import torch

from grpo.likelihood import completion_logprobs
from grpo.rollout import PromptBatch, sample_rollout
from grpo.settings.config import GRPOConfig
from grpo.watch.first_step import (
    blanked,
    first_rollout_warnings,
    image_warnings,
)
from tests.models.nano import random_image

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(group_size=4, max_completion_tokens=5)
HEALTHY = {"unique_completions": 0.9, "truncated": 0.1}


@pytest.mark.parametrize(
    ("metrics", "well_formed", "settings", "words"),
    [
        ({}, 0.3, {}, []),
        ({}, None, {}, []),
        ({"unique_completions": 0.25}, 1, {}, ["nearly all the same", "raise --temperature"]),
        ({}, 0.0, {}, ["no completion has the tags", "(an Instruct model)"]),
        ({}, 0.0, {"mode": "no_think"}, ["no completion has the tags", "--method sft"]),
        ({"truncated": 0.8}, 1, {}, ["80% of the completions", "raise --max-completion-tokens"]),
        ({"truncated": 0.8}, 1, {"mask_truncated": True}, ["--mask-truncated leaves them out"]),
        ({}, 1, {"top_k": 5}, ["top-k or top-p is on"]),
        ({}, 1, {"top_p": 0.9}, ["top-k or top-p is on", "--logprob-distribution filtered"]),
        ({}, 1, {"top_k": 5, "logprob_distribution": "filtered"}, []),
    ],
)
def test_the_first_rollout_is_looked_at(metrics, well_formed, settings, words):
    config = GRPOConfig(group_size=4, **settings)
    texts = list(first_rollout_warnings(HEALTHY | metrics, well_formed, config))
    assert len(texts) == bool(words)
    assert all(word in texts[0] for word in words)


@pytest.fixture
def batch(nano_policy) -> PromptBatch:
    prompts = (
        nano_policy.processor.encode("Name a modality."),
        nano_policy.processor.encode("Which plane?", [random_image(56, 84)]),
    )
    return PromptBatch(prompts, ("a", "b"), (0, 1), 0)


@pytest.fixture
def rollout(nano_policy, batch):
    return sample_rollout(nano_policy, batch, CONFIG.sampling)


def test_a_policy_that_sees_its_image_is_left_in_peace(nano_policy, rollout):
    assert list(image_warnings(nano_policy, rollout, CONFIG)) == []


def test_tokens_that_top_p_left_alone_are_not_taken_for_blindness(nano_policy, batch):
    config = replace(CONFIG, logprob_distribution="filtered", top_k=2, top_p=1e-3)
    rollout = sample_rollout(nano_policy, batch, config.sampling)
    assert not rollout.completions.logprobs.any(), "every token has probability 1"
    assert list(image_warnings(nano_policy, rollout, config)) == []


def test_it_also_holds_with_a_frozen_vision_tower_and_leaves_no_gradient(nano_policy, rollout):
    nano_policy.visual.requires_grad_(False)
    for parameter in nano_policy.parameters():
        parameter.grad = None  # another test may have left one
    try:
        assert list(image_warnings(nano_policy, rollout, CONFIG)) == []
    finally:
        nano_policy.visual.requires_grad_(True)
    assert all(parameter.grad is None for parameter in nano_policy.parameters())


def test_a_dead_vision_tower_is_noticed(nano_policy, rollout):
    output = nano_policy.visual.merger.mlp[-1]
    weight, bias = output.weight.clone(), output.bias.clone()
    with torch.no_grad():
        output.weight.zero_()
    try:
        texts = list(image_warnings(nano_policy, rollout, CONFIG))
    finally:
        with torch.no_grad():
            output.weight.copy_(weight)
            output.bias.copy_(bias)
    assert len(texts) == 1 and "blanking the image changes no log-probability" in texts[0]


class Disconnected:
    """A policy whose forward forgets the image: the mistake that nobody noticed elsewhere."""

    def __init__(self, policy) -> None:
        self._policy = policy

    def __getattr__(self, name: str):
        return getattr(self._policy, name)

    def scored_hidden(self, prompts, rows, ids, lengths, *, image_features=None, **_):
        features = image_features or self._policy.image_features(prompts)
        zeros = [torch.zeros_like(feature) for feature in features]
        return self._policy.scored_hidden(prompts, rows, ids, lengths, image_features=zeros)


def test_training_without_the_image_is_noticed_twice(nano_policy, rollout):
    texts = list(image_warnings(Disconnected(nano_policy), rollout, CONFIG))
    assert len(texts) == 2
    assert "get no gradient from the sampled tokens" in texts[0]


def test_without_images_there_is_nothing_to_see(nano_policy):
    batch = PromptBatch((nano_policy.processor.encode("Hello."),), ("a",), (0,), 0)
    rollout = sample_rollout(nano_policy, batch, CONFIG.sampling)
    assert list(image_warnings(nano_policy, rollout, CONFIG)) == []


def test_blanking_keeps_everything_but_the_pixels(nano_policy, rollout):
    part = rollout.select(range(4, 8))
    blank = blanked(part)
    assert not blank.prompts[0].pixel_values.any()
    assert part.prompts[0].pixel_values.any()
    assert torch.equal(blank.prompts[0].input_ids, part.prompts[0].input_ids)
    assert completion_logprobs(nano_policy, blank, 1.0).shape == part.completion_ids.shape
