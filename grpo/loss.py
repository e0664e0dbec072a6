"""The GRPO objective for one micro-batch of completions.

Shapes in this file: B completions in the optimizer batch, M of them in this micro-batch, C
completion tokens (right-padded; the mask is 1 up to and including the end token). What is (M, C) or
(M,) is cut from the batch's (B, C) or (B,).
"""

from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

from torch import Tensor

from grpo.objectives.divergence import KL_ESTIMATORS, k3
from grpo.objectives.entropy import mean_entropy
from grpo.objectives.ratio import RATIO_LEVELS, finite_ratio
from grpo.objectives.surrogate import SURROGATES, RatioLimits

Normalization = Literal["sequence", "token", "constant"]


def token_weights(mask: Tensor, normalization: Normalization, max_completion_tokens: int) -> Tensor:
    """Return the weights that turn a sum over tokens into the optimizer batch's mean.

        sequence   mask / (tokens of its row * B)      DeepSeekMath, arXiv:2402.03300
        token      mask / tokens of the batch          DAPO, arXiv:2503.14476
        constant   mask / (B * max_completion_tokens)  Dr. GRPO, arXiv:2503.20783

    "token" is over the batch, as in TRL and verl; DAPO's equation 8 divides by the tokens of one
    question's group.

    Call it once for the whole optimizer batch and slice the result: the losses of micro-batches
    then add up to the batch's loss, however it is cut. A row without tokens (truncated, under
    ``--mask-truncated``) has weight 0 but still counts in B; a batch without any gives zeros.

    Args:
        mask: (B, C) bool or numbers, 1 for the tokens that count and 0 for the others.
        normalization: "sequence", "token" or "constant".
        max_completion_tokens: the sampling limit, at least 1; only "constant" uses it.

    Returns:
        (B, C) float32 weights. They sum to 1 under "sequence" (if no row is empty) and "token".

    Raises:
        ValueError: wrong shape, unknown normalization, limit below 1.

    >>> import torch
    >>> token_weights(torch.tensor([[1, 1], [1, 0]]), "sequence", 4)
    tensor([[0.2500, 0.2500],
            [0.5000, 0.0000]])
    """
    if mask.dim() != 2:
        raise ValueError(f"mask must have shape (B, C), got {tuple(mask.shape)}")
    if max_completion_tokens < 1:
        raise ValueError(f"max_completion_tokens must be at least 1, got {max_completion_tokens}")
    mask = mask.float()  # (B, C)
    # At least 1 where tokens are counted: a row, or a batch, without any gives zeros and no NaN.
    num_completions = mask.shape[0]
    if normalization == "sequence":
        return mask / (mask.sum(dim=1, keepdim=True).clamp(min=1) * num_completions)
    if normalization == "token":
        return mask / mask.sum().clamp(min=1)
    if normalization == "constant":
        return mask / (num_completions * max_completion_tokens)
    choices = get_args(Normalization)
    raise ValueError(f"unknown normalization {normalization!r}: use one of {choices}")


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    ref_logprobs: Tensor,
    advantages: Tensor,
    loss_weights: Tensor,
    metric_weights: Tensor,
    *,
    epsilon_low: float,
    epsilon_high: float,
    beta: float,
    ratio_level: str = "token",
    ratio_cap: float = 0.0,
    surrogate: str = "clip",
    kl_estimator: str = "k3",
    entropy_bonus: float = 0.0,
    token_factors: Tensor | None = None,
    entropies: Tensor | None = None,
    entropy_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return beta times the KL less the bounded surrogate, summed over tokens, and what to log.

        ratio = exp(logprobs - old_logprobs)                      a token's, or its completion's
        surrogate = min(ratio * A, clip(ratio, 1 - epsilon_low, 1 + epsilon_high) * A)
        kl = exp(d) - d - 1,  d = ref_logprobs - logprobs
        loss = sum(loss_weights * (beta * kl - factors * surrogate))
               - entropy_bonus * sum(entropy_weights * entropies)

    Source: DeepSeekMath, arXiv:2402.03300, equations 3 and 4. The ratio, the surrogate and the KL
    are each one of several: grpo/objectives/ has them, docs/objectives.md what goes with what. On
    the first pass every ratio is 1, so the clipped surrogate is a weighted mean of the advantages,
    about zero, and a loss of it says nothing; its gradient does.

    Args:
        logprobs: (M, C) of the policy, with gradient.
        old_logprobs: (M, C) when sampled, without gradient; ``logprobs`` on the first pass.
        ref_logprobs: (M, C) of the reference, without gradient; with beta = 0 they are only logged,
            so pass ``logprobs.detach()`` where no reference is kept.
        advantages: (M,) one per completion.
        loss_weights: (M, C) rows of `token_weights`, 0 where a token does not count.
        metric_weights: (M, C) rows of `token_weights` for the metrics, usually of "token". Where
            both weights are 0 (the padding) the log-probs may hold anything.
        epsilon_low, epsilon_high, ratio_cap: `RatioLimits` of the surrogate.
        beta: weight of the KL, not negative.
        ratio_level: a name in `RATIO_LEVELS`.
        surrogate: a name in `SURROGATES`.
        kl_estimator: a name in `KL_ESTIMATORS`.
        entropy_bonus: what each nat of the tokens' mean entropy takes from the loss; below 0, adds.
        token_factors: (M, C) without gradient, what each token's surrogate, and not its KL, is
            multiplied by (grpo/objectives/factors.py); 1 each where there are none.
        entropies: (M, C) of the policy, with gradient; not looked at with ``entropy_bonus`` 0.
        entropy_weights: (M, C) rows of `token_weights` of "token", over the tokens in the bonus.

    Returns:
        The scalar loss, and detached scalars: ``loss``; ``kl`` (k3 whichever is in the loss, so
        that runs can be compared) and ``clip_fraction`` (share of tokens whose ratio is beyond its
        bound), both weighted by ``metric_weights``; where there is a bonus ``entropy_bonus``, what
        it took from the loss. Over micro-batches they add up, like the loss.

    Raises:
        ValueError: shapes that differ, a name that is in no table, a bonus without entropies.

    >>> import torch
    >>> now, half = torch.zeros(1, 2), torch.full((1, 2), 0.5)  # two tokens, advantage 2
    >>> loss, metrics = policy_loss(
    ...     now, -torch.tensor([[1.0, 1.5]]).log(), now, torch.tensor([2.0]), half, half,
    ...     epsilon_low=0.2, epsilon_high=0.2, beta=0.0,
    ... )
    >>> loss, metrics["clip_fraction"]  # ratios 1 and 1.5, which is clipped: -(2 + 2.4) / 2
    (tensor(-2.2000), tensor(0.5000))
    """
    _check_shapes(
        logprobs,
        advantages,
        old_logprobs=old_logprobs,
        ref_logprobs=ref_logprobs,
        loss_weights=loss_weights,
        metric_weights=metric_weights,
        token_factors=token_factors,
        entropies=entropies,
        entropy_weights=entropy_weights,
    )
    # Padding is replaced before exp, not after: 0 * inf is NaN, in the sum and in its gradient.
    counts = (loss_weights != 0) | (metric_weights != 0)  # (M, C)
    log_ratio = (logprobs - old_logprobs).where(counts, 0.0)  # (M, C)
    ref_log_ratio = (ref_logprobs - logprobs).where(counts, 0.0)  # (M, C)

    level = _named("ratio_level", ratio_level, RATIO_LEVELS)
    ratio = finite_ratio(level(log_ratio, counts))  # (M, C)
    gained, is_bounded = _named("surrogate", surrogate, SURROGATES)(
        ratio,
        logprobs.where(counts, 0.0),
        advantages[:, None],
        RatioLimits(epsilon_low, epsilon_high, ratio_cap),
    )  # (M, C) each
    if token_factors is not None:
        gained = gained * token_factors.where(counts, 0.0)
    kl = _named("kl_estimator", kl_estimator, KL_ESTIMATORS)(ref_log_ratio, ratio)  # (M, C)

    # The weights are the whole batch's, so the sums of its micro-batches add up to its means.
    loss = ((beta * kl - gained) * loss_weights).sum()
    metrics = {
        "kl": (k3(ref_log_ratio.detach(), ratio) * metric_weights).sum(),
        "clip_fraction": (is_bounded.float() * metric_weights).sum(),
    }
    if entropy_bonus != 0:
        if entropies is None or entropy_weights is None:
            raise ValueError(
                f"entropy_bonus={entropy_bonus} needs entropies and entropy_weights: pass both"
            )
        bonus = entropy_bonus * mean_entropy(entropies, entropy_weights)
        loss = loss - bonus
        metrics["entropy_bonus"] = bonus.detach()
    return loss, {"loss": loss.detach(), **metrics}


_Entry = TypeVar("_Entry")


def _named(setting: str, name: str, table: Mapping[str, _Entry]) -> _Entry:
    if name not in table:
        raise ValueError(f"unknown {setting} {name!r}: use one of {tuple(table)}")
    return table[name]


def _check_shapes(logprobs: Tensor, advantages: Tensor, **others: Tensor | None) -> None:
    # broadcasting would turn a forgotten [:, None] or a transposed row into a plausible number
    if logprobs.dim() != 2 or advantages.shape != logprobs.shape[:1]:
        raise ValueError(
            f"logprobs must have shape (M, C) and advantages (M,), got {tuple(logprobs.shape)} and"
            f" {tuple(advantages.shape)}: pass one advantage per completion"
        )
    for name, tensor in others.items():
        if tensor is not None and tensor.shape != logprobs.shape:
            raise ValueError(
                f"{name} must have the shape of logprobs {tuple(logprobs.shape)}, got"
                f" {tuple(tensor.shape)}: select the same rows of both"
            )
