"""The sections of a protocol's report: the page's tables, and heatmaps before them.

All heatmaps of one kind have one colour scale, so they can be compared by eye.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.report.album import Album
from evaluation.report.matrix_page import HeatmapCells, cells_heatmap, cells_of, gain_bound
from evaluation.report.protocol_markdown import about_blocks
from evaluation.report.protocol_tables import TITLES, Block, Heading, axis_blocks
from evaluation.report.run_files import RunFiles
from process.tables.document import folded, heading, paragraph, section
from process.tables.html import html_table
from process.tables.value import Table

_ACCURACY = (
    "{what}: strict greedy accuracy in per cent, below it the 95 % interval over test rows; colours"
    " from 0 to 100.{outlined}"
)
_GAIN = (
    "{what}: visual gain, accuracy minus that of the same rows with images blank, in points, below"
    " it the 95 % interval by image; white at 0, colours to {bound:.0f} points each way.{outlined}"
)


def protocol_sections(files: RunFiles, album: Album) -> list[str]:
    """Return the HTML sections of a protocol's directory, one that is not complete too.

    Raises:
        ValueError: protocol.json cannot be read; it is named.
    """
    result = files.json_object("protocol.json")
    bound = gain_bound(_gains(result))
    return [
        section("About", *map(_html, about_blocks(result))),
        *(
            section(
                TITLES.get(name, name),
                *_pictures(name, axis, bound, album),
                *map(_html, axis_blocks(axis)),
            )
            for name, axis in result["axes"].items()
        ),
    ]


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return heading(block.text)
    return html_table(block) if isinstance(block, Table) else paragraph(block)


def _gains(result: Mapping[str, Any]) -> Iterator[float]:
    for axis in result["axes"].values():
        for matrix in _matrices(axis):
            yield from (cell["visual_gain"]["gain"] for cell in matrix["cells"])


def zero_shot_cells(axis: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the start model's cells by (mode, test)."""
    return {
        (mode, cell["test"]): cell
        for mode, matrix in axis["zero_shot"].items()
        for cell in matrix["cells"]
    }


def _matrices(axis: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from axis["zero_shot"].values()
    for seeds in axis["methods"].values():
        yield from seeds.values()


def _pictures(name: str, axis: Mapping[str, Any], bound: float, album: Album) -> Iterator[str]:
    """Yield an axis's heatmaps; those of further seeds are folded away."""
    base = zero_shot_cells(axis)
    yield from _pair(f"{name}-zero-shot", "start model, zero-shot", base, bound, album, rows="mode")
    more: list[str] = []
    for method, seeds in axis["methods"].items():
        for place, (seed, matrix) in enumerate(seeds.items()):
            file, what = f"{name}-{method}-seed{seed}", f"{method}, seed {seed}"
            drawn = list(_pair(file, what, cells_of(matrix), bound, album))
            if place:
                more += drawn
            else:
                yield from drawn
    if more:
        yield folded("Heatmaps of the other seeds", *more)


def _pair(
    file: str,
    what: str,
    cells: HeatmapCells,
    bound: float,
    album: Album,
    *,
    rows: str = "trained on",
) -> Iterator[str]:
    if not cells:
        return
    gains = {place: cell["visual_gain"] | {"part": cell["part"]} for place, cell in cells.items()}
    own = any(cell["part"] == "diagonal" for cell in cells.values())
    facts = {"what": what, "outlined": " Outlined: its own slice." if own else ""}
    yield album.add(
        f"{file}-accuracy",
        lambda: cells_heatmap(cells, "accuracy", title=f"{what}: accuracy", rows=rows),
        _ACCURACY.format(**facts),
    )
    yield album.add(
        f"{file}-gain",
        lambda: cells_heatmap(gains, "gain", title=f"{what}: visual gain", bound=bound, rows=rows),
        _GAIN.format(**facts, bound=100 * bound),
    )
