"""Rows by weight: worked numbers, the distribution of many draws, and no row twice too early."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.seeded import seeded_key
from data.weighted import weighted_rows

BELOW_ONE = 1 - 2.0**-53


def uniforms(count: int, seed: int = 0) -> list[float]:
    return [(seeded_key("test", seed, n) >> 11) * 2.0**-53 for n in range(count)]


@pytest.mark.parametrize(
    ("uniform", "row"),
    # cumulative weights 1, 1, 3, 4 of 4 in all: rows end at 0.25, 0.25, 0.75, 1
    [(0.0, 0), (0.2499, 0), (0.25, 2), (0.7499, 2), (0.75, 3), (BELOW_ONE, 3)],
)
def test_a_row_by_hand(uniform, row):
    assert weighted_rows(np.array([1.0, 0.0, 2.0, 1.0]), [uniform]) == [row]


def test_a_row_that_was_taken_leaves_its_place_to_the_others_until_all_were_taken():
    # 1 2 1 -> row 1; then 1 0 1, 0.5 -> row 2; then row 0; then 1 2 1 again -> row 1
    assert weighted_rows(np.array([1.0, 2.0, 1.0]), [0.5, 0.5, 0.5, 0.5]) == [1, 2, 0, 1]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=20), st.integers(0, 99))
def test_no_row_comes_twice_while_others_are_left_and_the_weights_stay(weights, seed):
    given_, before = np.array(weights), list(weights)
    rows = weighted_rows(given_, uniforms(2 * len(weights), seed))
    for half in (rows[: len(weights)], rows[len(weights) :]):
        assert sorted(half) == list(range(len(weights)))
    assert given_.tolist() == before


@given(st.floats(1e-300, 1e300), st.floats(0, BELOW_ONE))
def test_no_number_below_one_leads_past_the_last_row_or_to_one_without_weight(scale, uniform):
    weights = np.array([0.1, 0.2, 0.7, 0.0]) * scale
    assert weights[weighted_rows(weights, [uniform])[0]] > 0


def test_many_first_draws_are_distributed_as_the_weights():
    weights, count = np.array([1.0, 2.0, 3.0, 4.0]), 4_000
    drawn = [weighted_rows(weights, [u])[0] for u in uniforms(count)]
    found, expected = np.bincount(drawn, minlength=4), weights / weights.sum() * count
    # chi-square of 3 degrees: above 16.27 once in a thousand; the numbers are always the same ones
    assert ((found - expected) ** 2 / expected).sum() < 16.27


def test_second_draws_are_distributed_as_the_weights_of_those_that_are_left():
    weights, count = np.array([1.0, 2.0, 3.0]), 4_000
    numbers = uniforms(2 * count, seed=1)
    drawn = [weighted_rows(weights, numbers[2 * n : 2 * n + 2]) for n in range(count)]
    # P(a then b) = w_a / 6 * w_b / (6 - w_a), six pairs
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    expected = {(a, b): count * weights[a] / 6 * weights[b] / (6 - weights[a]) for a, b in pairs}
    chi = sum((drawn.count([*p]) - expected[p]) ** 2 / expected[p] for p in pairs)
    assert chi < 20.52  # 5 degrees, once in a thousand
