"""Which tokens are trained, and how much one weighs on which sampler and update disagree."""

import math

import pytest
import torch

from grpo.objectives.factors import high_entropy_mask, quantile, sampler_correction


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_the_quantile_is_torchs(count, share):
    values = torch.randn(count, dtype=torch.float64)
    torch.testing.assert_close(quantile(values, share), values.quantile(share))


def test_of_no_values_there_is_a_quantile_too():
    assert quantile(torch.zeros(0), 0.5) == 0


def test_a_fifth_of_the_tokens_is_trained_and_they_are_the_least_sure_ones():
    generator = torch.Generator().manual_seed(0)
    entropies = torch.rand(20, 10, generator=generator)
    mask = torch.arange(10) < torch.randint(1, 11, (20, 1), generator=generator)
    chosen = high_entropy_mask(entropies, mask, 0.2)
    assert not (chosen & ~mask).any()
    assert chosen.sum().item() == pytest.approx(0.2 * mask.sum().item(), abs=1)
    assert entropies[chosen].min() > entropies[mask & ~chosen].max()


@pytest.mark.parametrize("percent", range(5, 100, 5))
def test_a_token_that_is_the_quantile_is_trained_whatever_the_share_rounds_to(percent):
    # of 21 tokens the 0.3 quantile is number 6 from 0, so that a share of 0.7 trains 21 - 6 = 15
    for count in range(2, 200):
        whole, rest = divmod((100 - percent) * (count - 1), 100)
        if rest == 0:
            entropies = torch.randperm(count)[None] / 8
            chosen = high_entropy_mask(entropies, torch.ones(1, count), percent / 100)
            assert chosen.sum() == count - whole, count


def test_what_stands_in_the_padding_does_not_count():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    entropies = torch.tensor([[0.1, 0.9, 0.0], [0.5, 0.0, 0.0]])
    padded = torch.tensor([[0.1, 0.9, 7.0], [0.5, 7.0, math.nan]])
    chosen = high_entropy_mask(entropies, mask, 0.5)
    assert chosen.tolist() == [[False, True, False], [True, False, False]]
    assert torch.equal(high_entropy_mask(padded, mask, 0.5), chosen)


def test_all_tokens_are_trained_with_a_share_of_one_and_where_a_number_is_lost():
    mask = torch.tensor([[1, 1, 0]])
    assert torch.equal(high_entropy_mask(torch.tensor([[0.1, 0.2, 0.0]]), mask, 1.0), mask.bool())
    lost = torch.tensor([[math.nan, 0.2, 0.0]])
    assert torch.equal(high_entropy_mask(lost, mask, 0.5), mask.bool())


def test_a_token_weighs_what_policy_and_sampler_make_of_it_and_no_more_than_the_cap():
    # exp(-1 + 1.5), exp(-2 + 2), exp(-1 + 3) = 7.39 above the cap of 2
    logprobs = torch.tensor([[-1.0, -2.0, -1.0]], requires_grad=True)
    weights, is_capped = sampler_correction(logprobs, torch.tensor([[-1.5, -2.0, -3.0]]), 2.0)
    torch.testing.assert_close(weights, torch.tensor([[math.exp(0.5), 1.0, 2.0]]))
    assert is_capped.tolist() == [[False, False, True]]
    assert not weights.requires_grad


def test_a_token_that_the_policy_finds_less_likely_weighs_as_little_as_that():
    # it is truncated on one side: exp(-4 + 1) = 0.05, below 1 / 2
    weights, is_capped = sampler_correction(torch.tensor([[-4.0]]), torch.tensor([[-1.0]]), 2.0)
    assert weights.item() == pytest.approx(math.exp(-3)) and not is_capped.item()


def test_without_a_cap_it_makes_the_samplers_mean_the_policys():
    policy, sampler = torch.randn(2, 9, dtype=torch.float64).log_softmax(1)
    values = torch.randn(9, dtype=torch.float64)
    weights, _ = sampler_correction(policy, sampler, math.inf)
    torch.testing.assert_close(
        (sampler.exp() * weights * values).sum(), (policy.exp() * values).sum()
    )


def test_a_weight_that_is_the_cap_is_not_counted_as_capped():
    agreed = torch.tensor([[-1.5, 0.0]])
    weights, is_capped = sampler_correction(agreed, agreed, 1.0)
    assert weights.tolist() == [[1.0, 1.0]] and not is_capped.any()
