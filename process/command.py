"""What surrounds the `main` of every command."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from process.alone import refusal
from process.memory import full_memory, ran_out
from process.output import forgiving_output
from process.ranks import joined, place
from process.ranks.told import ToldError
from process.ranks.voice import one_voice
from process.signals import (
    KEPT,
    NOTHING_BEGUN,
    ending_signals,
    exit_status,
    last_line,
    requests,
    saying_kept,
)
from process.threads import sleep_soon


class Main(Protocol):
    """A command as a function: of its words, or of the process's own; returns the exit status."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


def command(main: Main) -> Main:
    """Return `main` with output that never fails, signals that end it in order, and alone.

    A signal ends with one line, which says what was noted last on its error, and 128 + its number.
    PyTorch's threads wait as process/threads.py says, if nothing has imported it before.
    """
    return _surrounded(main, shares_work=False)


def shared_command(main: Main) -> Main:
    """Return `main` as `command` does; the processes that torchrun starts can share its work.

    They are joined (process/ranks/) as long as it runs, the first of them alone prints, and all
    return the same exit status.
    """
    return _surrounded(main, shares_work=True)


def _surrounded(main: Main, *, shares_work: bool) -> Main:
    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        with forgiving_output(), one_voice() as words:
            try:
                with ending_signals():
                    refused = refusal(shares_work=shares_work)
                    if refused is not None:
                        return _refuse(refused)
                    sleep_soon()
                    return main(argv) if place().size == 1 else _joined(main, argv, words)
            except KeyboardInterrupt as error:
                return _tell(error)
            except Exception as error:  # of a part that names itself to nobody
                full = full_memory(error)
                if not isinstance(error, ToldError) and (full is None or full.is_device):
                    raise
                print(f"error: {explained(error)}", file=sys.stderr)
                return 2
            finally:
                requests.finish()

    return run


def _refuse(why: str) -> int:
    if why:
        print(f"error: {why}", file=sys.stderr)
    return 2


def _joined(main: Main, argv: Sequence[str] | None, words: Callable[[], str]) -> int:
    # PyTorch's own words about a lost connection, with its frames of C++: ours says which.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with joined(words) as here:
        here.status = main(argv)
    return here.status


def _tell(error: KeyboardInterrupt) -> int:
    """Print the line that a signal ends with; return the exit status."""
    requests.finish()
    status, kept = exit_status(error), getattr(error, KEPT, NOTHING_BEGUN)
    start = "\n" if sys.stderr.isatty() else ""  # behind the terminal's ^C
    lines = [last_line(status - 128, kept), *(note for note in _noted(error) if note != kept)]
    print(start + "\n".join(lines), file=sys.stderr)
    return status


def exit_status_of(
    work: Callable[[], None], *, kept: str, lower: str, part: str = "the evaluation"
) -> int:
    """Return 0 once the work is done, else the status of what was printed in its place.

    Args:
        work: raises ValueError or OSError for a mistake that its text explains: status 2.
        kept: what stays of it after a signal, to end that line with; "" where the work says it.
        lower: what to do where a memory is full.
        part: what the work is called there.
    """
    try:
        with saying_kept(lambda: kept):
            work()
    except KeyboardInterrupt as error:
        return _tell(error)
    except Exception as error:
        full = full_memory(error)
        if full is None and not isinstance(error, (ValueError, OSError)):
            raise
        said = f"{error}"
        if full is not None and full.is_device:
            said = f"the GPU's memory is full ({full.reason}): {lower}"
        elif full is not None:
            said = ran_out(part, full.reason, lower)
        print(f"error: {said}", file=sys.stderr)
        return 2
    return 0


def explained(error: BaseException) -> str:
    """Return what an error says, or that this machine's memory is full, and its notes."""
    full, said = full_memory(error), f"{error}"
    if full is not None and not full.is_device:
        said = ran_out("the command", full.reason, "work on less at a time")
    return said + notes(error)


def notes(error: BaseException) -> str:
    """Return what was noted on an error on its way (PEP 678), each note on a line of its own.

    >>> error = ValueError("the disk is full")
    >>> error.add_note("2 of 4 steps are saved")
    >>> notes(error)
    '\\n2 of 4 steps are saved'
    """
    return "".join(f"\n{note}" for note in _noted(error))


def _noted(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])
