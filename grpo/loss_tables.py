"""What the loss is told of every token of a step, beside the log-probabilities with gradient.

The tables are of the whole optimizer batch, made once and before any weight moves, so no cut into
micro-batches changes what they say.

Shapes: N prompts, G completions each, B = N * G rows of the step, M of a micro-batch (`Part`), C
completion tokens.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpo.loss import token_weights
from grpo.rollout import Part, Rollout
from grpo.settings.config import GRPOConfig
from grpo.token_factors import TokenFactors


@dataclass(frozen=True)
class LossTables:
    """One table for each thing that `grpo.loss.policy_loss` is given, on the policy's device."""

    advantages: Tensor  # (B,)
    old_logprobs: Tensor | None  # (B, C); None: the update's own are the old ones
    ref_logprobs: Tensor | None  # (B, C); None: there is no reference
    loss_weights: Tensor  # (B, C)
    metric_weights: Tensor  # (B, C)
    entropy_weights: Tensor  # (B, C), what the entropy bonus is a mean by
    factors: TokenFactors

    @classmethod
    def of(
        cls,
        rollout: Rollout,
        advantages: Tensor,
        old_logprobs: Tensor | None,
        ref_logprobs: Tensor | None,
        config: GRPOConfig,
        device: torch.device,
    ) -> "LossTables":
        """Return the tables of B rows.

        A truncated row that is masked weighs 0, but is still one of the B rows that are averaged
        over. Metrics are means over all sampled tokens, whatever the loss makes of them; those of
        token factors over what they weigh. The entropy bonus is a mean over the trained tokens,
        whatever `loss_normalization` is: its coefficient then means one thing.

        Args:
            rollout: B rows.
            advantages: (N, G).
            old_logprobs, ref_logprobs: (B, C), where they were measured.
            config: of the run.
            device: the policy's.
        """
        limit = config.max_completion_tokens
        mask = rollout.loss_mask(config.mask_truncated)  # (B, C)
        factors = TokenFactors.of(rollout, advantages, config, device)
        return cls(
            advantages=advantages.flatten().to(device),
            old_logprobs=old_logprobs,
            ref_logprobs=ref_logprobs,
            loss_weights=token_weights(mask, config.loss_normalization, limit).to(device),
            metric_weights=token_weights(rollout.completion_mask, "token", limit).to(device),
            entropy_weights=token_weights(factors.trained(mask), "token", limit).to(device),
            factors=factors,
        )

    def cut(self, part: Part, logprobs: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what `policy_loss` is given for a micro-batch, by name, and sums to log.

        Args:
            part: M rows.
            logprobs: (M, C) of the policy as it is now, without gradient: they are the old ones in
                the only pass, and the reference's where there is none.
        """
        old, ref = self.old_logprobs, self.ref_logprobs
        old = logprobs if old is None else part.cut(old)  # (M, C)
        factors, sums = self.factors.cut(part, old)
        measured = {
            "old_logprobs": old,
            "ref_logprobs": logprobs if ref is None else part.cut(ref),
            "advantages": part.cut(self.advantages),
            "loss_weights": part.cut(self.loss_weights),
            "metric_weights": part.cut(self.metric_weights),
            "entropy_weights": part.cut(self.entropy_weights),
            "token_factors": factors,
        }
        return measured, sums
