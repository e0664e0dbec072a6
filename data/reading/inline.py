r"""Options written into the question, in any of the styles that published files have.

What is shown? A)CT, B)MRI                  the published one, read first (inline_published.py)
What is shown? (A) CT (B) MRI               the others (inline_styles.py)
What is shown?\nOptions:\nA. CT\nB. MRI
What is shown? A: CT, B: MRI
"""

import re
from string import ascii_uppercase

from data.reading.inline_published import OptionsError, split_published
from data.reading.inline_styles import broken_list, goes_on, readings

# Stands between question and options, and says nothing.
_HEADING = re.compile(r"(?:\n|[?.!]\s)\s*((?:answer\s+)?(?:options|choices)\s*:)\Z", re.IGNORECASE)
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
    try:
        question, options = split_published(problem)
    except OptionsError as error:
        question, options = _in_another_style(problem, error)
    after = ascii_uppercase[len(options) : len(options) + 1]
    if after and goes_on(options[-1], after):
        reason = f"has a line that begins with {after} and is no option: write all in one style"
        raise OptionsError(reason, is_list=True)
    return _without_heading(question), options


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
    match = _HEADING.search(("\n" + question)[-_LONGEST_HEADING:])
    if match is None:
        return question
    question = question[: len(question) - len(match[1])].rstrip()
    if not question:
        raise OptionsError("has options but no question before them", is_list=True)
    return question
