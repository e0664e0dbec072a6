"""Parts of one softmax, computed one by one and merged: what the shared prompt rests on.

A completion token reads its group's prompt and its own row. Attention over both is the mean of the
two parts, weighed by their shares of the softmax's sum, which their log-sum-exps hold:

    read = sum_i exp(lse_i - lse) read_i        lse_i = log sum_j exp(score_ij)
                                                lse   = log sum_i exp(lse_i)

So each part is computed where it is cheapest: the prompt's by one long query, made of all tokens
that read it (models/shared/folding.py), without a copy of any key.

The gradient asks for no kernel of its own. A flash backward computes

    grad_score = p (grad . value - grad . read)         p = exp(score - lse)

and takes read and lse as the forward gave them. Given the *merged* ones, p is the probability in
the whole softmax, and the result is the part's gradient within the whole. Left to autograd, the
merge would lose what goes through each lse, and silently, since the kernels have no gradient for
theirs. So a merge that is trained through has an autograd.Function around it
(models/shared/merged.py, models/shared/varlen.py): its forward keeps what `merge` returns, its
backward hands that to the backward of each part.
"""

import torch
from torch import Tensor


def merge(read: Tensor, lse: Tensor, other: Tensor, other_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Return read, (..., d), and lse, (..., 1), over the keys of both parts.

    Weighed in the lse's precision and rounded once, to the read's dtype. A part without keys, whose
    lse is -inf and whose read is finite, leaves the other as it is.

    Args:
        read, other: (..., d), what each part's own softmax gives.
        lse, other_lse: (..., 1), natural logarithms, float32 or wider; any strides.

    >>> scores, values = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[3.0], [6.0], [9.0]])
    >>> def part(keys):
    ...     return scores[:, keys].softmax(1) @ values[keys], scores[:, keys].logsumexp(1, True)
    >>> read, lse = merge(*part(slice(0, 1)), *part(slice(1, 3)))
    >>> torch.allclose(read, scores.softmax(1) @ values), torch.allclose(lse, scores.logsumexp(1))
    (True, True)
    """
    # Shares are made of differences from the total, so that none overflows.
    total = torch.logaddexp(lse, other_lse)  # (..., 1)
    merged = read * (lse - total).exp()  # (..., d), as wide as the lse
    merged = torch.addcmul(merged, other, (other_lse - total).exp())
    return merged.to(read.dtype), total


def merged_read(read: Tensor, lse: Tensor, other: Tensor, other_lse: Tensor) -> Tensor:
    """Return the read of `merge` alone, in fewer calls: for decoding, which keeps no lse.

    exp(other_lse - lse_of_both) is sigmoid(other_lse - lse).
    """
    share = torch.sigmoid(other_lse - lse)  # (..., 1), of the other part
    return torch.lerp(read.to(share.dtype), other.to(share.dtype), share).to(read.dtype)
