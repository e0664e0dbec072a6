"""A question that is answered by yes or no: a choice of the two, asked in words.

Its options are Yes and No in this order, so its letters are A and B wherever a choice's letter is
kept: an example's answer, a parsed completion, a prediction.
"""

from collections.abc import Sequence
from typing import Any

from rewards.letters import WHITE_SPACE
from rewards.naming import forgiving_letter

OPTIONS = ("Yes", "No")
_LETTERS = {"yes": "A", "no": "B"}


class YesNo:
    """Yes or no, and nothing else."""

    name = "yes_no"
    kind = "choice"
    lettered = False
    asked_for = "yes or no"

    def committed(self, text: str, options: Sequence[str] = OPTIONS) -> str | None:
        """Return A for yes and B for no, in any letter case, else None."""
        return _LETTERS.get(text.strip(WHITE_SPACE).casefold())

    def forgiving(self, text: str, options: Sequence[str] = OPTIONS, *, first: bool) -> str | None:
        """See rewards/naming.py."""
        return forgiving_letter(text, OPTIONS, first=first)

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether it is the right option's letter."""
        return choice == example.answer

    def written(self, example: Any) -> str:
        """Return Yes or No."""
        return OPTIONS["AB".index(example.answer)]

    def chance(self, example: Any) -> float | None:
        """Return one half."""
        return 0.5
