"""What the loss is told of a step's tokens, worked by hand on two groups of two."""

import math
from dataclasses import replace

import pytest
import torch

from grpo.loss_tables import LossTables
from grpo.rollout import Rollout
from grpo.settings import GRPOConfig
from tests.grpo.test_rollout import rollout

CPU = torch.device("cpu")
LENGTHS = [2, 1, 1, 4]  # tokens of each row
ADVANTAGES = torch.tensor([[1.0, -1.0], [0.5, -0.5]])
WEIGHTS = ("loss_weights", "metric_weights", "entropy_weights")
ONE_GROUP = 8  # tokens: 3 of a prompt and 5 of completions


@pytest.fixture
def sampled() -> Rollout:
    made = rollout([3, 3], LENGTHS, 2)
    completions = replace(
        made.completions,
        entropies=made.completions.mask * torch.tensor([[1.0, 4.0, 0.5, 3.0]]),
        truncated=torch.tensor([False, False, False, True]),
    )
    return replace(made, completions=completions)


def tables_of(
    sampled: Rollout, advantages: torch.Tensor = ADVANTAGES, **settings: object
) -> LossTables:
    old, ref = torch.full((4, 4), -1.0), torch.full((4, 4), -2.0)
    config = GRPOConfig(**{"max_completion_tokens": 4, **settings})
    return LossTables.of(sampled, advantages, old, ref, config, CPU)


def test_a_truncated_row_weighs_nothing_but_is_averaged_over_and_is_in_the_metrics(sampled):
    tables = tables_of(sampled, loss_normalization="sequence", mask_truncated=True)
    assert tables.loss_weights.sum(dim=1).tolist() == [1 / 4, 1 / 4, 1 / 4, 0.0]
    assert tables.metric_weights.sum(dim=1).tolist() == [2 / 8, 1 / 8, 1 / 8, 4 / 8]


def test_over_a_constant_it_is_the_limit_and_not_the_longest_row(sampled):
    tables = tables_of(sampled, loss_normalization="constant", max_completion_tokens=8)
    assert tables.loss_weights.sum(dim=1).tolist() == [2 / 32, 1 / 32, 1 / 32, 4 / 32]


def test_the_entropy_bonus_is_a_mean_over_trained_tokens_whatever_the_loss_is(sampled):
    tables = tables_of(
        sampled,
        loss_normalization="constant",
        mask_truncated=True,
        entropy_bonus=0.1,
        top_entropy_share=0.25,  # the one of 4 nats that is not in the row that is masked
    )
    expected = torch.zeros(4, 4)
    expected[0, 1] = 1.0
    torch.testing.assert_close(tables.entropy_weights, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("masked", "chosen"),
    [
        (True, [2, 1, 1, 0]),  # 1, 1, 1 and 4 nats: the upper 40 % begin at 1
        (False, [1, 0, 0, 2]),  # 1, 0.5, 3 and 4 beside them: at 1.4
    ],
)
def test_the_least_sure_tokens_are_a_share_of_those_that_are_trained(sampled, masked, chosen):
    tables = tables_of(sampled, mask_truncated=masked, top_entropy_share=0.4)
    assert tables.factors.chosen.sum(dim=1).tolist() == chosen


def test_micro_batches_are_told_what_the_whole_batch_is(sampled):
    tables, logprobs = tables_of(sampled, mask_truncated=True), sampled.completions.logprobs
    parts = list(sampled.parts(ONE_GROUP))
    assert len(parts) > 1
    for part in parts:
        measured, sums = tables.cut(part, part.cut(logprobs))
        rows, width = list(part.rows), part.completion_ids.shape[1]
        assert measured["advantages"].tolist() == ADVANTAGES.flatten()[rows].tolist()
        for name in ("old_logprobs", "ref_logprobs", *WEIGHTS):
            assert measured[name].tolist() == getattr(tables, name)[rows, :width].tolist(), name
        assert measured["token_factors"] is None
        assert sums == {}


@pytest.mark.parametrize("groups", [None, [0]])  # all, or those that teach
def test_a_correction_is_a_mean_over_what_it_weighs_whichever_groups_are_run(sampled, groups):
    advantages = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    tables = tables_of(sampled, advantages, sampler_correction_cap=9.0)
    # rows of 2 and 1 tokens that the sampler found 1, 2 and 3 nats less likely than the -1 of old
    claimed = torch.tensor([[-2.0, -3.0], [-4.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    factors = replace(tables.factors, sampled=torch.nn.functional.pad(claimed, (0, 2)))
    tables = replace(tables, factors=factors)
    sums = [
        tables.cut(part, part.cut(sampled.completions.logprobs))[1]
        for part in sampled.parts(ONE_GROUP, groups)
    ]
    mean = sum(each["sampler_correction/mean"] for each in sums)
    capped = sum(each["sampler_correction/capped"] for each in sums)
    assert mean == pytest.approx((math.exp(1) + math.exp(2) + 9) / 3)
    assert capped == pytest.approx(1 / 3)


def test_where_nothing_is_taught_there_is_no_correction_to_log(sampled):
    tables = tables_of(sampled, torch.zeros(2, 2), sampler_correction_cap=9.0)
    part = next(sampled.parts(ONE_GROUP))
    measured, sums = tables.cut(part, part.cut(sampled.completions.logprobs))
    assert measured["token_factors"] is None and sums == {}
    assert set(tables.factors.unknown) == {"sampler_correction/mean", "sampler_correction/capped"}
    assert tables_of(sampled).factors.unknown == {}


def test_without_a_reference_and_in_the_only_pass_the_policy_is_compared_with_itself(sampled):
    tables = replace(tables_of(sampled), old_logprobs=None, ref_logprobs=None)
    part = next(sampled.parts(ONE_GROUP))
    now = torch.full(part.completion_ids.shape, -0.5)
    measured, _ = tables.cut(part, now)
    assert measured["old_logprobs"] is now
    assert measured["ref_logprobs"] is now
    # on a later pass without a reference the KL is to the policy as it is now, and so 0
    measured, _ = replace(tables, old_logprobs=now - 1).cut(part, now)
    assert measured["old_logprobs"].unique().tolist() == [-1.5]
    assert measured["ref_logprobs"] is now


@pytest.mark.parametrize("cap", [2.0, 1.0])
@pytest.mark.parametrize("share", [1.0, 0.75, 0.25])
def test_the_correction_is_of_the_policy_that_sampled_and_its_metrics_of_what_it_weighs(
    sampled, share, cap
):
    # old is -1; the sampler claims -1.5 in three rows, of 4 tokens, and -3 in the last, of 4:
    # exp(0.5) there and exp(2), above both caps, here; what the policy finds now is nothing
    claimed = torch.tensor([[-1.5], [-1.5], [-1.5], [-3.0]]) * sampled.completions.mask
    completions = replace(sampled.completions, logprobs=claimed)
    tables = tables_of(
        replace(sampled, completions=completions),
        sampler_correction_cap=cap,
        top_entropy_share=share,
    )
    factors, totals = torch.zeros(4, 4), {"mean": 0.0, "capped": 0.0}
    for part in sampled.parts(ONE_GROUP):
        measured, sums = tables.cut(part, torch.full(part.completion_ids.shape, -9.0))
        width = part.completion_ids.shape[1]
        factors[list(part.rows), :width] = measured["token_factors"]
        for name in totals:
            totals[name] += sums[f"sampler_correction/{name}"].item()
    # entropies 1 4, 1, 1, 1 4 0.5 3: the upper quarter is of 4 nats, three quarters of 1 and more
    before, last = {1.0: (4, 4), 0.75: (4, 3), 0.25: (1, 1)}[share]  # trained tokens of these rows
    first, tokens = min(math.exp(0.5), cap), before + last
    expected = {
        "mean": (before * first + last * cap) / tokens,
        "capped": last / tokens if cap == 2 else 1.0,
    }
    assert totals == pytest.approx(expected)
    chosen = completions.entropies >= {1.0: 0.5, 0.75: 1.0, 0.25: 4.0}[share]
    weights = torch.tensor([[first]] * 3 + [[cap]]) * chosen
    torch.testing.assert_close(factors.where(completions.mask, 0.0), weights)


def test_without_a_correction_the_chosen_tokens_count_once_and_the_others_not(sampled):
    tables = tables_of(sampled, top_entropy_share=0.25)
    for part in sampled.parts(ONE_GROUP):
        measured, sums = tables.cut(part, part.cut(sampled.completions.logprobs))
        chosen = part.cut(sampled.completions.entropies) == 4.0
        assert measured["token_factors"].tolist() == chosen.float().tolist() and sums == {}
