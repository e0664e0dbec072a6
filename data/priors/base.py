"""What all text priors have in common: fit, choose; those of options also score them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Self

from data.examples import VQAExample


class TextPrior(ABC):
    """Answers a row from its text, never from the image, after what train rows were answered."""

    @abstractmethod
    def fit(self, examples: Sequence[VQAExample]) -> Self:
        """Learn from these rows alone, forgetting earlier ones; returns the prior itself.

        Rows of a kind that the prior has no answer to are passed over.

        Raises:
            ValueError: there is no row at all.
        """

    @abstractmethod
    def choose(self, example: VQAExample) -> str | None:
        """Return a letter for a choice, a text or number for an open question.

        None where the prior has no answer to questions of the kind, or saw none in its train rows.
        """

    def choose_all(self, examples: Sequence[VQAExample]) -> list[str | None]:
        """Return `choose` of every row; a prior may be quicker at many rows than at one."""
        return [self.choose(example) for example in examples]


class OptionPrior(TextPrior):
    """Scores a row's options from their text and the question's; open questions have none."""

    has_choices = False  # among the rows it was fitted on

    @abstractmethod
    def scores(self, example: VQAExample) -> list[float]:
        """Return one number per option in the options' order; the higher, the likelier."""

    def choose(self, example: VQAExample) -> str | None:
        """Return the letter of the option with the highest score, the first of equal ones."""
        if example.kind != "choice" or not self.has_choices:
            return None
        scores = self.scores(example)
        return ascii_uppercase[scores.index(max(scores))]

    def choices_of(self, examples: Sequence[VQAExample], name: str) -> list[VQAExample]:
        """Return the rows that have options, and note whether there are any.

        Raises:
            ValueError: there is no row at all for the prior of this name.
        """
        check_rows(examples, name)
        choices = [example for example in examples if example.kind == "choice"]
        self.has_choices = bool(choices)
        return choices


def check_rows(examples: Sequence[VQAExample], name: str) -> None:
    """Raise ValueError where the prior ``name`` has nothing to be fitted on."""
    if not examples:
        raise ValueError(f"the text prior '{name}' has no train row to be fitted on: name a file")
