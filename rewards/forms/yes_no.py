"""A question that is answered by yes or no: a choice of the two, asked in words.

Its options are Yes and No in this order, so its letters are A and B wherever a choice's letter is
kept: an example's answer, a parsed completion, a prediction.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rewards.forms.cue import behind_cue
from rewards.letters import WHITE_SPACE

OPTIONS = ("Yes", "No")
_LETTERS = {"yes": "A", "no": "B"}

_WORD = re.compile(r"(?<![\w-])(?<!\w['\u2019])(?:yes|no)(?![\w-])(?!['\u2019]\w)", re.IGNORECASE)
# "Yes or no", "yes/no": the question, or a hedge.
_PAIR = re.compile(
    r"[*\"'\u2018-\u201d]{0,3}(?:\s*+/\s*+|\s++(?:or|and|nor)\s++)[*\"'\u2018-\u201d]{0,3}",
    re.IGNORECASE,
)
# "No" before a noun says what is not there, "no effusion", and answers only a question for it.
_OWN_WORDS = frozenset(
    [
        *("it", "there", "this", "that", "these", "those", "the", "they", "he", "she", "we", "i"),
        *("because", "since", "as", "but", "and", "so", "is", "was", "not", "if", "in", "to"),
    ]
)
_NEXT_WORD = re.compile(r"[*\"'\u201d]*[^\S\n]+[*\"'\u201c]*(\w+)")
_DENIED = re.compile(r"(?:\bnot|n['\u2019]t)\s*[\"'\u201c]?\Z", re.IGNORECASE)
_BEFORE, _BEHIND = 24, 48  # characters around the word that are looked at: time stays linear


class YesNo:
    """Yes or no, and nothing else."""

    name = "yes_no"
    kind = "choice"
    lettered = False
    asked_for = "yes or no"

    def committed(self, text: str, options: Sequence[str] = OPTIONS) -> str | None:
        """Return A for yes and B for no, in any letter case, with or without a full stop."""
        return _LETTERS.get(text.strip(WHITE_SPACE).removesuffix(".").casefold())

    def forgiving(self, text: str, options: Sequence[str] = OPTIONS, *, first: bool) -> str | None:
        """Return the letter of the yes or no that a text says; not what its findings would mean.

        In this order: what stands behind "answer is"; every other yes or no. "No effusion" is
        neither: whether it says yes or no is the question's. So is "there is no effusion".

        >>> texts = ("Yes, there is one.", "No. It is clear", "no effusion", "yes or no?")
        >>> [YesNo().forgiving(text, first=False) for text in texts]
        ['A', 'B', None, None]
        """
        behind = list(_said(behind_cue(text) or ""))
        said = behind[:1] or list(_said(text))
        return said[0] if said and (first or len(set(said)) == 1) else None

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether it is the right option's letter."""
        return choice == example.answer

    def likeness(self, choice: str, example: Any) -> float:
        """Return 1 for the right one, else 0."""
        return float(choice == example.answer)

    def key_problem(self, example: Any) -> str | None:
        """Return why no answer can be right, or None."""
        if tuple(example.options) == OPTIONS and example.answer in ("A", "B"):
            return None
        return (
            f"a question of yes or no has the options {list(OPTIONS)} and the answer A or B, not"
            f" {list(example.options)} and {example.answer!r}"
        )

    def written(self, example: Any) -> str:
        """Return Yes or No."""
        return OPTIONS["AB".index(example.answer)]

    def chance(self, example: Any) -> float | None:
        """Return one half."""
        return 0.5


def _said(text: str) -> Iterator[str]:
    """Yield the letter of each yes and no that answers."""
    words = list(_WORD.finditer(text))
    ends = [0, *(word.end() for word in words)]
    starts = [*(word.start() for word in words), len(text)]
    for number, word in enumerate(words):
        pairs = ((ends[number], word.start()), (word.end(), starts[number + 1]))
        paired = any(_PAIR.fullmatch(text, *pair) for pair in pairs)
        is_no = word[0].casefold() == "no"
        if paired or (is_no and _is_before_a_noun(text, word.end())):
            continue
        if not _DENIED.search(text[max(0, word.start() - _BEFORE) : word.start()]):
            yield _LETTERS[word[0].casefold()]


def _is_before_a_noun(text: str, end: int) -> bool:
    match = _NEXT_WORD.match(text[end : end + _BEHIND])
    return match is not None and match[1].casefold() not in _OWN_WORDS
