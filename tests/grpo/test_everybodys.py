"""What every process holds of a step that several have sampled: as if one had sampled it all."""

from dataclasses import replace

import pytest
import torch

from grpo.everybodys import everybodys, filler_part
from grpo.grounding import GroundingTerm
from grpo.likelihood import frozen_logprobs
from grpo.metrics import UpdateSums
from grpo.rollout import PromptBatch, Rollout, sample_rollout
from grpo.sampling import Completions, no_completions
from grpo.settings.config import GRPOConfig
from process.ranks import world
from tests.threads_as_ranks import as_ranks

pytestmark = pytest.mark.model

GROUP = 2
LENGTHS = [[3, 1], [2, 2], [5, 4]]  # tokens of each row, by prompt


def sampled(policy, prompts: range) -> tuple[PromptBatch, tuple]:
    """Return the step's batch, and what a process has of these prompts: rollout, rewards, term."""
    encoded = [policy.processor.encode(text, []) for text in ("one", "two", "three")]
    batch = PromptBatch(
        tuple(encoded[index] for index in prompts), ("a", "b", "c"), (0, 1, 2), 0,
        first=prompts.start,
    )  # fmt: skip
    lengths = torch.tensor([length for index in prompts for length in LENGTHS[index]])
    rewards = torch.tensor([[[float(i)], [0.5]] for i in prompts]).view(len(prompts), GROUP, 1)
    term = GroundingTerm(torch.zeros(len(prompts), GROUP), torch.ones(len(prompts), 1), measured={})
    if not len(prompts):
        return batch, (Rollout(batch.of_own(), no_completions(), GROUP), rewards, term)
    term = replace(term, measured={"grounding/gap": [float(i) for i in prompts]})
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    made = Completions(
        ids=(torch.full(mask.shape, 7)).where(mask, 0),
        mask=mask,
        logprobs=-1.0 * mask,
        entropies=2.0 * mask,
        truncated=lengths == 5,
        texts=[f"{index} {row}" for index in prompts for row in range(GROUP)],
    )
    return batch, (Rollout(batch.of_own(), made, GROUP), rewards, term)


def held(policy) -> tuple:
    batch, own = sampled(policy, world().place.share(3))
    return everybodys(policy, batch, own)


def test_one_process_alone_has_what_it_sampled_and_fills_nothing_up(nano_policy):
    batch, own = sampled(nano_policy, range(3))
    assert everybodys(nano_policy, batch, own) is own
    assert filler_part(nano_policy) is None


@pytest.mark.parametrize("size", [2, 3, 4])  # the fourth of four has no prompt
def test_rows_stand_in_the_order_of_one_process_and_are_padded_to_the_longest(nano_policy, size):
    _, (alone, rewards, term) = sampled(nano_policy, range(3))
    padded = alone.completions.ids.where(alone.completion_mask, nano_policy.processor.pad_id)
    for found, their_rewards, their_term in as_ranks(size, lambda _: held(nano_policy)):
        for name in ("mask", "logprobs", "entropies", "truncated"):
            both = getattr(found.completions, name), getattr(alone.completions, name)
            assert torch.equal(*both), name
        assert torch.equal(found.completions.ids, padded)
        assert found.texts == alone.texts == [["0 0", "0 1"], ["1 0", "1 1"], ["2 0", "2 1"]]
        assert torch.equal(their_rewards, rewards)
        assert their_term.measured == term.measured == {"grounding/gap": [0.0, 1.0, 2.0]}
        assert torch.equal(their_term.scales, term.scales)


@pytest.mark.parametrize("size", [2, 4])  # the fourth of four has no prompt
def test_the_kept_ids_of_all_stand_by_their_tokens(nano_policy, size):
    def kept_by(mask: torch.Tensor, first: int) -> torch.Tensor:
        rows = torch.arange(len(mask)) + first
        return (rows[:, None, None] + torch.arange(2)).expand(*mask.shape, 2).int()

    of_two = GRPOConfig(logprob_distribution="filtered", top_k=2).sampling

    def filtered(_):
        own = world().place.share(3)
        batch, (rollout, rewards, term) = sampled(nano_policy, own)
        made = sample_rollout(nano_policy, PromptBatch((), (), (), 0), of_two).completions
        if len(own):
            made = rollout.completions
            made = replace(made, kept=kept_by(made.mask, GROUP * own.start))
        scored = replace(rollout, completions=made), rewards, term
        return everybodys(nano_policy, batch, scored)[0]

    for rollout in as_ranks(size, filtered):
        mask = rollout.completion_mask
        assert torch.equal(rollout.completions.kept[mask], kept_by(mask, 0)[mask])


def test_all_run_as_many_micro_batches_and_a_filler_weighs_nothing(nano_policy):
    def cuts(_):
        rollout, *_ = held(nano_policy)
        return rollout, list(rollout.parts(token_budget=1, groups=rollout.batch.own))

    (rollout, first), (_, second) = as_ranks(2, cuts)
    assert [part.rows for part in first] == [(0,), (1,), (2,), (3,)]
    assert [part.rows for part in second] == [(4,), (5,), (), ()]
    filler = second[-1]
    assert filler.num_tokens == 2  # a prompt of one token, and a completion of one
    assert torch.equal(filler.cut(rollout.completions.logprobs), torch.zeros(1, 1))
    assert torch.equal(filler.cut(torch.ones(6)), torch.zeros(1))
    sums = UpdateSums(rollout, torch.device("cpu"))
    before = sums.means(with_kl=False)
    sums.add(filler, torch.full((1, 1), 9.0), {"loss": torch.tensor(5.0)})
    assert sums.means(with_kl=False) == before and before["loss"] == 0


def test_a_filler_writes_no_row_of_the_table_of_log_probabilities(nano_policy):
    config = GRPOConfig(micro_batch_tokens=300, max_completion_tokens=8, device="cpu")

    def scored(_):
        rollout, *_ = held(nano_policy)
        return frozen_logprobs(nano_policy, rollout, config)

    _, own = sampled(nano_policy, range(3))
    whole = frozen_logprobs(nano_policy, own[0], config)
    first, second, third, none = as_ranks(4, scored)
    assert torch.equal(none, torch.zeros_like(whole))  # it ran fillers alone
    torch.testing.assert_close(first + second + third, whole)
