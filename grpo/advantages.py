"""Advantages: judge every completion against the other completions of the same prompt.

Shapes in this file: N prompts (groups), G completions per prompt.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]


def group_advantages(rewards: Tensor, *, scale: Scale = "group", eps: float = 1e-4) -> Tensor:
    """Return how far each reward lies above its group's mean, in units of a spread.

        A[n, g] = (r[n, g] - mean(r[n])) / (spread + eps)

    The mean is always the group's own. The spread is the group's std (DeepSeekMath,
    arXiv:2402.03300, GRPO with outcome supervision), the std of all rewards of the batch
    (arXiv:2508.08221), or nothing is divided (Dr. GRPO, arXiv:2503.20783). A std divides by the
    count minus 1, the choice of TRL and Med-R1, so that our numbers can be compared with theirs.

    Args:
        rewards: (N, G) finite floats, one total reward per completion. G is at least 2: a lone
            completion has nothing to be compared with. Scale "batch" wants all rewards of the
            optimizer batch.
        scale: which spread divides: "group", "batch" or "none".
        eps: not negative; keeps a small spread from making large advantages.

    Returns:
        (N, G) float32 advantages; each group sums to zero. A group whose rewards are all equal
        teaches nothing: its advantages are exactly 0, also with eps = 0.

    Raises:
        TypeError: rewards are not floats.
        ValueError: wrong shape, unknown scale, an eps that is negative or not finite, or a reward
            that is NaN or inf.

    >>> group_advantages(torch.tensor([[1.0, 0.0], [3.0, 3.0]]), scale="none")
    tensor([[ 0.5000, -0.5000],
            [ 0.0000,  0.0000]])
    """
    _check(rewards, scale, eps)
    # The mean of equal rewards may round away from them, and over eps that is an advantage: up to
    # 2e-3 in float32, 1e-13 in float64. Hence float64, and below an exact 0 for such groups.
    exact = rewards.detach().double()  # (N, G)
    advantages = exact - exact.mean(dim=1, keepdim=True)  # (N, G)
    # The spread only scales: whatever divides, a completion is compared with its own group.
    if scale == "group":
        advantages = advantages / (exact.std(dim=1, keepdim=True) + eps)
    if scale == "batch":
        advantages = advantages / (exact.std() + eps)
    agree = exact.amax(dim=1, keepdim=True) == exact.amin(dim=1, keepdim=True)  # (N, 1)
    return advantages.masked_fill(agree, 0.0).float()


def _check(rewards: Tensor, scale: str, eps: float) -> None:
    if not rewards.is_floating_point():
        raise TypeError(f"rewards must be floats, got {rewards.dtype}: convert them with .float()")
    if rewards.dim() != 2 or rewards.shape[1] < 2:
        raise ValueError(
            f"rewards must have shape (N, G) with G at least 2, got {tuple(rewards.shape)}: "
            "pass one total reward per completion, one row per prompt"
        )
    if scale not in get_args(Scale):
        raise ValueError(f"unknown scale {scale!r}: use one of {get_args(Scale)}")
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps must be finite and not negative, got {eps}: use 1e-4 as TRL does")
    if not torch.isfinite(rewards).all():
        where = (~torch.isfinite(rewards)).nonzero().tolist()
        raise ValueError(f"rewards are NaN or inf at [group, row] {where}: check the rewards")
