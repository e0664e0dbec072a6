"""Nowhere but in the sampler's single step does a tensor of logits exist whole.

Every pass runs under a dispatch mode that sees every tensor, those inside our operators too, with
tiles so small that all logits of a pass would stand out.

Letters: N scored tokens, V vocabulary, B rows (completions).
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

import grpo.step
from evaluation.asking.option_letters import letter_probabilities
from grpo.clock import StepClock
from grpo.logprobs import api
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch, sample_rollout
from grpo.settings.config import GRPOConfig
from grpo.sft import sft_step
from grpo.step import train_step
from grpo.watch.first_step import image_warnings
from rewards.bound import each
from tests.grpo.logprobs.logprobs_cases import TensorSpy
from tests.models.nano import random_image

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(
    group_size=4,
    max_completion_tokens=12,
    num_iterations=2,
    micro_batch_tokens=100_000,
    rewards=("length",),
    learning_rate=1e-4,
)
COLUMNS = 8  # of a tile


class LogitsSpy(TensorSpy):
    """Remembers how many rows of logits any tensor holds: elements over V, or rows of V columns."""

    def __init__(self, vocab_size: int, columns_elsewhere: set[int]) -> None:
        super().__init__()
        self.vocab_size, self.known, self.rows = vocab_size, columns_elsewhere, 0

    def see(self, tensor: torch.Tensor) -> None:
        # the weight itself and its gradient have V rows, or V columns where they are transposed
        if tensor.shape[-1:] == (self.vocab_size,) and tensor.shape[0] not in self.known:
            self.rows = max(self.rows, tensor.numel() // self.vocab_size)


@pytest.fixture
def batch(nano_policy) -> PromptBatch:
    prompts = tuple(
        nano_policy.processor.encode(text, [random_image(56, 84)])
        for text in ("Which plane is this?", "What changed?", "Name it.")
    )
    return PromptBatch(prompts, ("a", "b", "c"), (0, 1, 2), 0)


@pytest.fixture
def spy(nano_policy, monkeypatch) -> Iterator[LogitsSpy]:
    vocab_size, hidden_size = nano_policy.output_weight.shape
    # 48 tokens at most: 8 columns and more of float32
    monkeypatch.setitem(api.TILE_BYTES, "cpu", 48 * COLUMNS * 4)
    yield LogitsSpy(vocab_size, {hidden_size})


def length(text: str, _example: object) -> float:
    return len(set(text))


@pytest.mark.parametrize(
    "variant", [{}, {"logprob_distribution": "filtered", "top_k": 5, "entropy_bonus": 0.1}]
)
def test_a_training_step_makes_no_tensor_of_logits(nano_policy, batch, spy, monkeypatch, variant):
    config = replace(CONFIG, **variant)
    sampled = []

    def sample_unseen(*arguments, **options):
        # the sampler's own logits, of one token of each row, are the exception
        with torch.utils._python_dispatch._disable_current_modes():
            sampled.append(sample_rollout(*arguments, **options))
        return sampled[-1]

    monkeypatch.setattr(grpo.step, "sample_rollout", sample_unseen)
    optimizer = PolicyOptimizer(nano_policy, CONFIG, total_steps=10)
    clock = StepClock(nano_policy.device)
    with spy:
        train_step(
            nano_policy, nano_policy, optimizer, batch, {"length": each(length)}, config, clock
        )
        list(image_warnings(nano_policy, sampled[0], config))
    assert sampled[0].completion_mask.sum() > 24  # N: it would have stood out
    assert spy.seen > 1000
    assert spy.rows == 0


def test_the_sampler_makes_those_of_one_token_per_row(nano_policy, batch, spy):
    with spy:
        sample_rollout(nano_policy, batch, CONFIG.sampling)
    assert spy.rows == 12  # B


def test_supervised_steps_and_evaluations_make_none(nano_policy, batch, spy):
    optimizer = PolicyOptimizer(nano_policy, CONFIG, total_steps=10)
    clock = StepClock(nano_policy.device)
    with spy:
        sft_step(nano_policy, optimizer, batch, ["<answer>A</answer>"] * 3, CONFIG, clock)
        texts = ["<answer>A</answer>"] * 3
        with torch.no_grad():
            letter_probabilities(nano_policy, batch.prompts, texts, [4, 4, 2])
    assert spy.seen > 1000
    assert spy.rows == 0


def test_the_spy_sees_logits(nano_policy, spy):
    hidden = torch.randn(24, nano_policy.output_weight.shape[1])
    with spy:
        (hidden @ nano_policy.output_weight.T).log_softmax(dim=1)
    assert spy.rows == 24
