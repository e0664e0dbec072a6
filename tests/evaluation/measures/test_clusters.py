"""Rows summed up by image and stratum, worked by hand."""

import numpy as np
import pytest

from evaluation.measures.clusters import ClusteredRows, image_clusters


def test_rows_with_an_image_in_common_are_one_cluster_named_by_its_first_row():
    images = [["a"], ["b"], ["a", "c"], [], ["c"], []]
    assert image_clusters(images) == [0, 1, 0, 3, 0, 5]
    assert image_clusters([["a"], ["b"], ["b", "a"]]) == [0, 0, 0]  # joined by a later row
    assert image_clusters([]) == []


def test_sums_counts_and_means_worked_by_hand():
    # stratum 0: images x, y, x of 1, 0, 0.5; stratum 1: images z, x of 1, 0
    rows = ClusteredRows.of([1, 0, 1, 0.5, 0], ["x", "y", "z", "x", "x"], [0, 0, 1, 0, 1])
    assert rows.sums.tolist() == [[1.5, 0], [0, 0], [0, 1]]  # in the order x, y, z
    assert rows.counts.tolist() == [[2, 1], [1, 0], [0, 1]]
    assert rows.means.tolist() == [0.5, 0.5]
    assert rows.squares.tolist() == [0.25 + 0.25 + 0, 0.25 + 0.25]
    assert rows.clusters_each.tolist() == [2, 2]
    assert rows.mean == 0.5


def test_strata_weigh_the_same_in_the_mean_whatever_their_rows():
    assert ClusteredRows.of([1, 1, 1, 0], "abcd", [0, 0, 0, 1]).mean == 0.5
    assert ClusteredRows.of([1, 1, 1, 0], "abcd").mean == 0.75


def test_wrong_and_right_may_say_which_stratum_a_row_is_of():
    by_truth = ClusteredRows.of([1, 0, 1], "abc", [True, False, True])
    by_number = ClusteredRows.of([1, 0, 1], "abc", [1, 0, 1])
    assert np.array_equal(by_truth.sums, by_number.sums)
    assert by_truth.sums.shape == (3, 2)


@pytest.mark.parametrize(
    ("values", "clusters", "strata"), [([1], "ab", None), ([1, 0], "ab", [0]), ([], "", None)]
)
def test_what_is_not_one_of_each_per_row_is_refused(values, clusters, strata):
    with pytest.raises(ValueError, match=r"pass one of each per row, at least one row$"):
        ClusteredRows.of(values, clusters, strata)
