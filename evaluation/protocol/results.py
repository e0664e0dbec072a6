"""protocol.json: every number of a protocol, from the cells that are there.

complete, missing     whether all runs and cells are there, and the names of those that are not
protocol              the settings, as the TOML file gives them
versions, machine     what wrote the file
runs                  per arm that is trained: steps, checksums of weights and of its examples
axes.<axis>
    zero_shot.<mode>           a matrix of one row, the start model
    methods.<method>.<seed>    a matrix: cells, means, blank_means, visual_gain
    differences                two methods with the first seed, see `comparisons.compare_answers`
    over_zero_shot             a method minus the start model in the method's mode
    seeds.<method>             spread over seeds, on the slices that all seeds were run on
    text_priors                per train and test slice, what the text alone reaches
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from evaluation.cells import Cell
from evaluation.matrix import Matrix
from evaluation.matrix_json import matrix_json
from evaluation.measures.matrices import (
    MATRIX_PARTS,
    RESAMPLES,
    AnsweredRow,
    Answers,
    CellNumbers,
    means,
    part_differences,
    spread,
)
from evaluation.measures.sensitivity import mean_by_part
from evaluation.protocol.comparisons import compare_answers, compare_rows
from evaluation.protocol.protocol_file import AxisPlan, ProtocolConfig, mode_of

BASE = "base"  # the row of the start model: no slice's name


@dataclass(frozen=True)
class CellResult:
    """What one cell says."""

    summary: Mapping[str, Any]
    rows: Sequence[AnsweredRow]
    blank: Sequence[AnsweredRow]  # the same rows with blank images


Grid = Mapping[tuple[str, str], CellResult]  # (train slice or BASE, test slice) -> cell


@dataclass(frozen=True)
class AxisResults:
    """The cells of one axis that are there."""

    zero_shot: Mapping[str, Grid]  # mode -> one row
    methods: Mapping[str, Mapping[int, Grid]]  # method -> seed -> rows of the train slices


def read_grid(matrix: Matrix) -> dict[tuple[str, str], CellResult]:
    """Return the cells of a matrix that are done."""
    cells = [matrix.cell(model, test) for model in matrix.models for test in matrix.tests]
    return {(cell.model, cell.test): _read(cell) for cell in cells if cell.is_done()}


def _read(cell: Cell) -> CellResult:
    return CellResult(cell.read_summary(), cell.read_rows(), cell.read_rows("blank"))


def axis_json(
    config: ProtocolConfig, axis: AxisPlan, found: AxisResults, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Return one axis of protocol.json."""
    first = config.seeds[0]
    grids = {method: seeds[first] for method, seeds in found.methods.items() if first in seeds}
    return {
        "slices": list(axis.slices),
        "train_slices": list(axis.train_slices),
        "repeat_slices": list(axis.repeat_slices),
        "zero_shot": {
            mode: grid_json(grid, resamples=resamples) for mode, grid in found.zero_shot.items()
        },
        "methods": {
            method: {str(seed): grid_json(grid, resamples=resamples) for seed, grid in of.items()}
            for method, of in found.methods.items()
        },
        "differences": [
            {"first": one, "second": other, "seed": first}
            | compare_answers(answers(grids[one]), answers(grids[other]), resamples=resamples)
            for one, other in combinations(grids, 2)
        ],
        "over_zero_shot": [
            {"first": method, "second": f"zero-shot {mode}", "seed": first}
            | compare_answers(
                answers(grid), spread_out(found.zero_shot[mode], grid), resamples=resamples
            )
            for method, grid in grids.items()
            if (mode := mode_of(method)) in found.zero_shot
        ],
        "seeds": (seeds := seeds_json(found.methods)),
        "seed_differences": seed_differences(seeds),
        "text_priors": priors_json(list(grids.values())),
    }


def grid_json(grid: Grid, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return a matrix: its cells, their means, those of the blank control, the visual gain.

    ``visual_gain`` has the parts of `part_differences`, and ``all``, over every row of the matrix
    where each is answered once (the start model's), else None. ``image_sensitivity`` is the mean of
    the cells' shares of answers that change under blank images, by part, where all have one.
    """
    if not grid:
        return {"cells": [], "means": {}, "by_model": {}, "blank_means": {}, "visual_gain": {}}
    matrix = matrix_json({cell: result.summary["overall"] for cell, result in grid.items()})
    for entry in matrix["cells"]:
        entry |= _cell_extras(grid[entry["model"], entry["test"]].summary)
    blind = answers(grid, blank=True)
    seen = {cell: _asked_blind(rows, blind[cell]) for cell, rows in answers(grid).items()}
    gain: dict[str, Any] = dict(part_differences(seen, blind, resamples=resamples))
    once = {model for model, _ in grid} == {BASE}
    sensitivity = mean_by_part(matrix["cells"])
    joined = [[row for rows in one.values() for row in rows] for one in (seen, blind)]
    gain["all"] = compare_rows(*joined, resamples=resamples) if once else None
    found = {**matrix, "blank_means": means(blank_entries(grid)), "visual_gain": gain}
    return found | ({"image_sensitivity": sensitivity} if sensitivity else {})


def _asked_blind(rows: Sequence[AnsweredRow], blind: Sequence[AnsweredRow]) -> list[AnsweredRow]:
    """Return the rows that were asked with blank images, too: those that have an image."""
    ids = {row.id for row in blind}
    return [row for row in rows if row.id in ids]


def _cell_extras(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cell has beside its accuracy."""
    overall, blank = summary["overall"], summary["controls"]["blank"]["overall"]
    gain = summary["visual_gain"]
    extras = {
        "blank": {name: blank[name] for name in ("accuracy", "low", "high")},
        "visual_gain": {name: gain[name] for name in ("gain", "low", "high")},
        "well_formed": overall["well_formed"],
        "completion_tokens": overall["completion_tokens"],
    }
    if sensitivity := summary["controls"]["blank"].get("sensitivity"):  # cells of before have none
        extras["image_sensitivity"] = {name: sensitivity[name] for name in ("share", "low", "high")}
    for name in ("images", "image_low", "image_high"):  # only where rows share images
        if name in overall:
            extras[name] = overall[name]
    if "text_priors" in summary:
        wrong = {k: v["model_where_wrong"] for k, v in summary["text_priors"].items()}
        extras["where_prior_wrong"] = {
            name: entry and {key: entry[key] for key in ("accuracy", "n")}
            for name, entry in wrong.items()
        }
    return extras


def answers(grid: Grid, *, blank: bool = False) -> Answers:
    """Return the grid's rows, as they were asked or with blank images."""
    return {cell: result.blank if blank else result.rows for cell, result in grid.items()}


def blank_entries(grid: Grid) -> dict[tuple[str, str], CellNumbers]:
    """Return the blank control's entries."""
    return {cell: result.summary["controls"]["blank"]["overall"] for cell, result in grid.items()}


def spread_out(base: Grid, like: Grid) -> Answers:
    """Return the start model's answers in every cell of another grid: its row, once per row."""
    return {cell: base[BASE, cell[1]].rows for cell in like if (BASE, cell[1]) in base}


def seeds_json(methods: Mapping[str, Mapping[int, Grid]]) -> dict[str, Any]:
    """Return per method and part the spread of macro accuracy and visual gain over seeds.

    Only the cells that every seed has count, so that the seeds differ in nothing else.
    """
    table: dict[str, Any] = {}
    for method, seeds in methods.items():
        common = set.intersection(*(set(grid) for grid in seeds.values())) if seeds else set()
        kept = [cell for cell in next(iter(seeds.values()), {}) if cell in common]
        if len(seeds) < 2 or not kept:
            continue
        seen = {s: means({c: g[c].summary["overall"] for c in kept}) for s, g in seeds.items()}
        blind = {s: means(blank_entries({c: g[c] for c in kept})) for s, g in seeds.items()}
        table[method] = {
            "seeds": list(seeds),
            "slices": list(dict.fromkeys(train for train, _ in kept)),
            "cells": [list(cell) for cell in kept],
        }
        for part in MATRIX_PARTS:
            table[method][part] = _part_over_seeds(
                *([one[part] for one in of.values()] for of in (seen, blind))
            )
    return table


def _part_over_seeds(
    seen: Sequence[Mapping[str, Any] | None], blind: Sequence[Mapping[str, Any] | None]
) -> dict[str, Any] | None:
    """Return what `seeds_json` says of a part, from its means per seed; None of no cells."""
    accuracy = [one["macro"] for one in seen if one is not None]
    blank = [one["macro"] for one in blind if one is not None]
    if not accuracy:
        return None
    gain = [one - other for one, other in zip(accuracy, blank, strict=True)]
    return {
        "accuracy": spread(accuracy),
        "visual_gain": spread(gain),
        "accuracies": accuracy,  # in the order of seeds
    }


def seed_differences(seeds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return per pair of methods the spread over seeds of their difference in macro accuracy.

    Args:
        seeds: as `seeds_json` returns it; pairs of other seeds or cells are left out.
    """
    found = []
    for one, other in combinations(seeds, 2):
        first, second = seeds[one], seeds[other]
        if any(first[key] != second[key] for key in ("seeds", "cells")):
            continue
        entry: dict[str, Any] = {"first": one, "second": other}
        for part in MATRIX_PARTS:
            entry[part] = None
            if first[part] and second[part]:
                pairs = zip(first[part]["accuracies"], second[part]["accuracies"], strict=True)
                entry[part] = spread([a - b for a, b in pairs])
        found.append(entry)
    return found


def priors_json(grids: Sequence[Grid]) -> list[dict[str, Any]]:
    """Return per train and test slice the accuracy of each text prior fitted on the train rows."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for grid in grids:
        for (train, test), result in grid.items():
            for name, entry in result.summary.get("text_priors", {}).items():
                place = rows.setdefault((train, test), {"train": train, "test": test})
                place[name] = entry["prior"]["accuracy"]
    return list(rows.values())
