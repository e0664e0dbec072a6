"""Options written into the question: ``What is shown? A)CT, B)MRI (T2, fat-saturated)``."""

import re
from string import ascii_uppercase

# A letter that may begin the options stands after a space or the question's last sign, so that the
# "A)" of "quality assessment (IQA)" is none. Later letters stand after a comma, a semicolon or a
# new line: commas and brackets inside an option do not end it.
_FIRST = re.compile(r"(?:(?<=[\s?.:!\"'])|^)A\)")
_LATER = re.compile(r"[,;\n]\s*([A-Z])\)")
_SENTENCE_ENDS = ("?", ".", ":", "!", '"', "'", ")", "]", "\n")


def split_options(problem: str) -> tuple[str, tuple[str, ...]]:
    """Return the question and its options' texts, both as written, without the letters.

    The lettering must be A, B, ... to the end. Where several places could begin it ("Is vitamin A)
    low? A)Yes, B)No"), those after the end of a sentence are preferred, then the last.

    Raises:
        ValueError: no reading of the text has a question and two or more options, none empty.

    >>> split_options("Is vitamin A) low, or B)? A)Yes, both, B)No")
    ('Is vitamin A) low, or B)?', ('Yes, both', 'No'))
    """
    starts = list(_FIRST.finditer(problem))
    if not starts:
        raise ValueError("has no option 'A)': write the options behind it as 'A)..., B)...'")
    starts.sort(key=lambda start: (_ends_sentence(problem, start), start.start()), reverse=True)
    reasons = []
    for start in starts:
        try:
            return _read_from(problem, start)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(reasons[0])


def _ends_sentence(problem: str, start: re.Match[str]) -> bool:
    return problem[: start.start()].rstrip(" ").endswith(_SENTENCE_ENDS)


def _read_from(problem: str, start: re.Match[str]) -> tuple[str, tuple[str, ...]]:
    later = list(_LATER.finditer(problem, start.end()))
    letters = "A" + "".join(match[1] for match in later)
    if len(letters) < 2:
        raise ValueError("has one option: a choice needs two, written 'A)..., B)...'")
    if letters != ascii_uppercase[: len(letters)]:
        raise ValueError(f"letters its options {', '.join(letters)}: they must be A, B, C, ...")
    begins = [start.end(), *(match.end() for match in later)]
    ends = [*(match.start() for match in later), len(problem)]
    texts = tuple(problem[a:b].strip() for a, b in zip(begins, ends, strict=True))
    if "" in texts:
        raise ValueError(f"has an empty option {letters[texts.index('')]}")
    question = problem[: start.start()].strip()
    if not question:
        raise ValueError("has options but no question before them")
    return question, texts
