"""Several labels at once: all that apply, and nothing else.

An example's answer holds them behind each other, ``disc, line``; a completion writes them so, in
any order. Each is compared as a short text is (rewards/forms/normal_text.py).
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from rewards.forms.f1 import f1
from rewards.forms.markup import holds_markup
from rewards.forms.normal_text import normalised
from rewards.letters import WHITE_SPACE
from rewards.visible import is_visible

SEPARATOR = ", "
MOST_CHARACTERS = 2000
_LOOSE = re.compile(r"[,;\n]|\band\b", re.IGNORECASE)


class Labels:
    """All of some labels, separated by commas."""

    name = "labels"
    kind = "text"
    lettered = False
    asked_for = "all that apply, separated by commas"

    def committed(self, text: str, options: Sequence[str] = ()) -> str | None:
        """Return the labels between commas on one line, None where one shows nothing or a tag."""
        text = text.strip(WHITE_SPACE)
        is_line = len(text) <= MOST_CHARACTERS and len(text.splitlines()) == 1
        if not is_line or holds_markup(text):
            return None
        return _joined(text.split(","))

    def forgiving(self, text: str, options: Sequence[str] = (), *, first: bool) -> str | None:
        """Return the labels between commas, semicolons, new lines or "and"; empty ones left out."""
        return _joined(part for part in _LOOSE.split(text) if part.strip(WHITE_SPACE + "."))

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether the labels are all of the right ones, in any order, and no other."""
        return _labels(choice) == _labels(example.answer)

    def likeness(self, choice: str, example: Any) -> float:
        """Return the F1 of the labels and the right ones, each counted once."""
        return f1(dict.fromkeys(_labels(choice), 1), dict.fromkeys(_labels(example.answer), 1))

    def key_problem(self, example: Any) -> str | None:
        """Return why no answer can be right, or None."""
        if self.committed(example.answer) is not None:
            return None
        return (
            f"{example.answer!r} are no labels between commas, on one line of at most"
            f" {MOST_CHARACTERS:,} characters, without tags"
        )

    def written(self, example: Any) -> str:
        """Return the right labels."""
        return example.answer

    def chance(self, example: Any) -> float | None:
        """Return None: nobody guesses labels at a known rate."""
        return None


@lru_cache(maxsize=256)  # every completion of a group is compared with the same
def _labels(joined: str) -> frozenset[str]:
    return frozenset(map(normalised, joined.split(",")))


def _joined(parts: Iterable[str]) -> str | None:
    """Return labels as an answer holds them, None where there is none or one shows nothing."""
    labels = [part.strip(WHITE_SPACE) for part in parts]
    return SEPARATOR.join(labels) if labels and all(map(is_visible, labels)) else None
