"""How a function's time grows with its text: a ratio within one run, whatever the machine."""

import contextlib
import gc
import time
from collections.abc import Callable
from typing import Any

TIMES = 16
# 16 times the text takes a linear function 16 times as long, thrice that where it no longer fits a
# core's cache, and a quadratic one 256 times.
LINEAR = 80.0
_TRIES = 8


def growth(call: Callable[[str], Any], piece: str, length: int = 4096) -> float:
    """Return how many times as long a text of TIMES the length takes, both of repeated pieces.

    Counted is this process's time on its core. What it is by chance too much, by memory that is
    new for example, it is not at each of some tries, of which the least counts. Errors are results.
    """
    small, large = (piece * (size // len(piece) + 1) for size in (length, TIMES * length))
    least = float("inf")
    for _ in range(_TRIES):
        base = min(_seconds(call, small) for _ in range(3))
        least = min(least, _seconds(call, large) / max(base, 1e-5))
        if least < LINEAR / 2:
            break
    return least


def _seconds(call: Callable[[str], Any], text: str) -> float:
    gc.disable()  # looking through all objects of a process takes what it takes
    begun = time.process_time()
    with contextlib.suppress(ValueError):
        call(text)
    seconds = time.process_time() - begun
    gc.enable()
    return seconds
