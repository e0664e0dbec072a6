"""Options in the published style: ``What is shown? A)CT, B)MRI (T2, fat-saturated)``.

A row may hold megabytes, and markers by the thousand: each place is found once, and the text is
read from a handful of them, so that time stays linear in it.
"""

import re
from collections import deque
from collections.abc import Sequence
from itertools import islice
from string import ascii_uppercase

# A letter that may begin the options stands after a space or the question's last sign, so that the
# "A)" of "quality assessment (IQA)" is none. Later letters stand after a comma, a semicolon or a
# new line: commas and brackets inside an option do not end it.
_A = "A)"
_FIRST = re.compile(rf"(?:(?<=[\s?.:!\"'])|^){re.escape(_A)}")
# Of white space with a new line in it only the first character begins an attempt.
_LATER = re.compile(r"(?:[,;]|(?<![\s,;])[^\S\n]*+\n)\s*+([A-Z])\)")
_SENTENCE_ENDS = ("?", ".", ":", "!", '"', "'", ")", "]", "\n")
_SHOWN_LETTERS = 40  # of a message

Match = re.Match[str]


class OptionsError(ValueError):
    """A text that has no options to be read, and whether it seems to have a list of them."""

    def __init__(self, reason: str, *, is_list: bool) -> None:
        super().__init__(reason)
        self.is_list = is_list


def split_published(problem: str) -> tuple[str, tuple[str, ...]]:
    """Return the question and its options' texts, both as written, without the letters.

    The lettering must be A, B, ... to the end. Where several places could begin it ("Is vitamin A)
    low? A)Yes, B)No"), those after the end of a sentence are preferred, then the last.

    Raises:
        OptionsError: no reading of the text has a question and two or more options, none empty.

    >>> split_published("Is vitamin A) low, or B)? A)Yes, both, B)No")
    ('Is vitamin A) low, or B)?', ('Yes, both', 'No'))
    """
    starts = _by_preference(problem)
    if not starts:
        reason = "has no option 'A)': write the options behind it as 'A)..., B)...'"
        raise OptionsError(reason, is_list=False)
    letters = deque(_LATER.finditer(problem), maxlen=len(ascii_uppercase))
    # the first one says why there is no reading, if there is none
    first = _LATER.finditer(problem, starts[0] + len(_A))
    tried = {starts[0]: list(islice(first, _SHOWN_LETTERS + 1))}
    tried |= dict.fromkeys(_worth_trying(starts, letters), _behind(letters))
    errors = []
    for start, following in tried.items():
        try:
            return _read_from(problem, start, following)
        except OptionsError as error:
            errors.append(error)
    raise errors[0]


def _by_preference(problem: str) -> list[int]:
    """Return where options may begin: behind a sentence's end, the last first, then the others."""
    ended: list[int] = []
    others: list[int] = []
    before = 0  # the end of the start before
    for match in _FIRST.finditer(problem):
        text = problem[before : match.start()].rstrip(" ")
        # where nothing but spaces is between, the sign is the bracket of the start before
        is_ended = text.endswith(_SENTENCE_ENDS) if text else before > 0
        (ended if is_ended else others).append(match.start())
        before = match.end()
    return [*reversed(ended), *reversed(others)]


def _behind(letters: Sequence[Match]) -> list[Match]:
    """Return the letters behind the "A)" of a reading: they go on to the end, so the last tells."""
    count = ascii_uppercase.index(letters[-1][1]) if letters else 0
    return list(letters)[len(letters) - count :] if count <= len(letters) else []


def _worth_trying(starts: Sequence[int], letters: Sequence[Match]) -> list[int]:
    """Return the first few starts that have those letters behind them, and no others.

    What one of them lacks, all lack, but for two things: the last may have an empty option A, the
    first no question. So the third says of all whether they can be read.
    """
    following = _behind(letters)
    if not following:
        return []
    before = [match.start() for match in letters if match not in following][-1:] or [0]
    ends = range(before[0] + 1, following[0].start() + 1)
    return list(islice((start for start in starts if start + len(_A) in ends), 3))


def _read_from(problem: str, start: int, later: Sequence[Match]) -> tuple[str, tuple[str, ...]]:
    letters = "A" + "".join(match[1] for match in later)
    if len(letters) < 2:
        reason = "has one option: a choice needs two, written 'A)..., B)...'"
        raise OptionsError(reason, is_list=False)
    if letters != ascii_uppercase[: len(letters)]:
        shown = ", ".join(letters[:_SHOWN_LETTERS]) + ", ..." * (len(letters) > _SHOWN_LETTERS)
        reason = f"letters its options {shown}: they must be A, B, C, ..."
        raise OptionsError(reason, is_list=True)
    begins = [start + len(_A), *(match.end() for match in later)]
    ends = [*(match.start() for match in later), len(problem)]
    texts = tuple(problem[a:b].strip() for a, b in zip(begins, ends, strict=True))
    if "" in texts:
        raise OptionsError(f"has an empty option {letters[texts.index('')]}", is_list=True)
    question = problem[:start].strip()
    if not question:
        raise OptionsError("has options but no question before them", is_list=True)
    return question, texts
