"""Log-probabilities under a distribution that top-k and top-p have left few ids of.

Only the rows of the output embedding that belong to these ids are read, so no logits of the
whole vocabulary are made here, not even by tiles.

Shapes in this file: N scored tokens, D hidden size, V vocabulary, K ids kept for each token.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

ROW_BYTES = {"cuda": 256 * 2**20, "cpu": 16 * 2**20}  # of embedding rows read at once


def kept_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    kept: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the targets' log-probabilities among the kept ids alone, and entropies if asked.

        z = hidden weight^T / temperature
        logprobs = z[target] - logsumexp over the kept ids of z

    which is log p(target) - log of the total that the kept ids have of the whole distribution.
    Differentiable in ``hidden`` and ``weight``, once. Which ids are kept is given, and has no
    gradient: they are those that the policy kept when it sampled, whatever it finds likely now, as
    DeepSeek-V3.2 does ("keep sampling mask", arXiv:2512.02556).

    Args:
        hidden: (N, D) float32, bfloat16 or float64.
        weight: (V, D), the output embedding, of hidden's dtype, or a float32 master of bfloat16.
        targets: (N,) int64, each one of its kept ids; where it is not, the result is NaN.
        kept: (N, K) ids, at least one each; -1 behind a token's last. Banned ids are not kept.
        temperature: divides the logits.
        with_entropy: whether the entropies of these distributions are wanted.

    Returns:
        logprobs (N,) and entropies (N,) or None; float32, or float64 for float64 hidden.

    >>> kept = torch.tensor([[0, 2, -1]])
    >>> found, _ = kept_logprobs(torch.zeros(1, 3), torch.ones(4, 3), torch.tensor([2]), kept)
    >>> found.exp()
    tensor([0.5000])
    """
    ids = kept.long()  # (N, K)
    is_kept = ids >= 0
    logits = _KeptLogits.apply(hidden, weight, ids.clamp(min=0)) / temperature  # (N, K)
    log_p = logits.masked_fill(~is_kept, -torch.inf).log_softmax(dim=1)
    is_target = ids == targets[:, None]
    place = is_target.to(torch.int8).argmax(dim=1, keepdim=True)  # (N, 1)
    found = log_p.gather(1, place)[:, 0].where(is_target.any(dim=1), torch.nan)
    if not with_entropy:
        return found, None
    # 0 in place of the -inf of what is not kept: 0 * -inf is NaN, in the sum and in its gradient
    return found, -(log_p.exp() * log_p.masked_fill(~is_kept, 0.0)).sum(dim=1)


class _KeptLogits(torch.autograd.Function):
    """Logits (N, K) of K ids for each of N states; neither pass keeps the rows that it has read."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight, ids)
        logits = hidden.new_empty(ids.shape, dtype=_wide(hidden))
        for some, rows in _rows_of(weight, ids, hidden):
            logits[some] = torch.einsum("nkd,nd->nk", rows, hidden[some].to(rows.dtype))
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        hidden, weight, ids = ctx.saved_tensors
        (grad_logits,) = gradients  # (N, K)
        wants_hidden, wants_weight, _ = ctx.needs_input_grad
        wide = _wide(hidden)
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        # many tokens keep the same ids: their sum must not be rounded at each of them
        grad_weight = torch.zeros_like(weight, dtype=wide) if wants_weight else None
        for some, rows in _rows_of(weight, ids, hidden):
            grads = grad_logits[some]  # (n, K)
            if grad_hidden is not None:
                grad_hidden[some] = torch.einsum("nk,nkd->nd", grads, rows).to(hidden.dtype)
            if grad_weight is not None:
                products = grads[:, :, None] * hidden[some].to(wide)[:, None]  # (n, K, D)
                grad_weight.index_add_(0, ids[some].flatten(), products.flatten(0, 1))
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype), None


def _wide(hidden: Tensor) -> torch.dtype:
    return torch.promote_types(hidden.dtype, torch.float32)


def _rows_of(weight: Tensor, ids: Tensor, hidden: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the ids' rows of the embedding for some tokens after others, (n, K, D) widened.

    Those of a float32 master are first rounded to what the model computes with.
    """
    kind = "cuda" if hidden.is_cuda else "cpu"
    bytes_of_a_token = max(1, ids.shape[1] * weight.shape[1] * _wide(hidden).itemsize)
    step = max(1, ROW_BYTES[kind] // bytes_of_a_token)
    for start in range(0, len(ids), step):
        some = slice(start, start + step)
        yield some, weight[ids[some]].to(hidden.dtype).to(_wide(hidden))
