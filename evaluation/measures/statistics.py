"""How sure an accuracy is, and what guessing would reach.

Rows that share images: evaluation/measures/intervals.py. Two models on the same rows:
evaluation/measures/pairs.py. Confidences: evaluation/measures/calibration.py.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import cos, pi, sin, sqrt, tan
from statistics import NormalDist


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (low, high) of a share, both in [0, 1].

        (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),   p = successes / n

    Source: Wilson 1927, without continuity correction; z is the normal quantile of (1 + confidence)
    / 2. Unlike p -+ z sqrt(p (1 - p) / n) it stays inside [0, 1] and is not empty when every answer
    is right. It takes the rows as independent: rows that share an image are less sure than it says.

    Raises:
        ValueError: n below 1, successes outside 0 .. n, confidence outside (0, 1).

    >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: need 0 <= successes <= n and n at least 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} must lie between 0 and 1, such as 0.95")
    return wilson_bounds(successes / n, n, NormalDist().inv_cdf((1 + confidence) / 2))


def wilson_bounds(share: float, n: float, z: float) -> tuple[float, float]:
    """Return the formula above for any number of rows, whole or effective, and any quantile."""
    centre = share + z**2 / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = ((centre + side * spread) / (1 + z**2 / n) for side in (-1, 1))
    # the two ends are exact where rounding would leave 1e-17
    return (low if share > 0 else 0.0, high if share < 1 else 1.0)


@lru_cache
def student_t_quantile(freedom: int, *, confidence: float = 0.95) -> float:
    """Return t with P(-t <= T <= t) = confidence for Student's T of that many degrees of freedom.

    Found by halving, in the angle a = arctan(t / sqrt(freedom)), where the probability is a finite
    sum (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).

    Raises:
        ValueError: freedom below 1, confidence outside (0, 1).

    >>> round(student_t_quantile(4), 4)
    2.7764
    """
    if freedom < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"{freedom} degrees of freedom and confidence {confidence}: need at least 1, and a"
            " number between 0 and 1, such as 0.95"
        )
    low, high = 0.0, pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        if _student_t_inside(angle, freedom) < confidence:
            low = angle
        else:
            high = angle
    return sqrt(freedom) * tan(low)


def _student_t_inside(angle: float, freedom: int) -> float:
    """Return P(-t <= T <= t) at t = sqrt(freedom) tan(angle)."""
    odd = freedom % 2
    # 1 + 1/2 cos^2 + 1/2 3/4 cos^4 + ..; of odd freedoms cos + 2/3 cos^3 + 2/3 4/5 cos^5 + ..
    term = cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * cos(angle) ** 2
        total += term
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total


def chance_level(chances: Sequence[float | None]) -> float | None:
    """Return the accuracy expected of guessing: the mean of the questions' own rates.

    None where one of them has none, as free texts and numbers do: the mean over the others would
    stand beside an accuracy of other questions.

    Raises:
        ValueError: no question, or a rate that is none.

    >>> chance_level([1 / 4, 1 / 4, 1 / 2])
    0.3333333333333333
    >>> chance_level([1 / 4, None]) is None
    True
    """
    known = [chance for chance in chances if chance is not None]
    if not chances or any(not 0 <= chance <= 1 for chance in known):
        raise ValueError(f"rates of guessing {list(chances)}: pass one or more, each 0 to 1")
    return sum(known) / len(known) if len(known) == len(chances) else None
