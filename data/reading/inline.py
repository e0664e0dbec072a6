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
from data.reading.inline_published import OptionsError, split_published
from data.reading.inline_styles import broken_list, goes_on, readings

# Stands between question and options, and says nothing.
_HEADING = r"((?:answer\s+)?(?:options|choices)\s*:)"
_HEADING_BEFORE = re.compile(rf"(?:\n|[?.!]\s)\s*{_HEADING}\Z", re.IGNORECASE)
_HEADINGS = re.compile(_HEADING, re.IGNORECASE)
_LONGEST_HEADING = 40


def split_options(problem: str) -> tuple[str, tuple[str, ...]]:
    r"""Return the question and its options' texts, both as written, without the letters.

    Raises:
        OptionsError: no reading of the text has a question and two or more options, none empty; or
            it can be read in two styles.

    >>> split_options("Is vitamin A) low, or B)? A)Yes, both, B)No")
    ('Is vitamin A) low, or B)?', ('Yes, both', 'No'))
    >>> split_options("What is shown?\nOptions:\nA. CT\nB. MRI")
    ('What is shown?', ('CT', 'MRI'))
    """
    question, options = _split(problem)
    return _without_heading(question), options


def without_options(question: str, options: Sequence[str]) -> str:
    """Return a question without the options at its end, where they are those that are known.

    Raises:
        ValueError: they stand behind a heading and are others.

    >>> without_options("Which? Answer Choices: (A) Edema (B) Type (B)", ["Edema", "Type (B)"])
    'Which?'
    >>> without_options("One: A) is. Two: B) is not.", ["Only A", "Only B"])
    'One: A) is. Two: B) is not.'
    """
    *_, heading = [None, *_HEADINGS.finditer(question)]
    if heading and _lists_exactly(question[heading.end() :], options):
        return question[: heading.start()].rstrip() or question
    try:
        before, listed = _split(question)
    except OptionsError:
        return question
    if list(map(same_option, listed)) == list(map(same_option, options)):
        return _without_heading(before)
    if before != _without_heading(before):
        raise ValueError(f"lists other options, {list(listed)}, than the row has, {list(options)}")
    return question


def _split(problem: str) -> tuple[str, tuple[str, ...]]:
    try:
        question, options = split_published(problem)
    except OptionsError as error:
        question, options = _in_another_style(problem, error)
    after = ascii_uppercase[len(options) : len(options) + 1]
    if after and goes_on(options[-1], after):
        reason = f"has a line that begins with {after} and is no option: write all in one style"
        raise OptionsError(reason, is_list=True)
    return question, options


def _in_another_style(problem: str, published: OptionsError) -> tuple[str, tuple[str, ...]]:
    found = readings(problem)
    if len(found) > 1:
        styles = " and ".join(repr(style) for style in found)
        raise OptionsError(f"has lists of options in two styles, {styles}: keep one", is_list=True)
    if found:
        return next(iter(found.values()))
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
