"""What counts as a number that a reward returns."""

import math
from decimal import Decimal
from numbers import Real
from typing import Any


def as_finite(value: Any) -> float | None:
    """Return a number of any kind as a float, None where it is none or not finite.

    Python's and numpy's numbers, and arrays and tensors without a dimension, which are known by
    their shape: neither numpy nor torch is imported.

    >>> as_finite(True), as_finite(Decimal("0.5")), as_finite("1"), as_finite(float("nan"))
    (1.0, 0.5, None, None)
    """
    try:
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()
        if not isinstance(value, Real | Decimal):
            return None
        number = float(value)
    except Exception:  # an int beyond the floats, a tensor without a value
        return None
    return number if math.isfinite(number) else None
