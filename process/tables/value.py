"""A table as a value: columns and rows of texts. text.py, html.py and markdown.py show it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Strong(str):
    """Words that stand out: bold."""


class Emphasis(str):
    """Words that are meant as words: italic."""


class Code(str):
    """What is typed or read by a machine."""


class Foreign(str):
    """What others named: on a page it turns nothing around that stands beside it."""


# Plain words, or parts of which some are Strong, Emphasis, Code or Foreign.
Line = str | tuple[str, ...]
Cell = Line | int | float | None  # None: nothing is known


class Column(NamedTuple):
    """A column: its heading, and how its cells are set."""

    heading: str  # may hold line breaks, which stay
    # Printed: columns of the terminal, the gap before it included. None: as wide as its longest
    # cell, after a gap of two.
    width: int | None = None
    # On a page: numbers stand right, texts left with their lines kept; what a model wrote is a text
    # set like code.
    kind: Literal["number", "text", "written"] = "number"


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings.

    A row may end early; a row of one cell alone names the part of the table that follows it.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    note: str = ""  # what the numbers mean
    shades: Sequence[Sequence[float | None]] | None = None  # of a page's cells, 0 to 1


def columns_of(
    headings: Iterable[str], *, text: Sequence[int] = (0,), written: Sequence[int] = ()
) -> list[Column]:
    """Return columns as wide as their cells; ``text`` and ``written`` are places of such kinds."""
    return [
        Column(
            heading,
            kind="written" if place in written else "text" if place in text else "number",
        )
        for place, heading in enumerate(headings)
    ]


def plain_text(cell: Cell) -> str:
    """Return a cell's words without marks, nothing for None.

    >>> plain_text((Strong("+1.0"), " [0.5, 1.5]")), plain_text(3), plain_text(None)
    ('+1.0 [0.5, 1.5]', '3', '')
    """
    if cell is None:
        return ""
    return "".join(cell) if isinstance(cell, tuple) else str(cell)
