"""Exponents of growth: fitted to what was measured, predicted by counts, and compared."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LARGEST = 3  # sizes that are fitted: below them fixed costs hide the growth


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return p of values = a sizes^p by least squares in the logarithms.

    >>> exponent([1, 2, 4], [3, 12, 48])
    2.0

    Raises:
        ValueError: fewer than two sizes, or one that is not above 0.
    """
    if len(sizes) != len(values) or len(sizes) < 2 or min(*sizes, *values) <= 0:
        raise ValueError(f"no exponent of {list(values)} at {list(sizes)}: two above 0 at least")
    x, y = ([math.log(value) for value in found] for found in (sizes, values))
    centre = sum(x) / len(x)
    slope = sum((a - centre) * b for a, b in zip(x, y, strict=True))
    return round(slope / sum((a - centre) ** 2 for a in x), 10)


def growth(
    rows: Sequence[Mapping[str, Any]], key: str, measured: str, predicted: str, tolerance: float
) -> dict[str, Any]:
    """Return the exponents of one column over the largest sizes, and whether it is too high.

    Both are fitted to the same sizes, so what stays the same in the maths (the prompts, while the
    completions grow) lowers both. What the maths does not count, the fixed cost of every call,
    lowers the measured one alone: lower is no surprise, higher by more than the tolerance is.

    Args:
        rows: ascending in `key`.
        key: the column that grows.
        measured: the column of measurements.
        predicted: the column of the maths.
        tolerance: on the exponent.
    """
    largest = sorted(rows, key=lambda row: row[key])[-LARGEST:]
    sizes = [row[key] for row in largest]
    found = exponent(sizes, [row[measured] for row in largest])
    expected = exponent(sizes, [row[predicted] for row in largest])
    return {
        "measured": round(found, 3),
        "predicted": round(expected, 3),
        "tolerance": tolerance,
        "too_fast": found > expected + tolerance,
    }
