"""An output directory that is new: checked before the work, written whole or not at all after it.

Standard library only, for every command that leaves one behind.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from process.output import ERRORS

_KNOWN = {"summary.json": "another evaluation", "run.json": "a run", "audit.json": "another audit"}
_KNOWN |= {"splits.json": "other splits"}


def unused_directory(name: str) -> Path:
    """Return runs/<date>-<time>-<name>, one that is not taken yet."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    place, number = Path("runs") / stem, 2
    while place.exists():
        place, number = Path("runs") / f"{stem}-{number}", number + 1
    return place


def check_directory(path: Path) -> None:
    """Raise now what would stop `write_directory` after the work.

    Raises:
        ValueError: the path is a file, a mount point, a directory that holds something (another
            evaluation, a run), or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"output directory {path} is a file: name another --output-dir")
    try:
        if path.is_dir() and any(path.iterdir()):
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
    _check_writable(path, path.resolve().parents)


def check_can_be_made(path: Path) -> None:
    """Raise a ValueError where no folder can be made, or no file in the one that is there."""
    whole = path.resolve()
    _check_writable(path, (whole, *whole.parents))


def _check_writable(path: Path, places: Sequence[Path]) -> None:
    nearest = next(folder for folder in places if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ValueError(
            f"output directory {path} cannot be made, {nearest} is no folder that you may write to:"
            " name another --output-dir"
        )


def write_directory(
    path: Path,
    files: Mapping[str, Iterable[str]],
    *,
    what: str,
    finish: Callable[[Path], Mapping[str, Iterable[str]]] | None = None,
) -> None:
    """Write all files into a directory beside the place, then rename it into the place.

    Args:
        path: the place, new or an empty directory.
        files: their names and pieces of text.
        what: names the whole in the error, such as "the audit".
        finish: gets the directory once the files are in it, checks them, and returns what else
            belongs there. Where it raises, nothing is left behind.

    Raises:
        ValueError: the place was taken meanwhile, or the disk is full; nothing is left behind.
    """
    place = path.resolve()
    unfinished = place.with_name(f".{place.name}.unfinished-{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        _write(unfinished, files)
        if finish is not None:
            _write(unfinished, finish(unfinished))
        if place.is_dir():
            place.rmdir()  # refuses one that is not empty
        unfinished.replace(place)
    except OSError as error:
        raise ValueError(
            f"{what} could not be written to {path} ({error}): name another --output-dir"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # gone already where all went well


def _write(folder: Path, files: Mapping[str, Iterable[str]]) -> None:
    for name, pieces in files.items():
        with (folder / name).open("w", encoding="utf-8", errors=ERRORS) as stream:
            stream.writelines(pieces)


def _content(path: Path) -> str:
    for name, content in _KNOWN.items():
        if (path / name).exists():
            return content
    return f"files ({min(entry.name for entry in path.iterdir())} ..)"
