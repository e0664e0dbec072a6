"""Who works in a folder: one process at a time, and another one is told which.

    with owned(folder):     nobody else works there until the end of the block
    check_free(folder)      raises where somebody does, and takes nothing

The lock is the system's (flock on folder/.lock), so it ends with its process, however that ends:
nothing that a dead one left needs to be removed by hand. What the file says only tells who it is.
A lock is of one process alone: what that starts, or forks, does not have it.
"""

import functools
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from process.bars import warn
from process.disk import make_folder
from process.leftovers import LOCK, contents
from process.signals import at_last
from process.storage import sweep

try:
    import fcntl
except ImportError:  # no POSIX: nothing to lock with
    fcntl = None  # type: ignore[assignment]

_WAITS = (0.0, 0.05, 0.1, 0.2, 0.4)  # seconds: another process may just be asking
_OPEN: set[int] = set()  # descriptors of this process's locks


class OwnedError(ValueError):
    """A folder is another process's; the message says whose."""


@contextmanager
def owned(folder: Path, name: Path | None = None, *, temporary: bool = False) -> Iterator[None]:
    """Own a folder as long as the block runs, and sweep what dead owners left in it.

    A folder that is made for it and holds nothing in the end goes again, those around it too.

    Args:
        folder: made if it is not there.
        name: what the user knows it by, if by another name.
        temporary: the folder is there for the work alone: it goes also if it was there.

    Raises:
        OwnedError: another process works there, or another part of this one.
        ValueError: it cannot be made, or its lock cannot be written.
    """
    name, process = name or folder, os.getpid()
    try:
        number, made = _take(folder, name)
    except OSError as error:
        raise ValueError(
            f"output directory {name} cannot be made or written to ({error}): name another"
            " --output-dir, or free this one"
        ) from error
    leave = functools.partial(_leave, folder, number, made or [folder] * temporary)
    try:
        if number is not None:
            sweep(folder)
        with at_last(leave):
            yield
    finally:
        if os.getpid() == process:  # and no fork of it, that ends in the block
            leave()


def check_free(folder: Path, name: Path | None = None) -> None:
    """Raise an `OwnedError` where a living process works in a folder, which need not be there."""
    try:
        # a named pipe in its place would be waited for
        number = os.open(folder / LOCK, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return
    try:
        if _lock(number, "LOCK_SH") is False:
            raise OwnedError(_message(number, name or folder))
    finally:
        os.close(number)


def _take(folder: Path, name: Path) -> tuple[int | None, list[Path]]:
    """Return the lock's descriptor, None where there are no locks, and the folders made for it."""
    made: list[Path] = []
    message = f"{name} is removed again and again: name another --output-dir"
    for wait in _WAITS:
        time.sleep(wait)
        made = make_folder(folder) or made
        number = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        locked = _lock(number, "LOCK_EX")
        if locked and _is_there(number, folder / LOCK):
            _sign(number)
            _keep_from_forks()
            _OPEN.add(number)
            return number, made
        if locked is False:
            message = _message(number, name)
        os.close(number)
        if locked is None:
            _say_unlocked(name)
            return None, made
    raise OwnedError(message)


def _leave(folder: Path, number: int | None, going: list[Path]) -> None:
    with suppress(OSError):
        if number is not None:
            os.ftruncate(number, 0)
        if going and folder.is_dir() and not contents(folder):
            (folder / LOCK).unlink(missing_ok=True)
            for empty in going:
                empty.rmdir()
    if number is not None:
        _OPEN.discard(number)
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_UN)  # also where a fork has not closed its own yet
        os.close(number)


def _lock(number: int, kind: str) -> bool | None:
    """Return whether an open file is locked now; None where the file system knows no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(number, getattr(fcntl, kind) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # ENOLCK, ENOTSUP, ENOSYS: NFS without its lock service, Lustre without flock
        return None
    return True


def _is_there(number: int, file: Path) -> bool:
    """Return whether an open file still has its name: its last owner may have removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(number), file.stat())
    return False


def _sign(number: int) -> None:
    about = {"pid": os.getpid(), "host": platform.node(), "since": time.time()}
    os.ftruncate(number, 0)
    os.pwrite(number, json.dumps(about).encode(), 0)


def _message(number: int, name: Path) -> str:
    about = _read(number)
    pid, host, since = about.get("pid"), str(about.get("host")), about.get("since")
    ours = pid == os.getpid() and host == platform.node()
    who = ""
    if isinstance(pid, int) and isinstance(since, float):  # not while it signs
        place = f" on {host}" if re.fullmatch(r"[\w.-]{1,255}", host) else ""
        who = f": pid {pid}{place}, for {_age(time.time() - since)}"
    return (
        f"{'this' if ours else 'another'} process works on {name}{who}; let it finish, or end it,"
        " then start the same command again"
    )


def _read(number: int) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        about = json.loads(os.pread(number, 1000, 0))
        if isinstance(about, dict):
            return about
    return {}


def _age(seconds: float) -> str:
    """Return a time in its largest whole unit.

    >>> _age(12.3), _age(100), _age(7300), _age(400_000)
    ('12 seconds', '1 minute', '2 hours', '4 days')
    """
    amount, unit = max(0, int(seconds)), "second"
    for size, larger in ((60, "minute"), (60, "hour"), (24, "day")):
        if amount < size:
            break
        amount, unit = amount // size, larger
    return f"{amount} {unit}{'' if amount == 1 else 's'}"


@functools.cache  # said once
def _say_unlocked(name: Path) -> None:
    warn(
        f"the file system of {name} knows no locks: nothing would keep a second process from"
        " working there, so start none"
    )


@functools.cache
def _keep_from_forks() -> None:
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    for number in _OPEN:
        with suppress(OSError):
            os.close(number)
    _OPEN.clear()
