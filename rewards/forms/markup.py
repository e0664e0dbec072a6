"""Tags in a short answer: a completion that holds one is another thing than its answer."""

import re

# a tag of any name, and what the parser takes for one of its own, closed or not
_MARKUP = re.compile(r"<[/|A-Za-z][^<>]*>|</?(?:think|answer)\b", re.ASCII | re.IGNORECASE)


def holds_markup(text: str) -> bool:
    """Return whether a tag is in the text.

    >>> holds_markup("<b>heart"), holds_markup("heart</Answer"), holds_markup("a <b > c")
    (True, True, True)
    >>> holds_markup("5 < 6 > 3"), holds_markup("size <b")
    (False, False)
    """
    return _MARKUP.search(text) is not None
