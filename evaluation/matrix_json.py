"""matrix.json: the cells of a matrix, their means, and what their rows are."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from data.examples import UNKNOWN
from evaluation.answers.prediction import Prediction
from evaluation.asking.asked_model import AskedModel
from evaluation.measures.matrices import means, means_by_model, part_of
from evaluation.measures.sliced import by_fields
from evaluation.measures.summary import Accuracy, accuracy_on
from grpo.settings.card import read_card


def matrix_json(
    entries: Mapping[tuple[str, str], Accuracy], tests: Collection[str] | None = None
) -> dict[str, Any]:
    """Return cells, means and means by model as matrix.json holds them.

    A cell holds model, test, part (`diagonal`, `off_diagonal`, None), accuracy, n, low, high,
    chance.

    Args:
        entries: by model and test.
        tests: all columns, where some have no entry here; None: those of the entries.
    """
    tests = {test for _, test in entries} if tests is None else tests
    cells = [
        {
            "model": model,
            "test": test,
            "part": part_of(model, test, tests),
            "accuracy": entry["accuracy"],
            "n": entry["n"],
            "low": entry["low"],
            "high": entry["high"],
            "chance": entry["chance"],
        }
        for (model, test), entry in entries.items()
    ]
    return {"cells": cells, "means": means(entries, tests), "by_model": means_by_model(entries)}


def control_json(
    summaries: Mapping[tuple[str, str], Mapping[str, Any]], name: str
) -> dict[str, Any]:
    """Return a control's matrix: as `matrix_json`, and per cell two numbers with low and high.

    ``gain`` is the accuracy of the rows it is possible for, minus the control's on the same rows;
    ``sensitivity`` the ``share`` of their answers that change (cells of before have none).
    """
    found = {cell: summary["controls"][name] for cell, summary in summaries.items()}
    matrix = matrix_json({cell: control["overall"] for cell, control in found.items()})
    for cell in matrix["cells"]:
        control = found[cell["model"], cell["test"]]
        cell["gain"] = {key: control["gain"][key] for key in ("gain", "low", "high")}
        if sensitivity := control.get("sensitivity"):
            cell["sensitivity"] = {key: sensitivity[key] for key in ("share", "low", "high")}
    return matrix


def by_field_json(
    cells: Iterable[tuple[tuple[str, str], Sequence[Prediction]]], by: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return field -> value -> a matrix, as `matrix_json`, of the rows that have the value.

    Rows without a field are ``unknown``, which comes last; a test of which no row has it is in none
    of the field's matrices.

    Args:
        cells: (model, test) and the answers to its rows as they stand in the data.
        by: fields that some rows have.
    """
    tests: dict[str, None] = {}
    found: dict[str, dict[str, dict[tuple[str, str], Accuracy]]] = {name: {} for name in by}
    for (model, test), rows in cells:
        tests[test] = None
        for name, values in by_fields(rows, _accuracy, by).get("by_field", {}).items():
            for value, entry in values.items():
                found[name].setdefault(value, {})[model, test] = entry
    return {
        name: {
            value: matrix_json(values[value], tests)
            for value in sorted(values, key=lambda value: (value == UNKNOWN, value))
        }
        for name, values in found.items()
    }


def _accuracy(rows: Sequence[Prediction]) -> Accuracy:
    return accuracy_on(rows, [item.correct for item in rows])


def described(model: AskedModel) -> dict[str, Any]:
    """Return what matrix.json says of a row."""
    card = read_card(model.directory)
    return {
        "model": model.checkpoint,
        "model_checksum": model.checksum,
        "method": card.get("method"),
        "step": card.get("step"),
        "mode": model.settings.mode,
    }
