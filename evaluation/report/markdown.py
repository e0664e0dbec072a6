"""The Markdown that our own pages use, as HTML: headings, tables, paragraphs, bold, italics, code.

Only what evaluation/protocol/page.py writes; everything else is shown as it stands, escaped.
"""

import re
from collections.abc import Iterator
from html import escape

from evaluation.report.html import heading, rich_table

_INLINE = (  # on escaped text, code first
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\*([^*]+)\*"), r"<em>\1</em>"),
)


def to_html(text: str) -> Iterator[str]:
    """Yield the HTML of each block of a text; blocks are parted by an empty line."""
    for block in re.split(r"\n{2,}", text.strip()):
        if not block:
            continue
        if block.startswith("#"):
            yield heading(block.lstrip("# "))
        elif block.startswith("| "):
            yield _table(block)
        else:
            yield f"<p>{inline(block)}</p>"


def inline(text: str) -> str:
    """Return the HTML of a line of text.

    >>> inline("**+1.0** <b> `a_b`")
    '<strong>+1.0</strong> &lt;b&gt; <code>a_b</code>'
    """
    text = escape(text)
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text


def _table(block: str) -> str:
    head, _, *rows = (line.strip("|").split("|") for line in block.split("\n"))
    return rich_table(
        [inline(name.strip()) for name in head],
        [[inline(cell.strip()) for cell in row] for row in rows],
    )
