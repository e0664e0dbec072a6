"""A table as HTML: every text is escaped here. A wide one scrolls in its own box.

What would be obeyed or not be seen stands as an escape of its own (process/shown.py), in attributes
as in text: a page is copied from, and read by others than browsers.
"""

from collections.abc import Sequence
from html import escape

from process.shown import shown
from process.tables.value import Cell, Code, Column, Emphasis, Foreign, Line, Strong, Table

_TAGS = {Strong: "strong", Emphasis: "em", Code: "code", Foreign: "bdi"}
_CLASSES = {"number": "", "text": ' class="text"', "written": ' class="text written"'}


def html_table(table: Table) -> str:
    """Return a table; None is shown as a dash, and nothing is returned where there are no rows.

    A row of headings that are all empty is left out.
    """
    if not table.rows:
        return ""
    head = ""
    if any(column.heading for column in table.columns):
        cells = "".join(map(_heading, table.columns))
        head = f"<thead><tr>{cells}</tr></thead>\n"
    shades = table.shades or [[None] * len(row) for row in table.rows]
    body = "\n".join(
        _row(row, shade, table.columns) for row, shade in zip(table.rows, shades, strict=True)
    )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="table">'
        f"<table>\n{head}<tbody>\n{body}\n</tbody></table></div>"
    )


def html_text(text: str) -> str:
    r"""Return a text as HTML, for between tags and in an attribute's quotes.

    >>> html_text('" onload="x" <b> \u202e')
    '&quot; onload=&quot;x&quot; &lt;b&gt; \\u202e'
    """
    return escape(shown(text))


def html_line(line: Line) -> str:
    """Return words as HTML, marks as tags.

    >>> html_line((Strong("+1.0"), " <b> ", Code("a_b")))
    '<strong>+1.0</strong> &lt;b&gt; <code>a_b</code>'
    """
    return "".join(map(_part, line)) if isinstance(line, tuple) else _part(line)


def _part(words: str) -> str:
    tag = _TAGS.get(type(words))
    return f"<{tag}>{html_text(words)}</{tag}>" if tag else html_text(words)


def _row(row: Sequence[Cell], shades: Sequence[float | None], columns: Sequence[Column]) -> str:
    if len(row) == 1 < len(columns):
        return f'<tr class="part"><td colspan="{len(columns)}">{_shown(row[0])}</td></tr>'
    cells = zip(row, shades, columns, strict=False)
    return f"<tr>{''.join(_cell(value, shade, column) for value, shade, column in cells)}</tr>"


def _heading(column: Column) -> str:
    kind = "" if column.kind == "number" else ' class="text"'
    return f'<th{kind} scope="col">{html_text(column.heading)}</th>'


def _cell(value: Cell, shade: float | None, column: Column) -> str:
    attributes = _CLASSES[column.kind]
    if shade is not None:
        lightness = 96 - 46 * shade  # 0 is nearly white, 1 a full orange
        attributes += f' style="color:#000;background:hsl(28 90% {lightness:.0f}%)"'
    return f"<td{attributes}>{_shown(value)}</td>"


def _shown(value: Cell) -> str:
    if value is None:
        return "–"
    return html_line(value) if isinstance(value, str | tuple) else str(value)
