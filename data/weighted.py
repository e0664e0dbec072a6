"""Rows drawn by weight, from uniform numbers that are handed in: nothing here is left to chance."""

from collections.abc import Iterable

import numpy as np


def weighted_rows(weights: np.ndarray, uniforms: Iterable[float]) -> list[int]:
    """Return a row for each uniform number; row i with probability weights[i] / sum of weights.

    By inverse CDF: the first row whose cumulative weight exceeds u times the whole. A row that was
    taken weighs nothing until all were taken, so that no row comes twice while others are left.

    >>> weighted_rows(np.array([1.0, 0.0, 3.0]), [0.2]), weighted_rows(np.ones(3), [0.9, 0.9, 0.9])
    ([0], [2, 1, 0])

    Args:
        weights: of each row, not negative, some above 0.
        uniforms: from 0 up to, and without, 1.
    """
    left, rows = weights.copy(), []
    for uniform in uniforms:
        if not left.any():
            left = weights.copy()
        # cumsum adds one after the other, on any machine: the sums are equal to the last bit
        cumulative = left.cumsum()
        # u is 1 - 2^-53 at the most, so that u times the whole is rounded to less than the whole
        row = int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))
        rows.append(row)
        left[row] = 0.0
    return rows
