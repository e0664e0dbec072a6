"""What each token's surrogate is multiplied by in a step; grpo/objectives/factors.py has the maths.

Shapes: N prompts, G completions each, B = N * G rows of the step, M of a micro-batch (`Part`), C
completion tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.loss import token_weights
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
    weights: Tensor | None  # what the means that are logged of it are weighted by; with ``sampled``

    @classmethod
    def of(
        cls, rollout: Rollout, advantages: Tensor, config: GRPOConfig, device: torch.device
    ) -> "TokenFactors":
        """Return a step's factors, on the policy's device.

        Args:
            rollout: B rows.
            advantages: (N, G); where they are 0 there is nothing that a factor could weigh.
            config: of the run.
            device: the policy's.
        """
        completions = rollout.completions
        chosen = sampled = weights = None
        # of the tokens that are trained at all: a row that is masked would take its share of them
        counted = rollout.loss_mask(config.mask_truncated)  # (B, C)
        if config.top_entropy_share < 1:
            chosen = high_entropy_mask(completions.entropies, counted, config.top_entropy_share)
            counted = counted & chosen
        if config.sampler_correction_cap > 0:
            # not of all tokens: groups that teach nothing may not be run
            weighed = counted & (advantages.flatten() != 0)[:, None]  # (B, C)
            if weighed.any():
                sampled = completions.logprobs.to(device)
                weights = token_weights(weighed, "token", config.max_completion_tokens).to(device)
        return cls(
            chosen=None if chosen is None else chosen.to(device),
            sampled=sampled,
            cap=config.sampler_correction_cap,
            weights=weights,
        )

    @property
    def unknown(self) -> dict[str, None]:
        """What is logged of the correction, by name, where a step has nothing that it weighs."""
        names = ("sampler_correction/mean", "sampler_correction/capped")
        return dict.fromkeys(names) if self.cap > 0 else {}

    def trained(self, mask: Tensor) -> Tensor:
        """Return which of the tokens of a (B, C) mask are trained."""
        return mask if self.chosen is None else mask & self.chosen.to(mask.device)

    def cut(self, part: Part, old_logprobs: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return a micro-batch's factors, (M, C) or None, and sums to log about them.

        Args:
            part: M rows.
            old_logprobs: (M, C) of the policy that sampled, by the update's forward.
        """
        factors = None if self.chosen is None else part.cut(self.chosen).float()
        if self.sampled is None or self.weights is None:
            return factors, {}
        weights, is_capped = sampler_correction(old_logprobs, part.cut(self.sampled), self.cap)
        shares = part.cut(self.weights)  # (M, C)
        sums = {
            "sampler_correction/mean": (weights * shares).sum(),
            "sampler_correction/capped": (is_capped * shares).sum(),
        }
        return weights if factors is None else weights * factors, sums
