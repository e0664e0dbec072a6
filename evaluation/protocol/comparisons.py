"""Two methods on the same test rows: differences, intervals, and McNemar where a row occurs once.

McNemar's test takes every pair as a row of its own. Over the off-diagonal cells of a whole matrix
each test row is answered by several checkpoints, so the test stands where a row occurs once only:
on the diagonal, and per train slice. Intervals are drawn by image everywhere.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval
from evaluation.measures.matrices import RESAMPLES, AnsweredRow, Answers, part_differences, part_of
from evaluation.measures.pairs import mcnemar


def compare_answers(
    first: Answers, second: Answers, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Return first minus second.

        diagonal, off_diagonal   as `matrices.part_differences`; the diagonal with ``mcnemar``
        by_train                 train slice -> own, others: see `compare_rows`, None without cells

    Args:
        first, second: answers of the cells; those that only one of them has are left out.
        resamples: of every bootstrap.

    Raises:
        ValueError: the two were not asked the same rows in the same order.
    """
    common = [cell for cell in first if cell in second]
    first, second = ({cell: one[cell] for cell in common} for one in (first, second))
    if not common:
        return {"diagonal": None, "off_diagonal": None, "by_train": {}}
    tests = {test for _, test in common}
    found = part_differences(first, second, resamples=resamples)
    parts: dict[str, Any] = {name: part and dict(part) for name, part in found.items()}
    if parts["diagonal"] is not None:
        own = [cell for cell in common if part_of(*cell, tests) == "diagonal"]
        pairs = [_joined(answers, own) for answers in (first, second)]
        parts["diagonal"]["mcnemar"] = _mcnemar(*pairs)
    by_train = {}
    for train in dict.fromkeys(train for train, _ in common):
        own = [(train, test) for test in tests if (train, test) in first and test == train]
        others = [cell for cell in common if cell[0] == train and cell[1] != train]
        by_train[train] = {
            name: compare_rows(_joined(first, cells), _joined(second, cells), resamples=resamples)
            for name, cells in (("own", own), ("others", others))
        }
    return {**parts, "by_train": by_train}


def compare_rows(
    first: Sequence[AnsweredRow], second: Sequence[AnsweredRow], *, resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Return {difference, low, high, n, images, mcnemar} of rows that occur once each.

    Row-weighted; ``low`` and ``high`` are None where all rows share one image; None of no rows.
    """
    if not first:
        return None
    correct = [[row.correct for row in rows] for rows in (first, second)]
    clusters = image_clusters([row.images for row in first])
    deltas = [int(one) - int(other) for one, other in zip(*correct, strict=True)]
    low, high = image_interval(deltas, clusters, share=False, resamples=resamples)
    return {
        "difference": (sum(correct[0]) - sum(correct[1])) / len(first),
        "low": low,
        "high": high,
        "n": len(first),
        "images": len(set(clusters)),
        "mcnemar": _mcnemar(first, second),
    }


def _mcnemar(first: Sequence[AnsweredRow], second: Sequence[AnsweredRow]) -> dict[str, Any]:
    return asdict(mcnemar(*([row.correct for row in rows] for rows in (first, second))))


def _joined(answers: Answers, cells: Sequence[tuple[str, str]]) -> list[AnsweredRow]:
    return [row for cell in cells for row in answers[cell]]
