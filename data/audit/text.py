"""The audit's tables as aligned text."""

from collections.abc import Iterable
from textwrap import wrap

from data.audit.sections import Table
from process.page import column_blocks, page_width

_WIDTH = 98
_HEADING_WIDTH = 11


def tables_text(tables: Iterable[Table]) -> str:
    """Return the tables, one below the other."""
    return "\n\n".join(table_text(table) for table in tables)


def table_text(table: Table) -> str:
    """Return one table: title, aligned columns, note.

    >>> print(table_text(Table("T", "what it says.", ["file", "rows"], [["a", "1"], ["bc", "12"]])))
    T
    file  rows
    a        1
    bc      12
    what it says.
    """
    headings = [wrap(heading, _HEADING_WIDTH) or [""] for heading in table.headings]
    headings[0] = [table.headings[0]]
    height = max(map(len, headings))
    lines = [[""] * (height - len(heading)) + heading for heading in headings]
    cells = [list(line) for line in zip(*lines, strict=True)]
    cells += [[*row, *[""] * (len(headings) - len(row))] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    body: list[str] = []
    for block in column_blocks(widths[0], [2 + width for width in widths[1:]]):
        body += [""] if body else []
        for row in cells:
            some = [row[1 + index].rjust(widths[1 + index]) for index in block]
            body.append("  ".join([row[0].ljust(widths[0]), *some]).rstrip())
    width = min(_WIDTH, page_width())
    return "\n".join([table.title, *body, *wrap(table.note, width, break_on_hyphens=False)])
