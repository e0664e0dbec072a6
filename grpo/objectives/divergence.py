"""How far the policy is from its reference: estimators of their KL at the sampled tokens.

With d = ref_logprobs - logprobs, each is an estimate of KL(policy, reference) at a token that the
policy sampled; its second argument is the ratio of the policy and the one that sampled. Estimates
of the same mean have different gradients, and it is the gradient that trains. Its mean over the
policy's own samples is

    k1             0: in a loss it does nothing but add noise (in a reward it would count)
    k2             that of KL(policy, reference)
    k3             that of KL(reference, policy), the other direction; GRPO's choice
    k3_corrected   that of KL(policy, reference), also where the samples are an older policy's

Source: Schulman, "Approximating KL divergence" (2020), for the names. tests/grpo/objectives/ sums
over a whole vocabulary to show each line of the table.

Shapes in this file: M completions of a micro-batch, C completion tokens.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def k1(d: Tensor, _ratio: Tensor) -> Tensor:
    """Return -d, (M, C): unbiased, and below 0 wherever the reference finds the token likelier.

    >>> k1(torch.tensor([-0.5, 0.5]), torch.ones(2))
    tensor([ 0.5000, -0.5000])
    """
    return -d


def k2(d: Tensor, _ratio: Tensor) -> Tensor:
    """Return d^2 / 2, (M, C): never negative, biased, and with the gradient that k1 should have.

    >>> k2(torch.tensor([-0.5, 0.5]), torch.ones(2))
    tensor([0.1250, 0.1250])
    """
    return d.square() / 2


def k3(d: Tensor, _ratio: Tensor) -> Tensor:
    """Return exp(d) - d - 1, (M, C): never negative and unbiased.

    Source: DeepSeekMath, arXiv:2402.03300, equation 4; not clamped.

    >>> k3(torch.tensor([0.0, -0.5, 0.5]), torch.ones(3))
    tensor([0.0000, 0.1065, 0.1487])
    """
    # expm1: near the reference exp(d) - 1 would lose d in float32's rounding of 1
    return torch.expm1(d) - d


def k3_corrected(d: Tensor, ratio: Tensor) -> Tensor:
    """Return k3 times the ratio, (M, C), with gradient through both.

        k = r (exp(d) - d - 1),  r = exp(logprobs - old_logprobs)

    Source: DeepSeek-V3.2, arXiv:2512.02556, "unbiased KL estimate"; TRL's default. The samples are
    the old policy's: times the ratio their mean is the present policy's. Also on the first pass,
    where every ratio is 1, the gradient differs from k3's: there it is k2's on average.

    >>> k3_corrected(torch.tensor([-0.5, 0.5]), torch.tensor([1.0, 2.0]))
    tensor([0.1065, 0.2974])
    """
    return k3(d, ratio) * ratio


KL_ESTIMATORS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "k1": k1,
    "k2": k2,
    "k3": k3,
    "k3_corrected": k3_corrected,
}
