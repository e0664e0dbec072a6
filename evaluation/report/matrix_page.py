"""The sections of a matrix's report: every model on every test, as a heatmap and as a table."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evaluation.answers.controls import has_gain
from evaluation.report.album import Album
from evaluation.report.figures.heatmap import heatmap
from evaluation.report.matrix_text import field_matrices, matrix_table
from evaluation.report.run_files import RunFiles
from process.tables.document import aligned, paragraph, section
from process.tables.html import html_table
from process.tables.numbers import percent
from process.tables.value import Table, columns_of

HeatmapCells = Mapping[tuple[str, str], Mapping[str, Any]]


def matrix_sections(files: RunFiles, album: Album) -> list[str]:
    """Return the HTML sections of a matrix directory.

    Raises:
        ValueError: matrix.json cannot be read; it is named.
    """
    matrix = files.json_object("matrix.json")
    return [
        section(
            "Every model on every test",
            album.add(
                "matrix",
                lambda: accuracy_heatmap(matrix),
                "Strict greedy accuracy in per cent, below it the 95 % interval; colours from 0 to"
                " 100; outlined: trained on that slice.",
            ),
            aligned(matrix_table(matrix)),
            paragraph("Per cent, strict; [ ]: trained on that slice.", "note"),
        ),
        *(_control(name, control, album) for name, control in matrix.get("controls", {}).items()),
        section("Rows of one value of a field", *_fields(matrix)),
        section("Models", _models(matrix)),
    ]


def _fields(matrix: Mapping[str, Any]) -> Iterator[str]:
    for title, part in field_matrices(matrix):
        yield paragraph(title, "note")
        yield aligned(matrix_table(part))


def _control(name: str, control: Mapping[str, Any], album: Album) -> str:
    """Return the section of one control: what it leaves of each accuracy, and the gain over it."""
    cells = cells_of(control)
    changes = {
        place: cell["sensitivity"] | {"part": cell["part"]}
        for place, cell in cells.items()
        if "sensitivity" in cell  # those of before have none
    }
    return section(
        f"The same under the control: {name}",
        album.add(
            f"matrix-{name}",
            lambda: cells_heatmap(cells, "accuracy", title=f"control {name}: accuracy"),
            "Strict greedy accuracy in per cent, below it the 95 % interval; colours 0 to 100.",
        ),
        _gains(name, cells, album) if has_gain(name) else "",
        _changes(name, changes, album) if changes else "",
        aligned(matrix_table(control)),
    )


def _gains(name: str, cells: HeatmapCells, album: Album) -> str:
    gains = {place: cell["gain"] | {"part": cell["part"]} for place, cell in cells.items()}
    bound = gain_bound(entry["gain"] for entry in gains.values())
    return album.add(
        f"matrix-{name}-gain",
        lambda: cells_heatmap(gains, "gain", title=f"gain over {name}", bound=bound),
        "The gain: accuracy of the rows that the control is possible for, minus the control's on"
        " the same rows, in points, below it the 95 % interval by image; white at 0, colours to"
        f" {100 * bound:.0f} points each way.",
    )


def _changes(name: str, changes: HeatmapCells, album: Album) -> str:
    return album.add(
        f"matrix-{name}-sensitivity",
        lambda: cells_heatmap(
            changes, "share", title=f"answers that change: {name}", label="answers, %"
        ),
        "Image sensitivity: the share of answers that are another one under the control, in per"
        " cent, below it the 95 % interval by image; colours 0 to 100.",
    )


def gain_bound(gains: Iterable[float]) -> float:
    """Return the end of the gains' colour scale: the largest gain, up to the next tenth."""
    return max(1, math.ceil(round(10 * max(map(abs, gains), default=0.0), 9))) / 10


def accuracy_heatmap(matrix: Mapping[str, Any], *, title: str = "") -> Any:
    """Return a matrix's accuracies, 0 to 100 per cent, with their intervals."""
    return cells_heatmap(cells_of(matrix), "accuracy", title=title)


def cells_heatmap(
    cells: HeatmapCells,
    name: str,
    *,
    title: str = "",
    bound: float | None = None,
    rows: str = "trained on",
    label: str = "accuracy, %",
) -> Any:
    """Return a heatmap of cells, those of the part `diagonal` outlined.

    Args:
        cells: (row, column) -> an entry with the value under ``name``, low, high and part.
        name: of the value.
        title: of the figure.
        bound: of differences: the colours go from its negative to it; None: shares, 0 to 1.
        rows: what the rows are.
        label: of the colours of shares.
    """
    models = list(dict.fromkeys(model for model, _ in cells))
    tests = list(dict.fromkeys(test for _, test in cells))
    found = [[cells.get((model, test)) for test in tests] for model in models]
    return heatmap(
        models,
        tests,
        [[None if entry is None else entry[name] for entry in row] for row in found],
        intervals=[[_ends(entry) for entry in row] for row in found],
        framed=[place for place, entry in cells.items() if entry.get("part") == "diagonal"],
        scale=(0.0, 1.0) if bound is None else (-bound, bound),
        signed=bound is not None,
        label=label if bound is None else "points",
        title=title,
        row_title=rows,
    )


def _ends(entry: Mapping[str, Any] | None) -> tuple[float | None, float | None] | None:
    return None if entry is None else (entry["low"], entry["high"])


def cells_of(matrix: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the cells of a matrix.json by (model, test)."""
    return {(cell["model"], cell["test"]): cell for cell in matrix["cells"]}


def _models(matrix: Mapping[str, Any]) -> str:
    rows = [
        [name, entry["model"], entry["method"], entry["mode"], entry["step"], own(matrix, name)]
        for name, entry in matrix["models"].items()
    ]
    headings = ["name", "checkpoint", "method", "mode", "step", "own slice, %"]
    return html_table(Table(columns_of(headings, text=(0, 1, 2, 3)), rows))


def own(matrix: Mapping[str, Any], name: str) -> str | None:
    """Return a model's accuracy on its own slice; None where there is no such test."""
    return percent(matrix["by_model"][name]["own"])
