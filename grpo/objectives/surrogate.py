"""The surrogate, which the update raises: the ratio times the advantage, bounded in some way.

Each returns the surrogate and where its bound holds, both (M, C); how often it does is logged as
`clip_fraction`.

Shapes in this file: M completions of a micro-batch, C completion tokens.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

SAPO_TEMPERATURES = 1.0, 1.05  # the paper's, of positive advantages and of the others


class RatioLimits(NamedTuple):
    """How far a ratio counts."""

    epsilon_low: float  # down to 1 - this
    epsilon_high: float  # up to 1 + this; with "cispo" up to this itself
    ratio_cap: float  # and nowhere above this, whatever the advantage's sign; 0: no such bound


def clipped(
    ratio: Tensor, _logprobs: Tensor, advantages: Tensor, limits: RatioLimits
) -> tuple[Tensor, Tensor]:
    """Return min(r A, clip(r, 1 - epsilon_low, 1 + epsilon_high) A), and where r moves it no more.

    Source: PPO's, as in DeepSeekMath, arXiv:2402.03300, equation 3; two epsilons from DAPO,
    arXiv:2503.14476 ("clip-higher"). With a cap, r in the first term is min(r, cap): a token of
    negative advantage whose ratio has exploded is pulled back no harder than that (two-sided
    clipping, INTELLECT-2, arXiv:2505.07291, delta there).

    Args:
        ratio: (M, C), with gradient.
        _logprobs: (M, C), not used.
        advantages: (M, 1).
        limits: of the ratio.

    >>> ratio, limits = torch.tensor([[1.5, 9.0]]), RatioLimits(0.2, 0.2, 4.0)
    >>> clipped(ratio, ratio, torch.tensor([[1.0]]), limits)[0]
    tensor([[1.2000, 1.2000]])
    >>> clipped(ratio, ratio, torch.tensor([[-1.0]]), limits)[0]
    tensor([[-1.5000, -4.0000]])
    """
    # The smaller of the two: a token gains nothing by leaving the range on the side that its
    # advantage points to, so there its gradient is 0; on the other side it is pulled back.
    unclipped = ratio * advantages  # (M, C)
    capped = ratio.clamp(max=limits.ratio_cap) * advantages if limits.ratio_cap else unclipped
    within = ratio.clamp(1 - limits.epsilon_low, 1 + limits.epsilon_high) * advantages  # (M, C)
    surrogate = torch.minimum(capped, within)  # (M, C)
    return surrogate, surrogate != unclipped


def cispo(
    ratio: Tensor, logprobs: Tensor, advantages: Tensor, limits: RatioLimits
) -> tuple[Tensor, Tensor]:
    """Return stop_grad(min(r, epsilon_high)) A logprob, and where the ratio was above.

    Source: CISPO, MiniMax-M1, arXiv:2506.13585, equation 4, with its upper bound alone, as it was
    used there. The ratio is a weight, and what has a gradient is the log-probability: no token is
    left out of the update, however far it has moved. Here epsilon_high is the bound itself, not a
    distance from 1, as in TRL: about 5 (ScaleRL, arXiv:2510.13786).

    Args:
        ratio: (M, C); its gradient is not used.
        logprobs: (M, C), with gradient.
        advantages: (M, 1).
        limits: of which epsilon_high counts.

    >>> logprobs, limits = torch.tensor([[-1.0, -2.0]]), RatioLimits(0.2, 5.0, 0.0)
    >>> cispo(torch.tensor([[1.0, 8.0]]), logprobs, torch.tensor([[0.5]]), limits)
    (tensor([[-0.5000, -5.0000]]), tensor([[False,  True]]))
    """
    weight = ratio.detach().clamp(max=limits.epsilon_high)  # (M, C)
    return weight * advantages * logprobs, ratio > limits.epsilon_high


def soft_gate(
    ratio: Tensor, _logprobs: Tensor, advantages: Tensor, _limits: RatioLimits
) -> tuple[Tensor, Tensor]:
    """Return 4 / T sigmoid(T (r - 1)) A, and False everywhere: nothing is cut off.

    Source: SAPO, arXiv:2511.20347. The gradient is the ratio's at r = 1 and fades on both sides of
    it, faster where the advantage is not positive: T is 1.05 there, else 1.

    Args:
        ratio: (M, C), with gradient.
        _logprobs: (M, C), not used.
        advantages: (M, 1).
        _limits: not used.

    >>> ratio, limits = torch.ones(1, 2), RatioLimits(0, 0, 0)
    >>> soft_gate(ratio, ratio, torch.tensor([[3.0]]), limits)[0]
    tensor([[6., 6.]])
    """
    of_positive, of_others = SAPO_TEMPERATURES
    temperature = torch.full_like(advantages, of_others)  # (M, 1)
    temperature[advantages > 0] = of_positive
    gate = 4 / temperature * torch.sigmoid(temperature * (ratio - 1))  # (M, C)
    return gate * advantages, torch.zeros_like(ratio, dtype=torch.bool)


SurrogateFunction = Callable[[Tensor, Tensor, Tensor, RatioLimits], tuple[Tensor, Tensor]]

SURROGATES: Mapping[str, SurrogateFunction] = {"clip": clipped, "cispo": cispo, "sapo": soft_gate}
