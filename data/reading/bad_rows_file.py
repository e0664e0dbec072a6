"""``--show-bad-rows FILE``: every row that cannot be used, whole, one JSON object a line.

    {"file": "train.json", "row": 17, "value": "'E'", "reason": "(answer) is no option: ..",
     "raw": {"image": "a.png", "problem": "..", "answer": "E"}}

``file``, ``row`` (from 0), ``value`` and ``reason`` are what messages say. ``raw`` is the row as it
stands in its file, which is read again for it: rows are not kept for a flag that few give. It is
null where the row stands in no file, as a phantom does.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.reading.bad_rows import BadRow
from data.reading.rows import file_rows
from process.naming import naming
from process.output import ERRORS
from process.ranks import place
from process.regular import open_regular
from process.shown import shown_json
from process.storage import finite_or_null, replacing

_FIELDS = ["file", "row", "value", "reason", "raw"]


class BadRowsFile:
    """The bad rows of one command, of all the data that it reads."""

    def __init__(self, path: Path) -> None:
        """Take the place; a file that an earlier command wrote may be there, and is replaced.

        Raises:
            ValueError: it holds something else, or no file can be written there.
        """
        self._path = path
        self._rows: dict[BadRow, None] = {}  # in the order in which they were found
        _check(path)

    def add(self, rows: Sequence[BadRow]) -> None:
        """Write the file with these rows behind those that it has, and say how many they are."""
        self._rows |= dict.fromkeys(rows)
        if not place().is_first:
            return
        with (
            naming(self._path),
            replacing(self._path, to_disk=True) as unfinished,
            unfinished.open("w", encoding="utf-8", errors=ERRORS) as stream,
        ):
            stream.writelines(_lines(list(self._rows)))
        print(f"{self._path}: {len(self._rows):,} bad rows")


_AT_WORK: list[BadRowsFile] = []  # of the commands at work, one as a rule


@contextmanager
def showing_bad_rows(path: str | None) -> Iterator[None]:
    """Write what is read in the block and cannot be used into a file; without a path, nowhere.

    Raises:
        ValueError: nothing may be written there.
    """
    if not path:
        yield
        return
    file = BadRowsFile(Path(path))
    _AT_WORK.append(file)
    try:
        yield
    finally:
        _AT_WORK.remove(file)


def note_bad_rows(rows: Sequence[BadRow]) -> None:
    """Write rows that were found to be bad, or that there are none, where a command shows them."""
    for file in _AT_WORK:
        file.add(rows)


def _check(path: Path) -> None:
    if path.is_dir() or (path.exists() and not _is_ours(path)):
        raise ValueError(
            f"--show-bad-rows {path} is there and holds no bad rows: name a new file, nothing is"
            " written over"
        )
    if not os.access(path.parent, os.W_OK) or not path.parent.is_dir():
        raise ValueError(
            f"--show-bad-rows {path}: {path.parent} is no folder that you may write to"
        )


def _is_ours(path: Path) -> bool:
    """Return whether a file is empty or begins as one of these does."""
    try:
        with open_regular(path) as stream:
            line = stream.readline(1 << 26)
        return not line or list(json.loads(line)) == _FIELDS
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _lines(rows: Sequence[BadRow]) -> Iterator[str]:
    wanted: dict[str, dict[int, list[BadRow]]] = defaultdict(dict)
    for row in rows:
        wanted[row.file].setdefault(row.row, []).append(row)
    for file, by_number in wanted.items():
        for number, raw in _raw_rows(file, by_number):
            for row in by_number[number]:
                values = (row.file, row.row, row.value, row.reason, raw)
                yield _line(dict(zip(_FIELDS, values, strict=True)))


def _raw_rows(file: str, numbers: Any) -> Iterator[tuple[int, Any]]:
    if not Path(file).is_file():
        yield from ((number, None) for number in sorted(numbers))
        return
    for number, row in enumerate(file_rows(Path(file))):
        if number in numbers:
            yield number, row.value


def _line(value: dict[str, Any]) -> str:
    try:
        text = json.dumps(finite_or_null(value), ensure_ascii=False, default=_told)
    except RecursionError:
        text = json.dumps(value | {"raw": "nested too deeply to be written"}, ensure_ascii=False)
    return shown_json(text) + "\n"


def _told(value: Any) -> str:
    """Return what JSON does not know, such as a parquet file's bytes and times, in words."""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)
