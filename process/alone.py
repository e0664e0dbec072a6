"""How many processes a launcher has started together, and which commands share work among them.

Processes that do not know of each other would each do the whole work.
"""

import os
from collections.abc import Mapping

# How launchers tell a process how many it is one of, and which: torchrun (and accelerate,
# deepspeed), Open MPI's mpirun, MPICH's, Slurm's srun.
TORCHRUN = ("WORLD_SIZE", "RANK")
LAUNCHERS = (
    TORCHRUN,
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)
_NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def refusal(
    environment: Mapping[str, str] = os.environ, *, shares_work: bool = False
) -> str | None:
    """Return why this process must not start, "" where another one says it; None if it may.

    Args:
        environment: what the launcher has set.
        shares_work: whether the command can be one of several that torchrun starts.

    >>> refusal({"WORLD_SIZE": "1"}) is None, refusal({"WORLD_SIZE": "2", "RANK": "1"})
    (True, '')
    """
    for size_name, rank_name in LAUNCHERS:
        size = _size(environment, size_name)
        if size <= 1:
            continue
        missing = [name for name in _NEEDED if not environment.get(name)]
        if shares_work and size_name == TORCHRUN[0] and not missing:
            return None
        if environment.get(rank_name, "0") != "0":
            return ""
        if shares_work and size_name == TORCHRUN[0]:
            return (
                f"WORLD_SIZE={size} is set without {', '.join(missing)}: start several processes"
                " with torchrun, or unset WORLD_SIZE where it is left over"
            )
        return _message(size_name, size, shares_work=shares_work)
    return None


def prints(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is the one that prints, of those that torchrun has started.

    >>> prints({}), prints({"WORLD_SIZE": "2", "RANK": "1"})
    (True, False)
    """
    size, rank = TORCHRUN
    return _size(environment, size) <= 1 or environment.get(rank, "0") == "0"


def _size(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    # What `salloc` and `sbatch` leave in a shell is of no step: only srun starts several.
    is_step = not name.startswith("SLURM_") or "SLURM_PROCID" in environment
    return int(text) if text.isdecimal() and is_step else 1


def _message(name: str, size: int, *, shares_work: bool) -> str:
    started = f"{size} processes were started together ({name}={size})"
    if shares_work:
        return (
            f"{started}, by another launcher than torchrun: each would do the whole work in a"
            " directory of its own. Start one torchrun per machine, such as srun"
            " --ntasks-per-node 1 torchrun --nproc-per-node 8 .. (docs/scaling.md)"
        )
    return (
        f"{started}, as torchrun does, and this command runs in one: each would do the whole work"
        f" in a directory of its own. Start it without the launcher, or unset {name} where that is"
        " left over"
    )
