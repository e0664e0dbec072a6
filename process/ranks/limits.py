"""How long the processes wait for each other, in seconds.

GROUPWISE_PATIENCE in the environment multiplies all of them: more for a cluster whose machines
pause, less for a test.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

PATIENCE = "GROUPWISE_PATIENCE"


@dataclass(frozen=True)
class Limits:
    """Each a time after which something is done; together they end a lost job within a minute."""

    beat: float = 1.0  # between two words of a process that it lives
    # Not heard of for so long, it is lost. A process computes for seconds without a word where one
    # call keeps Python's lock, such as the reading of a large file of JSON.
    silence: float = 45.0
    # What is computed together, such as an update's gradients: all are at it at the same time, so
    # nobody waits for more than the difference of two layers' times.
    exchange: float = 50.0
    # A process that lives, and has not come further while others wait: a reward that asks another
    # machine, a large model that is loaded from a slow disk. It is told of; the work of a call may
    # take as long as PyTorch's own processes wait for each other, half an hour.
    told: float = 60.0
    stall: float = 1800.0
    start: float = 600.0  # until all have imported what they need, and are there
    grace: float = 4.0  # for the word of a process that ends, to come before what follows from it

    def times(self, factor: float) -> "Limits":
        """Return all of them multiplied."""
        return Limits(**{item.name: getattr(self, item.name) * factor for item in fields(self)})


def limits(environment: Mapping[str, str] = os.environ) -> Limits:
    """Return the limits, multiplied by GROUPWISE_PATIENCE if that is a number above 0.

    >>> limits({"GROUPWISE_PATIENCE": "0.5"}).silence, limits({}).silence
    (22.5, 45.0)
    """
    try:
        factor = float(environment.get(PATIENCE, "1"))
    except ValueError:
        return Limits()
    return Limits().times(factor) if 0 < factor < float("inf") else Limits()
