"""Ending on request: SIGTERM and SIGHUP do what Ctrl-C does.

Slurm, Kubernetes and spot machines send SIGTERM and kill some seconds later; a terminal that is
closed sends SIGHUP. Python raises KeyboardInterrupt for Ctrl-C alone and dies of the others at
once. Under `ending_signals` all three raise `Interrupted`, wherever the main thread is.

    the first signal    raises; inside `held` it waits for the end of the block, which is a
                        checkpoint being written, or a step whose weights are being moved
    a second one        raises at once, inside `held` too

A signal less than AGAIN seconds behind the first is the same request: `timeout`, and every shell
that passes a signal on to its group, sends it twice.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AGAIN = 1.0  # seconds
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_USUAL = (signal.SIG_DFL, signal.default_int_handler)  # what Python itself installs


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end; its number is the shell's exit status less 128."""

    def __init__(self, number: int) -> None:
        """Keep the number, such as signal.SIGTERM."""
        super().__init__(signal.Signals(number).name)
        self.number = int(number)


def exit_status(error: KeyboardInterrupt) -> int:
    """Return what a process that was asked to end exits with.

    >>> exit_status(Interrupted(signal.SIGTERM)), exit_status(KeyboardInterrupt())
    (143, 130)
    """
    return 128 + getattr(error, "number", signal.SIGINT)


def reason(error: KeyboardInterrupt) -> str:
    """Return the first word of the message about it.

    >>> reason(Interrupted(signal.SIGTERM)), reason(Interrupted(signal.SIGINT))
    ('interrupted by SIGTERM', 'interrupted')
    """
    number = getattr(error, "number", signal.SIGINT)
    name = signal.Signals(number).name
    return "interrupted" if number == signal.SIGINT else f"interrupted by {name}"


class _Requests:
    """What was asked of this process so far; signals are the process's, so there is one of these.

    A signal's handler runs in the main thread, between two of its instructions.
    """

    def __init__(self) -> None:
        self.installed = False
        self.holds: list[Callable[[], bool]] = []
        self.forget()

    def forget(self) -> None:
        self.asked_at: float | None = None
        self.waiting: int | None = None  # a first signal that came inside `held`

    def is_held(self) -> bool:
        return any(hold() for hold in self.holds)

    def handle(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        before = self.asked_at
        if before is not None and now - before < AGAIN:
            return
        self.asked_at = now
        if before is None and self.is_held():
            self.waiting = number
            return
        raise Interrupted(number)


_requests = _Requests()


@contextmanager
def ending_signals() -> Iterator[None]:
    """Raise `Interrupted` for the signals that ask to end, as long as the block runs.

    A signal that is ignored stays ignored (`nohup`), and one that somebody else handles stays
    theirs. Off the main thread, and inside another such block, nothing changes.
    """
    if _requests.installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    _requests.forget()
    usual = {}
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in _USUAL:
            usual[number] = signal.signal(number, _requests.handle)
    _requests.installed = True
    try:
        yield
    finally:
        _requests.installed = False
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def held(when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Let what is inside come to its end before a first signal raises.

    Args:
        when: asked when the signal comes; while it returns False, the signal raises at once.

    Raises:
        Interrupted: at the end of the block, for a signal that came meanwhile. An error of the
            block itself comes out instead.
    """
    with ending_signals():
        try:
            _requests.holds.append(when)
            yield
        finally:
            _requests.holds.remove(when)
        if _requests.waiting is not None and not _requests.is_held():
            number, _requests.waiting = _requests.waiting, None
            raise Interrupted(number)
