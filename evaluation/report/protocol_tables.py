"""The tables of a protocol, made from protocol.json alone: the same in protocol.md and report.html.

Numbers are per cent, differences are points; an interval stands in brackets, and a difference whose
interval leaves out 0 is in bold.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from process.tables.numbers import p_text, percent, points, points_range
from process.tables.value import Cell, Line, Strong, Table, columns_of

TITLES = {"modality": "Modalities", "question_type": "Question types"}
PART_TITLES = {"diagonal": "own slice", "off_diagonal": "other slices"}


class Heading(NamedTuple):
    """The heading of what follows."""

    text: str
    level: int


Block = Heading | Table | Line


def axis_blocks(axis: Mapping[str, Any]) -> list[Block]:
    """Return the tables of one axis under their headings."""
    firsts = {name: next(iter(seeds.items())) for name, seeds in axis["methods"].items() if seeds}
    parts = [
        ("Start model, zero-shot", _zero_shot(axis)),
        ("Methods, first seed", _summary(firsts)),
        ("Differences of methods, in points", _differences(axis["differences"])),
        ("Over the start model in the same mode, in points", _differences(axis["over_zero_shot"])),
        ("By train slice, other slices together, in points", _by_train(axis["differences"])),
        ("Over seeds", _seeds(axis["seeds"], axis["seed_differences"])),
        ("What the text alone reaches", _priors(axis["text_priors"])),
        *(
            (f"Every cell: {name}, seed {seed}", _matrix(matrix))
            for name, (seed, matrix) in firsts.items()
            if matrix["cells"]
        ),
    ]
    return [block for title, found in parts for block in (Heading(title, 3), *found)]


def _zero_shot(axis: Mapping[str, Any]) -> list[Block]:
    if not axis["zero_shot"]:
        return ["Not asked, or not done yet."]
    rows: list[list[Cell]] = []
    for mode, matrix in axis["zero_shot"].items():
        cells = {cell["test"]: cell for cell in matrix["cells"]}
        own = [percent(cells[name]["accuracy"]) if name in cells else "" for name in axis["slices"]]
        mean, blank = matrix["means"]["all"], matrix["blank_means"]["all"]
        gain = _difference(matrix["visual_gain"]["all"])
        rows.append([mode, *own, percent(mean["macro"]), percent(blank["macro"]), gain])
    chance = percent(mean["chance_macro"])
    headings = ["mode", *axis["slices"], "macro", "blank", "gain"]
    return [_table(headings, rows), *([] if chance is None else [f"Chance: {chance}."])]


def _summary(firsts: Mapping[str, Any]) -> list[Block]:
    rows: list[list[Cell]] = []
    is_measured = any("image_sensitivity" in matrix for _, matrix in firsts.values())
    for name, (_, matrix) in firsts.items():
        for part, title in PART_TITLES.items():
            mean = matrix["means"].get(part)
            if mean is None:
                continue
            blank, gain = matrix["blank_means"][part], matrix["visual_gain"][part]
            shares = [mean[key] for key in ("macro", "row_weighted", "chance_macro")]
            numbers = map(percent, [*shares, blank["macro"]])
            counts = [mean["cells"], f"{mean['n']:,}"]
            change = matrix.get("image_sensitivity", {}).get(part)
            changes = [percent(change)] if is_measured else []
            rows.append([name, title, *numbers, _difference(gain["macro"]), *changes, *counts])
    if not rows:
        return ["Nothing is done yet."]
    headings = ["method", "on", "macro", "by row", "chance", "blank", "gain"]
    headings += ["answers change", "cells", "answers"] if is_measured else ["cells", "answers"]
    return [_table(headings, rows)]


def _differences(pairs: Sequence[Mapping[str, Any]]) -> list[Block]:
    rows: list[list[Cell]] = []
    for pair in pairs:
        for part, title in PART_TITLES.items():
            found = pair[part]
            if found is None:
                continue
            test = found.get("mcnemar")
            p_value = p_text(test["p_value"]) if test else "-"
            counts = [f"{found['n']:,}", f"{found['images']:,}"]
            shown = [_difference(found[name]) for name in ("macro", "row_weighted")]
            rows.append([f"{pair['first']} - {pair['second']}", title, *shown, p_value, *counts])
    if not rows:
        return ["Nothing to compare."]
    headings = ["first - second", "on", "macro", "by row", "McNemar p", "answers", "images"]
    note = "McNemar's test stands where every test row occurs once (the diagonal)."
    return [_table(headings, rows), note]


def _by_train(pairs: Sequence[Mapping[str, Any]]) -> list[Block]:
    trains = list(dict.fromkeys(train for pair in pairs for train in pair["by_train"]))
    rows: list[list[Cell]] = []
    for pair in pairs:
        found = [pair["by_train"].get(train, {}).get("others") for train in trains]
        if any(found):
            shown = map(_difference, found)
            rows.append([f"{pair['first']} - {pair['second']}", *shown])
    return [_table(["first - second", *trains], rows) if rows else "Nothing to compare."]


def _seeds(spreads: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> list[Block]:
    rows: list[list[Cell]] = []
    for name, entry in spreads.items():
        for part, title in PART_TITLES.items():
            if entry[part] is not None:
                accuracy, gain = entry[part]["accuracy"], entry[part]["visual_gain"]
                each = ", ".join(percent(value) for value in entry[part]["accuracies"])
                rows.append([name, title, _spread(accuracy), each, _spread(gain)])
    if not rows:
        return ["One seed only."]
    entry = next(iter(spreads.values()))
    head = _table(["method", "on", "macro, mean ± sd", "by seed", "gain, mean ± sd"], rows)
    slices = ", ".join(entry["slices"])
    seeds = ", ".join(map(str, entry["seeds"]))
    pair_rows = [
        [f"{pair['first']} - {pair['second']}", title, _spread(found), *_ends(found)]
        for pair in pairs
        for part, title in PART_TITLES.items()
        if (found := pair[part]) is not None
    ]
    below = _table(["first - second", "on", "macro, mean ± sd", "least", "greatest"], pair_rows)
    note = f"Runs on {slices} only, seeds {seeds}; sd with n - 1."
    return [head, note, *([below] if pair_rows else [])]


def _ends(found: Mapping[str, Any]) -> list[str]:
    return [points(found[name]) for name in ("min", "max")]


def _priors(rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    names = [name for name in (rows[0] if rows else ()) if name not in ("train", "test")]
    lines = []
    for name in names:
        shown = []
        for on_diagonal in (True, False):
            some = [row[name] for row in rows if (row["train"] == row["test"]) == on_diagonal]
            shown.append(percent(sum(some) / len(some)) if some else "-")
        lines.append([name, *shown])
    if not lines:
        return ["No prior was fitted yet."]
    note = "Fitted on the train slice's rows, no image seen; macro over the cells of a matrix."
    return [_table(["prior", *PART_TITLES.values()], lines), note]


def _matrix(matrix: Mapping[str, Any]) -> list[Block]:
    cells = {(cell["model"], cell["test"]): cell for cell in matrix["cells"]}
    tests = list(dict.fromkeys(test for _, test in cells))
    rows: list[list[Cell]] = []
    for model in dict.fromkeys(model for model, _ in cells):
        shown = [_cell(cells.get((model, test))) for test in tests]
        others = matrix["by_model"][model]["others"]
        rows.append([model, *shown, percent(others["macro"]) if others else "-"])
    note = (
        "Accuracy, and in parentheses the blank image's. ",
        Strong("Bold"),
        ": trained on that slice.",
    )
    return [_table(["trained on", *tests, "mean of others"], rows), note]


def _cell(cell: Mapping[str, Any] | None) -> Line:
    if cell is None:
        return ""
    accuracy, blank = percent(cell["accuracy"]), percent(cell["blank"]["accuracy"])
    shown = Strong(accuracy) if cell["part"] == "diagonal" else accuracy
    return shown, f" ({blank})"


def _spread(found: Mapping[str, Any]) -> str:
    deviation = "" if found["std"] is None else f" ± {percent(found['std'])}"
    return f"{percent(found['mean'])}{deviation}"


def _difference(found: Mapping[str, Any] | None) -> Line:
    """Return a difference with its interval, in points; bold where the interval leaves out 0.

    >>> _difference({"difference": 0.125, "low": 0.05, "high": 0.2})
    ('+12.5', ' [+5.0, +20.0]')
    """
    if not found:
        return ""
    text = points(found["difference"])
    if found["low"] is None:
        return text
    low, high = found["low"], found["high"]
    shown = Strong(text) if low > 0 or high < 0 else text
    return shown, f" [{points_range(low, high, between=', ')}]"


def _table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    return Table(columns_of(headings, text=()), rows)
