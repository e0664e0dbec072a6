"""What letter does a piece of text commit to? A strict reading, and a forgiving one."""

import re
from collections.abc import Sequence
from string import ascii_uppercase

# White space is these six characters. Unicode's other spaces (no-break, ideographic, zero width)
# count as text: no prompt shows them, and a policy that writes them does not follow the format.
WHITE_SPACE = " \t\n\r\f\v"

_LETTER_FIRST = re.compile(r"\(([A-Za-z])\)|([A-Za-z])([).:]?)")

# A letter is a word of its own: not part of one in any script, nor of "B-scan" or "patient's".
_LETTER_ALONE = re.compile(r"(?<![\w'’-])[A-Za-z](?![\w'’-])")


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


def first_letter(text: str, options: Sequence[str] = ()) -> str | None:
    """Return the first letter standing alone as a word that names an option, in upper case.

    >>> first_letter("the answer is c, not b"), first_letter("B-scan of the patient's eye")
    ('C', None)
    """
    letters = option_letters(options)
    found = (match[0].upper() for match in _LETTER_ALONE.finditer(text))
    return next((letter for letter in found if letter in letters), None)


def lone_letter(text: str, options: Sequence[str] = ()) -> str | None:
    """Return the letter ``text`` consists of, else the only capital in it that stands alone.

    Small letters count only when nothing else is there: in prose "a" is an article.

    >>> lone_letter("c"), lone_letter("So it is C."), lone_letter("B, or perhaps C")
    ('C', 'C', None)
    """
    committed = committed_letter(text, options)
    if committed is not None:
        return committed
    letters = option_letters(options)
    capitals = {match[0] for match in _LETTER_ALONE.finditer(text) if match[0] in letters}
    return capitals.pop() if len(capitals) == 1 else None
