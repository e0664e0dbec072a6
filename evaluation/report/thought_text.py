"""What thoughts have to do with the answers, as rows under the main table."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.report.summary_text import LABEL, NOT_LETTERED
from process.tables.numbers import percent, percent_range, points, points_range
from process.tables.text import table_lines
from process.tables.value import Cell, Column, Table

_COLUMNS = (
    *(LABEL, Column("n", 7), Column("share", 8), Column("accuracy", 9), Column("95 % range", 12)),
)
_CHANGE_COLUMNS = (
    *(LABEL, Column("n", 7), Column("own", 8), Column("accuracy", 9), Column("own minus this", 11)),
    *(Column("95 % range by image", 16), Column("letter changes", 9), Column("followed", 9)),
)
_LITTLE = "hardly any letter is written there"
_SHOWN = {
    "chosen": "names the chosen option",
    "several": "names it and another",
    "other": "names another only",
    "none": "names no option",
    "empty": "empty",
    "missing": "no thought",
    "no_choice": "no answer chosen",
}


def thought_table(thoughts: Mapping[str, Any]) -> str:
    """Return the table of summary.json's ``thoughts``, or the line that says why there is none."""
    if not thoughts["applicable"]:
        return f"thoughts: not applicable, {thoughts['reason']}"
    lines = table_lines(Table(_COLUMNS, [["the thought"], *_classes(thoughts)]))
    if thoughts.get("yes_or_no"):
        lines += ["", f"left out: {thoughts['yes_or_no']:,} questions of yes or no"]
    if thoughts["tokens"] is not None:
        lines += ["", f"mean length of a thought: {thoughts['tokens']:.1f} tokens"]
    if "teacher_forced" in thoughts:
        lines += ["", *_changes_table(thoughts["teacher_forced"])]
    return "\n".join(lines)


def _changes_table(found: Mapping[str, Any]) -> list[str]:
    if not found["applicable"]:
        return [f"letters behind other thoughts: not applicable, {found['reason']}"]
    if not found["n"]:
        return ["letters behind other thoughts: no answer is well-formed"]
    own = found["own"]
    if own is None:
        return [f"letters behind other thoughts: not measured, {_LITTLE}"]
    accuracy = percent(own["accuracy"])
    rows = [
        ["own thought", f"{own['n']:,}", accuracy, accuracy],
        *([f"thought {name}", *_change_cells(item)] for name, item in found["changes"].items()),
    ]
    lines = table_lines(Table(_CHANGE_COLUMNS, rows))
    for name, change in found["changes"].items():
        if change["without_donor"]:
            lines.append(f"{name}: {change['without_donor']:,} rows have no thought to take")
        if change.get("little_mass"):
            lines.append(f"{name}: {change['little_mass']:,} rows left out, {_LITTLE}")
    if found.get("not_lettered"):
        lines.append(f"left out: {found['not_lettered']:,} {NOT_LETTERED}")
    if found.get("little_mass"):
        lines.append(f"own thought: {found['little_mass']:,} rows left out, {_LITTLE}")
    lines += [
        f"likeliest letter behind the thought; own: of the {own['n']:,} well-formed answers, whose",
        f"written letter it is in {percent(own['agrees'])} %; followed: it is what the lent",
        "thought's own completion chose",
    ]
    return lines


def _change_cells(change: Mapping[str, Any]) -> list[Cell]:
    n = f"{change['n']:,}"
    if not change["n"]:
        return [n]
    return [
        n,
        percent(change["own_accuracy"]),
        percent(change["accuracy"]),
        points(change["gain"]),
        points_range(change["low"], change["high"]),
        percent(change["changed"]),
        percent(change["followed"]),
    ]


def _classes(thoughts: Mapping[str, Any]) -> Iterator[list[Cell]]:
    for name, entry in thoughts["classes"].items():
        cells: list[Cell] = [f" {_SHOWN[name]}", f"{entry['n']:,}", percent(entry["share"])]
        if entry["n"]:
            cells += [percent(entry["accuracy"]), percent_range(entry["low"], entry["high"])]
        yield cells
