"""How a number is printed: shares in per cent, differences of shares in points, one decimal.

Counts are whole numbers with commas, ``f"{n:,}"``. A number that is not known is None, which each
kind of table shows in its own way.
"""

from typing import overload


@overload
def percent(share: float) -> str: ...
@overload
def percent(share: None) -> None: ...
def percent(share: float | None) -> str | None:
    """Return a share in per cent, without the sign.

    >>> percent(0.5833)
    '58.3'
    """
    return None if share is None else f"{100 * share:.1f}"


@overload
def points(difference: float) -> str: ...
@overload
def points(difference: None) -> None: ...
def points(difference: float | None) -> str | None:
    """Return a difference of shares in points.

    >>> points(0.125), points(-0.01)
    ('+12.5', '-1.0')
    """
    return None if difference is None else f"{100 * difference:+.1f}"


def percent_range(low: float | None, high: float | None, *, dash: str = "-") -> str | None:
    """Return the interval of a share in per cent; None where there is none.

    >>> percent_range(0.25, 0.5)
    '25.0-50.0'
    """
    return None if low is None or high is None else f"{percent(low)}{dash}{percent(high)}"


def points_range(low: float | None, high: float | None, *, between: str = " to ") -> str | None:
    """Return the interval of a difference in points; None where there is none.

    >>> points_range(-0.1, 0.2)
    '-10.0 to +20.0'
    """
    return None if low is None or high is None else f"{points(low)}{between}{points(high)}"


def count_and_share(part: int, whole: int) -> str:
    """Return a count and its share of the whole.

    >>> count_and_share(526, 1615), count_and_share(0, 0)
    ('526 (32.6 %)', '0')
    """
    return f"{part:,} ({100 * part / whole:.1f} %)" if part and whole else f"{part:,}"


def p_text(value: float) -> str:
    """Return a p value.

    >>> p_text(0.0312), p_text(1e-9)
    ('0.031', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
