r"""Options written into the question, in any of the styles that published files have.

What is shown? A)CT, B)MRI                  the published one, read first (inline_published.py)
What is shown? (A) CT (B) MRI               the others (inline_styles.py)
What is shown?\nOptions:\nA. CT\nB. MRI
What is shown? A: CT, B: MRI
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from data.options import same_option
from data.reading.inline_doubts import doubt
from data.reading.inline_published import OptionsError, split_published
from data.reading.inline_styles import Reading, broken_list, readings
from data.references import names_options

# Stands between question and options, and says nothing.
_HEADING = r"((?:answer\s+)?(?:options|choices)\s*:)"
_HEADING_BEFORE = re.compile(rf"(?:\n|[?.!]\s)\s*{_HEADING}\Z", re.IGNORECASE)
_LONGEST_HEADING = 40
_BEGINS, _MOST_BEGINS = re.compile(r"(?:\A|[\s?.!:])(\(A\)|A[).:])"), 20  # of known options


def split_options(problem: str) -> tuple[str, tuple[str, ...]]:
    r"""Return the question and its options' texts, both as written, without the letters.

    Raises:
        OptionsError: no reading of the text has a question and two or more options, none empty; or
            another reading of it may be meant.

    >>> split_options("Is vitamin A) low, or B)? A)Yes, both, B)No")
    ('Is vitamin A) low, or B)?', ('Yes, both', 'No'))
    >>> split_options("What is shown?\nOptions:\nA. CT\nB. MRI")
    ('What is shown?', ('CT', 'MRI'))
    """
    style, reading = _read(problem)
    reading = reading._replace(question=_without_heading(reading.question))
    if reason := doubt(reading, style):
        raise OptionsError(reason, is_list=True)
    return reading.question, reading.options


def without_options(question: str, options: Sequence[str]) -> str:
    """Return a question without the options at its end, where they are those that are known.

    A list that may be none stays in the question, and so do statements of which the options speak
    by their letters.

    Raises:
        ValueError: it lists others, or one of them has another letter.

    >>> without_options("Which? Answer Choices: (A) Edema (B) Type (B)", ["Edema", "Type (B)"])
    'Which?'
    >>> without_options("One: A) is. Two: B) is not.", ["Only A", "Only B"])
    'One: A) is. Two: B) is not.'
    >>> without_options("Seen are: (A) axial, (B) coronal. What is it?", ["Cyst", "Mass"])
    'Seen are: (A) axial, (B) coronal. What is it?'
    """
    begins = [match.start(1) for match in _BEGINS.finditer(question)]
    for start in begins[-_MOST_BEGINS:]:
        if _lists_exactly(question[start:], options):
            before = question[:start].rstrip()
            return _without_heading(before) if before else question
    try:
        style, reading = _read(question)
    except OptionsError:
        return question
    before, listed = reading.question, reading.options
    known, found = ([same_option(text) for text in texts] for texts in (options, listed))
    if found == known:
        return _without_heading(before)
    has_heading = before != _without_heading(before)
    moved = any(text in known and known.index(text) != place for place, text in enumerate(found))
    is_part = _names_statements(options, known, found) or doubt(reading, style) is not None
    if has_heading or moved or not is_part:
        raise ValueError(f"lists other options, {list(listed)}, than the row has, {list(options)}")
    return question


def _names_statements(options: Sequence[str], known: list[str], found: list[str]) -> bool:
    """Return whether options speak of what a question lists, as "Only A" does."""
    is_another = bool(set(known) & set(found))
    return not is_another and any(names_options(text, len(options)) for text in options)


def _read(problem: str) -> tuple[str, Reading]:
    """Return how the list of options writes its first letter, and the reading."""
    try:
        question, options = split_published(problem)
    except OptionsError as error:
        return _in_another_style(problem, error)
    return "A)", Reading(question, options)


def _in_another_style(problem: str, published: OptionsError) -> tuple[str, Reading]:
    found = readings(problem)
    if len(found) > 1:
        styles = " and ".join(repr(style) for style in found)
        raise OptionsError(f"has lists of options in two styles, {styles}: keep one", is_list=True)
    if found:
        return next(iter(found.items()))
    if not published.is_list and (reason := broken_list(problem)):
        raise OptionsError(reason, is_list=True) from published
    raise published


def _without_heading(question: str) -> str:
    match = _HEADING_BEFORE.search(("\n" + question)[-_LONGEST_HEADING:])
    if match is None:
        return question
    question = question[: len(question) - len(match[1])].rstrip()
    if not question:
        raise OptionsError("has options but no question before them", is_list=True)
    return question


def _lists_exactly(text: str, options: Sequence[str]) -> bool:
    """Return whether a text is these options behind their letters, whatever letters they hold."""
    text, at = " ".join(text.split()), 0
    for letter, option in zip(ascii_uppercase, options, strict=False):
        mark = re.compile(rf"[ ,;]*(?:\({letter}\)|{letter}[).:]) ?").match(text, at)
        option = " ".join(option.split())
        if mark is None or not text.startswith(option, mark.end()):
            return False
        at = mark.end() + len(option)
    return not text[at:].strip(" .,;")
