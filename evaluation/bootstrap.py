"""Intervals of means whose rows are not independent: rows of one image are resampled together.

Several questions about one image are right or wrong together, so that n questions tell less than n
images would. The bootstrap draws whole images, as many as there are, with replacement.

Source: Efron and Tibshirani 1993 (percentile interval); Field and Welsh 2007 (cluster bootstrap).
"""

from collections.abc import Hashable, Sequence

import numpy as np

REPLICATES = 2000


def cluster_bootstrap(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval (low, high) of the mean of ``values``.

    Each replicate draws as many clusters as there are, with replacement, and takes the mean over
    all of their rows: sum of sums / sum of sizes, so that a large cluster weighs by its rows. Equal
    values give an interval of no width: read Wilson's beside it where all answers are right.

    Args:
        values: n finite numbers, 0 and 1 for wrong and right, or differences.
        clusters: n names; rows of one name stand and fall together, such as the image's path.
        confidence: share of the replicates inside the interval.
        replicates: draws; the ends move by about 1 % of the interval's width at 2,000.
        seed: the same seed, values and clusters give the same interval.

    Raises:
        ValueError: no values, another number of clusters, a value that is not finite, fewer than
            two clusters, confidence outside (0, 1), replicates below 1.

    >>> low, high = cluster_bootstrap([1, 1, 0, 0], ["a", "a", "b", "b"])
    >>> float(low), float(high)
    (0.0, 1.0)
    """
    sums, sizes = _cluster_sums(values, clusters)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} must lie between 0 and 1, such as 0.95")
    if replicates < 1:
        raise ValueError(f"{replicates} replicates make no interval: draw at least 1")
    rng = np.random.default_rng(seed)
    means = np.empty(replicates)
    for i in range(replicates):  # one at a time: memory does not grow with the replicates
        drawn = rng.integers(len(sums), size=len(sums))
        means[i] = sums[drawn].sum() / sizes[drawn].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def paired_cluster_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval (low, high) of mean(first) - mean(second), measured on the same rows.

    The rows' differences are resampled, so that what makes a question hard for both drops out.

    Raises:
        ValueError: two lengths; what `cluster_bootstrap` raises.
    """
    if len(first) != len(second):
        raise ValueError(
            f"{len(first)} and {len(second)} values are no pairs: measure both on the same rows"
        )
    differences = [one - other for one, other in zip(first, second, strict=True)]
    return cluster_bootstrap(
        differences, clusters, confidence=confidence, replicates=replicates, seed=seed
    )


def _cluster_sums(
    values: Sequence[float], clusters: Sequence[Hashable]
) -> tuple[np.ndarray, np.ndarray]:
    """Return each cluster's sum of values and number of rows, clusters in order of appearance."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values and {len(clusters)} clusters: pass one per row")
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"value {numbers[~np.isfinite(numbers)][0]} is not finite: leave it out")
    places: dict[Hashable, int] = {}
    where = np.array([places.setdefault(name, len(places)) for name in clusters], dtype=np.intp)
    if len(places) < 2:
        raise ValueError(
            f"{len(places)} clusters cannot be resampled: an interval needs at least 2 images"
        )
    return np.bincount(where, weights=numbers), np.bincount(where)
