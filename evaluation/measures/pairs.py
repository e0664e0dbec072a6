"""Two models on the same questions: does one answer more of them right than the other?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

EXACT = "exact binomial"


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two paired lists of right and wrong."""

    first_only: int  # rows that only the first answers right
    second_only: int  # rows that only the second answers right
    test: str  # EXACT
    p_value: float  # two-sided: that equally good models differ this much or more


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Return McNemar's test: only the rows that one side alone answers right count.

    With b and c such rows it is the exact two-sided binomial test of b in b + c at 1/2, at any
    size. Source: McNemar 1947. It takes the rows as independent; where they share images,
    `evaluation.measures.intervals.image_interval` of the differences does not.

    Raises:
        ValueError: no rows, or two lengths.

    >>> mcnemar([True] * 6 + [False], [False] * 6 + [True]).p_value
    0.125
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"{len(first)} and {len(second)} answers are no pairs: measure both on the same rows,"
            " at least one"
        )
    pairs = list(zip(first, second, strict=True))
    first_only = sum(bool(one) and not other for one, other in pairs)
    second_only = sum(bool(other) and not one for one, other in pairs)
    p_value = _exact_p_value(min(first_only, second_only), first_only + second_only)
    return McNemar(first_only, second_only, EXACT, p_value)


def _exact_p_value(fewer: int, n: int) -> float:
    """Return the two-sided p-value of ``fewer`` or fewer heads in n tosses of a fair coin.

        min(1, 2 sum_{k <= fewer} C(n, k) / 2^n)

    In whole numbers, since 2^n is no float from n = 1,024 on; from the largest term downwards, by
    C(n, k - 1) = C(n, k) k / (n - k + 1), until the others would not change the float.
    """
    term = total = comb(n, fewer)
    for k in range(fewer, 0, -1):
        term = term * k // (n - k + 1)
        total += term
        if term << 64 < total:
            break
    return min(1.0, 2 * total / 2**n)
