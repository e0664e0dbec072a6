"""Group advantages: examples worked by hand, then laws that hold for any rewards."""

import statistics

import pytest
import torch

from grpo.advantages import (
    BASELINES,
    SPREADS,
    above_mean,
    above_others,
    batch_spread,
    decoupled_advantages,
    group_advantages,
    group_spread,
    no_spread,
    step_advantages,
)

NUM_PROMPTS, GROUP_SIZE = 6, 4
any_rewards = pytest.mark.parametrize("seed", range(5))
any_scale = pytest.mark.parametrize("scale", SPREADS)
any_baseline = pytest.mark.parametrize("baseline", BASELINES)


def random_rewards(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(NUM_PROMPTS, GROUP_SIZE, generator=generator) * 2 - 0.5


def test_worked_example():
    # prompt 0: rewards 0, 0, 3 have mean 1 and std sqrt((1 + 1 + 4) / 2) = sqrt(3)
    # prompt 1: rewards 5, 5, 5 agree, so there is nothing to prefer
    rewards = torch.tensor([[0.0, 0.0, 3.0], [5.0, 5.0, 5.0]])
    root3 = 3**0.5
    expected = torch.tensor([[-1 / root3, -1 / root3, 2 / root3], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(group_advantages(rewards, eps=1e-8), expected)


def test_batch_scale_divides_by_the_std_of_all_rewards():
    # rewards 0, 2, 4, 4: the means 1 and 4 are the groups' own; all four have mean 2.5 and
    # std sqrt((6.25 + 0.25 + 2.25 + 2.25) / 3) = sqrt(11 / 3)
    rewards = torch.tensor([[0.0, 2.0], [4.0, 4.0]])
    spread = (11 / 3) ** 0.5
    expected = torch.tensor([[-1 / spread, 1 / spread], [0.0, 0.0]])
    torch.testing.assert_close(group_advantages(rewards, scale="batch", eps=1e-8), expected)


def test_without_scale_only_the_mean_is_removed():
    rewards = torch.tensor([[0.0, 0.0, 3.0], [5.0, 5.0, 5.0]])
    expected = torch.tensor([[-1.0, -1.0, 2.0], [0.0, 0.0, 0.0]])
    assert torch.equal(group_advantages(rewards, scale="none"), expected)


def test_eps_is_added_to_the_spread():
    # rewards 0 and 2: mean 1, std sqrt(2); with eps 1 the divisor is sqrt(2) + 1
    advantages = group_advantages(torch.tensor([[0.0, 2.0]]), eps=1.0)
    torch.testing.assert_close(advantages, torch.tensor([[-1.0, 1.0]]) / (2**0.5 + 1))


@pytest.mark.parametrize("value", [0.1, 1.7, 2.3, 1e8 / 3])
@pytest.mark.parametrize("group_size", [2, 3, 8, 12])
@pytest.mark.parametrize("eps", [1e-4, 0.0])
@any_scale
def test_agreement_gives_exactly_zero(value, group_size, eps, scale):
    # in float32 the rounding of the mean, divided by eps, would be up to 2e-3; in float64 the mean
    # of three times 0.1 is still not 0.1
    rewards = torch.full((2, group_size), value, dtype=torch.float64)
    assert torch.equal(group_advantages(rewards, scale=scale, eps=eps), torch.zeros(2, group_size))


@any_scale
def test_groups_that_agree_on_different_rewards_get_exactly_zero_beside_one_that_does_not(scale):
    # the mean of 0.1 three times is not 0.1, and without an eps the rounding divides itself
    rewards = torch.tensor([[0.1] * 3, [0.7] * 3, [0.1, 0.7, 0.1]], dtype=torch.float64)
    advantages = group_advantages(rewards, scale=scale, eps=0.0)
    assert torch.equal(advantages[:2], torch.zeros(2, 3))
    assert advantages[2].argmax() == 1 and advantages[2, 1] > 0.3


def test_baselines_and_spreads_by_hand():
    # means 2 and 5; of the others 3, 1 and 5, 5; distances from the mean of all, 3.5: 2.5, 0.5,
    # 1.5, 1.5, whose squares are 11 over 3
    rewards = torch.tensor([[1.0, 3.0], [5.0, 5.0]], dtype=torch.float64)
    assert above_mean(rewards).tolist() == [[-1, 1], [0, 0]]
    assert above_others(rewards).tolist() == [[-2, 2], [0, 0]]
    assert group_spread(rewards, 0.5).flatten().tolist() == pytest.approx([2**0.5 + 0.5, 0.5])
    assert batch_spread(rewards, 0.5).item() == pytest.approx((11 / 3) ** 0.5 + 0.5)
    assert no_spread(rewards, 0.5) == 1


@any_rewards
@any_scale
@any_baseline
@pytest.mark.parametrize("offset", [0, 1000])  # float32 would lose four digits of the mean
def test_an_independent_slow_version_agrees(seed, scale, baseline, offset):
    rewards = random_rewards(seed) + offset
    rows = rewards.tolist()
    spread_of_all = statistics.stdev([reward for row in rows for reward in row])
    expected = []
    for row in rows:
        spread = {"group": statistics.stdev(row) + 1e-4, "batch": spread_of_all + 1e-4, "none": 1.0}
        others = [[other for j, other in enumerate(row) if j != i] for i in range(len(row))]
        compared_with = {"mean": [row] * len(row), "leave_one_out": others}[baseline]
        means = [statistics.fmean(some) for some in compared_with]
        pairs = zip(row, means, strict=True)
        expected.append([(reward - mean) / spread[scale] for reward, mean in pairs])
    actual = group_advantages(rewards, scale=scale, baseline=baseline)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, torch.tensor(expected), atol=1e-6, rtol=1e-6)


@any_rewards
@any_scale
def test_each_group_sums_to_zero(seed, scale):
    sums = group_advantages(random_rewards(seed), scale=scale).sum(dim=1)
    torch.testing.assert_close(sums, torch.zeros(NUM_PROMPTS), atol=1e-5, rtol=0)


@any_rewards
@any_scale
def test_a_constant_bonus_changes_nothing(seed, scale):
    rewards = random_rewards(seed).double()  # in float32 the addition itself would round
    with_bonus = group_advantages(rewards + 10, scale=scale)
    torch.testing.assert_close(with_bonus, group_advantages(rewards, scale=scale))


@any_rewards
def test_groups_do_not_see_each_other(seed):
    rewards = random_rewards(seed)
    disturbed = rewards.clone()
    disturbed[1:] = -7.0
    assert torch.equal(group_advantages(rewards)[0], group_advantages(disturbed)[0])


@any_rewards
@any_scale
def test_a_higher_reward_gets_a_higher_advantage(seed, scale):
    rewards = random_rewards(seed)
    advantages = group_advantages(rewards, scale=scale)
    assert torch.equal(rewards.argsort(dim=1), advantages.argsort(dim=1))


@any_scale
def test_the_rewards_are_not_written_to_and_get_no_gradient(scale):
    rewards = random_rewards(0).requires_grad_()
    before = rewards.detach().clone()
    assert not group_advantages(rewards, scale=scale).requires_grad
    assert torch.equal(rewards.detach(), before)


@pytest.mark.parametrize(
    ("rewards", "scale", "eps", "error", "message"),
    [
        (torch.zeros(6), "group", 1e-4, ValueError, r"shape \(N, G\) .* got \(6,\)"),
        (torch.zeros(3, 1), "group", 1e-4, ValueError, r"got \(3, 1\): pass one .* per prompt$"),
        (torch.zeros(2, 2), "std", 1e-4, ValueError, r"scale 'std': use one of \('group', "),
        (torch.zeros(2, 2), "group", -1.0, ValueError, "not negative, got -1.0"),
        (torch.zeros(2, 2), "group", float("nan"), ValueError, "finite .* got nan"),
        (torch.zeros(2, 2), "group", float("inf"), ValueError, "finite .* got inf"),
        (torch.zeros(2, 2, dtype=torch.int64), "group", 1e-4, TypeError, "got torch.int64"),
        (torch.tensor([[0.0, float("nan")], [1.0, 2.0]]), "none", 1e-4, ValueError, r"\[\[0, 1\]"),
        (torch.tensor([[0.0, 1.0], [float("inf"), 2.0]]), "none", 1e-4, ValueError, r"\[\[1, 0\]"),
    ],
)
def test_the_error_says_what_was_wrong(rewards, scale, eps, error, message):
    with pytest.raises(error, match=message):
        group_advantages(rewards, scale=scale, eps=eps)


# --- the others' mean, and rewards compared one by one --------------------------------------------


def test_the_others_mean_worked_by_hand():
    # 3 - (0 + 1) / 2, 0 - (3 + 1) / 2, 1 - (3 + 0) / 2
    advantages = group_advantages(
        torch.tensor([[3.0, 0.0, 1.0]]), scale="none", baseline="leave_one_out"
    )
    assert advantages.tolist() == [[2.5, -2.0, -0.5]]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_leaving_one_out_stretches_the_difference_to_the_mean(scale):
    rewards = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    usual = group_advantages(rewards, scale=scale)
    left_out = group_advantages(rewards, scale=scale, baseline="leave_one_out")
    torch.testing.assert_close(left_out, usual * 5 / 4)


def test_a_completions_own_reward_is_not_in_what_it_is_compared_with():
    # so that with scale "none" its baseline does not depend on what it did
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    higher = torch.tensor([[1.0, 2.0, 9.0]])
    first, second = (
        group_advantages(one, scale="none", baseline="leave_one_out") for one in (rewards, higher)
    )
    assert rewards[0, 2] - first[0, 2] == higher[0, 2] - second[0, 2] == 1.5


def test_each_function_is_compared_on_its_own_worked_by_hand():
    # Function 1 of the first group: 9, 0; of the second it agrees. Function 2: 0, 1 and 1, 0. Each
    # is 1 / sqrt(2) times +-1 within its group; weighted 2 and 1 the sums are, over sqrt(2),
    # 2 - 1 = 1, -1, 1, -1: their std (ddof 1) is sqrt(4 / 3) / sqrt(2).
    rewards = torch.tensor([[[9.0, 0.0], [0.0, 1.0]], [[5.0, 1.0], [5.0, 0.0]]])
    advantages = decoupled_advantages(rewards, [2.0, 1.0], eps=0.0)
    s = (3 / 4) ** 0.5
    torch.testing.assert_close(advantages, torch.tensor([[s, -s], [s, -s]]))


@any_rewards
def test_an_independent_slow_version_of_functions_compared_one_by_one_agrees(seed):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(NUM_PROMPTS, GROUP_SIZE, 3, generator=generator)
    weights = [1.0, 0.5, -2.0]
    sums = []
    for group in rewards.tolist():
        columns = list(zip(*group, strict=True))
        means, spreads = (list(map(of, columns)) for of in (statistics.fmean, statistics.stdev))
        terms = [zip(row, means, spreads, weights, strict=True) for row in group]
        sums.append([sum(w * (r - mean) / (std + 1e-4) for r, mean, std, w in t) for t in terms])
    spread_of_all = statistics.stdev([value for row in sums for value in row]) + 1e-4
    expected = torch.tensor(sums) / spread_of_all
    torch.testing.assert_close(decoupled_advantages(rewards, weights), expected)


def test_a_functions_own_scale_is_nothing_to_the_others():
    generator = torch.Generator().manual_seed(1)
    rewards = torch.randn(4, 6, 3, generator=generator)
    stretched = rewards * torch.tensor([1.0, 1000.0, 0.01]) + torch.tensor([0.0, -7.0, 3.0])
    first, second = (
        decoupled_advantages(one, [1.0, 0.5, 2.0], eps=0) for one in (rewards, stretched)
    )
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    together = [
        group_advantages(one @ torch.tensor([1.0, 0.5, 2.0]), eps=0) for one in (rewards, stretched)
    ]
    assert not torch.allclose(*together, atol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_compared_one_by_one_a_group_sums_to_zero_and_agreement_is_exactly_zero(seed):
    rewards = torch.rand(5, 4, 2, generator=torch.Generator().manual_seed(seed))
    rewards[2] = 0.1  # both functions agree there
    advantages = decoupled_advantages(rewards, [1.0, 0.3])
    torch.testing.assert_close(advantages.sum(dim=1), torch.zeros(5), atol=1e-6, rtol=0)
    assert not advantages[2].any() and advantages[0].any()
    assert advantages.std() == pytest.approx(1, abs=1e-3)
    assert not decoupled_advantages(torch.ones(2, 2, 2), [1.0, 1.0]).any()
    nothing = decoupled_advantages(torch.ones(2, 2, 2), [1.0, 1.0], eps=0.0)
    assert nothing.tolist() == [[0, 0], [0, 0]], "no spread at all, and no NaN"


def test_what_is_compared_is_the_sum_less_the_penalties_or_each_by_itself():
    generator = torch.Generator().manual_seed(2)
    rewards, penalties = torch.rand(3, 4, 2, generator=generator), torch.rand(3, 4)
    how = {"scale": "batch", "baseline": "leave_one_out"}
    summed = step_advantages(
        rewards, [1.0, 0.5], penalties, aggregation="sum_then_normalize", **how
    )
    totals = rewards[..., 0] + 0.5 * rewards[..., 1] - penalties
    torch.testing.assert_close(summed, group_advantages(totals, **how))
    by_itself = step_advantages(
        rewards, [1.0, 0.5], penalties, aggregation="normalize_then_sum", **how
    )
    three = torch.stack([rewards[..., 0], rewards[..., 1], penalties], dim=2)
    assert torch.equal(by_itself, decoupled_advantages(three, [1.0, 0.5, -1.0]))


@pytest.mark.parametrize(
    ("shape", "weights"), [((2, 3), [1.0]), ((2, 3, 2), [1.0]), ((2, 3, 1), [1.0, 1.0])]
)
def test_as_many_weights_as_functions(shape, weights):
    with pytest.raises(ValueError, match=r"\(N, G, R\) with one of \d weights per function, got"):
        decoupled_advantages(torch.rand(shape), weights)


def test_an_unknown_baseline_is_named():
    with pytest.raises(ValueError, match=r"unknown baseline 'median': use one of \('mean'"):
        group_advantages(torch.rand(2, 2), baseline="median")
