"""Batches dealt to the processes of a command, round by round; what comes out is one process's.

A product of matrices rounds by its number of rows, so batches are formed as one process forms them
and answered whole, each by one process. In a round every process takes one batch, then all of them
are told what came out. So the batches that are done are always the first ones: whoever keeps them
as they come can go on from there with another number of processes, and what is lost when the work
is broken off is one round. Batches are sorted by length, which makes those of a round about equally
long; a process that is done early waits.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from evaluation.answers.prediction import Prediction
from process.ranks import world

J = TypeVar("J")
R = TypeVar("R")


def dealt(
    jobs: Sequence[J],
    work: Callable[[J], R],
    part: str,
    *,
    pack: Callable[[R], Any],
    unpack: Callable[[Any], R],
) -> Iterator[R]:
    """Yield what ``work`` makes of each job, in the jobs' order, in every process.

    All of them iterate to the end, or end together: between two results whoever takes them may only
    do what cannot fail in one process alone, or what stands in a `together` block of its own.

    Args:
        jobs: the same ones in every process.
        work: called for this process's own jobs, one after the other; exchanges nothing.
        part: what is done, see `World.together`.
        pack: a result -> what JSON holds, to be told to the others; not called where there are
            none.
        unpack: the way back.
    """
    here = world()
    for start in range(0, len(jobs), here.size):
        own = start + here.rank
        with here.together(part):
            found = work(jobs[own]) if own < len(jobs) else None
            told: Any = found if here.size == 1 or found is None else pack(found)
        results = here.gather(told)[: len(jobs) - start]
        yield from results if here.size == 1 else map(unpack, results)


def own_jobs(jobs: Sequence[J]) -> Sequence[J]:
    """Return those jobs that `dealt` gives to this process."""
    return jobs[world().rank :: world().size]


def packed(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Return predictions as JSON holds them."""
    return [item.to_json() for item in predictions]


def unpacked(lines: Sequence[dict[str, Any]]) -> list[Prediction]:
    """Return the predictions that `packed` took."""
    return [Prediction.from_json(line) for line in lines]


def fewest(count: int) -> int:
    """Return the smallest number that a process gives, such as of questions that fit at once."""
    return min(world().gather(count))
