"""Intervals of means whose rows are not independent: rows of one image are resampled together.

Several questions about one image are right or wrong together, so that n questions tell less than n
images would. The bootstrap draws whole images, as many as there are, with replacement. It wants
many of them: evaluation/measures/robust.py is for the others, evaluation/measures/clusters.py
chooses.

Source: Efron and Tibshirani 1993 (percentile interval); Field and Welsh 2007 (cluster bootstrap).

Shapes: U clusters (images), S strata, R resamples.
"""

from collections.abc import Hashable, Sequence

import numpy as np

from evaluation.measures.robust import ClusteredRows

RESAMPLES = 2000
_CHUNK = 50  # resamples drawn at once: bounds the memory of many thousand images


def cluster_bootstrap(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    strata: Sequence[int] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | tuple[None, None]:
    """Return the percentile interval (low, high) of the mean over strata of the strata's means.

    Each resample draws as many clusters as there are, with replacement, over all strata together,
    and takes the means anew over all of their rows: sum of sums / sum of sizes, so that a large
    cluster weighs by its rows. One in which a stratum has no row is left out; where these are more
    than half there is no interval.

    Args:
        values, clusters, strata: see `ClusteredRows.of`; of two clusters or more.
        confidence: share of the resamples inside the interval.
        resamples: R; the ends move by about 1 % of the interval's width at 2,000.
        seed: the same seed and rows give the same interval.

    Raises:
        ValueError: what `ClusteredRows.of` raises, fewer than two clusters, confidence outside
            (0, 1), resamples below 1.

    >>> cluster_bootstrap([1, 1, 0, 0], ["a", "a", "b", "b"])
    (0.0, 1.0)
    """
    rows = ClusteredRows.of(values, clusters, strata)
    count = len(rows.sums)
    if count < 2:
        raise ValueError(
            f"{count} clusters cannot be resampled: an interval needs at least 2 images"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} must lie between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"{resamples} resamples make no interval: draw at least 1")
    generator = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        draws = generator.multinomial(count, np.full(count, 1 / count), size=size)
        drawn = draws @ rows.counts  # (R, S) rows
        whole = (drawn > 0).all(axis=1)
        means.append(((draws @ rows.sums)[whole] / drawn[whole]).mean(axis=1))
    found = np.concatenate(means)
    if len(found) < resamples / 2:
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
