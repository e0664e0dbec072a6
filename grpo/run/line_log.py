"""What a run that goes on keeps of a file of lines: each of its steps exactly once.

Lines stand in the order of steps, so what came after a step is cut off in one place, and a file of
gigabytes is read line by line up to there. What stands before should be complete: lines reach the
disk before the checkpoint that counts them does. Where it is not (a disk that failed, an edit, two
processes of an older version), the run is worth more than the line:

    a line that is no JSON, or repeats a step      goes to <name>.damaged, as it is
    two lines glued into one                       are parted
    a step that is missing                         is told, and noted in run.json
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from process.disk import sync_file
from process.lines import append_whole
from process.regular import open_regular
from process.storage import replacing

_DECODER = json.JSONDecoder()
_BEGINNING = b'{"step": '
_BLOCK = 1 << 20  # bytes copied at once
_LONGEST = 1 << 26  # bytes; a longer line is none of ours, and not read into memory whole


@dataclass(frozen=True)
class Edit:
    """A line that does not stay as it is."""

    place: int  # where it begins, in bytes
    length: int
    new: bytes  # what stands there instead
    damaged: int | None  # its number, from 1, where anything of it is lost


@dataclass
class Found:
    """What a file holds of the steps that are done."""

    end: int = 0  # bytes up to the last of their lines
    has_last_end: bool = True  # whether that line ends with its newline
    missing: list[int] = field(default_factory=list)  # steps
    edits: list[Edit] = field(default_factory=list)

    @property
    def damaged(self) -> list[int]:
        """Return the numbers of damaged lines, from 1."""
        return [edit.damaged for edit in self.edits if edit.damaged is not None]


def keep_steps(file: Path, steps: int, lines_per_step: int) -> Found:
    """Cut a file after the last line of its first ``steps`` steps; set aside what is damaged.

    Returns what was found; nothing is written where nothing needs to be.

    Args:
        file: JSON lines with a ``step`` each, in order; it need not be there.
        steps: that are done.
        lines_per_step: how many lines each of them has.
    """
    found = look_through(file, steps, lines_per_step)
    if not file.is_file():
        return found
    if found.edits:
        _set_aside(file, found)
        with replacing(file, to_disk=True) as unfinished, unfinished.open("wb") as new:
            new.writelines(_edited(file, found))
    elif file.stat().st_size > found.end:
        os.truncate(file, found.end)
    if not found.has_last_end:
        append_whole(file, b"")  # gives it its end
    sync_file(file)
    return found


def look_through(file: Path, steps: int, lines_per_step: int) -> Found:
    """Return what a file holds of its first ``steps`` steps, having changed nothing."""
    found, step, lines, place = Found(), 1, 0, 0  # so many lines of that step
    for number, line in enumerate(_lines(file), 1):
        pieces = _pieces(line)
        if step > steps or (pieces and pieces[0][0] > steps):
            break
        kept, lost = b"", b"".join(piece for _, piece in pieces) != line.rstrip() or not pieces
        for of, piece in pieces:
            if of > steps:
                break
            if of < step:  # its lines are all there
                lost = True
                continue
            if of > step:
                found.missing += range(step, of)
                step, lines = of, 0
            kept, lines = kept + piece + b"\n", lines + 1
            if lines == lines_per_step:
                step, lines = step + 1, 0
        if lost or kept.rstrip() != line.rstrip():
            found.edits.append(Edit(place, len(line), kept, number if lost else None))
        place += len(line)
        found.end, found.has_last_end = place, line.endswith(b"\n")
    found.missing += range(step, steps + 1)
    return found


def _lines(file: Path) -> Iterator[bytes]:
    if file.is_file():
        with open_regular(file) as stream:
            while line := stream.readline(_LONGEST):
                yield line


def _pieces(line: bytes) -> list[tuple[int, bytes]]:
    """Return the objects of a line, more than one where ends got lost, each behind its step."""
    found = []
    try:
        text, place = line.decode("utf-8").strip(), 0
        while place < len(text):
            value, end = _DECODER.raw_decode(text, place)
            if not isinstance(value, dict) or type(value.get("step")) is not int:
                return []
            found.append((value["step"], text[place:end].encode("utf-8")))
            place = end
    except (ValueError, RecursionError):
        start = line.rfind(_BEGINNING)  # of a whole one behind a half one, if there is one
        return _pieces(line[start:]) if start > 0 else []
    return found


def _set_aside(file: Path, found: Found) -> None:
    with open_regular(file) as old:
        for edit in found.edits:
            if edit.damaged is not None:
                old.seek(edit.place)
                line = old.read(edit.length).rstrip(b"\n") + b"\n"
                append_whole(file.with_name(f"{file.name}.damaged"), line)


def _edited(file: Path, found: Found) -> Iterator[bytes]:
    with open_regular(file) as old:
        for edit in (*found.edits, Edit(found.end, 0, b"", None)):
            yield from _copied(old, edit.place - old.tell())
            yield edit.new
            old.seek(edit.length, os.SEEK_CUR)


def _copied(old: BufferedReader, size: int) -> Iterator[bytes]:
    while size > 0 and (block := old.read(min(size, _BLOCK))):
        size -= len(block)
        yield block
