"""Numbers in words: zero to twenty, the tens to ninety, and the tens with one to nine behind."""

import re
from collections.abc import Iterable

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBER_WORDS = {word: value for value, word in enumerate(_UNITS)}
NUMBER_WORDS |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
NUMBER_IN_WORDS = re.compile(
    rf"\b(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_UNITS[1:10])}))?|{'|'.join(_UNITS)})\b",
    re.IGNORECASE,
)


def in_digits(words: Iterable[str]) -> list[str]:
    """Return lower-case words, numbers among them in digits.

    >>> in_digits(["twenty", "one", "nodules", "in", "two", "lobes"])
    ['21', 'nodules', 'in', '2', 'lobes']
    """
    found: list[str] = []
    tens = 0  # of the word before, which a unit is added to
    for word in words:
        value = NUMBER_WORDS.get(word)
        if value is None:
            found.append(word)
        elif tens and 0 < value < 10:
            found[-1] = str(tens + value)
        else:
            found.append(str(value))
        tens = value if value is not None and value >= 20 else 0
    return found
