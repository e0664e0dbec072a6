"""F1 of two bags: how much of each is in the other."""

from collections import Counter
from collections.abc import Mapping


def f1(given: Mapping[str, int], right: Mapping[str, int]) -> float:
    """Return the harmonic mean of precision and recall, each thing as often as it is there.

    >>> f1({"upper": 1, "lobe": 1}, {"left": 1, "upper": 1, "lobe": 1})
    0.8
    """
    common = (Counter(given) & Counter(right)).total()
    return 2 * common / (sum(given.values()) + sum(right.values()))
