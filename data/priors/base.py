"""What all text priors have in common: fit, scores, choose."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Self

from data.examples import VQAExample


class TextPrior(ABC):
    """Scores a row's options from their text and the question's, never from the image."""

    @abstractmethod
    def fit(self, examples: Sequence[VQAExample]) -> Self:
        """Learn from these rows alone, forgetting earlier ones; returns the prior itself.

        Raises:
            ValueError: there is no row to learn from.
        """

    @abstractmethod
    def scores(self, example: VQAExample) -> list[float]:
        """Return one number per option in the options' order; the higher, the likelier."""

    def choose(self, example: VQAExample) -> str:
        """Return the letter of the option with the highest score, the first of equal ones."""
        scores = self.scores(example)
        return ascii_uppercase[scores.index(max(scores))]

    def choose_all(self, examples: Sequence[VQAExample]) -> list[str]:
        """Return `choose` of every row; a prior may be quicker at many rows than at one."""
        return [self.choose(example) for example in examples]


def check_rows(examples: Sequence[VQAExample], name: str) -> None:
    """Raise ValueError where the prior ``name`` has nothing to be fitted on."""
    if not examples:
        raise ValueError(f"the text prior '{name}' has no train row to be fitted on: name a file")
