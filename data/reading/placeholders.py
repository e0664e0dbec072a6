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
    r"""Return the question without the marks at its ends if they are as many as its images.

    Any other mark stays, for `placeholder_problem` to name.

    >>> without_placeholders("<image>\n<image> What changed?", 2)
    'What changed?'
    >>> without_placeholders("What is shown?\n<image>", 1)
    'What is shown?'
    """
    marks = [*PLACEHOLDER.finditer(question)]
    if not marks or len(marks) != count:
        return question
    leading = _LEADING.match(question)
    start, end = leading.end() if leading else 0, len(question)
    while marks and marks[-1].start() >= start and not question[marks[-1].end() : end].strip():
        end = marks.pop().start()
    if any(mark.start() >= start for mark in marks):
        return question  # in the middle of a sentence
    return question[start:end] if end == len(question) else question[start:end].rstrip()


def placeholder_problem(text: str, count: int | None = None) -> str | None:
    """Return what is wrong with a text that holds a mark, None for any other.

    Args:
        text: of a question, an option or a template.
        count: how many images the question has, where the text is one.

    >>> placeholder_problem("Is <10 mm> large?") is None
    True
    """
    found = PLACEHOLDER.findall(text)
    if not found:
        return None
    if count is not None and len(found) > count:
        return (
            f"holds {found[0]}, {len(found)} marks for {count or 'no'} image{'s' * (count != 1)}:"
            " each would be read as a word; name the images, or remove the marks"
        )
    return (
        f"holds {found[0]}, which the model would read as a word: images stand before the question"
        " by themselves, remove it"
    )
