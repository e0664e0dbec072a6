"""Every place of one text in another, in a time linear in both, whatever they repeat."""

from collections.abc import Iterator
from functools import lru_cache


def places_of(wanted: str, text: str) -> Iterator[int]:
    """Yield where a text is found in another, overlapping or not, in a time linear in both.

    Searched anew from behind each place, "bb bb bb .." would be compared whole at every word of a
    text of the same. So where it repeats itself, only what the next place adds is looked at.
    """
    at = text.find(wanted)
    step = _period(wanted) if at >= 0 else 0
    added = wanted[len(wanted) - step :]
    while at >= 0:
        yield at
        if text.startswith(added, at + len(wanted)):
            at += step
        else:
            at = text.find(wanted, at + 1)


@lru_cache(maxsize=4096)  # options recur
def _period(text: str) -> int:
    """Return the least shift by which a text lies on itself, as Knuth, Morris and Pratt find it.

    >>> _period(" bb bb bb "), _period(" left lung ")
    (3, 10)
    """
    borders = [0]  # of each beginning of the text: how much of it ends as it begins
    for place in range(1, len(text)):
        border = borders[-1]
        while border and text[place] != text[border]:
            border = borders[border - 1]
        borders.append(border + (text[place] == text[border]))
    return len(text) - borders[-1]
