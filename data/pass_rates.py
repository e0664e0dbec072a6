"""Running pass rates of the rows of a data set, and how much each row's rate makes it weigh."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

UNSEEN = 0.5  # the rate of a row that was never shown: as undecided as can be
NEWEST = 0.5  # how far a rate moves towards the share of the last showing
# The least weight, a tenth of what an undecided row has beside it: a row that is always right, or
# never, is still shown, a little less than once where an undecided one is shown ten times.
FLOOR = 0.025

Outcome = tuple[int, float]  # a row, and the share of its completions that passed


def learnability_weights(rates: np.ndarray) -> np.ndarray:
    """Return w = p (1 - p) + FLOOR for pass rates p.

    p (1 - p) is the variance of one completion's success. A group that all pass, or none, has
    advantages of 0. Source: sampling for learnability, arXiv:2408.15099 (No Regrets), for
    language models arXiv:2502.12272 (Learning to Reason at the Frontier of Learnability). There
    rows are tried in rounds of their own, and the best kept; here the weight comes from the
    training's own completions, which cost nothing more, and no row's weight is 0.

    >>> learnability_weights(np.array([0.0, 0.25, 0.5, 1.0])).round(4).tolist()
    [0.025, 0.2125, 0.275, 0.025]
    """
    return rates * (1 - rates) + FLOOR


class PassRates:
    """Of each row the exponential mean of the shares that passed, and how often it was shown."""

    def __init__(self, count: int) -> None:
        """Start with ``count`` rows that were never shown."""
        self.rates = np.full(count, UNSEEN)
        self.times_seen = np.zeros(count, dtype=np.int64)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Take up what came of showings, in their order: p becomes p + NEWEST (share - p).

        >>> rates = PassRates(2)
        >>> rates.add([(1, 1.0), (1, 0.25)])
        >>> rates.rates.tolist(), rates.times_seen.tolist()
        ([0.5, 0.5], [0, 2])
        """
        for row, share in outcomes:
            self.rates[row] += NEWEST * (share - self.rates[row])
            self.times_seen[row] += 1

    def copy(self) -> "PassRates":
        """Return the same rates, to be changed."""
        other = PassRates(0)
        other.rates, other.times_seen = self.rates.copy(), self.times_seen.copy()
        return other

    @property
    def state(self) -> dict[str, Any]:
        """As JSON: the rows that were shown, three numbers for each."""
        rows = self.times_seen.nonzero()[0]
        return {
            "examples": len(self.rates),
            "rows": rows.tolist(),
            "pass_rates": self.rates[rows].tolist(),
            "times_seen": self.times_seen[rows].tolist(),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], count: int) -> Self:
        """Return the rates whose ``state`` that is, to the bit.

        Raises:
            ValueError: it is not one of ``count`` rows.
        """
        if state.get("examples") != count:
            raise ValueError(f"it is of {state.get('examples')!r} rows, and there are {count}")
        found, columns = cls(count), [state.get(n) for n in ("rows", "pass_rates", "times_seen")]
        if not all(isinstance(column, list) for column in columns):
            raise ValueError("rows, pass_rates and times_seen are not all lists")
        for row, rate, times in zip(*columns, strict=True):
            check_outcome(row, rate, count)
            if type(times) is not int or times < 1:
                raise ValueError(f"row {row} was seen {times!r} times")
            found.rates[row], found.times_seen[row] = rate, times
        return found


def check_outcome(row: Any, share: Any, count: int) -> None:
    """Raise a ValueError unless these are one of ``count`` rows and a share."""
    if type(row) is not int or not 0 <= row < count:
        raise ValueError(f"{row!r} is none of {count} rows")
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"row {row} has the pass rate {share!r}")
