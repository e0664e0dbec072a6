"""A choice whose options are lettered: the answer is one letter."""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from rewards.letters import committed_letter
from rewards.naming import forgiving_letter


class Letter:
    """One of the letters of the options."""

    name = "letter"
    kind = "choice"
    lettered = True
    asked_for = "one letter"

    def committed(self, text: str, options: Sequence[str]) -> str | None:
        """See rewards/letters.py."""
        return committed_letter(text, options)

    def forgiving(self, text: str, options: Sequence[str], *, first: bool) -> str | None:
        """See rewards/naming.py."""
        return forgiving_letter(text, options, first=first)

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether it is the right option's letter."""
        return choice == example.answer

    def likeness(self, choice: str, example: Any) -> float:
        """Return 1 for the right one, else 0."""
        return float(choice == example.answer)

    def key_problem(self, example: Any) -> str | None:
        """Return why no answer can be right, or None."""
        options, answer = example.options, example.answer
        letters = ascii_uppercase[: len(options)]
        if len(options) > 1 and len(answer) == 1 and answer in letters:
            return None
        return (
            f"answer {answer!r} is not the letter of one of the {len(options)} options"
            f" {list(options)}"
        )

    def written(self, example: Any) -> str:
        """Return the right option's letter."""
        return example.answer

    def chance(self, example: Any) -> float | None:
        """Return one over the number of options."""
        return 1 / len(example.options)
