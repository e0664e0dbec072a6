"""Ending on request: what SIGTERM, SIGHUP and SIGINT (Ctrl-C) do.

Slurm, Kubernetes and spot machines send SIGTERM and kill some seconds later; a closed terminal
sends SIGHUP. An exception that breaks in between two instructions leaves half done what it meets,
and inside a destructor Python drops it. So a signal is noted, and ends what is at work where that
is whole:

    nothing to lose         imports, reading data, loading weights: one line, the process is gone
    inside `interruptible`  `Interrupted` rises at the next `end_if_asked`: between two tokens, two
                            micro-batches, two batches of questions
    inside `held`           it rises at the end of the outermost block: a file is written, weights
                            move

A signal less than GRACE seconds behind the first is the same request: `timeout`, and every shell
that passes a signal on to its group, sends it twice, and people press Ctrl-C twice. One that comes
later ends the process at once, inside `held` too, and says what is not kept.

process/own_signals.py makes this so in a command's own process. Elsewhere, as in a notebook, a
handler of Python does: where a command would be gone, it raises `Interrupted`.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE = 10.0  # seconds; launchers that kill wait for 30 and more
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
NUMBERS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
USUAL = (signal.SIG_DFL, signal.default_int_handler)  # what Python itself installs
KEPT = "kept"  # on the error: the note that the outermost `saying_kept` has made so far
NOTHING_BEGUN = "nothing was begun, the same command starts it"


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


def last_line(number: int, kept: str = "") -> str:
    """Return the line that a command ends with.

    >>> last_line(signal.SIGTERM, "2 of 4 steps are saved"), last_line(signal.SIGINT)
    ('interrupted by SIGTERM: 2 of 4 steps are saved', 'interrupted')
    """
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    return f"interrupted{by}: {kept}" if kept else f"interrupted{by}"


class Requests:
    """What was asked of this process so far; signals are the process's, so there is one of these.

    Two threads of a command's process use it, so there is a lock; a handler of Python may come
    between any two instructions of the thread that holds it, so the lock is reentrant.
    """

    def __init__(self) -> None:
        """Nobody takes the signals yet."""
        self.grace = GRACE
        self.lock = threading.RLock()
        self.end_at_once: Callable[[int], None] | None = None  # of whoever takes the signals
        self.holds: list[Callable[[], bool]] = []  # one per block; whether it is to be finished now
        self.words: list[Callable[[], str | None]] = []  # what is kept, the outermost first
        self.last_acts: list[Callable[[], None]] = []  # of an end at once, which unwinds nothing
        self.may_end: Callable[[], bool] = lambda: True  # not where other processes would wait
        self.progress = 0  # how often it was asked whether to end: who works comes further
        self.forget()

    def forget(self) -> None:
        """Begin without a request."""
        self.number: int | None = None  # of the first signal
        self.asked_at = 0.0
        self.is_served = False  # it is on its way up as `Interrupted`
        self.is_over = False  # the process is about to end by itself

    def note(self, number: int) -> None:
        """Take a signal: keep it for later, leave it as what was asked already, or end at once."""
        with self.lock:
            now = time.monotonic()
            if self.number is None:
                self.number, self.asked_at = number, now
                if self.holds or self.is_over:
                    return
            elif now - self.asked_at < self.grace:
                return
            self.is_served = True
            assert self.end_at_once is not None, "who notes has taken the signals"
            self.end_at_once(number)

    def pass_on(self, number: int) -> None:
        """Take a signal that came to another process of the command; it ends nothing at once."""
        with self.lock:
            if self.number is None:
                self.number, self.asked_at = number, time.monotonic()

    def finish(self) -> None:
        """Take no more requests: the command is through, and what it says of its end is its own."""
        with self.lock:
            self.is_over = True

    def kept(self) -> str:
        """Return what the line about a signal is to say if the process ends now."""
        said = (_asked(words) for words in self.words)
        return next(filter(None, said), NOTHING_BEGUN)


requests = Requests()


@contextmanager
def ending_signals() -> Iterator[None]:
    """Answer the signals that ask to end, as long as the block runs.

    A signal that is ignored stays ignored (`nohup`), and one that somebody else handles stays
    theirs. Off the main thread, and inside another such block, nothing changes.
    """
    if requests.end_at_once is not None or not _on_main_thread():
        yield
        return
    requests.forget()
    requests.end_at_once = _raise
    usual = {number: signal.getsignal(number) for number in NUMBERS}
    usual = {number: handler for number, handler in usual.items() if handler in USUAL}
    try:
        for number in usual:
            signal.signal(number, lambda number, _frame: requests.note(number))
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        requests.end_at_once = None


@contextmanager
def interruptible() -> Iterator[None]:
    """Let signals inside wait for the next `end_if_asked`, or for the end of the block.

    Raises:
        Interrupted: there. An error of the block itself comes out instead.
    """
    with held(lambda: False):
        yield


@contextmanager
def held(when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Let signals inside wait for the end of the outermost such block.

    Args:
        when: while it returns False, the block is as one of `interruptible`.

    Raises:
        Interrupted: as `interruptible`.
    """
    if not _on_main_thread():
        yield
        return
    with ending_signals():
        requests.holds.append(when)
        try:
            yield
        finally:
            with requests.lock:
                requests.holds.remove(when)
        if not requests.holds:
            end_if_asked()


def end_if_asked() -> None:
    """Raise `Interrupted` if a signal was noted; what runs here is whole, or dropped whole."""
    come_further()
    if requests.number is None or requests.is_served or not _on_main_thread():
        return
    if not requests.may_end():
        return
    if is_whole():
        requests.is_served = True
        raise Interrupted(requests.number)


def come_further() -> None:
    """Count that long work goes on, which ends nothing: other processes may be waiting for it."""
    requests.progress += 1


def is_whole() -> bool:
    """Return whether what runs may end here: no block around it is to be finished first."""
    return not any(hold() for hold in requests.holds)


@contextmanager
def saying_kept(kept: Callable[[], str | None]) -> Iterator[None]:
    """Let the line about a signal inside say what is kept; of nested blocks the outermost speaks.

    Args:
        kept: asked once the process is about to end, also from another thread; None: nothing to
            say.
    """
    requests.words.append(kept)
    try:
        yield
    except KeyboardInterrupt as error:
        if text := _asked(kept):
            notes, inner = getattr(error, "__notes__", []), getattr(error, KEPT, None)
            if inner in notes:
                notes.remove(inner)
            setattr(error, KEPT, text)
            error.add_note(text)
        raise
    finally:
        requests.words.remove(kept)


@contextmanager
def at_last(act: Callable[[], None]) -> Iterator[None]:
    """Let an end at once, which unwinds nothing, do this first."""
    requests.last_acts.append(act)
    try:
        yield
    finally:
        requests.last_acts.remove(act)


def once_there(file: Path) -> Callable[[], str | None]:
    """Return what `saying_kept` takes: that a file is written, once it is there."""
    return lambda: f"{file} is written" if file.exists() else None


def _asked(words: Callable[[], str | None]) -> str | None:
    with suppress(Exception):  # a file that cannot be read must not keep the process
        return words()
    return None


def _raise(number: int) -> None:
    raise Interrupted(number)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
