"""Which process this is, and of how many, as torchrun says it in the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One of the processes that do one command's work together."""

    rank: int = 0
    size: int = 1  # the number of processes
    local_rank: int = 0  # among those of this machine; the number of its GPU
    local_size: int = 1  # the number of processes of this machine
    restarts: int = 0  # how often torchrun has started them anew

    @property
    def is_first(self) -> bool:
        """Whether it is the one that prints and writes."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Return which of ``count`` things are this process's: neighbours, in the ranks' order.

        No process has more than one above another; with fewer things than processes some have none.

        >>> [list(Place(rank, size=3).share(5)) for rank in range(3)]
        [[0, 1], [2, 3], [4]]
        """
        each, more = divmod(count, self.size)
        start = self.rank * each + min(self.rank, more)
        return range(start, start + each + (self.rank < more))


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return this process's place; alone, it is rank 0 of 1.

    >>> place({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"})
    Place(rank=3, size=4, local_rank=1, local_size=1, restarts=0)
    """
    size = _number(environment, "WORLD_SIZE", 1)
    if size <= 1:
        return Place(restarts=_number(environment, "TORCHELASTIC_RESTART_COUNT", 0))
    return Place(
        rank=_number(environment, "RANK", 0),
        size=size,
        local_rank=_number(environment, "LOCAL_RANK", 0),
        local_size=_number(environment, "LOCAL_WORLD_SIZE", 1),
        restarts=_number(environment, "TORCHELASTIC_RESTART_COUNT", 0),
    )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else default
