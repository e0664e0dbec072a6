"""The interval of a mean by image: rows that share one stand and fall together.

Rows of one image are right or wrong together, so the images are what is counted. With few of them
the interval is Student's with a standard error that is robust to clusters; of U images

    error^2 = sum_u ( sum_s c_s sum over rows in u and s of (value - mean_s) / (S n_s) )^2
    c_s = sqrt(U_s / (U_s - 1))

it is mean -+ t error, where t is the quantile of Student's distribution with U - 1 degrees of
freedom (fewer where the strata's own images are few: Satterthwaite's number). A share gets Wilson's
form of it, with p (1 - p) / error^2 for the number of rows, as its error depends on the share
itself. With many images the bootstrap draws whole images, as many as there are, with replacement.
Resampling a dozen draws too little: with 5 rows an image its percentile interval, a "95 %", held
the truth in 75 % of trials with 3 images, 81 % with 5, 90 % with 10.
tests/evaluation/measures/test_coverage.py counts how often each holds it.

Source: Liang and Zeger 1986 (the error); Satterthwaite 1946; Wilson 1927, with an effective number
of rows as in Korn and Graubard 1998; Efron and Tibshirani 1993 (percentile interval); Field and
Welsh 2007 (cluster bootstrap).

Shapes: U clusters (images), S strata, R resamples.
"""

from collections.abc import Hashable, Sequence
from math import sqrt

import numpy as np

from evaluation.measures.clusters import ClusteredRows
from evaluation.measures.statistics import student_t_quantile, wilson_bounds

RESAMPLES = 2000
_CHUNK = 50  # resamples drawn at once: bounds the memory of many thousand images

# Up to so many images a stratum the interval is Student's, beyond it the bootstrap's, which needs
# no form of the distribution but falls short with few images: 0.92 of a "95 %" with 20.
FEW_IMAGES = 50


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
    rows = ClusteredRows.of(values, clusters, strata)
    fewest = int(rows.clusters_each.min())
    if fewest < 2:
        return None, None
    if not rows.squares.any():
        return unseen_interval(rows, share=share, confidence=confidence)
    if fewest <= FEW_IMAGES:
        return robust_interval(rows, share=share, confidence=confidence)
    return cluster_bootstrap(
        values, clusters, strata, confidence=confidence, resamples=resamples, seed=seed
    )


def robust_interval(
    rows: ClusteredRows, *, share: bool, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval (low, high) of the mean; see the module's head.

    The error is never taken as smaller than that of independent rows: a few images that agree by
    chance are no evidence that images differ less than rows do.

    Args:
        rows: each stratum with two clusters or more; some row differs from its stratum's mean, as
            else there is no error to measure, and `unseen_interval` is the answer.
        share: whether values lie between 0 and 1; else between -1 and 1, as differences do.
        confidence: inside (0, 1).
    """
    (num_clusters, num_strata), n, each = (
        rows.sums.shape,
        rows.counts.sum(axis=0),
        rows.clusters_each,
    )
    influence = (rows.sums - rows.means * rows.counts) / (n * num_strata)  # (U, S)
    influence *= np.sqrt(each / (each - 1))
    variance = float((influence.sum(axis=1) ** 2).sum())
    parts = (influence**2).sum(axis=0)  # (S,) each stratum's, as if no cluster had rows in another
    freedom = num_clusters - 1
    if parts.any():
        freedom = min(freedom, variance**2 / float((parts**2 / (each - 1)).sum()))
    independent = float((rows.squares / (n * (n - 1))).sum()) / num_strata**2
    error = sqrt(max(variance, independent))
    t = student_t_quantile(max(int(freedom), 1), confidence=confidence)
    mean = rows.mean
    if share:
        return wilson_bounds(mean, mean * (1 - mean) / error**2, t)
    return max(mean - t * error, -1.0), min(mean + t * error, 1.0)


def unseen_interval(
    rows: ClusteredRows, *, share: bool, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a mean from which no row differs: all right, all wrong, all the same.

    Of clusters that are otherwise there may be a share q that none of the U seen ones belongs to.
    The greatest q that is not refuted is exact: (1 - q)^U = (1 - confidence) / 2. Rows of those
    would be anything between the least and the greatest possible value.

    >>> rows = ClusteredRows.of([1] * 10, list("aabbccddee"))  # ten answers about five images
    >>> low, high = unseen_interval(rows, share=True)
    >>> round(low, 3), high  # (1 - 0.522)^5 = 0.025
    (0.478, 1.0)
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / rows.clusters_each)  # (S,)
    least = 0.0 if share else -1.0
    low = rows.means - unseen * (rows.means - least)
    high = rows.means + unseen * (1.0 - rows.means)
    return float(low.mean()), float(high.mean())


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
    means = _resampled_means(rows, resamples, seed)
    if len(means) < resamples / 2:
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _resampled_means(rows: ClusteredRows, resamples: int, seed: int) -> np.ndarray:
    """Return the mean of each resample that has a row in every stratum, R of them or fewer."""
    count = len(rows.sums)
    generator = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        draws = generator.multinomial(count, np.full(count, 1 / count), size=size)  # (R, U)
        drawn = draws @ rows.counts  # (R, S) rows
        whole = (drawn > 0).all(axis=1)  # (R,)
        means.append(((draws @ rows.sums)[whole] / drawn[whole]).mean(axis=1))
    return np.concatenate(means)
