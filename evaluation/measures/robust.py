"""Intervals of means over few images: a standard error that is robust to clusters, and Student's t.

Rows of one image are right or wrong together, so the images are what is counted. Resampling a dozen
of them draws too little: with 5 rows an image the percentile bootstrap's "95 %" held the truth in
75 % of trials with 3 images, 81 % with 5, 90 % with 10. With a standard error of U images

    error^2 = sum_u ( sum_s c_s sum over rows in u and s of (value - mean_s) / (S n_s) )^2
    c_s = sqrt(U_s / (U_s - 1))

the interval is mean -+ t error, where t is the quantile of Student's distribution with U - 1
degrees of freedom (fewer where the strata's own images are few: Satterthwaite's number). A share
gets Wilson's form of it, with p (1 - p) / error^2 for the number of rows, as its error depends on
the share itself. tests/evaluation/measures/test_coverage.py counts how often both hold the truth.

Source: Liang and Zeger 1986 (the error); Satterthwaite 1946; Wilson 1927, with an effective number
of rows as in Korn and Graubard 1998.

Shapes: n rows, U clusters (images), S strata.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from evaluation.measures.statistics import student_t_quantile, wilson_bounds


@dataclass(frozen=True)
class ClusteredRows:
    """The rows of a mean, summed up by cluster and stratum."""

    sums: np.ndarray  # (U, S) of the values
    counts: np.ndarray  # (U, S) rows
    squares: np.ndarray  # (S,) sums of squared distances from the stratum's mean

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        clusters: Sequence[Hashable],
        strata: Sequence[int] | None = None,
    ) -> "ClusteredRows":
        """Sum rows up; clusters stand in the order of their appearance.

        Args:
            values: n finite numbers.
            clusters: n names; rows of one name stand and fall together, such as the image's path.
            strata: n numbers from 0, each of which occurs; None: one stratum.

        Raises:
            ValueError: no values, other lengths, a value that is not finite.
        """
        if strata is None:
            strata = [0] * len(values)
        if not len(values) == len(clusters) == len(strata) or not len(values):
            raise ValueError(
                f"{len(values)} values, {len(clusters)} clusters and {len(strata)} strata: pass one"
                " of each per row, at least one row"
            )
        numbers, stratum = np.asarray(values, np.float64), np.asarray(strata, np.intp)
        if not np.isfinite(numbers).all():
            raise ValueError(
                f"value {numbers[~np.isfinite(numbers)][0]} is not finite: leave it out"
            )
        places: dict[Hashable, int] = {}
        cluster = np.array([places.setdefault(name, len(places)) for name in clusters], np.intp)
        shape = (len(places), int(stratum.max()) + 1)
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (cluster, stratum), numbers)
        np.add.at(counts, (cluster, stratum), 1.0)
        distances = numbers - (sums.sum(axis=0) / counts.sum(axis=0))[stratum]
        # a mean of equal numbers may miss them by 1e-17
        distances[np.abs(distances) < 1e-12] = 0.0
        squares = np.bincount(stratum, weights=distances**2, minlength=shape[1])
        return cls(sums, counts, squares)

    @property
    def means(self) -> np.ndarray:
        """(S,) of the strata."""
        return self.sums.sum(axis=0) / self.counts.sum(axis=0)

    @property
    def mean(self) -> float:
        """Of the strata's means: each stratum weighs the same."""
        return float(self.means.mean())

    @property
    def clusters_each(self) -> np.ndarray:
        """(S,) clusters that have rows in a stratum."""
        return (self.counts > 0).sum(axis=0)


def robust_interval(
    rows: ClusteredRows, *, share: bool, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval (low, high) of the mean; see the module's head.

    The error is never taken as smaller than that of independent rows: a few images that agree by
    chance are no evidence that images differ less than rows do. Where no row differs from its
    stratum's mean there is no error to measure, and `unseen_interval` is the answer.

    Args:
        rows: each stratum with two clusters or more.
        share: whether values lie between 0 and 1; else between -1 and 1, as differences do.
        confidence: inside (0, 1).
    """
    if not rows.squares.any():
        return unseen_interval(rows, share=share, confidence=confidence)
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
