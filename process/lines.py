"""Files that grow line by line while a run is at work: whole lines are added, or none."""

import functools
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from process.bars import warn
from process.disk import sync_file
from process.output import ERRORS
from process.storage import finite_or_null, json_text

_BLOCK = 1 << 16  # bytes looked at at once, from the end


class Lines:
    """One file of JSON lines; what could not be written waits and goes first the next time."""

    def __init__(self, file: Path) -> None:
        """Name the file, which need not be there."""
        self.file = file
        self._waiting = b""

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Let one line of JSON per row wait; NaN and inf become null."""
        self._waiting += encoded(finite_or_null(row) for row in rows)

    def write(self) -> None:
        """Append what waits, in one write.

        Raises:
            OSError: the disk is full, for one; then nothing of it is in the file, and it waits.
        """
        if self._waiting:
            append_whole(self.file, self._waiting)
            self._waiting = b""

    def to_disk(self) -> None:
        """Write what waits, then wait until every line is on the disk."""
        self.write()
        if self.file.is_file():
            sync_file(self.file)


def encoded(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return one line of JSON per row, without any NaN or inf."""
    return "".join(map(json_text, rows)).encode("utf-8", ERRORS)


def append_whole(file: Path, lines: bytes) -> None:
    """Append whole lines to a file, or nothing where that fails or is broken off.

    Raises:
        OSError: they cannot be written; the file is named.
    """
    try:
        with file.open("a+b", buffering=0) as stream:
            end = _end_of_lines(stream)
            try:
                left = memoryview(lines)
                while left:  # one write, unless the disk fills: then the second one says so
                    left = left[stream.write(left) or 0 :]
            except BaseException:
                with suppress(OSError):  # or the next append does it
                    stream.truncate(end)
                raise
    except OSError as error:
        error.filename = error.filename or str(file)
        raise


@functools.cache  # said once, however often the file is looked at
def say_damaged(file: Path, number: int) -> None:
    """Print that a file of answers is good for those before a line alone."""
    warn(f"{file}, line {number}, is damaged: what stands from there on is asked again")


def _end_of_lines(stream: FileIO) -> int:
    """Return where the lines of a file end, once a last one without its end is mended.

    One that is whole gets its end; of one that was cut short nothing is kept.
    """
    size = stream.seek(0, os.SEEK_END)
    tail = _after_last_end(stream, size)
    if not tail:
        return size
    if is_object(tail):
        stream.write(b"\n")
        return size + 1
    return stream.truncate(size - len(tail))


def _after_last_end(stream: FileIO, size: int) -> bytes:
    tail, place = b"", size
    while place > 0 and b"\n" not in tail:
        place = max(0, place - (1 if not tail else _BLOCK))  # nearly always the first byte tells
        stream.seek(place)
        tail = stream.read(size - len(tail) - place) + tail
    return tail.rpartition(b"\n")[2]


def is_object(line: bytes) -> bool:
    """Return whether a line is one whole object of JSON."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:  # a UnicodeDecodeError is one
        return False
