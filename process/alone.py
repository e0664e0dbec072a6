"""One process: several that were started together would each do the whole work, unaware."""

import os
from collections.abc import Mapping

# How launchers tell a process how many it is one of, and which: torchrun (and accelerate,
# deepspeed), Open MPI's mpirun, MPICH's.
LAUNCHERS = (
    ("WORLD_SIZE", "RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
)


def refusal(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return why this process must not start, "" where another one says it; None if it may.

    >>> refusal({"WORLD_SIZE": "1"}) is None, refusal({"WORLD_SIZE": "2", "RANK": "1"})
    (True, '')
    """
    for size_name, rank_name in LAUNCHERS:
        size = environment.get(size_name, "")
        if not size.isdecimal() or int(size) <= 1:
            continue
        if environment.get(rank_name, "0") != "0":
            return ""
        return (
            f"{size} processes were started together ({size_name}={size}), as torchrun does, and"
            " this command runs in one: each would do the whole work in a directory of its own."
            f" Start it without the launcher, or unset {size_name} where that is left over"
        )
    return None
