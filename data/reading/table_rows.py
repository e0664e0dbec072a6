"""The rows of CSV and TSV: a header with the columns' names, then a line a row.

The standard library's reader takes them apart: a cell in quotes may hold commas, doubled quotes and
new lines. Every cell is a text, and an empty one is a field that the row does not have.
"""

import csv
from collections import Counter
from collections.abc import Iterator

from data.reading.characters import LONGEST_ROW, Characters, is_whole
from data.reading.raw_row import RawRow

_SHOWN_CELLS, _SHOWN_CHARACTERS = 4, 80  # of a bad row


def delimiter_of(header: str) -> str | None:
    """Return what stands between a header's names, a tab or a comma; None where nothing does.

    >>> delimiter_of("image,question"), delimiter_of("a, b\\tc"), delimiter_of("image;question")
    (',', '\\t', None)
    """
    return next((sign for sign in "\t," if sign in header), None)


def table_rows(text: Characters, delimiter: str) -> Iterator[RawRow]:
    """Yield the rows of a table, each a dict by the header's names.

    Raises:
        ValueError: a header that names a column twice or none; a row without end.
    """
    csv.field_size_limit(max(LONGEST_ROW, csv.field_size_limit()))  # of all readers: never lowered
    table = _Table(text, delimiter)
    names = table.header()
    count = 0
    for row in table.rows(names):
        yield row
        count += 1
    if not count:
        raise text.error("holds a header and no row: there is nothing to read in it")


class _Table:
    """One pass over a table; it knows on which line the row at hand begins."""

    def __init__(self, text: Characters, delimiter: str) -> None:
        self._text = text
        self._first, self._last, self._length = 0, 0, 0  # of the row at hand
        self._is_text, self._beginning = True, ""
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)

    def header(self) -> list[str]:
        """Return the columns' names; one without a name, such as an index, has an empty one."""
        try:
            names = [name.strip() for name in next(self._reader)]
        except csv.Error as error:
            raise self._text.error(f"has a header that is not CSV ({error}): correct it") from error
        counts = Counter(name for name in names if name)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise self._text.error(
                f"has a header that names {twice[0][:80]!r} more than once: keep one of them"
            )
        return names

    def rows(self, names: list[str]) -> Iterator[RawRow]:
        while True:
            self._forget()
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._broken(error)
                continue
            if not all(map(_is_blank, cells)):  # blank lines are no rows
                yield self._row(names, cells)

    def _row(self, names: list[str], cells: list[str]) -> RawRow:
        if len(cells) != len(names):
            number = "cell" if len(cells) == 1 else "cells"
            problem = (
                f"has {len(cells):,} {number}, and the header names {len(names):,} columns"
                f" ({self._place()}): quote cells that hold what stands between others"
            )
            shown = [cell[:80] for cell in cells[:_SHOWN_CELLS]]
            return RawRow(shown, problem)
        pairs = zip(names, cells, strict=True)
        fields = {name: cell for name, cell in pairs if name and not _is_blank(cell)}
        return RawRow(fields, None if self._is_text else _no_text(fields))

    def _lines(self) -> Iterator[str]:
        """Yield the lines, and note where a row begins: the reader takes what one row needs."""
        for number, line in self._text.lines():
            self._first = self._first or number
            if not line.isspace():
                self._last = number
            self._beginning = self._beginning or line[:_SHOWN_CHARACTERS].rstrip()
            self._length += len(line)
            if self._length > LONGEST_ROW:
                raise self._text.error(
                    f"cannot be read: its row of line {self._first:,} has more than"
                    f" {LONGEST_ROW:,} characters, or a quote is never closed"
                )
            self._is_text = self._is_text and "\0" not in line and is_whole(line)
            yield line

    def _broken(self, error: csv.Error) -> RawRow:
        reason = str(error)
        if reason == "unexpected end of data":
            reason = "a quote is never closed"
            if self._last > self._first:  # the rows behind it would be lost
                raise self._text.error(
                    f"cannot be read: a quote of its row of line {self._first:,} is never closed,"
                    f" and makes all lines to the last, {self._last:,}, one row"
                ) from error
        return RawRow(self._beginning, f"is not CSV ({reason}: {self._place()})")

    def _forget(self) -> None:
        """Begin a row."""
        self._first, self._last, self._length = 0, 0, 0
        self._is_text, self._beginning = True, ""

    def _place(self) -> str:
        if self._first == self._last:
            return f"line {self._first:,}"
        return f"lines {self._first:,} to {self._last:,}, one row by their quotes"


def _is_blank(cell: str) -> bool:
    return not cell.strip()


def _no_text(fields: dict[str, str]) -> str | None:
    for name, cell in fields.items():
        shown = ascii(name)[1:-1][:80]
        if "\0" in cell:
            return f"({shown}) holds a NUL, which is in no text: was the file copied whole?"
        if not is_whole(cell) or not is_whole(name):
            return f"({shown}) holds half a surrogate pair: not valid Unicode"
    return None
