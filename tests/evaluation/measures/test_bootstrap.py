"""Bootstrap intervals against closed forms and every possible draw."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from evaluation.measures.clusters import ClusteredRows
from evaluation.measures.intervals import _resampled_means
from evaluation.measures.intervals import cluster_bootstrap as bootstrap


def test_rows_of_their_own_give_the_normal_interval():
    # 400 rows, 100 wrong: mean 0.75, standard error sqrt(0.75 * 0.25 / 400) = 0.02165
    values = [i % 4 != 0 for i in range(400)]
    low, high = bootstrap(values, range(400), resamples=4000)
    z = norm.ppf(0.975)
    assert low == pytest.approx(0.75 - z * 0.02165, abs=0.004)
    assert high == pytest.approx(0.75 + z * 0.02165, abs=0.004)


def test_four_copies_of_each_row_are_as_sure_as_one():
    values = [i % 4 != 0 for i in range(100)]
    once = bootstrap(values, range(100))
    copies = bootstrap([v for v in values for _ in range(4)], [i // 4 for i in range(400)])
    assert copies == pytest.approx(once)
    # taken as independent rows they look twice as sure: sqrt(4)
    alone = bootstrap([v for v in values for _ in range(4)], range(400))
    assert (once[1] - once[0]) / (alone[1] - alone[0]) == pytest.approx(2, rel=0.1)


def test_clusters_of_unequal_size_weigh_by_their_rows_worked_by_every_draw():
    # a: 3 rows, sum 3; b: 1 row, sum 0; c: 2 rows, sum 1: all 27 draws of 3 clusters
    sums, sizes = {"a": 3, "b": 0, "c": 1}, {"a": 3, "b": 1, "c": 2}
    means = [
        sum(sums[name] for name in draw) / sum(sizes[name] for name in draw)
        for draw in product("abc", repeat=3)
    ]
    values, clusters = [1, 1, 1, 0, 1, 0], ["a", "a", "a", "b", "c", "c"]
    low, high = bootstrap(values, clusters, confidence=0.6, resamples=20000)
    expected = np.quantile(np.repeat(means, 1000), [0.2, 0.8])
    assert (low, high) == pytest.approx(expected, abs=1e-9)


def test_strata_weigh_the_same_as_a_slow_bootstrap_does():
    generator = np.random.default_rng(0)
    deltas = generator.integers(-1, 2, 60).astype(float)
    clusters = [f"{i // 3}" for i in range(60)]
    strata = [int(i >= 30) for i in range(60)]
    fast = bootstrap(deltas, clusters, strata, resamples=4000)
    names = sorted(set(clusters))
    found = []
    for _ in range(1500):
        chosen = generator.choice(names, len(names))
        taken = [i for name in chosen for i in range(60) if clusters[i] == name]
        each = [[deltas[i] for i in taken if strata[i] == s] for s in (0, 1)]
        found.append(np.mean([np.mean(some) for some in each]))
    assert fast == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=0.03)


def test_a_draw_without_rows_of_a_stratum_is_none_and_too_many_of_them_are_no_interval():
    # eight strata of one row: nearly every draw leaves one empty
    assert bootstrap([1] * 7 + [0], "abcdefgh", range(8)) == (None, None)


@pytest.mark.parametrize(("resamples", "share_of_none"), [(2, 1 / 4), (7, 1 / 2)])
def test_there_is_no_interval_where_fewer_than_half_of_the_draws_are_whole(
    resamples, share_of_none
):
    # two strata of one row each: a draw of two clusters holds both in half of all cases, so
    # none of 2 does in 1/4, and at most 3 of 7 in 1/2; the std of a share of 400 is 0.025
    found = [bootstrap([1, 0], "ab", [0, 1], resamples=resamples, seed=i) for i in range(400)]
    assert {*found} == {(None, None), (0.5, 0.5)}
    assert found.count((None, None)) / 400 == pytest.approx(share_of_none, abs=0.1)


@pytest.mark.parametrize("resamples", [1, 50, 51, 120])
def test_as_many_means_are_drawn_as_are_asked_for(resamples):
    rows = ClusteredRows.of([1, 0, 1], "abc")
    assert len(_resampled_means(rows, resamples, seed=0)) == resamples
    low, high = bootstrap([1, 0, 1], "abc", resamples=resamples)
    assert 0 <= low <= high <= 1


def test_the_interval_depends_on_its_arguments_alone_and_the_seed_moves_it():
    values, clusters = [i**0.5 for i in range(60)], [i // 2 for i in range(60)]
    assert bootstrap(values, clusters) == bootstrap(values, clusters)
    assert bootstrap(values, clusters) != bootstrap(values, clusters, seed=1)
    names = [f"image-{cluster}" for cluster in clusters]
    assert bootstrap(values, names) == bootstrap(values, clusters)


@pytest.mark.parametrize(
    ("values", "clusters", "options", "message"),
    [
        ([], [], {}, "0 values, 0 clusters and 0 strata: .* at least one row"),
        ([1, 0], ["a", "a"], {}, "1 clusters cannot be resampled: .* at least 2 images"),
        ([1, 0], ["a"], {}, "2 values, 1 clusters and 2 strata: pass one of each per row"),
        ([1, float("nan")], ["a", "b"], {}, "value nan is not finite"),
        ([1, 0], ["a", "b"], {"confidence": 95}, "confidence 95 must lie between 0 and 1"),
        ([1, 0], ["a", "b"], {"confidence": 1.5}, "confidence 1.5 must"),
        ([1, 0], ["a", "b"], {"confidence": 1}, "confidence 1 must"),
        ([1, 0], ["a", "b"], {"confidence": 0}, "confidence 0 must"),
        ([1, 0], ["a", "b"], {"resamples": 0}, "0 resamples make no interval"),
    ],
)
def test_what_cannot_be_resampled_says_why(values, clusters, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(values, clusters, **options)
