"""Intervals against worked numbers and SciPy, and chance levels by hand."""

import pytest
from scipy.stats import binomtest

from evaluation.measures.statistics import chance_level, wilson_interval


def test_the_interval_of_eight_in_ten_worked_by_hand():
    # z = 1.96, z^2 = 3.8416, p = 0.8, n = 10:
    # centre = 0.8 + 3.8416 / 20 = 0.99208, divisor = 1 + 0.38416 = 1.38416
    # spread = 1.96 * sqrt(0.16 / 10 + 3.8416 / 400) = 1.96 * sqrt(0.025604) = 0.313624
    # (0.99208 - 0.313624) / 1.38416 = 0.49016, (0.99208 + 0.313624) / 1.38416 = 0.94332
    assert wilson_interval(8, 10) == pytest.approx((0.49016, 0.94332), abs=2e-5)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 2, 7, 20, 800, 17662])
def test_the_interval_is_scipys(n, confidence):
    for successes in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        theirs = binomtest(successes, n).proportion_ci(confidence, method="wilson")
        ours = wilson_interval(successes, n, confidence=confidence)
        assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_no_success_and_no_failure_end_exactly_at_the_border():
    # rounding alone would give -1e-17 and 1.0000000000000002
    assert all(wilson_interval(0, n)[0] == 0.0 for n in range(1, 50))
    assert all(wilson_interval(n, n)[1] == 1.0 for n in range(1, 50))


def test_right_and_wrong_are_mirror_images():
    low, high = wilson_interval(3, 17)
    assert wilson_interval(14, 17) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("successes", "n", "confidence", "message"),
    [
        (0, 0, 0.95, "0 successes of 0: need 0 <= successes <= n and n at least 1"),
        (5, 4, 0.95, "5 successes of 4"),
        (-1, 4, 0.95, "-1 successes of 4"),
        (1, 4, 95, "confidence 95 must lie between 0 and 1"),
        (1, 4, 1.5, "confidence 1.5 must lie"),
        (1, 4, 1, "confidence 1 must lie"),
        (1, 4, 0, "confidence 0 must lie"),
    ],
)
def test_the_error_says_which_numbers_make_no_interval(successes, n, confidence, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(successes, n, confidence=confidence)


def test_chance_is_the_mean_of_the_questions_own_rates():
    # not 1 / the mean number of options, which would be 1 / 3 = 0.33
    assert chance_level([1 / 2, 1 / 4]) == pytest.approx((0.5 + 0.25) / 2)
    assert chance_level([1 / 4] * 7) == 0.25


def test_with_a_question_that_has_no_rate_of_guessing_there_is_no_chance_level():
    assert chance_level([1 / 2, None]) is None
    assert chance_level([None]) is None


@pytest.mark.parametrize("chances", [[], [0.25, 4], [-1.0]])
def test_no_rate_of_guessing_makes_no_chance_level(chances):
    with pytest.raises(ValueError, match="one or more, each 0 to 1"):
        chance_level(chances)
