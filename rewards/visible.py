"""Does a text show anything? White space, marks and characters without width alone do not."""

import unicodedata

# Letters and symbols by their category that are drawn as nothing: Hangul fillers, Braille blank.
_BLANK = "\u115f\u1160\u3164\uffa0\u2800"


def is_visible(text: str) -> bool:
    r"""Return whether a letter, digit, punctuation mark or symbol is in it.

    >>> is_visible("?"), is_visible("\u00a0\u200b\u0301\u3164")
    (True, False)
    """
    return any(unicodedata.category(char)[0] in "LNPS" and char not in _BLANK for char in text)
