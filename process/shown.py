r"""Text of others as it is shown: what would act instead of being seen stands there as an escape.

A completion, a question, a file's name or a template's error may hold what a terminal obeys (ESC,
C1, carriage returns), what turns the order of letters around (bidi controls), or what nobody sees
and a copy carries along (zero width, tags, variation selectors). Everything here is idempotent, so
that a text may pass through it at more than one place.
"""

import re

# What has no picture of its own but shapes the letter or sign before it: joiners (Persian, the
# scripts of India, emoji), variation selectors (emoji, Mongolian, Chinese characters). Behind
# anything else, and behind each other, they carry nothing but what is not seen.
_SHAPED = "\u0590-\u180a\u1810-\u1cff\u2190-\u2bff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc"
_SHAPED += "\U00010a00-\U00011fff\U0001f000-\U0001faff"
_VARIED = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u3030\u303d\u3297\u3299" + _SHAPED
_CHINESE = "\u3400-\u9fff\U00020000-\U0003ffff"

_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but for tab and new line
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # drawn as nothing
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # zero width, lines, bidi
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    "\ud800-\udfff"  # halves of surrogate pairs
)
_ESCAPED = re.compile(
    f"[{_UNSEEN}]"
    f"|(?<![{_SHAPED}\ufe0f])[\u200c\u200d]"
    f"|(?<![{_VARIED}{_CHINESE}])[\u180b-\u180d\u180f\ufe00-\ufe0f](?!\u20e3)"
    f"|(?<![{_CHINESE}])[\U000e0100-\U000e01ef]"
)
_LINES = re.compile(r"[\t\n]")
# Most texts hold nothing but these, which is seen twenty times as fast.
_UNUSUAL = re.compile(
    "[^\t\n -~\xa0-\xac\xae-\u034e\u0350-\u061b\u2010-\u2027\u2030-\u205f"
    "\u3001-\u3163\u3165-\ud7ff]"
)


def shown(text: str) -> str:
    r"""Return a text whose lines can be printed: controls, bidi and unseen characters as escapes.

    Tabs and new lines stay.

    >>> print(shown("a \x1b[2J \u202ereversed"))
    a \x1b[2J \u202ereversed
    """
    return _ESCAPED.sub(_escape, text) if _UNUSUAL.search(text) else text


def shown_line(text: str) -> str:
    r"""Return a text as `shown` does, on one line: tabs and new lines are escapes, too.

    >>> print(shown_line("image.png\nerror: none"))
    image.png\nerror: none
    """
    return _LINES.sub(_escape, shown(text))


def shown_json(text: str) -> str:
    r"""Return JSON whose strings are read back as they were and can be printed as they stand.

    JSON's own writers escape controls below the space alone.

    >>> print(shown_json('{"answer": "\u202e"}'))
    {"answer": "\u202e"}
    """
    return _ESCAPED.sub(_escape_json, text) if _UNUSUAL.search(text) else text


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _escape_json(match: re.Match[str]) -> str:
    pair = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[i : i + 2].hex()}" for i in range(0, len(pair), 2))
