"""Intervals of few images: worked by hand, against SciPy and slow versions, and where none is."""

from math import sqrt

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from evaluation.measures.clusters import ClusteredRows
from evaluation.measures.intervals import (
    FEW_IMAGES,
    cluster_bootstrap,
    image_interval,
    robust_interval,
    unseen_interval,
)
from evaluation.measures.statistics import student_t_quantile


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_the_quantiles_are_scipys(confidence):
    for freedom in (1, 2, 3, 4, 5, 8, 19, 49, 50, 331):
        expected = t.ppf((1 + confidence) / 2, freedom)
        assert student_t_quantile(freedom, confidence=confidence) == pytest.approx(expected)


def test_a_quantile_is_the_95_percents_unless_told_otherwise():
    assert student_t_quantile(4) == student_t_quantile(4, confidence=0.95)


@pytest.mark.parametrize(("freedom", "confidence"), [(0, 0.95), (3, 1.0), (3, 0.0)])
def test_a_quantile_that_is_none_says_why(freedom, confidence):
    words = f"{freedom} degrees of freedom and .* a number between 0 and 1, such as 0.95$"
    with pytest.raises(ValueError, match=words):
        student_t_quantile(freedom, confidence=confidence)


def test_differences_of_rows_of_their_own_have_scipys_interval():
    deltas = [0, 1, -1, 1, 0, 0, 1, 0, 1]
    expected = ttest_1samp(deltas, 0).confidence_interval(0.95)
    assert image_interval(deltas, range(9), share=False) == pytest.approx(
        (expected.low, expected.high)
    )


def test_two_images_leave_one_degree_of_freedom():
    # values 0.01 and 0: mean 0.005, error 0.005, and t of one degree is 12.7
    low, high = image_interval([0.01, 0.0], "ab", share=False)
    assert (low, high) == pytest.approx((0.005 - t.ppf(0.975, 1) * 0.005, 0.0685310))


def test_an_interval_of_differences_ends_where_differences_do():
    low, high = image_interval([-1, -1, 0], "abc", share=False)
    assert low == -1.0 and high > 0
    assert image_interval([1, 1, 0], "abc", share=False) == (-high, 1.0)


@pytest.mark.parametrize("confidence", [0.5, 0.8])
def test_the_confidence_is_the_one_that_is_asked_for_in_every_form(confidence):
    deltas = [0, 0.5, -0.25, 0.5, 0.125]
    expected = ttest_1samp(deltas, 0).confidence_interval(confidence)
    found = image_interval(deltas, range(5), share=False, confidence=confidence)
    assert found == pytest.approx((expected.low, expected.high))
    # all right: (1 - unseen)^5 = (1 - confidence) / 2
    lowest = ((1 - confidence) / 2) ** (1 / 5)
    found = image_interval([1] * 5, range(5), share=True, confidence=confidence)
    assert found == pytest.approx((lowest, 1.0))


def test_the_bootstrap_of_many_images_gets_all_that_is_said_of_it():
    generator = np.random.default_rng(3)
    clusters = np.tile(np.arange(80), 3)
    values, strata = generator.integers(0, 2, 240), np.repeat([0, 0, 1], 80)
    asked = {"confidence": 0.8, "resamples": 150, "seed": 5}
    for given in (strata, None):
        expected = cluster_bootstrap(values, clusters, given, **asked)
        assert image_interval(values, clusters, given, share=True, **asked) == expected
    expected = cluster_bootstrap(values, clusters, confidence=0.95, resamples=2000, seed=0)
    assert image_interval(values, clusters, share=True) == expected


def test_images_of_equally_many_rows_have_the_interval_of_their_means():
    # means 1, 0, 2/3: rows of one image are no news
    deltas, images = [1, 1, 1, 0, 0, 0, 1, 0, 1], [0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = ttest_1samp([1, 0, 2 / 3], 0).confidence_interval(0.95)
    low, high = image_interval(deltas, images, share=False)
    assert (low, high) == pytest.approx((max(expected.low, -1), min(expected.high, 1)))
    halves = [d / 2 for d in deltas]  # so that neither end is cut off
    expected = ttest_1samp([0.5, 0, 1 / 3], 0).confidence_interval(0.95)
    low, high = image_interval(halves, images, share=False)
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_images_that_agree_by_chance_are_no_surer_than_independent_rows():
    # each image has a 0.5 and a 0, one of them a 0.1: hardly any spread between images
    values = [0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0.1]
    mean, error = np.mean(values), np.std(values, ddof=1) / sqrt(8)
    width = t.ppf(0.975, 3) * error
    found = image_interval(values, [0, 0, 1, 1, 2, 2, 3, 3], share=False)
    assert found == pytest.approx((mean - width, mean + width))


def test_strata_that_agree_by_chance_are_no_surer_either():
    # as above, twice: the freedom is that of the images' means, the error that of the rows
    one, two = [0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0.1], [0.5, 0, 0.5, 0, 0.5, 0.1]
    v = [np.var([0.25, 0.25, 0.25, 0.3], ddof=1) / 4, np.var([0.25, 0.25, 0.3], ddof=1) / 3]
    freedom = int(sum(v) ** 2 / (v[0] ** 2 / 3 + v[1] ** 2 / 2))
    error = sqrt(np.var(one, ddof=1) / 8 + np.var(two, ddof=1) / 6) / 2
    width, mean = t.ppf(0.975, freedom) * error, (np.mean(one) + np.mean(two)) / 2
    found = image_interval(one + two, [i // 2 for i in range(14)], [0] * 8 + [1] * 6, share=False)
    assert found == pytest.approx((mean - width, mean + width))


def test_a_share_has_wilsons_interval_of_as_many_rows_as_its_error_stands_for():
    # 3 images of 4 rows each, 4, 4 and 2 right: p = 10 / 12
    values = [1] * 10 + [0] * 2
    images = [0] * 4 + [1] * 4 + [2] * 4
    share, error = 10 / 12, np.std([1, 1, 0.5], ddof=1) / sqrt(3)
    n, z = share * (1 - share) / error**2, t.ppf(0.975, 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    spread = z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    found = image_interval(values, images, share=True)
    assert found == pytest.approx((centre - spread, centre + spread))


def test_a_macro_mean_of_strata_adds_up_their_errors():
    # two strata about images of their own: variance (v_1 + v_2) / 4, Satterthwaite's freedom
    one, two = [0.0, 0.5, 0.1, 0.3], [0.2, -0.4, 0.0]
    v = [np.var(one, ddof=1) / 4, np.var(two, ddof=1) / 3]
    freedom = int(sum(v) ** 2 / (v[0] ** 2 / 3 + v[1] ** 2 / 2))
    width = t.ppf(0.975, freedom) * sqrt(sum(v)) / 2
    mean = (np.mean(one) + np.mean(two)) / 2
    found = image_interval(one + two, range(7), [0] * 4 + [1] * 3)
    assert found == pytest.approx((mean - width, mean + width))
    assert freedom < 5


def test_strata_that_share_their_images_are_no_news_to_each_other():
    one = [1, 0, 1, 1, 0, 1]
    twice = image_interval(one * 2, list(range(6)) * 2, [0] * 6 + [1] * 6)
    assert twice == pytest.approx(image_interval(one, range(6)))


@pytest.mark.parametrize("images", [2, 5, 20, 200])
def test_where_no_row_differs_there_is_no_interval_without_width(images):
    clusters = [i // 5 for i in range(5 * images)]
    unseen = 1 - 0.025 ** (1 / images)  # (1 - unseen)^images = 0.025
    for value, share, expected in (
        (0, False, (-unseen, unseen)),
        (1, False, (1 - 2 * unseen, 1)),
        (1, True, (1 - unseen, 1)),
        (0, True, (0, unseen)),
        (0.5, True, (0.5 - unseen / 2, 0.5 + unseen / 2)),
        (1 / 3, True, (1 / 3 - unseen / 3, 1 / 3 + unseen * 2 / 3)),
    ):
        found = image_interval([value] * len(clusters), clusters, share=share)
        assert found == pytest.approx(expected), (value, share)


def test_numbers_without_a_negative_one_are_shares_where_nothing_is_said():
    # read as differences, rights and wrongs of few images have an interval that is too narrow
    rows = [1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]
    assert image_interval(*rows) == image_interval(*rows, share=True)
    assert image_interval(*rows) != image_interval(*rows, share=False)
    deltas = [1, -1, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]
    assert image_interval(*deltas) == image_interval(*deltas, share=False)


def test_strata_of_equal_rows_are_no_certainty_either():
    values = [0] * 4 + [1] * 6
    unseen = [1 - 0.025**0.5, 1 - 0.025 ** (1 / 3)]
    low, high = image_interval(values, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], values, share=True)
    assert (low, high) == pytest.approx((0.5 - unseen[1] / 2, 0.5 + unseen[0] / 2))


def test_one_image_gives_no_interval_be_it_of_all_or_of_a_stratum():
    assert image_interval([1, 0, 1], ["a", "a", "a"]) == (None, None)
    assert image_interval([1, 0, 1], ["a", "b", "c"], [0, 0, 1]) == (None, None)


def test_the_bootstrap_takes_over_beyond_few_images():
    generator = np.random.default_rng(0)
    for images in (FEW_IMAGES, FEW_IMAGES + 1):
        clusters = np.repeat(np.arange(images), 5)
        values = generator.integers(0, 2, 5 * images)
        found = image_interval(values, clusters, share=True)
        closed = robust_interval(ClusteredRows.of(values, clusters), share=True)
        assert (found == closed) == (images == FEW_IMAGES)
        assert found == pytest.approx(closed, abs=0.02)
    # the images of the smallest stratum count
    strata = np.where(clusters < 10, 0, 1)
    found = image_interval(values, clusters, strata, share=True)
    assert found == robust_interval(ClusteredRows.of(values, clusters, strata), share=True)


def test_an_interval_turns_with_its_differences():
    generator = np.random.default_rng(1)
    deltas, clusters = generator.integers(-1, 2, 60), np.repeat(np.arange(12), 5)
    low, high = image_interval(deltas, clusters)
    assert low <= deltas.mean() <= high
    assert image_interval(-deltas, clusters) == pytest.approx((-high, -low))
    same = unseen_interval(ClusteredRows.of([0.2] * 4, range(4)), share=False)
    assert same[0] < 0.2 < same[1]


@pytest.mark.parametrize(
    ("values", "share", "message"),
    [
        ([1, 2], False, "values from 1 to 2 are no differences of shares, -1 to 1"),
        ([0, -1], True, "values from -1 to 0 are no shares, 0 to 1"),
        ([], True, "0 values, 2 clusters"),
    ],
)
def test_what_is_no_share_is_named(values, share, message):
    with pytest.raises(ValueError, match=message):
        image_interval(values, ["a", "b"], share=share)
