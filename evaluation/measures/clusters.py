"""Rows that share an image, as one cluster: they are right or wrong together.

Several questions about one image tell less than as many questions about images of their own. What
follows for an interval stands in evaluation/measures/intervals.py.

Shapes: n rows, U clusters (images), S strata.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from data.grouping import components


def image_clusters(images: Sequence[Sequence[str]]) -> list[int]:
    """Return per row the number of its cluster, that of its first row: rows with an image in
    common, directly or through other rows. A row without images is a cluster of its own.

    Args:
        images: the names of each row's images, such as `Prediction.images`.

    >>> image_clusters([["a"], ["b"], ["a", "c"], [], ["c"], []])
    [0, 1, 0, 3, 0, 5]
    """
    clusters = [0] * len(images)
    for rows in components(images):
        for row in rows:
            clusters[row] = rows[0]
    return clusters


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
        cluster = np.array([places.setdefault(name, len(places)) for name in clusters])
        shape = (len(places), int(stratum.max()) + 1)
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (cluster, stratum), numbers)
        np.add.at(counts, (cluster, stratum), 1.0)
        distances = numbers - (sums.sum(axis=0) / counts.sum(axis=0))[stratum]
        # a mean of equal numbers may miss them by 1e-17
        distances[np.abs(distances) < 1e-12] = 0.0
        squares = np.bincount(stratum, weights=distances**2)
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
