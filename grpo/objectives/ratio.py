"""The ratio between the policy now and when it sampled: of each token, or of whole completions.

Shapes in this file: M completions of a micro-batch, C completion tokens.
"""

from collections.abc import Callable, Mapping

from torch import Tensor

LARGEST_LOG_RATIO = 80.0  # nats; float32 ends at exp(88)


def finite_ratio(log_ratio: Tensor) -> Tensor:
    """Return exp(min(log_ratio, 80)), with the gradient of that value however large it is, (M, C).

    A token of such a ratio has none where its surrogate is bounded, and 0 times an infinite
    exp would make it, and every weight with it, NaN.

    >>> import torch
    >>> finite_ratio(torch.tensor([0.0, -200.0, 200.0]))
    tensor([1.0000e+00, 0.0000e+00, 5.5406e+34])
    """
    # the bound with the gradient of what it replaces: clamp would silence tokens that have no bound
    largest = log_ratio - log_ratio.detach() + LARGEST_LOG_RATIO
    return log_ratio.where(log_ratio.detach() <= LARGEST_LOG_RATIO, largest).exp()


def token_log_ratio(log_ratio: Tensor, _mask: Tensor) -> Tensor:
    """Return the log-ratio of each token, (M, C): GRPO's, DeepSeekMath, arXiv:2402.03300.

    Args:
        log_ratio: (M, C) logprobs - old_logprobs, 0 after a row's end.
        _mask: (M, C), not used: a token stands for itself.

    >>> import torch
    >>> token_log_ratio(torch.tensor([[0.1, 0.3, 0.0]]), torch.tensor([[1, 1, 0]]))
    tensor([[0.1000, 0.3000, 0.0000]])
    """
    return log_ratio


def sequence_log_ratio(log_ratio: Tensor, mask: Tensor) -> Tensor:
    """Return each completion's mean log-ratio at every one of its tokens, (M, C).

        s[m] = sum over t of log_ratio[m, t] * mask[m, t] / max(tokens of row m, 1)

    Source: GSPO, arXiv:2507.18071, equation 7. A completion is rewarded as a whole, and so it is
    clipped as a whole. The gradient goes through the mean: each token gets the same share of it.
    Its range is far narrower than a token's, since a mean moves less: 3e-4 and 4e-4 in section 5.1.

    Args:
        log_ratio: (M, C) logprobs - old_logprobs, 0 after a row's end.
        mask: (M, C), 1 for the tokens of a completion.

    >>> import torch
    >>> sequence_log_ratio(torch.tensor([[0.1, 0.3, 0.0]]), torch.tensor([[1, 1, 0]]))
    tensor([[0.2000, 0.2000, 0.2000]])
    """
    lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)  # (M, 1)
    mean = (log_ratio * mask).sum(dim=1, keepdim=True) / lengths  # (M, 1)
    return mean.expand_as(log_ratio)


RATIO_LEVELS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "token": token_log_ratio,
    "sequence": sequence_log_ratio,
}
