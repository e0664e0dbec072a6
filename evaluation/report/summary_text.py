"""Summaries as plain text, aligned and as wide as the page is (process/page.py).

Accuracies and shares are printed in per cent, changes in points.
"""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import indent, wrap
from typing import Any

from evaluation.answers.prediction import Prediction
from evaluation.report.in_words import key_in_words, lettered_options
from process.page import fitted, page_width
from process.shown import shown, shown_line
from process.tables.numbers import percent, percent_range, points
from process.tables.text import table_lines
from process.tables.value import Cell, Column, Table
from rewards.forms import FORMS

_GOLDEN = (5**0.5 - 1) / 2
_TEXT_WIDTH = 96

LABEL = Column("", 28)  # "Other Biological Attributes" and its indent of one
NOT_LETTERED = "rows answered by yes or no, a text or a number"
_SUMMARY_COLUMNS = (
    *(LABEL, Column("n", 7), Column("accuracy", 9), Column("95 % range", 12), Column("chance", 7)),
    *(Column("lenient", 8), Column("well-formed", 8), Column("parse failures", 9)),
    Column("truncated", 10),
)
_CHANGE_COLUMNS = (
    *(LABEL, Column("n", 7), Column("before", 9), Column("after", 9), Column("change", 9)),
    *(Column("95 % range after", 18), Column("chance", 8)),
)
_AXES = {"by_modality": "modality", "by_question_type": "question type"}


def summary_table(summary: Mapping[str, Any]) -> str:
    """Return the table of one evaluation: overall, per modality, per question type."""
    rows = [
        [name] if entry is None else [name, *_summary_cells(entry)]
        for name, entry in (*_slices(summary), *_fields(summary))
    ]
    lines = table_lines(Table(_SUMMARY_COLUMNS, rows))
    means = [
        f"by {title} {percent(summary['macro'][axis])}"
        for axis, title in _AXES.items()
        if len(summary[axis]) > 1
    ]
    if means:
        lines += ["", "mean of the slices' accuracies: " + ", ".join(means)]
    note = (
        "per cent; accuracy is strict: a completion of wrong form counts as wrong; lenient is the"
        " accuracy of a forgiving reader; a parse failure: the strict parser finds no answer"
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
        [name, *(_change_cells(earlier, later) if earlier and later else ())]
        for (name, earlier), (_, later) in zip(old, new, strict=True)
    ]
    return "\n".join(table_lines(Table(_CHANGE_COLUMNS, rows)))


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
    """Return a text's lines, those that are too long broken between words; see process/shown.py."""
    return [
        line
        for part in shown(text).splitlines()
        for line in wrap(part, min(_TEXT_WIDTH, page_width() - 4), break_on_hyphens=False) or [""]
    ]


def _slices(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float] | None]]:
    """Return (name, entry) per line; a line without an entry is a heading."""
    lines: list[tuple[str, Mapping[str, float] | None]] = [("overall", summary["overall"])]
    lines += [(f" {name}" if entry else name, entry) for name, entry in kind_lines(summary)]
    for axis, title in _AXES.items():
        lines.append((title, None))
        lines += [(f" {name}", entry) for name, entry in summary[axis].items()]
    return lines


def _fields(summary: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, float] | None]]:
    """Yield (name, entry) per line of the rows' own fields."""
    for field, entries in summary.get("by_field", {}).items():
        yield field, None
        yield from ((f" {value}", entry) for value, entry in entries.items())


def kind_lines(summary: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return (name, entry) per line of closed and open questions and what they are answered by.

    The first line has no entry; there are none where all questions are choices by letter.
    """
    lines: list[tuple[str, Any]] = []
    forms = summary.get("by_form", {})
    for part in ("closed", "open"):
        if part in summary:
            lines.append((part, summary[part]))
            is_closed = part == "closed"
            lines += [
                (f" {name.replace('_', ' or ')}", entry)
                for name, entry in forms.items()
                if name in FORMS and (FORMS[name].kind == "choice") == is_closed
            ]
    return [("closed and open questions", None), *lines] if lines else []


def _summary_cells(entry: Mapping[str, float]) -> list[Cell]:
    shares = ("chance", "lenient_accuracy", "well_formed", "parse_failures", "truncated")
    return [
        f"{entry['n']:,}",
        percent(entry["accuracy"]),
        percent_range(entry["low"], entry["high"]),
        *(percent(entry[name]) for name in shares),
    ]


def _change_cells(before: Mapping[str, float], after: Mapping[str, float]) -> list[Cell]:
    return [
        f"{before['n']:,}",
        percent(before["accuracy"]),
        percent(after["accuracy"]),
        points(after["accuracy"] - before["accuracy"]),
        percent_range(after["low"], after["high"]),
        percent(after["chance"]),
    ]


def _sample(item: Prediction) -> str:
    row = item.to_json()
    options = "  ".join(lettered_options(row))
    key = shown_line(key_in_words(row))
    verdict = "right" if item.correct else f"wrong, the answer is {key}"
    if not item.well_formed:
        verdict += ", not well-formed"
    completion = item.completion.replace("\n", " ") or "(nothing)"
    if item.truncated:
        completion += " ... (truncated)"
    shown_options = wrapped(options) if options else []
    body = [*wrapped(item.question), *shown_options, *wrapped(completion)]
    head = shown_line(
        f"{', '.join(item.images) or 'no image'} ({item.modality}, {item.question_type})"
    )
    return "\n".join([f"{head}: {verdict}", indent("\n".join(body), "  ")])
