"""Whose a folder is, and whether a command may write there: asked before the work."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from process.leftovers import contents

_KNOWN = {"summary.json": "another evaluation", "run.json": "a run", "audit.json": "another audit"}
_KNOWN |= {"splits.json": "other splits"}


def unused_directory(name: str) -> Path:
    """Return runs/<date>-<time>-<name>, one that is not taken yet."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    place, number = Path("runs") / stem, 2
    while place.exists() or place.with_name(f"{place.name}.unfinished").exists():
        place, number = Path("runs") / f"{stem}-{number}", number + 1
    return place


def check_new_directory(path: Path) -> None:
    """Raise now what would stop `process.storage.write_directory` after the work.

    Raises:
        ValueError: the path is a file, a mount point, a directory that holds something (another
            evaluation, a run), or cannot be written.
    """
    check_no_file(path)
    try:
        if path.is_dir() and contents(path):
            raise ValueError(
                f"output directory {path} holds {_content(path)}: name another --output-dir,"
                " nothing is written over"
            )
        if path.is_dir() and path.resolve().is_mount():
            raise ValueError(
                f"output directory {path} is a mount point, which cannot be replaced: name a"
                " directory inside it"
            )
    except OSError as error:
        raise ValueError(
            f"output directory {path} cannot be used ({error}): name another --output-dir"
        ) from error
    _check_may_write(path, path.resolve().parents)


def check_own_directory(path: Path, mark: str, what: str) -> None:
    """Raise unless the path is new, empty, or what an earlier start of the same command began.

    Args:
        path: the place; nothing is made.
        mark: a file or folder in it that only such a start leaves.
        what: the command's result in one word, such as "matrix".

    Raises:
        ValueError: the path is a file, a directory that holds something else, or cannot be written.
    """
    check_no_file(path)
    if path.is_dir() and contents(path) and not (path / mark).exists():
        raise ValueError(
            f"output directory {path} holds {_first_file(path)} and no {what} to go on with: name"
            " another --output-dir"
        )
    check_can_be_made(path)


def check_no_file(path: Path) -> None:
    """Raise a ValueError where a file stands at the place of a directory."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"output directory {path} is a file: name another --output-dir")


def check_can_be_made(path: Path) -> None:
    """Raise a ValueError where no folder can be made, or no file in the one that is there."""
    whole = path.resolve()
    _check_may_write(path, (whole, *whole.parents))


def _check_may_write(path: Path, places: Sequence[Path]) -> None:
    nearest = next(folder for folder in places if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ValueError(
            f"output directory {path} cannot be made, {nearest} is no folder that you may write to:"
            " name another --output-dir"
        )


def _content(path: Path) -> str:
    return next(
        (text for name, text in _KNOWN.items() if (path / name).exists()), _first_file(path)
    )


def _first_file(path: Path) -> str:
    return f"files ({contents(path)[0]} ..)"
