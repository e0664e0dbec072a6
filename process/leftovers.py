"""What processes that were killed left of their own: it is no content, and goes.

    .lock                                       of who works there, or last did
    .run.json.tmp                               a file that was being replaced
    .step-000100.unfinished, .removed           a folder that was being written, or removed
    .step-000100.replaced                       the old one of two that were changing places

Whoever owns the folder (process/owner.py) sweeps it; nobody else's files have such names.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOCK = ".lock"
REPLACED = "replaced"
_FILE = r"\.\S+\.(?:json|jsonl|md|html|txt|png)\.tmp"
_FOLDER = rf"\.(?:step-\d{{6,}}|split|.+\.unfinished)\.(?:tmp|unfinished|removed|{REPLACED})"
_OURS = re.compile(rf"{_FILE}|{_FOLDER}")
_HOST = re.sub(r"[^A-Za-z0-9-]", "", platform.node())


def contents(folder: Path) -> list[str]:
    """Return the names in a folder without those of leftovers, in the alphabet's order."""
    names = (entry.name for entry in folder.iterdir())
    return sorted(name for name in names if name != LOCK and not _OURS.fullmatch(name))


def leftovers(folder: Path) -> list[Path]:
    """Return what was left in a folder, its lock apart."""
    return sorted(entry for entry in folder.iterdir() if _OURS.fullmatch(entry.name))


def discard(place: Path) -> None:
    """Remove a file or a folder that may be there; what cannot be removed stays."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def own_name(place: Path) -> str:
    """Return what a folder is called until it is whole, where several processes may write one."""
    return f"{_stem(place)}{_HOST}-{os.getpid()}"


def discard_of_the_dead(place: Path) -> None:
    """Remove what processes of this machine that are gone left under `own_name`."""
    for left in _own_names(place):
        host, _, number = left.name.removeprefix(_stem(place)).rpartition("-")
        if host == _HOST and number.isdecimal() and not _lives(int(number)):
            discard(left)


def _stem(place: Path) -> str:
    return f".{place.name}.unfinished-"


def _own_names(place: Path) -> Iterator[Path]:
    if place.parent.is_dir():
        for entry in place.parent.iterdir():
            if entry.name.startswith(_stem(place)):
                yield entry


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)  # asks, and sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True
