"""`<image>` in a question: another trainer's mark for an image's place, as LLaVA's files write it.

Here images always stand before the text, put there by the checkpoint's chat template. A mark that
is left in a text would be read as a word.
"""

import re

_CLOSING = r"</\s*(?:image|img|video)\s*>"
# <image>, <image_1>, <img/>, <image></image>, <image_placeholder>, <ImageHere>; a closing one alone
# is left of <img>path</img>.
PLACEHOLDER = re.compile(
    r"(?:<\s*(?:image|img|video)(?:[_ ]?\d+|_placeholder|here)?\s*/?>"
    rf"(?:\s*{_CLOSING})?|{_CLOSING})",
    re.IGNORECASE,
)
_LEADING = re.compile(rf"(?:\s*{PLACEHOLDER.pattern})+\s*", re.IGNORECASE)


def without_placeholders(question: str, count: int) -> str:
    r"""Return the question without the marks before it if they are as many as its images.

    Any other mark stays, for `placeholder_problem` to name.

    >>> without_placeholders("<image>\n<image> What changed?", 2)
    'What changed?'
    """
    marks = _LEADING.match(question)
    if marks and len(PLACEHOLDER.findall(marks[0])) == count:
        return question[marks.end() :]
    return question


def placeholder_problem(text: str) -> str | None:
    """Return what is wrong with a text that holds a mark, None for any other.

    >>> placeholder_problem("Is <10 mm> large?") is None
    True
    """
    found = PLACEHOLDER.search(text)
    if found is None:
        return None
    return (
        f"holds {found[0]}, which the model would read as a word: images stand before the question"
        " by themselves, remove it"
    )
