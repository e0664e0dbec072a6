"""Where arms are at work side by side: a GPU each, or an equal part of the CPU's cores."""

import os
from collections.abc import Mapping, Sequence

from process.ranks import world

Desk = dict[str, str]  # what a process there has in its environment


def desks_for(jobs: int, device: str, environment: Mapping[str, str] = os.environ) -> list[Desk]:
    """Return a desk for each of some jobs; none where one job does all, in this process.

    Args:
        jobs: how many arms are at work at a time.
        device: what --device says.
        environment: of this process.

    Raises:
        ValueError: fewer than one job, more than there are GPUs, a GPU by its name, or torchrun's
            processes, which work on one arm together.
    """
    if jobs < 1:
        raise ValueError(f"--jobs {jobs} must be at least 1")
    if jobs == 1:
        return []
    if (size := world().size) > 1:
        raise ValueError(
            f"--jobs {jobs} among {size} processes of torchrun: these train each arm together;"
            " leave --jobs away, or start the command without torchrun"
        )
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f"--device {device} is one GPU, and --jobs {jobs} takes one for each: leave --device"
            " away; CUDA_VISIBLE_DEVICES says which GPUs there are"
        )
    gpus = [] if device == "cpu" else _gpus(environment)
    if gpus or device == "cuda":
        return gpu_desks(jobs, gpus)
    return cpu_desks(jobs, _cores(), environment)


def gpu_desks(jobs: int, gpus: Sequence[str]) -> list[Desk]:
    """Return desks with a GPU each.

    >>> gpu_desks(2, ["0", "1", "2"])
    [{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '1'}]
    """
    if jobs > len(gpus):
        raise ValueError(
            f"--jobs {jobs} with {len(gpus)} GPUs: each job has one of its own, so give --jobs"
            f" {max(1, len(gpus))}"
        )
    return [{"CUDA_VISIBLE_DEVICES": name} for name in gpus[:jobs]]


def cpu_desks(jobs: int, cores: int, environment: Mapping[str, str]) -> list[Desk]:
    """Return desks with a part of the cores each, unless the user has said how many threads.

    >>> cpu_desks(2, 5, {}), cpu_desks(2, 5, {"OMP_NUM_THREADS": "1"})
    ([{'OMP_NUM_THREADS': '2'}, {'OMP_NUM_THREADS': '2'}], [{}, {}])
    """
    if "OMP_NUM_THREADS" in environment:
        return [{} for _ in range(jobs)]
    return [{"OMP_NUM_THREADS": str(max(1, cores // jobs))} for _ in range(jobs)]


def _cores() -> int:
    can_tell = hasattr(os, "sched_getaffinity")  # Linux: those that this process may use
    return len(os.sched_getaffinity(0)) if can_tell else os.cpu_count() or 1


def _gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them; none of them is woken up."""
    import torch

    count = torch.cuda.device_count()
    named = environment.get("CUDA_VISIBLE_DEVICES")
    return [str(i) for i in range(count)] if named is None else named.split(",")[:count]
