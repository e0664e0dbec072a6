"""Work that may never end, or fill the memory, done in a process of its own that can be ended.

What a checkpoint brings to be worked through, such as a chat template, is another's: a loop of ten
to the ninth rounds stops no signal and raises nothing. Where the system cannot fork (Windows), the
work is done here, unbounded; macOS bounds the time alone.
"""

import json
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from process.signals import NUMBERS

SECONDS = 3  # of computing, not of waiting for a busy machine
TIMES_AS_LONG = 20  # may pass, on a busy machine, before it is ended all the same
MEMORY = 500_000_000  # bytes beside what the process has
ANSWER = 4_000_000  # bytes of JSON


class TooMuchError(ValueError):
    """The work took too long, too much memory, or made too much; the text says which."""


class FailedError(ValueError):
    """The work raised an error; the text is its type and words, as Python writes a text."""


def done_apart(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, as JSON keeps it, done in a forked process.

    Raises:
        TooMuchError: a bound was met.
        FailedError: the work raised.
    """
    if not hasattr(os, "fork"):
        return work()
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # of threads: none of theirs is needed in the fork
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _work(work, writing)
    os.close(writing)
    try:
        answer = _read(reading)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not answer:
        _raise_for(status)
    found = json.loads(answer)
    if "error" in found:
        raise (TooMuchError if found["error"] == "" else FailedError)(
            found["error"] or f"takes more than {MEMORY / 1e6:.0f} MB of memory"
        )
    return found["value"]


def _raise_for(status: int) -> NoReturn:
    by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    if by in (signal.SIGXCPU, signal.SIGKILL):
        raise TooMuchError(f"does not end within {SECONDS} seconds")
    raise TooMuchError("ends the process that works on it")


def _read(pipe: int) -> bytes:
    """Return all that comes from a pipe; raise where it is too late or too much."""
    pieces: list[bytes] = []
    size, until = 0, time.monotonic() + SECONDS * TIMES_AS_LONG
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise TooMuchError(f"does not end within {SECONDS} seconds")
        piece = os.read(pipe, 65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER:
            raise TooMuchError(f"makes more than {ANSWER / 1e6:.0f} MB")


def _work(work: Callable[[], Any], pipe: int) -> NoReturn:
    """Do it and write the answer; the process ends here, whatever happens."""
    try:
        # A terminal's Ctrl-C comes here too, and would look like a fault of the work: the parent
        # answers it, and ends this process, which a few seconds end in any case.
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)
        _limit()
        try:
            answer = json.dumps({"value": work()})
        except MemoryError:
            answer = json.dumps({"error": ""})
        except BaseException as error:
            text = str(error)[:500]
            answer = json.dumps({"error": f"{type(error).__name__}: {text!r}"})
        data = answer.encode()
        while data:
            data = data[os.write(pipe, data) :]
    finally:
        os._exit(0)


def _limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    pages = Path("/proc/self/statm")
    if pages.is_file():
        has = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (has + MEMORY, hard))
