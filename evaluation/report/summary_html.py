"""Summaries as HTML: slices, two summaries side by side, controls, orders, text priors.

Accuracies and shares in per cent, changes in points.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.answers.controls import has_gain
from evaluation.report.extra_text import SIDES
from evaluation.report.summary_text import kind_lines
from process.tables.document import paragraph
from process.tables.html import html_table
from process.tables.numbers import percent, percent_range, points, points_range
from process.tables.value import Cell, Table, columns_of

DASH = "–"  # between the ends of an interval on a page
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
            rows.append([name, *_cells(entry), *(percent(entry.get(share)) for share in known)])
    headings = ["", "n", "accuracy", "95 % range", *(_SHARES[name] for name in known)]
    return html_table(Table(columns_of(headings), rows))


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
        rows.append(
            [
                name,
                f"{entry['n']:,}",
                None if earlier is None else percent(earlier["accuracy"]),
                percent(entry["accuracy"]),
                None if earlier is None else points(entry["accuracy"] - earlier["accuracy"]),
                percent_range(entry["low"], entry["high"], dash=DASH),
                percent(entry.get("chance")),
            ]
        )
    headings = ["", "n", "before", "after", "change", "95 % range after", "chance"]
    return html_table(Table(columns_of(headings), rows))


def controls_table(summary: Mapping[str, Any]) -> str:
    """Return one row per control: its accuracy, and what the image adds over it."""
    controls = summary.get("controls", {})
    if not controls:
        return ""
    rows: list[list[Cell]] = [
        [
            name.replace("_", " "),
            *_cells(control["overall"]),
            *_gain(name, control["gain"]),
            *_sensitivity_cells(control.get("sensitivity")),
            f"{sum(control['impossible'].values()):,}",
        ]
        for name, control in controls.items()
    ]
    headings = ["image", "n", "accuracy", "95 % range", "gain", "95 % range by image"]
    headings += ["answers change", "95 % range by image", "rows left out"]
    note = (
        "Gain: accuracy minus the control's on the same rows, in points. Answers change: image"
        " sensitivity, the share of answers that are another one under the control."
    )
    return f"{html_table(Table(columns_of(headings), rows))}\n{paragraph(note, 'note')}"


def sides_table(summary: Mapping[str, Any]) -> str:
    """Return what mirrored images change: of questions about left and right, and of all others."""
    flipped = summary.get("controls", {}).get("flip", {})
    rows: list[list[Cell]] = [
        [
            title,
            f"{found['n']:,}",
            percent(found["own_accuracy"]),
            *_cells(found)[1:],
            percent(found["changes"]),
            f"{found['swappable']:,}" if "swappable" in found else None,
            percent(found.get("swaps")),
        ]
        for kind, title in SIDES.items()
        if (found := flipped.get(kind))
    ]
    if not rows:
        return ""
    headings = ["questions", "n", "own image", "mirrored", "95 % range", "answer changes"]
    headings += ["chose one side", "left for right"]
    note = (
        "Per cent. A mirrored finding is on the other side and the key is not: who sees it answers"
        " a question about sides otherwise, which counts as wrong. Chose one side: answers before"
        " that named left or right, whose opposite was an answer, too; left for right: the share"
        " of these that name the opposite under the mirrored image."
    )
    return f"{html_table(Table(columns_of(headings), rows))}\n{paragraph(note, 'note')}"


def permutations_table(summary: Mapping[str, Any]) -> str:
    """Return what other orders of the options change."""
    found = summary.get("permutations")
    if not found:
        return ""
    span = percent_range(found["low"], found["high"], dash=DASH)
    rows: list[list[Cell]] = [
        ["accuracy, mean over the orders", percent(found["accuracy"]), span],
        ["right under every order", percent(found["all_right"]), ""],
        ["right under at least one", percent(found["any_right"]), ""],
        ["chosen text changes", percent(found["text_changes"]), ""],
        ["answers without a letter", percent(found["no_choice"]), ""],
    ]
    if found.get("kept_order"):
        rows.append(
            ["rows left out, whose options name each other", f"{found['kept_order']:,}", ""]
        )
    if found.get("not_lettered"):
        others = f"{found['not_lettered']:,}"
        rows.append(["rows left out, whose options are not lettered", others, ""])
    title = f"{found['n']:,} rows, options in up to {found['count']} orders"
    headings = [title, "per cent", "95 % range by image"]
    return html_table(Table(columns_of(headings), rows))


def priors_table(summary: Mapping[str, Any]) -> str:
    """Return what the text alone reaches, and the model where that is wrong."""
    priors = summary.get("text_priors", {})
    if not priors:
        return ""
    nothing: list[Cell] = [None, None, None]
    notes = {"left_out": "rows without an answer", "fitted_on": "rows it was fitted on"}
    counts = [key for key in notes if any(found.get(key) for found in priors.values())]
    rows: list[list[Cell]] = [
        [
            name.replace("_", " "),
            *_cells(found["prior"]),
            *(_cells(found["model_where_wrong"]) if found["model_where_wrong"] else nothing),
            *(f"{found[key]:,}" if found.get(key) else None for key in counts),
        ]
        for name, found in priors.items()
    ]
    own = ["n", "accuracy", "95 % range"]
    headings = ["prior", *own, "rows it gets wrong", "model there", "95 % range"]
    headings += [notes[key] for key in counts]
    return html_table(Table(columns_of(headings), rows))


def _gain(name: str, gain: Mapping[str, Any]) -> list[Cell]:
    if not has_gain(name):
        return [None, None]
    return [points(gain["gain"]), points_range(gain["low"], gain["high"])]


def _sensitivity_cells(found: Mapping[str, Any] | None) -> list[Cell]:
    """Return a control's image sensitivity and its range; files of before have none."""
    if found is None:
        return [None, None]
    return [percent(found["share"]), percent_range(found["low"], found["high"], dash=DASH)]


def _cells(entry: Mapping[str, float]) -> list[Cell]:
    span = percent_range(entry["low"], entry["high"], dash=DASH)
    return [f"{entry['n']:,}", percent(entry["accuracy"]), span]


def _named(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float] | None]]:
    """Yield (axis, name, entry) per row; one without an entry names the axis that follows."""
    yield "", "overall", summary["overall"]
    yield from (("kind", name, entry) for name, entry in kind_lines(summary))
    fields = {f"by_{name}": entries for name, entries in summary.get("by_field", {}).items()}
    for axis, entries in {**summary, **fields}.items():
        if axis in ("by_form", "by_kind", "by_field"):
            continue
        if axis.startswith("by_") and isinstance(entries, Mapping) and entries:
            yield axis, axis.removeprefix("by_").replace("_", " "), None
            for name, entry in entries.items():
                yield axis, name, entry
