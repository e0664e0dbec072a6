"""What is logged of a step, worked by hand: its rollout, and the sums over its micro-batches."""

from dataclasses import replace

import pytest
import torch

from grpo.metrics import UpdateSums, rollout_metrics
from grpo.rollout import Rollout
from tests.grpo.test_rollout import rollout

CPU = torch.device("cpu")
# Two groups of two: rows of 2, 1, 1 and 4 tokens.
LENGTHS = [2, 1, 1, 4]
ONE_GROUP = 8  # tokens: 3 of a prompt and 5 of completions


@pytest.fixture
def sampled() -> Rollout:
    made = rollout([3, 3], LENGTHS, 2)
    entropies = made.completions.mask * torch.tensor([[1.0], [2.0], [3.0], [0.0]])
    truncated = torch.tensor([False, False, False, True])
    texts = ["a", "a", "b", "c"]
    changed = replace(made.completions, entropies=entropies, truncated=truncated, texts=texts)
    return replace(made, completions=changed)


def test_a_rollout_worked_by_hand(sampled):
    rewards_per_fn = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]])
    rewards = rewards_per_fn @ torch.tensor([1.0, 0.5])  # 1, 0.5; 1.5, 1.5
    advantages = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    metrics = rollout_metrics(sampled, ["accuracy", "format"], rewards_per_fn, rewards, advantages)
    assert metrics == pytest.approx(
        {
            "reward": 4.5 / 4,
            "reward/accuracy": 3 / 4,
            "reward/format": 3 / 4,
            "advantage/std": (2 / 3) ** 0.5,
            "zero_std_groups": 1 / 2,
            "entropy": (2 * 1 + 2 + 3 + 0) / 8,  # over tokens, not over rows
            "completion_tokens": 8 / 4,
            "truncated": 1 / 4,
            "unique_completions": (1 / 2 + 1) / 2,  # equal texts count within their group alone
        }
    )


def add_pass(sums: UpdateSums, sampled: Rollout, gap: float, **metrics: float) -> None:
    sums.start_pass()
    for part in sampled.parts(ONE_GROUP):
        logprobs = part.cut(sampled.completions.logprobs) + gap
        sums.add(part, logprobs, {name: torch.tensor(value) for name, value in metrics.items()})
    sums.end_pass()


@pytest.mark.parametrize("passes_before", [0, 1])
def test_a_pass_that_is_begun_again_counts_once(sampled, passes_before):
    both = UpdateSums(sampled, CPU), UpdateSums(sampled, CPU)
    for sums in both:
        for _ in range(passes_before):
            add_pass(sums, sampled, 0.5, loss=3.0, kl=4.0)
    both[0].start_pass()  # and breaks off after its first micro-batch
    part = next(sampled.parts(ONE_GROUP))
    both[0].add(part, part.cut(sampled.completions.logprobs) + 2, {"loss": torch.tensor(1.0)})
    for sums in both:
        add_pass(sums, sampled, 0.25, loss=1.0, kl=2.0)
    assert both[0].means(with_kl=True) == both[1].means(with_kl=True)


def test_weighted_sums_add_up_and_those_of_the_last_pass_count(sampled):
    sums = UpdateSums(sampled, CPU)
    add_pass(sums, sampled, 0.25, loss=1.0, kl=2.0, clip_fraction=0.5)
    add_pass(sums, sampled, 9.0, loss=0.5, kl=0.25, clip_fraction=0.125)
    means = sums.means(with_kl=True)
    assert (means["loss"], means["kl"], means["clip_fraction"]) == (1.0, 0.5, 0.25)
    assert sums.means(with_kl=False)["kl"] is None


def test_the_gap_is_that_of_the_first_pass_over_tokens(sampled):
    sums = UpdateSums(sampled, CPU)
    add_pass(sums, sampled, -0.25, loss=0.0)
    add_pass(sums, sampled, 9.0, loss=0.0)
    means = sums.means(with_kl=True)
    assert means["logprob_gap/mean"] == means["logprob_gap/max"] == 0.25  # padding left out


def test_padding_is_the_share_of_slots_without_a_token(sampled):
    sums = UpdateSums(sampled, CPU)
    add_pass(sums, sampled, 0.0, loss=0.0)
    slots = sum(part.completion_mask.numel() for part in sampled.parts(ONE_GROUP))
    assert sums.means(with_kl=True)["padding"] == 1 - 8 / slots


def test_an_update_without_a_taught_row_has_a_loss_of_zero_and_no_gap(sampled):
    means = UpdateSums(sampled, CPU).means(with_kl=False)
    assert means["loss"] == means["clip_fraction"] == 0.0
    assert means["logprob_gap/mean"] is means["logprob_gap/max"] is means["padding"] is None
