"""The maths of a train x test matrix: means on and off the diagonal, differences of two methods.

A cell is one checkpoint on one test file. It lies on the diagonal where both are of one slice. Two
means are told apart wherever several cells are summed up:

    macro           every cell weighs the same
    row_weighted    every answered row weighs the same

A difference of two methods is paired: both answered the same test rows. Its interval is one by
image (evaluation/measures/intervals.py): rows that show one image, and the answers of several
checkpoints to one row, stand and fall together.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import TypedDict

from evaluation.measures.clusters import ClusteredRows, image_clusters
from evaluation.measures.intervals import RESAMPLES, image_interval
from evaluation.measures.statistics import chance_level

MATRIX_PARTS = ("diagonal", "off_diagonal")


@dataclass(frozen=True)
class AnsweredRow:
    """One answered test row, as a difference needs it."""

    id: str
    images: tuple[str, ...]  # rows that share one stand and fall together
    correct: bool


class CellNumbers(TypedDict):
    """What a mean takes from a cell's entry; an entry may hold more."""

    accuracy: float
    n: int
    chance: float | None


class Means(TypedDict):
    """The means over some cells of a matrix."""

    macro: float
    row_weighted: float
    # Of the cells' chance, every cell the same; None where a cell has none.
    chance_macro: float | None
    n: int
    cells: int


class ModelMeans(TypedDict):
    """What one model reaches on its own slice and on the tests of the others."""

    own: float | None  # accuracy; None where there is no such test
    others: Means | None


class MeanDifference(TypedDict):
    """A mean difference with its 95 % interval, None where nothing can be said."""

    difference: float
    low: float | None
    high: float | None


class PartDifference(TypedDict):
    """First minus second over the cells of one part of a matrix."""

    macro: MeanDifference
    row_weighted: MeanDifference
    n: int  # answered rows of one method
    images: int
    cells: int


class Spread(TypedDict):
    """How far one number lies apart over seeds."""

    mean: float
    std: float | None  # ddof 1; None of one value
    min: float
    max: float
    seeds: int


Cells = Mapping[tuple[str, str], CellNumbers]  # (model, test) -> an entry of a summary
Answers = Mapping[tuple[str, str], Sequence[AnsweredRow]]  # (model, test) -> the rows of a cell


def part_of(model: str, test: str, tests: Iterable[str]) -> str | None:
    """Return `diagonal`, `off_diagonal`, or None for a model that is no slice of the tests'.

    Such a model (the base) was trained on none of the slices: it counts in neither mean.
    """
    if model == test:
        return "diagonal"
    return "off_diagonal" if model in set(tests) else None


def means(cells: Cells, tests: Collection[str] | None = None) -> dict[str, Means | None]:
    """Return the means of a matrix: diagonal, off_diagonal and all; None without such a cell.

    Args:
        cells: the matrix.
        tests: all columns, where some have no cells here; None: those of the cells.
    """
    tests = {test for _, test in cells} if tests is None else tests
    parts: dict[str, list[CellNumbers]] = {name: [] for name in MATRIX_PARTS}
    for (model, test), entry in cells.items():
        part = part_of(model, test, tests)
        if part is not None:
            parts[part].append(entry)
    parts["all"] = list(cells.values())
    return {name: _mean(entries) if entries else None for name, entries in parts.items()}


def means_by_model(cells: Cells) -> dict[str, ModelMeans]:
    """Return per model the accuracy on its own slice and the means over the other tests."""
    tests = list(dict.fromkeys(test for _, test in cells))
    table: dict[str, ModelMeans] = {}
    for model in dict.fromkeys(model for model, _ in cells):
        others = [cells[model, test] for test in tests if test != model and (model, test) in cells]
        own = cells.get((model, model))
        table[model] = {
            "own": own["accuracy"] if own else None,
            "others": _mean(others) if others else None,
        }
    return table


def _mean(entries: Sequence[CellNumbers]) -> Means:
    n = sum(entry["n"] for entry in entries)
    return {
        "macro": sum(entry["accuracy"] for entry in entries) / len(entries),
        "row_weighted": sum(entry["accuracy"] * entry["n"] for entry in entries) / n,
        "chance_macro": chance_level([entry["chance"] for entry in entries]),
        "n": n,
        "cells": len(entries),
    }


def part_differences(
    first: Answers, second: Answers, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, PartDifference | None]:
    """Return first minus second, on and off the diagonal, with 95 % intervals over test rows.

    A part is None where the matrices have no such cell.

    Args:
        first, second: the same cells with the same rows in the same order.
        seed, resamples: see `image_interval`.

    Raises:
        ValueError: the two do not hold the same cells or rows; the first difference is named.
    """
    _check_paired(first, second)
    tests = {test for _, test in first}
    results: dict[str, PartDifference | None] = {}
    for part in MATRIX_PARTS:
        cells = [cell for cell in first if part_of(*cell, tests) == part]
        results[part] = None
        if cells:
            results[part] = _difference(cells, first, second, seed=seed, resamples=resamples)
    return results


def _difference(
    cells: Sequence[tuple[str, str]],
    first: Answers,
    second: Answers,
    *,
    seed: int,
    resamples: int,
) -> PartDifference:
    rows = [row for cell in cells for row in first[cell]]
    deltas = [
        int(a.correct) - int(b.correct)
        for cell in cells
        for a, b in zip(first[cell], second[cell], strict=True)
    ]
    images = image_clusters([row.images for row in rows])
    cell_of_row = [number for number, cell in enumerate(cells) for _ in first[cell]]

    def over(strata: Sequence[int]) -> MeanDifference:
        return paired_interval(deltas, images, strata, seed=seed, resamples=resamples)

    return {
        "macro": over(cell_of_row),
        "row_weighted": over([0] * len(rows)),
        "n": len(rows),
        "images": len(set(images)),
        "cells": len(cells),
    }


def paired_interval(
    deltas: Sequence[float],
    clusters: Sequence[Hashable],
    strata: Sequence[int],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> MeanDifference:
    """Return the mean over strata of the strata's mean delta, with its interval.

        difference = 1/S sum_s ( sum of deltas in s / rows in s )

    The arguments, and when low and high are None, are those of `image_interval`.
    """
    low, high = image_interval(
        deltas, clusters, strata, share=False, seed=seed, resamples=resamples
    )
    return {
        "difference": ClusteredRows.of(deltas, clusters, strata).mean,
        "low": low,
        "high": high,
    }


def spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation, least and greatest of one value per seed.

    >>> spread([0.5, 0.6, 0.7])["mean"], round(spread([0.5, 0.6, 0.7])["std"], 6)
    (0.6, 0.1)
    """
    return {
        "mean": sum(values) / len(values),
        "std": stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
        "seeds": len(values),
    }


def _check_paired(first: Answers, second: Answers) -> None:
    if set(first) != set(second):
        odd = sorted(set(first) ^ set(second))[0]
        raise ValueError(
            f"the two matrices do not hold the same cells ({odd[0]} on {odd[1]} is in one of them"
            " only): evaluate the same checkpoints' slices on the same files"
        )
    for model, test in first:
        ids = [[row.id for row in answers[model, test]] for answers in (first, second)]
        if ids[0] != ids[1]:
            raise ValueError(
                f"{model} on {test} was not asked the same questions by both methods: evaluate"
                " with the same files, --limit and --seed"
            )
