"""Bootstrap intervals against closed forms and every possible draw, McNemar against SciPy."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, norm

from evaluation.bootstrap import cluster_bootstrap, paired_cluster_bootstrap
from evaluation.pairs import CHI_SQUARE, EXACT, mcnemar


def test_rows_of_their_own_give_the_normal_interval():
    # 400 rows, 100 wrong: mean 0.75, standard error sqrt(0.75 * 0.25 / 400) = 0.02165
    values = [i % 4 != 0 for i in range(400)]
    low, high = cluster_bootstrap(values, range(400), replicates=4000)
    z = norm.ppf(0.975)
    assert low == pytest.approx(0.75 - z * 0.02165, abs=0.004)
    assert high == pytest.approx(0.75 + z * 0.02165, abs=0.004)


def test_four_copies_of_each_row_are_as_sure_as_one():
    values = [i % 4 != 0 for i in range(100)]
    once = cluster_bootstrap(values, range(100))
    copies = cluster_bootstrap([v for v in values for _ in range(4)], [i // 4 for i in range(400)])
    assert copies == pytest.approx(once)
    # taken as independent rows they look twice as sure: sqrt(4)
    alone = cluster_bootstrap([v for v in values for _ in range(4)], range(400))
    assert (once[1] - once[0]) / (alone[1] - alone[0]) == pytest.approx(2, rel=0.1)


def test_clusters_of_unequal_size_weigh_by_their_rows_worked_by_every_draw():
    # a: 3 rows, sum 3; b: 1 row, sum 0; c: 2 rows, sum 1: all 27 draws of 3 clusters
    sums, sizes = {"a": 3, "b": 0, "c": 1}, {"a": 3, "b": 1, "c": 2}
    means = [
        sum(sums[name] for name in draw) / sum(sizes[name] for name in draw)
        for draw in product("abc", repeat=3)
    ]
    values, clusters = [1, 1, 1, 0, 1, 0], ["a", "a", "a", "b", "c", "c"]
    low, high = cluster_bootstrap(values, clusters, confidence=0.7, replicates=20000)
    expected = np.quantile(np.repeat(means, 1000), [0.15, 0.85])
    assert (low, high) == pytest.approx(expected, abs=1e-9)


def test_the_interval_depends_on_its_arguments_alone_and_the_seed_moves_it():
    values, clusters = [i**0.5 for i in range(60)], [i // 2 for i in range(60)]
    assert cluster_bootstrap(values, clusters) == cluster_bootstrap(values, clusters)
    assert cluster_bootstrap(values, clusters) != cluster_bootstrap(values, clusters, seed=1)
    names = [f"image-{cluster}" for cluster in clusters]
    assert cluster_bootstrap(values, names) == cluster_bootstrap(values, clusters)


def test_pairs_are_surer_than_their_sides_and_change_sign_with_them():
    # hard rows are wrong for both, the second fails on every tenth row more
    first = [i % 2 == 0 for i in range(200)]
    second = [right and i % 10 != 0 for i, right in enumerate(first)]
    low, high = paired_cluster_bootstrap(first, second, range(200))
    assert low <= 0.1 <= high
    # standard error of the differences: sqrt(0.1 * 0.9 / 200) = 0.0212
    assert high - low == pytest.approx(2 * 1.96 * 0.0212, rel=0.15)
    swapped = paired_cluster_bootstrap(second, first, range(200))
    assert swapped == pytest.approx((-high, -low))
    assert paired_cluster_bootstrap(first, first, range(200)) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "clusters", "options", "message"),
    [
        ([], [], {}, "0 clusters cannot be resampled"),
        ([1, 0], ["a", "a"], {}, "1 clusters cannot be resampled: .* at least 2 images"),
        ([1, 0], ["a"], {}, "2 values and 1 clusters: pass one per row"),
        ([1, float("nan")], ["a", "b"], {}, "value nan is not finite"),
        ([1, 0], ["a", "b"], {"confidence": 95}, "confidence 95 must lie between 0 and 1"),
        ([1, 0], ["a", "b"], {"replicates": 0}, "0 replicates make no interval"),
    ],
)
def test_what_cannot_be_resampled_says_why(values, clusters, options, message):
    with pytest.raises(ValueError, match=message):
        cluster_bootstrap(values, clusters, **options)


def test_pairs_need_two_equal_lengths():
    with pytest.raises(ValueError, match="2 and 1 values are no pairs"):
        paired_cluster_bootstrap([1, 0], [1], ["a", "b"])
    with pytest.raises(ValueError, match="2 and 1 answers are no pairs"):
        mcnemar([True, False], [True])
    with pytest.raises(ValueError, match="0 and 0 answers are no pairs"):
        mcnemar([], [])


def answers(both, first_only, second_only, neither):
    first = [True] * (both + first_only) + [False] * (second_only + neither)
    second = [True] * both + [False] * first_only + [True] * second_only + [False] * neither
    return first, second


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (6, 1), (5, 5), (3, 20), (24, 0)])
def test_few_discordant_pairs_are_tested_exactly_as_scipy_does(b, c):
    result = mcnemar(*answers(7, b, c, 4))
    assert (result.first_only, result.second_only) == (b, c)
    assert (result.test, result.statistic) == (EXACT, None)
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert result.p_value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(25, 0), (13, 13), (20, 10), (121, 59), (300, 301)])
def test_many_are_tested_by_the_corrected_chi_square(b, c):
    result = mcnemar(*answers(70, b, c, 4))
    # (121, 59): (62 - 1)^2 / 180 = 20.67, the textbook's example of Edwards' correction
    statistic = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    assert (result.test, result.statistic) == (CHI_SQUARE, pytest.approx(statistic))
    assert result.p_value == pytest.approx(chi2.sf(statistic, 1), rel=1e-9)


def test_rows_on_which_both_agree_change_nothing():
    alone, among = mcnemar(*answers(0, 6, 1, 0)), mcnemar(*answers(500, 6, 1, 300))
    assert alone == among
    assert alone.p_value == 0.125  # 2 (1 + 7) / 2^7
