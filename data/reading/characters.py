"""A data file's characters, a piece at a time, and where in the file a piece stands."""

import codecs
import json
from pathlib import Path
from typing import Self

from process.regular import open_regular

_BYTES = 1 << 20  # read at one time, more where one row is longer
_HEAD = 4  # that tell the encoding
_HEADS = {  # of files that are no JSON, however they are called
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"PK\x03\x04": "a zip file: unpack it first",
    b"PAR1": "a parquet file: write its rows as JSON first",
    b"\0\0\0\0": "zeros: was it copied whole?",
}


class Characters:
    """The text of a file, of which one piece is in memory.

    Attributes:
        piece: what is decoded and not dropped yet.
        at: where in the piece reading goes on; what is before it is dropped when the piece grows.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; a ValueError says why it cannot be read."""
        self.piece, self.at = "", 0
        self._path = path
        self._line, self._column = 1, 1  # of the piece's first character
        self._offset = 0  # bytes that are decoded
        self._waiting = b""  # read and not decoded: it may end inside a character
        self._decoder: codecs.IncrementalDecoder | None = None  # of other encodings than UTF-8
        self._is_begun = False
        try:
            self._stream = open_regular(path)
        except FileNotFoundError as error:
            raise self.error("does not exist: check the path") from error
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def grow(self) -> bool:
        """Drop what has been read and decode more; returns False where there is no more."""
        more, is_end = "", False
        while not more and not is_end:
            data = self._read(max(_BYTES, _HEAD, len(self.piece) - self.at))
            is_end = not data
            more = self._decode(data, is_end)
        if more:
            self._line, self._column = self._place(self.at)
            self.piece, self.at = self.piece[self.at :] + more, 0
        return bool(more)

    def error(self, reason: str) -> ValueError:
        """Return the error about the file."""
        return ValueError(f"data file {self._path} {reason}")

    def not_json(self, reason: str, what: str, ahead: int = 0) -> ValueError:
        """Return the error about what stands so many characters ahead, in ``row 3`` for example."""
        line, column = self._place(self.at + ahead)
        where = ", ".join(filter(None, [what, f"line {line}, column {column}"]))
        return self.error(f"is not JSON ({reason}: {where}): it must be one JSON list of rows")

    def _place(self, at: int) -> tuple[int, int]:
        lines = self.piece.count("\n", 0, at)
        if not lines:
            return self._line, self._column + at
        return self._line + lines, at - self.piece.rfind("\n", 0, at)

    def _read(self, count: int) -> bytes:
        try:
            data = self._stream.read(count)
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error
        if self._is_begun:
            return data
        self._is_begun = True
        for head, kind in _HEADS.items():
            if data.startswith(head):
                raise self.error(f"is not JSON: it is {kind}")
        encoding = json.detect_encoding(data)
        if encoding == "utf-8-sig":
            data, self._offset = data[len(codecs.BOM_UTF8) :], len(codecs.BOM_UTF8)
        elif encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        return data

    def _decode(self, data: bytes, is_end: bool) -> str:
        """Return the text of some bytes; half a surrogate pair passes, for its row to be named."""
        data = self._waiting + data
        try:
            if self._decoder is not None:
                text = self._decoder.decode(data, is_end)
            else:
                whole = data if is_end else data[: _end_of_last(data)]
                self._waiting = data[len(whole) :]
                data, text = whole, whole.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise self.error(
                f"is not JSON (byte {self._offset + error.start:,}: it is no {error.encoding}):"
                " save it as UTF-8"
            ) from error
        self._offset += len(data)
        return text


def _end_of_last(data: bytes) -> int:
    """Return where the last character of some UTF-8 that is surely whole ends."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] >= 0xC0:  # begins a character of several bytes
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)
