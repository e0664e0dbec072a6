"""What a report reads: the files of one directory, which may be someone else's.

Nothing in it decides what else is opened: only regular files are, none that a link leads to from
outside, and no more of each than is bounded here. What is damaged is left out, counted and named.
"""

import json
import re
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from evaluation.answers.finished import LINE_BYTES, OBJECT_BYTES
from evaluation.report.left_out import LeftOut
from process.regular import open_inside, read_at_most

LINES_BYTES = 1 << 30  # of all lines of a file
EVALUATIONS = 10_000
_PIECE = 1 << 20

Row = dict[str, Any]


class DamagedFileError(ValueError):
    """A file that cannot be read or holds something else than it should; it is named."""


class RunFiles:
    """The files of a directory that a report is of, and what is left out of them."""

    def __init__(self, directory: Path, left_out: LeftOut | None = None) -> None:
        """Open nothing yet."""
        self.directory = directory
        self.left_out = LeftOut() if left_out is None else left_out

    def json_object(self, name: str) -> Row:
        """Return the object of a JSON file.

        Raises:
            DamagedFileError: it cannot be read or holds something else; the file is named.
        """
        file = self.directory / name
        try:
            with open_inside(self.directory, name) as stream:
                value = json.loads(read_at_most(stream, OBJECT_BYTES).decode("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedFileError(f"{file} cannot be read ({error}): restore it") from error
        if not isinstance(value, dict):
            raise DamagedFileError(f"{file} holds {type(value).__name__}, no object: restore it")
        return value

    def optional_object(self, name: str) -> Row | None:
        """Return the object of a JSON file; None where there is none, or it is left out."""
        if not self._is_there(name):
            return None
        try:
            return self.json_object(name)
        except DamagedFileError as error:
            self.left_out.add("files", str(error))
            return None

    def text(self, name: str) -> str:
        """Return a text file's beginning, nothing where there is none, or it is left out."""
        try:
            with open_inside(self.directory, name) as stream:
                return stream.read(_PIECE).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            self.left_out.add("files", f"{self.directory / name} cannot be read ({error})")
            return ""

    def lines(self, name: str, check: Callable[[Row], object]) -> Iterator[Row]:
        """Yield the objects of a JSON-lines file, one after the other; nothing without the file.

        A last line without its end, which a run that is broken off leaves, is left out silently.

        Args:
            name: the file's.
            check: raises a TypeError, KeyError or ValueError for a row that is to be left out.
        """
        with RunLines(self, name, check) as rows:
            yield from rows

    def evaluations(self) -> dict[int, Row]:
        """Return what eval/step-*.json hold, by step, in order."""
        found = {}
        for place, file in enumerate((self.directory / "eval").glob("step-*.json")):
            match = re.fullmatch(r"step-(\d{1,18})", file.stem)
            if match is None:
                what = f"{file}: its name has no step, like step-000100.json"
                self.left_out.add("files", what)
            elif place >= EVALUATIONS:
                self.left_out.add("files", f"{file}: it is one of more than {EVALUATIONS:,}")
            elif (value := self.optional_object(f"eval/{file.name}")) is not None:
                found[int(match[1])] = value
        return dict(sorted(found.items()))

    def opened(self, name: str) -> BufferedReader | None:
        """Return a file of the directory, opened; None where there is none, or it is left out."""
        try:
            return open_inside(self.directory, name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.left_out.add("files", f"{self.directory / name} cannot be read ({error})")
            return None

    def _is_there(self, name: str) -> bool:
        file = self.directory / name
        return file.is_symlink() or file.exists()


class RunLines:
    """The rows of a JSON-lines file, read from its beginning, or on from near its end."""

    def __init__(self, files: RunFiles, name: str, check: Callable[[Row], object]) -> None:
        """Open the file, if it is there; the others as `RunFiles.lines` has them."""
        self._file, self._check, self._left_out = files.directory / name, check, files.left_out
        self._stream = files.opened(name)
        self._number = 0  # of the last line; negative, unknown, behind a part passed over
        self.read = 0  # bytes so far

    def __enter__(self) -> "RunLines":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def __iter__(self) -> Iterator[Row]:
        """Yield what can be used of the lines that follow."""
        while self._stream is not None:
            if self.read >= LINES_BYTES:
                self._leave_out("files", f"only its first {LINES_BYTES >> 20:,} MiB are read")
                return
            line = self._stream.readline(LINE_BYTES)
            self.read += len(line)
            self._number += 1 if self._number >= 0 else 0
            if not line:
                return
            if len(line) == LINE_BYTES and not line.endswith(b"\n"):
                self._leave_out("lines", f"it is longer than {LINE_BYTES >> 20} MiB")
                self._pass_over_line()
            elif (row := self._row(line)) is not None:
                yield row

    def go_near_end(self, size: int) -> None:
        """Go on at most so many bytes before the end, with the first line that begins there."""
        if self._stream is None:
            return
        place, end = self._stream.tell(), self._stream.seek(0, 2)
        if end - size <= place:
            self._stream.seek(place)
        else:
            self._stream.seek(end - size)
            self._number = -1
            self._pass_over_line()

    def _row(self, line: bytes) -> Row | None:
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            if line.endswith(b"\n"):  # else the last one, which may end inside a character
                self._leave_out("lines", f"no JSON ({error})")
            return None
        try:
            if not isinstance(row, dict):
                raise TypeError(f"{type(row).__name__} is no object")
            self._check(row)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            self._leave_out("lines", f"not what it should hold ({type(error).__name__}: {error})")
            return None
        return row

    def _leave_out(self, kind: str, why: str) -> None:
        line = f", line {self._number}" if kind == "lines" and self._number > 0 else ""
        self._left_out.add(kind, f"{self._file}{line}: {why}")

    def _pass_over_line(self) -> None:
        while self._stream is not None and self.read < LINES_BYTES:
            piece = self._stream.readline(_PIECE)
            self.read += len(piece)
            if not piece or piece.endswith(b"\n"):
                return
