"""What a command leaves on the disk: files and folders, whole or not at all.

    replacing            a file or folder comes to stand in its place in one moment
    write_text, ..       what most callers write through it
    remove_folder        a folder goes in one moment
    sweep                what killed processes left of either

Lines that grow while a run is at work: process/lines.py. It lies here and not in data/, since
grpo/, which may not import data/, writes checkpoints and compiled kernels through it.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from process.disk import exchange, make_folder, sync_folder, sync_tree
from process.leftovers import (
    LOCK,
    REPLACED,
    contents,
    discard,
    discard_of_the_dead,
    leftovers,
    own_name,
)
from process.naming import naming
from process.output import ERRORS
from process.shown import shown_json
from process.signals import held


@contextmanager
def replacing(
    place: Path,
    unfinished: str = "",
    *,
    to_disk: bool = False,
    over_folder: bool = False,
    may_end: bool = False,
) -> Iterator[Path]:
    """Yield a path beside ``place`` for a file or a folder that the end of the block puts there.

    A reader of ``place`` sees the old one or the new one. Where the block raises, the old one stays
    and nothing of the new one does; a process that is killed leaves the unfinished one behind. A
    signal that asks to end waits for the end of the block.

    Args:
        place: where it belongs; the folder around it is there.
        unfinished: its name until then, `.<name>.tmp` if none is given. Processes that may write
            one place at a time need one each.
        to_disk: wait until all of it is on the disk, then its name: a power cut finds the old one
            or the new one, too, and after the block the new one.
        over_folder: replace a folder that holds something, instead of raising.
        may_end: a signal ends the block at its next `end_if_asked`, and nothing of the new one
            stays: for what takes long to write.
    """
    beside = place.with_name(unfinished or f".{place.name}.tmp")
    with held(lambda: not may_end):
        try:
            discard(beside)  # of a process that was killed
            yield beside
            if to_disk:
                sync_tree(beside)
            if over_folder and place.is_dir():
                _put_over(beside, place)
            else:
                _clear(place)
                beside.replace(place)
            if to_disk:
                sync_folder(place.parent)
        finally:
            discard(beside)  # gone already where all went well, or the one that was replaced


def write_text(file: Path, text: str) -> None:
    """Replace a text file whole, also where the power is cut."""
    with naming(file), replacing(file, to_disk=True) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors=ERRORS)


def write_json(file: Path, value: Any) -> None:
    """Replace a JSON file whole; NaN and inf, which JSON does not know, raise a ValueError."""
    write_text(file, json_text(value, indent=2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON with the end of its last line; printed, it does nothing.

    Raises:
        ValueError: it holds NaN or inf, which JSON does not know.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return shown_json(text) + "\n"


def finite_or_null(value: Any) -> Any:
    """Return the value as JSON can hold it: every NaN and inf in it is None.

    >>> finite_or_null({"loss": float("nan"), "rewards": [1.0, float("inf")]})
    {'loss': None, 'rewards': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite_or_null(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return value


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
        make_folder(place.parent)
        discard_of_the_dead(place)
        with replacing(place, own_name(place), to_disk=True) as unfinished:
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
        discard(leaving)
        folder.replace(leaving)
        sync_folder(folder.parent)  # or a power cut might bring the name back, and not the files
        shutil.rmtree(leaving)


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder that may be there.

    Only its owner may: what another process is just writing has the same names. Of two folders that
    were changing places, an old one without a new one gets its name back.
    """
    for left in leftovers(folder) if folder.is_dir() else ():
        name = left.name.removeprefix(".").removesuffix(f".{REPLACED}")
        if left.name.endswith(f".{REPLACED}") and not (folder / name).exists():
            left.replace(folder / name)
            sync_folder(folder)
        discard(left)


def _put_over(beside: Path, place: Path) -> None:
    if exchange(beside, place):
        return
    aside = place.with_name(f".{place.name}.{REPLACED}")  # `sweep` brings it back
    discard(aside)
    place.replace(aside)
    beside.replace(place)
    discard(aside)


def _clear(place: Path) -> None:
    """Remove an empty folder that stands in the way; one that holds something stays and raises."""
    if place.is_dir():
        if not contents(place):
            for left in (*leftovers(place), place / LOCK):
                discard(left)
        place.rmdir()


def set_aside(folder: Path) -> Path:
    """Give a folder a name under which nobody looks for it; return its new place."""
    places = (folder.with_name(f"{folder.name}.set-aside{more}") for more in _numbers())
    place = next(place for place in places if not place.exists())
    folder.rename(place)
    sync_folder(place.parent)
    return place


def move_into(folder: Path, places: Iterable[Path]) -> None:
    """Make a folder and move files and folders of the same file system into it, one by one."""
    folder.mkdir()
    for place in places:
        place.rename(folder / place.name)
        sync_folder(folder)
        sync_folder(place.parent)


def _numbers() -> Iterator[str]:
    yield ""
    yield from (f"-{number}" for number in count(2))


def _write_files(folder: Path, files: Mapping[str, Iterable[str]]) -> None:
    for name, pieces in files.items():
        file = folder / name
        with naming(file), file.open("w", encoding="utf-8", errors=ERRORS) as stream:
            stream.writelines(pieces)
