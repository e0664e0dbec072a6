"""A whole GRPO step on the emulated kernels: rollout, reference pass and update agree with torch's.

The backend's name goes the way that `--logprob-backend cuda` takes on a GPU.
"""

from dataclasses import replace

import pytest
import torch

from grpo.clock import StepClock
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.settings import choices
from grpo.settings.config import GRPOConfig
from grpo.sft import sft_step
from grpo.step import train_step
from rewards.bound import each
from tests.models.nano import random_image

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(
    group_size=3,
    max_completion_tokens=6,
    temperature=0.7,
    learning_rate=1e-4,
    rewards=("letters",),
    logprob_backend="torch",
)


def letters(text: str, _example: object) -> float:
    return len(set(text))


@pytest.fixture
def emulated(emulator, monkeypatch) -> GRPOConfig:
    allowed = (*choices.CHOICES["logprob_backend"], "emulate")
    monkeypatch.setitem(choices.CHOICES, "logprob_backend", allowed)
    emulator.launched.clear()
    return replace(CONFIG, logprob_backend="emulate")


@pytest.fixture
def batch(nano_policy) -> PromptBatch:
    prompts = tuple(
        nano_policy.processor.encode(text, [random_image(56, 84)])
        for text in ("Which plane is this?", "Name it.")
    )
    return PromptBatch(prompts, ("a", "b"), (0, 1), 0)


class Still(PolicyOptimizer):
    """Moves no weight, so that two steps start alike."""

    def step(self, _max_grad_norm: float) -> float:
        self.gradients = {name: weight.grad.clone() for name, weight in self.weights.items()}
        return 0.0


def test_a_step_on_the_emulated_kernels_is_the_step_on_torch(
    nano_policy, batch, emulated, emulator
):
    def step(config):
        optimizer, clock = Still(nano_policy, config, 10), StepClock(nano_policy.device)
        rewards = {"letters": each(letters)}
        result = train_step(nano_policy, nano_policy, optimizer, batch, rewards, config, clock)
        return result, optimizer.gradients

    expected, by_torch = step(CONFIG)
    assert not emulator.launched
    result, by_kernels = step(emulated)
    assert torch.equal(result.rollout.completions.ids, expected.rollout.completions.ids)
    for name in ("logprobs", "entropies"):
        ours, theirs = (getattr(r.rollout.completions, name) for r in (result, expected))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    for name, gradient in by_torch.items():
        torch.testing.assert_close(by_kernels[name], gradient, atol=1e-6, rtol=1e-4)
    # the sampler asks for entropies; reference pass and update have one forward each
    sampled = result.rollout.completions.ids.shape[1]
    assert emulator.launched["forward_fp32_entropy"] == sampled
    assert emulator.launched["forward_fp32"] == 2
    assert emulator.launched["backward_fp32_to_fp32"] == 1


def test_the_supervised_step_takes_the_same_kernels(nano_policy, batch, emulated, emulator):
    optimizer, clock = Still(nano_policy, emulated, 10), StepClock(nano_policy.device)
    targets = ["<answer>A</answer>"] * 2
    ours = sft_step(nano_policy, optimizer, batch, targets, emulated, clock)["loss"]
    assert emulator.launched["backward_fp32_to_fp32"] == 1
    theirs = sft_step(nano_policy, optimizer, batch, targets, CONFIG, clock)["loss"]
    assert ours == pytest.approx(theirs, abs=1e-5)
