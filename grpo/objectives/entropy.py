"""The entropy bonus: the policy is paid for staying unsure, or, below 0, for becoming sure.

Shapes in this file: M completions of a micro-batch, C completion tokens.
"""

from torch import Tensor


def mean_entropy(entropies: Tensor, weights: Tensor) -> Tensor:
    """Return the entropy, in nats, of the tokens that count, a micro-batch's share of their mean.

        entropy_t = -sum over the vocabulary of p log p      loss - coefficient * mean(entropy_t)

    Source: A3C, arXiv:1602.01783, section 4; for reasoning with language models such as
    arXiv:2505.22312 (Skywork-OR1), which shows that one coefficient holds entropy up in one run and
    lets it explode in the next. It is the exact sum over the vocabulary, not an estimate from the
    sampled token, so its gradient has no noise of sampling; it acts on the distributions along the
    completions as they were sampled, and not on how likely these completions are. A negative
    coefficient minimises entropy (arXiv:2505.15134).

    Args:
        entropies: (M, C), with gradient; where the weight is 0 they may hold anything.
        weights: (M, C) of the whole optimizer batch: 1 over the number of tokens that count.

    >>> from torch import tensor
    >>> mean_entropy(tensor([[0.5, 1.5, float("nan")]]), tensor([[0.5, 0.5, 0.0]]))
    tensor(1.)
    """
    return (entropies.where(weights != 0, 0.0) * weights).sum()
