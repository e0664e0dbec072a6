"""Advantages: judge every completion against the other completions of the same prompt.

Shapes in this file: N prompts (groups), G completions per prompt.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["sum_then_normalize", "normalize_then_sum"]


def above_mean(rewards: Tensor) -> Tensor:
    """Return r - mean(r of the group), (N, G): GRPO's, DeepSeekMath, arXiv:2402.03300.

    >>> above_mean(torch.tensor([[3.0, 0.0, 0.0]]))
    tensor([[ 2., -1., -1.]])
    """
    return rewards - rewards.mean(dim=1, keepdim=True)


def above_others(rewards: Tensor) -> Tensor:
    """Return r - mean(r of the other G - 1), (N, G), which is G / (G - 1) times `above_mean`.

    Source: RLOO, arXiv:2402.14740. A completion's own reward is not in what it is compared with,
    so that without a spread to divide by the gradient is unbiased.

    >>> above_others(torch.tensor([[3.0, 0.0, 0.0]]))
    tensor([[ 3.0000, -1.5000, -1.5000]])
    """
    size = rewards.shape[1]
    return above_mean(rewards) * (size / (size - 1))


def group_spread(rewards: Tensor, eps: float) -> Tensor:
    """Return std(r of the group) + eps, (N, 1): GRPO's, DeepSeekMath, arXiv:2402.03300.

    As every std here it divides by the count minus 1, the choice of TRL and Med-R1, so that our
    numbers can be compared with theirs.

    >>> group_spread(torch.tensor([[1.0, 3.0], [5.0, 5.0]]), 0.5)
    tensor([[1.9142],
            [0.5000]])
    """
    return rewards.std(dim=1, keepdim=True) + eps


def batch_spread(rewards: Tensor, eps: float) -> Tensor:
    """Return std(r of all groups) + eps, (): one divisor for the batch.

    Source: arXiv:2508.08221 ("Lite PPO"): a group that nearly agrees is not blown up.

    >>> batch_spread(torch.tensor([[1.0, 3.0], [5.0, 5.0]]), 0.5)
    tensor(2.4149)
    """
    return rewards.std() + eps


def no_spread(rewards: Tensor, _eps: float) -> Tensor:
    """Return 1, (): Dr. GRPO's, arXiv:2503.20783. No question counts more for agreeing more.

    >>> no_spread(torch.tensor([[1.0, 3.0]]), 0.5)
    tensor(1.)
    """
    return rewards.new_ones(())


BASELINES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": above_mean,
    "leave_one_out": above_others,
}
SPREADS: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "group": group_spread,
    "batch": batch_spread,
    "none": no_spread,
}


def group_advantages(
    rewards: Tensor, *, scale: str = "group", baseline: str = "mean", eps: float = 1e-4
) -> Tensor:
    """Return how far each reward lies above its group's mean, in units of a spread.

        A[n, g] = (r[n, g] - mean(r[n])) / (std(r[n]) + eps)

    Source: DeepSeekMath, arXiv:2402.03300, GRPO with outcome supervision. What is subtracted and
    what divides are each one of several, in `BASELINES` and `SPREADS`; whatever they are, a
    completion is compared with its own group.

    Args:
        rewards: (N, G) finite floats, one total reward per completion. G is at least 2: a lone
            completion has nothing to be compared with. Scale "batch" wants all rewards of the
            optimizer batch.
        scale: which spread divides: a name in `SPREADS`.
        baseline: what is subtracted: a name in `BASELINES`.
        eps: not negative; keeps a small spread from making large advantages.

    Returns:
        (N, G) float32 advantages; each group sums to zero. A group whose rewards are all equal
        teaches nothing: its advantages are exactly 0, also with eps = 0.

    Raises:
        TypeError: rewards are not floats.
        ValueError: wrong shape, unknown scale or baseline, an eps that is negative or not finite,
            or a reward that is NaN or inf.

    >>> group_advantages(torch.tensor([[1.0, 0.0], [3.0, 3.0]]), scale="none")
    tensor([[ 0.5000, -0.5000],
            [ 0.0000,  0.0000]])
    """
    _check(rewards, scale, baseline, eps)
    # The mean of equal rewards may round away from them, and over eps that is an advantage: up to
    # 2e-3 in float32, 1e-13 in float64. Hence float64, and below an exact 0 for such groups.
    exact = rewards.detach().double()  # (N, G)
    advantages = BASELINES[baseline](exact) / SPREADS[scale](exact, eps)  # (N, G)
    agree = exact.amax(dim=1, keepdim=True) == exact.amin(dim=1, keepdim=True)  # (N, 1)
    return advantages.masked_fill(agree, 0.0).float()


def decoupled_advantages(
    rewards_per_fn: Tensor, weights: Sequence[float], *, eps: float = 1e-4
) -> Tensor:
    """Return advantages of which every reward function has its own share, whatever its spread.

        z[n, g, k] = (r[n, g, k] - mean_g r[n, g, k]) / (std_g r[n, g, k] + eps)
        A[n, g] = sum_k w[k] z[n, g, k] / (std of that sum over the batch + eps)

    Source: GDPO, arXiv:2601.05242. Where rewards are added up before they are compared, one whose
    spread is large hides the others; here each is compared within the group on its own, and the sum
    is brought to the batch's unit spread. The batch's mean is 0 by construction: every group's is.

    Args:
        rewards_per_fn: (N, G, R) finite floats of the whole optimizer batch, G at least 2.
        weights: R of them.
        eps: as of `group_advantages`.

    Returns:
        (N, G) float32; each group sums to zero. A group in which every function agrees has exactly
        0.

    Raises:
        TypeError, ValueError: as `group_advantages`; not one weight per reward function.

    >>> rewards = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[5.0, 1.0], [5.0, 0.0]]])
    >>> decoupled_advantages(rewards, [1.0, 1.0], eps=0.0)
    tensor([[ 0.8660, -0.8660],
            [ 0.8660, -0.8660]])
    """
    if rewards_per_fn.dim() != 3 or rewards_per_fn.shape[2] != len(weights):
        raise ValueError(
            f"rewards must have shape (N, G, R) with one of {len(weights)} weights per function,"
            f" got {tuple(rewards_per_fn.shape)}: give as many weights as functions"
        )
    total = torch.zeros(rewards_per_fn.shape[:2], dtype=torch.float64)  # (N, G)
    for rewards, weight in zip(rewards_per_fn.unbind(dim=2), weights, strict=True):
        total = total + weight * group_advantages(rewards, eps=eps).double()
    all_agree = ~total.any(dim=1, keepdim=True)  # (N, 1)
    return (total / (total.std() + eps)).masked_fill(all_agree, 0.0).float()


def step_advantages(
    rewards_per_fn: Tensor,
    weights: Sequence[float],
    penalties: Tensor,
    *,
    aggregation: Aggregation,
    scale: str,
    baseline: str,
) -> Tensor:
    """Return a step's (N, G) float32 advantages: rewards are added up and compared, or the reverse.

    Args:
        rewards_per_fn: (N, G, R).
        weights: one per reward function.
        penalties: (N, G), taken from the weighted sum; where functions are compared one by one, a
            function of weight -1.
        aggregation: "sum_then_normalize": `group_advantages`; "normalize_then_sum":
            `decoupled_advantages`.
        scale, baseline: of `group_advantages`.

    >>> rewards = torch.tensor([[[1.0, 1.0], [0.0, 1.0]]])  # right and well formed, well formed
    >>> choices = {"aggregation": "sum_then_normalize", "scale": "none", "baseline": "mean"}
    >>> step_advantages(rewards, [1.0, 0.5], torch.tensor([[0.0, 0.25]]), **choices)
    tensor([[ 0.6250, -0.6250]])
    """
    if aggregation == "normalize_then_sum":
        terms = torch.cat([rewards_per_fn, penalties[..., None]], dim=2)  # (N, G, R + 1)
        return decoupled_advantages(terms, [*weights, -1.0])
    totals = rewards_per_fn @ rewards_per_fn.new_tensor(weights)  # (N, G)
    return group_advantages(totals - penalties, scale=scale, baseline=baseline)


def _check(rewards: Tensor, scale: str, baseline: str, eps: float) -> None:
    if not rewards.is_floating_point():
        raise TypeError(f"rewards must be floats, got {rewards.dtype}: convert them with .float()")
    if rewards.dim() != 2 or rewards.shape[1] < 2:
        raise ValueError(
            f"rewards must have shape (N, G) with G at least 2, got {tuple(rewards.shape)}: "
            "pass one total reward per completion, one row per prompt"
        )
    if scale not in SPREADS:
        raise ValueError(f"unknown scale {scale!r}: use one of {tuple(SPREADS)}")
    if baseline not in BASELINES:
        raise ValueError(f"unknown baseline {baseline!r}: use one of {tuple(BASELINES)}")
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps must be finite and not negative, got {eps}: use 1e-4 as TRL does")
    if not torch.isfinite(rewards).all():
        where = (~torch.isfinite(rewards)).nonzero().tolist()
        raise ValueError(f"rewards are NaN or inf at [group, row] {where}: check the rewards")
