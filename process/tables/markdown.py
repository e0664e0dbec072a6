"""A table as Markdown.

A text of others is no markup: tags, links and pictures in it are taken apart, and it stays in its
line and in its cell.
"""

import re

from process.shown import shown_line
from process.tables.value import Cell, Code, Emphasis, Line, Strong, Table, plain_text

_MARKS = {Strong: "**", Emphasis: "*"}
_LINK = re.compile(r"\](?=[(\[:])")
_TAG = re.compile(r"<(?! )")  # before a space it begins none
_BACKTICKS = re.compile("`+")


def markdown_table(table: Table) -> str:
    """Return a table, the first column left and the others right.

    >>> from process.tables.value import columns_of
    >>> print(markdown_table(Table(columns_of(["a", "b"]), [["x", Strong("1")]])))
    | a | b |
    | --- | ---: |
    | x | **1** |
    """
    headings = [_in_cell(markdown_line(column.heading)) for column in table.columns]
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
    if isinstance(words, Code):
        return _code(shown_line(words))
    return f"{mark}{_inert(shown_line(words))}{mark}"


def _inert(text: str) -> str:
    """Return a text without the signs that begin a tag, a link's address or code.

    >>> _inert("p < 0.001, <b>")
    'p < 0.001, &lt;b>'
    """
    return _LINK.sub("&#93;", _TAG.sub("&lt;", text).replace("`", "&#96;"))


def _code(text: str) -> str:
    """Return a text between more backticks than it holds anywhere."""
    longest = max(map(len, _BACKTICKS.findall(text)), default=0)
    if not longest:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"


def _shown(cell: Cell) -> str:
    shown = markdown_line(cell) if isinstance(cell, str | tuple) else plain_text(cell)
    return _in_cell(shown)


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")
