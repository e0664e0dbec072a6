"""Two finished evaluations of the same questions: which model answers more of them right?

Rows are paired by id, and only where both were asked the same question with the same options. The
interval of the difference is drawn by image; McNemar's test takes rows as independent, so where
rows share images the interval is the one to trust.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation.answers.finished import Evaluation, read_evaluation
from evaluation.answers.prediction import Prediction
from evaluation.configs import CompareConfig
from evaluation.measures.gains import paired_gain
from evaluation.measures.pairs import mcnemar
from evaluation.measures.sliced import FIELDS, by_fields, by_kinds, by_slices, check_by
from evaluation.report.summary_text import LABEL
from process.page import fitted
from process.shown import shown_line
from process.signals import once_there, saying_kept
from process.storage import finite_or_null, write_json
from process.tables.numbers import p_text, percent, points, points_range
from process.tables.text import table_lines
from process.tables.value import Cell, Column, Table

AnswerPair = tuple[Prediction, Prediction]

_COLUMNS = (
    *(LABEL, Column("n", 7), Column("first", 8), Column("second", 8), Column("change", 8)),
    *(Column("95 % range", 16), Column("only first", 7), Column("only second", 7)),
    Column("McNemar p", 9),
)
# Of two answers to one row.
_SAME = (
    *("question", "form", "options", "answer"),
    *("accepted", "absolute_tolerance", "relative_tolerance"),
)
_LONGEST_VALUE = 60  # characters, in a message
_AXES = ("by_modality", "by_question_type", "by_dataset", "by_form")


def compare_command(config: CompareConfig) -> None:
    """Do what `evaluate.py compare` is asked to do: print how two evaluations differ.

    Raises:
        ValueError, OSError: what the user can mend, in one sentence.
    """
    output = None if config.output is None else Path(config.output)
    if output is not None and output.exists():
        raise ValueError(f"--output {output} exists already: name a new file")
    first, second = read_evaluation(config.first), read_evaluation(config.second)
    result = compare(first, second, config.by)
    for name, evaluation in (("first", first), ("second", second)):
        print(f"{name:<8}{evaluation.path}: {shown_line(str(evaluation.about.get('model')))}")
    print(f"\n{comparison_table(result)}")
    print(fitted("\nper cent, change in points; the range is by image; McNemar's test takes rows as"
          " independent"))  # fmt: skip
    if output is not None:
        with saying_kept(once_there(output)):
            write_json(output, finite_or_null(result))
            print(f"written: {output}")


def pair_rows(first: Evaluation, second: Evaluation) -> list[AnswerPair]:
    """Return the rows that both answered, in the first one's order.

    Raises:
        ValueError: there are none, or an id stands for two questions.
    """
    for evaluation in (first, second):
        if len({item.id for item in evaluation.rows}) < len(evaluation.rows):
            raise ValueError(f"{evaluation.path} answers a row twice: evaluate anew")
    of_second = {item.id: item for item in second.rows}
    pairs = [(item, of_second[item.id]) for item in first.rows if item.id in of_second]
    for one, other in pairs:
        if key := next((k for k in _SAME if getattr(one, k) != getattr(other, k)), None):
            values = [shown_line(str(getattr(item, key)))[:_LONGEST_VALUE] for item in (one, other)]
            raise ValueError(
                f"row {one.id} has another question, other options or another right answer in"
                f" {first.path} than in {second.path} ({key}: {values[0]} and {values[1]}):"
                " compare evaluations of the same test file"
            )
    if not pairs:
        raise ValueError(
            f"{first.path} and {second.path} have no row in common: evaluate both on the same file"
        )
    return pairs


def compare(first: Evaluation, second: Evaluation, by: Sequence[str] = ()) -> dict[str, Any]:
    """Return ``overall``, ``by_modality``, ``by_question_type``, ``by_dataset``, and who was asked.

    An entry holds n, images, first, second (accuracies), change (second minus first) with its
    interval by image low and high (None where all rows share one image), and ``mcnemar``.
    Where not all questions are choices by letter ``by_form``, ``by_kind``, ``closed`` and ``open``
    are entries, too. ``by_field`` has an entry per value of answer_type, where rows have it, and of
    the fields ``by``, as the second evaluation's rows hold them. ``unpaired`` counts the rows that
    only one of the two answered; they are left out.

    Raises:
        ValueError: as in `pair_rows`; no row has a field, or it has too many values.
    """
    pairs = pair_rows(first, second)
    of_first = {one.id: one for one, _ in pairs}

    def entry(rows: Sequence[Prediction]) -> dict[str, Any]:  # rows of the second
        return _entry([(of_first[item.id], item) for item in rows])

    seconds = [other for _, other in pairs]
    check_by(by, [item.fields for item in seconds])
    unpaired = {
        name: len(one.rows) - len(pairs) for name, one in (("first", first), ("second", second))
    }
    asked = {name: dict(one.about) for name, one in (("first", first), ("second", second))}
    return {
        "overall": entry(seconds),
        **by_slices(seconds, entry),
        **by_kinds(seconds, entry),
        **by_fields(seconds, entry, tuple(dict.fromkeys((*FIELDS, *by)))),
        "unpaired": unpaired,
        "evaluations": asked,
    }


def comparison_table(result: Mapping[str, Any]) -> str:
    """Return the comparison as text, in per cent and points."""
    rows = [["all", *_cells(result["overall"])]]
    slices = {axis.removeprefix("by_").replace("_", " "): result.get(axis, {}) for axis in _AXES}
    for title, entries in (*slices.items(), *result.get("by_field", {}).items()):
        if len(entries) > 1:
            rows.append([title])
            rows += [[f" {name}", *_cells(entry)] for name, entry in entries.items()]
    lines = table_lines(Table(_COLUMNS, rows))
    unpaired = result["unpaired"]
    if any(unpaired.values()):
        lines += ["", f"left out, answered by one only: {unpaired['first']:,} rows of the first,"
                  f" {unpaired['second']:,} of the second"]  # fmt: skip
    return "\n".join(lines)


def _entry(pairs: Sequence[AnswerPair]) -> dict[str, Any]:
    found = paired_gain([other for _, other in pairs], [one for one, _ in pairs])
    test = mcnemar([one.correct for one, _ in pairs], [other.correct for _, other in pairs])
    return {
        "n": found["n"],
        "images": found["images"],
        "first": found["control_accuracy"],
        "second": found["accuracy"],
        "change": found["gain"],
        "low": found["low"],
        "high": found["high"],
        "mcnemar": asdict(test),
    }


def _cells(entry: Mapping[str, Any]) -> list[Cell]:
    test = entry["mcnemar"]
    spread = points_range(entry["low"], entry["high"], between=" .. ") or "-"
    shares = [percent(entry["first"]), percent(entry["second"]), points(entry["change"])]
    only = [f"{test[name]:,}" for name in ("first_only", "second_only")]
    return [f"{entry['n']:,}", *shares, spread, *only, p_text(test["p_value"])]
