"""Options in the question in other styles: ``(A) x (B) y``, ``A. x``, ``A: x``, ``A) x B) y``.

A letter with a full stop or a colon is an everyday thing ("Is vitamin A. good?"), so these styles
are read more strictly than the published one: the first letter begins a line or stands behind the
end of a sentence, and the letters of the style behind it are A, B, C, ... to the end. The last one
says where the list begins. A row may hold letters by the million: the last few hundred count.
"""

import re
from collections import deque
from dataclasses import dataclass
from itertools import dropwhile
from string import ascii_uppercase
from typing import NamedTuple

_MOST_LETTERS, _SHOWN_LETTERS = 300, 40
_SENTENCE_ENDS = ("?", ".", ":", "!", '"', "'", ")", "]")

# What stands before a letter, and is no part of the option before: white space is read once, from
# its first character on. Behind a question mark or a colon nothing need stand there.
_BEFORE = r"([,;]\s*+|(?<![\s,;])\s++|(?<=[?:!])|^)"
_STYLES = {  # how a letter is written
    style: re.compile(_BEFORE + letter)
    for style, letter in {
        "A)": r"([A-Z])\)",
        "(A)": r"\(([A-Z])\)(?!-[A-Za-z])",  # "(R)-thalidomide"
        "A.": r"([A-Z])\.",
        "A:": r"([A-Z]):",
    }.items()
}
_LEVELS = _LINE, _SIGN, _SPACE = range(3)  # what sets a letter off, the surest first

# A sign that belongs to a letter ends no sentence: "M. A. Jones", "A) A) and B)".
_LETTER_BEFORE = re.compile(r"(?:\A|[^\w'-])([A-Za-z])[).:]\Z")


class Reading(NamedTuple):
    """A question and its options, and what sets their letters off."""

    question: str
    options: tuple[str, ...]
    is_lines: bool = False  # each but the first begins a line
    is_mixed: bool = False  # commas stand before some and semicolons before others


@dataclass(frozen=True, slots=True)
class _Letter:
    name: str
    start: int  # where the option before ends
    end: int  # where its own option begins
    level: int
    begins: bool  # a line, or stands behind the end of a sentence: a list may begin here


def readings(problem: str) -> dict[str, Reading]:
    r"""Return the question and its options by each style in which a text can be read.

    Where letters begin lines, nothing else in a line is a letter of the list; else where signs
    stand before them ("A: x, B: y"), nothing else is; else white space is enough.

    >>> readings("Is vitamin A. good? A. Yes, B. No")["A."][:2]
    ('Is vitamin A. good?', ('Yes', 'No'))
    >>> readings("Which?\nA. E. coli\nB. S. aureus")["A."][:2]
    ('Which?', ('E. coli', 'S. aureus'))
    >>> readings("Compare vitamin A. Is vitamin B. better?")
    {}
    """
    found = {style: _reading(problem, style) for style in _STYLES}
    return {style: reading for style, reading in found.items() if reading}


def broken_list(problem: str) -> str | None:
    r"""Return what is wrong with what seems to be a list of options; None where nothing does.

    >>> broken_list("Which?\nA. CT\nC. MRI")
    'letters its options A, C: they must be A, B, C, ...'
    >>> broken_list("Is vitamin A) low, or C)?"), broken_list("Which grew? A. niger, C. albicans?")
    (None, None)
    """
    for style in _STYLES:
        letters = _letters(problem, style)
        if any(_tail(letters, level) for level in _LEVELS):
            return f"has options '{style}' without a question before them or a text behind one"
        has_bracket = style.endswith(")")
        level = _SIGN if has_bracket else _LINE
        clear = [one for one in letters if one.level <= level or one.begins]
        names = [one.name for one in dropwhile(lambda one: not one.begins, clear)]
        if len(names) > 1 and (names[0] == "A" or has_bracket):
            shown = ", ".join(names[:_SHOWN_LETTERS]) + ", ..." * (len(names) > _SHOWN_LETTERS)
            return f"letters its options {shown}: they must be A, B, C, ..."
        if names == ["A"] and has_bracket:
            return f"has one option: a choice needs two, written '{style}'"
    return None


def _reading(problem: str, style: str) -> Reading | None:
    letters = _letters(problem, style)
    tails = [_tail(letters, level) for level in _LEVELS]
    by_line, by_sign, by_space = tails
    if (
        by_sign[:1] == by_space[:1]
        and len(by_sign) < len(by_space)
        and not _signs(problem, by_sign)
    ):
        tails = [by_line, by_space, []]  # a full stop ends some options, and sets nothing off
    texts = (_texts(problem, tail, level) for level, tail in zip(_LEVELS, tails, strict=True))
    return next(filter(None, texts), None)


def _letters(problem: str, style: str) -> list[_Letter]:
    matches = deque(_STYLES[style].finditer(problem), maxlen=_MOST_LETTERS)
    letters = [_letter(problem, match) for match in matches]
    if style.endswith(")"):
        return letters
    # "the U. S.", "a ratio A:B": a full stop and a colon have white space behind them, or begin a
    # line with their letter
    return [
        one for one in letters if one.level == _LINE or problem[one.end : one.end + 1].isspace()
    ]


def _letter(problem: str, match: re.Match[str]) -> _Letter:
    before, start = match[1], match.start()
    last = problem[start - 1] if start else "\n"  # the sign that white space stands behind
    is_line = "\n" in before or last == "\n"
    is_sign = before[:1] in (",", ";")
    lone = _LETTER_BEFORE.search(problem[max(0, start - 4) : start])
    begins = is_line or (last in _SENTENCE_ENDS and not is_sign and lone is None)
    is_stop = last == "." and (lone is None or lone[1] < match[2])  # not in "C. B. fragilis"
    level = _LINE if is_line else _SIGN if is_sign or is_stop else _SPACE
    return _Letter(match[2], start, match.end(), level, begins)


def _tail(letters: list[_Letter], level: int) -> list[_Letter]:
    """Return the letters A, B, C, ... at the end of the text, none where they are others."""
    letters = [one for one in letters if one.level <= level or (one.begins and one.name == "A")]
    count = ascii_uppercase.index(letters[-1].name) + 1 if letters else 0
    tail = letters[-count:]
    names = "".join(one.name for one in tail)
    return tail if count > 1 and names == ascii_uppercase[:count] and tail[0].begins else []


def _texts(problem: str, tail: list[_Letter], level: int) -> Reading | None:
    if not tail:
        return None
    ends = [*(letter.start for letter in tail[1:]), len(problem)]
    pairs = zip(tail, ends, strict=True)
    options = tuple(problem[letter.end : end].strip() for letter, end in pairs)
    question = problem[: tail[0].start].strip()
    reading = Reading(question, options, level == _LINE, len(_signs(problem, tail)) > 1)
    return reading if question and all(options) else None


def _signs(problem: str, tail: list[_Letter]) -> set[str]:
    """Return the commas and semicolons that set letters off."""
    return {problem[letter.start] for letter in tail[1:]} & {",", ";"}
