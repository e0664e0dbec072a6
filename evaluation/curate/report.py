"""What the filter does, in numbers and as a table: reasons, slices, text prior, groups."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.examples import VQAExample
from evaluation.curate.crossfit import crossfit
from evaluation.curate.reasons import REASONS, Verdict, zero_spread
from evaluation.measures.statistics import chance_level
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
    *(
        LABEL,
        Column("rows", 8),
        Column("chance", 8),
        Column("passes", 8),
        Column("blank passes", 8),
    ),
    *(Column("prior right", 8), Column("groups without spread", 11)),
)


def summarize_curation(
    examples: Sequence[VQAExample],
    verdicts: Sequence[Verdict],
    *,
    drop: Sequence[str],
    prior: str,
    group_size: int,
    seed: int,
) -> dict[str, Any]:
    """Return what was found and what the filter does.

        rows, kept, samples, group_size, prior, drop
        reasons            name -> ``rows``, ``share``, ``dropped`` (whether --drop names it)
        before, after      of all rows and of the kept: ``rows``, ``chance``, ``pass_rate``,
                           ``blank_pass_rate``, ``prior_accuracy``, ``zero_spread`` (see
                           `reasons.zero_spread`); after is None where nothing is kept
        by_modality, by_question_type   slice -> ``rows``, ``kept``, ``share_before``,
                           ``share_after`` (of the kept rows), ``reasons`` (name -> rows)

    ``prior_accuracy`` of the kept rows is that of the prior fitted anew on them, cross-fitted: what
    their text still gives away. None where they share one image.
    """
    kept = [(one, item) for one, item in zip(examples, verdicts, strict=True) if item.kept]
    n = len(verdicts)

    def numbers(pairs: Sequence[tuple[VQAExample, Verdict]]) -> dict[str, Any]:
        some, found = zip(*pairs, strict=True)
        return _numbers(some, found, prior, group_size, seed)

    counts = {name: sum(name in item.reasons for item in verdicts) for name in REASONS}
    return {
        "rows": n,
        "kept": len(kept),
        "samples": verdicts[0].samples,
        "group_size": group_size,
        "prior": prior,
        "drop": list(drop),
        "reasons": {
            name: {"rows": count, "share": count / n, "dropped": name in drop}
            for name, count in counts.items()
        },
        "before": numbers(list(zip(examples, verdicts, strict=True))),
        "after": numbers(kept) if kept else None,
        "by_modality": _slices(verdicts, lambda item: item.modality),
        "by_question_type": _slices(verdicts, lambda item: item.question_type),
    }


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


def _numbers(
    examples: Sequence[VQAExample],
    verdicts: Sequence[Verdict],
    prior: str,
    group_size: int,
    seed: int,
) -> dict[str, Any]:
    n, samples = len(verdicts), verdicts[0].samples
    letters = crossfit(examples, prior, seed)
    right = letters and sum(
        letter == item.answer for letter, item in zip(letters, verdicts, strict=True)
    )
    return {
        "rows": n,
        "chance": chance_level([len(example.options) for example in examples]),
        "pass_rate": sum(item.passes for item in verdicts) / (n * samples),
        "blank_pass_rate": sum(item.blank_passes for item in verdicts) / (n * samples),
        "prior_accuracy": None if right is None else right / n,
        "zero_spread": zero_spread([item.passes for item in verdicts], samples, group_size),
    }


def _slices(
    verdicts: Sequence[Verdict], key: Callable[[Verdict], str]
) -> dict[str, dict[str, Any]]:
    num_kept = sum(item.kept for item in verdicts)
    slices: dict[str, list[Verdict]] = {}
    for item in verdicts:
        slices.setdefault(key(item), []).append(item)
    return {
        name: {
            "rows": len(items),
            "kept": (kept := sum(item.kept for item in items)),
            "share_before": len(items) / len(verdicts),
            "share_after": kept / num_kept if num_kept else 0.0,
            "reasons": {why: sum(why in item.reasons for item in items) for why in REASONS},
        }
        for name, items in sorted(slices.items())
    }


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
