"""Summaries as plain text, aligned and as wide as the page is (process/page.py).

Accuracies and shares are printed in per cent, changes in points.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from textwrap import indent, wrap
from typing import Any

from evaluation.answers.prediction import Prediction
from process.page import column_blocks, fitted, page_width

_GOLDEN = (5**0.5 - 1) / 2
_NAME_WIDTH = 28  # "Other Biological Attributes" and its indent of one
_TEXT_WIDTH = 96

# (heading, width), right-aligned behind the slice's name; a heading too long for its width is
# broken over lines
_SUMMARY_COLUMNS = (
    *(("n", 7), ("accuracy", 9), ("95 % range", 12), ("chance", 7), ("lenient", 8)),
    *(("well-formed", 8), ("parse failures", 9), ("truncated", 10)),
)
_CHANGE_COLUMNS = (
    *(("n", 7), ("before", 9), ("after", 9), ("change", 9), ("95 % range after", 18)),
    ("chance", 8),
)
_AXES = {"by_modality": "modality", "by_question_type": "question type"}


def summary_table(summary: Mapping[str, Any]) -> str:
    """Return the table of one evaluation: overall, per modality, per question type."""
    rows = [
        (name, [] if entry is None else _summary_cells(entry)) for name, entry in _slices(summary)
    ]
    lines = table_lines(_SUMMARY_COLUMNS, rows)
    means = [
        f"by {title} {percent(summary['macro'][axis])}"
        for axis, title in _AXES.items()
        if len(summary[axis]) > 1
    ]
    if means:
        lines += ["", "mean of the slices' accuracies: " + ", ".join(means)]
    note = (
        "per cent; accuracy is strict: a completion of wrong form counts as wrong; lenient is the"
        " accuracy of a forgiving reader; a parse failure: the strict parser finds no letter"
    )
    lines += ["", fitted(note)]
    return "\n".join(lines)


def change_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the table of two evaluations of the same questions: before, after, change in points.

    Both are summaries, or what eval/step-*.json holds.

    Raises:
        ValueError: the two do not hold the same slices with the same number of questions.
    """
    old, new = list(_slices(before)), list(_slices(after))
    if [(name, entry and entry["n"]) for name, entry in old] != [
        (name, entry and entry["n"]) for name, entry in new
    ]:
        raise ValueError("before and after were not measured on the same questions: evaluate again")
    rows = [
        (name, [] if old_entry is None else _change_cells(old_entry, new_entry))
        for (name, old_entry), (_, new_entry) in zip(old, new, strict=True)
    ]
    return "\n".join(table_lines(_CHANGE_COLUMNS, rows))


def sample_completions(predictions: Sequence[Prediction], count: int = 5) -> str:
    """Return ``count`` predictions, spread over all, as a person would read them.

    Spread and not chosen, so that they show what is there: right ones and wrong ones. The steps are
    golden sections: equal ones meet the same slice again and again where slices alternate.
    """
    places = spread_places(len(predictions), count)
    return "\n\n".join(_sample(predictions[place]) for place in places)


def spread_places(length: int, count: int) -> list[int]:
    """Return at most ``count`` places spread over ``length``, in golden sections.

    >>> spread_places(100, 4)
    [30, 92, 54, 16]
    """
    return [int((i + 0.5) * _GOLDEN % 1 * length) for i in range(min(count, length))]


def wrapped(text: str) -> list[str]:
    """Return a text's lines, those that are too long broken between words."""
    return [
        line
        for part in text.splitlines()
        for line in wrap(part, min(_TEXT_WIDTH, page_width() - 4), break_on_hyphens=False) or [""]
    ]


def _slices(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float] | None]]:
    """Return (name, entry) per line; a line without an entry is a heading."""
    lines: list[tuple[str, Mapping[str, float] | None]] = [("overall", summary["overall"])]
    for axis, title in _AXES.items():
        lines.append((title, None))
        lines += [(f" {name}", entry) for name, entry in summary[axis].items()]
    return lines


def table_lines(
    columns: Sequence[tuple[str, int]], rows: Sequence[tuple[str, Sequence[str]]]
) -> list[str]:
    """Return a table's head and rows; what the page is too narrow for follows, names repeated."""
    lines: list[str] = []
    for block in column_blocks(_NAME_WIDTH, [width for _, width in columns]):
        some = [columns[index] for index in block]
        lines += [*([""] if lines else []), *heading_lines(some)]
        for name, cells in rows:
            lines.append(row(name, [cells[index] for index in block if index < len(cells)], some))
    return lines


def heading_lines(columns: Sequence[tuple[str, int]]) -> list[str]:
    """Return a table's head, headings broken over lines at their columns' widths."""
    parts = [wrap(heading, width - 1) for heading, width in columns]
    height = max(map(len, parts))
    full = [[""] * (height - len(part)) + part for part in parts]  # they stand on the last line
    return [row("", [part[line] for part in full], columns) for line in range(height)]


def row(name: str, cells: Sequence[str], columns: Sequence[tuple[str, int]]) -> str:
    """Return one line of a table; missing cells at the end stay empty."""
    if len(name) > _NAME_WIDTH:
        name = name[: _NAME_WIDTH - 1] + "…"
    padded = [cell.rjust(width) for cell, (_, width) in zip(cells, columns, strict=False)]
    return (name.ljust(_NAME_WIDTH) + "".join(padded)).rstrip()


def _summary_cells(entry: Mapping[str, float]) -> list[str]:
    shares = ("chance", "lenient_accuracy", "well_formed", "parse_failures", "truncated")
    return [
        f"{entry['n']:,}",
        percent(entry["accuracy"]),
        interval(entry),
        *(percent(entry[name]) for name in shares),
    ]


def _change_cells(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    return [
        f"{before['n']:,}",
        percent(before["accuracy"]),
        percent(after["accuracy"]),
        f"{100 * (after['accuracy'] - before['accuracy']):+.1f}",
        interval(after),
        percent(after["chance"]),
    ]


def percent(share: float) -> str:
    """Return a share as a table prints it."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """Return a difference of shares as a table prints it."""
    return f"{100 * difference:+.1f}"


def p_text(value: float) -> str:
    """Return a p value.

    >>> p_text(0.0312), p_text(1e-9)
    ('0.031', '< 0.001')
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(entry: Mapping[str, float]) -> str:
    """Return an entry's low and high as a table prints them."""
    return f"{percent(entry['low'])}-{percent(entry['high'])}"


def _sample(item: Prediction) -> str:
    options = "  ".join(
        f"{letter}) {text}" for letter, text in zip(ascii_uppercase, item.options, strict=False)
    )
    verdict = "right" if item.correct else f"wrong, the answer is {item.answer}"
    if not item.well_formed:
        verdict += ", not well-formed"
    completion = item.completion.replace("\n", " ") or "(nothing)"
    if item.truncated:
        completion += " ... (truncated)"
    body = [*wrapped(item.question), *wrapped(options), *wrapped(completion)]
    head = f"{', '.join(item.images) or 'no image'} ({item.modality}, {item.question_type})"
    return "\n".join([f"{head}: {verdict}", indent("\n".join(body), "  ")])
