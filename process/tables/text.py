"""A table as aligned text, as wide as the page is (process/page.py)."""

from collections.abc import Sequence
from textwrap import wrap

from process.page import column_blocks, page_width
from process.shown import shown, shown_line
from process.tables.value import Column, Table, plain_text

_LONGEST_HEADING = 11  # of a column as wide as its cells: longer ones are broken over lines
_LONGEST_NOTE = 98


def titled_text(table: Table) -> str:
    """Return a table under its title, over its note.

    >>> from process.tables.value import columns_of
    >>> rows = [["a", "1"], ["bc", "12"]]
    >>> print(titled_text(Table(columns_of(["file", "rows"]), rows, "Rows", "what it says.")))
    Rows
    file  rows
    a        1
    bc      12
    what it says.
    """
    note = wrap(table.note, min(_LONGEST_NOTE, page_width()), break_on_hyphens=False)
    return "\n".join([table.title, *table_lines(table), *note])


def table_lines(table: Table) -> list[str]:
    """Return a table's head and rows; what the page is too narrow for follows, names repeated.

    The first column stands left, the others right. Headings that are too long are broken over
    lines, names that are too long for a given width are cut.
    """
    count = len(table.columns)
    headings = [_heading_lines(place, column) for place, column in enumerate(table.columns)]
    height = max(map(len, headings))
    full = [[""] * (height - len(lines)) + lines for lines in headings]  # on the last line
    head = [[lines[line] for lines in full] for line in range(height)]
    body = [
        [shown_line(plain_text(cell)) for cell in row] + [""] * (count - len(row))
        for row in table.rows
    ]
    widths = [
        _width(place, column, [row[place] for row in [*head, *body]])
        for place, column in enumerate(table.columns)
    ]
    lines: list[str] = []
    for block in column_blocks(widths[0], widths[1:]):
        lines += [""] if lines else []
        lines += [line for row in head if (line := _line(row, widths, block))]
        lines += [_line(row, widths, block) for row in body]
    return lines


def _heading_lines(place: int, column: Column) -> list[str]:
    heading = shown(column.heading)
    if column.width is not None:
        most = column.width - 1
    elif place:
        most = _LONGEST_HEADING
    else:
        return [heading]
    lines = heading.split("\n")
    return [part for line in lines for part in ([line] if len(line) <= most else wrap(line, most))]


def _width(place: int, column: Column, cells: Sequence[str]) -> int:
    if column.width is not None:
        return column.width
    return (2 if place else 0) + max(map(len, cells))


def _line(row: Sequence[str], widths: Sequence[int], block: Sequence[int]) -> str:
    name = row[0] if len(row[0]) <= widths[0] else row[0][: widths[0] - 1] + "…"
    others = [row[1 + index].rjust(widths[1 + index]) for index in block]
    return "".join([name.ljust(widths[0]), *others]).rstrip()
