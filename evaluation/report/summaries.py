"""The tables that reports share: slices of a summary, two summaries, what stands beside them.

Accuracies and shares in per cent, changes in points.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.report.html import Cell, paragraph, table

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
        rows.append(
            [
                name,
                f"{entry['n']:,}",
                None if earlier is None else percent(earlier["accuracy"]),
                percent(entry["accuracy"]),
                None if earlier is None else points(entry["accuracy"] - earlier["accuracy"]),
                interval(entry),
                percent(entry.get("chance")),
            ]
        )
    return table(["", "n", "before", "after", "change", "95 % range after", "chance"], rows)


def controls_table(summary: Mapping[str, Any]) -> str:
    """Return one row per control: its accuracy, and what the image adds over it."""
    controls = summary.get("controls", {})
    if not controls:
        return ""
    rows: list[list[Cell]] = [
        [
            name.replace("_", " "),
            *_cells(control["overall"]),
            points(control["gain"]["gain"]),
            interval(control["gain"], signed=True),
            f"{sum(control['impossible'].values()):,}",
        ]
        for name, control in controls.items()
    ]
    headings = ["image", "n", "accuracy", "95 % range"]
    headings += ["gain", "95 % range by image", "rows left out"]
    note = "Gain: accuracy minus the control's on the same rows, in points."
    return f"{table(headings, rows)}\n{paragraph(note, 'note')}"


def permutations_table(summary: Mapping[str, Any]) -> str:
    """Return what other orders of the options change."""
    found = summary.get("permutations")
    if not found:
        return ""
    rows: list[list[Cell]] = [
        ["accuracy, mean over the orders", percent(found["accuracy"]), interval(found)],
        ["right under every order", percent(found["all_right"]), ""],
        ["right under at least one", percent(found["any_right"]), ""],
        ["chosen text changes", percent(found["text_changes"]), ""],
        ["answers without a letter", percent(found["no_choice"]), ""],
    ]
    if found.get("kept_order"):
        rows.append(
            ["rows left out, whose options name each other", f"{found['kept_order']:,}", ""]
        )
    title = f"{found['n']:,} rows, options in up to {found['count']} orders"
    return table([title, "per cent", "95 % range by image"], rows)


def priors_table(summary: Mapping[str, Any]) -> str:
    """Return what the text alone reaches, and the model where that is wrong."""
    priors = summary.get("text_priors", {})
    if not priors:
        return ""
    nothing: list[Cell] = [None, None, None]
    rows: list[list[Cell]] = [
        [
            name.replace("_", " "),
            *_cells(found["prior"]),
            *(_cells(found["model_where_wrong"]) if found["model_where_wrong"] else nothing),
        ]
        for name, found in priors.items()
    ]
    own = ["n", "accuracy", "95 % range"]
    return table(["prior", *own, "rows it gets wrong", "model there", "95 % range"], rows)


def percent(share: float | None) -> str | None:
    """Return a share in per cent with one decimal."""
    return None if share is None else f"{100 * share:.1f}"


def points(difference: float | None) -> str | None:
    """Return a difference of shares in points, with its sign."""
    return None if difference is None else f"{100 * difference:+.1f}"


def interval(entry: Mapping[str, float | None], *, signed: bool = False) -> str | None:
    """Return an entry's interval in per cent, or in points; None where it has none.

    >>> interval({"low": 0.25, "high": 0.5}), interval({"low": -0.1, "high": 0.2}, signed=True)
    ('25.0–50.0', '-10.0 to +20.0')
    """
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return None
    return f"{points(low)} to {points(high)}" if signed else f"{percent(low)}–{percent(high)}"


def _cells(entry: Mapping[str, float]) -> list[Cell]:
    return [f"{entry['n']:,}", percent(entry["accuracy"]), interval(entry)]


def _named(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float] | None]]:
    """Yield (axis, name, entry) per row; one without an entry names the axis that follows."""
    yield "", "overall", summary["overall"]
    for axis, entries in summary.items():
        if axis.startswith("by_") and isinstance(entries, Mapping) and entries:
            yield axis, axis.removeprefix("by_").replace("_", " "), None
            for name, entry in entries.items():
                yield axis, name, entry
