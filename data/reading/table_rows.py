"""The rows of CSV and TSV: a header with the columns' names, then a line a row.

The standard library's reader takes them apart: a cell in quotes may hold commas, doubled quotes and
new lines. Every cell is a text, and an empty one is a field that the row does not have.
"""

import csv
from collections import Counter
from collections.abc import Iterator

from data.reading.characters import LONGEST_ROW, Characters, is_whole
from data.reading.raw_row import RawRow

_SHOWN_CELLS = 4  # of a bad row


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
        self._first, self._length, self._is_whole = 0, 0, True  # of the row at hand
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
            self._first, self._length, self._is_whole = 0, 0, True
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield RawRow(None, self._broken(error))
                continue
            if not all(map(_is_blank, cells)):  # blank lines are no rows
                yield self._row(names, cells)

    def _row(self, names: list[str], cells: list[str]) -> RawRow:
        if len(cells) != len(names):
            number = "cell" if len(cells) == 1 else "cells"
            problem = (
                f"has {len(cells):,} {number}, and the header names {len(names):,} columns"
                f" (line {self._first:,}): quote cells that hold what stands between others"
            )
            shown = [cell[:80] for cell in cells[:_SHOWN_CELLS]]
            return RawRow(shown, problem)
        pairs = zip(names, cells, strict=True)
        fields = {name: cell for name, cell in pairs if name and not _is_blank(cell)}
        return RawRow(fields, None if self._is_whole else _half_pair(fields))

    def _lines(self) -> Iterator[str]:
        """Yield the lines, and note where a row begins: the reader takes what one row needs."""
        for number, line in self._text.lines():
            self._first = self._first or number
            self._length += len(line)
            if self._length > LONGEST_ROW:
                raise self._text.error(
                    f"cannot be read: its row of line {self._first:,} has more than"
                    f" {LONGEST_ROW:,} characters, or a quote is never closed"
                )
            self._is_whole = self._is_whole and is_whole(line)
            yield line

    def _broken(self, error: csv.Error) -> str:
        reason = str(error)
        if reason == "unexpected end of data":
            reason = "a quote is never closed"
        return f"is not CSV ({reason}: line {self._first:,})"


def _is_blank(cell: str) -> bool:
    return not cell.strip()


def _half_pair(fields: dict[str, str]) -> str | None:
    for name, cell in fields.items():
        if not is_whole(cell) or not is_whole(name):
            return f"({ascii(name)[1:-1][:80]}) holds half a surrogate pair: not valid Unicode"
    return None
