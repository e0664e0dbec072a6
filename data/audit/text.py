"""The audit's tables as aligned text."""

from collections.abc import Iterable
from textwrap import wrap

from data.audit.sections import Table

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
    body = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    ]
    return "\n".join([table.title, *body, *wrap(table.note, _WIDTH, break_on_hyphens=False)])
