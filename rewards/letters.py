"""What letter does a piece of text commit to? The strict reading, which rewards go by."""

import re
from collections.abc import Sequence
from string import ascii_uppercase

# White space is these six characters. Unicode's other spaces (no-break, ideographic, zero width)
# count as text: no prompt shows them, and a policy that writes them does not follow the format.
WHITE_SPACE = " \t\n\r\f\v"

_LETTER_FIRST = re.compile(r"\(([A-Za-z])\)|([A-Za-z])([).:]?)")

# A letter is a word of its own: not part of one in any script, nor of "B-scan", "patient's", "e.g."
LETTER_ALONE = re.compile(r"(?<![\w-])(?<!\w['’])(?<!\b\w\.)[A-Za-z](?![\w-])(?!['’.]\w)")


def option_letters(options: Sequence[str]) -> str:
    """Return the letters an answer may name: those of ``options``, all of A to Z without any.

    >>> option_letters(["MRI", "CT"])
    'AB'
    """
    return ascii_uppercase[: len(options)] if options else ascii_uppercase


def committed_letter(answer: str, options: Sequence[str] = ()) -> str | None:
    """Return the upper-case letter that an answer tag's text commits to, or None if to none.

    One letter counts, alone or as ``(c)``, ``C.``, ``C)``, ``C:``. Text behind one of the last four
    counts only when it is, character for character, that letter's own option. A letter beyond the
    options names nothing. Anything looser can be gamed: under "first letter wins" a policy learns
    to list several answers.

    >>> committed_letter(" (b) "), committed_letter("A or B"), committed_letter("C)CT")
    ('B', None, None)
    >>> committed_letter("C) CT", ["MRI", "PET", "CT"]), committed_letter("D", ["MRI", "CT"])
    ('C', None)
    """
    answer = answer.strip(WHITE_SPACE)
    match = _LETTER_FIRST.match(answer)
    if match is None:
        return None
    letter = (match[1] or match[2]).upper()
    if letter not in option_letters(options):
        return None
    text = answer[match.end() :].strip(WHITE_SPACE)
    if not text:
        return letter
    separated = bool(match[1] or match[3])  # "CCT" and "C CT" are no letter and its option
    names_option = bool(options) and text == options[ord(letter) - ord("A")].strip(WHITE_SPACE)
    return letter if separated and names_option else None
