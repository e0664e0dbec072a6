"""A number, right within the example's tolerance; compared as decimals, so nothing is rounded."""

import math
import re
from collections.abc import Iterator, Sequence
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

from rewards.forms.cue import behind_cue
from rewards.forms.number_words import NUMBER_IN_WORDS, in_digits
from rewards.letters import WHITE_SPACE

MOST_CHARACTERS = 40  # also without an exponent, so that all of it is compared exactly
_EXACT = Context(prec=400)
# No commas of thousands behind a zero: "0,500" may be half of one.
_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3}){1,9}+(?![0-9])|[0-9]++)(?:\.[0-9]++)?+|\.[0-9]++"
_EXPONENT = r"(?:[eE][+-]?[0-9]{1,2}(?![0-9]))?"
_NUMBER = re.compile(rf"[+\u2212-]?(?:{_DIGITS}){_EXPONENT}")
# In a sentence: no part of a name ("T2", "L4-5", "2nd"), behind it a unit or none.
_IN_TEXT = re.compile(
    rf"(?<![\w.])(?<![A-Za-z][0-9]-)(?:(?<![0-9])[+\u2212-])?(?:{_DIGITS}){_EXPONENT}"
    r"(?!\.[0-9])(?:(?!\w)|(?=(?:[mck]?m|m?l|[mk]?g)\b))"
)


class Number:
    """A whole or decimal number."""

    name = "number"
    kind = "number"
    lettered = False
    asked_for = "one number"

    def committed(self, text: str, options: Sequence[str] = ()) -> str | None:
        """Return the digits of a text that is one number and nothing else, else None.

        A sign, the commas of thousands, decimals, an exponent of one or two digits and a full stop
        at the end may be there, or the number in words up to ninety-nine. A unit, a percent sign, a
        fraction, a range and a second number may not.

        >>> [Number().committed(text) for text in ("1,250.0", "-.5", "2e3", "Twenty-one", "3.")]
        ['1250', '-0.5', '2000', '21', '3']
        >>> [Number().committed(text) for text in ("2-3", "5 cm", "50%", "1/2", "12,5", "nan")]
        [None, None, None, None, None, None]
        """
        text = text.strip(WHITE_SPACE).removesuffix(".")
        if len(text) > MOST_CHARACTERS:
            return None
        if _NUMBER.fullmatch(text):
            return _plain(text)
        return _digits_of(text)[0] if NUMBER_IN_WORDS.fullmatch(text) else None

    def forgiving(self, text: str, options: Sequence[str] = (), *, first: bool) -> str | None:
        """Return the first number behind the last "answer is", else the first or the only one.

        A unit or a percent sign may follow it. Numbers in words count where there are no digits.

        >>> Number().forgiving("In T2 there are 3 of 5 cm. The answer is 3 nodules", first=False)
        '3'
        """
        found = list(_numbers(behind_cue(text) or ""))[:1] or list(_numbers(text))
        return found[0] if found and (first or len(set(found)) == 1) else None

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether it is within the larger of the two tolerances of the key, or at it."""
        value, right = _value(choice), _value(example.answer)
        if value is None or right is None:
            return False
        absolute = _decimal(example.absolute_tolerance)
        relative = _EXACT.multiply(_decimal(example.relative_tolerance), right.copy_abs())
        return _EXACT.subtract(value, right).copy_abs() <= max(absolute, relative)  # abs() rounds

    def likeness(self, choice: str, example: Any) -> float:
        """Return 1 for a right one, else 0."""
        return float(self.is_right(choice, example))

    def key_problem(self, example: Any) -> str | None:
        """Return why no answer can be right, or None."""
        if _value(example.answer) is None:
            return f"{example.answer!r} is no number as it is asked for, such as 3, 2.5 or 1,200"
        for tolerance in (example.absolute_tolerance, example.relative_tolerance):
            if not math.isfinite(tolerance) or tolerance < 0:
                return f"a tolerance of {tolerance!r} is none: it is a number of 0 or more"
        return None

    def written(self, example: Any) -> str:
        """Return the right number."""
        return example.answer

    def chance(self, example: Any) -> float | None:
        """Return None: nobody guesses a number at a known rate."""
        return None


def _numbers(text: str) -> Iterator[str]:
    """Yield the numbers that stand in a text, those in words where there are no others."""
    digits = [number for match in _IN_TEXT.finditer(text) if (number := _plain(match[0]))]
    yield from digits
    if not digits:
        for match in NUMBER_IN_WORDS.finditer(text):
            yield _digits_of(match[0])[0]


def _digits_of(words: str) -> list[str]:
    return in_digits(words.casefold().replace("-", " ").split())


def _plain(number: str) -> str | None:
    """Return a number in its one way of writing, no exponent and no idle zeros; None: too long."""
    if len(number) > MOST_CHARACTERS:
        return None
    value = Decimal(number.replace(",", "").replace("\u2212", "-"))
    written = f"{value:f}"
    if "." in written:
        written = written.rstrip("0").rstrip(".")
    if len(written) > MOST_CHARACTERS:
        return None
    return written if value else "0"


@lru_cache(maxsize=4096)
def _value(text: str) -> Decimal | None:
    written = Number().committed(text)
    return None if written is None else Decimal(written)


@lru_cache(maxsize=256)
def _decimal(number: float) -> Decimal:
    return Decimal(repr(float(number)))  # 0.1 is meant as it is written
