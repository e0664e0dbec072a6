"""Where a text itself says that its answer comes: "the answer is", "Answer:"."""

import re

_CUE = re.compile(r"\banswer(?:\s+is\b|\s*[:=])[\s:]*+", re.IGNORECASE)


def behind_cue(text: str) -> str | None:
    """Return what stands behind the last "answer is" or "answer:", None where there is none.

    >>> behind_cue("Answer: a. No, the answer is: b"), behind_cue("an answer")
    ('b', None)
    """
    ends = [match.end() for match in _CUE.finditer(text)]
    return text[ends[-1] :] if ends else None
