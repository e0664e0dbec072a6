"""Two models on the same questions: does one answer more of them right than the other?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erfc, sqrt

# Under this many discordant pairs the chi-square approximation is too rough (McNemar 1947, and
# every textbook since).
_EXACT_BELOW = 25

EXACT, CHI_SQUARE = "exact binomial", "chi-square with continuity correction"


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two paired lists of right and wrong."""

    first_only: int  # rows that only the first answers right
    second_only: int  # rows that only the second answers right
    test: str  # EXACT or CHI_SQUARE
    statistic: float | None  # of the chi-square, one degree of freedom
    p_value: float  # two-sided: that equally good models differ this much or more


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Return McNemar's test: only the rows that one side alone answers right count.

    With b and c such rows: below 25 together the exact two-sided binomial test of b in b + c at
    1/2, else (|b - c| - 1)^2 / (b + c) against the chi-square with one degree of freedom. Source:
    McNemar 1947; the correction is Edwards 1948. It takes the rows as independent; where they
    share images, `evaluation.bootstrap.paired_cluster_bootstrap` does not.

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
    discordant = first_only + second_only
    if discordant < _EXACT_BELOW:
        p_value = _exact_p_value(min(first_only, second_only), discordant)
        return McNemar(first_only, second_only, EXACT, None, p_value)
    # a difference of 0 is no evidence: the correction must not make a square of -1
    excess = max(abs(first_only - second_only) - 1, 0)
    statistic = excess**2 / discordant
    return McNemar(first_only, second_only, CHI_SQUARE, statistic, erfc(sqrt(statistic / 2)))


def _exact_p_value(fewer: int, n: int) -> float:
    """Return the two-sided p-value of ``fewer`` or fewer heads in n tosses of a fair coin."""
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)
