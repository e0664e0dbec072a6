"""matrix.json: the cells of a matrix, their means, and what their rows are."""

from collections.abc import Mapping
from typing import Any

from evaluation.asking.asked_model import AskedModel
from evaluation.measures.matrices import means, means_by_model, part_of
from evaluation.measures.summary import Accuracy
from grpo.settings.card import read_card


def matrix_json(entries: Mapping[tuple[str, str], Accuracy]) -> dict[str, Any]:
    """Return cells, means and means by model as matrix.json holds them.

    A cell holds model, test, part (`diagonal`, `off_diagonal`, None), accuracy, n, low, high,
    chance.
    """
    tests = {test for _, test in entries}
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
    return {"cells": cells, "means": means(entries), "by_model": means_by_model(entries)}


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
