"""A data file's bytes, taken out of gzip where it is packed, a piece at a time.

A gzip file can be a thousandth of what it unpacks to, so one of megabytes may be meant to fill a
disk or a memory (a "bomb"). Nothing here holds more than a piece of it, and what unpacks to many
times the size of any text is refused.
"""

import gzip
import os
import zlib
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self

from process.regular import open_regular

GZIP = b"\x1f\x8b"
_HEAD = 24  # bytes that tell what a file is
_MOST_TIMES = 200  # rows that repeat each other are packed to a hundredth at best
_HARMLESS = 1 << 28  # bytes: so much may come out of a file of any size


class Unpacked:
    """The bytes of a data file, read from the beginning; a ValueError says why they cannot be."""

    def __init__(self, path: Path) -> None:
        """Open the file, and see whether it is packed."""
        self._path = path
        self._count = 0  # bytes that came out
        try:
            self.file: BufferedReader = open_regular(path)
        except FileNotFoundError as error:
            raise self.error("does not exist: check the path") from error
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error
        self.is_packed = self._begins_with(self.file, GZIP)
        self._stream: BinaryIO | gzip.GzipFile = self.file
        if self.is_packed:
            self._stream = gzip.GzipFile(fileobj=self.file)
        self._first = self._read(_HEAD)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.file.close()

    @property
    def head(self) -> bytes:
        """The first bytes, which tell what it is; they stay to be read."""
        return self._first

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first + self._read(max(0, count - len(first)))
        return self._read(count)

    def error(self, reason: str) -> ValueError:
        """Return the error about the file."""
        return ValueError(f"data file {self._path} {reason}")

    def _read(self, count: int) -> bytes:
        try:
            data = self._stream.read(count)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise self.error(f"is a broken gzip file ({error}): fetch it again") from error
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error
        self._count += len(data)
        if self.is_packed and self._count > _HARMLESS:
            size = os.fstat(self.file.fileno()).st_size
            if self._count > _MOST_TIMES * size:
                raise self.error(
                    f"unpacks to more than {_MOST_TIMES} times its {size:,} bytes, as a file does"
                    " that is meant to fill a disk: unpack it yourself if you trust it"
                )
        return data

    def _begins_with(self, file: BufferedReader, head: bytes) -> bool:
        try:
            return file.peek(len(head)).startswith(head)
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error
