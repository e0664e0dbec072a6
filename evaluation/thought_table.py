"""What thoughts have to do with the answers, as rows under the main table."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.tables import heading_lines, interval, percent, row

_COLUMNS = (("n", 7), ("share", 8), ("accuracy", 9), ("95 % range", 12))
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
    lines = [*heading_lines(_COLUMNS), row("the thought", [], _COLUMNS)]
    lines += [row(f" {name}", cells, _COLUMNS) for name, cells in _classes(thoughts)]
    if thoughts["tokens"] is not None:
        lines += ["", f"mean length of a thought: {thoughts['tokens']:.1f} tokens"]
    return "\n".join(lines)


def _classes(thoughts: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name, entry in thoughts["classes"].items():
        cells = [f"{entry['n']:,}", percent(entry["share"])]
        if entry["n"]:
            cells += [percent(entry["accuracy"]), interval(entry)]
        yield _SHOWN[name], cells
