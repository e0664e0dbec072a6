"""What the surrogate of single tokens is multiplied by: some are left out, some weigh less.

Shapes in this file: B completions of the optimizer batch, M of a micro-batch, C completion tokens.
"""

import torch
from torch import Tensor


def high_entropy_mask(entropies: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return where the policy was least sure of the next token, (B, C) bool.

        chosen[b, t] = mask[b, t] and H[b, t] >= the (1 - share) quantile of the batch's H

    Source: arXiv:2506.01939 ("forking tokens"): the 20 % of a batch's tokens with the highest
    entropy H, trained alone, did as well as all or better. The quantile (linear between two of
    them) is taken over the whole optimizer batch and of the policy that sampled, so that no
    micro-batch moves it.

    Args:
        entropies: (B, C) nats, of the distribution that each token was sampled from.
        mask: (B, C), 1 for the tokens of completions.
        share: from 0 (none but the most uncertain) to 1 (all).

    >>> entropies = torch.tensor([[0.1, 2.0, 0.3], [1.0, 0.0, 0.0]])
    >>> high_entropy_mask(entropies, torch.tensor([[1, 1, 1], [1, 1, 0]]), share=0.4)
    tensor([[False,  True, False],
            [ True, False, False]])
    """
    mask = mask.bool()
    of_tokens = entropies[mask].double()
    if share >= 1 or not of_tokens.isfinite().all():  # a step whose numbers are NaN is not taken
        return mask
    return mask & (entropies.double() >= quantile(of_tokens, 1 - share))


def quantile(values: Tensor, share: float) -> Tensor:
    """Return what a share of the values lie below, (), linear between two neighbours.

    `torch.quantile` says the same, of up to 16 million values.

    >>> quantile(torch.tensor([4.0, 1.0, 2.0]), 0.75)
    tensor(3.)
    """
    if not len(values):
        return values.new_zeros(())
    ordered = values.sort().values
    # rounded: 1 - 0.7 is 0.30000000000000004, and a place just behind a value would leave it out
    place = round(share * (len(ordered) - 1), 8)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], place - low)


def sampler_correction(logprobs: Tensor, sampled: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Return min(exp(logprobs - sampled), cap), (M, C), without gradient, and where it was capped.

    Sampler and update compute the probability of one token by different kernels, so what was
    sampled is, strictly, another policy's: each token is weighed by how much likelier the policy
    finds it than its sampler did. Source: truncated importance sampling, Ionides (2008), applied to
    rollouts by Yao et al. (2025), "Your efficient RL framework secretly brings you off-policy RL
    training".

    Args:
        logprobs: (M, C) of the policy that sampled, by the update's forward.
        sampled: (M, C) of the same tokens, as the sampler scored them.
        cap: above 0; what no weight exceeds.

    >>> sampler_correction(torch.tensor([[-1.0, -1.0]]), torch.tensor([[-1.0, -3.0]]), 2.0)
    (tensor([[1., 2.]]), tensor([[False,  True]]))
    """
    weights = torch.exp(logprobs.detach() - sampled)  # (M, C)
    return weights.clamp(max=cap), weights > cap
