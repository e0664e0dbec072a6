"""How far a long job of several kinds of work is, and how long it will still take."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class TimeLeft:
    """Counts units of work by kind; each kind has its own mean time, so the estimate is fair."""

    def __init__(self, units: Mapping[str, int], *, at_a_time: int = 1) -> None:
        """Take how many units of each kind are still to be done, and how many at a time."""
        self._left = Counter(units)
        self._total = sum(units.values())
        self._seconds: dict[str, list[float]] = {}
        self._at_a_time = at_a_time

    @contextmanager
    def unit(self, kind: str, name: str) -> Iterator[None]:
        """Time what is inside and print a line on standard error when it is done."""
        start = time.monotonic()
        yield
        self.done(kind, name, time.monotonic() - start)

    def done(self, kind: str, name: str, seconds: float) -> None:
        """Count one unit and print the line."""
        self._left[kind] -= 1
        self._seconds.setdefault(kind, []).append(seconds)
        number = self._total - sum(self._left.values())
        print(
            f"[{number}/{self._total}] {name}: {duration(seconds)}; {self._outlook()}",
            file=sys.stderr,
            flush=True,
        )

    def left(self) -> float:
        """Return the seconds that are left; a kind not seen yet costs the mean of all others."""
        seen = [one for some in self._seconds.values() for one in some]
        total = 0.0
        for kind, count in self._left.items():
            known = self._seconds.get(kind, seen)
            total += count * (sum(known) / len(known) if known else 0.0)
        return total / self._at_a_time

    def _outlook(self) -> str:
        return f"about {duration(self.left())} left" if sum(self._left.values()) else "all done"


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> duration(4.2), duration(130), duration(7300)
    ('4 s', '2 min 10 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
