"""The exact objective, and what the sampled gradient is unbiased for, on a policy of few tokens."""

import math
from itertools import pairwise, product

import pytest
import torch

from grpo.advantages import group_advantages
from grpo.loss import policy_loss, token_weights
from grpo.objectives.enumerated import (
    answer_entropy,
    event_kl,
    exact_loss,
    expected_reward,
    worths,
)

LIMIT, V, END = 3, 3, 0  # tokens of a completion, of the vocabulary, and the one that ends it


def completions() -> list[tuple[int, ...]]:
    """Return all that can be sampled: those that end, and those that the limit cuts off."""
    words = (range(1, V),)
    ended = [(*some, END) for n in range(LIMIT) for some in product(*words * n)]
    return ended + list(product(*words * LIMIT))


ALL = completions()
MASK = torch.tensor([[i < len(some) for i in range(LIMIT)] for some in ALL])  # (15, LIMIT)
REWARDS = torch.linspace(-1, 2, len(ALL), dtype=torch.float64)[torch.arange(len(ALL)) * 4 % 15]
EVERYTHING = torch.ones(1, len(ALL), dtype=torch.bool)
NOTHING = torch.zeros(1, dtype=torch.float64)


def policy(seed: int) -> torch.Tensor:
    """Return logits by position and the token before, (LIMIT, V, V), with gradient."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(LIMIT, V, V, generator=generator, dtype=torch.float64).requires_grad_()


def token_logprobs(logits: torch.Tensor) -> torch.Tensor:
    """Return (15, LIMIT), zeros behind a completion's end."""
    table = logits.log_softmax(dim=2)
    rows = []
    for some in ALL:
        own = [table[i, (END, *some)[i], token] for i, token in enumerate(some)]
        rows.append(torch.stack([*own, *[table.new_zeros(())] * (LIMIT - len(own))]))
    return torch.stack(rows)


def gradient(loss: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss, logits, retain_graph=True)
    return found.flatten()


def oracle(logits: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the loss whose list is everything that can be sampled."""
    whole = token_logprobs(logits).sum(dim=1)[None]
    return gradient(exact_loss(whole, EVERYTHING, REWARDS[None], NOTHING), logits)


def sampled_gradient(logits, group, *, scale="none", baseline="leave_one_out", weights="constant"):
    """Return the gradient that a step has of one group, by the functions of the step."""
    rows = list(group)
    advantages = group_advantages(REWARDS[rows][None], scale=scale, baseline=baseline)[0].double()
    logprobs = token_logprobs(logits)[rows]
    weighed = token_weights(MASK[rows], weights, LIMIT).double()
    loss, _ = policy_loss(
        logprobs,
        logprobs.detach(),
        logprobs.detach(),
        advantages,
        weighed,
        weighed,
        epsilon_low=0.2,
        epsilon_high=0.2,
        beta=0.0,
    )
    return gradient(loss, logits)


def mean_over_all_groups(logits: torch.Tensor, size: int, **variant) -> torch.Tensor:
    """Return the mean of the sampled gradient over every group that can be drawn."""
    p = token_logprobs(logits).sum(dim=1).exp().detach()
    groups = product(range(len(ALL)), repeat=size)
    return sum(
        p[list(group)].prod() * sampled_gradient(logits, group, **variant) for group in groups
    )


def test_everything_that_can_be_sampled_is_listed():
    assert token_logprobs(policy(0)).sum(dim=1).exp().sum().item() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(2))
def test_the_sampled_gradients_mean_is_the_exact_one_over_the_limit(seed):
    logits = policy(seed)
    mean = mean_over_all_groups(logits, 2)
    torch.testing.assert_close(mean, oracle(logits) / LIMIT, rtol=1e-6, atol=1e-8)


def test_the_groups_own_mean_as_baseline_is_short_of_it_by_one_over_the_group():
    logits = policy(0)
    short = mean_over_all_groups(logits, 2, baseline="mean")
    torch.testing.assert_close(short * 2 / (2 - 1), oracle(logits) / LIMIT, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("variant", [{"scale": "group"}, {"weights": "sequence"}])
def test_divided_by_spreads_or_by_lengths_it_points_elsewhere(variant):
    logits = policy(0)
    mean = mean_over_all_groups(logits, 2, **variant)
    assert torch.cosine_similarity(mean, oracle(logits), dim=0) < 0.995  # equal ones: 1 - 1e-12


def drawn_gradients(logits: torch.Tensor, count: int) -> torch.Tensor:
    """Return the gradients of so many groups of two that are drawn from the policy."""
    p = token_logprobs(logits).sum(dim=1).exp().detach()
    pairs = list(product(range(len(ALL)), repeat=2))
    table = torch.stack([sampled_gradient(logits, pair) for pair in pairs])
    probabilities = torch.tensor([p[list(pair)].prod() for pair in pairs])
    generator = torch.Generator().manual_seed(7)
    return table[torch.multinomial(probabilities, count, True, generator=generator)]


def test_the_mean_of_many_groups_agrees_and_its_error_falls_with_the_root_of_their_number():
    logits, count = policy(1), 2**16
    drawn, exact = drawn_gradients(logits, count), oracle(logits) / LIMIT
    error = drawn.mean(dim=0) - exact
    standard_error = drawn.std(dim=0) / count**0.5
    assert (error.abs() <= 4 * standard_error + 1e-12).all()
    # the same bound refuses a gradient that is off by a tenth
    assert ((error - 0.1 * exact).abs() > 4 * standard_error).any()
    errors = [
        (drawn.view(-1, n, drawn.shape[1]).mean(dim=1) - exact).square().sum(dim=1).mean().sqrt()
        for n in (16, 64, 256, 1024)
    ]
    for fewer, more in pairwise(errors):
        assert (fewer / more).item() == pytest.approx(2, rel=0.2)  # of four times as many groups


def two_prompts(seed: int = 3) -> tuple[torch.Tensor, ...]:
    """Return log-probs with gradient and of a reference, which are listed, rewards, the others'."""
    generator = torch.Generator().manual_seed(seed)
    logits, reference, rewards = torch.randn(3, 2, 5, generator=generator, dtype=torch.float64)
    listed = torch.tensor([[True, True, True, False, False], [True, True, False, False, False]])
    other = torch.tensor([-0.5, 0.25], dtype=torch.float64)
    return logits.requires_grad_(), reference.log_softmax(dim=1), listed, rewards, other


def slow_objective(logprobs, ref_logprobs, listed, rewards, other, beta) -> torch.Tensor:
    total = logprobs.new_zeros(())
    for n in range(len(listed)):
        inside = ref_inside = 0.0
        for a in range(listed.shape[1]):
            if listed[n, a]:
                p, q = logprobs[n, a].exp(), ref_logprobs[n, a].exp()
                total = total + p * rewards[n, a] - beta * p * (p / q).log()
                inside, ref_inside = inside + p, ref_inside + q
        left, ref_left = 1 - inside, 1 - ref_inside
        total = total + left * other[n] - beta * left * (left / ref_left).log()
    return total / len(listed)


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_loss_and_gradient_are_those_of_a_loop_over_answers(beta):
    logits, reference, *rest = two_prompts()
    logprobs = logits.log_softmax(dim=1)
    slow = -slow_objective(logprobs, reference, *rest, beta)
    loss = exact_loss(logprobs, *rest, ref_logprobs=reference, beta=beta)
    torch.testing.assert_close(loss, slow)
    torch.testing.assert_close(gradient(loss, logits), gradient(slow, logits))
    # and one answer at a time, by what it is worth
    worth = worths(logprobs, *rest, ref_logprobs=reference, beta=beta)
    by_worth = -(worth * logprobs.exp()).sum() / 2
    assert not worth.requires_grad and not worth[~rest[0]].any()
    torch.testing.assert_close(gradient(by_worth, logits), gradient(slow, logits))


def test_without_a_kl_an_answer_is_worth_what_it_earns_above_the_others():
    logits, _, listed, rewards, other = two_prompts()
    worth = worths(logits.log_softmax(dim=1), listed, rewards, other)
    assert torch.equal(worth[listed], (rewards - other[:, None])[listed])


def test_the_gradient_is_that_of_finite_differences():
    logits, reference, *rest = two_prompts()

    def loss(logits):
        return exact_loss(logits.log_softmax(dim=1), *rest, ref_logprobs=reference, beta=0.7)

    assert torch.autograd.gradcheck(loss, logits)


def test_what_lies_behind_the_list_is_nobodys():
    logits, reference, listed, *rest = two_prompts()
    logprobs = logits.log_softmax(dim=1).detach()
    nan = torch.tensor(float("nan"), dtype=torch.float64)
    dirty = logprobs.where(listed, nan).requires_grad_()
    dirty_reference = reference.where(listed, nan)
    clean = exact_loss(logprobs, listed, *rest, ref_logprobs=reference, beta=0.7)
    loss = exact_loss(dirty, listed, *rest, ref_logprobs=dirty_reference, beta=0.7)
    assert loss.item() == clean.item()
    found = gradient(loss, dirty).view(2, 5)
    assert found.isfinite().all() and not found[~listed].any()
    worth = worths(dirty, listed, *rest, ref_logprobs=dirty_reference, beta=0.7)
    assert worth.isfinite().all()


@pytest.mark.parametrize("seed", range(4))
def test_the_kl_of_events_is_at_most_that_of_completions_and_equal_where_all_are_listed(seed):
    logits, reference, listed, *_ = two_prompts(seed)
    logprobs = logits.log_softmax(dim=1).detach()
    whole = (logprobs.exp() * (logprobs - reference)).sum(dim=1)
    of_events = event_kl(logprobs, reference, listed)
    assert ((of_events >= 0) & (of_events <= whole)).all()
    all_listed = event_kl(logprobs, reference, torch.ones_like(listed))
    torch.testing.assert_close(all_listed, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(event_kl(logprobs, logprobs, listed), torch.zeros(2).double())


def test_probabilities_that_round_above_one_leave_all_finite():
    over = torch.tensor([[0.6, 0.4000005]]).log().requires_grad_()
    reference = torch.tensor([[0.5, 0.25]]).log()
    args = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[1.0, 0.0]]), torch.zeros(1)
    loss = exact_loss(over, *args, ref_logprobs=reference, beta=1.0)
    assert loss.isfinite() and gradient(loss, over).isfinite().all()
    assert worths(over, *args, ref_logprobs=reference, beta=1.0).isfinite().all()


def test_entropy_is_given_that_an_answer_is_written():
    tiny = torch.tensor([[0.5, 0.25, 0.25, 1.0]]).log() - 40
    listed = torch.tensor([[True, True, True, False]])
    assert answer_entropy(tiny, listed).item() == pytest.approx(1.5 * torch.log(torch.tensor(2.0)))
    # of two prompts each has its own: two equal answers, and one alone
    two = (
        torch.tensor([[0.25, 0.25], [0.5, 0.1]]).log(),
        torch.tensor([[True, True], [True, False]]),
    )
    assert answer_entropy(*two).tolist() == pytest.approx([math.log(2), 0.0], abs=1e-6)


def test_where_all_answers_earn_the_same_only_the_others_teach():
    logits, _, listed, rewards, other = two_prompts()
    logprobs = logits.log_softmax(dim=1)
    same = torch.ones_like(rewards) * other[:, None]
    assert not gradient(exact_loss(logprobs, listed, same, other), logits).abs().gt(1e-12).any()
    torch.testing.assert_close(expected_reward(logprobs, listed, same, other), other)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_what_is_not_listed_may_be_anything(beta):
    listed = torch.tensor([[True, True, False]])
    found = []
    for beyond in (0.0, float("nan"), float("-inf")):
        p = torch.tensor([[-1.0, -2.0, beyond]], dtype=torch.float64, requires_grad=True)
        rest = torch.tensor([[2.0, 0.5, beyond], [-1.5, -0.5, beyond]], dtype=torch.float64)
        of_others = torch.tensor([0.25], dtype=torch.float64)
        args = (p, listed, rest[:1], of_others)
        loss = exact_loss(*args, ref_logprobs=rest[1:], beta=beta)
        worth = worths(*args, ref_logprobs=rest[1:], beta=beta)
        found.append((*gradient(loss, p).tolist(), loss.item(), *worth[0].tolist()))
        found[-1] += (answer_entropy(p, listed).item(),)
    assert found[0] == found[1] == found[2] and found[0][2] == 0


def test_what_is_left_counts_down_to_a_millionth_and_no_further():
    # P = 0.999, Q = 0.99: log(0.001 / 0.01); then P = 1, of which nothing is left: log(1e-6 / 0.5)
    p, q, left = torch.tensor(
        [[0.999, 1.0], [0.99, 0.5], [0.001 / 0.01, 1e-6 / 0.5]], dtype=torch.float64
    )[..., None]  # (2, 1) each
    listed, other = torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, dtype=torch.float64)
    worth = worths(p.log(), listed, other[:, None], other, ref_logprobs=q.log(), beta=1.0)
    torch.testing.assert_close(worth, left.log() - (p / q).log())
    expected = p * (p / q).log() + (1 - p) * left.log()
    torch.testing.assert_close(event_kl(p.log(), q.log(), listed), expected[:, 0])
