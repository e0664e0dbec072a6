"""Several labels at once: all that apply, and nothing else.

An example's answer holds them behind each other, ``disc, line``; a completion writes them so, in
any order. Each is compared as a short text is (rewards/forms/text.py).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from rewards.letters import WHITE_SPACE

SEPARATOR = ", "
_LOOSE = re.compile(r"[,;\n]|\band\b", re.IGNORECASE)


class Labels:
    """All of some labels, separated by commas."""

    name = "labels"
    kind = "text"
    lettered = False
    asked_for = "all that apply, separated by commas"

    def committed(self, text: str, options: Sequence[str] = ()) -> str | None:
        """Return the labels between commas, None where one of them is empty."""
        return _joined(text.split(","))

    def forgiving(self, text: str, options: Sequence[str] = (), *, first: bool) -> str | None:
        """Return the labels between commas, semicolons, new lines or "and"; empty ones left out."""
        return _joined(part for part in _LOOSE.split(text) if part.strip(WHITE_SPACE + "."))

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether the labels are all of the right ones, in any order, and no other."""
        return _labels(choice) == _labels(example.answer)

    def written(self, example: Any) -> str:
        """Return the right labels."""
        return example.answer

    def chance(self, example: Any) -> float | None:
        """Return None: nobody guesses labels at a known rate."""
        return None


def _labels(joined: str) -> set[str]:
    return {" ".join(label.casefold().split()).rstrip(".") for label in joined.split(",")}


def _joined(parts: Iterable[str]) -> str | None:
    """Return labels as an answer holds them, None where there is none or one is empty."""
    labels = [part.strip(WHITE_SPACE) for part in parts]
    return SEPARATOR.join(labels) if labels and all(labels) else None
