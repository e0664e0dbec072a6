"""Threads of one process in place of the processes that torchrun starts: for what talks little.

A real process costs seconds of imports. What is the process's own, such as its random generators,
the threads share.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from process.ranks import Place, World

_MODULE = sys.modules["process.ranks.current"]
_SECONDS = 60.0


class _Meeting:
    """Where the threads hand each other what they have."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=_SECONDS)
        self.given: dict[int, bytes] = {}

    def exchange(self, rank: int, payload: bytes) -> list[bytes]:
        self.given[rank] = payload
        self.barrier.wait()
        found = [self.given[one] for one in range(self.barrier.parties)]
        self.barrier.wait()  # nobody writes over what another has not read
        return found


class _ThreadsWorld(World):
    def __init__(self, place: Place, meeting: _Meeting) -> None:
        super().__init__(place)
        self._meeting = meeting

    def _gather_bytes(self, payload: bytes) -> list[bytes]:
        return self._meeting.exchange(self.rank, payload)


class _Worlds(threading.local):
    """The world of whatever thread asks."""

    own: World

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)


def as_ranks(size: int, work: Callable[[int], Any]) -> list[Any]:
    """Return what ``work`` returns for each rank, or the error it ends with, in rank order."""
    meeting, worlds = _Meeting(size), _Worlds()

    def one(rank: int) -> Any:
        worlds.own = _ThreadsWorld(Place(rank, size), meeting)
        try:
            return work(rank)
        except BaseException as error:
            if isinstance(error, threading.BrokenBarrierError):
                raise
            return error

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(size) as pool:
        patch.setattr(_MODULE, "_current", worlds)
        return list(_results(pool, one, size))


def _results(pool: ThreadPoolExecutor, one: Callable[[int], Any], size: int) -> Iterator[Any]:
    yield from [future.result() for future in [pool.submit(one, rank) for rank in range(size)]]
