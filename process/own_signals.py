"""The signals of a process that is a command of ours: taken from the first import on, by a thread.

Python's own handlers run in the main thread, between two of its instructions: not while a C call
lasts (an import, a kernel that hangs), and what they raise there may come out as something else, or
as "Exception ignored in ..". So the handlers do nothing, and a thread reads the signals from the
pipe into which Python writes them as they come (signal.set_wakeup_fd). It notes them as
process/signals.py says, or ends the process by itself: with one line, and without unwinding.
"""

import atexit
import os
import select
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from process.alone import prints
from process.signals import NUMBERS, USUAL, last_line, requests

PATIENCE = 1.0  # seconds after which a signal that waits is told of
HOME = Path(__file__).resolve().parent.parent  # the clone, or site-packages
SCRIPTS = tuple(HOME / name for name in ("train.py", "evaluate.py", "models/checkpoint/merge.py"))
PACKAGES = tuple(HOME / name for name in ("data", "evaluation"))  # for `python -m`


def take_signals() -> None:
    """Take the signals of this process until it ends; off POSIX they stay Python's."""
    if os.name != "posix" or requests.end_at_once is not None:
        return
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)  # a handler must never wait
    requests.end_at_once = _end
    threading.Thread(target=_receive, args=(receiving,), name="signals", daemon=True).start()
    signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    for number in NUMBERS:
        if signal.getsignal(number) in USUAL:  # ignored under nohup: it stays so
            signal.signal(number, _noted)
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_give_back)
    atexit.register(_ignore)  # registered first, so called last


def is_ours(main: Any, words: list[str]) -> bool:
    """Return whether a process is a command of ours.

    Args:
        main: its `__main__`; empty while `python -m` still imports the packages around it.
        words: the interpreter's own command line.
    """
    file = getattr(main, "__file__", None)
    if file is not None:
        place = Path(file).resolve()
    elif sys.argv[:1] == ["-m"] and "-m" in words[:-1]:
        module = words[words.index("-m") + 1]
        place = HOME.joinpath(*module.split("."), "__main__.py")
    else:
        return False
    of_package = place.name == "__main__.py" and any(map(place.is_relative_to, PACKAGES))
    return place in SCRIPTS or (of_package and place.is_file())


def _noted(_number: int, _frame: object) -> None:
    """Do nothing; Python has written the number into the pipe."""


def _receive(pipe: int) -> None:
    has_told = False
    while True:
        waits = requests.number is not None and not requests.is_over and not has_told
        ready, _, _ = select.select([pipe], [], [], PATIENCE if waits else None)
        if not ready:
            has_told = True
            _tell()
            continue
        for number in os.read(pipe, 64):
            if number in NUMBERS and signal.getsignal(number) is _noted:
                requests.note(number)


def _tell() -> None:
    """Say why the process is still there."""
    with requests.lock:
        if requests.number is None or requests.is_over:
            return
        name = signal.Signals(requests.number).name
        _write(
            f"{name}: ends when what must be whole is whole and saved; once more,"
            f" {requests.grace:g} s after the first, ends at once"
        )


def _end(number: int) -> None:
    if not requests.is_over:
        _write(last_line(number, requests.kept()))
    for act in reversed(requests.last_acts):
        with suppress(Exception):
            act()
    os._exit(128 + number)


def _write(line: str) -> None:
    """Write a line, past Python's own stream, which the main thread may be using."""
    if not prints():
        return
    start = "\n" if os.isatty(2) else ""  # behind a bar, or the terminal's ^C
    with suppress(OSError, ValueError):
        # Who has stopped reading must not keep the process.
        if select.select([], [2], [], 1.0)[1]:
            os.write(2, f"{start}{line}\n".encode(errors="backslashreplace"))


def _ignore() -> None:
    """Let Python take itself down: the status is settled, and soon nobody reads the pipe."""
    for number in NUMBERS:
        if signal.getsignal(number) is _noted:
            signal.signal(number, signal.SIG_IGN)


def _block() -> None:
    """Let signals wait: until `_give_back`, a child's would come out of its parent's pipe."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def _give_back() -> None:
    """Let a forked child end as others do: its signals are not its parent's."""
    signal.set_wakeup_fd(-1)
    for number in NUMBERS:
        if signal.getsignal(number) is _noted:
            signal.signal(number, signal.SIG_DFL)
    _unblock()
