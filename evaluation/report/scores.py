"""The sections of an evaluation's report, and of a matrix of evaluations."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from evaluation.calibration import expected_calibration_error
from evaluation.confidence import letter_confidences
from evaluation.pictures import matrix_heatmap, reliability_diagram, risk_coverage_curve, to_png
from evaluation.report_files import read_json, read_lines
from evaluation.report_html import Cell, paragraph, picture, section, table
from evaluation.report_tables import interval, matrix_table, percent, slices_table

_NUM_BINS = 10
Draw = Callable[[Callable[[], str]], str]


def evaluation_sections(directory: Path, draw: Draw) -> list[str]:
    """Return the HTML sections of an evaluation directory: its tables and its calibration.

    Args:
        directory: with summary.json; without predictions.jsonl there is no calibration.
        draw: calls what makes a picture, or says why there is none.

    Raises:
        ValueError: a file that cannot be read; it is named.
    """
    summary = read_json(directory / "summary.json")
    rows = read_lines(directory / "predictions.jsonl")
    uncontrolled = (row for row in rows if row.get("control") is None)
    return [
        section("The evaluation", _facts(summary.get("evaluation", {}))),
        section(
            "Accuracy by slice",
            paragraph("Per cent. Strict: a completion of wrong form counts as wrong.", "note"),
            slices_table(summary),
        ),
        section("Controls", _controls(summary)),
        section("Confidence", _calibration(*letter_confidences(uncontrolled), draw)),
    ]


def matrix_sections(matrix: Mapping[str, Any], draw: Draw) -> list[str]:
    """Return the HTML section of a matrix: models (rows) on tests (columns).

    Args:
        matrix: ``models`` and ``tests``, names in order, and ``cells[model][test]`` with accuracy
            and, where known, n, low, high; or ``cells`` as a list of such entries that hold their
            own ``model``, ``test`` and, on the diagonal, ``part: diagonal``.
        draw: calls what makes a picture, or says why there is none.
    """
    nested, diagonal = _nested(matrix)
    return [
        section(
            "Every model on every test",
            draw(
                lambda: picture(
                    to_png(matrix_heatmap(nested, diagonal=diagonal)), "accuracies as colours"
                )
            ),
            matrix_table(nested),
        )
    ]


def _nested(
    matrix: Mapping[str, Any],
) -> tuple[dict[str, Any], Collection[tuple[str, str]] | None]:
    names = {"models": list(matrix["models"]), "tests": list(matrix["tests"])}
    if isinstance(matrix["cells"], Mapping):
        return {**names, "cells": matrix["cells"]}, None
    cells: dict[str, dict[str, Any]] = {}
    for cell in matrix["cells"]:
        cells.setdefault(cell["model"], {})[cell["test"]] = cell
    diagonal = [
        (cell["model"], cell["test"])
        for cell in matrix["cells"]
        if cell.get("part", "diagonal" if cell["model"] == cell["test"] else "") == "diagonal"
    ]
    return {**names, "cells": cells}, diagonal


def _facts(facts: Mapping[str, Any]) -> str:
    plain = [[name.replace("_", " "), value] for name, value in facts.items() if _is_plain(value)]
    return table(["", ""], plain, text_columns=(0, 1)) if plain else ""


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _controls(summary: Mapping[str, Any]) -> str:
    """Return a row per control whose summary stands in this one under the control's name."""
    found = summary.get("controls", {})
    rows: list[list[Cell]] = [
        [name, f"{entry['n']:,}", percent(entry["accuracy"]), interval(entry)]
        for name, control in found.items()
        if isinstance(control, Mapping)
        and isinstance(entry := control.get("overall", control), Mapping)
        and {"n", "accuracy", "low", "high"} <= entry.keys()
    ]
    return table(["control", "n", "accuracy", "95 % range"], rows) if rows else ""


def _calibration(confidences: list[float], correct: list[bool], left_out: int, draw: Draw) -> str:
    if not confidences:
        return paragraph("No completion has letter probabilities.", "note")
    error = expected_calibration_error(confidences, correct, num_bins=_NUM_BINS)
    return "\n".join(
        [
            paragraph(
                f"Confidence is the probability of the likeliest letter. {len(confidences):,}"
                f" answers, {left_out:,} left out for want of an <answer> tag. Expected calibration"
                f" error {100 * error:.1f} points in {_NUM_BINS} bins."
            ),
            draw(
                lambda: (
                    picture(
                        to_png(reliability_diagram(confidences, correct, num_bins=_NUM_BINS)),
                        "share right against confidence",
                    )
                    + picture(
                        to_png(risk_coverage_curve(confidences, correct)),
                        "share wrong against share kept",
                    )
                )
            ),
        ]
    )
