"""The page of a report: headings, tables, pictures inside the file. Every text is escaped here.

Nothing is fetched: no script, one style in the head, pictures as data.
"""

import base64
from collections.abc import Sequence
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 75rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd;
  vertical-align: top; font-variant-numeric: tabular-nums; }
th { font-weight: 600; } th:first-child, td:first-child, .text { text-align: left; }
tr.part td { font-weight: 600; padding-top: .6rem; }
pre, .written { font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.written { min-width: 24rem; }
pre { background: #f5f5f5; padding: .6rem .8rem; }
img { max-width: 100%; height: auto; }
img.seen { width: 200px; margin: 0 .5rem .5rem 0; }
.alarm { border-left: 4px solid #d55e00; padding-left: .8rem; }
.note { color: #555; }
"""

Cell = str | float | int | None


def page(title: str, sections: Sequence[str]) -> str:
    """Return the whole document; ``sections`` are HTML, the title is plain text."""
    body = "\n".join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Return HTML parts under a heading, or nothing where there are none."""
    parts = tuple(part for part in parts if part)
    return "\n".join((f"<h2>{escape(heading)}</h2>", *parts)) if parts else ""


def heading(text: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """Return a text whose lines and spaces stay as they are."""
    return f"<pre>{escape(text)}</pre>"


def folded(summary: str, *parts: str) -> str:
    """Return HTML parts that show when the reader opens them."""
    inside = "\n".join(parts)
    return f"<details><summary>{escape(summary)}</summary>\n{inside}\n</details>"


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], *, text_columns: Sequence[int] = (0,)
) -> str:
    """Return a table of plain texts; None is shown as a dash, one cell alone as a part's name.

    Args:
        headings: one per column.
        rows: of as many cells, or of one.
        text_columns: which columns hold text that somebody wrote: left-aligned, lines kept.
    """
    head = "".join(
        f'<th class="text">{escape(name)}</th>' if place in text_columns else _cell("th", name)
        for place, name in enumerate(headings)
    )
    body = "\n".join(_row(row, len(headings), text_columns) for row in rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def picture(data: bytes, text: str, *, kind: str = "") -> str:
    """Return a PNG inside the page; ``text`` stands for it where it cannot be seen."""
    attribute = f' class="{kind}"' if kind else ""
    encoded = base64.b64encode(data).decode("ascii")
    return f'<img{attribute} alt="{escape(text)}" src="data:image/png;base64,{encoded}">'


def _row(row: Sequence[Cell], width: int, text_columns: Sequence[int]) -> str:
    if len(row) == 1 < width:
        return f'<tr class="part"><td colspan="{width}">{escape(str(row[0]))}</td></tr>'
    cells = (
        f'<td class="text{" written" if place else ""}">{_text(value)}</td>'
        if place in text_columns
        else _cell("td", value)
        for place, value in enumerate(row)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _cell(tag: str, value: Cell) -> str:
    return f"<{tag}>{_text(value)}</{tag}>"


def _text(value: Cell) -> str:
    return "–" if value is None else escape(str(value))
