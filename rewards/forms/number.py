"""A number, right within the example's tolerance."""

import re
from collections.abc import Sequence
from typing import Any

from rewards.letters import WHITE_SPACE

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


class Number:
    """A whole or decimal number."""

    name = "number"
    kind = "number"
    lettered = False
    asked_for = "one number"

    def committed(self, text: str, options: Sequence[str] = ()) -> str | None:
        """Return the digits of a text that is a number and nothing else, else None."""
        match = _NUMBER.fullmatch(text.strip(WHITE_SPACE))
        return None if match is None else match[0]

    def forgiving(self, text: str, options: Sequence[str] = (), *, first: bool) -> str | None:
        """Return the digits of the first number, or of the only one."""
        found = _NUMBER.findall(text)
        return found[0] if found and (first or len(set(found)) == 1) else None

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether it is within the larger of the two tolerances of the key."""
        right = float(example.answer)
        within = max(example.absolute_tolerance, example.relative_tolerance * abs(right))
        return abs(float(choice) - right) <= within

    def written(self, example: Any) -> str:
        """Return the right number."""
        return example.answer

    def chance(self, example: Any) -> float | None:
        """Return None: nobody guesses a number at a known rate."""
        return None
