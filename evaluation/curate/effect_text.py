"""What the filter does, as tables in text: slices and reasons, the rows before and after."""

from collections.abc import Mapping
from typing import Any

from evaluation.curate.reasons import REASONS
from evaluation.report.summary_text import LABEL
from process.tables.numbers import percent
from process.tables.text import table_lines
from process.tables.value import Cell, Column, Table

_AXES = {"by_modality": "modality", "by_question_type": "question type"}
_SLICE_COLUMNS = (
    *(LABEL, Column("rows", 8), Column("kept", 8), Column("share before", 8)),
    *(Column("share after", 8), *(Column(name.replace("_", " "), 8) for name in REASONS)),
)
_SET_COLUMNS = (
    *(LABEL, Column("rows", 8), Column("chance", 8), Column("passes", 8)),
    *(Column("blank passes", 8), Column("prior right", 8), Column("groups without spread", 11)),
)


def curation_table(summary: Mapping[str, Any]) -> str:
    """Return the summary as a person reads it."""
    rows = [["all", *_all_cells(summary)]]
    for axis, title in _AXES.items():
        rows.append([title])
        rows += [[f" {name}", *_slice_cells(entry)] for name, entry in summary[axis].items()]
    sets = [
        [name] if summary[name] is None else [name, *_set_cells(summary[name])]
        for name in ("before", "after")
    ]
    tables = Table(_SLICE_COLUMNS, rows), Table(_SET_COLUMNS, sets)
    lines = [*table_lines(tables[0]), "", *table_lines(tables[1])]
    dropped = ", ".join(name.replace("_", " ") for name in summary["drop"]) or "nothing"
    lines += [
        "",
        f"dropped: {dropped}; several reasons may apply to a row; {summary['samples']} samples per",
        "row and image; shares in per cent; groups without spread: expected at",
        f"{summary['group_size']} completions; prior right: {summary['prior']}, cross-fitted anew",
        "on each set of rows",
    ]
    return "\n".join(lines)


def _all_cells(summary: Mapping[str, Any]) -> list[str]:
    reasons = [f"{entry['rows']:,}" for entry in summary["reasons"].values()]
    return [f"{summary['rows']:,}", f"{summary['kept']:,}", "", "", *reasons]


def _slice_cells(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{entry['rows']:,}",
        f"{entry['kept']:,}",
        percent(entry["share_before"]),
        percent(entry["share_after"]),
        *(f"{count:,}" for count in entry["reasons"].values()),
    ]


def _set_cells(entry: Mapping[str, Any]) -> list[Cell]:
    shares = ("chance", "pass_rate", "blank_pass_rate", "prior_accuracy", "zero_spread")
    return [
        f"{entry['rows']:,}",
        *(percent(entry[name]) for name in shares),
    ]
