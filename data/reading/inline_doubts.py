"""What makes a list of options doubtful that was read out of a question: another may be meant.

A row with a wrong list of options teaches something false and nobody sees it, so a text that two
people would read in two ways is refused.
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from data.reading.inline_styles import Reading

# An instruction behind the list, which would be a part of the last option.
_INSTRUCTION = re.compile(
    r"[.!?;\n][^\S\n]*+(?:please|answer|choose|select|respond|reply|pick)\b"
    r"|\banswer\s(?:with|using|by|in|the\squestion)\b"
    r"|\b(?:choose|select|pick)\s(?:the|one|from|an|only)\b",
    re.IGNORECASE,
)
_QUESTION_INSIDE = re.compile(r"\?[\"')\]]*\s+\S|(?:\boptions|\bchoices)\s*:", re.IGNORECASE)


def doubt(reading: Reading, style: str) -> str | None:
    """Return why a list of options may not be the one that is meant; None: it is.

    Args:
        reading: of the text.
        style: how the list writes its first letter.

    >>> doubt(Reading("Which?", ("CT", "MRI C)PET")), "A)")
    'goes on behind its last option, with C: write all options in one style'
    >>> doubt(Reading("Which?", ("CT", "Hepatitis C")), "A)")
    """
    question, options, is_lines, is_mixed = reading
    if re.search(rf"(?:\A|[\s?.!:]){re.escape(style)}\Z", question):
        return f"has {style} twice where its options begin: write the first option without it"
    after = ascii_uppercase[len(options) : len(options) + 1]
    if after and _goes_on(options[-1], after):
        return f"goes on behind its last option, with {after}: write all options in one style"
    is_plain = style in ("A.", "A:") and not is_lines  # in a line of its own "C. difficile" is none
    if is_plain and is_mixed:
        return "sets its options off by commas and by semicolons: write only one of them"
    letters = ascii_uppercase[: len(options) + 1]
    for letter, text in zip(ascii_uppercase, options, strict=False):
        if _QUESTION_INSIDE.search(text):
            return f"has a question in its option {letter}: letters before it may be no options"
        if _has_another(text, letters, is_lines=is_lines):
            return f"has another letter in its option {letter}: write all options in one style"
        if is_plain and _has_own(text, letter, letters, style[1]):
            return f"has another letter in its option {letter}: write each on a line of its own"
    return _odd_last(options)


def _goes_on(last: str, after: str) -> bool:
    """Return whether the last option holds the next letter, set off as options are."""
    if _has_another(last, after, is_lines=False):
        return True
    return re.search(rf"[\s?!:.](?:\({after}\)(?!-[A-Za-z])|{after}\))", last) is not None


def _has_another(text: str, letters: str, *, is_lines: bool) -> bool:
    before = r"\n" if is_lines else r"[,;\n]"
    return re.search(rf"{before}[^\S\n]*+(?:\([{letters}]\)|[{letters}][).:])", text) is not None


def _has_own(text: str, letter: str, letters: str, sign: str) -> bool:
    """Return whether an option holds a letter as its list writes them; "vitamin A." is option A."""
    found = re.finditer(rf"(?:\A|\s)([{letters}]){re.escape(sign)}", text)
    return any(match[1] != letter or match.end() < len(text) for match in found)


def _odd_last(options: Sequence[str]) -> str | None:
    *others, last = options
    if "\n" in last and not any("\n" in text for text in others):
        return "has a line behind its last option: remove it, or write the option on one line"
    if _INSTRUCTION.search(last) and not any(map(_INSTRUCTION.search, others)):
        return "has an instruction behind its last option: remove it"
    if last.endswith("?") and not any(text.endswith("?") for text in others):
        return "has a question at the end of its last option: letters before it may be no options"
    return None
