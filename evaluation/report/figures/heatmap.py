"""A table of shares as colours, its numbers in the cells.

The scale is the caller's, not the data's: two heatmaps of one scale can be compared by eye.
"""

from collections.abc import Collection, Sequence
from typing import Any

from evaluation.report.figures.shared import (
    COLOURS,
    TooLargeFigureError,
    name_shown,
    new_figure,
)
from process.tables.numbers import percent, points

Shares = Sequence[Sequence[float | None]]
Interval = tuple[float | None, float | None]

_EMPTY = "#e6e6e6"
_MOST_CELLS = 2500
_MAPS = {False: "cividis", True: "PuOr"}  # readable without red and green; PuOr is white at 0


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Shares,
    *,
    intervals: Sequence[Sequence[Interval | None]] | None = None,
    framed: Collection[tuple[str, str]] = (),
    scale: tuple[float, float] = (0.0, 1.0),
    signed: bool = False,
    label: str = "accuracy, %",
    title: str = "",
    row_title: str = "trained on",
    column_title: str = "tested on",
) -> Any:
    """Return shares as a coloured table, in per cent.

    Args:
        rows: R labels.
        columns: S labels.
        values: R x S shares; None is drawn as an empty cell.
        intervals: R x S pairs (low, high), written small under the value; None where there is none.
        framed: (row, column) labels of cells to outline, such as the diagonal.
        scale: the shares at the two ends of the colours.
        signed: differences, in two colours that meet in white at the middle of the scale; written
            with their sign.
        label: of the colours.
        title: of the figure.
        row_title: what the rows are.
        column_title: what the columns are.

    Raises:
        ValueError: no row, no column, or values that are not R x S.
        TooLargeFigureError: more than 2,500 cells.
        MatplotlibMissingError: saying what to install.
    """
    _check(rows, columns, values, intervals)
    longest = max(len(name_shown(name)) for name in (*rows, *columns))
    figure = new_figure(2.6 + 0.85 * len(columns) + 0.075 * longest, 1.9 + 0.6 * len(rows))
    axes = figure.subplots()
    axes.set_facecolor(_EMPTY)  # what a missing cell shows
    image = _draw_colours(axes, values, scale, _MAPS[signed])
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            interval = intervals[i][j] if intervals else None
            colour = _text_colour(image.to_rgba(_per_cent(values[i][j])))
            _write_cell(axes, (i, j), values[i][j], interval, colour, signed=signed)
            if (row, column) in framed:
                _frame_cell(axes, i, j)
    _write_labels(axes, rows, columns)
    axes.set(xlabel=column_title, ylabel=row_title)
    axes.set_title(name_shown(title), fontsize=11)
    figure.colorbar(image, ax=axes, label=label)
    return figure


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the contrast ratio of two sRGB colours in [0, 1], 1 to 21 (WCAG 2.2).

    >>> round(contrast((0, 0, 0), (1, 1, 1)), 6)
    21.0
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _check(
    rows: Sequence[str], columns: Sequence[str], values: Shares, intervals: Sequence | None
) -> None:
    if not rows or not columns:
        raise ValueError(f"a heatmap of {len(rows)} rows and {len(columns)} columns has no cell")
    if len(rows) * len(columns) > _MOST_CELLS:
        raise TooLargeFigureError(f"{len(rows):,} rows and {len(columns):,} columns are too many")
    for table in (values, intervals) if intervals is not None else (values,):
        lengths = [len(row) for row in table]
        if lengths != [len(columns)] * len(rows):
            raise ValueError(
                f"{len(rows)} rows and {len(columns)} columns do not fit a table with rows of"
                f" {lengths} cells: pass one row per label, one cell per column"
            )


def _draw_colours(axes: Any, values: Shares, scale: tuple[float, float], colours: str) -> Any:
    """Return the coloured image on the axes: rows from above, None left open."""
    low, high = (100 * end for end in scale)
    per_cent = [[_per_cent(value) for value in row] for row in values]
    return axes.imshow(per_cent, cmap=colours, vmin=low, vmax=high, aspect="auto")


def _per_cent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share


def _luminance(colour: Sequence[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _text_colour(background: Sequence[float]) -> str:
    """Return black or white, whichever is easier to read: one of them has a contrast above 4.5."""
    if background[3] == 0:  # a missing cell lets the axes' own colour through
        return "black"
    return "white" if contrast(background, (1, 1, 1)) > contrast(background, (0, 0, 0)) else "black"


def _write_cell(
    axes: Any,
    place: tuple[int, int],
    value: float | None,
    interval: Interval | None,
    colour: str,
    *,
    signed: bool,
) -> None:
    row, column = place
    style = {"ha": "center", "va": "center", "color": colour}
    if value is None:
        axes.text(column, row, "–", **style)
        return
    sign = "+" if signed else ""
    # whole numbers: the cell is small
    ends = [f"{100 * end:{sign}.0f}" for end in interval or () if end is not None]
    known = len(ends) == 2
    shown = points(value) if signed else percent(value)
    axes.text(column, row - 0.12 * known, shown, fontsize=10, **style)
    if known:
        text = (" to " if signed else "–").join(ends)
        axes.text(column, row + 0.25, text, fontsize=7, **style)


def _write_labels(axes: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    below, beside = list(map(name_shown, columns)), list(map(name_shown, rows))
    axes.set_xticks(range(len(columns)), below, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), beside)
    axes.spines[:].set_visible(False)


def _frame_cell(axes: Any, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    corner = (column - 0.47, row - 0.46)
    axes.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, edgecolor=COLOURS[1], linewidth=2.5))
