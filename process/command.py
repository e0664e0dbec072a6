"""What surrounds the `main` of every command."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from process.alone import refusal
from process.output import forgiving_output
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

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        with forgiving_output():
            try:
                with ending_signals():
                    return _alone(main, argv)
            except KeyboardInterrupt as error:
                return _tell(error)
            finally:
                requests.finish()

    return run


def _alone(main: Main, argv: Sequence[str] | None) -> int:
    refused = refusal()
    if refused is not None:
        if refused:
            print(f"error: {refused}", file=sys.stderr)
        return 2
    sleep_soon()
    return main(argv)


def _tell(error: KeyboardInterrupt) -> int:
    """Print the line that a signal ends with; return the exit status."""
    requests.finish()
    status, kept = exit_status(error), getattr(error, KEPT, NOTHING_BEGUN)
    start = "\n" if sys.stderr.isatty() else ""  # behind the terminal's ^C
    lines = [last_line(status - 128, kept), *(note for note in _noted(error) if note != kept)]
    print(start + "\n".join(lines), file=sys.stderr)
    return status


def exit_status_of(work: Callable[[], None], *, kept: str, out_of_memory: str) -> int:
    """Return 0 once the work is done, else the status of what was printed in its place.

    Args:
        work: raises ValueError or OSError for a mistake that its text explains: status 2.
        kept: what stays of it after a signal, to end that line with; "" where the work says it.
        out_of_memory: what to say, with ``{error}`` in it, where a device's memory is full.
    """
    try:
        with saying_kept(lambda: kept):
            work()
    except KeyboardInterrupt as error:
        return _tell(error)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be imported yet
            raise
        print(f"error: {out_of_memory.format(error=error)}", file=sys.stderr)
        return 2
    return 0


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
