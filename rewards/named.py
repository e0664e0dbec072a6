"""One place where a text names an option, and what is read around it to tell."""

import re
from dataclasses import dataclass

# What stands right before and behind a letter or phrase decides; only so many characters are read,
# so that time stays linear in the text.
BEFORE, BEHIND = 48, 24
WORD_BEHIND = re.compile(r"(?:[/&]\w+)?[^\S\n]+(\w+)(-\w)?")  # "B/L effusion", "a X-ray"
_DENIED = re.compile(
    r"\b(?:no|not|non|without|neither|nor|than|never|exclud(?:e|es|ed|ing)|rul(?:e|es|ed|ing) out"
    r"|isn['’]t|wasn['’]t)[\s\"'(-]{1,2}"
    r"(?:(?:evidence|signs?|features?)\sof\s)?(?:(?:an?|the|any|option|choice|letter)[\s(]{1,2}){0,2}\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Named:
    """One place where a text names an option."""

    letter: str  # upper case
    start: int
    end: int
    sure: bool = False  # a letter that is marked as one: "(B)", "option B", "the answer is B"
    denied: bool = False  # "not B", "no evidence of X"


def is_denied(text: str, start: int) -> bool:
    """Return whether what begins at this place is named only to be denied.

    >>> is_denied("It is not B", 10), is_denied("It is B", 6)
    (True, False)
    """
    return _DENIED.search(text[max(0, start - BEFORE) : start]) is not None
