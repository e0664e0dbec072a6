"""The tables that run and evaluation reports share: slices of a summary, two summaries, a matrix.

Accuracies and shares in per cent, changes in points.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.report_html import Cell, table

_SHARES = {  # keys of a summary's entry that are shares, with their headings
    "chance": "chance",
    "lenient_accuracy": "lenient",
    "well_formed": "well-formed",
    "parse_failures": "parse failures",
    "truncated": "truncated",
}


def slices_table(summary: Mapping[str, Any]) -> str:
    """Return one row per slice of a summary: overall, then every axis ``by_*``."""
    known = [name for name in _SHARES if name in summary["overall"]]
    rows: list[list[Cell]] = []
    for _, name, entry in _named(summary):
        if entry is None:
            rows.append([name])
        else:
            rows.append(
                [name, f"{entry['n']:,}", percent(entry["accuracy"]), interval(entry)]
                + [percent(entry.get(share)) for share in known]
            )
    headings = ["", "n", "accuracy", "95 % range", *(_SHARES[name] for name in known)]
    return table(headings, rows)


def before_after_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return one row per slice: both accuracies, the change in points, the interval after.

    A slice that only one of the two has keeps a dash on the other side, and no change.
    """
    old = {(axis, name): entry for axis, name, entry in _named(before) if entry is not None}
    rows: list[list[Cell]] = []
    for axis, name, entry in _named(after):
        if entry is None:
            rows.append([name])
            continue
        earlier = old.get((axis, name))
        change = None if earlier is None else 100 * (entry["accuracy"] - earlier["accuracy"])
        rows.append(
            [
                name,
                f"{entry['n']:,}",
                None if earlier is None else percent(earlier["accuracy"]),
                percent(entry["accuracy"]),
                None if change is None else f"{change:+.1f}",
                interval(entry),
                percent(entry.get("chance")),
            ]
        )
    return table(["", "n", "before", "after", "change", "95 % range after", "chance"], rows)


def matrix_table(matrix: Mapping[str, Any]) -> str:
    """Return the accuracies of models (rows) on tests (columns); a dash where there is no cell.

    Args:
        matrix: models, tests and ``cells[model][test]``, as `pictures.matrix_heatmap` takes it.
    """
    tests = list(matrix["tests"])
    rows = [
        [model, *(_matrix_cell(matrix["cells"].get(model, {}).get(test)) for test in tests)]
        for model in matrix["models"]
    ]
    return table(["model", *tests], rows)


def percent(share: float | None) -> str | None:
    """Return a share in per cent with one decimal."""
    return None if share is None else f"{100 * share:.1f}"


def interval(entry: Mapping[str, float]) -> str:
    """Return an entry's interval in per cent."""
    return f"{percent(entry['low'])}–{percent(entry['high'])}"


def _named(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float] | None]]:
    """Yield (axis, name, entry) per row; one without an entry names the axis that follows."""
    yield "", "overall", summary["overall"]
    for axis, entries in summary.items():
        if axis.startswith("by_") and isinstance(entries, Mapping) and entries:
            yield axis, axis.removeprefix("by_").replace("_", " "), None
            for name, entry in entries.items():
                yield axis, name, entry


def _matrix_cell(cell: Mapping[str, float] | None) -> str | None:
    if not cell:
        return None
    range_text = f" ({interval(cell)})" if "low" in cell and "high" in cell else ""
    return f"{percent(cell['accuracy'])}{range_text}"
