"""Rows that share an image, as one cluster: what an interval by image resamples."""

from collections.abc import Sequence

from evaluation.bootstrap import cluster_bootstrap


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
    values: Sequence[float], clusters: Sequence[int]
) -> tuple[float | None, float | None]:
    """Return the 95 % interval by image of a mean, or (None, None) of a single cluster."""
    if len(set(clusters)) < 2:
        return None, None
    return cluster_bootstrap(values, clusters)
