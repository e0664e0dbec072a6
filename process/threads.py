"""The threads of a CPU beside other processes' threads.

Every operation of PyTorch on a CPU ends with its threads waiting for each other. GNU OpenMP lets
them spin for some 300,000 rounds first, which on idle cores saves the time of waking up. Where
another process holds the core of one of them, the others spin through that process's time slice,
at every operation: a step of the embedded model then takes longer with two threads than with one
(benchmarks/crowded.py measures it). After SPINS rounds they sleep instead. This changes how they
wait and nothing that they compute, so a run's numbers do not depend on who else computes.
"""

import functools
import os
import sys
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from process.page import fitted_on

SPINS = "1000"
CROWDED = 0.5  # cores
# Who sets one of these has chosen.
_CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_STAT = Path("/proc/stat")  # Linux; elsewhere nothing is measured


def sleep_soon(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Let OpenMP's threads sleep after SPINS rounds; say whether that can still be set.

    The library reads its environment once, when torch is imported.

    >>> environment = {"OMP_WAIT_POLICY": "ACTIVE"}
    >>> sleep_soon(environment), environment
    (False, {'OMP_WAIT_POLICY': 'ACTIVE'})
    """
    if "torch" in sys.modules or any(name in environment for name in _CHOICES):
        return False
    environment["GOMP_SPINCOUNT"] = SPINS
    return True


@dataclass(frozen=True)
class Load:
    """Processor time up to a moment, in seconds: of the whole machine, and of this process."""

    moment: float
    machine: float
    ours: float

    @classmethod
    def now(cls) -> "Load | None":
        """Return it as the kernel counts it; None where it does not say."""
        try:
            first = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
            # user nice system idle iowait irq softirq steal: all but idle and iowait
            ticks = [int(number) for number in first[1:9]]
            busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError, AttributeError):
            return None
        return cls(time.monotonic(), busy, time.process_time())

    def taken_since(self, before: "Load") -> float:
        """Return how many cores other processes kept busy since then.

        >>> Load(10.0, 125.0, 10.0).taken_since(Load(0.0, 100.0, 0.0))
        1.5
        """
        others = self.machine - before.machine - (self.ours - before.ours)
        return max(0.0, others / (self.moment - before.moment))


@functools.cache  # once per process: a protocol has many runs
def say_if_crowded(seconds: float = 0.25) -> None:
    """Look for that long at how busy other processes keep the cores; print it, if they do."""
    before = Load.now()
    time.sleep(seconds)
    now = Load.now()
    if before is None or now is None or now.taken_since(before) < CROWDED:
        return
    cores = os.cpu_count() or 1
    said = (
        f"other processes keep {min(now.taken_since(before), cores):.1f} of {cores} cores busy:"
        " this takes longer than alone; the numbers are the same"
    )
    print(fitted_on(sys.stderr, said), file=sys.stderr)
