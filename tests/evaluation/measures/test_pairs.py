"""McNemar's test against SciPy's binomial test, from no discordant row to 100,000."""

from fractions import Fraction
from math import comb

import pytest
from scipy.stats import binomtest

from evaluation.measures.pairs import EXACT, mcnemar


def answers(both, first_only, second_only, neither):
    first = [True] * (both + first_only) + [False] * (second_only + neither)
    second = [True] * both + [False] * first_only + [True] * second_only + [False] * neither
    return first, second


@pytest.mark.parametrize(
    ("b", "c"),
    [
        *((0, 0), (1, 0), (6, 1), (5, 5), (3, 20), (24, 0), (25, 0), (13, 13), (20, 10)),
        # 2^1100 is no float; 0.50001 of 100,000 is where the sum has most terms that count
        *((121, 59), (300, 301), (400, 700), (49_999, 50_001), (51_000, 49_000)),
    ],
)
def test_it_is_scipys_exact_test_at_any_size(b, c):
    result = mcnemar(*answers(7, b, c, 4))
    assert (result.first_only, result.second_only, result.test) == (b, c, EXACT)
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert result.p_value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(10, 17), (400, 520), (1200, 1300)])
def test_it_is_the_sum_in_fractions(b, c):
    tail = sum(comb(b + c, k) for k in range(b + 1))
    assert mcnemar(*answers(0, b, c, 0)).p_value == float(Fraction(2 * tail, 2 ** (b + c)))


def test_what_is_smaller_than_any_float_is_zero():
    assert mcnemar(*answers(0, 30_000, 0, 0)).p_value == 0.0


def test_rows_on_which_both_agree_change_nothing():
    alone, among = mcnemar(*answers(0, 6, 1, 0)), mcnemar(*answers(500, 6, 1, 300))
    assert alone == among
    assert alone.p_value == 0.125  # 2 (1 + 7) / 2^7


def test_pairs_need_two_equal_lengths():
    with pytest.raises(ValueError, match="2 and 1 answers are no pairs"):
        mcnemar([True, False], [True])
    with pytest.raises(ValueError, match="0 and 0 answers are no pairs"):
        mcnemar([], [])
