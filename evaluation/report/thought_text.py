"""What thoughts have to do with the answers, as rows under the main table."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.report.text import interval, percent, points, table_lines

_COLUMNS = (("n", 7), ("share", 8), ("accuracy", 9), ("95 % range", 12))
_CHANGE_COLUMNS = (
    *(("n", 7), ("own", 8), ("accuracy", 9), ("own minus this", 11)),
    *(("95 % range by image", 16), ("letter changes", 9), ("followed", 9)),
)
_LITTLE = "hardly any letter is written there"
_SHOWN = {
    "chosen": "names the chosen option",
    "several": "names it and another",
    "other": "names another only",
    "none": "names no option",
    "empty": "empty",
    "missing": "no thought",
    "no_choice": "no letter chosen",
}


def thought_table(thoughts: Mapping[str, Any]) -> str:
    """Return the table of summary.json's ``thoughts``, or the line that says why there is none."""
    if not thoughts["applicable"]:
        return f"thoughts: not applicable, {thoughts['reason']}"
    rows = [("the thought", []), *((f" {name}", cells) for name, cells in _classes(thoughts))]
    lines = table_lines(_COLUMNS, rows)
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
    cells = [f"{own['n']:,}", percent(own["accuracy"]), percent(own["accuracy"])]
    rows = [("own thought", cells)]
    rows += [(f"thought {name}", _change_cells(item)) for name, item in found["changes"].items()]
    lines = table_lines(_CHANGE_COLUMNS, rows)
    for name, change in found["changes"].items():
        if change["without_donor"]:
            lines.append(f"{name}: {change['without_donor']:,} rows have no thought to take")
        if change.get("little_mass"):
            lines.append(f"{name}: {change['little_mass']:,} rows left out, {_LITTLE}")
    if found.get("little_mass"):
        lines.append(f"own thought: {found['little_mass']:,} rows left out, {_LITTLE}")
    lines += [
        f"likeliest letter behind the thought; own: of the {own['n']:,} well-formed answers, whose",
        f"written letter it is in {percent(own['agrees'])} %; followed: it is what the lent",
        "thought's own completion chose",
    ]
    return lines


def _change_cells(change: Mapping[str, Any]) -> list[str]:
    cells = [f"{change['n']:,}"]
    if not change["n"]:
        return cells
    low, high = change["low"], change["high"]
    return [
        *cells,
        percent(change["own_accuracy"]),
        percent(change["accuracy"]),
        points(change["gain"]),
        "" if low is None else f"{points(low)} to {points(high)}",
        percent(change["changed"]),
        "" if change["followed"] is None else percent(change["followed"]),
    ]


def _classes(thoughts: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name, entry in thoughts["classes"].items():
        cells = [f"{entry['n']:,}", percent(entry["share"])]
        if entry["n"]:
            cells += [percent(entry["accuracy"]), interval(entry)]
        yield _SHOWN[name], cells
