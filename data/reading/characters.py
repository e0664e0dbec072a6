"""A data file's characters, a piece at a time, and where in the file a piece stands."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path

from data.reading.unpacked import Unpacked

LONGEST_ROW = 1 << 25  # characters: what is never closed would fill the memory, else

_BYTES = 1 << 20  # read at one time, more where one row is longer
_HEAD = 4  # that tell the encoding
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r(?!\Z))")  # \r at a piece's end may be half an end
_BLANK = re.compile(r"[ \t\r\n]*")
_SHOWN = 40  # characters of a beginning that says nothing


class Characters:
    """The text of a file, of which one piece is in memory.

    Attributes:
        piece: what is decoded and not dropped yet.
        at: where in the piece reading goes on; what is before it is dropped when the piece grows.
    """

    def __init__(self, path: Path, stream: Unpacked) -> None:
        """Take an open file, from which nothing has been read."""
        self.piece, self.at = "", 0
        self._path, self._stream = path, stream
        self._line, self._column = 1, 1  # of the piece's first character
        self._offset = 0  # bytes that are decoded
        self._waiting = b""  # read and not decoded: it may end inside a character
        self._decoder: codecs.IncrementalDecoder | None = None  # of other encodings than UTF-8
        self._is_begun = False

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

    def first_sign(self) -> str:
        """Return the first character that is no white space, and go to its line; "" at the end."""
        while True:
            end = _BLANK.match(self.piece, self.at).end()  # type: ignore[union-attr]
            line = max(self.piece.rfind(sign, self.at, end) for sign in "\r\n")
            self.at = max(self.at, line + 1)
            if end < len(self.piece):
                return self.piece[end]
            if end - self.at > LONGEST_ROW:
                raise self.error(f"begins with more than {LONGEST_ROW:,} blanks: it holds no row")
            if not self.grow():
                return ""

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the lines from here on, with their ends and their numbers in the file from 1."""
        number, _ = self._place(self.at)
        while True:
            match = _LINE.match(self.piece, self.at)
            if match is None and self._grow_line(number):
                continue
            line = self.piece[self.at :] if match is None else match[0]
            if not line:
                return
            self.at += len(line)
            yield number, line
            number += 1

    def first_line(self) -> str:
        """Return the line that begins here, without its end; it stays to be read."""
        while (match := _LINE.match(self.piece, self.at)) is None:
            if not self._grow_line(self._place(self.at)[0]):
                return self.piece[self.at :]
        return match[0].rstrip("\r\n")

    def _grow_line(self, number: int) -> bool:
        if len(self.piece) - self.at > LONGEST_ROW:
            raise self.error(
                f"cannot be read: its line {number:,} has more than {LONGEST_ROW:,} characters"
            )
        return self.grow()

    def beginning(self) -> str:
        """Return what the text begins with from here, for a message."""
        return ascii(self.piece[self.at :].strip()[:_SHOWN])

    def error(self, reason: str) -> ValueError:
        """Return the error about the file."""
        return ValueError(f"data file {self._path} {reason}")

    def not_json(self, reason: str, what: str, ahead: int = 0) -> ValueError:
        """Return the error about what stands so many characters ahead, in ``row 3`` for example."""
        line, column = self._place(self.at + ahead)
        where = ", ".join(filter(None, [what, f"line {line}, column {column}"]))
        return self.error(
            f"is not JSON ({reason}: {where}): its rows must be one JSON list, or JSON Lines, each"
            " an object on a line of its own"
        )

    def _place(self, at: int) -> tuple[int, int]:
        lines = self.piece.count("\n", 0, at)
        if not lines:
            return self._line, self._column + at
        return self._line + lines, at - self.piece.rfind("\n", 0, at)

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if self._is_begun:
            return data
        self._is_begun = True
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
                f"is no text (byte {self._offset + error.start:,}: it is no {error.encoding}): save"
                " it as UTF-8"
            ) from error
        self._offset += len(data)
        return text


def is_whole(text: str) -> bool:
    """Return whether a text holds no half of a surrogate pair, which is no character."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _end_of_last(data: bytes) -> int:
    """Return where the last character of some UTF-8 that is surely whole ends."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] >= 0xC0:  # begins a character of several bytes
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)
