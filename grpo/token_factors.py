"""What each token's surrogate is multiplied by in a step; grpo/objectives/factors.py has the maths.

Shapes: B rows of the step, M of a micro-batch (`Part`), C completion tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.objectives.factors import high_entropy_mask, sampler_correction
from grpo.rollout import Part, Rollout
from grpo.settings.config import GRPOConfig


@dataclass(frozen=True)
class TokenFactors:
    """What a step knows of its tokens before it runs them again; (B, C) each, or None: all count 1.

    The tables are of the whole optimizer batch, so no cut into micro-batches moves them.
    """

    chosen: Tensor | None  # True for the tokens that are trained
    sampled: Tensor | None  # the sampler's log-probabilities
    cap: float  # of the correction by them

    @classmethod
    def of(cls, rollout: Rollout, config: GRPOConfig, device: torch.device) -> "TokenFactors":
        """Return a step's factors, on the policy's device."""
        completions, chosen, sampled = rollout.completions, None, None
        if config.top_entropy_share < 1:  # of the tokens that are trained at all
            mask = rollout.loss_mask(config.mask_truncated)  # (B, C)
            chosen = high_entropy_mask(completions.entropies, mask, config.top_entropy_share).to(
                device
            )  # (B, C)
        if config.sampler_correction_cap > 0:
            sampled = completions.logprobs.to(device)
        return cls(chosen, sampled, config.sampler_correction_cap)

    def trained(self, mask: Tensor) -> Tensor:
        """Return which of the tokens of a (B, C) mask are trained."""
        return mask if self.chosen is None else mask & self.chosen.to(mask.device)

    def cut(
        self, part: Part, old_logprobs: Tensor, metric_weights: Tensor
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return a micro-batch's factors, (M, C) or None, and sums to log about them.

        Args:
            part: M rows.
            old_logprobs: (M, C) of the policy that sampled, by the update's forward.
            metric_weights: (M, C), which the sums are weighted by.
        """
        factors = None if self.chosen is None else part.cut(self.chosen).float()
        if self.sampled is None:
            return factors, {}
        weights, is_capped = sampler_correction(old_logprobs, part.cut(self.sampled), self.cap)
        sums = {
            "sampler_correction/mean": (weights * metric_weights).sum(),
            "sampler_correction/capped": (is_capped * metric_weights).sum(),
        }
        return weights if factors is None else weights * factors, sums
