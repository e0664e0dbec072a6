"""What a command leaves on the disk: whole or not at all, and never over anything of somebody else.

    replacing          a file or folder comes to stand in its place in one moment
    write_text, ..     what most callers write through it
    check_..           whether a folder may be written to, asked before the work

It lies here and not in data/, since grpo/, which may not import data/, writes checkpoints and
compiled kernels through it.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from process.output import ERRORS

_KNOWN = {"summary.json": "another evaluation", "run.json": "a run", "audit.json": "another audit"}
_KNOWN |= {"splits.json": "other splits"}


@contextmanager
def replacing(
    place: Path, unfinished: str = "", *, to_disk: bool = False, over_folder: bool = False
) -> Iterator[Path]:
    """Yield a path beside ``place`` for a file or a folder that the end of the block puts there.

    A reader of ``place`` sees the old one or the new one. Where the block raises, the old one stays
    and nothing of the new one does; a process that is killed leaves the unfinished one behind.

    Args:
        place: where it belongs; the folder around it is there.
        unfinished: its name until then, `.<name>.tmp` if none is given. Processes that may write
            one place at a time need one each.
        to_disk: wait until all of it is on the disk: a power cut then finds it whole, too.
        over_folder: replace a folder that holds something, instead of raising.
    """
    beside = place.with_name(unfinished or f".{place.name}.tmp")
    try:
        _discard(beside)  # of a process that was killed
        yield beside
        if to_disk:
            _reach_the_disk(beside)
        if over_folder:
            remove_folder(place)
        elif place.is_dir():
            place.rmdir()  # refuses one that is not empty
        beside.replace(place)
    finally:
        _discard(beside)  # gone already where all went well


def write_text(file: Path, text: str) -> None:
    """Replace a text file whole."""
    with replacing(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors=ERRORS)


def write_json(file: Path, value: Any) -> None:
    """Replace a JSON file whole; NaN and inf, which JSON does not know, raise a ValueError."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_directory(
    path: Path,
    files: Mapping[str, Iterable[str]],
    *,
    what: str,
    finish: Callable[[Path], Mapping[str, Iterable[str]]] | None = None,
) -> None:
    """Write all files into a new directory, or none.

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
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place, f".{place.name}.unfinished-{os.getpid()}") as unfinished:
            unfinished.mkdir()
            _write_files(unfinished, files)
            if finish is not None:
                _write_files(unfinished, finish(unfinished))
    except OSError as error:
        raise ValueError(
            f"{what} could not be written to {path} ({error}): name another --output-dir"
        ) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder that may be there; half removed, it no longer has its name."""
    if folder.exists():
        leaving = folder.with_name(f".{folder.name}.removed")
        shutil.rmtree(leaving, ignore_errors=True)
        folder.replace(leaving)
        shutil.rmtree(leaving)


def unused_directory(name: str) -> Path:
    """Return runs/<date>-<time>-<name>, one that is not taken yet."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    place, number = Path("runs") / stem, 2
    while place.exists():
        place, number = Path("runs") / f"{stem}-{number}", number + 1
    return place


def check_new_directory(path: Path) -> None:
    """Raise now what would stop `write_directory` after the work.

    Raises:
        ValueError: the path is a file, a mount point, a directory that holds something (another
            evaluation, a run), or cannot be written.
    """
    check_no_file(path)
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
    if path.is_dir() and any(path.iterdir()) and not (path / mark).exists():
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
    return f"files ({min(entry.name for entry in path.iterdir())} ..)"


def _write_files(folder: Path, files: Mapping[str, Iterable[str]]) -> None:
    for name, pieces in files.items():
        with (folder / name).open("w", encoding="utf-8", errors=ERRORS) as stream:
            stream.writelines(pieces)


def _reach_the_disk(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def _discard(unfinished: Path) -> None:
    if unfinished.is_dir():
        shutil.rmtree(unfinished, ignore_errors=True)
    else:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
