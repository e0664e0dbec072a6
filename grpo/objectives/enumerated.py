"""The expected reward itself, where the completions that matter are few enough to be listed.

Of a prompt's completions some are listed, with their log-probabilities and rewards; all the others
are one event, which earns one reward. With p(c) the policy's probability of a listed completion c,
P their sum, q and Q the reference's,

    J  = sum_c p(c) R(c) + (1 - P) R_other
    KL = sum_c p(c) log(p(c) / q(c)) + (1 - P) log((1 - P) / (1 - Q))

J is the policy's expected reward exactly, if all that is not listed earns R_other. The KL is that
of the events that are told apart: exact, never negative, at most that of whole completions, and
equal to it where P and Q are 1. Nothing is sampled, so the gradient has no variance.

What a sampled gradient is unbiased for: a step that samples G completions of each prompt, with
advantages R - (mean of the others) (scale "none", baseline "leave_one_out": the group's mean, times
G / (G - 1)), token weights "constant" and one pass, has on average the gradient of -J / L, L the
limit of tokens, for the J whose list is everything that can be sampled, completions cut off at the
limit among them. Weights "sequence" divide each completion by its own length, and "token" by the
batch's: they are unbiased for J alone where all lengths agree.

Shapes: N prompts, A listed completions of the prompt that has most of them.
"""

import torch
from torch import Tensor

# Log-probabilities in float32 add up to 1 to about this: less cannot be told from nothing, and a
# logarithm of nothing is no number.
LEAST_OTHER = 1e-6


def expected_reward(logprobs: Tensor, listed: Tensor, rewards: Tensor, other: Tensor) -> Tensor:
    """Return J of each prompt, (N,), with the gradient of the policy's expected reward.

    Args:
        logprobs: (N, A) of whole completions.
        listed: (N, A) bool, false where a prompt has fewer; the others may hold anything there.
        rewards: (N, A).
        other: (N,) the reward of each completion that is not listed.

    >>> half, quarter = torch.tensor([[0.5, 0.25]]).log(), torch.tensor([[4.0, 8.0]])
    >>> expected_reward(half, torch.ones(1, 2, dtype=torch.bool), quarter, torch.tensor([-2.0]))
    tensor([3.5000])
    """
    p = _probabilities(logprobs, listed)  # (N, A)
    return (p * rewards.where(listed, 0.0)).sum(dim=1) + (1 - p.sum(dim=1)) * other


def event_kl(logprobs: Tensor, ref_logprobs: Tensor, listed: Tensor) -> Tensor:
    """Return KL(policy, reference) of each prompt's events, (N,); arguments as `expected_reward`.

    >>> p, q = torch.tensor([[0.5, 0.25]]), torch.tensor([[0.25, 0.5]])
    >>> event_kl(p.log(), q.log(), torch.ones(1, 2, dtype=torch.bool))  # (0.5 - 0.25) log 2
    tensor([0.1733])
    """
    p = _probabilities(logprobs, listed)  # (N, A)
    outside = 1 - p.sum(dim=1)  # (N,)
    log_ratios = (logprobs - ref_logprobs).where(listed, 0.0)  # (N, A)
    return (p * log_ratios).sum(dim=1) + outside * _log_other(logprobs, ref_logprobs, listed)


def exact_loss(
    logprobs: Tensor,
    listed: Tensor,
    rewards: Tensor,
    other: Tensor,
    *,
    ref_logprobs: Tensor | None = None,
    beta: float = 0.0,
) -> Tensor:
    """Return the mean over prompts of beta KL - J: the oracle that a sampled gradient estimates.

    Arguments as `expected_reward`; ``ref_logprobs``, (N, A), are wanted where beta is not 0.

    >>> args = torch.tensor([[0.5, 0.25]]).log(), torch.ones(1, 2, dtype=torch.bool)
    >>> args = *args, torch.tensor([[4.0, 8.0]]), torch.tensor([-2.0])
    >>> exact_loss(*args)  # -(0.5 * 4 + 0.25 * 8 + 0.25 * -2)
    tensor(-3.5000)
    >>> exact_loss(*args, ref_logprobs=torch.tensor([[0.25, 0.5]]).log(), beta=1.0)  # + the KL
    tensor(-3.3267)
    """
    objective = expected_reward(logprobs, listed, rewards, other)  # (N,)
    if beta:
        assert ref_logprobs is not None, "a KL is one to something"
        objective = objective - beta * event_kl(logprobs, ref_logprobs, listed)
    return -objective.mean()


def worths(
    logprobs: Tensor,
    listed: Tensor,
    rewards: Tensor,
    other: Tensor,
    *,
    ref_logprobs: Tensor | None = None,
    beta: float = 0.0,
) -> Tensor:
    """Return (N, A) without gradient: what each p(c) is multiplied by in the objective's gradient.

        w(c) = R(c) - R_other - beta (log(p(c) / q(c)) - log((1 - P) / (1 - Q)))

    The gradient of -mean_n sum_c w(c) p(c) is `exact_loss`'s: what the logarithms' own derivatives
    add is the derivative of the sum of all events' probabilities, which is 1. It needs one
    completion at a time, so that those of a prompt can be run in different micro-batches. 0 where
    nothing is listed.

    >>> args = torch.tensor([[0.5, 0.25]]).log(), torch.ones(1, 2, dtype=torch.bool)
    >>> worths(*args, torch.tensor([[4.0, 8.0]]), torch.tensor([-2.0]))
    tensor([[ 6., 10.]])
    """
    gains = rewards - other[:, None]  # (N, A)
    if beta:
        assert ref_logprobs is not None, "a KL is one to something"
        others = _log_other(logprobs, ref_logprobs, listed)  # (N,)
        gains = gains - beta * (logprobs - ref_logprobs - others[:, None])
    return gains.where(listed, 0.0).detach()


def answer_entropy(logprobs: Tensor, listed: Tensor) -> Tensor:
    """Return the entropy, (N,) in nats, of which listed completion it is, given that it is one.

    >>> answer_entropy(torch.tensor([[-9.0, -9.0, 0.0]]), torch.tensor([[True, True, False]]))
    tensor([0.6931])
    """
    # finite behind the mask: -inf times a probability of 0 would be NaN
    logits = logprobs.masked_fill(~listed, -1e30).log_softmax(dim=1)  # (N, A)
    return -(logits.exp() * logits).where(listed, 0.0).sum(dim=1)


def _probabilities(logprobs: Tensor, listed: Tensor) -> Tensor:
    # replaced before exp: what lies behind the mask may be anything, and so would its gradient
    return logprobs.where(listed, -torch.inf).exp()


def _log_other(logprobs: Tensor, ref_logprobs: Tensor, listed: Tensor) -> Tensor:
    """Return log((1 - P) / (1 - Q)), (N,)."""
    inside = [_probabilities(some, listed).sum(dim=1) for some in (logprobs, ref_logprobs)]
    ours, theirs = ((1 - one).clamp(min=LEAST_OTHER).log() for one in inside)  # (N,) each
    return ours - theirs
