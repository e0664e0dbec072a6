"""A page of HTML: headings, paragraphs, pictures inside the file; all texts are escaped.

Nothing is fetched: no script, one style in the head, pictures as data; a policy in the head has the
browser refuse anything else. Tables are those of process/tables/html.py; wide ones scroll inside
their own box, which the keyboard reaches.
"""

import base64
from collections.abc import Iterable, Sequence

from process.tables.html import html_line, html_text
from process.tables.value import Line

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'"
)
_STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --soft: #555; --line: #ddd; --box: #f5f5f5;
  --page: #fff; --alarm: #b34700; }
@media screen and (prefers-color-scheme: dark) { :root { --text: #e4e4e4; --soft: #a8a8a8;
  --line: #444; --box: #262626; --page: #181818; --alarm: #ff9d57; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; overflow-wrap: anywhere; }
nav a { color: inherit; margin-right: 1rem; white-space: nowrap; }
/* a text from right to left turns nothing around beside it */
h1, h2, h3, p, li, th, td, pre, summary, figcaption { unicode-bidi: plaintext; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child, .text { text-align: left; }
td.text { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 7rem; }
tr.part td { font-weight: 600; padding-top: .6rem; }
pre, td.written { font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
td.written { min-width: 22rem; }
pre { background: var(--box); padding: .6rem .8rem; }
pre.columns { white-space: pre; overflow-x: auto; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; }
figcaption, .note { color: var(--soft); }
figcaption { font-size: .9rem; max-width: 60rem; }
img.seen { width: 180px; height: auto; margin: 0 .5rem .5rem 0; vertical-align: top; }
.alarm { border-left: 4px solid var(--alarm); padding-left: .8rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } nav { display: none; }
  .wide { overflow: visible; } figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  td.written { min-width: 0; } }
"""


def document(title: str, sections: Sequence[str]) -> str:
    """Return the whole page; ``sections`` are HTML, the title is plain text."""
    body = "\n".join(section for section in sections if section)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{html_text(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Return HTML parts under a heading, or nothing where there are none."""
    parts = tuple(part for part in parts if part)
    if not parts:
        return ""
    return "\n".join(("<section>", f"<h2>{html_text(heading)}</h2>", *parts, "</section>"))


def heading(text: Line) -> str:
    """Return a heading inside a section."""
    return f"<h3>{html_line(text)}</h3>"


def paragraph(text: Line, kind: str = "") -> str:
    """Return a paragraph; ``kind`` is its class."""
    attribute = f' class="{html_text(kind)}"' if kind else ""
    return f"<p{attribute}>{html_line(text)}</p>"


def preformatted(text: str) -> str:
    """Return a text whose lines and spaces stay as they are; long lines are broken."""
    return f"<pre>{html_text(text)}</pre>"


def bullets(lines: Iterable[str]) -> str:
    """Return a list of plain texts, or nothing where there are none."""
    items = "".join(f"<li>{html_text(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def aligned(text: str) -> str:
    """Return a table that is aligned text; long lines are moved under the window, not broken."""
    return f'<pre class="columns">{html_text(text)}</pre>'


def folded(summary: str, *parts: str) -> str:
    """Return HTML parts that show when the reader opens them."""
    inside = "\n".join(parts)
    return f"<details><summary>{html_text(summary)}</summary>\n{inside}\n</details>"


def figure(png: bytes, text: str) -> str:
    """Return a figure inside the page; ``text`` is its caption and stands for it."""
    return (
        f"<figure>{image(png, text, kind='')}\n<figcaption>{html_text(text)}</figcaption></figure>"
    )


def image(data: bytes, text: str, *, kind: str = "seen") -> str:
    """Return a PNG or JPEG inside the page; ``text`` stands for it where it cannot be seen."""
    attribute = f' class="{html_text(kind)}"' if kind else ""
    form = "png" if data.startswith(b"\x89PNG") else "jpeg"
    encoded = base64.b64encode(data).decode("ascii")
    return f'<img{attribute} alt="{html_text(text)}" src="data:image/{form};base64,{encoded}">'
