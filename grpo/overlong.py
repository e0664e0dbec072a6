"""What a completion costs that comes near the limit of its length."""

import torch
from torch import Tensor


def overlong_penalties(lengths: Tensor, limit: int, tokens: int) -> Tensor:
    """Return what is taken from each completion's reward, from 0 to 1, of the shape of the lengths.

        penalty = clip((length - (limit - tokens)) / tokens, 0, 1)

    Source: DAPO, arXiv:2503.14476, "soft overlong punishment", equation 13. A completion that is
    cut off has the limit's length, and with it a penalty of 1.

    Args:
        lengths: of completions, in tokens, the end token included.
        limit: the sampling limit.
        tokens: over how many of the last tokens before it the penalty rises; 0: there is none.

    >>> overlong_penalties(torch.tensor([[4, 6, 7, 8]]), limit=8, tokens=4)
    tensor([[0.0000, 0.5000, 0.7500, 1.0000]], dtype=torch.float64)
    """
    if tokens == 0:
        return torch.zeros(lengths.shape, dtype=torch.float64)
    return ((lengths.double() - (limit - tokens)) / tokens).clamp(0, 1)


def overlong_metrics(lengths: Tensor, limit: int, tokens: int) -> dict[str, float]:
    """Return what metrics.jsonl says of the penalties; nothing where there are none.

    Arguments as `overlong_penalties`, the lengths of any shape. The rewards that are logged are
    before the penalties.

    >>> overlong_metrics(torch.tensor([4, 6, 7, 8]), limit=8, tokens=4)
    {'overlong/penalty': 0.5625, 'overlong/penalized': 0.75}
    """
    if tokens == 0:
        return {}
    penalties = overlong_penalties(lengths, limit, tokens)
    return {
        "overlong/penalty": penalties.mean().item(),
        "overlong/penalized": (penalties > 0).double().mean().item(),
    }
