"""Rows that share an image, as one cluster, and the interval by image that follows."""

from collections.abc import Hashable, Sequence

import numpy as np

from evaluation.measures.bootstrap import RESAMPLES, cluster_bootstrap
from evaluation.measures.robust import ClusteredRows, robust_interval, unseen_interval

# Up to so many images a stratum the interval is Student's, beyond it the bootstrap's, which needs
# no form of the distribution but falls short with few images: 0.92 of a "95 %" with 20.
FEW_IMAGES = 50


def image_clusters(images: Sequence[Sequence[str]]) -> list[int]:
    """Return per row the number of its cluster: rows with an image in common, directly or through
    other rows. A row without images is a cluster of its own.

    Args:
        images: the names of each row's images, such as `Prediction.images`.

    >>> image_clusters([["a"], ["b"], ["a", "c"], [], ["c"], []])
    [0, 1, 0, 3, 0, 5]
    """
    parents = list(range(len(images)))  # a row's parent stands before it or is itself

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = row = parents[parents[row]]  # shortens the path for the next time
        return row

    first_row: dict[str, int] = {}
    for row, names in enumerate(images):
        for name in names:
            one, other = sorted((root(row), root(first_row.setdefault(name, row))))
            parents[other] = one
    return [root(row) for row in range(len(images))]


def image_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    strata: Sequence[int] | None = None,
    *,
    share: bool | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | tuple[None, None]:
    """Return the interval (low, high) of a mean by image: of the strata's means, where given.

    (None, None) where nothing can be said: a stratum, or all rows, share one image.

    Args:
        values: n finite numbers: shares (0 and 1 for wrong and right), or differences of such.
        clusters: n names, such as `image_clusters` gives.
        strata: n numbers from 0; the mean is that of their means. None: of all rows.
        share: whether values can only lie between 0 and 1; False: between -1 and 1, as differences
            do. It decides the interval's form and reach. None: shares, unless one is negative; so
            whoever has differences says False.
        confidence, resamples, seed: of the interval, and of the bootstrap where it is one.

    Raises:
        ValueError: no values, other lengths, a value that is not finite or out of range.

    >>> low, high = image_interval([0, 0, 0], "abc")  # all wrong: three images tell little
    >>> round(low, 3), round(high, 3)
    (0.0, 0.708)
    """
    numbers = np.asarray(values, dtype=np.float64)
    if share is None:
        share = not (numbers < 0).any()
    least = 0 if share else -1
    if len(numbers) and not least <= numbers.min() <= numbers.max() <= 1:
        raise ValueError(
            f"values from {numbers.min():g} to {numbers.max():g} are no"
            f" {'shares' if share else 'differences of shares'}, {least} to 1"
        )
    rows = ClusteredRows.of(numbers, clusters, strata)
    fewest = int(rows.clusters_each.min())
    if fewest < 2:
        return None, None
    if not rows.squares.any():
        return unseen_interval(rows, share=share, confidence=confidence)
    if fewest <= FEW_IMAGES:
        return robust_interval(rows, share=share, confidence=confidence)
    return cluster_bootstrap(
        numbers, clusters, strata, confidence=confidence, resamples=resamples, seed=seed
    )
