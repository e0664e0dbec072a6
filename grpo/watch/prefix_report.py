"""What `--verify-prefix` found, in words, and whether the run may go on."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PrefixReport:
    """How far sampler and update are from plain copies through transformers."""

    copies: int  # B; 0 where there was no memory for transformers' model
    logprob_error: float  # nat, the update's: the largest in float32, in lower precision the mean
    sampler_error: float  # the same of the sampler's
    logprob_limit: float  # for both
    worst: str  # parameter
    error: float  # of its gradient, relative L2
    limit: float  # for every parameter
    baseline: str  # what was compared with
    tokens: int  # that were sampled
    decoded: int  # of them from the cache, after each row's first
    moved: int = 0  # parameters that were not the checkpoint's

    def __str__(self) -> str:
        sampler = (
            f"sampler within {self.sampler_error:.1e} nat ({self.tokens} tokens,"
            f" {self.decoded} of them decoded from the cache; limit {self.logprob_limit:.1e})"
        )
        if not self.copies:
            return f"NOT compared with transformers: {self.baseline}. Sampler and update: {sampler}"
        moved = f", {self.moved} parameters copied from the policy" if self.moved else ""
        return (
            f"shared prefix against {self.copies} plain copies through transformers, loaded anew"
            f" ({self.baseline}{moved}): log-probabilities within {self.logprob_error:.1e} nat"
            f" (limit {self.logprob_limit:.1e}), gradients within {self.error:.1e} (worst:"
            f" {self.worst}; limit {self.limit:.1e}); {sampler}"
        )

    def check(self) -> None:
        """Raise for what is beyond its limit; NaN is beyond every one.

        Raises:
            ValueError: the report, and whether the update or the sampler is wrong.
        """
        if not (self.error <= self.limit and self.logprob_error <= self.logprob_limit):
            raise ValueError(
                f"{self}: the shared prefix is wrong for this model or these prompts, or what it"
                " runs (vision tower, attention) is. Please report it with the model's name;"
                " nothing was trained"
            )
        if not self.sampler_error <= self.logprob_limit:
            raise ValueError(
                f"{self}: the sampler is wrong for this model or these prompts: it sampled from"
                " another distribution than the one that would be trained. Please report it with"
                " the model's name; nothing was trained"
            )

    def check_weights(self, checkpoint: Any) -> None:
        """Raise where the policy's parameters, before any training, were not the checkpoint's."""
        if self.moved:
            raise ValueError(
                f"{self.moved} parameters are not those of {checkpoint}: the checkpoint was loaded"
                " wrongly. Please report it with the model's name; nothing was trained"
            )
