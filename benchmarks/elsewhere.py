"""Our side of a CPU benchmark in a process of its own, whose memory is handled as train.py does it.

So each side runs as its user would run it: train.py tells the C library to keep freed memory on a
CPU (process/allocator.py), which in one process would reach the other side too, and what the
other side frees would be ours to fetch again.
"""

import gc
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from common import THREADS

from process.allocator import keep_freed_memory


class Elsewhere:
    """A function that runs in another process; a context manager, callable inside.

    Args:
        make: makes the function there, from ``given``; both are sent by pickle.
    """

    def __init__(self, make: Callable[..., Callable[[int], Any]], *given: Any) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, given), daemon=True)

    def __enter__(self) -> "Elsewhere":
        self._process.start()
        self._answer()  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def __call__(self, index: int = 0) -> Any:
        """Return what the function returns there for this index."""
        self._pipe.send(index)
        return self._answer()

    def settle(self) -> None:
        """Wait until nothing goes on there."""
        self._pipe.send(None)
        self._answer()

    def _answer(self) -> Any:
        while not self._pipe.poll(1):
            if not self._process.is_alive():
                raise RuntimeError("the process of our side ended; its error stands above")
        return self._pipe.recv()


def _serve(pipe: Connection, make: Callable[..., Callable[[int], Any]], given: tuple) -> None:
    keep_freed_memory()
    torch.set_num_threads(THREADS)
    run = make(*given)
    pipe.send("ready")
    while True:
        index = pipe.recv()
        pipe.send(gc.collect() if index is None else run(index))
