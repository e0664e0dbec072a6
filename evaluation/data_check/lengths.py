"""How long the prompts of all rows are, images included, and what leaves each its room."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from data.sources import Split
from evaluation.asking.preflight import Preflight


@dataclass(frozen=True)
class PromptLengths:
    """Tokens of the prompts of one part of the data."""

    tokens: Sequence[int]  # of each row that was looked at
    completion: int  # the most that is written behind each
    context: int  # of the model

    @classmethod
    def of(cls, preflight: Preflight, split: Split) -> "PromptLengths":
        """Return the lengths that a preflight has counted of some rows, bad ones among them."""
        check = preflight.checks[0]
        return cls(preflight.lengths(split), check.max_completion_tokens, check.context_tokens)

    @property
    def longest(self) -> int:
        """The most tokens of a prompt; 0 where none was counted."""
        return max(self.tokens, default=0)

    @property
    def too_long(self) -> int:
        """How many rows do not fit the model's context."""
        return sum(number + self.completion > self.context for number in self.tokens)

    def __str__(self) -> str:
        if not self.tokens:
            return "no prompt was counted"
        low, middle, high = min(self.tokens), median(self.tokens), self.longest
        return (
            f"prompts of {low:,} to {high:,} tokens, median {middle:,.0f}, of {len(self.tokens):,}"
            f" rows; with {self.completion:,} of completion at most"
            f" {high + self.completion:,} of the model's {self.context:,}"
        )

    def what_fits(self) -> str | None:
        """Return what leaves every row its room, None where all have it."""
        if not self.too_long:
            return None
        left = self.context - self.longest
        fits = (
            f"all fit with --max-completion-tokens {left}"
            if left > 0
            else f"the longest is over it by itself, by {-left:,} tokens"
        )
        return (
            f"{self.too_long:,} rows do not fit: {fits}; a smaller --image-size takes fewer visual"
            " tokens"
        )
