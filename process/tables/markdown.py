"""A table as Markdown."""

from process.tables.value import Cell, Code, Emphasis, Line, Strong, Table, plain_text

_MARKS = {Strong: "**", Emphasis: "*", Code: "`"}


def markdown_table(table: Table) -> str:
    """Return a table, the first column left and the others right.

    >>> from process.tables.value import columns_of
    >>> print(markdown_table(Table(columns_of(["a", "b"]), [["x", Strong("1")]])))
    | a | b |
    | --- | ---: |
    | x | **1** |
    """
    headings = [column.heading for column in table.columns]
    rule = ["---", *["---:"] * (len(headings) - 1)]
    rows = [[_shown(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [headings, rule, *rows])


def markdown_line(line: Line) -> str:
    """Return words with their marks.

    >>> markdown_line((Strong("Bold"), ": ", Code("a_b")))
    '**Bold**: `a_b`'
    """
    return "".join(map(_part, line)) if isinstance(line, tuple) else _part(line)


def _part(words: str) -> str:
    mark = _MARKS.get(type(words), "")
    return f"{mark}{words}{mark}"


def _shown(cell: Cell) -> str:
    return markdown_line(cell) if isinstance(cell, str | tuple) else plain_text(cell)
