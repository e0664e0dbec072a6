"""How wide a page is that is printed: the terminal's width, 99 columns where there is none."""

import shutil
from collections.abc import Sequence
from textwrap import wrap
from typing import TextIO

from process.shown import shown

_WITHOUT_TERMINAL = 99
_LEAST = 60  # below that the numbers of one row would stand on too many lines


def page_width() -> int:
    """Return the columns of the page, as COLUMNS or the terminal says."""
    return max(_LEAST, shutil.get_terminal_size((_WITHOUT_TERMINAL, 24)).columns)


def column_blocks(first: int, widths: Sequence[int]) -> list[list[int]]:
    """Return which columns of a table stand beside each other; the first one stands in each block.

    Args:
        first: the width of the first column.
        widths: of the others, their gaps included.
    """
    blocks: list[list[int]] = [[]]
    used = first
    for index, width in enumerate(widths):
        if blocks[-1] and used + width > page_width():
            blocks.append([])
            used = first
        blocks[-1].append(index)
        used += width
    return blocks


def fitted_on(stream: TextIO, text: str) -> str:
    """Return a text as `fitted` breaks it for a terminal, as it is for a log: a line a message."""
    return fitted(text) if stream.isatty() else text


def fitted(text: str) -> str:
    """Return a text whose lines fit on the page, those that are too long broken between words."""
    width = page_width()
    lines = (
        wrap(line, width, break_on_hyphens=False, break_long_words=False)
        if len(line) > width
        else [line]
        for line in shown(text).splitlines()
    )
    return "\n".join(part for parts in lines for part in parts)
