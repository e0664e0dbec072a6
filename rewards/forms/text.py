"""A short free text."""

from collections.abc import Sequence
from typing import Any

from rewards.letters import WHITE_SPACE


class Text:
    """A few words."""

    name = "text"
    kind = "text"
    lettered = False
    asked_for = "a short answer"

    def committed(self, text: str, options: Sequence[str] = ()) -> str | None:
        """Return the text without white space at its ends, None where nothing is left."""
        return text.strip(WHITE_SPACE) or None

    def forgiving(self, text: str, options: Sequence[str] = (), *, first: bool) -> str | None:
        """Return the text without white space at its ends, None where nothing is left."""
        return text.strip(WHITE_SPACE) or None

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether it is one of the accepted answers."""
        return choice.casefold() in [one.casefold() for one in (example.answer, *example.accepted)]

    def written(self, example: Any) -> str:
        """Return the first of the accepted answers."""
        return example.answer

    def chance(self, example: Any) -> float | None:
        """Return None: nobody guesses a free text at a known rate."""
        return None
